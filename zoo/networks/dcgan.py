"""Convolutional generator, discriminator and critic of DCGAN (Radford, Metz, Chintala 2016), for any image size."""

import keras
from keras import layers

from zoo.checks import are_whole, check_choice, check_positive


def dcgan_generator(image_shape, latent_dim=128, filters=64, norm="batch"):
    """Latents to images: a projection, then strided transposed convolutions, ReLU inside and tanh at the end.

    Kernels are 4 x 4, a multiple of the stride, so that every pixel is made of as many values; in the paper's figure 1
    they are 5 x 5, and latents are 100 uniform numbers where the models of Zoo draw normal ones, 128 by default.

    Args:
        image_shape: (height, width, channels); height and width are multiples of 4.
        latent_dim: Length of a latent.
        filters: Channels before the last convolution; twice as many at each coarser level.
        norm: "batch" as in DCGAN; "sync_batch", the same with the statistics of all replicas' rows; "layer" (over
            height, width and channels), which keeps examples apart; or None. All but "batch" give the same weights
            on any number of replicas.

    Returns:
        `keras.Model` from (batch, latent_dim) to images (batch, *image_shape) in [-1, 1].

    Raises:
        ValueError: If a size is not a multiple of 4, or another argument is out of range.

    Example:
        >>> dcgan_generator((28, 28, 1), latent_dim=100, filters=4).output_shape
        (None, 28, 28, 1)
    """
    height, width, channels, levels = _levels(image_shape)
    check_positive("latent_dim", latent_dim)
    _check(filters, norm)
    widths = [int(filters) * 2**level for level in reversed(range(levels))]
    height, width = height >> levels, width >> levels
    inputs = keras.Input((latent_dim,))
    x = layers.Dense(height * width * widths[0], use_bias=norm is None, kernel_initializer=_start())(inputs)
    x = layers.ReLU()(_norm(norm, layers.Reshape((height, width, widths[0]))(x)))
    for count in widths[1:]:
        x = layers.Conv2DTranspose(
            count, 4, strides=2, padding="same", use_bias=norm is None, kernel_initializer=_start()
        )(x)
        x = layers.ReLU()(_norm(norm, x))
    x = layers.Conv2DTranspose(channels, 4, strides=2, padding="same", kernel_initializer=_start())(x)
    outputs = layers.Activation("tanh", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="generator")


def dcgan_discriminator(image_shape, filters=64, norm="batch"):
    """Images to one logit: strided convolutions with 4 x 4 kernels, LeakyReLU(0.2), a norm after all but the first.

    Args:
        image_shape: (height, width, channels); height and width are multiples of 4.
        filters: Channels of the first convolution, doubled at each coarser level.
        norm: "batch" as in DCGAN, "sync_batch", "layer" or None, as in `dcgan_generator`.

    Returns:
        `keras.Model` from images (batch, *image_shape) to (batch, 1).

    Raises:
        ValueError: If a size is not a multiple of 4, or another argument is out of range.

    Example:
        >>> dcgan_discriminator((28, 28, 1), filters=4).output_shape
        (None, 1)
    """
    return _judge(image_shape, filters, norm, 1, "discriminator")


def dcgan_critic(image_shape, filters=64, num_features=1):
    """The discriminator with layer normalisation, as WGAN-GP has it (Gulrajani et al. 2017, section 4).

    Args:
        image_shape: (height, width, channels); height and width are multiples of 4.
        filters: Channels of the first convolution, doubled at each coarser level.
        num_features: Values per image: 1 for a score, more for the features between which `SinkhornGAN` and `OTGAN`
            transport.

    Returns:
        `keras.Model` from images (batch, *image_shape) to (batch, num_features).

    Raises:
        ValueError: If a size is not a multiple of 4, or another argument is out of range.

    Example:
        >>> dcgan_critic((28, 28, 1), filters=4, num_features=256).output_shape
        (None, 256)
    """
    return _judge(image_shape, filters, "layer", num_features, "critic")


def _judge(image_shape, filters, norm, num_features, name):
    height, width, channels, levels = _levels(image_shape)
    _check(filters, norm)
    check_positive("num_features", num_features)
    inputs = keras.Input((height, width, channels))
    x = inputs
    for level in range(levels):
        normed = norm if level > 0 else None
        x = layers.Conv2D(
            int(filters) * 2**level,
            4,
            strides=2,
            padding="same",
            use_bias=normed is None,
            kernel_initializer=_start(),
        )(x)
        x = layers.LeakyReLU(0.2)(_norm(normed, x))
    outputs = layers.Dense(int(num_features), kernel_initializer=_start(), dtype="float32")(layers.Flatten()(x))
    return keras.Model(inputs, outputs, name=name)


def _levels(image_shape):
    """Height, width, channels, and how often the sizes are halved: while even and above 7, at least once."""
    if not are_whole(image_shape) or len(image_shape) != 3 or any(size % 4 for size in image_shape[:2]):
        advice = "Resize or pad the images, for example to (28, 28, 1) or (32, 32, 3)."
        if are_whole(image_shape) and len(image_shape) == 2:
            advice = f"Add the channels: ({image_shape[0]}, {image_shape[1]}, 1)."
        raise ValueError(
            "`image_shape` must be three whole numbers (height, width, channels) with height and width multiples of 4, "
            f"because each level halves them. Received: {image_shape!r}. {advice}"
        )
    # Keras takes no whole numbers of NumPy.
    height, width, channels = map(int, image_shape)
    levels = 1
    while all((size >> levels) % 2 == 0 and (size >> levels) > 7 for size in (height, width)):
        levels += 1
    return height, width, channels, levels


def _start():
    return keras.initializers.RandomNormal(stddev=0.02)


def _check(filters, norm):
    check_positive("filters", filters)
    check_choice("norm", norm, ("batch", "sync_batch", "layer", None))


def _norm(norm, x):
    if norm in ("batch", "sync_batch"):
        return layers.BatchNormalization(momentum=0.9, synchronized=norm == "sync_batch")(x)
    # One group over all channels: layer normalisation over height, width and channels, with a gain per channel.
    return layers.GroupNormalization(groups=1, epsilon=1e-5)(x) if norm == "layer" else x
