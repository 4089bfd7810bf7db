"""Residual generator and patch discriminator of CycleGAN (Zhu et al. 2017, section 7.2), for images of any size."""

import keras
from keras import layers, ops

from zoo.checks import are_whole, check_positive

# Below, instance normalisation would divide by the spread of four pixels, which may be next to nothing.
_MULTIPLE, _LEAST = 4, 16


@keras.saving.register_keras_serializable("zoo")
class ReflectionPadding2D(layers.Layer):
    """Continues images over their borders as in a mirror that stands on the outermost pixels.

    Args:
        padding: Pixels added on each side, fewer than the image has.

    Takes and returns images (batch, height, width, channels), `2 * padding` larger in height and width.

    Example:
        >>> np.array(ReflectionPadding2D(1)(np.arange(9.0).reshape(1, 3, 3, 1)))[0, :, :, 0]
        array([[4., 3., 4., 5., 4.],
               [1., 0., 1., 2., 1.],
               [4., 3., 4., 5., 4.],
               [7., 6., 7., 8., 7.],
               [4., 3., 4., 5., 4.]], dtype=float32)
    """

    def __init__(self, padding, **kwargs):
        super().__init__(**kwargs)
        check_positive("padding", padding)
        self.padding = int(padding)

    def call(self, images):
        """The padded images."""
        sides = (self.padding, self.padding)
        return ops.pad(images, ((0, 0), sides, sides, (0, 0)), mode="reflect")

    def compute_output_shape(self, input_shape):
        """The shape of the padded images."""
        batch, *sides, channels = input_shape
        return (batch, *(None if side is None else side + 2 * self.padding for side in sides), channels)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "padding": self.padding}


def resnet_generator(image_shape, filters=64, num_blocks=None, out_channels=None):
    """Images to images of the same size: two halvings, residual blocks, two doublings, tanh.

    c7s1-64, d128, d256, R256 (6 or 9 times), u128, u64, c7s1-3 of the paper for `filters=64`, with instance
    normalisation and ReLU, reflection at the borders of the 7x7 convolutions and of the blocks. As in the authors'
    code, the normalisation has neither gains nor offsets, and residual blocks end without an activation.

    Args:
        image_shape: (height, width, channels) of the images to train on; height and width are multiples of 4, at least
            16. It decides the number of blocks; the network itself takes images of any such size.
        filters: Channels of the first convolution.
        num_blocks: Residual blocks; None for the paper's 9 from 256 pixels on, and 6 below.
        out_channels: Channels of the images made; None for as many as are given.

    Returns:
        `keras.Model` from images (batch, height, width, channels) to (batch, height, width, out_channels) in [-1, 1].

    Raises:
        ValueError: If a size is not a multiple of 4, or another argument is out of range.

    Example:
        >>> generator = resnet_generator((16, 16, 3), filters=4, num_blocks=1)
        >>> generator(np.zeros((1, 24, 16, 3))).shape  # of another size than it was built for
        TensorShape([1, 24, 16, 3])
    """
    height, width, channels = _checked(image_shape, filters)
    num_blocks = (9 if min(height, width) >= 256 else 6) if num_blocks is None else num_blocks
    out_channels = channels if out_channels is None else out_channels
    check_positive("num_blocks", num_blocks)
    check_positive("out_channels", out_channels)
    inputs = keras.Input((None, None, channels))
    x = _normed(_conv(filters, 7)(ReflectionPadding2D(3)(inputs)))
    for factor in (2, 4):
        x = _normed(_conv(factor * filters, 3, strides=2, padding="same")(x))
    for _ in range(num_blocks):
        branch = _normed(_conv(4 * filters, 3)(ReflectionPadding2D(1)(x)))
        branch = _normed(_conv(4 * filters, 3)(ReflectionPadding2D(1)(branch)), activate=False)
        x = layers.Add()([x, branch])
    for factor in (2, 1):
        x = _normed(
            layers.Conv2DTranspose(
                factor * filters, 3, strides=2, padding="same", use_bias=False, kernel_initializer=_start()
            )(x)
        )
    x = _conv(out_channels, 7, use_bias=True)(ReflectionPadding2D(3)(x))
    outputs = layers.Activation("tanh", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="generator")


def patch_discriminator(image_shape, filters=64, num_levels=None):
    """Images to one logit for each patch (PatchGAN): strided 4x4 convolutions, LeakyReLU(0.2), instance normalisation.

    C64-C128-C256-C512 of the paper for `filters=64` and three levels, whose patches have 70 x 70 pixels; two levels
    make 34 x 34, one 16 x 16. Padding here keeps sizes: with three levels a side of n pixels has n / 8 patches, 32 x 32
    of 256 x 256 pixels. The authors' code pads by one pixel, which makes two fewer, 30 x 30; patches at the border see
    more padding here.

    Args:
        image_shape: (height, width, channels); height and width are multiples of 4, at least 16.
        filters: Channels of the first convolution, doubled at each level up to eightfold.
        num_levels: How often height and width are halved; None for 1 below 28 pixels, 2 below 64, and the paper's 3
            from there on.

    Returns:
        `keras.Model` from images (batch, *image_shape) to (batch, rows, columns, 1).

    Raises:
        ValueError: If a size is not a multiple of 4, or another argument is out of range.

    Example:
        >>> patch_discriminator((256, 256, 3), filters=4).output_shape
        (None, 32, 32, 1)
    """
    image_shape = _checked(image_shape, filters)
    if num_levels is None:
        num_levels = 1 + sum(min(image_shape[:2]) >= size for size in (28, 64))
    check_positive("num_levels", num_levels)
    inputs = keras.Input(image_shape)
    x = layers.LeakyReLU(0.2)(_conv(filters, 4, strides=2, padding="same", use_bias=True)(inputs))
    for level in range(1, num_levels + 1):
        strides = 2 if level < num_levels else 1
        x = _conv(filters * min(2**level, 8), 4, strides=strides, padding="same")(x)
        x = layers.LeakyReLU(0.2)(_instance_norm()(x))
    x = _conv(1, 4, padding="same", use_bias=True)(x)
    return keras.Model(inputs, layers.Activation("linear", dtype="float32")(x), name="discriminator")


def _conv(filters, kernel_size, use_bias=False, **options):
    # A bias before instance normalisation would be taken away by it.
    return layers.Conv2D(filters, kernel_size, use_bias=use_bias, kernel_initializer=_start(), **options)


def _normed(x, activate=True):
    x = _instance_norm()(x)
    return layers.ReLU()(x) if activate else x


def _instance_norm():
    return layers.GroupNormalization(groups=-1, center=False, scale=False, epsilon=1e-5)


def _start():
    return keras.initializers.RandomNormal(stddev=0.02)


def _checked(image_shape, filters):
    """The shape as Python numbers, which Keras asks for."""
    check_positive("filters", filters)
    good = are_whole(image_shape) and len(image_shape) == 3
    if not good or any(size % _MULTIPLE or size < _LEAST for size in image_shape[:2]):
        raise ValueError(
            f"`image_shape` must be three whole numbers (height, width, channels) with height and width multiples of "
            f"{_MULTIPLE}, at least {_LEAST}, because images are halved twice. Received: {image_shape!r}. Resize the "
            "images: `image_size` of `zoo.data.load_pair`, `--image-size` of the recipe."
        )
    return tuple(map(int, image_shape))
