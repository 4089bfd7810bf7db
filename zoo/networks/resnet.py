"""The residual networks of torchvision (He et al. 2015, version 1.5), which take its trained weights; and a way up."""

from functools import partial

import keras
import tensorflow as tf
from keras import initializers, layers

from zoo.checks import are_whole, check_choice, check_kind, check_number, check_positive, check_whole

# Blocks of the four stages, and whether they are bottlenecks.
_DEPTHS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
_STAGES = ("conv1", "layer1", "layer2", "layer3", "layer4")
# How many times its width a bottleneck has when it ends.
_EXPANSION = 4


def torchvision_resnet(
    depth=50, *, batch_norm="frozen", channels=3, width=64, blocks=None, trainable_stages=5, epsilon=1e-5
):
    """Features at four strides, from the ResNet of torchvision, weight by weight.

    Layers are named as torchvision names its modules, `layer1_0_conv1` for `layer1.0.conv1`. As there, a stage is made
    smaller by its first 3 x 3 convolution ("version 1.5"), and padding is the same on all sides, so networks of Keras
    Applications and KerasCV cannot take these weights. `load_torchvision_weights` loads them; without, weights are
    random.

    Args:
        depth: 18 or 34, of two 3 x 3 convolutions a block; 50, 101 or 152, of bottlenecks.
        batch_norm: "frozen" to leave statistics, scales and offsets as they are, for weights that are trained, since
            otherwise nothing is normalised; "live" to train them.
        channels: Channels of the images.
        width: Channels of the first convolution; torchvision's weights have 64.
        blocks: Numbers of blocks of the four stages; None for those of `depth`.
        trainable_stages: How many of the five stages, counted from the last, are trained; torchvision trains 3 of a
            detector with trained weights. Others keep their batch normalisation as it is, also where it is live.
        epsilon: What is added to variances. The detectors that torchvision published in 2019, such as
            `maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth`, need 0.

    Returns:
        `keras.Model` from images (batch, height, width, channels), of any size, to [C2, C3, C4, C5], of 1/4, 1/8, 1/16
        and 1/32 of the height and width, rounded up. Images are as torchvision takes them: in [0, 1], minus
        (0.485, 0.456, 0.406), divided by (0.229, 0.224, 0.225).

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> backbone = torchvision_resnet(18, width=8)
        >>> [tuple(features.shape) for features in backbone(np.zeros((1, 64, 96, 3)))]
        [(1, 16, 24, 8), (1, 8, 12, 16), (1, 4, 6, 32), (1, 2, 3, 64)]

        backbone = torchvision_resnet(50, trainable_stages=3)
        load_torchvision_weights(backbone, "resnet50-0676ba61.pth")
        c2, c3, c4, c5 = backbone(images)
    """
    check_choice("depth", depth, tuple(_DEPTHS))
    check_choice("batch_norm", batch_norm, ("frozen", "live"))
    check_positive("channels", channels)
    check_positive("width", width)
    check_whole("trainable_stages", trainable_stages, low=0, high=len(_STAGES))
    check_number("epsilon", epsilon, 0)
    usual, is_bottleneck = _DEPTHS[depth]
    blocks = usual if blocks is None else blocks
    if not are_whole(blocks) or len(blocks) != len(usual):
        raise ValueError(f"`blocks` must be four whole numbers of 1 or more, one for each stage. Received: {blocks!r}.")

    frozen = _STAGES[: len(_STAGES) - trainable_stages]
    conv = _frozen_conv if batch_norm == "frozen" else _live_conv

    def make(x, filters, kernel_size, strides, name, norm):
        is_trained = not name.startswith(frozen)
        return conv(x, filters, kernel_size, strides, name, norm, epsilon=epsilon, trainable=is_trained)

    block = _bottleneck if is_bottleneck else _basic
    inputs = keras.Input((None, None, channels), name="images")
    x = layers.ReLU(name="relu")(make(inputs, width, 7, 2, "conv1", "bn1"))
    # After ReLU zeros are as good as the infinities that torchvision pads with.
    x = layers.MaxPooling2D(3, 2, name="maxpool")(layers.ZeroPadding2D(1, name="maxpool_pad")(x))
    outputs = []
    for stage, number in enumerate(blocks):
        for place in range(number):
            strides = 2 if stage and not place else 1
            x = block(x, width << stage, strides, f"layer{stage + 1}_{place}", make)
        outputs.append(x)
    return keras.Model(inputs, outputs, name=f"torchvision_resnet{depth}")


