"""Networks of Mask R-CNN (He et al. 2017): feature pyramid, region proposals, and heads for boxes and masks."""

import keras
import tensorflow as tf
from keras import initializers, layers, ops

from zoo.checks import check_positive


def feature_pyramid(channels, width=256):
    """Features of one width at strides of 4 to 64 from those of a backbone (Lin et al. 2017, section 3).

    Args:
        channels: Numbers of channels of the four levels C2 to C5.
        width: Channels of every level that is made.

    Returns:
        `keras.Model` from [C2, ..., C5] to [P2, ..., P6], each (batch, height, width, `width`), halved from one to the
        next; heights and widths of C2 are multiples of 8.

    Example:
        >>> levels = feature_pyramid([8, 16, 32, 64], width=4)
        >>> found = levels([np.zeros((1, 64 // 2**level, 64 // 2**level, 8 * 2**level)) for level in range(4)])
        >>> [one.shape for one in found][::2]
        [TensorShape([1, 64, 64, 4]), TensorShape([1, 16, 16, 4]), TensorShape([1, 4, 4, 4])]
    """
    check_positive("width", width)
    # KerasCV's layer of this name has no `build`, so that its weights are not there when a file is loaded.
    inputs = [keras.Input((None, None, number)) for number in channels]
    merged, outputs = None, []
    for level, one in list(zip(range(2, 6), inputs, strict=True))[::-1]:
        lateral = layers.Conv2D(width, 1, name=f"lateral_{level}", kernel_initializer=_plain())(one)
        merged = lateral if merged is None else layers.Add()([lateral, layers.UpSampling2D(2)(merged)])
        output = layers.Conv2D(width, 3, padding="same", name=f"output_{level}", kernel_initializer=_plain())
        outputs.append(output(merged))
    coarsest = layers.MaxPooling2D(1, 2, name="coarsest")(outputs[0])
    return keras.Model(inputs, [*outputs[::-1], coarsest], name="feature_pyramid")


def rpn_head(width=256, num_anchors=3):
    """How likely each anchor is an object, and how it has to move, from the features of a level (Ren et al. 2015).

    Args:
        width: Channels of the features.
        num_anchors: Anchors at each place.

    Returns:
        `keras.Model` from (batch, height, width, channels) to logits (batch, height, width, A) and deltas (batch,
        height, width, 4 A), those of an anchor side by side.

    Example:
        >>> logits, deltas = rpn_head(width=8)(np.zeros((1, 4, 6, 8)))
        >>> logits.shape, deltas.shape
        (TensorShape([1, 4, 6, 3]), TensorShape([1, 4, 6, 12]))
    """
    inputs = keras.Input((None, None, width))
    x = layers.Conv2D(width, 3, padding="same", activation="relu", name="conv", kernel_initializer=_normal(0.01))(
        inputs
    )
    logits = layers.Conv2D(num_anchors, 1, name="objectness", kernel_initializer=_normal(0.01))(x)
    deltas = layers.Conv2D(4 * num_anchors, 1, name="deltas", kernel_initializer=_normal(0.01))(x)
    return keras.Model(inputs, [logits, deltas], name="rpn_head")


def box_head(num_classes, width=256, size=7, hidden=1024):
    """The class of a region, and how its box has to move for each class.

    Args:
        num_classes: Classes, background not counted.
        width: Channels of the features.
        size: Cells of a side of a region.
        hidden: Width of the two layers.

    Returns:
        `keras.Model` from (n, size, size, width) to logits (n, 1 + num_classes), the background first, and deltas
        (n, 4 num_classes), those of a class side by side.

    Example:
        >>> box_head(num_classes=5, width=8, hidden=16).output_shape
        [(None, 6), (None, 20)]
    """
    inputs = keras.Input((size, size, width))
    x = layers.Flatten()(inputs)
    for number in (1, 2):
        x = layers.Dense(hidden, activation="relu", name=f"hidden_{number}", kernel_initializer=_plain())(x)
    logits = layers.Dense(1 + num_classes, name="scores", kernel_initializer=_normal(0.01))(x)
    deltas = layers.Dense(4 * num_classes, name="deltas", kernel_initializer=_normal(0.001))(x)
    return keras.Model(inputs, [logits, deltas], name="box_head")


def mask_head(num_classes, width=256, size=14, num_layers=4):
    """The mask of a region, for the one class that it is asked for.

    Args:
        num_classes: Classes, background not counted.
        width: Channels of the features and of the layers.
        size: Cells of a side of a region; the mask has twice as many.
        num_layers: Convolutions before the features are enlarged (paper: 4).

    Returns:
        `keras.Model` from regions (n, size, size, width) and classes, int (n,), to logits (n, 2 size, 2 size).

    Example:
        >>> mask_head(num_classes=5, width=8, size=14, num_layers=1).output_shape
        (None, 28, 28)
    """
    inputs, classes = keras.Input((size, size, width)), keras.Input((), dtype="int32")
    x = inputs
    for number in range(1, num_layers + 1):
        kernel = initializers.HeNormal()
        x = layers.Conv2D(
            width, 3, padding="same", activation="relu", name=f"conv_{number}", kernel_initializer=kernel
        )(x)
    x = layers.Conv2DTranspose(
        width, 2, 2, activation="relu", name="upsample", kernel_initializer=initializers.HeNormal()
    )(x)
    return keras.Model([inputs, classes], ClassMasks(num_classes, name="class_masks")(x, classes), name="mask_head")


