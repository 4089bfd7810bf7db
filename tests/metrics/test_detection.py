"""Average precision on cases worked by hand, and as pycocotools has it."""

import contextlib
import copy
import io

import numpy as np
import pytest
from pycocotools import mask as coding
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.helpers.documents import replaced
from zoo.metrics import coco_average_precision

NAMES = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar100": 8}
SIDE = 200


def encoded(x, y, width, height):
    mask = np.zeros((SIDE, SIDE), "uint8")
    mask[y : y + height, x : x + width] = 1
    return coding.encode(np.asfortranarray(mask))


def thing(image, category, box, score=None, **more):
    x, y, width, height = box
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    if score is None:
        return {
            **{"image_id": image, "category_id": category, "bbox": list(box), "area": width * height, "iscrowd": 0},
            **{"segmentation": [corners], **more},
        }
    return {
        "image_id": image,
        "category_id": category,
        "bbox": list(box),
        "score": score,
        "segmentation": encoded(*box),
    }


def truth_of(*annotations, images=(1, 2), categories=(3, 7)):
    return {
        "images": [{"id": image, "height": SIDE, "width": SIDE} for image in images],
        "categories": [{"id": category, "name": str(category)} for category in categories],
        "annotations": [{**one, "id": number} for number, one in enumerate(annotations, 1)],
    }