def top_down(network, blocks=(1, 1)):
    """Features at strides of 8 and 16 that know the coarser ones, as on the way up in a U-Net.

    The coarsest features, brought to the channels of the next finer ones by a convolution of 1 x 1 and made twice as
    fine, are added to these, and blocks of two 3 x 3 convolutions follow; the same once more. So what a cell looks like
    and what it is part of meet before classes are scored, where the skips of an FCN only add up scores of each.

    Args:
        network: `keras.Model` from images to features at strides of 8, 16 and 32, such as
            `zoo.fcn_levels(torchvision_resnet(18, batch_norm="live"))`, for images of multiples of 32 pixels a side.
        blocks: Numbers of residual blocks at strides of 16 and 8, each 1 or more.

    Returns:
        `keras.Model` from images to [D3, D4, C5], of the same strides and channels; batch normalisation is live.

    Raises:
        ValueError: If the network has other than three outputs, or `blocks` are not two whole numbers of 1 or more.

    Example:
        >>> top_down(fcn_levels(torchvision_resnet(18, width=8, batch_norm="live"))).output_shape
        [(None, None, None, 16), (None, None, None, 32), (None, None, None, 64)]

        FCN(top_down(fcn_levels(torchvision_resnet(18, batch_norm="live")), (2, 2)), num_classes=11)

    Reference: Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597; sums instead of concatenations, as in feature
    pyramids (Lin et al. 2017, https://arxiv.org/abs/1612.03144).
    """
    check_kind("network", network, keras.Model, "a network to features at strides of 8, 16 and 32")
    if len(network.outputs) != 3:
        raise ValueError(
            f"`network` must have three outputs, at strides of 8, 16 and 32. Received: {len(network.outputs)}. "
            "`zoo.fcn_levels(network)` gives them."
        )
    if not are_whole(blocks) or len(blocks) != 2:
        raise ValueError(f"`blocks` must be two whole numbers of 1 or more, of strides 16 and 8. Received: {blocks!r}.")
    make = partial(_live_conv, epsilon=1e-5, trainable=True)
    *finer, x = network.outputs
    outputs = [x]
    for level, number in zip((4, 3), blocks, strict=True):
        skip = finer.pop()
        x = make(x, skip.shape[-1], 1, 1, f"down{level}_lateral", f"down{level}_lateral_bn")
        x = layers.UpSampling2D(2, name=f"down{level}_up")(x)
        x = layers.ReLU(name=f"down{level}_relu")(layers.Add(name=f"down{level}_add")([x, skip]))
        for place in range(number):
            x = _basic(x, skip.shape[-1], 1, f"down{level}_{place}", make)
        outputs.append(x)
    return keras.Model(network.input, outputs[::-1], name="top_down")


