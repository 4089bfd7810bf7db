"""Weights of torchvision find their places in ours."""

import functools
import re
from types import SimpleNamespace

import numpy as np
import pytest

from zoo import box_head, feature_pyramid, load_torchvision_weights, mask_head, rpn_head, torchvision_resnet

CLASSES, WIDTH, SIZE, HIDDEN = 4, 6, 3, 10
BLOCKS = (1, 1, 1, 1)


def detector(depth=18, batch_norm="frozen"):
    """The networks of a small Mask R-CNN."""
    backbone = torchvision_resnet(depth, batch_norm=batch_norm, width=8, blocks=BLOCKS)
    return SimpleNamespace(
        name="mask_rcnn",
        backbone=backbone,
        feature_pyramid=feature_pyramid([one.shape[-1] for one in backbone.outputs], WIDTH),
        rpn_head=rpn_head(WIDTH, 3),
        box_head=box_head(CLASSES, WIDTH, SIZE, HIDDEN),
        mask_head=mask_head(CLASSES, WIDTH, SIZE),
    )


# For tests that leave it as it is.
kept = functools.cache(detector)


def shapes_of_resnet18():
    """Names and shapes as `torchvision.models.ResNet(BasicBlock, [1, 1, 1, 1])` has them, an eighth as wide."""
    shapes = {}

    def add(name, norm, out, into, side):
        shapes[f"{name}.weight"] = (out, into, side, side)
        for one in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{one}"] = (out,)
        shapes[f"{norm}.num_batches_tracked"] = ()

    add("conv1", "bn1", 8, 3, 7)
    for layer, (into, out) in enumerate([(8, 8), (8, 16), (16, 32), (32, 64)], 1):
        block = f"layer{layer}.0"
        add(f"{block}.conv1", f"{block}.bn1", out, into, 3)
        add(f"{block}.conv2", f"{block}.bn2", out, out, 3)
        if layer > 1:
            add(f"{block}.downsample.0", f"{block}.downsample.1", out, into, 1)
    return shapes


def shapes_of_detector(old=False):
    """The same of `torchvision.models.detection.MaskRCNN`: 4 classes and background, heads as small as ours."""
    inner = "" if old else ".0"
    shapes = {f"backbone.body.{name}": shape for name, shape in shapes_of_resnet18().items()}
    layers = {}
    for place, channels in enumerate((8, 16, 32, 64)):
        layers[f"backbone.fpn.inner_blocks.{place}{inner}"] = (6, channels, 1, 1)
        layers[f"backbone.fpn.layer_blocks.{place}{inner}"] = (6, 6, 3, 3)
        layers[f"roi_heads.mask_head.mask_fcn{place + 1}" if old else f"roi_heads.mask_head.{place}.0"] = (6, 6, 3, 3)
    layers["rpn.head.conv" if old else "rpn.head.conv.0.0"] = (6, 6, 3, 3)
    layers |= {
        "rpn.head.cls_logits": (3, 6, 1, 1),
        "rpn.head.bbox_pred": (12, 6, 1, 1),
        "roi_heads.box_head.fc6": (10, 6 * 3 * 3),
        "roi_heads.box_head.fc7": (10, 10),
        "roi_heads.box_predictor.cls_score": (5, 10),
        "roi_heads.box_predictor.bbox_pred": (20, 10),
        "roi_heads.mask_predictor.conv5_mask": (6, 6, 2, 2),
        "roi_heads.mask_predictor.mask_fcn_logits": (5, 6, 1, 1),
    }
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": (shape[0],)}
    return shapes


def state_of(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}


def networks_of(model):
    return [one for one in vars(model).values() if hasattr(one, "weights")]


def weights_of(model):
    return [np.array(weight) for network in networks_of(model) for weight in network.weights]


