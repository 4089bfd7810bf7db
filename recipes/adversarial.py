"""What the adversarial recipes share: options and default networks, DCGAN's for images, perceptrons for points."""

from dataclasses import dataclass
from typing import ClassVar

from zoo import runs


@dataclass(frozen=True, kw_only=True)
class Config(runs.GenerationConfig):
    """Options of every adversarial recipe."""

    MAY_BE_ZERO: ClassVar = (*runs.GenerationConfig.MAY_BE_ZERO, "generator_ema")

    _MODEL: ClassVar = runs.Heading("model")
    latent_dim: int = 128
    """Length of a latent; two-dimensional sets use 2."""
    filters: int = 64
    """Channels of the convolutions nearest to the image."""
    hidden: tuple[int, ...] = (128, 128, 128)
    """Widths of the hidden layers for two-dimensional sets."""
    generator_ema: float | None = None
    """Decay of the moving average that is sampled and exported; None for none."""


def networks(config, example_shape, norm, judge, **outputs):
    """Generator, and discriminator or critic.

    Args:
        config: A `Config`.
        example_shape: Shape of one example: (height, width, channels), or (dim,).
        norm: Normalisation of a generator of images.
        judge: Function (example_shape, filters, **outputs) that makes the other network for images.
        outputs: `num_features` of a critic, where it is to have more than a score; for points also `input_scale`.

    Returns:
        Pair of `keras.Model`s.
    """
    from zoo import dcgan_generator, mlp_critic, mlp_generator

    if len(example_shape) == 3:
        generator = dcgan_generator(example_shape, config.latent_dim, config.filters, norm=norm)
        return generator, judge(example_shape, config.filters, **outputs)
    # The generator comes first, since networks take their random numbers in the order in which they are made.
    generator = mlp_generator(example_shape, hidden=config.hidden)
    return generator, mlp_critic(example_shape, config.hidden, **outputs)
