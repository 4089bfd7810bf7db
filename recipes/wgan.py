"""WGAN with weight clipping on images (the networks of DCGAN) or points.

python -m recipes.wgan --data digits
python -m recipes.wgan --data grid --epochs 30 --steps-per-epoch 1000
python -m recipes.wgan --data mnist --long-critic-phases
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from recipes import adversarial
from zoo import runs


@dataclass(frozen=True, kw_only=True)
class Config(adversarial.Config):
    """Options of the WGAN recipe."""

    _MODEL: ClassVar = runs.Heading("model")
    norm: Literal["batch", "layer"] = "batch"
    """Normalisation for images: batch as in DCGAN, or layer, which makes any number of replicas give one result."""
    _OPTIMIZER: ClassVar = runs.Heading("optimizer")
    learning_rate: float = 5e-5
    """Step size of RMSprop, in both networks (paper: 5e-5)."""
    _OBJECTIVE: ClassVar = runs.Heading("objective")
    critic_steps: int = 5
    """Critic updates per generator update (paper: 5)."""
    clip: float = 0.01
    """Bound on the critic's weights (paper: 0.01)."""
    long_critic_phases: bool = False
    """100 critic updates for each of the first 25 generator updates and every 500th, as in the authors' code."""


def build(config, example_shape):
    """The compiled model."""
    import keras

    from zoo import WGAN, dcgan_discriminator

    judge = partial(dcgan_discriminator, norm=config.norm)
    model = WGAN(
        *adversarial.networks(config, example_shape, config.norm, judge),
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
    return runs.run("wgan", config, build, runs.Generation, group=config.critic_steps)


if __name__ == "__main__":
    runs.main(Config, train)
