"""The parts of fully convolutional networks (Long et al. 2015) around a backbone."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import initializers, layers, ops

from zoo.archive import Budget, Unreadable, brief
from zoo.checks import check_choice, check_kind, check_number, check_positive
from zoo.networks.detection import pyramid_levels
from zoo.networks.dropout import KeyedDropout

STRIDES = (32, 16, 8)
# Means of red, green and blue, in [0, 255], of the images that VGG was trained on.
_VGG_MEAN = (123.68, 116.779, 103.939)
_CONVOLUTIONS = tuple(f"block{block}_conv{layer}" for block in range(1, 6) for layer in range(1, 3 + (block > 2)))


def fcn_levels(backbone, batch_norm="live"):
    """A backbone as a network to its features at strides of 8, 16 and 32.

    Args:
        backbone: KerasCV's `VGG16Backbone` without its top and rescaling; another backbone of KerasCV with
            `pyramid_level_inputs`, such as its ResNets; or a `keras.Model` whose last three outputs are these.
        batch_norm: "live" to train the batch normalisation of KerasCV's ResNets, "frozen" to keep it as it is.

    Returns:
        `keras.Model` from images to [C3, C4, C5], of the same layers.

    Raises:
        ValueError: If the backbone has no such features.

    Example:
        >>> fcn_levels(torchvision_resnet(18, width=8)).output_shape
        [(None, None, None, 16), (None, None, None, 32), (None, None, None, 64)]

        vgg = keras_cv.models.VGG16Backbone(False, False, input_shape=(None, None, 3))
        pool3, pool4, pool5 = fcn_levels(vgg)(images)
    """
    names = {layer.name for layer in backbone.layers}
    pools = [f"block{block}_pool" for block in (3, 4, 5)]
    if len(backbone.outputs) >= len(STRIDES):
        outputs = backbone.outputs[-3:]
    elif set(pools) <= names:
        outputs = [backbone.get_layer(name).output for name in pools]
    elif hasattr(backbone, "pyramid_level_inputs"):
        outputs = pyramid_levels(backbone, batch_norm).outputs[1:]
    else:
        raise ValueError(
            "The backbone must give features at strides of 8, 16 and 32. Expected: KerasCV's `VGG16Backbone` or "
            f"`ResNetBackbone`, or a network with three outputs. Received: {backbone.name} with "
            f"{len(backbone.outputs)}. `keras.Model(backbone.input, [c3, c4, c5])` makes one."
        )
    return keras.Model(backbone.input, outputs, name="levels")


def fcn_head(channels, num_classes, stride=8, *, width=4096, kernel_size=7, dropout=0.5, scales=(1.0, 1.0)):
    """Scores of each pixel from features at strides of 8, 16 and 32 (Long et al. 2015, sections 4.1 and 4.2).

    The fully connected layers of a classifier as convolutions, fc6 and fc7; a score for each class at stride 32, made
    twice as fine by a transposed convolution that begins as bilinear interpolation and is trained; added to it, scores
    of the features at stride 16, and the same once more for stride 8; and bilinear interpolation to pixels, which is
    not trained, as in the paper. All scores begin at 0.

    The paper pads images by 100 pixels and crops by offsets. Here nothing is to be cropped: images are padded to
    multiples of 32 and all layers keep the size, so that a cell lies in the middle of its 32 x 32 pixels.

    Args:
        channels: Channels of the features, three numbers.
        num_classes: Number of classes, background included.
        stride: Of the finest features that are scored: 32, 16 or 8, for FCN-32s, FCN-16s, FCN-8s.
        width: Channels of fc6 and fc7 (paper: 4096); 0 to score the features at stride 32 as they are.
        kernel_size: Of fc6 (paper: 7).
        dropout: Share of fc6 and of fc7 that is left out in training.
        scales: Factors of the features at strides 16 and 8 before they are scored; the authors' FCN-8s that is trained
            at once has 0.01 and 0.0001, since features of VGG are large.

    Returns:
        `keras.Model` from [C3, C4, C5, keys] to scores (batch, 32 h, 32 w, num_classes), C5 being (batch, h, w, _);
        dropout follows from `keys`, int64 (batch,).

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> head = fcn_head([16, 32, 64], num_classes=3, width=8, kernel_size=3)
        >>> features = [np.zeros((1, side, side, channels)) for side, channels in ((8, 16), (4, 32), (2, 64))]
        >>> head([*features, np.array([0])]).shape
        TensorShape([1, 64, 64, 3])
    """
    if len(channels) != len(STRIDES):
        raise ValueError(f"`channels` must be those of three features. Received: {channels!r}.")
    check_positive("num_classes", num_classes)
    check_choice("stride", stride, STRIDES)
    check_positive("kernel_size", kernel_size)
    check_number("dropout", dropout, 0, below=1)
    keys = keras.Input((), dtype="int64", name="keys")
    features = [keras.Input((None, None, size), name=f"c{level}") for level, size in enumerate(channels, 3)]
    x = features[-1]
    if width:
        check_positive("width", width)
        for number, (name, size) in enumerate((("fc6", kernel_size), ("fc7", 1))):
            x = layers.Conv2D(
                width, size, padding="same", activation="relu", kernel_initializer="he_normal", name=name
            )(x)
            x = KeyedDropout(dropout, number, name=f"drop{number + 6}")(x, keys=keys)
    x = _score(num_classes, "score_fr")(x)
    for level, scale in zip((4, 3), scales, strict=True):
        if stride <= 2**level:
            finer = features[level - 3]
            finer = layers.Rescaling(scale, name=f"scale_c{level}")(finer) if scale != 1 else finer
            x = layers.Conv2DTranspose(
                num_classes,
                4,
                strides=2,
                padding="same",
                use_bias=False,
                kernel_initializer=Bilinear(),
                name=f"upscore_to_c{level}",
            )(x)
            x = layers.Add(name=f"fuse_c{level}")([x, _score(num_classes, f"score_c{level}")(finer)])
    outputs = BilinearUpsampling(stride, name=f"upscore{stride}")(x)
    return keras.Model([*features, keys], outputs, name=f"fcn{stride}s_head")


@keras.saving.register_keras_serializable("zoo")
class Bilinear(initializers.Initializer):
    """The kernel of a transposed convolution of stride k / 2 that interpolates each channel bilinearly, k being even.

    Far from the border such a convolution gives what `BilinearUpsampling` does.

    Example:
        >>> np.round(Bilinear()((4, 4, 1, 1))[1, :, 0, 0], 4)  # 3/4 of (1/4, 3/4, 3/4, 1/4)
        array([0.1875, 0.5625, 0.5625, 0.1875], dtype=float32)
    """

    def __call__(self, shape, dtype=None):
        """A kernel (k, k, channels, channels)."""
        size, _, made, given = shape
        if size % 2 or shape[1] != size or made != given:
            raise ValueError(f"The kernel must be (k, k, channels, channels) with k even. Received: {tuple(shape)}.")
        line = 1 - np.abs((np.arange(size) + 0.5) / (size / 2) - 1)
        kernel = line[:, None, None, None] * line[:, None, None] * np.eye(made)
        return ops.cast(kernel.astype("float32"), dtype or "float32")


@keras.saving.register_keras_serializable("zoo")
class BilinearUpsampling(layers.Layer):
    """Makes features a whole number of times as fine by bilinear interpolation between the centres of their cells.

    Args:
        factor: The number.

    Example:
        >>> np.array(BilinearUpsampling(2)(np.array([0.0, 4.0], "float32").reshape(1, 1, 2, 1)))[0, 0, :, 0]
        array([0., 1., 3., 4.], dtype=float32)
    """

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        check_positive("factor", factor)
        self.factor = factor
        self.built = True

    def call(self, x):
        """(batch, height, width, channels) to (batch, factor height, factor width, channels)."""
        return tf.cast(tf.image.resize(x, self.factor * tf.shape(x)[1:3]), x.dtype)

    def compute_output_shape(self, input_shape):
        """The shape of the result."""
        sides = [None if side is None else side * self.factor for side in input_shape[1:3]]
        return (input_shape[0], *sides, input_shape[3])

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "factor": self.factor}


def carry_over(earlier, later):
    """Gives a network the weights of another, layer by layer of the same name: FCN-16s begins with those of FCN-32s.

    Args:
        earlier: `keras.Model` that was trained.
        later: `keras.Model` that takes what fits; its other layers stay as they are.

    Returns:
        Names of the layers of `later` that have weights and stayed as they were.

    Raises:
        ValueError: If no layer fits, or one of the same name has another shape.

    Example:
        >>> fcn32, fcn16 = (fcn_head([8, 16, 32], 3, stride, width=4, kernel_size=3) for stride in (32, 16))
        >>> carry_over(fcn32, fcn16)
        ['upscore_to_c4', 'score_c4']
    """
    given = {layer.name: layer for layer in earlier.layers if layer.weights}
    taken = [layer for layer in later.layers if layer.weights]
    shared = [layer for layer in taken if layer.name in given]
    if not shared:
        raise ValueError(
            f"No layer of {later.name} is called like one of {earlier.name}, so nothing can be carried over. "
            f"Received: {', '.join(layer.name for layer in taken)}, and {', '.join(given)}."
        )
    for layer in shared:
        shapes = [[tuple(one.shape) for one in each.weights] for each in (given[layer.name], layer)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"The weights of layer {layer.name!r} do not fit. Expected shapes {shapes[1]}. Received: {shapes[0]}. "
                "Build both networks with the same width, kernel size and number of classes."
            )
    for layer in shared:
        layer.set_weights(given[layer.name].get_weights())
    return [layer.name for layer in taken if layer.name not in given]


def load_vgg16_weights(model, weights):
    """Begins an `FCN` on VGG16 with the weights of a classifier, its dense layers as convolutions (section 3.1).

    The files of `keras.applications` are of networks that take blue, green, red, minus their means; here images are
    red, green, blue, so the first kernel is turned round. Such a model needs `vgg16_normalisation()`:

        model = FCN(backbone, 21, stride=32, **vgg16_normalisation())
        load_vgg16_weights(model, "vgg16_weights_tf_dim_ordering_tf_kernels.h5")

    Args:
        model: `FCN` on KerasCV's `VGG16Backbone`. Where its fc6 and fc7 are narrower than 4096, they stay as they are.
        weights: Path of a weights file of `keras.applications.VGG16`, with or without its top; or such a classifier.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the weights are not those of a VGG16.

    Example:
        >>> import keras_cv
        >>> vgg = keras_cv.models.VGG16Backbone(False, False, input_shape=(None, None, 3))
        >>> model = FCN(vgg, 21, stride=32, head=fcn_head([256, 512, 512], 21, 32, width=0), **vgg16_normalisation())
        >>> classifier = keras.applications.VGG16(weights=None, include_top=False)
        >>> load_vgg16_weights(model, classifier)
        >>> ours, theirs = (one.get_layer("block5_conv3").kernel for one in (model.backbone, classifier))
        >>> np.array_equal(ours, theirs)
        True
    """
    classifier = weights if isinstance(weights, keras.Model) else _classifier(weights)
    check_kind("weights", classifier, keras.Model, "a file of keras.applications.VGG16, or such a classifier")
    found = {layer.name: layer.get_weights() for layer in classifier.layers if layer.weights}
    missing = [name for name in _CONVOLUTIONS if name not in found]
    if missing:
        raise ValueError(f"The weights must be those of a VGG16. Received: {classifier.name}, without {missing[0]}.")
    for name in _CONVOLUTIONS:
        kernel, bias = found[name]
        kernel = kernel[:, :, ::-1] if name == _CONVOLUTIONS[0] else kernel
        model.backbone.get_layer(name).set_weights([kernel, bias])
    layers_of_head = {layer.name: layer for layer in model.head.layers}
    for name, dense in (("fc6", "fc1"), ("fc7", "fc2")):
        if name in layers_of_head and dense in found:
            kernel, bias = found[dense]
            shape = tuple(layers_of_head[name].kernel.shape)
            if kernel.size == np.prod(shape) and len(bias) == shape[-1]:
                layers_of_head[name].set_weights([kernel.reshape(shape), bias])


def vgg16_normalisation():
    """What an `FCN` frees images from, and divides them by, for the weights of `keras.applications.VGG16`.

    Example:
        >>> np.round(vgg16_normalisation()["image_mean"], 3)
        array([0.485, 0.458, 0.408])
    """
    return {"image_mean": tuple(value / 255 for value in _VGG_MEAN), "image_std": (1 / 255,) * 3}


def _classifier(path):
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file `{path}`. Give one of keras.applications' VGG16.")
    try:
        _check_sizes(path)
        for has_top in (True, False):
            try:
                return keras.applications.VGG16(include_top=has_top, weights=path, input_shape=(224, 224, 3))
            except (ValueError, OSError) as error:
                problem = error
    except Exception as error:  # a file of a stranger may be wrong in any way
        problem = error if isinstance(error, Unreadable | OSError) else f"{type(error).__name__}: {error}"
    raise ValueError(
        f"The file {path} does not hold the weights of keras.applications' VGG16: {brief(str(problem), 400)}. Download "
        "it again."
    )


def _check_sizes(path):
    """What an HDF5 file says of itself takes no more memory than a file of its size may; Keras allows 4 GiB each."""
    import h5py

    budget = Budget(path.stat().st_size)

    def count(name, one):
        if isinstance(one, h5py.Dataset):
            budget.take((one.size or 0) * one.dtype.itemsize)
        # Keras reads as many as are listed, and one may be listed again and again.
        weights = sum(len(one.attrs[key]) for key in one.attrs if key.startswith("weight_names"))
        if weights > 2:
            raise Unreadable(f"its layer {brief(name)} has {weights} weights")

    with h5py.File(path, "r") as file:
        file.visititems(count)


def _score(num_classes, name):
    return layers.Conv2D(num_classes, 1, kernel_initializer="zeros", name=name)
