"""Mask R-CNN equals torchvision's with the same weights. Skipped where torchvision is not installed."""

from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
from torchvision.models.detection import maskrcnn_resnet50_fpn  # noqa: E402

import zoo  # noqa: E402
from zoo.detection.masks import crop_masks, paste_masks  # noqa: E402

# So that scores differ from each other by more than rounding.
_FACTORS = {"rpn.head.cls_logits.weight": 30, "cls_score.weight": 20, "mask_fcn_logits.weight": 3}


@pytest.fixture(scope="module")
def both():
    """A reference of random weights that find things, and ours with its weights."""
    torch.manual_seed(0)
    reference = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=7).eval()
    with torch.no_grad():
        for name, one in reference.named_parameters():
            for part, factor in _FACTORS.items():
                one.mul_(factor if part in name else 1)
            # Blocks that add little keep features of one size.
            if name.endswith("bn3.weight"):
                one.fill_(0.2)
        for name, one in reference.named_buffers():
            if name.endswith("running_var"):
                one.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                one.normal_(0, 0.1)
    model = zoo.MaskRCNN(zoo.torchvision_resnet(50), 6)
    zoo.load_torchvision_weights(model, reference.state_dict())
    return reference, model


def pictures(height, width):
    """A real photo of scikit-learn, at some size."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photo = Image.fromarray(load_sample_images().images[0])
    return np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR))


def set_sizes(reference, *sizes):
    """Has it take pictures of these (height, width) as they are."""
    sides = [side for size in sizes for side in size]
    reference.transform.min_size, reference.transform.max_size = (min(min(size) for size in sizes),), max(sides)


@pytest.mark.parametrize("size", [(128, 192), (203, 317), (320, 240)])
def test_boxes_scores_classes_and_masks_agree(both, size):
    """The issue's bounds: boxes to 0.01 pixels, scores to 1e-4, masks to 1e-3."""
    reference, model = both
    photo = pictures(*size)
    set_sizes(reference, size)
    with torch.no_grad():
        (expected,) = reference([torch.tensor(photo / 255.0, dtype=torch.float32).permute(2, 0, 1)])
    found = {name: one[0] for name, one in model.detect(photo[None]).items()}
    count = len(expected["scores"])
    assert found["num_detections"] == count > 20
    np.testing.assert_allclose(found["scores"][:count], expected["scores"], atol=1e-4)
    np.testing.assert_array_equal(found["classes"][:count] + 1, expected["labels"])
    np.testing.assert_allclose(found["boxes"][:count], expected["boxes"], atol=1e-2)
    pasted = paste_masks(found["masks"][:count], found["boxes"][:count], *size, whole_pixels=True)
    np.testing.assert_allclose(pasted, expected["masks"][:, 0], atol=1e-3)


def test_losses_and_gradients_agree_where_all_anchors_and_proposals_are_learnt_from(both, monkeypatch):
    # Torchvision's targets of masks are half a pixel off, which is much where masks are noise.
    monkeypatch.setattr("zoo.models.mask_rcnn.crop_masks", partial(crop_masks, aligned=False))
    import tensorflow as tf

    reference, model = both
    size = (128, 192)
    set_sizes(reference, size)
    photo = pictures(*size)
    boxes = np.array([[10, 20, 70, 90], [60, 10, 180, 120], [100, 40, 130, 64]], "float32")
    masks = np.zeros((3, *size), "uint8")
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = np.random.default_rng(0).integers(0, 2, (y2 - y1, x2 - x1))
    classes = np.array([0, 3, 5])
    reference.train()
    for module in reference.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    many = 1_000_000
    reference.rpn.fg_bg_sampler.batch_size_per_image = reference.roi_heads.fg_bg_sampler.batch_size_per_image = many
    target = {"boxes": torch.tensor(boxes), "labels": torch.tensor(classes + 1), "masks": torch.tensor(masks)}
    losses = reference([torch.tensor(photo / 255.0, dtype=torch.float32).permute(2, 0, 1)], [target])
    sum(losses.values()).backward()
    reference.eval()
    model.num_anchor_samples = model.num_box_samples = many
    given = [photo[None], boxes[None], classes[None].astype("int32"), np.zeros((1, 3), bool), masks[None]]
    keys = tf.constant([5], tf.int64)
    variables = [model.rpn_head.get_layer("conv").kernel, model.mask_head.get_layer("class_masks").kernel]
    variables += [model.box_head.get_layer("hidden_2").kernel, model.feature_pyramid.get_layer("lateral_2").kernel]
    with tf.GradientTape() as tape:
        terms = model.objective(*given, np.array([size], "int32"), keys)
        total = sum(tf.reduce_sum(one) for one in terms.values())
    model.num_anchor_samples, model.num_box_samples = 256, 512
    names = {
        "rpn_class_loss": "loss_objectness",
        "rpn_box_loss": "loss_rpn_box_reg",
        "class_loss": "loss_classifier",
        "box_loss": "loss_box_reg",
        "mask_loss": "loss_mask",
    }
    for ours, theirs in names.items():
        np.testing.assert_allclose(terms[ours][0], losses[theirs].item(), rtol=1e-3, err_msg=ours)
    found = dict(zip(("rpn", "mask", "box", "lateral"), tape.gradient(total, variables), strict=True))
    theirs = dict(reference.named_parameters())
    expected = {
        "rpn": theirs["rpn.head.conv.0.0.weight"].grad.permute(2, 3, 1, 0),
        "mask": theirs["roi_heads.mask_predictor.mask_fcn_logits.weight"].grad[1:, :, 0, 0],
        "box": theirs["roi_heads.box_head.fc7.weight"].grad.T,
        "lateral": theirs["backbone.fpn.inner_blocks.0.0.weight"].grad.permute(2, 3, 1, 0),
    }
    for name, gradient in expected.items():
        gradient = gradient.numpy()
        difference = np.abs(tf.convert_to_tensor(found[name]).numpy() - gradient).max()
        assert difference < 2e-3 * np.abs(gradient).max(), name
