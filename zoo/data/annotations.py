"""Annotations of objects as COCO's files have them: checked, and with masks as compressed run lengths."""

from typing import NamedTuple

from zoo.documents import finite_numbers
from zoo.masks import checked_counts, checked_polygons, is_crowd


class Annotation(NamedTuple):
    """An object in a picture.

    Attributes:
        number: Id of the annotation.
        label: Class, from 0.
        box: (x1, y1, x2, y2) in pixels of the picture, cut at its border.
        is_crowd: Whether it stands for several objects of the class that cannot be told apart.
        area: Pixels, as annotated.
        counts: Run lengths of the mask, in the compressed form of pycocotools.
    """

    number: object
    label: int
    box: tuple
    is_crowd: bool
    area: float
    counts: bytes


class Useless(Exception):
    """There is nothing to learn from an annotation; the message is the reason, and not an error of the file."""


def checked(annotation, number, label, size):
    """An annotation that can be used.

    Args:
        annotation: {"segmentation": polygons or run lengths, "bbox": [x, y, width, height], "area", "iscrowd"}; all but
            the first may be missing.
        number: Its id.
        label: Its class, from 0.
        size: (height, width) of its picture.

    Returns:
        `Annotation`.

    Raises:
        Useless: If it has no mask, or its box lies outside the picture.
        ValueError: If it is damaged; the message begins in the middle of a sentence, without the file's name.
    """
    from pycocotools import mask as coding

    box = annotation.get("bbox")
    if box is not None:
        box = _corners(box, size)
    encoded = _encoded(annotation.get("segmentation"), size)
    area = float(coding.area(encoded))
    if area == 0:
        raise Useless("empty mask")
    if box is None:
        left, top, width, height = coding.toBbox(encoded).tolist()
        box = left, top, left + width, top + height
    given = area if annotation.get("area") is None else annotation["area"]
    if finite_numbers([given]) is None or given < 0:
        raise ValueError(f"its area must be a number of at least 0. Received: {str(given)[:40]!r}")
    return Annotation(number, label, box, is_crowd(annotation), given, encoded["counts"])


def _corners(box, size):
    """A box [x, y, width, height] as corners, cut at the border of the picture."""
    numbers = finite_numbers(box)
    if numbers is None or numbers.shape != (4,):
        raise ValueError(f"its bbox must be four finite numbers: x, y, width, height. Received: {str(box)[:60]}")
    left, top, width, height = numbers.tolist()
    if width <= 0 or height <= 0:
        raise Useless("box without area")
    right, bottom = min(left + width, size[1]), min(top + height, size[0])
    left, top = max(left, 0.0), max(top, 0.0)
    if right <= left or bottom <= top:
        raise Useless("box outside the picture")
    return left, top, right, bottom


def _encoded(form, size):
    """Compressed run lengths of polygons, or of run lengths of either kind, as pycocotools has them."""
    from pycocotools import mask as coding

    if not form:
        raise Useless("no mask")
    if isinstance(form, dict):
        counts = checked_counts(form, size)
        if isinstance(counts, list):
            return coding.frPyObjects({"size": list(size), "counts": counts}, *size)
        return {"size": list(size), "counts": counts}
    polygons = checked_polygons(form, size)
    if not polygons:
        raise Useless("empty mask")
    return coding.merge(coding.frPyObjects(polygons, *size))
