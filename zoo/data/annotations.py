"""Annotations of objects as COCO's files have them: checked, and with masks as compressed run lengths."""

from typing import NamedTuple

import numpy as np

from zoo.data.instances import is_crowd


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
    given = annotation.get("area", area)
    if _numbers([given]) is None:
        raise ValueError(f"its area must be a number. Received: {str(given)[:40]!r}")
    return Annotation(number, label, box, is_crowd(annotation), given, encoded["counts"])


def _corners(box, size):
    """A box [x, y, width, height] as corners, cut at the border of the picture."""
    numbers = _numbers(box)
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
        counts = _checked_counts(form, size)
        if isinstance(counts, list):
            return coding.frPyObjects({"size": list(size), "counts": counts}, *size)
        return {"size": list(size), "counts": counts}
    polygons = _checked_polygons(form, size)
    if not polygons:
        raise Useless("empty mask")
    return coding.merge(coding.frPyObjects(polygons, *size))


def _checked_counts(form, size):
    """Run lengths that cover the picture: pycocotools decodes others too, to whatever lies in memory."""
    if not isinstance(form.get("size"), (list, tuple)) or list(form["size"]) != list(size):
        raise ValueError(
            f"the size of its run lengths, (height, width), must be that of the picture, {size[0]} x {size[1]}. "
            f"Received: {form.get('size')}"
        )
    counts = form.get("counts")
    if isinstance(counts, list):
        runs = counts
        good = all(isinstance(run, int) and run >= 0 for run in runs)
    else:
        counts = counts.encode(errors="surrogatepass") if isinstance(counts, str) else counts
        runs = _decoded(counts) if isinstance(counts, bytes) else None
        good = runs is not None and min(runs, default=0) >= 0
    if not good or sum(runs) != size[0] * size[1]:
        received = f"{sum(runs)} in all" if good else "others"
        raise ValueError(
            f"its run lengths must be whole numbers of at least 0 that add up to {size[0]} x {size[1]} pixels. "
            f"Received: {received}"
        )
    return counts


def _decoded(counts):
    """Numbers of compressed run lengths: six bits a sign, differences to the last but one; None if they are broken."""
    runs, number, shift = [], 0, 0
    for sign in counts:
        bits = sign - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        number = shift = 0
    return None if shift else runs


def _checked_polygons(form, size):
    """Those with three corners or more; of two, pycocotools makes boxes."""
    if not isinstance(form, list) or not all(isinstance(polygon, list) for polygon in form):
        raise ValueError(
            "its segmentation must be run lengths, or a list of polygons, [[x, y, x, y, …], …]. Received: "
            f"{str(form)[:60]}"
        )
    polygons = []
    for polygon in form:
        corners = _numbers(polygon)
        # What is far away takes memory for every pixel of the way.
        if corners is None or len(corners) % 2 or np.abs(corners).max(initial=0) > 10 * sum(size):
            raise ValueError(
                "its polygons must be lists of finite numbers, x and y in turn, within or near the picture. Received: "
                f"{len(polygon)} values, {str(polygon)[:60]}"
            )
        if len(corners) >= 6:
            polygons.append(corners.tolist())
    return polygons


def _numbers(values):
    """A list of finite numbers as an array, or None."""
    if not isinstance(values, (list, tuple)):
        return None
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return None
    try:
        array = np.array(values, "float64")
    except OverflowError:  # JSON's whole numbers have any length
        return None
    return array if np.isfinite(array).all() else None
