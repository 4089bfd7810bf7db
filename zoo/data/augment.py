"""Random changes of training images by KerasCV's layers, the same after a resume and on any number of replicas."""

import re

from zoo.checks import check_number

# Operations that keep a state, or draw numbers from one: a resumed run would draw others.
_STATEFUL = re.compile(r"Random|Stateful(Uniform|StandardNormal|Truncated)|Rng|Multinomial|TruncatedNormal|Assign")


class Augmentation:
    """KerasCV layers one after the other, with random numbers that depend on nothing but seed, epoch and example.

    A layer draws from the generator that KerasCV's base class gives it. For the time of a call each has one in its
    place that draws the numbers of every image by the key of that image.

    Args:
        layers: Preprocessing layers of KerasCV, of dtype float32, that work on whole batches, such as RandomFlip and
            `zoo.data.crop.WholePixelCrop`; or that draw nothing, such as Resizing. The last must give images of the
            shape that the first gets.

    Raises:
        ValueError: If something else is given.

    Example:

        >>> import keras_cv
        >>> from zoo import data
        >>> flip = data.augment.Augmentation([keras_cv.layers.RandomFlip("horizontal")])
        >>> next(iter(data.load("digits").batches(32, augment=flip))).shape
        TensorShape([32, 8, 8, 1])
    """

    def __init__(self, layers):
        """Checks the layers."""
        from keras_cv.layers import BaseImageAugmentationLayer, VectorizedBaseImageAugmentationLayer

        kinds = (BaseImageAugmentationLayer, VectorizedBaseImageAugmentationLayer)
        if not isinstance(layers, (list, tuple)) or not all(isinstance(layer, kinds) for layer in layers):
            raise ValueError(
                "`layers` must be a list of preprocessing layers of KerasCV, such as keras_cv.layers.RandomFlip(). "
                f"Received: {layers!r}."
            )
        for layer in layers:
            if layer.compute_dtype != "float32":
                raise ValueError(
                    f"{_name(layer)} works in {layer.compute_dtype}, and images are float32. "
                    'Make it with `dtype="float32"`; else the global dtype policy decides.'
                )
        self.layers = list(layers)
        self._is_vectorized = [isinstance(layer, VectorizedBaseImageAugmentationLayer) for layer in layers]

    def __repr__(self):
        """The layers."""
        return f"<Augmentation {', '.join(map(_name, self.layers)) or 'without layers'}>"

    def __call__(self, images, keys):
        """Changes each image as its key says.

        Args:
            images: float32 tensor (n, height, width, channels).
            keys: int64 tensor (n, 2), a row for each image, as `keys_of` makes them.

        Returns:
            float32 tensor (n, ...).

        Raises:
            ValueError: If a layer asks for random numbers that cannot be drawn image by image.
        """
        draws = 0
        for layer, is_vectorized in zip(self.layers, self._is_vectorized, strict=True):
            generator = layer._random_generator
            layer._random_generator = _Draws(_name(layer), keys if is_vectorized else None, draws)
            try:
                images = layer(images)
            finally:
                draws, layer._random_generator = layer._random_generator.count, generator
        return images

    def check(self, shape):
        """Checks that images keep their shape, and that nothing is random but what the keys decide.

        Args:
            shape: (height, width, channels) of an image.

        Raises:
            ValueError: If the layers do not give images of this shape, or draw numbers in other ways.
        """
        import tensorflow as tf

        specs = tf.TensorSpec((None, *shape), tf.float32), tf.TensorSpec((None, 2), tf.int64)
        # An error in `tf.map_fn` leaves its mark on the graph around it, so that one is thrown away.
        with tf.Graph().as_default():
            traced = tf.function(self.__call__, autograph=False).get_concrete_function(*specs)
        graph = traced.graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        stateful = sorted({node.op for node in nodes if _STATEFUL.match(node.op)})
        if stateful:
            raise ValueError(
                f"{self!r} draws random numbers that a resumed run could not repeat ({', '.join(stateful)}). Expected "
                "layers that draw from their `_random_generator` only. Leave out those with a range of factors and "
                "those that hold other layers."
            )
        (output,) = traced.outputs
        if tuple(output.shape[1:]) != tuple(shape) or output.dtype != tf.float32:
            raise ValueError(
                f"{self!r} must keep the shape and type of images: {tuple(shape)}, float32. Received: "
                f"{tuple(output.shape[1:])}, {output.dtype.name}. End with a crop or a Resizing to "
                f"{shape[0]} x {shape[1]} pixels (height x width)."
            )