def by_pycocotools(truth, detections, kind):
    """Its own way from files to figures; of masks without boxes, so that areas are of masks."""
    drop = "segmentation" if kind == "bbox" else "bbox"
    results = [{key: value for key, value in one.items() if key != drop} for one in detections]
    with contextlib.redirect_stdout(io.StringIO()):
        index = COCO()
        index.dataset = copy.deepcopy(truth)
        index.createIndex()
        judge = COCOeval(index, index.loadRes(copy.deepcopy(results)), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats


@pytest.mark.parametrize(("kind", "theirs"), [("box", "bbox"), ("mask", "segm")])
def test_equals_pycocotools_on_random_scenes(kind, theirs, capsys):
    rng = np.random.default_rng(0)
    boxes = [(*rng.integers(0, 80, 2), *rng.integers(5, 110, 2)) for _ in range(40)]
    boxes = [tuple(map(int, box)) for box in boxes]
    truth = truth_of(
        *(thing(1 + n % 2, (3, 7)[n // 2 % 2], box, iscrowd=int(n % 9 == 0)) for n, box in enumerate(boxes))
    )
    detections = []
    for n, (x, y, width, height) in enumerate(boxes * 2):
        dx, dy = map(int, rng.integers(0, 9, 2))
        category = (3, 7)[n // 2 % 2 if rng.random() < 0.8 else 0]
        detections.append(thing(1 + n % 2, category, (x + dx, y + dy, width, height), float(rng.random())))
    before, found_before = copy.deepcopy(truth), copy.deepcopy(detections)
    found = coco_average_precision(truth, detections, kind)
    assert capsys.readouterr().out == ""
    expected = by_pycocotools(truth, detections, theirs)
    assert found == {name: pytest.approx(expected[place], abs=1e-12) for name, place in NAMES.items()}
    assert 0.1 < found["ap"] < found["ap50"] < 1
    # What was given is as it was.
    assert truth == before and detections == found_before


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_what_is_right_to_the_pixel_scores_one(kind):
    places = [(1, 3, (5, 5, 20, 20)), (1, 3, (50, 50, 60, 60)), (2, 7, (0, 0, 120, 120))]
    found = coco_average_precision(
        truth_of(*(thing(*one) for one in places)), [thing(*one, 0.9) for one in places], kind
    )
    assert found == pytest.approx(dict.fromkeys(NAMES, 1.0))


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_a_shift_passes_the_overlaps_below_its_own(kind):
    """100 x 100 moved by 20 overlaps in 80 x 100 of 120 x 100, 2 thirds: 0.5, 0.55, 0.6 and 0.65 of ten."""
    found = coco_average_precision(truth_of(thing(1, 3, (0, 0, 100, 100))), [thing(1, 3, (20, 0, 100, 100), 1.0)], kind)
    expected = {"ap": 0.4, "ap50": 1.0, "ap75": 0.0, "ap_large": 0.4, "ar100": 0.4}
    assert found == {**dict.fromkeys(NAMES), **{name: pytest.approx(value) for name, value in expected.items()}}


@pytest.mark.parametrize("kind", ["box", "mask"])
@pytest.mark.parametrize("form", ["polygon", "uncompressed", "compressed"])
def test_whole_numbers_may_be_floats(kind, form):
    """As tables have them: the figure of a perfect detection is 1, as with int."""
    box = (0, 0, 40, SIDE)
    truth, found = truth_of(thing(1, 3, box), thing(2, 7, box)), [thing(1, 3, box, 0.9), thing(2, 7, box, 0.8)]
    for one in (*truth["annotations"], *found):
        one |= {"image_id": float(one["image_id"]), "category_id": np.float64(one["category_id"])}
        runs = {"size": [float(SIDE)] * 2, "counts": [0.0, 40.0 * SIDE, 160.0 * SIDE]}
        compressed = {**encoded(*box), "size": np.full(2, float(SIDE))}
        one["segmentation"] = {"uncompressed": runs, "compressed": compressed}.get(form, one["segmentation"])
    for one in (*truth["images"], *truth["categories"]):
        one.update({name: float(value) for name, value in one.items() if name != "name"})
    assert coco_average_precision(truth, found, kind)["ap"] == pytest.approx(1.0)


def test_boxes_may_be_tuples():
    place = 4, 4, 50, 50
    true, found = ({**thing(1, 3, place, *score), "bbox": place} for score in ((), (0.9,)))
    assert coco_average_precision(truth_of(true), [found], "box")["ap"] == pytest.approx(1.0)


def test_precision_is_read_at_101_recalls():
    """One of two objects is found: recalls 0 to 0.5, which are 51 of 101, have precision 1."""
    truth = truth_of(thing(1, 3, (0, 0, 40, 40)), thing(2, 3, (0, 0, 40, 40)))
    found = coco_average_precision(truth, [thing(1, 3, (0, 0, 40, 40), 0.5)], "box")
    assert found["ap"] == pytest.approx(51 / 101) and found["ar100"] == 0.5


def test_crowds_are_neither_missed_nor_wrong():
    box, crowd = (0, 0, 40, 40), (60, 60, 100, 100)
    truth = truth_of(thing(1, 3, box), thing(1, 3, crowd, iscrowd=1))
    in_crowd = [thing(1, 3, (70 + 5 * n, 70, 20, 20), 0.95) for n in range(3)]
    for kind in ("box", "mask"):
        assert coco_average_precision(truth, [thing(1, 3, box, 0.9), *in_crowd], kind)["ap"] == pytest.approx(1)
    # As objects they would be three that are wrong before one that is right; with the crowd missed besides.
    truth["annotations"][1]["iscrowd"] = 0
    found = coco_average_precision(truth, [thing(1, 3, box, 0.9), *in_crowd], "box")
    assert found["ap"] == pytest.approx(51 / 101 / 4)


def test_nothing_found_scores_nothing_and_nothing_to_find_has_no_score():
    truth = truth_of(thing(1, 3, (0, 0, 100, 100)))
    assert coco_average_precision(truth, [], "mask") == {
        **dict.fromkeys(NAMES, 0.0),
        **{"ap_small": None, "ap_medium": None},
    }
    for truth in (truth_of(), truth_of(images=()), truth_of(thing(1, 3, (0, 0, 9, 9), iscrowd=1))):
        assert coco_average_precision(truth, [], "box") == dict.fromkeys(NAMES)
    assert coco_average_precision(truth_of(), [thing(1, 3, (0, 0, 9, 9), 0.9)], "box") == dict.fromkeys(NAMES)


def test_ids_of_annotations_do_not_matter():
    """To pycocotools an object of id 0 is never found, and one of two with equal ids is lost."""
    truth = truth_of(thing(1, 3, (0, 0, 40, 40)), thing(1, 3, (50, 0, 40, 40)))
    found = [thing(1, 3, (0, 0, 40, 40), 0.9), thing(1, 3, (50, 0, 40, 40), 0.8)]
    for one in truth["annotations"]:
        one["id"] = 0
    assert coco_average_precision(truth, found, "mask")["ap"] == pytest.approx(1)


@pytest.mark.parametrize("kind", ["box", "mask"])
@pytest.mark.parametrize("form", ["polygon", "uncompressed", "compressed"])
def test_areas_that_are_left_out_are_those_of_boxes_or_masks(kind, form):
    box = (10, 20, 40, 50)
    one = thing(1, 3, box)
    del one["area"], one["iscrowd"]
    if form == "compressed":
        one["segmentation"] = encoded(*box)
    elif form == "uncompressed":
        # By columns: those before the box, then 50 of each 200, then what is left.
        counts = [10 * SIDE + 20, *([50, SIDE - 50] * 39), 50, SIDE * SIDE - (49 * SIDE + 70)]
        one["segmentation"] = {"size": [SIDE, SIDE], "counts": counts}
    found = coco_average_precision(truth_of(one), [thing(1, 3, box, 1.0)], kind)
    # 40 x 50 is above 32 x 32, and below 96 x 96.
    assert (found["ap_small"], found["ap_medium"], found["ap_large"]) == (None, pytest.approx(1), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 5}, "must be of an image and a category of the truth. Received: image_id 5, .* none of its 2"),
        ({"category_id": 0}, "Received: category_id 0, which is none of its 2. Map classes by `category_ids`"),
        ({"score": float("nan")}, "must be finite. Received: NaN or infinity in a detection of image 1"),
        ({"bbox": [0, 0, float("inf"), 1]}, "must be finite"),
    ],
)
def test_refuses_what_the_truth_does_not_know(change, message):
    detection = {**thing(1, 3, (0, 0, 9, 9), 0.5), **change}
    with pytest.raises(ValueError, match=message):
        coco_average_precision(truth_of(), [detection], "box")


def test_refuses_other_kinds_and_what_lacks_them():
    with pytest.raises(ValueError, match="`kind` must be one of 'box', 'mask'. Received: 'segm'"):
        coco_average_precision(truth_of(), [], "segm")
    detection = {"image_id": 1, "category_id": 3, "score": 0.5, "bbox": [0, 0, 9, 9]}
    with pytest.raises(ValueError, match="A mask is judged by its `segmentation`. Received: a detection with image_id"):
        coco_average_precision(truth_of(), [detection], "mask")


@pytest.mark.parametrize(
    ("kind", "form"), [("box", "polygon"), ("mask", "polygon"), ("mask", "uncompressed"), ("mask", "compressed")]
)
def test_whatever_is_wrong_is_said_in_a_sentence_or_changes_nothing(kind, form):
    """What is right scores 1, and still does without what may be left out; less is found if another place is judged."""
    box = (0, 0, 40, SIDE)
    truth = truth_of(thing(1, 3, box), thing(2, 7, box))
    detections = [thing(1, 3, box, 0.9), thing(2, 7, box, 0.8)]
    runs = {"size": [SIDE, SIDE], "counts": [0, 40 * SIDE, 160 * SIDE]}
    for one in (truth["annotations"][0], detections[0]):
        if form != "polygon":
            one["segmentation"] = encoded(*box) if form == "compressed" else copy.deepcopy(runs)
    changes = [(*one, detections) for one in replaced(truth)]
    changes += [(where, truth, changed) for where, changed in replaced(detections)]
    may_be_anything = {"id", "name", "score", "bbox" if kind == "mask" else "segmentation"}
    refused = 0
    for where, changed, found in changes:
        if 1 in where:  # as the one before
            continue
        try:
            figure = coco_average_precision(changed, found, kind)["ap"]
        except ValueError as error:
            refused += 1
            assert len(str(error)) > 40 and "Received" in str(error), (where, error)
        else:
            assert figure is None or 0 <= figure <= 1, where
            if where[-2] in may_be_anything and where[0] != "images":
                assert figure == pytest.approx(1), where
    assert refused > 120


def test_a_mask_of_another_size_than_its_image_is_refused():
    """In float32 both would be "not found", which says nothing of the cause."""
    small = coding.encode(np.asfortranarray(np.ones((SIDE // 2, SIDE), "uint8")))
    one = {"image_id": 1, "category_id": 3, "score": 0.9, "segmentation": small}
    with pytest.raises(ValueError, match=r"Detection 0 of 1.* must be that of the picture, 200 x 200. .*\[100, 200\]"):
        coco_average_precision(truth_of(thing(1, 3, (0, 0, 40, 40))), [one])
    # Whose run lengths end before the image does: pycocotools reads on in memory.
    one["segmentation"] = {**small, "size": [SIDE, SIDE]}
    with pytest.raises(ValueError, match="add up to 200 x 200 pixels. Received: 20000 in all"):
        coco_average_precision(truth_of(thing(1, 3, (0, 0, 40, 40))), [one])


@pytest.mark.parametrize("ids", [(1, "1"), ("a", "b"), (0, "x"), (2**70, -3)])
def test_ids_of_images_may_be_numbers_and_texts(ids):
    truth = truth_of(*(thing(one, 3, (0, 0, 40, 40)) for one in ids), images=ids)
    found = [thing(one, 3, (0, 0, 40, 40), 0.9) for one in ids]
    assert coco_average_precision(truth, found, "box")["ap"] == pytest.approx(1)
    # One of two is found: 51 of 101 recalls.
    assert coco_average_precision(truth, found[1:], "box")["ap"] == pytest.approx(51 / 101)
    with pytest.raises(ValueError, match="Received: image_id '?77'?, which is none of its 2"):
        coco_average_precision(truth, [*found, thing("77", 3, (0, 0, 9, 9), 0.5)], "box")


@pytest.mark.parametrize("flag", ["0", "false", 2, 0.5, float("nan"), -1])
def test_crowds_are_told_by_0_1_true_and_false_only(flag):
    """To Python "0" and "false" are true: the object would be a crowd, and a perfect detection without a figure."""
    box = (0, 0, 40, 40)
    with pytest.raises(ValueError, match="Annotation 0 of 1.*its iscrowd must be 0, 1, true or false. Received"):
        coco_average_precision(truth_of(thing(1, 3, box, iscrowd=flag)), [thing(1, 3, box, 0.9)], "box")
    for given, expected in ((0, 1.0), (False, 1.0), (0.0, 1.0), (None, 1.0), (1, None), (True, None), (1.0, None)):
        truth = truth_of(thing(1, 3, box, iscrowd=given))
        assert coco_average_precision(truth, [thing(1, 3, box, 0.9)], "box")["ap"] == (expected and pytest.approx(1))
