"""Multilayer perceptrons for vectors, such as two-dimensional points."""

import keras
from keras import layers

from zoo.checks import are_whole, check_number, check_positive


def mlp_generator(example_shape, latent_dim=2, hidden=(128, 128, 128)):
    """Perceptron from latents to vectors, ReLU inside, linear at the end.

    The networks of the WGAN-GP authors' toy examples, which are 512 wide.

    Args:
        example_shape: Shape of one example: (dim,).
        latent_dim: Length of a latent.
        hidden: Width of each hidden layer.

    Returns:
        `keras.Model` from (batch, latent_dim) to (batch, *example_shape).

    Raises:
        ValueError: If an argument is no such number or shape.

    Example:
        >>> mlp_generator((2,), latent_dim=8, hidden=(512, 512, 512)).output_shape
        (None, 2)
    """
    check_positive("latent_dim", latent_dim)
    return _mlp((latent_dim,), hidden, _dim(example_shape), "generator")


def mlp_critic(example_shape, hidden=(128, 128, 128), num_features=1, input_scale=1.0):
    """Perceptron from vectors to one score, or to features; ReLU inside, linear at the end.

    Biases of a score start at 0, those of features uniform in +-`input_scale`: without biases, ReLU layers scale with
    their input, and a cosine cost between features does not see how far from the origin a point lies.

    Args:
        example_shape: Shape of one example: (dim,).
        hidden: Width of each hidden layer.
        num_features: Values per example: 1 for a critic's score or a discriminator's logit, more for the features
            between which `SinkhornGAN` and `OTGAN` transport.
        input_scale: Standard deviation of the examples' coordinates, above 0; matters to features only.

    Returns:
        `keras.Model` from (batch, *example_shape) to (batch, num_features).

    Raises:
        ValueError: If an argument is no such number or shape.

    Example:
        >>> mlp_critic((2,)).output_shape
        (None, 1)
    """
    check_positive("num_features", num_features)
    check_number("input_scale", input_scale, 0, above=True)
    bias_range = input_scale if num_features > 1 else 0.0
    return _mlp((_dim(example_shape),), hidden, int(num_features), "critic", bias_range)


def _dim(example_shape):
    if not are_whole(example_shape) or len(example_shape) != 1:
        raise ValueError(
            f"A perceptron takes vectors: `example_shape` must be (dim,), as (2,). Received: {example_shape!r}. "
            "For images, use `dcgan_generator` and `dcgan_critic`."
        )
    return int(example_shape[0])


def _mlp(input_shape, hidden, units, name, bias_range=0.0):
    if not are_whole(hidden):
        raise ValueError(f"`hidden` must be a tuple of widths, such as (128, 128). Received: {hidden!r}.")
    inputs = keras.Input(input_shape)
    x = inputs
    for width in hidden:
        bias = _bias(bias_range)
        x = layers.Dense(int(width), activation="relu", kernel_initializer="he_uniform", bias_initializer=bias)(x)
    outputs = layers.Dense(units, bias_initializer=_bias(bias_range), dtype="float32")(x)
    return keras.Model(inputs, outputs, name=name)


def _bias(bias_range):
    # One for each layer, since an initializer gives the same numbers at each call.
    return keras.initializers.RandomUniform(-bias_range, bias_range) if bias_range else "zeros"
