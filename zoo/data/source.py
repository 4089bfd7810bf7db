"""A data set in memory or in files, and the batches it gives."""

import numpy as np

from zoo.checks import check_kind
from zoo.data.augment import Augmentation
from zoo.data.cache import Cached, is_small
from zoo.data.checks import check_channels, check_images, checked_examples, checked_labels, height_and_width
from zoo.data.order import rows_in_order, sample_of, steps_of
from zoo.data.pipeline import Pipeline
from zoo.data.reading import without_end

_CHUNK = 256


class Source:
    """Examples, what is known about them, and `tf.data` pipelines over them.

    Images are float32 in [-1, 1] wherever they come out. In memory they stay 8-bit; files are read as needed.

    Args:
        name: What the set is called.
        examples: uint8 images (size, height, width) or (size, height, width, 1 or 3); or floats, which are points
            (size, dim) or images (size, height, width, 1 or 3) in [-1, 1]; or pictures in files, which are anything
            with `shape`, `len` and `read(row)`, such as `zoo.data.folder.Pictures` and `zoo.data.records.Records`.
        labels: Integers (size,), or None; or a function of row numbers (n,) that reads theirs (n,) from files.
        num_classes: Number of classes; None for the largest label plus one.
        class_names: Name of each class, or None.
        modes: Centres (k, dim) of the Gaussians that points come from, or None.
        mode_std: Their standard deviation, or None.
        white: Value of white in uint8 images, 1 to 255.
        image_size: (height, width) that images are cut and resized to, or one number for both, or None.
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
        check_channels(channels)
        image_size = height_and_width(image_size)
        if hasattr(examples, "read"):
            keep = is_small(examples.shape) if cache is None else cache
            stored = Cached(examples) if keep else examples
        else:
            stored = checked_examples(name, examples, white)
        self.name = name
        self.size, shape = len(stored), stored.shape[1:]
        self.is_images = len(shape) == 3
        self.shape = (*(image_size or shape[:2]), channels or shape[2]) if self.is_images else tuple(shape)
        self._pipeline = Pipeline(stored, self.shape, white)
        self.is_labelled = labels is not None
        self._read_labels = labels if callable(labels) else None
        self._num_classes = num_classes if self.is_labelled else None
        self._labels = None
        if self.is_labelled and not self._read_labels:
            self._labels = checked_labels(name, labels, self.size, num_classes)
        self.class_names = class_names
        self.modes, self.mode_std = modes, mode_std
        self.origin = origin

    def __repr__(self):
        """Name, number, shape and origin."""
        return f"<Source {self.name}: {self.size} examples of shape {self.shape}, from {self.origin}>"

    def __iter__(self):
        """Raises: a source is not gone through itself."""
        raise TypeError(
            f"{self.name!r} is a source of batches and cannot be gone through itself. Use `source.batches(64)` or "
            "`source.examples(n)`; the number of examples is `source.size`."
        )

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
        return steps_of(self.name, self.size, batch_size, group)

    def batches(
        self,
        batch_size,
        seed=0,
        first_epoch=0,
        group=None,
        shuffle=True,
        *,
        first_step=0,
        replicas=None,
        augment=None,
    ):
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
            augment: `zoo.data.augment.Augmentation` that changes each image at random, as `seed`, epoch and example
                say; None to leave all as they are.

        Returns:
            `tf.data.Dataset` of float32 (batch_size, *shape), or (batch_size, group, *shape). With `replicas`, parts
            of them; the length of the first axis is static if all parts are equally long.

        Raises:
            ValueError: If a batch is larger than the data, an argument is out of range, or `augment` is given and
                the examples are no images or would change their shape.

        Example:

            >>> from zoo import data
            >>> next(iter(data.load("ring").batches(16, group=5))).shape
            TensorShape([16, 5, 2])
            >>> [len(part) for part in data.load("ring").batches(7, replicas=(0, 2, 2)).take(2)]
            [4, 3]
        """
        import tensorflow as tf

        steps = self.steps_per_epoch(batch_size, group)
        rows, sizes = rows_in_order(
            self.size,
            steps,
            batch_size,
            seed,
            first_epoch,
            first_step,
            group,
            shuffle,
            replicas,
            with_keys=augment is not None,
        )
        if augment is not None:
            check_kind("augment", augment, Augmentation, "an Augmentation of zoo.data.augment, or None")
            check_images(self)
            augment.check(self.shape)
        batches = self._pipeline.batches(rows, sizes, group, augment=augment).prefetch(tf.data.AUTOTUNE)
        return without_end(batches, steps)

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
        return self._read(sample_of(self.name, self.size, n, seed))

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
        rows = sample_of(self.name, self.size, n, seed)
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
        check_images(self)
        for images in self._chunks(np.arange(self.size)):
            yield np.rint((images + 1) * 127.5).astype("uint8")

    def _labels_of(self, rows):
        if self._labels is not None:
            return self._labels[rows]
        return checked_labels(self.name, self._read_labels(rows), len(rows), self._num_classes)

    def _read(self, rows):
        out = np.empty((len(rows), *self.shape), dtype="float32")
        for start, chunk in zip(range(0, len(rows), _CHUNK), self._chunks(rows), strict=True):
            out[start : start + _CHUNK] = chunk
        return out

    def _chunks(self, rows):
        """Examples of some rows in float32 arrays of `_CHUNK`, one after the other."""
        import tensorflow as tf

        numbers = tf.data.Dataset.from_tensor_slices(rows).batch(_CHUNK)
        return self._pipeline.batches(numbers, [_CHUNK], drop_remainder=False).as_numpy_iterator()
