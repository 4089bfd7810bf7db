"""WGAN with weight clipping on images (the networks of DCGAN) or points.

python -m recipes.wgan --data digits
python -m recipes.wgan --data grid --epochs 30 --steps-per-epoch 1000
python -m recipes.wgan --data mnist --long-critic-phases
"""

from dataclasses import dataclass
from typing import Literal

from zoo import runs


@dataclass(frozen=True, kw_only=True)
class Config(runs.RunConfig):
    """Options of the WGAN recipe."""

    latent_dim: int = 128
    """Length of a latent; two-dimensional sets use 2."""
    filters: int = 64
    """Channels of the convolutions nearest to the image."""
    norm: Literal["batch", "layer"] = "batch"
    """Normalisation for images: batch as in DCGAN, or layer, which makes any number of replicas give one result."""
    hidden: tuple[int, ...] = (128, 128, 128)
    """Widths of the hidden layers for two-dimensional sets."""
    learning_rate: float = 5e-5
    """Step size of RMSprop, in both networks (paper: 5e-5)."""
    critic_steps: int = 5
    """Critic updates per generator update (paper: 5)."""
    clip: float = 0.01
    """Bound on the critic's weights (paper: 0.01)."""
    long_critic_phases: bool = False
    """100 critic updates for each of the first 25 generator updates and every 500th, as in the authors' code."""
    generator_ema: float | None = None
    """Decay of the moving average that is sampled and exported; None for none."""


def build(config, example_shape):
    """The compiled model."""
    import keras

    from zoo import WGAN, dcgan_discriminator, dcgan_generator, mlp_critic, mlp_generator

    if len(example_shape) == 3:
        generator = dcgan_generator(example_shape, config.latent_dim, config.filters, norm=config.norm)
        critic = dcgan_discriminator(example_shape, config.filters, norm=config.norm)
    else:
        generator = mlp_generator(example_shape, hidden=config.hidden)
        critic = mlp_critic(example_shape, hidden=config.hidden)
    model = WGAN(
        generator,
        critic,
        critic_steps=config.critic_steps,
        clip=config.clip,
        long_critic_phases=config.long_critic_phases,
        generator_ema=config.generator_ema,
        seed=config.seed,
    )
    model.compile(*[keras.optimizers.RMSprop(config.learning_rate) for _ in range(2)], **runs.execution(config))
    return model


def train(config):
    """Trains, evaluates and publishes."""
    return runs.run("wgan", config, build, group=config.critic_steps)


if __name__ == "__main__":
    runs.main(Config, train)