@keras.saving.register_keras_serializable("zoo")
class ClassMasks(layers.Layer):
    """A 1 x 1 convolution to one mask for each class, of which only the one asked for is computed.

    Args:
        num_classes: Number of classes.

    Takes features (n, height, width, channels) and classes (n,), returns logits (n, height, width).

    Example:
        >>> ClassMasks(5)(np.zeros((2, 28, 28, 8)), np.array([0, 3])).shape
        TensorShape([2, 28, 28])
    """

    def __init__(self, num_classes, **kwargs):
        super().__init__(**kwargs)
        check_positive("num_classes", num_classes)
        self.num_classes = int(num_classes)

    def build(self, features_shape, classes_shape=None):
        """Makes the weights: one row of channels, and one number, for each class."""
        shape = (self.num_classes, features_shape[-1])
        self.kernel = self.add_weight(shape=shape, initializer=initializers.RandomNormal(stddev=0.01), name="kernel")
        self.bias = self.add_weight(shape=shape[:1], initializer="zeros", name="bias")

    def call(self, features, classes):
        """The logits."""
        kernels, biases = (ops.take(one, classes, axis=0) for one in (self.kernel, self.bias))
        return ops.einsum("nhwc,nc->nhw", features, kernels) + biases[:, None, None]

    def compute_output_shape(self, features_shape, classes_shape=None):
        """The shape of the logits."""
        return tuple(features_shape[:-1])

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes}


def pyramid_levels(backbone, batch_norm="live"):
    """A backbone of KerasCV as a network to its features at strides of 4, 8, 16 and 32.

    Args:
        backbone: KerasCV backbone with `pyramid_level_inputs` for the levels 2 to 5, such as
            `keras_cv.models.ResNetBackbone`, without rescaling of its own.
        batch_norm: "live" to train its batch normalisation, "frozen" to keep statistics and scales as they are, which
            is for pre-trained weights.

    Returns:
        `keras.Model` from images to [C2, C3, C4, C5], of the same layers.

    Raises:
        ValueError: If the backbone names no such levels.

    Example:
        >>> import keras_cv
        >>> sizes = {"stackwise_filters": [2, 4, 8, 16], "stackwise_blocks": [1] * 4, "stackwise_strides": [1, 2, 2, 2]}
        >>> backbone = keras_cv.models.ResNetBackbone(include_rescaling=False, **sizes)
        >>> [shape[-1] for shape in pyramid_levels(backbone, batch_norm="frozen").output_shape]
        [8, 16, 32, 64]
    """
    names = getattr(backbone, "pyramid_level_inputs", {})
    names = {int(str(level).removeprefix("P")): name for level, name in names.items()}
    if not {2, 3, 4, 5} <= set(names):
        raise ValueError(
            "The backbone must name its layers at strides of 4, 8, 16 and 32 in `pyramid_level_inputs`, as KerasCV's "
            f"ResNets do. Received: {backbone.name} with levels {sorted(names) or None}. Any other network will do as "
            "`keras.Model(backbone.input, [c2, c3, c4, c5])`."
        )
    if batch_norm == "frozen":
        for layer in backbone.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = False
    return keras.Model(
        backbone.input, [backbone.get_layer(names[level]).output for level in (2, 3, 4, 5)], name="levels"
    )


def round_up(side, stride):
    """The least multiple of a stride that is no less than a side, of Python numbers or tensors.

    No remainder of a negative number is taken, which has another sign in ONNX than in TensorFlow.

    Example:
        >>> round_up(33, 32), round_up(64, 32)
        (64, 64)
    """
    return (side + stride - 1) // stride * stride


def pad_to_multiple(images, stride):
    """Images (batch, height, width, channels) with zeros below and on the right, up to multiples of a stride.

    Example:
        >>> pad_to_multiple(np.zeros((1, 33, 64, 3)), 32).shape
        TensorShape([1, 64, 64, 3])
    """
    rows, height, width = (images.shape[axis] or tf.shape(images)[axis] for axis in range(3))
    sides = [round_up(side, stride) for side in (height, width)]
    padded = tf.pad(images, ((0, 0), (0, sides[0] - height), (0, sides[1] - width), (0, 0)))
    # Converters to other runtimes know no channels of what is padded by numbers that they do not know.
    return tf.reshape(padded, (rows, *sides, images.shape[3]))


def _plain():
    return initializers.VarianceScaling(1.0, "fan_avg", "uniform")


def _normal(deviation):
    return initializers.RandomNormal(stddev=deviation)
