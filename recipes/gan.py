"""GAN on images (the networks of DCGAN) or points.

python -m recipes.gan --data digits
python -m recipes.gan --data grid --epochs 30 --steps-per-epoch 1000
python -m recipes.gan --data mnist --generator-loss minimax
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from recipes import adversarial
from zoo import runs


@dataclass(frozen=True, kw_only=True)
class Config(adversarial.Config):
    """Options of the GAN recipe."""

    _MODEL: ClassVar = runs.Heading("model")
    norm: Literal["batch", "sync_batch", "layer"] = "batch"
    """Normalisation for images: batch as in DCGAN; sync_batch or layer let any number of replicas give one result."""
    _OPTIMIZER: ClassVar = runs.Heading("optimizer")
    learning_rate: float = 2e-4
    """Step size of Adam, in both networks (DCGAN: 2e-4)."""
    _OBJECTIVE: ClassVar = runs.Heading("objective")
    generator_loss: Literal["non_saturating", "minimax"] = "non_saturating"
    """What the generator minimises: -log D(G(z)) or log(1 - D(G(z)))."""
    discriminator_steps: int = 1
    """Discriminator updates per generator update, k in the paper."""


def build(config, example_shape):
    """The compiled model."""
    import keras

    from zoo import GAN, dcgan_discriminator

    judge = partial(dcgan_discriminator, norm=config.norm)
    model = GAN(
        *adversarial.networks(config, example_shape, config.norm, judge),
        generator_loss=config.generator_loss,
        discriminator_steps=config.discriminator_steps,
        generator_ema=config.generator_ema,
        seed=config.seed,
    )
    adam = [keras.optimizers.Adam(config.learning_rate, beta_1=0.5) for _ in range(2)]
    model.compile(*adam, **runs.execution(config))
    return model


def train(config):
    """Trains, evaluates and publishes."""
    return runs.run("gan", config, build, runs.Generation, group=config.discriminator_steps)


if __name__ == "__main__":
    runs.main(Config, train)