@keras.saving.register_keras_serializable("zoo")
class FrozenNormConv2D(layers.Layer):
    """A convolution and a batch normalisation whose statistics, scale and offset stay as they are.

    conv(x) * scale / sqrt(variance + epsilon) + offset - mean * scale / sqrt(variance + epsilon)

    Only the kernel is trained. In training, the factor is multiplied into it, so that no second tensor of features is
    made or kept; otherwise TensorFlow applies it to what the convolution puts out, in the same operation.

    Args:
        filters: Channels that are made.
        kernel_size: Side of the kernel, an odd number; images are padded with half of it on each side.
        strides: Step in height and width.
        epsilon: What is added to the variance.

    Takes features (batch, height, width, channels), returns (batch, height / strides, width / strides, filters),
    rounded up.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> FrozenNormConv2D(64, 7, strides=2)(np.zeros((1, 33, 32, 3))).shape
        TensorShape([1, 17, 16, 64])
    """

    def __init__(self, filters, kernel_size, strides=1, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        check_positive("filters", filters)
        check_positive("kernel_size", kernel_size)
        check_positive("strides", strides)
        check_number("epsilon", epsilon, 0)
        if kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd, to be padded alike on all sides. Received: {kernel_size}.")
        self.filters, self.kernel_size, self.strides = int(filters), int(kernel_size), int(strides)
        self.epsilon = float(epsilon)

    def build(self, input_shape):
        """Makes the kernel, and what normalises, which changes nothing to begin with."""
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=_start(), name="kernel")
        # Of 16 bits, a small variance would be 0.
        options = {"shape": (self.filters,), "trainable": False, "autocast": False}
        self.gamma = self.add_weight(initializer="ones", name="gamma", **options)
        self.beta = self.add_weight(initializer="zeros", name="beta", **options)
        self.mean = self.add_weight(initializer="zeros", name="mean", **options)
        self.variance = self.add_weight(initializer="ones", name="variance", **options)

    def call(self, features, training=False):
        """The normalised features."""
        sides = [self.kernel_size // 2] * 2
        options = {"strides": self.strides, "padding": [[0, 0], sides, sides, [0, 0]]}
        kernel = tf.convert_to_tensor(self.kernel)
        gamma, beta, mean, variance = map(tf.convert_to_tensor, (self.gamma, self.beta, self.mean, self.variance))
        scale = gamma * tf.math.rsqrt(variance + self.epsilon)
        if training or features.dtype == tf.float64:  # for which the other operation is not made
            offset = tf.cast(beta - mean * scale, features.dtype)
            return tf.nn.bias_add(tf.nn.conv2d(features, kernel * tf.cast(scale, kernel.dtype), **options), offset)
        # The operation adds its own epsilon, which cuDNN wants to be above 1e-5, whatever ours is.
        rest = 1e-3
        ones = tf.fill(tf.shape(scale), 1 - rest)
        features = tf.nn.conv2d(features, kernel, **options)
        return tf.compat.v1.nn.fused_batch_norm(features, scale, beta, mean, ones, rest, is_training=False)[0]

    def compute_output_shape(self, input_shape):
        """The shape of the features."""
        batch, *sides, _ = input_shape
        return (batch, *(side and (side - 1) // self.strides + 1 for side in sides), self.filters)

    def get_config(self):
        """The constructor's arguments."""
        names = ("filters", "kernel_size", "strides", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _basic(x, filters, strides, name, make):
    """Two convolutions of 3 x 3, beside what comes in."""
    branch = layers.ReLU(name=f"{name}_relu1")(make(x, filters, 3, strides, f"{name}_conv1", f"{name}_bn1"))
    branch = make(branch, filters, 3, 1, f"{name}_conv2", f"{name}_bn2")
    return _joined(x, branch, filters, strides, name, make)


def _bottleneck(x, filters, strides, name, make):
    """A convolution of 3 x 3 between two of 1 x 1, beside what comes in."""
    branch = layers.ReLU(name=f"{name}_relu1")(make(x, filters, 1, 1, f"{name}_conv1", f"{name}_bn1"))
    branch = layers.ReLU(name=f"{name}_relu2")(make(branch, filters, 3, strides, f"{name}_conv2", f"{name}_bn2"))
    branch = make(branch, _EXPANSION * filters, 1, 1, f"{name}_conv3", f"{name}_bn3")
    return _joined(x, branch, _EXPANSION * filters, strides, name, make)


def _joined(x, branch, filters, strides, name, make):
    if strides != 1 or x.shape[-1] != filters:
        x = make(x, filters, 1, strides, f"{name}_downsample_0", f"{name}_downsample_1")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([branch, x]))


def _frozen_conv(x, filters, kernel_size, strides, name, norm, *, epsilon, trainable):
    return FrozenNormConv2D(filters, kernel_size, strides, epsilon, name=name, trainable=trainable)(x)


def _live_conv(x, filters, kernel_size, strides, name, norm, *, epsilon, trainable):
    if strides == 1 or kernel_size == 1:
        padding = "same"
    else:
        # Keras would pad more at the end than at the beginning.
        x, padding = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x), "valid"
    options = {"use_bias": False, "kernel_initializer": _start(), "trainable": trainable}
    x = layers.Conv2D(filters, kernel_size, strides, padding, name=name, **options)(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name=norm, trainable=trainable)(x)


def _start():
    return initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