def enlarge_crop_flip(image_shape, enlarge=286 / 256, flip=True):
    """What CycleGAN does to its training images: enlarge, cut a random part of the old size, mirror every other one.

    Args:
        image_shape: (height, width, channels) of an image.
        enlarge: Factor of both sides, 1 or more; rounded to whole pixels, by bilinear interpolation. 1 cuts nothing.
        flip: Whether half of the images, at random, are mirrored left to right.

    Returns:
        `Augmentation`; images in [-1, 1] stay there.

    Raises:
        ValueError: If `image_shape` is no shape of images, or `enlarge` less than 1.

    Example:

        >>> from zoo import data
        >>> digits = data.load("digits")
        >>> augment = data.augment.enlarge_crop_flip(digits.shape, enlarge=1.25, flip=False)
        >>> next(iter(digits.batches(32, augment=augment))).shape
        TensorShape([32, 8, 8, 1])

    Reference: Zhu et al. 2017, https://arxiv.org/abs/1703.10593, and the authors' code, which loads images of 256
    pixels at 286.
    """
    import keras_cv

    from zoo.data.crop import WholePixelCrop

    if not isinstance(image_shape, (list, tuple)) or len(image_shape) != 3:
        raise ValueError(f"`image_shape` must be (height, width, channels). Received: {image_shape!r}.")
    check_number("enlarge", enlarge, 1)
    height, width, _ = image_shape
    larger = round(enlarge * height), round(enlarge * width)
    # A seed, so that no layer makes TensorFlow's global generator; it is not drawn from.
    options = {"dtype": "float32", "seed": 1}
    layers = []
    if larger != (height, width):
        layers += [keras_cv.layers.Resizing(*larger, **options), WholePixelCrop(height, width, **options)]
    if flip:
        layers.append(keras_cv.layers.RandomFlip("horizontal", **options))
    return Augmentation(layers)


def keys_of(seed, epoch, rows):
    """The keys of some examples in an epoch.

    Args:
        seed: int64 scalar.
        epoch: int64 scalar.
        rows: int64 tensor (...), the numbers of the examples.

    Returns:
        int64 tensor (..., 2).
    """
    import tensorflow as tf

    both = tf.stack([tf.convert_to_tensor(seed, tf.int64), tf.convert_to_tensor(epoch, tf.int64)])
    of_epoch = tf.random.stateless_uniform((), both, minval=None, maxval=None, dtype=tf.int64, alg="philox")
    return tf.stack([tf.fill(tf.shape(rows), of_epoch), rows], axis=-1)


class _Draws:
    """What a layer has in place of its `tf.random.Generator`: each row is drawn by a key of its own.

    Args:
        owner: Name of the layer, for messages.
        keys: int64 tensor (n, 2); None for a layer that sees one image at a time and may draw nothing.
        count: Draws that other layers made by these keys.
    """

    def __init__(self, owner, keys, count):
        self.owner, self.keys, self.count = owner, keys, count

    def uniform(self, shape, minval=0, maxval=None, dtype=None, name=None):
        """As `tf.random.Generator.uniform`, of floats."""
        from zoo import random

        low, high = minval, 1 if maxval is None else maxval
        return self._rows(random.uniform, shape, dtype) * (high - low) + low

    def normal(self, shape, mean=0.0, stddev=1.0, dtype=None, name=None):
        """As `tf.random.Generator.normal`."""
        from zoo import random

        return self._rows(random.normal, shape, dtype) * stddev + mean

    def __getattr__(self, name):
        raise AttributeError(
            f"{self.owner} asks its random generator for {name!r}, which cannot be drawn image by image. "
            "Use layers that draw `uniform` and `normal` numbers."
        )

    def _rows(self, draw, shape, dtype):
        """Numbers (n, ...) of `shape`, float32; those of each row by its key and the number of the draw."""
        import tensorflow as tf

        if self.keys is None or len(shape) == 0 or dtype not in (None, tf.float32, "float32"):
            raise ValueError(
                f"{self.owner} draws random numbers of shape {shape} and type {dtype}. Expected a layer that draws "
                "float32 numbers for a whole batch at once, (batch, ...), such as RandomFlip; those that go through "
                "a batch image by image may draw none."
            )
        number = self.count
        self.count += 1
        return tf.map_fn(
            lambda key: draw(tuple(shape[1:]), seed=tf.stack([key[0] + number, key[1]])),
            self.keys,
            fn_output_signature=tf.TensorSpec(shape[1:], tf.float32),
        )


def _name(layer):
    return type(layer).__name__
