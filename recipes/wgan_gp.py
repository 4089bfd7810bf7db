"""WGAN-GP on images or points.

python -m recipes.wgan_gp --data digits
python -m recipes.wgan_gp --data fashion_mnist --epochs 20
python -m recipes.wgan_gp --data grid --epochs 30 --steps-per-epoch 1000
"""

from dataclasses import dataclass
from typing import ClassVar

from recipes import adversarial
from zoo import runs


@dataclass(frozen=True, kw_only=True)
class Config(adversarial.Config):
    """Options of the WGAN-GP recipe."""

    MAY_BE_ZERO: ClassVar = (*adversarial.Config.MAY_BE_ZERO, "gradient_penalty_weight")

    _OPTIMIZER: ClassVar = runs.Heading("optimizer")
    learning_rate: float = 1e-4
    """Step size of Adam, in both networks (paper: 1e-4)."""
    _OBJECTIVE: ClassVar = runs.Heading("objective")
    critic_steps: int = 5
    """Critic updates per generator update (paper: 5)."""
    gradient_penalty_weight: float | None = None
    """Lambda; None for the paper's 10 for images and its toy code's 0.1 for points."""
    generator_ema: float | None = 0.999
    """Decay of the moving average that is sampled and exported; None for none."""


def build(config, example_shape):
    """The compiled model."""
    import keras

    from zoo import WGANGP, dcgan_critic

    weight, beta_1 = (10.0, 0.0) if len(example_shape) == 3 else (0.1, 0.5)
    if config.gradient_penalty_weight is not None:
        weight = config.gradient_penalty_weight
    model = WGANGP(
        *adversarial.networks(config, example_shape, "layer", dcgan_critic),
        critic_steps=config.critic_steps,
        gradient_penalty_weight=weight,
        generator_ema=config.generator_ema,
        seed=config.seed,
    )
    adam = [keras.optimizers.Adam(config.learning_rate, beta_1=beta_1, beta_2=0.9) for _ in range(2)]
    model.compile(*adam, **runs.execution(config))
    return model


def train(config):
    """Trains, evaluates and publishes."""
    return runs.run("wgan_gp", config, build, runs.Generation, group=config.critic_steps)


if __name__ == "__main__":
    runs.main(Config, train)
