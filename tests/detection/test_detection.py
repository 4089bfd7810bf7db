"""Boxes, matching, sampling, masks and regions against NumPy and by hand. test_against_torchvision.py adds torch."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.detection.boxes import NOT_THERE, anchors, clip, decode, encode, intersection_over_union
from zoo.detection.boxes import non_maximum_suppression as suppress
from zoo.detection.masks import crop_masks, paste_masks
from zoo.detection.matching import match, sample
from zoo.detection.pooling import levels_of, pool_regions
from zoo.detection.selection import best_boxes, propose


def boxes_of(rng, count, side=64.0):
    corners = np.sort(rng.uniform(0, side, (count, 2, 2)), axis=1)
    return corners.reshape(count, 4).astype("float32")


def bilinear(image, y, x):
    """One sample of an image (height, width), as the paper defines RoIAlign: its border goes on for one place."""
    height, width = image.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    upper = image[top, left] * (1 - across) + image[top, right] * across
    lower = image[bottom, left] * (1 - across) + image[bottom, right] * across
    return upper * (1 - down) + lower * down


def aligned_by_hand(image, box, size, samples, offset):
    x1, y1, x2, y2 = np.asarray(box, float) - offset
    height, width = (y2 - y1, x2 - x1) if offset else (max(y2 - y1, 1), max(x2 - x1, 1))
    steps = (np.arange(size * samples) + 0.5) / (size * samples)
    values = [[bilinear(image, y1 + height * down, x1 + width * across) for across in steps] for down in steps]
    return np.reshape(values, (size, samples, size, samples)).mean((1, 3))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("aligned", [False, True])
def test_regions_are_means_of_bilinear_samples(aligned, compiled):
    """Also outside of the image, next to nothing wide, and of the second image."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 8, 12, 2)).astype("float32")
    boxes = np.array(
        [[3, 2, 30, 25], [-9, -7, 20, 12], [40, 20, 60, 44], [47, 10, 48, 30], [5.5, 6.5, 6, 7]], "float32"
    )
    images = np.array([0, 1, 1, 0, 1], "int32")
    found = pool_regions({2: features}, boxes, images, 3, aligned=aligned, compiled=compiled)
    for box, image, one in zip(boxes, images, found, strict=True):
        for channel in range(2):
            by_hand = aligned_by_hand(features[image, ..., channel], box / 4, 3, 2, 0.5 if aligned else 0.0)
            np.testing.assert_allclose(one[..., channel], by_hand, atol=2e-5)


@pytest.mark.exhaustive
def test_compiled_regions_have_the_same_values_and_gradients_on_all_levels():
    rng = np.random.default_rng(0)
    features = {level: rng.normal(size=(2, 512 >> level, 512 >> level, 2)).astype("float32") for level in (2, 3, 4, 5)}
    sides = np.array([20, 60, 111, 113, 200, 230, 400, 500], "float32")
    boxes = np.stack([np.zeros(8), np.zeros(8), sides, sides], 1).astype("float32")
    # By equation 1 of Lin et al. 2017, 224 pixels belong to level 4, half as many to 3.
    np.testing.assert_array_equal(levels_of(boxes, 2, 5), [2, 2, 2, 3, 3, 4, 4, 5])
    results = []
    for compiled in (False, True):
        variables = {level: tf.Variable(one) for level, one in features.items()}

        def pooled(variables=variables, compiled=compiled):
            return pool_regions(variables, boxes, tf.range(8) % 2, 5, compiled=compiled)

        with tf.GradientTape() as tape:
            found = tf.function(pooled, jit_compile=compiled)()
            total = tf.reduce_sum(found * tf.reshape(tf.range(tf.size(found), dtype=tf.float32), found.shape) / 1000)
        results.append([found, *map(tf.convert_to_tensor, tape.gradient(total, list(variables.values())))])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("compiled", [False, True])
def test_pooled_regions_are_the_largest_of_whole_places(compiled):
    """Girshick 2015: corners rounded, cells from floor to ceil."""
    features = np.arange(64, dtype="float32").reshape(1, 8, 8, 1)
    found = pool_regions({2: features}, np.array([[4, 8, 21, 21]], "float32"), [0], 2, method="pool", compiled=compiled)
    # Columns 1 to 5 and rows 2 to 5: cells end after columns 3 and 5, and rows 3 and 5.
    np.testing.assert_array_equal(found[0, ..., 0], [[3 * 8 + 3, 3 * 8 + 5], [5 * 8 + 3, 5 * 8 + 5]])


