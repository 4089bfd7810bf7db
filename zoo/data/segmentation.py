"""Pictures with a class for each pixel, and the batches of images and label maps that they give."""

import numpy as np

from zoo.checks import check_whole
from zoo.data.order import as_written, sample_of, steps_of
from zoo.data.reading import batches_of_pictures, rows_at_once, stacked, without_end

__all__ = ["SegmentationSource"]

_BYTES_AT_ONCE = 32_000_000


class SegmentationSource:
    """Pictures with a class for each pixel on a canvas of one size, and `tf.data` pipelines over them.

    A picture lies at the top left of its canvas, as large as fits with its aspect kept; the rest is 0. Its label map,
    uint8 (height, width), holds the class of each pixel, 0 to `num_classes` - 1, or `zoo.checks.VOID`, 255, for those
    that do not count, as all beside the picture. Label maps are resized by nearest neighbour, never interpolated.

    Args:
        name: What the set is called.
        pictures: `zoo.data.label_files.LabelledFiles`, or anything with its attributes and methods.
        origin: Where the pictures come from, for people to read.

    Attributes:
        name: As given.
        origin: As given.
        size: Number of pictures.
        shape: (height, width, 3) of the canvas.
        num_classes: Number of classes, without void.
        class_names: Tuple of the name of each class.
        dropped: {reason: count} of pictures that were left out.

    Raises:
        ValueError: If there are more than 255 classes.

    Example:

        >>> from zoo import data
        >>> scenes = data.load_segmentation("scenes", split="test")
        >>> scenes.size, scenes.shape, scenes.num_classes
        (200, (128, 128, 3), 11)
        >>> image, labels = scenes.read(0)
        >>> labels.shape
        (128, 128)
    """

    is_images = True

    def __init__(self, name, pictures, *, origin="memory"):
        """Reads nothing yet."""
        check_whole("number of classes", len(pictures.class_names), low=1, high=255)
        self.name, self.origin = name, origin
        self._pictures = pictures
        self.size, self.shape = len(pictures), tuple(pictures.shape[1:])
        self.class_names = tuple(pictures.class_names)
        self.num_classes = len(self.class_names)
        self.dropped = dict(pictures.dropped)

    def __repr__(self):
        """Name, numbers and origin."""
        return (
            f"<SegmentationSource {self.name}: {self.size} pictures on canvases of shape {self.shape}, pixels of "
            f"{self.num_classes} classes, from {self.origin}>"
        )

    def __iter__(self):
        """Raises: a source is not gone through itself."""
        raise TypeError(
            f"{self.name!r} is a source of batches and cannot be gone through itself. Use `source.batches(8)` or "
            "`source.examples(n)`; the number of pictures is `source.size`."
        )

    def original_size(self, row):
        """(height, width) of the picture in a row, before it was put on the canvas."""
        return self._pictures.original_size(row)

    def read(self, row):
        """A picture and its label map.

        Args:
            row: 0 to `size` - 1.

        Returns:
            Tuple of a uint8 array (height, width, 3) and a uint8 array (height, width).

        Raises:
            ValueError: If a file can no longer be read; the message names it.
        """
        labelled = self._pictures.read(int(row))
        return labelled.image, labelled.labels

    def steps_per_epoch(self, batch_size, group=None):
        """Number of batches of one pass over the data; what is left over is dropped.

        Args:
            batch_size: Elements of a batch, at least 1.
            group: Pictures that make one element, or None.

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
        """Batches (images, labels) without end, in the order in which `zoo.data.Source.batches` would give them.

        Args:
            batch_size: Elements of a batch over all replicas, at least 1.
            seed: Whole number.
            first_epoch: Number of the epoch to begin with, at least 0.
            group: If given, each element is a group of so many pictures, one for each update of a step.
            shuffle: If false, every epoch has the order of the data.
            first_step: Step of `first_epoch` to begin with, from 0 to `steps_per_epoch(batch_size, group)` - 1.
            replicas: (first, count, total) as in `zoo.data.Source.batches`, or None for whole batches.
            augment: What `zoo.data.detection.flip_and_scale` returns, which changes each picture at random, and its
                labels with it, as `seed`, epoch and picture say; None to leave all as they are.

        Returns:
            `tf.data.Dataset` of uint8 images (batch_size, height, width, 3) and uint8 labels (batch_size, height,
            width), of squares where `augment` crops; or (batch_size, group, ...). With `replicas`, parts of them.

        Raises:
            ValueError: If a batch is larger than the data, or an argument is out of range.

        Example:

            >>> from zoo import data
            >>> images, labels = next(iter(data.load_segmentation("scenes").batches(8)))
            >>> images.shape, labels.shape
            (TensorShape([8, 128, 128, 3]), TensorShape([8, 128, 128]))
        """
        batches = batches_of_pictures(
            self.name,
            (self.size, *self.shape),
            {"labels": ("uint8", self.shape[:2]), "sizes": ("int32", (2,))},
            self._read_with_size,
            rows_at_once(4 * self.shape[0] * self.shape[1], _BYTES_AT_ONCE),
            batch_size,
            seed=seed,
            first_epoch=first_epoch,
            group=group,
            shuffle=shuffle,
            first_step=first_step,
            replicas=replicas,
            augment=augment,
        )
        labelled = batches.map(as_written(lambda images, targets: (images, targets["labels"])))
        return without_end(labelled, batches.steps_per_epoch)

    def examples(self, n=None, seed=0):
        """A fixed sample without replacement, or all pictures in order.

        Args:
            n: Number of pictures, 1 to `size`; None for all.
            seed: Seed of the sample, 0 to 2^32 - 1.

        Returns:
            Tuple of uint8 images (n, height, width, 3) and uint8 labels (n, height, width).

        Raises:
            ValueError: If `n` is larger than the data, or an argument is out of range.
        """
        rows = sample_of(self.name, self.size, n, seed)
        images, targets = stacked([self._read_with_size(row) for row in rows])
        return images, targets["labels"]

    def _read_with_size(self, row):
        """A picture, and the dict of what `zoo.data.geometry.FlipAndScale` has to know."""
        labelled = self._pictures.read(int(row))
        return labelled.image, {"labels": labelled.labels, "sizes": np.array(labelled.size, "int32")}
