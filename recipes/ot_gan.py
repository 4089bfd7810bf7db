"""OT-GAN on images or points.

python -m recipes.ot_gan --data digits --epochs 1000 --evaluate-every 1000 --max-minutes 2
python -m recipes.ot_gan --data fashion_mnist --epochs 1000 --evaluate-every 1000 --max-minutes 4 --filters 32
python -m recipes.ot_gan --data grid --input-scale 2.8 --gradient-penalty-weight 1 --epsilon 0.01 --generator-steps 5

On one core, 2 minutes of digits (300 steps) give FID(cnn-digits) 12.2, and 4 minutes of 9,000 images of Fashion-MNIST
(248 steps) FID(cnn-fashion_mnist) 17.8; `recipes.wgan_gp` 17.7 and 42.7 in the same time. 1,000 steps on the grid, with
all options of benchmarks/modes.py, find 25 modes. The paper (section 5) trains on batches of 8,000; ours are of 256.
"""

from dataclasses import dataclass
from typing import ClassVar

from recipes import adversarial
from zoo import runs


@dataclass(frozen=True, kw_only=True)
class Config(adversarial.Config):
    """Options of the OT-GAN recipe."""

    MAY_BE_ZERO: ClassVar = (*adversarial.Config.MAY_BE_ZERO, "gradient_penalty_weight")

    batch_size: int = 256
    """Examples per update, over all replicas, of which each half is compared with the others (paper: 8000)."""
    _OPTIMIZER: ClassVar = runs.Heading("optimizer")
    learning_rate: float = 3e-4
    """Step size of Adam, in both networks (paper: 3e-4)."""
    _MODEL: ClassVar = runs.Heading("model")
    num_features: int = 256
    """Features of the critic (paper: 32,768)."""
    input_scale: float = 1.0
    """Standard deviation of the coordinates of points, which their critic needs to know: 0.7 for ring, 2.8 for grid."""
    _OBJECTIVE: ClassVar = runs.Heading("objective")
    epsilon: float = 1 / 500
    """Strength of the entropic regularisation, 1 / lambda (paper: lambda is 500)."""
    max_iterations: int = 500
    """Bound of the Sinkhorn iterations (paper: 500)."""
    generator_steps: int = 3
    """Generator updates per critic update (paper: 3)."""
    gradient_penalty_weight: float = 0.0
    """Weight of the critic's gradient penalty (paper: none)."""
    generator_ema: float | None = 0.999
    """Decay of the moving average that is sampled and exported (paper: 0.999); None for none."""


def build(config, example_shape):
    """The compiled model."""
    import keras

    from zoo import OTGAN, dcgan_critic

    features = {"num_features": config.num_features}
    if len(example_shape) == 1:
        features["input_scale"] = config.input_scale
    model = OTGAN(
        *adversarial.networks(config, example_shape, "layer", dcgan_critic, **features),
        generator_steps=config.generator_steps,
        epsilon=config.epsilon,
        max_iterations=config.max_iterations,
        gradient_penalty_weight=config.gradient_penalty_weight,
        generator_ema=config.generator_ema,
        seed=config.seed,
    )
    adam = [keras.optimizers.Adam(config.learning_rate, beta_1=0.5) for _ in range(2)]
    model.compile(*adam, **runs.execution(config))
    return model


def train(config):
    """Trains, evaluates and publishes."""
    return runs.run("ot_gan", config, build, runs.Generation, group=1 + config.generator_steps)


if __name__ == "__main__":
    runs.main(Config, train)
