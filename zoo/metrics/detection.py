"""How well objects are found: the average precision of COCO, by pycocotools."""

import contextlib
import io

import numpy as np

from zoo.checks import check_choice

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
            judged; `iscrowd` may be left out, as may `area`, for that of the box or mask.
        detections: List of {"image_id", "category_id", "score", "bbox": [x, y, width, height], "segmentation": RLE};
            "bbox" is needed for boxes, "segmentation" for masks.
        kind: "box" or "mask": what must overlap.

    Returns:
        {"ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large": precision, "ar100": recall}, in [0, 1]; 0 where
        nothing is found, and None where there is nothing to find.

    Raises:
        ValueError: If a detection is of an image or category that the truth lacks, or its score or box is not finite.

    Example:
        >>> truth = {"images": [{"id": 1, "height": 9, "width": 9}], "categories": [{"id": 1}], "annotations": [
        ...     {"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}]}
        >>> found = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 3], "score": 0.9}]
        >>> coco_average_precision(truth, found, "box")["ap"]  # 0.6: the overlap is 0.75, which passes 6 of 10
    """
    check_choice("kind", kind, tuple(_KINDS))
    _check_detections(truth, detections, kind)
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

    sizes, indexed = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}, COCO()
    # Numbered anew from 1: to pycocotools an id of 0 is no match, and one of two equal ids is lost.
    annotations = [{"iscrowd": 0, **one, "id": number} for number, one in enumerate(annotations, 1)]
    for one in annotations:
        if "area" not in one:
            one["area"] = _area(one, sizes[one["image_id"]], kind)
    indexed.dataset = {"images": truth["images"], "categories": truth["categories"], "annotations": annotations}
    indexed.createIndex()
    return indexed


def _area(annotation, size, kind):
    if kind == "box":
        return annotation["bbox"][2] * annotation["bbox"][3]
    from pycocotools import mask

    form = annotation["segmentation"]
    if isinstance(form, list) or isinstance(form["counts"], list):
        form = mask.frPyObjects(form, *size)
    return float(mask.area(mask.merge(form) if isinstance(form, list) else form))


def _check_detections(truth, detections, kind):
    needed = {"box": "bbox", "mask": "segmentation"}[kind]
    for of_what, known in (
        ("image_id", {image["id"] for image in truth["images"]}),
        ("category_id", {category["id"] for category in truth["categories"]}),
    ):
        unknown = sorted({one[of_what] for one in detections} - known)
        if unknown:
            raise ValueError(
                f"Each detection must be of an image and a category of the truth. Received: {of_what} {unknown[0]}, "
                f"which is none of its {len(known)}. Map classes by `category_ids` of the data set."
            )
    for one in detections:
        if needed not in one:
            raise ValueError(f"A {kind} is judged by its `{needed}`. Received: a detection with {', '.join(one)}.")
        if not np.isfinite([one["score"], *one.get("bbox", ())]).all():
            raise ValueError(
                "Scores and boxes must be finite. Received: NaN or infinity in a detection of image "
                f"{one['image_id']}; the model has diverged."
            )
