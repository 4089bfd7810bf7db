"""Autoencoder on images or points: undercomplete, sparse, denoising, contractive.

python -m recipes.autoencoder --data digits --latent-dim 8
python -m recipes.autoencoder --data fashion_mnist --corruption masking --corruption-level 0.25
python -m recipes.autoencoder --data fashion_mnist --contraction exact --hidden --output-activation sigmoid
python -m recipes.autoencoder --data mnist --sparsity kl --latent-dim 200 --output-activation sigmoid

`--data fashion_mnist --latent-dim 8 --epochs 10` takes 1 minute on one core. Of 10,000 test images, 81.3 % are right
by the 5 nearest of 10,000 training images between codes, 76.2 % by PCA's; with `--corruption masking` 80.4 %, with
`--contraction exact` 81.4 %.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from recipes import coding
from zoo import runs


@dataclass(frozen=True, kw_only=True)
class Config(coding.Config):
    """Options of the autoencoder recipe."""

    MAY_BE_ZERO: ClassVar = (*coding.Config.MAY_BE_ZERO, "corruption_level", "sparsity_weight", "contraction_weight")

    _MODEL: ClassVar = runs.Heading("model")
    output_activation: Literal["linear", "sigmoid", "relu"] = "linear"
    """Activation of the codes."""
    _OBJECTIVE: ClassVar = runs.Heading("objective")
    reconstruction: Literal["squared_error", "cross_entropy"] = "squared_error"
    """Error in giving back an example; cross_entropy is for images."""
    corruption: Literal["gaussian", "masking", "salt_and_pepper"] | None = None
    """Noise in what the encoder sees in training."""
    corruption_level: float = 0.25
    """Standard deviation of Gaussian noise, or share of the values that others touch."""
    sparsity: Literal["l1", "kl"] | None = None
    """Penalty on active units."""
    sparsity_weight: float = 1.0
    """Weight of that penalty."""
    target_activity: float = 0.05
    """Mean activity that "kl" wants of each unit."""
    contraction: Literal["exact", "estimate"] | None = None
    """Penalty on the slope of the encoder."""
    contraction_weight: float = 0.1
    """Weight of that penalty."""


def build(config, example_shape):
    """The compiled model."""
    import keras

    from zoo import Autoencoder

    model = Autoencoder(
        *coding.networks(config, example_shape, config.latent_dim, config.output_activation),
        reconstruction=config.reconstruction,
        corruption=config.corruption,
        corruption_level=config.corruption_level,
        sparsity=config.sparsity,
        sparsity_weight=config.sparsity_weight,
        target_activity=config.target_activity,
        contraction=config.contraction,
        contraction_weight=config.contraction_weight,
        seed=config.seed,
    )
    model.compile(keras.optimizers.Adam(config.learning_rate), **runs.execution(config))
    return model


def train(config):
    """Trains, evaluates and publishes."""
    return runs.run("autoencoder", config, build, runs.Representation)


if __name__ == "__main__":
    runs.main(Config, train)
