"""What the recipes of autoencoders share: options and default networks, perceptrons or convolutions."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo import runs


@dataclass(frozen=True, kw_only=True)
class Config(runs.GenerationConfig):
    """Options of every recipe of autoencoders."""

    MAY_BE_EMPTY: ClassVar = ("hidden",)

    _MODEL: ClassVar = runs.Heading("model")
    networks: Literal["mlp", "conv"] = "mlp"
    """Perceptrons, or for images convolutions."""
    latent_dim: int = 32
    """Length of a code."""
    hidden: tuple[int, ...] = (200, 200)
    """Widths of the hidden layers of perceptrons, from the example to the code; `--hidden` alone for none."""
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    """Activation within perceptrons; with tanh, a VAE uses fewer latents unless the KL is warmed up."""
    filters: int = 32
    """Channels of the convolutions nearest to the image."""
    _OPTIMIZER: ClassVar = runs.Heading("optimizer")
    learning_rate: float = 1e-3
    """Step size of Adam."""


def networks(config, example_shape, num_outputs, output_activation=None, scale=None):
    """Encoder and decoder.

    Args:
        config: A `Config`.
        example_shape: Shape of one example.
        num_outputs: What the encoder puts out.
        output_activation: Its last activation.
        scale: As of `mlp_decoder`.

    Returns:
        Pair of `keras.Model`s.
    """
    from zoo import conv_decoder, conv_encoder, mlp_decoder, mlp_encoder

    if config.networks == "mlp":
        encoder = mlp_encoder(example_shape, num_outputs, config.hidden, config.activation, output_activation)
        decoder = mlp_decoder(example_shape, config.latent_dim, config.hidden[::-1], config.activation, scale)
        return encoder, decoder
    encoder = conv_encoder(example_shape, num_outputs, config.filters, output_activation)
    return encoder, conv_decoder(example_shape, config.latent_dim, config.filters, scale)