def test_boxes_are_coded_back_and_grow_at_most_so_much():
    rng = np.random.default_rng(0)
    boxes, others = boxes_of(rng, 50) + [0, 0, 2, 2], boxes_of(rng, 50) + [0, 0, 2, 2]
    boxes, others = boxes.astype("float32"), others.astype("float32")
    weights = (10.0, 10.0, 5.0, 5.0)
    np.testing.assert_allclose(decode(encode(boxes, others, weights), others, weights), boxes, atol=1e-3)
    found = encode(np.array([[2.0, 4.0, 6.0, 16.0]]), np.array([[0.0, 0.0, 2.0, 6.0]]))
    np.testing.assert_allclose(found, [[1.5, 7 / 6, np.log(2), np.log(2)]])
    grown = decode(np.array([[0, 0, 100, 100]], "float32"), np.array([[0, 0, 16, 16]], "float32"))
    np.testing.assert_allclose(grown[0, 2:] - grown[0, :2], [1000, 1000], rtol=1e-5)


def test_overlaps_equal_those_of_keras_cv():
    import keras_cv

    rng = np.random.default_rng(0)
    boxes, others = boxes_of(rng, 30), boxes_of(rng, 40)
    expected = keras_cv.bounding_box.compute_iou(boxes, others, "xyxy")
    np.testing.assert_allclose(intersection_over_union(boxes, others), expected, atol=1e-5)
    assert intersection_over_union(np.zeros((1, 4), "float32"), np.zeros((1, 4), "float32")) == 0


def test_anchors_stand_around_each_place():
    found = anchors((2, 3), (32, 48), 16, (0.5, 1.0))
    assert found.shape == (12, 4)
    # Areas of 16^2 of heights 16 / sqrt(2) = 11.3 and 16, corners in whole pixels, around (0, 0) and then (16, 0).
    np.testing.assert_array_equal(found[:3], [[-11, -6, 11, 6], [-8, -8, 8, 8], [5, -6, 27, 6]])
    np.testing.assert_array_equal(found[-1], [24, 8, 40, 24])


def test_boxes_are_cut_to_each_image():
    boxes = np.array([[[-5, -5, 100, 100]], [[-5, 3, 7, 100]]], "float32")
    np.testing.assert_array_equal(clip(boxes, [[32, 64], [16, 16]])[:, 0], [[0, 0, 64, 32], [0, 3, 7, 16]])


@pytest.mark.parametrize("compiled", [False, True])
def test_lower_boxes_that_overlap_are_left_out(compiled):
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [0, 0, 10, 5], [50, 50, 60, 60]]], "float32")
    scores = np.array([[0.5, 0.9, 0.7, 0.8, NOT_THERE]], "float32")
    function = tf.function(lambda boxes, scores: suppress(boxes, scores, 0.6, 4), jit_compile=compiled)
    rows, there = function(boxes, scores)
    # Overlaps with the second: 0.9, none, 5 / 9; of the first with the fourth 0.5, but it is out already.
    np.testing.assert_array_equal(rows[0][there[0]], [1, 3, 2])
    np.testing.assert_array_equal(there[0], [True, True, True, False])


def test_boxes_are_matched_as_the_paper_says():
    targets = np.array([[[0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 60, 60], [0, 0, 64, 64]]], "float32")
    there, crowds = np.array([[True, True, True, False]]), np.array([[False, False, True, False]])
    boxes = np.array(
        [[[0, 0, 10, 9], [0, 0, 10, 5], [0, 0, 10, 2], [24, 20, 34, 30], [41, 41, 50, 50], [1, 50, 9, 60]]], "float32"
    )
    rows, is_object, is_background = match(boxes, targets, crowds, there, positive=0.7, negative=0.3, match_all=True)
    # Overlaps 0.9, 0.5, 0.2 with the first; 3 / 7 with the second, whose best it is; within the crowd; with none.
    np.testing.assert_array_equal(is_object[0], [True, False, False, True, False, False])
    np.testing.assert_array_equal(is_background[0], [False, False, True, False, False, True])
    np.testing.assert_array_equal(rows[0, :4], [0, 0, 0, 1])
    _, is_object, is_background = match(boxes, targets, crowds, there & False, positive=0.7, negative=0.3)
    assert not np.any(is_object) and np.all(is_background)


