"""Models that turn examples into codes and back: what their users call, and what they serve."""

import numpy as np
import tensorflow as tf

from zoo.checks import check_whole
from zoo.rows import finite_only
from zoo.training.inputs import rows_of
from zoo.training.latents import check_network
from zoo.training.model import TrainStepModel


class CodeModel(TrainStepModel):
    """Base of models with an `encoder` and a `decoder`, which one optimizer moves.

    A subclass defines `codes_of` and `examples_from`, functions of tensors, and names its codes in `code_name`.

    Example:
        >>> model = zoo.Autoencoder(zoo.mlp_encoder((2,), 3), zoo.mlp_decoder((2,), 3))
        >>> isinstance(model, CodeModel), model.code_dim, model.reconstruct(np.zeros((4, 2))).shape
        (True, 3, (4, 2))
    """

    optimizer_networks = {"optimizer": ("encoder", "decoder")}
    code_name = "codes"

    @property
    def example_shape(self):
        """Shape of one example."""
        return self.encoder.input_shape[1:]

    @property
    def example_name(self):
        """What a batch of examples is called: images or points."""
        return "images" if len(self.example_shape) == 3 else "points"

    @property
    def code_dim(self):
        """Length of a code."""
        return self.decoder.input_shape[1]

    def call(self, examples, training=False):
        """Reconstructions (batch, *example_shape) of examples, of the same shape."""
        return self.examples_from(self.codes_of(examples))

    def encode(self, examples, batch_size=256):
        """Codes (n, code_dim) of examples (n, *example_shape), a float32 array."""
        return self.in_batches("encode", self.codes_of, examples, self.example_shape, batch_size)

    def decode(self, codes, batch_size=256):
        """Examples (n, *example_shape) of codes (n, code_dim), a float32 array."""
        return self.in_batches("decode", self.examples_from, codes, (self.code_dim,), batch_size)

    def reconstruct(self, examples, batch_size=256):
        """What is left of examples (n, *example_shape) after encoding and decoding, a float32 array."""
        return self.in_batches("reconstruct", self.call, examples, self.example_shape, batch_size)

    def interpolate(self, first, second, num_steps=8):
        """Examples on the straight line between the codes of two.

        Args:
            first: Examples (n, *example_shape).
            second: As many others.
            num_steps: Points on each line, both ends included; 2 or more.

        Returns:
            float32 array (n, num_steps, *example_shape), from the reconstruction of the first to that of the second.
        """
        check_whole("num_steps", num_steps, low=2)
        first, second = (rows_of("interpolate", one, self.example_shape) for one in (first, second))
        begin, end = self.encode(first)[:, None], self.encode(second)[:, None]
        if begin.shape != end.shape:
            raise ValueError(f"As many first as second examples are needed. Received: {len(begin)} and {len(end)}.")
        share = np.linspace(0.0, 1.0, num_steps, dtype="float32")[:, None]
        lines = (1 - share) * begin + share * end
        return self.decode(lines.reshape(-1, self.code_dim)).reshape(len(lines), num_steps, *self.example_shape)

    def signatures(self):
        """What is served: `encode`, `decode`, and `reconstruct`, which is `serving_default` too."""
        examples = {self.example_name: tf.TensorSpec((None, *self.example_shape), tf.float32)}
        codes = {self.code_name: tf.TensorSpec((None, self.code_dim), tf.float32)}

        def encode(**given):
            return {self.code_name: self.codes_of(*given.values())}

        def decode(**given):
            return {self.example_name: self.examples_from(*given.values())}

        def reconstruct(**given):
            return {self.example_name: self.call(*given.values())}

        return {
            "serving_default": (finite_only(reconstruct), examples),
            "encode": (finite_only(encode), examples),
            "decode": (finite_only(decode), codes),
            "reconstruct": (finite_only(reconstruct), examples),
        }


def check_coder(encoder, decoder):
    """Checks that an encoder puts out vectors, and that a decoder takes vectors.

    Raises:
        ValueError: If they do not, or have no fixed shapes yet.

    Example:
        >>> check_coder(zoo.mlp_encoder((2,), 3), zoo.mlp_encoder((28, 28, 1), 3))
        Traceback (most recent call last):
        ValueError: The decoder must ...
    """
    check_network("encoder", encoder)
    check_network("decoder", decoder)
    for name, what, shape in (
        ("encoder", "put out", encoder.output_shape),
        ("decoder", "take", decoder.input_shape),
    ):
        if len(shape) != 2 or not shape[1]:
            raise ValueError(
                f"The {name} must {what} vectors, shape (batch, dim) with dim of 1 or more. Received: shape {shape}. "
                + ("End it with `Flatten` and `Dense`." if name == "encoder" else "Start it with `keras.Input((16,))`.")
            )
