"""Encoders and decoders: perceptrons for any examples, convolutions for images."""

import math

import keras
from keras import layers, ops

from zoo.checks import are_whole, check_choice, check_positive
from zoo.networks.dcgan import _levels


@keras.saving.register_keras_serializable("zoo")
class SharedScale(layers.Layer):
    """Puts one learned number beside each of its inputs: a scale that all values of all examples share.

    (..., channels) becomes (..., 2 channels), as a normal likelihood takes it. The number is a raw scale, of which the
    likelihood takes the softplus; it starts at -1, a scale of 0.31, since Adam moves one number slowly.

    Example:
        >>> np.array(SharedScale()(np.zeros((1, 2), "float32")))
        array([[ 0.,  0., -1., -1.]], dtype=float32)
    """

    def build(self, input_shape):
        """Makes the number."""
        self.raw_scale = self.add_weight(shape=(), initializer=keras.initializers.Constant(-1.0), name="raw_scale")

    def call(self, inputs):
        """Inputs and scales, one after the other along the last axis."""
        scale = ops.cast(self.raw_scale, inputs.dtype)
        return ops.concatenate([inputs, ops.broadcast_to(scale, ops.shape(inputs))], axis=-1)

    def compute_output_shape(self, input_shape):
        """Twice as many channels."""
        return (*input_shape[:-1], 2 * input_shape[-1])


def mlp_encoder(example_shape, num_outputs, hidden=(500,), activation="relu", output_activation=None):
    """Perceptron from examples of any shape to vectors.

    Args:
        example_shape: Shape of one example, (height, width, channels) or (dim,).
        num_outputs: Length of the vectors: that of a code; for `VAE` twice as many, means and scales.
        hidden: Width of each hidden layer; () for none.
        activation: Activation of the hidden layers.
        output_activation: Activation of the last layer, as "sigmoid" for codes in (0, 1).

    Returns:
        `keras.Model` from (batch, *example_shape) to (batch, num_outputs).

    Raises:
        ValueError: If an argument is no such number or shape.

    Example:
        >>> mlp_encoder((28, 28, 1), 2 * 50, hidden=(200, 200), activation="tanh").output_shape
        (None, 100)
    """
    _check(example_shape, hidden)
    check_positive("num_outputs", num_outputs)
    inputs = keras.Input(tuple(map(int, example_shape)))
    x = _perceptron(layers.Flatten()(inputs), hidden, activation)
    outputs = layers.Dense(int(num_outputs), output_activation, dtype="float32")(x)
    return keras.Model(inputs, outputs, name="encoder")


def mlp_decoder(example_shape, latent_dim, hidden=(500,), activation="relu", scale=None):
    """Perceptron from vectors to examples of any shape, or to what a likelihood of examples takes; linear at the end.

    Args:
        example_shape: Shape of one example.
        latent_dim: Length of the vectors.
        hidden: Width of each hidden layer; () for none.
        activation: Activation of the hidden layers.
        scale: None for one output per value; "predicted" for two, a location and a raw scale, as a normal or a
            discretised logistic likelihood takes them; "shared" for one scale that all values share (`SharedScale`).

    Returns:
        `keras.Model` from (batch, latent_dim) to (batch, *example_shape), with `scale` to twice as many channels.

    Raises:
        ValueError: If an argument is no such number or shape.

    Example:
        >>> mlp_decoder((28, 28, 1), 50, scale="predicted").output_shape
        (None, 28, 28, 2)
    """
    _check(example_shape, hidden)
    check_positive("latent_dim", latent_dim)
    shape = _output_shape(example_shape, scale)
    inputs = keras.Input((int(latent_dim),))
    x = _perceptron(inputs, hidden, activation)
    x = layers.Reshape(shape, dtype="float32")(layers.Dense(math.prod(shape), dtype="float32")(x))
    return keras.Model(inputs, _with_scale(x, scale), name="decoder")


def conv_encoder(image_shape, num_outputs, filters=32, output_activation=None):
    """Strided convolutions from images to vectors, ReLU inside, without normalisation.

    Args:
        image_shape: (height, width, channels); height and width are multiples of 4.
        num_outputs: Length of the vectors.
        filters: Channels of the first convolution, doubled at each coarser level.
        output_activation: Activation of the last layer.

    Returns:
        `keras.Model` from (batch, *image_shape) to (batch, num_outputs).

    Raises:
        ValueError: If an argument is no such number or shape.

    Example:
        >>> conv_encoder((28, 28, 1), 2 * 50, filters=4).output_shape
        (None, 100)
    """
    height, width, channels, levels = _levels(image_shape)
    check_positive("num_outputs", num_outputs)
    check_positive("filters", filters)
    inputs = x = keras.Input((height, width, channels))
    for level in range(levels):
        count = int(filters) * 2**level
        x = layers.Conv2D(count, 4, 2, "same", activation="relu", kernel_initializer="he_uniform")(x)
    outputs = layers.Dense(int(num_outputs), output_activation, dtype="float32")(layers.Flatten()(x))
    return keras.Model(inputs, outputs, name="encoder")


def conv_decoder(image_shape, latent_dim, filters=32, scale=None):
    """The mirror image of `conv_encoder`: a projection, then strided transposed convolutions; linear at the end.

    Args:
        image_shape: (height, width, channels); height and width are multiples of 4.
        latent_dim: Length of the vectors.
        filters: Channels before the last convolution, doubled at each coarser level.
        scale: As of `mlp_decoder`.

    Returns:
        `keras.Model` from (batch, latent_dim) to (batch, *image_shape), with `scale` to twice as many channels.

    Raises:
        ValueError: If an argument is no such number or shape.

    Example:
        >>> conv_decoder((28, 28, 1), 50, filters=4).output_shape
        (None, 28, 28, 1)
    """
    height, width, _, levels = _levels(image_shape)
    check_positive("latent_dim", latent_dim)
    check_positive("filters", filters)
    shape = _output_shape(image_shape, scale)
    widths = [int(filters) * 2**level for level in reversed(range(levels))]
    inputs = keras.Input((int(latent_dim),))
    coarse = (height >> levels, width >> levels, widths[0])
    x = layers.Dense(math.prod(coarse), "relu", kernel_initializer="he_uniform")(inputs)
    x = layers.Reshape(coarse)(x)
    for count in widths[1:]:
        x = layers.Conv2DTranspose(count, 4, 2, "same", activation="relu", kernel_initializer="he_uniform")(x)
    x = layers.Conv2DTranspose(shape[-1], 4, 2, "same", dtype="float32")(x)
    return keras.Model(inputs, _with_scale(x, scale), name="decoder")


def _check(example_shape, hidden):
    if not are_whole(example_shape) or not len(example_shape):
        raise ValueError(f"`example_shape` must be whole numbers, as (28, 28, 1) or (2,). Received: {example_shape!r}.")
    if not are_whole(hidden):
        raise ValueError(f"`hidden` must be a tuple of widths, such as (200, 200). Received: {hidden!r}.")


def _perceptron(x, hidden, activation):
    start = "he_uniform" if activation == "relu" else "glorot_uniform"
    for width in hidden:
        x = layers.Dense(int(width), activation, kernel_initializer=start)(x)
    return x


def _output_shape(example_shape, scale):
    check_choice("scale", scale, (None, "shared", "predicted"))
    *size, channels = map(int, example_shape)
    return (*size, channels * (2 if scale == "predicted" else 1))


def _with_scale(x, scale):
    return SharedScale(dtype="float32")(x) if scale == "shared" else x
