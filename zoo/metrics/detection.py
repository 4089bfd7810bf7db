"""How well objects are found: the average precision of COCO, by pycocotools."""

import contextlib
import io

from zoo.checks import check_choice
from zoo.documents import as_size, as_whole
from zoo.masks import checked_polygons, is_crowd
from zoo.metrics.judged import check_judged

_KINDS = {"box": "bbox", "mask": "segm"}
# Where each figure stands among those that pycocotools sums up.
_FIGURES = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar100": 8}


def coco_average_precision(truth, detections, kind="mask"):
    """Average precision as COCO defines it (Lin et al. 2014): the mean over classes and overlaps of 0.5 to 0.95.

    Of each image, the 100 detections of each class with the highest scores count. No crowd is missed, and nothing in
    one is wrong. Small is below 32 x 32 pixels and large above 96 x 96, by the `area` of an annotation, and that of the
    box or mask of a detection.

    Args:
        truth: Annotations as in COCO's files, {"images": [{"id", "height", "width"}], "categories": [{"id"}],
            "annotations": [{"image_id", "category_id", "bbox", "segmentation", "area", "iscrowd"}]}. All its images are
            judged. Ids are whole numbers or str, also both; floats count as whole numbers where they have no fraction.
            `iscrowd`, 0, 1, true or false, may be left out or None, which is 0, as may `area`, for that of the box or
            mask, and what is not judged of "bbox" and "segmentation".
        detections: List of {"image_id", "category_id", "score", "bbox": [x, y, width, height], "segmentation": RLE};
            "bbox" is needed for boxes, "segmentation" for masks.
        kind: "box" or "mask": what must overlap.

    Returns:
        {"ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large": precision, "ar100": recall}, in [0, 1]; 0 where
        nothing is found, and None where there is nothing to find.

    Raises:
        ValueError: If a detection is of an image or category that the truth lacks, its score or box is not finite, its
            mask has another size than its image, or anything else is not as above; the message names it.

    Example:
        >>> truth = {"images": [{"id": 1, "height": 9, "width": 9}], "categories": [{"id": 1}], "annotations": [
        ...     {"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}]}
        >>> found = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 3], "score": 0.9}]
        >>> round(coco_average_precision(truth, found, "box")["ap"], 4)  # the overlap is 0.75, which passes 6 of 10
        0.6
    """
    check_choice("kind", kind, tuple(_KINDS))
    check_judged(truth, detections, kind)
    from pycocotools.cocoeval import COCOeval

    # It prints what it does.
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(_indexed(truth, truth["annotations"], kind), _indexed(truth, detections, kind), _KINDS[kind])
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    found = {name: float(judge.stats[place]) for name, place in _FIGURES.items()}
    # Where there is nothing to find, pycocotools says -1.
    return {name: None if value < 0 else value for name, value in found.items()}


def _indexed(truth, annotations, kind):
    """A `COCO` of copies, since pycocotools writes into what it judges."""
    from pycocotools.coco import COCO

    # Numbered anew from 1: to pycocotools an id of 0 is no match, one of two equal ids is lost, and numbers become
    # str where others are.
    images = {image["id"]: number for number, image in enumerate(truth["images"], 1)}
    categories = {category["id"]: number for number, category in enumerate(truth["categories"], 1)}
    sizes, indexed = [as_size((image["height"], image["width"])) for image in truth["images"]], COCO()
    numbered = []
    for number, one in enumerate(annotations, 1):
        image, category = images[one["image_id"]], categories[one["category_id"]]
        copy = {**one, "iscrowd": int(is_crowd(one)), "id": number, "image_id": image, "category_id": category}
        if kind == "box":
            # pycocotools takes no tuples.
            copy["bbox"] = list(one["bbox"])
        if kind == "mask":
            copy["segmentation"] = _segmentation(one["segmentation"], sizes[image - 1])
        if one.get("area") is None:
            copy["area"] = _area(copy, sizes[image - 1], kind)
        numbered.append(copy)
    indexed.dataset = {
        "images": [{"id": number, "height": height, "width": width} for number, (height, width) in enumerate(sizes, 1)],
        "categories": [{"id": number} for number in categories.values()],
        "annotations": numbered,
    }
    indexed.createIndex()
    return indexed


def _segmentation(form, size):
    """A mask as pycocotools takes it: whole numbers are int."""
    if isinstance(form, list):
        return checked_polygons(form, size)
    counts = form["counts"]
    return {"size": list(size), "counts": [as_whole(run) for run in counts] if isinstance(counts, list) else counts}


def _area(annotation, size, kind):
    if kind == "box":
        return annotation["bbox"][2] * annotation["bbox"][3]
    from pycocotools import mask

    form = annotation["segmentation"]
    if isinstance(form, list) or isinstance(form["counts"], list):
        form = mask.frPyObjects(form, *size)
    return float(mask.area(mask.merge(form) if isinstance(form, list) else form))
