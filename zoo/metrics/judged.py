"""Checks of what average precision is computed of: documents as COCO has them, of any origin."""

import numpy as np

from zoo.documents import as_id, as_size
from zoo.masks import checked_counts, checked_polygons, is_crowd

_NEEDED = {"box": "bbox", "mask": "segmentation"}


def check_judged(truth, detections, kind):
    """Checks all that pycocotools takes for granted.

    Args:
        truth: Annotations as of `zoo.metrics.coco_average_precision`.
        detections: Detections likewise.
        kind: "box" or "mask": what must overlap.

    Raises:
        ValueError: If something is missing or not as it must be; the message names it.
    """
    sizes, categories = _checked_lists(truth)
    annotations = _dicts('`truth["annotations"]`', truth.get("annotations"))
    detections = _dicts("`detections`", detections)
    for name, objects in (("annotation", annotations), ("detection", detections)):
        for number, one in enumerate(objects):
            try:
                _check_ids(one, sizes, categories)
                _check_object(name, one, kind)
                if kind == "mask":
                    _check_mask(one["segmentation"], sizes[one["image_id"]])
            except ValueError as error:
                raise ValueError(f"{name.title()} {number} of {len(objects)}, counted from 0: {error}.") from error


def _checked_lists(truth):
    """{id: (height, width)} of the images and the set of the ids of the categories."""
    if not isinstance(truth, dict):
        raise ValueError(f"`truth` must be a dict as COCO's files hold. Received: {type(truth).__name__}.")
    for name in ("images", "categories", "annotations"):
        if name not in truth:
            raise ValueError(f"`truth` must hold {name}. Received: {', '.join(map(str, truth)) or 'an empty dict'}.")
    sizes, categories = {}, set()
    for name, known in (("images", sizes), ("categories", categories)):
        for number, one in enumerate(_dicts(f'`truth["{name}"]`', truth[name])):
            if as_id(one.get("id")) is None or one["id"] in known:
                raise ValueError(
                    f"Each of `truth[{name!r}]` must have an id of its own, a whole number or str. Received: "
                    f"{one.get('id')!r} at place {number}."
                )
            if name == "categories":
                known.add(one["id"])
                continue
            size = one.get("height"), one.get("width")
            if as_size(size) is None:
                raise ValueError(
                    "Each image must have height and width, whole numbers of at least 1, of at most 2^31 pixels "
                    f"together. Received: {str(size)[:60]} of image {one['id']!r}."
                )
            known[one["id"]] = as_size(size)
    return sizes, categories


def _dicts(name, values):
    if not isinstance(values, (list, tuple)) or not all(isinstance(one, dict) for one in values):
        received = type(values).__name__
        if isinstance(values, (list, tuple)):
            received = f"{type(next(one for one in values if not isinstance(one, dict))).__name__} among them"
        raise ValueError(f"{name} must be a list of dicts. Received: {received}.")
    return values


def _check_ids(one, sizes, categories):
    for of_what, known in (("image_id", sizes), ("category_id", categories)):
        if as_id(one.get(of_what)) is None or one[of_what] not in known:
            spelt = {str(some): some for some in known}.get(str(one.get(of_what)))
            hint = f"; there is {spelt!r}, of type {type(spelt).__name__}" if spelt is not None else ""
            raise ValueError(
                f"it must be of an image and a category of the truth. Received: {of_what} {one.get(of_what)!r}, which "
                f"is none of its {len(known)}{hint}. Map classes by `category_ids` of the data set"
            )


def _check_object(name, one, kind):
    """Checks all of an annotation or detection but its image, category and mask."""
    is_crowd(one)
    listed = f"a{'n' * (name == 'annotation')} {name} with {', '.join(map(str, one))}"
    if one.get(_NEEDED[kind]) is None:
        raise ValueError(f"A {kind} is judged by its `{_NEEDED[kind]}`. Received: {listed}")
    score = _numbers(one.get("score", 1.0 if name == "annotation" else None))
    if score is None or score.ndim:
        raise ValueError(
            f"its score must be a number. Received: {str(one['score'])[:40]!r}"
            if "score" in one
            else f"it has no score. Received: {listed}"
        )
    box = np.zeros(4) if one.get("bbox") is None else _numbers(one["bbox"])
    if box is None or box.shape != (4,):
        raise ValueError(f"its bbox must be four numbers: x, y, width, height. Received: {str(one['bbox'])[:60]}")
    if not np.isfinite([score, *box]).all():
        raise ValueError(
            f"Scores and boxes must be finite. Received: NaN or infinity in a {name} of image {one['image_id']!r}; the "
            "model has diverged"
        )
    if min(box[2:]) < 0:
        raise ValueError(
            f"its bbox must be x, y, width, height, not corners. Received: width {box[2]:g}, height {box[3]:g}"
        )
    area = _numbers(0 if one.get("area") is None else one["area"])
    if area is None or area.ndim or not 0 <= area < np.inf:
        raise ValueError(f"its area must be a number of at least 0. Received: {str(one['area'])[:40]!r}")


def _check_mask(form, size):
    if isinstance(form, dict):
        checked_counts(form, size)
    elif not checked_polygons(form, size):
        raise ValueError(f"its polygons must have three corners or more. Received: {str(form)[:60]}")


def _numbers(values):
    """Numbers in a list as a float64 array, or None."""
    try:
        array = np.asarray(values)
        return array.astype("float64") if array.dtype.kind in "iuf" else None
    except (OverflowError, TypeError, ValueError):
        return None
