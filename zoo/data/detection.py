"""Pictures with objects, and the batches of images and targets that they give."""

from functools import cached_property

import numpy as np

from zoo.checks import check_positive
from zoo.data.geometry import FlipAndScale, flip_and_scale
from zoo.data.order import sample_of, steps_of
from zoo.data.reading import batches_of_pictures, rows_at_once, stacked

__all__ = ["DetectionSource", "FlipAndScale", "flip_and_scale", "label_maps"]

_BYTES_AT_ONCE = 32_000_000


class DetectionSource:
    """Pictures with objects on a canvas of one size, and `tf.data` pipelines over them.

    A picture lies at the top left of its canvas, as large as fits with its aspect kept; the rest is 0. Its targets are
    "boxes", float32 (max_objects, 4): corners x1, y1, x2, y2 in pixels of the canvas; "classes", int32 (max_objects,),
    -1 for padding; "crowds", booleans (max_objects,), for objects that stand for several; "masks", uint8 (max_objects,
    height, width) of 0 and 1; "sizes", int32 (2,), height and width of the picture within the canvas.

    Args:
        name: What the set is called.
        pictures: `zoo.data.scenes.Scenes`, `zoo.data.coco.CocoPictures`, or anything with their attributes and methods.
        max_objects: Objects of a picture, at most: of more, the largest are kept. None for the most of any picture.
        origin: Where the pictures come from, for people to read.

    Attributes:
        name: As given.
        origin: As given.
        size: Number of pictures.
        shape: (height, width, 3) of the canvas.
        num_classes: Number of classes.
        class_names: Tuple of the name of each class.
        category_ids: Tuple of the id that each class has in the annotations: ids may have gaps, and classes are their
            places in ascending order.
        max_objects: Objects that the targets have room for.

    Raises:
        ValueError: If `max_objects` is out of range.

    Example:

        >>> from zoo import data
        >>> scenes = data.load_detection("scenes", split="test")
        >>> scenes.size, scenes.shape, scenes.num_classes, scenes.max_objects
        (200, (128, 128, 3), 10, 5)
        >>> image, targets = scenes.read(0)
        >>> targets["masks"].shape
        (5, 128, 128)
    """

    is_images = True

    def __init__(self, name, pictures, *, max_objects=None, origin="memory"):
        """Reads nothing yet."""
        if max_objects is not None:
            check_positive("max_objects", max_objects)
        self.name, self.origin = name, origin
        self._pictures = pictures
        self.size, self.shape = len(pictures), tuple(pictures.shape[1:])
        self.class_names, self.category_ids = tuple(pictures.class_names), tuple(pictures.category_ids)
        self.num_classes = len(self.class_names)
        self.max_objects = max_objects or max(1, pictures.most_objects)

    def __repr__(self):
        """Name, numbers and origin."""
        return (
            f"<DetectionSource {self.name}: {self.size} pictures on canvases of shape {self.shape}, objects of "
            f"{self.num_classes} classes, from {self.origin}>"
        )

    def __iter__(self):
        """Raises: a source is not gone through itself."""
        raise TypeError(
            f"{self.name!r} is a source of batches and cannot be gone through itself. Use `source.batches(8)` or "
            "`source.examples(n)`; the number of pictures is `source.size`."
        )

    @cached_property
    def dropped(self):
        """{reason: count} of objects and pictures that were left out, those beyond `max_objects` included."""
        dropped = dict(self._pictures.dropped)
        if self._pictures.most_objects > self.max_objects:
            beyond = sum(max(0, len(listed) - self.max_objects) for listed in self._pictures.annotations())
            dropped |= {"beyond max_objects": beyond} if beyond else {}
        return dropped

    @cached_property
    def truth(self):
        """All objects, in pixels of the original pictures, as a dict that pycocotools' `COCO` can index.

        {"info", "images", "annotations", "categories"}; segmentations are compressed run lengths, and the whole can be
        written as JSON. It has the objects beyond `max_objects`, and not those of `dropped`.
        """
        images, annotations = [], []
        for row, listed in enumerate(self._pictures.annotations()):
            height, width = self.original_size(row)
            images.append({"id": self.image_id(row), "height": int(height), "width": int(width)})
            annotations += [{**one, "image_id": self.image_id(row)} for one in listed]
        numbers = [one.get("id") for one in annotations]
        # To pycocotools 0 is no annotation, and one of two with the same id is lost.
        if not all(isinstance(one, int) and one > 0 for one in numbers) or len({*numbers}) < len(numbers):
            annotations = [{**one, "id": number} for number, one in enumerate(annotations, 1)]
        pairs = zip(self.category_ids, self.class_names, strict=True)
        return {
            "info": {"description": f"{self.name}, from {self.origin}"},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in pairs],
        }

    def image_id(self, row):
        """The id that the picture in a row has in `truth`."""
        return self._pictures.image_id(row)

    def original_size(self, row):
        """(height, width) of the picture in a row, before it was put on the canvas."""
        return self._pictures.original_size(row)

    def read(self, row):
        """A picture and its targets.

        Args:
            row: 0 to `size` - 1.

        Returns:
            Tuple of a uint8 array (height, width, 3) and the dict of its targets.

        Raises:
            ValueError: If its file can no longer be read; the message names it.
        """
        scene = self._pictures.read(int(row))
        kept = np.arange(len(scene.classes))
        if len(kept) > self.max_objects:
            areas = scene.masks.sum((1, 2), dtype="int64")
            kept = np.sort(np.argsort(-areas, kind="stable")[: self.max_objects])
        count, room = len(kept), self.max_objects
        targets = {
            "boxes": np.zeros((room, 4), "float32"),
            "classes": np.full(room, -1, "int32"),
            "crowds": np.zeros(room, bool),
            "masks": np.zeros((room, *self.shape[:2]), "uint8"),
            "sizes": np.array(scene.size, "int32"),
        }
        for name in ("boxes", "classes", "crowds", "masks"):
            targets[name][:count] = getattr(scene, name)[kept]
        return scene.image, targets

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
        """Batches (images, targets) without end, in the order in which `zoo.data.Source.batches` would give them.

        Args:
            batch_size: Elements of a batch over all replicas, at least 1.
            seed: Whole number.
            first_epoch: Number of the epoch to begin with, at least 0.
            group: If given, each element is a group of so many pictures, one for each update of a step.
            shuffle: If false, every epoch has the order of the data.
            first_step: Step of `first_epoch` to begin with, from 0 to `steps_per_epoch(batch_size, group)` - 1.
            replicas: (first, count, total) as in `zoo.data.Source.batches`, or None for whole batches.
            augment: What `flip_and_scale` returns, which changes each picture at random, as `seed`, epoch and picture
                say; None to leave all as they are.

        Returns:
            `tf.data.Dataset` of uint8 images (batch_size, height, width, 3) and the dict of their targets, each with
            the batch in front; or (batch_size, group, ...). With `replicas`, parts of them.

        Raises:
            ValueError: If a batch is larger than the data, or an argument is out of range.

        Example:

            >>> from zoo import data
            >>> images, targets = next(iter(data.load_detection("scenes").batches(8)))
            >>> images.shape, targets["boxes"].shape
            (TensorShape([8, 128, 128, 3]), TensorShape([8, 5, 4]))
        """
        room, canvas = self.max_objects, self.shape[:2]
        kinds = {
            "boxes": ("float32", (room, 4)),
            "classes": ("int32", (room,)),
            "crowds": ("bool", (room,)),
            "masks": ("uint8", (room, *canvas)),
            "sizes": ("int32", (2,)),
        }
        return batches_of_pictures(
            self.name,
            (self.size, *self.shape),
            kinds,
            self.read,
            self._rows_at_once(),
            batch_size,
            seed=seed,
            first_epoch=first_epoch,
            group=group,
            shuffle=shuffle,
            first_step=first_step,
            replicas=replicas,
            augment=augment,
        )

    def examples(self, n=None, seed=0):
        """A fixed sample without replacement, or all pictures in order.

        Args:
            n: Number of pictures, 1 to `size`; None for all.
            seed: Seed of the sample, 0 to 2^32 - 1.

        Returns:
            Tuple of uint8 images (n, height, width, 3) and the dict of their targets, with n in front of each.

        Raises:
            ValueError: If `n` is larger than the data, or an argument is out of range.
        """
        return stacked([self.read(row) for row in sample_of(self.name, self.size, n, seed)])

    def _rows_at_once(self):
        """Few of large pictures, whose masks would fill the memory."""
        return rows_at_once(self.shape[0] * self.shape[1] * (3 + self.max_objects), _BYTES_AT_ONCE)


def label_maps(targets):
    """The class of each pixel, for semantic segmentation.

    Args:
        targets: Dict of NumPy arrays "classes" (..., n) and "masks" (..., n, height, width), of one picture or several.

    Returns:
        int32 array (..., height, width): the class plus one, 0 for background. Where objects overlap, the smallest one
        counts.

    Example:

        >>> from zoo import data
        >>> from zoo.data.detection import label_maps
        >>> image, targets = data.load_detection("scenes").read(0)
        >>> label_maps(targets).shape
        (128, 128)
    """
    classes, masks = np.asarray(targets["classes"]), np.asarray(targets["masks"])
    maps = np.zeros((*masks.shape[:-3], *masks.shape[-2:]), "int32")
    for place in np.ndindex(masks.shape[:-3]):
        for one in np.argsort(-masks[place].sum((1, 2), dtype="int64"), kind="stable"):
            maps[place][masks[place][one] > 0] = classes[place][one] + 1
    return maps
