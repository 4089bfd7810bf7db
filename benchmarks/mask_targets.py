"""What Mask R-CNN's targets of masks and the way masks are pasted allow: mask AP of boxes and masks without a fault.

    python -m benchmarks.mask_targets
    python -m benchmarks.mask_targets --data path/to/coco --split test

Each object is "found" by its true box and a mask that is its target of 28 x 28 cells to the last digit, pasted into the
picture: what no training can pass. Ours, and torchvision's, whose targets lie half a pixel off and which cuts boxes to
whole pixels before it pastes (`aligned` of `crop_masks` and `whole_pixels` of `paste_masks`).
"""

import argparse
import contextlib
import io

import numpy as np

from benchmarks.side_by_side import add_json, positive, print_table, write_json
from zoo import data

WAYS = {
    "ours": (True, False),
    "torchvision's targets, our pasting": (False, False),
    "our targets, torchvision's pasting": (True, True),
    "torchvision's": (False, True),
}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mask_targets", description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="tiny_coco", help="as of zoo.data.load_detection (default: %(default)s)")
    parser.add_argument("--split", choices=("train", "test"), default="train", help="(default: %(default)s)")
    parser.add_argument("--cells", type=positive, default=28, help="of a side of a target (default: %(default)s)")
    add_json(parser)
    options = parser.parse_args()

    source = data.load_detection(options.data, split=options.split)
    rows = [{"way": way, **scores(source, options.cells, *kinds)} for way, kinds in WAYS.items()]
    print(f"{source.size} pictures of {options.data}, {options.split}: mask AP in %.")
    figures = ("ap", "ap50", "ap75", "ap_small")
    print_table(
        [("", 36), *((name, 10) for name in figures)],
        ([row["way"], *(f"{100 * row[name]:.1f}" for name in figures)] for row in rows),
    )
    write_json(options, rows)


def scores(source, cells, aligned, whole_pixels):
    """COCO's average precision of what is found without a fault."""
    from pycocotools import mask
    from pycocotools.coco import COCO

    from zoo.detection.masks import crop_masks, paste_masks
    from zoo.metrics import coco_average_precision

    truth, found, annotated = source.truth, [], COCO()
    annotated.dataset = truth
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        annotated.createIndex()
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    for one in truth["annotations"]:
        if one.get("iscrowd"):
            continue
        (height, width), (x, y, across, down) = sizes[one["image_id"]], one["bbox"]
        masks = annotated.annToMask(one)[None].astype("float32")
        boxes = np.float32([[x, y, x + across, y + down]])
        pasted = paste_masks(crop_masks(masks, boxes, cells, aligned), boxes, height, width, whole_pixels)[0].numpy()
        encoded = mask.encode(np.asfortranarray(pasted > 0.5, "uint8"))
        found.append({key: one[key] for key in ("image_id", "category_id")} | {"score": 1.0, "segmentation": encoded})
    return coco_average_precision(truth, found)


if __name__ == "__main__":
    main()