def test_samples_are_as_many_and_as_random_as_they_should_be():
    rng = np.random.default_rng(0)
    drawn = rng.uniform(0.01, 1, (3, 40)).astype("float32")
    is_object = np.zeros((3, 40), bool)
    is_object[0, :20] = is_object[1, :2] = True
    is_background = ~is_object
    is_background[2, 5:] = False
    rows, are_objects, chosen = sample(drawn, is_object, is_background, 12, 0.25)
    rows, are_objects, chosen = np.array(rows), np.array(are_objects), np.array(chosen)
    # A quarter of 12; the two that there are; none, and only five others.
    np.testing.assert_array_equal(are_objects.sum(1), [3, 2, 0])
    np.testing.assert_array_equal(chosen.sum(1), [12, 12, 5])
    for image in range(3):
        assert len(set(rows[image, chosen[image]])) == chosen[image].sum()
        assert is_object[image, rows[image, are_objects[image]]].all()
        assert is_background[image, rows[image, chosen[image] & ~are_objects[image]]].all()
        # Objects first, then others, then what is not there.
        assert (np.diff(are_objects[image].astype(int) + chosen[image]) <= 0).all()
    assert set(rows[0, :3]) == set(np.argsort(-drawn[0, :20])[:3])


def test_masks_come_back_from_their_boxes():
    """Pasted at full size, what was cropped is what it was, but for the border of its cells."""
    rng = np.random.default_rng(0)
    masks = np.zeros((8, 64, 64), "uint8")
    boxes = np.floor(boxes_of(rng, 8, 30)) + np.array([0, 0, 30, 30], "float32")
    rows, columns = np.arange(64)[:, None] + 0.5, np.arange(64) + 0.5
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        ellipse = ((rows - (y1 + y2) / 2) / (y2 - y1)) ** 2 + ((columns - (x1 + x2) / 2) / (x2 - x1)) ** 2 < 0.25
        mask[ellipse] = 1
    cropped = crop_masks(masks, boxes, 28)
    assert 0 <= np.min(cropped) and np.max(cropped) <= 1 + 1e-6
    pasted = paste_masks(cropped, boxes, 64, 64).numpy() > 0.5
    overlap = (pasted & (masks == 1)).sum((1, 2)) / (pasted | (masks == 1)).sum((1, 2))
    assert overlap.min() > 0.95
    # A full mask fills its box to the pixel.
    full = paste_masks(np.ones((1, 28, 28), "float32"), np.array([[3, 5, 20, 11]], "float32"), 32, 40).numpy() > 0.5
    expected = np.zeros((32, 40), bool)
    expected[5:11, 3:20] = True
    np.testing.assert_array_equal(full[0], expected)


def test_small_masks_come_back_to_the_pixel():
    """Whatever lies in a box of up to half as many pixels as there are cells."""
    rng = np.random.default_rng(0)
    sides = np.arange(2, 15)
    starts = rng.integers(0, 32 - sides, (2, len(sides)))
    boxes = np.stack([*starts, *starts + sides], 1).astype("float32")
    masks = np.zeros((len(sides), 32, 32), "uint8")
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = rng.integers(0, 2, (y2 - y1, x2 - x1))
    pasted = paste_masks(crop_masks(masks, boxes, 28), boxes, 32, 32).numpy() > 0.5
    np.testing.assert_array_equal(pasted, masks == 1)


def test_proposals_of_all_levels_come_likeliest_first():
    logits = [np.array([[1.0, 5.0, 2.0, 0.0]], "float32"), np.array([[3.0]], "float32")]
    base = [np.array([[0, 0, 8, 8], [20, 20, 28, 28], [20, 20, 28, 27], [40, 0, 48, 8]], "float32")]
    base.append(np.array([[20, 20, 28, 28]], "float32"))
    deltas = [np.zeros((1, 4, 4), "float32"), np.zeros((1, 1, 4), "float32")]
    boxes, there = propose(logits, deltas, base, np.array([[32, 32]], "int32"), 3)
    # The third overlaps the second, but not the one of the other level; the fourth is out of the image.
    np.testing.assert_array_equal(boxes[0][there[0]], [[20, 20, 28, 28], [20, 20, 28, 28], [0, 0, 8, 8]])


def test_detections_are_the_best_of_each_class():
    proposals = np.array([[[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]]], "float32")
    probabilities = np.array([[[0.9, 0.2], [0.8, 0.6], [0.01, 0.3]]], "float32")
    boxes, classes, scores, there = best_boxes(
        proposals,
        probabilities,
        np.zeros((1, 3, 2, 4), "float32"),
        np.array([[32, 32]], "int32"),
        score_threshold=0.05,
        overlap=0.5,
        count=5,
    )
    np.testing.assert_array_equal(classes[0], [0, 1, 1, -1, -1])
    np.testing.assert_allclose(scores[0], [0.9, 0.6, 0.3, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(boxes[0], [*proposals[0], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(there[0], [True, True, True, False, False])