@pytest.mark.parametrize("batch_norm", ["frozen", "live"])
def test_a_classifier_fills_the_backbone(tmp_path, batch_norm):
    state = state_of(shapes_of_resnet18())
    network = torchvision_resnet(18, batch_norm=batch_norm, width=8, blocks=BLOCKS)
    np.savez(tmp_path / "resnet.npz", **state, **{"fc.weight": np.zeros((10, 64)), "fc.bias": np.zeros(10)})
    load_torchvision_weights(network, tmp_path / "resnet.npz")
    layer = network.get_layer("layer2_0_downsample_0")
    np.testing.assert_array_equal(np.array(layer.kernel)[0, 0], state["layer2.0.downsample.0.weight"][:, :, 0, 0].T)
    norm = layer if batch_norm == "frozen" else network.get_layer("layer2_0_downsample_1")
    moving = "" if batch_norm == "frozen" else "moving_"
    for ours, theirs in (
        *(("gamma", "weight"), ("beta", "bias")),
        *((f"{moving}mean", "running_mean"), (f"{moving}variance", "running_var")),
    ):
        np.testing.assert_array_equal(getattr(norm, ours), state[f"layer2.0.downsample.1.{theirs}"])
    # Nothing is as it was, so each weight has been set: random numbers are neither 0 nor 1.
    assert not any(np.isin(weight, (0, 1)).any() for weight in network.get_weights())


@pytest.mark.parametrize("old", [False, True])
def test_a_detector_is_filled(old):
    model, state = detector(), state_of(shapes_of_detector(old))
    before = weights_of(model)
    load_torchvision_weights(model, state)
    assert not any((one == other).any() for one, other in zip(before, weights_of(model), strict=True))
    state = dict(zip(shapes_of_detector(), state.values(), strict=True))  # under today's names
    x = np.random.default_rng(1).normal(size=(2, SIZE, SIZE, WIDTH)).astype("float32")

    def layer(name, values):
        return values @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    # Fully connected layers as torch applies them, to channels, height, width.
    hidden = layer("roi_heads.box_head.fc6", x.transpose(0, 3, 1, 2).reshape(2, -1))
    hidden = np.maximum(layer("roi_heads.box_head.fc7", np.maximum(hidden, 0)), 0)
    scores, deltas = (layer(f"roi_heads.box_predictor.{name}", hidden) for name in ("cls_score", "bbox_pred"))
    found = model.box_head(x)
    np.testing.assert_allclose(found[0], scores, rtol=1e-4, atol=1e-3)
    # The first four are how background would have to move.
    np.testing.assert_allclose(found[1], deltas[:, 4:], rtol=1e-4, atol=1e-3)

    name = "roi_heads.mask_predictor.mask_fcn_logits"
    logits = np.einsum("nhwc,kc->nhwk", x, state[f"{name}.weight"][:, :, 0, 0]) + state[f"{name}.bias"]
    masks = model.mask_head.get_layer("class_masks")(x, np.array([0, 3]))
    # Class k is the label k + 1.
    np.testing.assert_allclose(masks, [logits[0, :, :, 1], logits[1, :, :, 4]], rtol=1e-4, atol=1e-4)

    # By definition: each place makes a square of 2 x 2 of its own.
    name = "roi_heads.mask_predictor.conv5_mask"
    large = np.einsum("nhwi,ioab->nhawbo", x, state[f"{name}.weight"]).reshape(2, 2 * SIZE, 2 * SIZE, WIDTH)
    found = model.mask_head.get_layer("upsample")(x)
    np.testing.assert_allclose(found, np.maximum(large + state[f"{name}.bias"], 0), rtol=1e-4, atol=1e-4)


