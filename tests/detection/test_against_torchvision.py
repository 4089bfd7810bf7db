"""Each step of a detector equals torchvision's. Skipped where torch is not installed; NumPy references stand beside."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.detection.boxes import anchors, decode, encode, intersection_over_union, non_maximum_suppression
from zoo.detection.masks import crop_masks, paste_masks
from zoo.detection.pooling import levels_of, pool_regions

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")


def boxes_of(rng, count, width=96.0, height=64.0):
    """Boxes of all sizes, of which some are cut at the border of the image, to next to nothing too."""
    corners = rng.uniform((-10, -10), (width, height), (count, 2))
    sides = np.exp(rng.uniform(np.log(2), np.log(width), (count, 2)))
    boxes = np.concatenate([corners, corners + sides], 1)
    return np.clip(boxes, 0, [width, height] * 2).astype("float32")


def features_of(rng, batch=2, channels=5):
    shapes = {level: (batch, 256 >> level, 384 >> level, channels) for level in (2, 3, 4, 5)}
    return {level: rng.normal(size=shape).astype("float32") for level, shape in shapes.items()}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_regions_are_aligned_on_their_level(samples, compiled):
    from torchvision.ops import MultiScaleRoIAlign

    rng = np.random.default_rng(samples)
    features, boxes = features_of(rng), boxes_of(rng, 80, 384.0, 256.0)
    images = rng.integers(0, 2, 80)
    pool = MultiScaleRoIAlign(["2", "3", "4", "5"], 7, samples)
    given = {str(level): torch.tensor(one).permute(0, 3, 1, 2) for level, one in features.items()}
    order = np.argsort(images, kind="stable")
    boxes, images = boxes[order], images[order].astype("int32")
    expected = pool(given, [torch.tensor(boxes[images == image]) for image in (0, 1)], [(256, 384)] * 2)
    found = pool_regions(features, boxes, images, 7, samples=samples, compiled=compiled)
    assert len(set(levels_of(boxes, 2, 5).numpy())) > 1
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1), atol=5e-5)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("aligned", [False, True])
def test_regions_that_leave_the_features_are_aligned(aligned, compiled):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    boxes = rng.uniform(-30, 120, (60, 2, 2)).astype("float32")
    boxes = np.concatenate([boxes.min(1), boxes.max(1)], 1)
    images = rng.integers(0, 2, 60).astype("int32")
    rois = torch.tensor(np.concatenate([images[:, None], boxes], 1).astype("float32"))
    expected = torchvision.ops.roi_align(torch.tensor(features).permute(0, 3, 1, 2), rois, 4, 0.25, 2, aligned)
    found = pool_regions({2: features}, boxes, images, 4, aligned=aligned, compiled=compiled)
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1), atol=5e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_regions_are_pooled(compiled):
    rng = np.random.default_rng(0)
    features, boxes = rng.normal(size=(2, 16, 24, 3)).astype("float32"), boxes_of(rng, 60)
    images = rng.integers(0, 2, 60).astype("int32")
    rois = torch.tensor(np.concatenate([images[:, None], boxes], 1).astype("float32"))
    expected = torchvision.ops.roi_pool(torch.tensor(features).permute(0, 3, 1, 2), rois, 7, 0.25)
    found = pool_regions({2: features}, boxes, images, 7, method="pool", compiled=compiled)
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1), atol=1e-6)


def test_gradients_of_aligned_regions():
    rng = np.random.default_rng(0)
    features, boxes = features_of(rng, batch=1), boxes_of(rng, 30, 384.0, 256.0)
    weights = rng.normal(size=(30, 7, 7, 5)).astype("float32")
    given = {str(level): torch.tensor(one).permute(0, 3, 1, 2).requires_grad_() for level, one in features.items()}
    pooled = torchvision.ops.MultiScaleRoIAlign(list(given), 7, 2)(given, [torch.tensor(boxes)], [(256, 384)])
    (pooled * torch.tensor(weights).permute(0, 3, 1, 2)).sum().backward()
    for compiled in (False, True):
        variables = {level: tf.Variable(one) for level, one in features.items()}
        with tf.GradientTape() as tape:
            found = pool_regions(variables, boxes, tf.zeros(30, tf.int32), 7, compiled=compiled)
            loss = tf.reduce_sum(found * weights)
        for gradient, one in zip(tape.gradient(loss, list(variables.values())), given.values(), strict=True):
            np.testing.assert_allclose(tf.convert_to_tensor(gradient), one.grad.permute(0, 2, 3, 1), atol=1e-4)


def test_anchors_lie_where_torchvision_has_them():
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.image_list import ImageList

    generator = AnchorGenerator(((32,), (64,)), ((0.5, 1.0, 2.0),) * 2)
    images = ImageList(torch.zeros(1, 3, 96, 160), [(96, 160)])
    (expected,) = generator(images, [torch.zeros(1, 1, 24, 40), torch.zeros(1, 1, 3, 5)])
    ratios = (0.5, 1.0, 2.0)
    found = [anchors((24, 40), (96, 160), 32, ratios), anchors((3, 5), (96, 160), 64, ratios)]
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_boxes_are_coded_and_compared_alike():
    from torchvision.models.detection._utils import BoxCoder

    rng = np.random.default_rng(0)
    boxes, others = boxes_of(rng, 50) + [0, 0, 1, 1], boxes_of(rng, 50) + [0, 0, 1, 1]
    boxes, others = boxes.astype("float32"), others.astype("float32")
    weights = (10.0, 10.0, 5.0, 5.0)
    coder = BoxCoder(weights)
    expected = coder.encode_single(torch.tensor(boxes), torch.tensor(others))
    np.testing.assert_allclose(encode(boxes, others, weights), expected, atol=1e-4)
    # Factors of growth beyond the limit too.
    deltas = rng.normal(size=(50, 4)).astype("float32") * [5, 5, 15, 15]
    expected = coder.decode_single(torch.tensor(deltas, dtype=torch.float32), torch.tensor(others))
    np.testing.assert_allclose(decode(deltas.astype("float32"), others, weights), expected, rtol=1e-5, atol=1e-3)
    expected = torchvision.ops.box_iou(torch.tensor(boxes), torch.tensor(others))
    np.testing.assert_allclose(intersection_over_union(boxes, others), expected, atol=1e-6)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_the_same_boxes_are_suppressed(threshold):
    rng = np.random.default_rng(0)
    boxes, scores = boxes_of(rng, 300), rng.permutation(300).astype("float32")
    expected = torchvision.ops.nms(torch.tensor(boxes), torch.tensor(scores), threshold).numpy()
    rows, there = non_maximum_suppression(boxes[None], scores[None], threshold, 300)
    np.testing.assert_array_equal(rows[0][there[0]], expected)


def test_masks_are_pasted_to_the_pixel():
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    rng = np.random.default_rng(0)
    boxes, masks = boxes_of(rng, 60), rng.uniform(size=(60, 28, 28)).astype("float32")
    expected = paste_masks_in_image(torch.tensor(masks)[:, None], torch.tensor(boxes), (64, 96))[:, 0]
    np.testing.assert_allclose(paste_masks(masks, boxes, 64, 96, whole_pixels=True), expected, atol=1e-4)


def test_masks_are_cropped_as_they_are_learnt():
    from torchvision.models.detection.roi_heads import project_masks_on_boxes

    rng = np.random.default_rng(0)
    boxes, masks = boxes_of(rng, 60), (rng.uniform(size=(60, 64, 96)) > 0.5).astype("uint8")
    expected = project_masks_on_boxes(torch.tensor(masks), torch.tensor(boxes), torch.arange(60), 28)
    np.testing.assert_allclose(crop_masks(masks, boxes, 28, aligned=False), expected, atol=1e-4)
