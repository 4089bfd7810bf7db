"""A data set in memory or in files, and the batches it gives."""

import numpy as np

from zoo.checks import check_positive

_CHUNK = 256


class Source:
    """Examples, what is known about them, and `tf.data` pipelines over them.

    Images are float32 in [-1, 1] wherever they come out. In memory they stay 8-bit; files are read as needed.

    Args:
        name: What the set is called.
        examples: uint8 images (size, height, width) or (size, height, width, 1 or 3); or floats (size, ...),
            where three axes per example are images in [-1, 1]; or a `zoo.data.folder.Pictures`.
        labels: Integers (size,), or None.
        num_classes: Number of classes; None for the largest label plus one.
        class_names: Name of each class, or None.
        modes: Centres (k, dim) of the Gaussians that points come from, or None.
        mode_std: Their standard deviation, or None.
        white: Value of white in uint8 images, 1 to 255.
        image_size: (height, width) that images are cut and resized to, or None.
        channels: 1, 3 or None for as many as there are.
        origin: Where the data come from, for people to read.

    Raises:
        ValueError: If the arrays do not fit each other, are empty, or hold values out of range or not finite.

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
        origin="memory",
    ):
        """Checks the arrays."""
        self._data = examples if hasattr(examples, "read") else _checked(name, examples, white)
        self._is_files = hasattr(examples, "read")
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
        self.labels = None if labels is None else _checked_labels(name, labels, self.size, num_classes)
        if labels is not None and num_classes is None:
            num_classes = int(self.labels.max()) + 1
        self.num_classes = num_classes if labels is not None else None
        self.class_names = class_names
        self.modes, self.mode_std = modes, mode_std
        self.origin = origin

    def __repr__(self):
        """Name, number, shape and origin."""
        return f"<Source {self.name}: {self.size} examples of shape {self.shape}, from {self.origin}>"

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

    def batches(self, batch_size, seed=0, first_epoch=0, group=None, shuffle=True):
        """Batches without end. The order of an epoch depends on `seed` and its number only.

        So `batches(..., first_epoch=k)` gives what an uninterrupted run sees from epoch k on. An epoch has
        `steps_per_epoch(batch_size, group)` batches, and no example twice.

        Args:
            batch_size: Elements of a batch over all replicas, at least 1.
            seed: Whole number.
            first_epoch: Number of the epoch to begin with, at least 0.
            group: If given, each element is a group of so many examples, one for each update of a step.
            shuffle: If false, every epoch has the order of the data.

        Returns:
            `tf.data.Dataset` of float32 (batch_size, *shape), or (batch_size, group, *shape).

        Raises:
            ValueError: If a batch is larger than the data, or an argument is out of range.

        Example:

            >>> from zoo import data
            >>> next(iter(data.load("ring").batches(16, group=5))).shape
            TensorShape([16, 5, 2])
        """
        import tensorflow as tf

        steps = self.steps_per_epoch(batch_size, group)
        used = steps * batch_size * (group or 1)
        _check_whole("seed", seed, low=-(2**63), high=2**63 - 1)
        _check_whole("first_epoch", first_epoch, low=0, high=2**63 - 1)

        def rows_of(epoch):
            rows = tf.range(self.size, dtype=tf.int64)
            if shuffle:
                key = tf.stack([tf.constant(seed, tf.int64), epoch])
                # Philox by name: the automatic choice depends on the device.
                rows = tf.random.experimental.stateless_shuffle(rows, key, alg="philox")
            shape = (steps, batch_size) if group is None else (steps, batch_size, group)
            return tf.data.Dataset.from_tensor_slices(tf.reshape(rows[:used], shape))

        rows = tf.data.Dataset.counter(first_epoch).flat_map(rows_of)
        if self._is_files:
            rows = rows.unbatch() if group is None else rows.unbatch().unbatch()
            return self._pipeline(rows, *([group] if group else []), batch_size).prefetch(tf.data.AUTOTUNE)
        return self._pipeline(rows).prefetch(tf.data.AUTOTUNE)

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
        if self.labels is None:
            raise ValueError(
                f"{self.name!r} has no labels. Use `examples`, or a labelled set; "
                "a folder of images has labels if its sub-folders are one level of classes."
            )
        rows = self._sample(n, seed)
        return self._read(rows), self.labels[rows]

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
        import tensorflow as tf

        out = np.empty((len(rows), *self.shape), dtype="float32")
        chunks = self._pipeline(tf.data.Dataset.from_tensor_slices(rows), _CHUNK, drop_remainder=False)
        for start, chunk in zip(range(0, len(rows), _CHUNK), chunks.as_numpy_iterator(), strict=True):
            out[start : start + _CHUNK] = chunk
        return out

    def _pipeline(self, rows, *batch_sizes, drop_remainder=True):
        """Row numbers to batches of examples, batched once for each of `batch_sizes`."""
        import tensorflow as tf

        if self._is_files:
            rows = rows.map(self._read_one, num_parallel_calls=tf.data.AUTOTUNE)
            read = tf.identity
        else:
            # On the CPU, where the pipeline runs, also when a GPU is the default device.
            with tf.device("CPU:0"):
                stored = tf.constant(self._data)

            def read(batch):
                return tf.gather(stored, batch)

        for size in batch_sizes:
            rows = rows.batch(size, drop_remainder=drop_remainder)
        batches = rows.map(lambda batch: self._finish(read(batch)), num_parallel_calls=tf.data.AUTOTUNE)
        options = tf.data.Options()
        # Several workers each take their part of every batch; there are no files to divide instead.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return batches.with_options(options)

    def _read_one(self, row):
        import tensorflow as tf

        picture = tf.numpy_function(self._data.read, [row], tf.uint8, stateful=False)
        return tf.ensure_shape(picture, self._data.shape[1:])

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


def _check_whole(name, value, *, low, high):
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"`{name}` must be a whole number from {low} to {high}. Received: {value!r}.")
