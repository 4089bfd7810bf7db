"""A data set in memory or in files, and the batches it gives."""

import numpy as np

from zoo.checks import check_positive, check_replicas
from zoo.data.cache import Cached, is_small

_CHUNK = 256
# Rows of files that one call of Python reads: a call per picture costs more than decoding a small one.
_READ_AT_ONCE = 32


class Source:
    """Examples, what is known about them, and `tf.data` pipelines over them.

    Images are float32 in [-1, 1] wherever they come out. In memory they stay 8-bit; files are read as needed.

    Args:
        name: What the set is called.
        examples: uint8 images (size, height, width) or (size, height, width, 1 or 3); or floats (size, ...),
            where three axes per example are images in [-1, 1]; or pictures in files, which are anything with
            `shape`, `len` and `read(row)`, such as `zoo.data.folder.Pictures` and `zoo.data.records.Records`.
        labels: Integers (size,), or None; or a function of row numbers (n,) that reads theirs (n,) from files.
        num_classes: Number of classes; None for the largest label plus one.
        class_names: Name of each class, or None.
        modes: Centres (k, dim) of the Gaussians that points come from, or None.
        mode_std: Their standard deviation, or None.
        white: Value of white in uint8 images, 1 to 255.
        image_size: (height, width) that images are cut and resized to, or None.
        channels: 1, 3 or None for as many as there are.
        cache: Whether to keep each picture of a file that was read; None if all of them take at most a quarter of the
            memory that is available. What is in memory already ignores it.
        origin: Where the data come from, for people to read.

    Raises:
        ValueError: If the arrays do not fit each other, are empty, or hold values out of range or not finite;
            or if all pictures together do not fit into memory and `cache` is true.

    Example:

        >>> import numpy as np
        >>> from zoo.data import Source
        >>> source = Source("noise", np.random.default_rng(0).integers(0, 256, (10, 4, 4), dtype="uint8"))
        >>> source.shape, source.size, source.steps_per_epoch(3)
        ((4, 4, 1), 10, 3)
        >>> source.examples(2).shape
        (2, 4, 4, 1)
    """

    def __init__(
        self,
        name,
        examples,
        *,
        labels=None,
        num_classes=None,
        class_names=None,
        modes=None,
        mode_std=None,
        white=255,
        image_size=None,
        channels=None,
        cache=False,
        origin="memory",
    ):
        """Checks the arrays."""
        self._is_files = hasattr(examples, "read")
        if self._is_files:
            keep = is_small(examples.shape) if cache is None else cache
            self._data = Cached(examples) if keep else examples
        else:
            self._data = _checked(name, examples, white)
        self._is_bytes = self._is_files or self._data.dtype == np.uint8
        self._white = white
        stored = tuple(self._data.shape[1:])
        self.name = name
        self.size = len(self._data)
        self.is_images = len(stored) == 3
        if self.is_images:
            self.shape = (*(image_size or stored[:2]), channels or stored[2])
        else:
            self.shape = stored
        self.is_labelled = labels is not None
        self._read_labels = labels if callable(labels) else None
        self._num_classes = num_classes if self.is_labelled else None
        self._labels = None
        if self.is_labelled and not self._read_labels:
            self._labels = _checked_labels(name, labels, self.size, num_classes)
        self.class_names = class_names
        self.modes, self.mode_std = modes, mode_std
        self.origin = origin

    def __repr__(self):
        """Name, number, shape and origin."""
        return f"<Source {self.name}: {self.size} examples of shape {self.shape}, from {self.origin}>"

    @property
    def labels(self):
        """int64 array (size,), or None. Those of records are read when first asked for; see `is_labelled`."""
        if self._labels is None and self._read_labels:
            self._labels = self._labels_of(np.arange(self.size))
        return self._labels

    @property
    def num_classes(self):
        """Number of classes, or None if there are no labels."""
        if self._num_classes is None and self.is_labelled:
            self._num_classes = int(self.labels.max()) + 1
        return self._num_classes

    def steps_per_epoch(self, batch_size, group=None):
        """Number of batches of one pass over the data; what is left over is dropped.

        Args:
            batch_size: Elements of a batch, at least 1.
            group: Examples that make one element, or None.

        Returns:
            Number of steps, at least 1.

        Raises:
            ValueError: If a batch is larger than the data.
        """
        check_positive("batch_size", batch_size)
        if group is not None:
            check_positive("group", group)
        needed = batch_size * (group or 1)
        if needed > self.size:
            grouped = f" of {batch_size} elements with {group} examples each" if group else ""
            raise ValueError(
                f"A batch{grouped} needs {needed} examples, and {self.name!r} has {self.size}. "
                f"Use a batch size of at most {self.size // (group or 1)}, or more data."
            )
        return self.size // needed

    def batches(self, batch_size, seed=0, first_epoch=0, group=None, shuffle=True, *, first_step=0, replicas=None):
        """Batches without end. The order of an epoch depends on `seed` and its number only.

        So `batches(..., first_epoch=k, first_step=j)` gives what an uninterrupted run sees from step j of epoch k on,
        without reading what comes before. An epoch has `steps_per_epoch(batch_size, group)` batches, and no example
        twice.

        With `replicas=(first, count, total)` this process feeds replicas `first` to `first + count - 1` of `total`.
        Each step is then `count` elements, one per replica in turn: its part of the batch, cut as `np.array_split`
        does (7 over 2 is 4 and 3). Only those rows are read and decoded. For `tf.distribute`:

            n = strategy.num_replicas_in_sync // num_workers
            strategy.distribute_datasets_from_function(
                lambda context: source.batches(64, replicas=(context.input_pipeline_id * n, n, num_workers * n))
            )

        Args:
            batch_size: Elements of a batch over all replicas, at least 1.
            seed: Whole number.
            first_epoch: Number of the epoch to begin with, at least 0.
            group: If given, each element is a group of so many examples, one for each update of a step.
            shuffle: If false, every epoch has the order of the data.
            first_step: Step of `first_epoch` to begin with, from 0 to `steps_per_epoch(batch_size, group)` - 1.
            replicas: (first, count, total), or None for whole batches.

        Returns:
            `tf.data.Dataset` of float32 (batch_size, *shape), or (batch_size, group, *shape). With `replicas`, parts
            of them; the length of the first axis is static if all parts are equally long.

        Raises:
            ValueError: If a batch is larger than the data, or an argument is out of range.

        Example:

            >>> from zoo import data
            >>> next(iter(data.load("ring").batches(16, group=5))).shape
            TensorShape([16, 5, 2])
            >>> [len(part) for part in data.load("ring").batches(7, replicas=(0, 2, 2)).take(2)]
            [4, 3]
        """
        import tensorflow as tf

        steps = self.steps_per_epoch(batch_size, group)
        _check_whole("seed", seed, low=-(2**63), high=2**63 - 1)
        _check_whole("first_epoch", first_epoch, low=0, high=2**63 - 1)
        _check_whole("first_step", first_step, low=0, high=steps - 1)
        start, sizes = _parts(batch_size, replicas)
        of_one = group or 1

        def order_of(epoch):
            rows = tf.range(self.size, dtype=tf.int64)
            if shuffle:
                key = tf.stack([tf.constant(seed, tf.int64), epoch])
                # Philox by name: the automatic choice depends on the device.
                rows = tf.random.experimental.stateless_shuffle(rows, key, alg="philox")
            rows = tf.reshape(rows[: steps * batch_size * of_one], (steps, batch_size * of_one))
            mine = rows[:, start * of_one : (start + sum(sizes)) * of_one]
            return mine[tf.where(epoch == first_epoch, first_step, 0) :]

        # The next epoch is shuffled while this one is read.
        orders = tf.data.Dataset.counter(first_epoch).map(order_of).prefetch(1)
        rows = orders.flat_map(tf.data.Dataset.from_tensor_slices)
        return self._pipeline(rows, [size * of_one for size in sizes], group).prefetch(tf.data.AUTOTUNE)

    def examples(self, n=None, seed=0):
        """A fixed sample without replacement, or all examples in order.

        Args:
            n: Number of examples, 1 to `size`; None for all, in the order of `labels`.
            seed: Seed of the sample, 0 to 2^32 - 1.

        Returns:
            float32 array (n, *shape); images in [-1, 1].

        Raises:
            ValueError: If `n` is larger than the data, or an argument is out of range.

        Example:

            >>> from zoo import data
            >>> data.load("grid").examples(100, seed=1).shape
            (100, 2)
        """
        return self._read(self._sample(n, seed))

    def labelled(self, n=None, seed=0):
        """The same sample as `examples`, with labels.

        Args:
            n: Number of examples, 1 to `size`; None for all, in order.
            seed: Seed of the sample, 0 to 2^32 - 1.

        Returns:
            Tuple of a float32 array (n, *shape) and an int64 array (n,).

        Raises:
            ValueError: If the set has no labels, or as for `examples`.

        Example:

            >>> from zoo import data
            >>> images, labels = data.load("digits").labelled(100)
            >>> images.shape, labels.shape
            ((100, 8, 8, 1), (100,))
        """
        if not self.is_labelled:
            raise ValueError(
                f"{self.name!r} has no labels. Use `examples`, or a labelled set; "
                "a folder of images has labels if its sub-folders are one level of classes."
            )
        rows = self._sample(n, seed)
        return self._read(rows), self._labels_of(rows)

    def pixels(self):
        """All images in order, as uint8 arrays of 256 and a last one of fewer; never all of them in memory.

        Yields:
            uint8 arrays (n, height, width, channels), white 255.

        Raises:
            ValueError: If the examples are no images, or a file cannot be read.

        Example:

            >>> from zoo import data
            >>> [len(pixels) for pixels in data.load("digits", split="test").pixels()]
            [179]
        """
        if not self.is_images:
            raise ValueError(f"{self.name!r} has no pixels: its examples have shape {self.shape}. Use images.")
        for images in self._chunks(np.arange(self.size)):
            yield np.rint((images + 1) * 127.5).astype("uint8")

    def _labels_of(self, rows):
        if self._labels is not None:
            return self._labels[rows]
        return _checked_labels(self.name, self._read_labels(rows), len(rows), self._num_classes)

    def _sample(self, n, seed):
        if n is None:
            return np.arange(self.size)
        check_positive("n", n)
        _check_whole("seed", seed, low=0, high=2**32 - 1)
        if n > self.size:
            raise ValueError(
                f"A sample without replacement has at most as many examples as {self.name!r}: {self.size}. "
                f"Received: n={n}. Use fewer, or None for all."
            )
        return np.random.RandomState(seed).permutation(self.size)[:n]

    def _read(self, rows):
        out = np.empty((len(rows), *self.shape), dtype="float32")
        for start, chunk in zip(range(0, len(rows), _CHUNK), self._chunks(rows), strict=True):
            out[start : start + _CHUNK] = chunk
        return out

    def _chunks(self, rows):
        """Examples of some rows in float32 arrays of `_CHUNK`, one after the other."""
        import tensorflow as tf

        numbers = tf.data.Dataset.from_tensor_slices(rows).batch(_CHUNK)
        return self._pipeline(numbers, [_CHUNK], drop_remainder=False).as_numpy_iterator()

    def _pipeline(self, rows, sizes, group=None, drop_remainder=True):
        """Vectors of row numbers to batches of examples, as long as each of `sizes` in turn."""
        import tensorflow as tf

        many = min(_READ_AT_ONCE, sum(sizes))
        sizes = sizes[0] if len(set(sizes)) == 1 else sizes
        if self._is_files:
            rows = rows.rebatch(many, drop_remainder=drop_remainder)
            batches = rows.map(self._read_files, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            batches = batches.rebatch(sizes, drop_remainder=drop_remainder)
            read = tf.identity
        else:
            batches = rows.rebatch(sizes, drop_remainder=drop_remainder)
            # On the CPU, where the pipeline runs, also when a GPU is the default device.
            with tf.device("CPU:0"):
                stored = tf.constant(self._data)

            def read(batch):
                return tf.gather(stored, batch)

        def finish(batch):
            examples = read(batch)
            if group is not None:
                size = None if batch.shape[0] is None else batch.shape[0] // group
                examples = tf.reshape(examples, (-1 if size is None else size, group, *examples.shape[1:]))
            return self._finish(examples)

        batches = batches.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        options = tf.data.Options()
        # Several workers each take their part of every batch; there are no files to divide instead.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return batches.with_options(options)

    def _read_files(self, rows):
        """Pictures of some rows, as a uint8 tensor (rows, height, width, channels)."""
        import tensorflow as tf

        def read(numbers):
            pictures = np.empty((len(numbers), *self._data.shape[1:]), np.uint8)
            for place, number in enumerate(numbers.tolist()):
                pictures[place] = self._data.read(number)
            return pictures

        pictures = tf.numpy_function(read, [rows], tf.uint8, stateful=False)
        return tf.ensure_shape(pictures, (rows.shape[0], *self._data.shape[1:]))

    def _finish(self, batch):
        """A batch as stored to float32 of `shape`, images to [-1, 1]."""
        import tensorflow as tf

        batch = tf.cast(batch, tf.float32)
        if self._is_bytes:
            batch = batch / (self._white / 2) - 1
        if not self.is_images or tuple(batch.shape[-3:]) == self.shape:
            return batch
        leading = tf.shape(batch)[:-3]
        images = tf.reshape(batch, (-1, *batch.shape[-3:]))
        height, width, channels = self.shape
        if images.shape[-1] != channels:
            images = tf.image.rgb_to_grayscale(images) if channels == 1 else tf.repeat(images, 3, axis=-1)
        if tuple(images.shape[1:3]) != (height, width):
            left, top, right, bottom = centre_box(images.shape[1:3], (height, width))
            images = tf.image.resize(images[:, top:bottom, left:right], (height, width), antialias=True)
            images = tf.clip_by_value(images, -1, 1)
        resized = tf.reshape(images, tf.concat([leading, self.shape], 0))
        return tf.ensure_shape(resized, (*batch.shape[:-3], *self.shape))


def centre_box(size, wanted):
    """The largest box around the centre of an image with the aspect ratio of another size.

    Args:
        size: (height, width) of the image.
        wanted: (height, width) whose ratio counts.

    Returns:
        (left, top, right, bottom) in whole pixels.
    """
    scale = min(size[0] / wanted[0], size[1] / wanted[1])
    height, width = (max(1, round(scale * side)) for side in wanted)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return left, top, left + width, top + height


def _checked(name, examples, white):
    examples = np.asarray(examples)
    if examples.ndim < 2 or examples.size == 0:
        raise ValueError(f"Examples of {name!r} must fill an array (size, ...). Received: {examples.shape}.")
    if examples.dtype == np.uint8:
        if examples.ndim == 3:
            examples = examples[..., None]
        if examples.ndim != 4 or examples.shape[-1] not in (1, 3):
            raise ValueError(
                f"The 8-bit images of {name!r} must have shape (size, height, width), or that and "
                f"1 or 3 channels. Received: {examples.shape}. Points are to be floats."
            )
        if examples.max() > white:
            raise ValueError(f"The images of {name!r} must be at most {white}. Received: {examples.max()}.")
        return examples
    if not np.issubdtype(examples.dtype, np.floating):
        raise ValueError(
            f"The examples of {name!r} must be uint8 images or floats. Received: dtype {examples.dtype}. "
            "Convert them with `astype`."
        )
    bad = examples.size - np.count_nonzero(np.isfinite(examples))
    if bad:
        raise ValueError(
            f"The examples of {name!r} hold {bad} values that are NaN or infinite, of {examples.size}. "
            "Expected finite numbers. Remove or repair those rows."
        )
    low, high = examples.min(), examples.max()
    if examples.ndim == 4 and (low < -1 or high > 1 or low >= 0):
        raise ValueError(
            f"Images of {name!r} that are floats must lie in [-1, 1] and use both signs. "
            f"Received: min={low:g}, max={high:g}. Keep 8-bit images as uint8, or rescale: "
            "`images * 2 - 1` takes [0, 1] to [-1, 1]."
        )
    return examples.astype("float32", copy=False)


def _checked_labels(name, labels, size, num_classes):
    labels = np.asarray(labels)
    if labels.shape != (size,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"The labels of {name!r} must be one whole number per example: ({size},). "
            f"Received: shape {labels.shape}, dtype {labels.dtype}."
        )
    low, high = labels.min(), labels.max()
    if low < 0 or (num_classes is not None and high >= num_classes):
        classes = "0 or more" if num_classes is None else f"0 to {num_classes - 1}"
        raise ValueError(f"The labels of {name!r} must be {classes}. Received: {low} to {high}.")
    return labels.astype("int64")


def _parts(batch_size, replicas):
    """First element of a batch that this process feeds, and how many each of its replicas gets."""
    if replicas is None:
        return 0, [batch_size]
    expected = "three whole numbers (first, count, total): this process feeds `count` of `total` replicas"
    if not isinstance(replicas, (tuple, list)) or len(replicas) != 3:
        raise ValueError(f"`replicas` must be {expected}. Received: {replicas!r}.")
    first, count, total = replicas
    for name, number, low in (("first", first, 0), ("count", count, 1), ("total", total, 1)):
        _check_whole(f"replicas ({name})", number, low=low, high=2**31 - 1)
    if first + count > total:
        raise ValueError(f"`replicas` must be {expected}, `first + count` at most `total`. Received: {replicas!r}.")
    check_replicas(batch_size, total)
    sizes = [batch_size // total + (replica < batch_size % total) for replica in range(total)]
    return sum(sizes[:first]), sizes[first : first + count]


def _check_whole(name, value, *, low, high):
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"`{name}` must be a whole number from {low} to {high}. Received: {value!r}.")
