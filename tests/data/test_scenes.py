"""Scenes composed of digits on photos: which pixels are whose, that they repeat, and what the splits share."""

import numpy as np
import pytest

from zoo import data
from zoo.data.scenes import Scenes


@pytest.fixture(scope="module")
def scenes():
    """The test split, and all of its scenes."""
    made = Scenes("test")
    return made, [made.read(row) for row in range(len(made))]


def test_masks_are_the_pixels_that_are_seen_of_each_object(scenes, monkeypatch):
    """By painting numbers in place of colours, with as many random draws."""
    wholes = []

    def paint_number(self, random, image, ink, place):
        random.randint(0, 256, (10, 3))
        wholes.append((ink >= 0.4).sum())
        image[place][ink >= 0.4] = (0, 0, len(wholes))

    monkeypatch.setattr(Scenes, "_paint", paint_number)
    for row, scene in enumerate(scenes[1][:60]):
        wholes.clear()
        painted = scenes[0].read(row).image
        number = np.zeros(painted.shape[:2], int)
        for place, mask in enumerate(scene.masks, 1):
            assert not number[mask > 0].any()  # no two masks overlap
            number[mask > 0] = place
        covered = number > 0
        np.testing.assert_array_equal(painted[covered], np.stack([number[covered] * 0] * 2 + [number[covered]], 1))
        np.testing.assert_array_equal(painted[~covered], scene.image[~covered])
        assert len(wholes) == len(scene.masks)
        for mask, whole in zip(scene.masks, wholes, strict=True):
            assert 0.25 * whole <= mask.sum() <= whole


def test_an_object_has_one_colour_that_differs_from_what_is_behind_it(scenes):
    """Shades of a colour are 70 to 100 % of it, by the definition, rounded."""
    checked = 0
    for scene in scenes[1][:60]:
        for mask in scene.masks:
            pixels = scene.image[mask > 0].astype(float)
            highest = pixels.max(0)
            assert (pixels >= 0.7 * highest - 1).all()
            checked += 1
    assert checked > 100


def test_boxes_are_the_bounds_of_masks(scenes):
    for scene in scenes[1]:
        for box, mask in zip(scene.boxes, scene.masks, strict=True):
            places = np.argwhere(mask)
            assert box.tolist() == [*places.min(0)[::-1], *(places.max(0) + 1)[::-1]]


def test_kinds_and_numbers(scenes):
    made, read = scenes
    counts = np.array([len(scene.classes) for scene in read])
    assert (len(made), made.shape, len(Scenes("train"))) == (200, (200, 128, 128, 3), 10_000)
    assert counts.max() == made.most_objects == 5
    # A tenth is drawn to be empty: five standard deviations of a binomial count.
    assert abs((counts == 0).sum() - 20) < 5 * np.sqrt(200 * 0.1 * 0.9)
    assert set(np.concatenate([scene.classes for scene in read])) == set(range(10))
    scene = read[0]
    kinds = [getattr(scene, name).dtype for name in ("image", "boxes", "classes", "crowds", "masks")]
    assert kinds == ["uint8", "float32", "int32", "bool", "uint8"] and scene.size == (128, 128)
    assert made.original_size(3) == (128, 128) and made.image_id(3) == 3


def test_scenes_repeat_and_differ(scenes):
    again = Scenes("test")
    for row in (7, 3, 7):
        for found, expected in zip(again.read(row), scenes[1][row], strict=True):
            np.testing.assert_array_equal(found, expected)
    images = {scene.image.tobytes() for scene in scenes[1]} | {Scenes("train").read(0).image.tobytes()}
    assert len(images) == 201


def test_as_many_scenes_as_wanted_are_composed():
    few, many = Scenes("train", num_scenes=3), Scenes("train", num_scenes=20_000)
    assert (len(few), few.shape, len(many)) == (3, (3, 128, 128, 3), 20_000)
    for row in range(3):
        for found, expected in zip(few.read(row), many.read(row), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert len({many.read(row).image.tobytes() for row in (*range(100), *range(10_000, 10_100))}) == 200
    for load in (data.load_detection, data.load_segmentation):
        assert (load("scenes", num_scenes=7).size, load("scenes", split="test", num_scenes=7).size) == (7, 7)
        for number in (0, 10_000_001):
            with pytest.raises(ValueError, match=f"must be a whole number from 1 to 10000000. Received: {number}"):
                load("scenes", num_scenes=number)
        with pytest.raises(ValueError, match="for 'scenes', .* 'coco128' has the pictures .* leave it out"):
            load("coco128", num_scenes=7)


def test_the_splits_share_neither_digits_nor_parts_of_photos():
    train, test = Scenes("train"), Scenes("test")
    of_train, of_test = ({digit.tobytes() for digit in one._digits} for one in (train, test))
    # 1,797 digits, a tenth of them held out, as of "digits".
    assert (len(train._digits), len(test._digits)) == (1618, 179) and not of_train & of_test
    from sklearn.datasets import load_sample_images

    for left, right, whole in zip(train._photos, test._photos, load_sample_images().images, strict=True):
        np.testing.assert_array_equal(np.concatenate([left, right], axis=1), whole)


def test_scenes_are_drawn_at_the_size_wanted():
    source = data.load_detection("scenes", image_size=(64, 96))
    image, targets = source.read(5)
    assert image.shape == (64, 96, 3) and targets["masks"].shape == (5, 64, 96)
    assert targets["sizes"].tolist() == [64, 96]
    with pytest.raises(ValueError, match=r"at least 32 pixels a side.* Received: 31 x 64 \(height x width\)"):
        data.load_detection("scenes", image_size=(31, 64))


def test_truth_is_what_pycocotools_reads(scenes, capsys):
    import json

    from pycocotools.coco import COCO

    source = data.load_detection("scenes", split="test")
    index = COCO()
    index.dataset = json.loads(json.dumps(source.truth))
    index.createIndex()
    capsys.readouterr()
    assert len(index.imgs) == 200 and [one["name"] for one in index.loadCats(index.getCatIds())] == list("0123456789")
    for row in (0, 11, 199):
        scene, found = scenes[1][row], index.loadAnns(index.getAnnIds([row]))
        assert [one["category_id"] for one in found] == scene.classes.tolist()
        for one, mask, box in zip(found, scene.masks, scene.boxes, strict=True):
            np.testing.assert_array_equal(index.annToMask(one), mask)
            assert one["area"] == mask.sum() and one["iscrowd"] == 0
            assert one["bbox"] == [*box[:2], *(box[2:] - box[:2])]


def test_scenes_without_objects_are_photos(scenes):
    empty = [scene for scene in scenes[1] if not len(scene.classes)]
    assert empty[0].masks.shape == (0, 128, 128) and empty[0].boxes.shape == (0, 4)
    for scene in empty:
        assert len(np.unique(scene.image)) > 50  # nothing is flat