def test_heads_equal_those_of_torchvision():
    torch = pytest.importorskip("torch")
    detection = pytest.importorskip("torchvision.models.detection")
    from torchvision.models.detection import faster_rcnn, mask_rcnn, rpn

    torch.manual_seed(0)
    rpn_head, fpn = rpn.RPNHead(WIDTH, 3), detection.backbone_utils.FeaturePyramidNetwork([8, 16, 32, 64], WIDTH)
    boxes, predictor = faster_rcnn.TwoMLPHead(WIDTH * SIZE**2, HIDDEN), faster_rcnn.FastRCNNPredictor(HIDDEN, 5)
    masks = torch.nn.Sequential(
        mask_rcnn.MaskRCNNHeads(WIDTH, [WIDTH] * 4, 1), mask_rcnn.MaskRCNNPredictor(WIDTH, WIDTH, 5)
    )
    modules = {
        "backbone.fpn": fpn,
        "rpn.head": rpn_head,
        "roi_heads.box_head": boxes,
        "roi_heads.box_predictor": predictor,
        "roi_heads.mask_head": masks[0],
        "roi_heads.mask_predictor": masks[1],
    }
    model, state = detector(), state_of({f"backbone.body.{name}": s for name, s in shapes_of_resnet18().items()})
    for prefix, module in modules.items():
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        state |= {f"{prefix}.{name}": one for name, one in module.state_dict().items()}
    load_torchvision_weights(model, state)
    rng = np.random.default_rng(0)

    def both(*shape):
        one = rng.normal(size=shape).astype("float32")
        return one, torch.tensor(one).permute(0, 3, 1, 2)

    def check(found, expected):
        for one, other in zip(found, expected, strict=True):
            other = other.detach()
            np.testing.assert_allclose(one, other.permute(0, 2, 3, 1) if other.ndim == 4 else other, atol=1e-4)

    features = [both(1, 16 // step, 24 // step, 8 * step) for step in (1, 2, 4, 8)]
    found = model.feature_pyramid([one for one, _ in features])
    check(found[:4], fpn({str(level): one for level, (_, one) in enumerate(features)}).values())
    x, y = both(2, 5, 7, WIDTH)
    check(model.rpn_head(x), [one[0] for one in rpn_head([y])])
    x, y = both(2, SIZE, SIZE, WIDTH)
    scores, deltas = predictor(boxes(y))
    check(model.box_head(x), (scores, deltas[:, 4:]))
    check([model.mask_head([x, np.array([0, 3])])], [masks(y)[(0, 1), (1, 4)]])


def without(name):
    return lambda state: {key: one for key, one in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("rpn.head.cls_logits.bias"), "Received: weights without rpn.head.cls_logits.bias. Give the model the"),
        (lambda state: state | {"extra.weight": np.zeros(3)}, "Received: weights with extra.weight"),
        (
            lambda state: state | {"roi_heads.box_head.fc7.bias": np.zeros(9)},
            "Received: roi_heads.box_head.fc7.bias (9,) instead of (10,)",
        ),
        (
            lambda state: state | {"roi_heads.box_head.fc6.weight": np.zeros((54, 10))},
            "Received: roi_heads.box_head.fc6.weight (54, 10) instead of (10, 54)",
        ),
        (
            lambda state: state | {"roi_heads.box_predictor.bbox_pred.weight": np.zeros((16, 10))},
            "bbox_pred.weight (16, 10) instead of (20, 10)",
        ),
        (
            lambda state: {name.removeprefix("backbone.body."): one for name, one in state.items() if "body" in name},
            "They are a classifier's: `load_torchvision_weights(model.backbone, ...)`",
        ),
        (lambda state: state_of(shapes_of_resnet18()) | {"layer1.1.conv1.weight": 0}, "with conv1.weight, "),
    ],
)
def test_weights_of_another_model_change_nothing(change, message):
    model = kept()
    before = weights_of(model)
    with pytest.raises(ValueError, match=re.escape(message)):
        load_torchvision_weights(model, change(state_of(shapes_of_detector())))
    for one, other in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_detector_is_refused_by_a_backbone():
    with pytest.raises(ValueError, match="They are a detector's: give the `MaskRCNN` instead of its backbone"):
        load_torchvision_weights(kept().backbone, state_of(shapes_of_detector()))


def test_other_networks_are_refused():
    model = SimpleNamespace(**vars(kept()))
    with pytest.raises(ValueError, match="or the latter alone. Received: 'rpn_head', whose layers have other names"):
        load_torchvision_weights(model.rpn_head, state_of(shapes_of_resnet18()))
    model.box_head = model.rpn_head
    with pytest.raises(ValueError, match="the box_head that `zoo.box_head` makes.*Received: one with a layer 'conv'"):
        load_torchvision_weights(model, state_of(shapes_of_detector()))


def test_weights_must_be_a_state_dict_or_a_path():
    with pytest.raises(ValueError, match="`weights` must be a state dict, or the path of a file. Received: list"):
        load_torchvision_weights(kept().backbone, [1])
