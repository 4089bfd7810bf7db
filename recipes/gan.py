"""GAN on images (the networks of DCGAN) or points.

python -m recipes.gan --data digits
python -m recipes.gan --data grid --epochs 30 --steps-per-epoch 1000
python -m recipes.gan --data mnist --generator-loss minimax
"""

from dataclasses import dataclass
from typing import Literal

from zoo import runs


@dataclass(frozen=True, kw_only=True)
class Config(runs.RunConfig):
    """Options of the GAN recipe."""

    latent_dim: int = 128
    """Length of a latent; two-dimensional sets use 2."""
    filters: int = 64
    """Channels of the convolutions nearest to the image."""
    norm: Literal["batch", "sync_batch", "layer"] = "batch"
    """Normalisation for images: batch as in DCGAN; sync_batch or layer let any number of replicas give one result."""
    hidden: tuple[int, ...] = (128, 128, 128)
    """Widths of the hidden layers for two-dimensional sets."""
    learning_rate: float = 2e-4
    """Step size of Adam, in both networks (DCGAN: 2e-4)."""
    generator_loss: Literal["non_saturating", "minimax"] = "non_saturating"
    """What the generator minimises: -log D(G(z)) or log(1 - D(G(z)))."""
    discriminator_steps: int = 1
    """Discriminator updates per generator update, k in the paper."""
    generator_ema: float | None = None
    """Decay of the moving average that is sampled and exported; None for none."""


def build(config, example_shape):
    """The compiled model."""
    import keras

    from zoo import GAN, dcgan_discriminator, dcgan_generator, mlp_critic, mlp_generator

    if len(example_shape) == 3:
        generator = dcgan_generator(example_shape, config.latent_dim, config.filters, norm=config.norm)
        discriminator = dcgan_discriminator(example_shape, config.filters, norm=config.norm)
    else:
        generator = mlp_generator(example_shape, hidden=config.hidden)
        discriminator = mlp_critic(example_shape, hidden=config.hidden)
    model = GAN(
        generator,
        discriminator,
        generator_loss=config.generator_loss,
        discriminator_steps=config.discriminator_steps,
        generator_ema=config.generator_ema,
        seed=config.seed,
    )
    model.compile(
        *[keras.optimizers.Adam(config.learning_rate, beta_1=0.5) for _ in range(2)], **runs.execution(config)
    )
    return model


def train(config):
    """Trains, evaluates and publishes."""
    return runs.run("gan", config, build, group=config.discriminator_steps)


if __name__ == "__main__":
    runs.main(Config, train)
