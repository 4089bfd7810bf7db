"""Weights of torchvision's residual networks and of its Mask R-CNN, for ours."""

import os
import re
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

from zoo.checks import check_kind
from zoo.networks.state_dict import read_state_dict

_PARTS = ("backbone", "feature_pyramid", "rpn_head", "box_head", "mask_head")
# Names that torchvision gave before version 0.13, in which its published detectors are, and today's.
_RENAMED = (
    (r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$", r"\1.0.\2"),
    (r"^(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2"),
    *((rf"^(roi_heads\.mask_head)\.mask_fcn{place + 1}\.(weight|bias)$", rf"\1.{place}.0.\2") for place in range(8)),
)
# Of frozen batch normalisation, and of live.
_NORM = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
_NORM |= {f"moving_{name}": _NORM[name] for name in ("mean", "variance")}
# How many names of each kind an error lists.
_LISTED = 6


def load_torchvision_weights(model, weights):
    """Gives a model the weights of the same one of torchvision; afterwards both compute the same.

    A `MaskRCNN` on `torchvision_resnet` with the default networks takes those of `maskrcnn_resnet50_fpn` and its likes
    of other depths, under the names of any version of torchvision. Its classes are one fewer, for torchvision counts
    background as class 0: class k here is label k + 1 there, so the 91 of COCO are `num_classes=90`. A
    `torchvision_resnet` takes those of a classifier, whose last layer (`fc`) is left out.

    Args:
        model: `MaskRCNN`, or `keras.Model` that `torchvision_resnet` made.
        weights: State dict, {name: array or tensor}, or the path of a file that `read_state_dict` reads.

    Raises:
        ValueError: If names or shapes are not those of the model, in either direction; nothing is changed then.
        FileNotFoundError: If there is no such file.

    Example:
        >>> load_torchvision_weights(torchvision_resnet(18, width=8), {"conv1.weight": np.zeros((8, 3, 7, 7))})
        Traceback (most recent call last):
        ValueError: The weights are not those of ..., which torchvision has under 100 names. Received: ...

        coco = MaskRCNN(torchvision_resnet(50, epsilon=0), num_classes=90)  # published in 2019, without epsilon
        load_torchvision_weights(coco, "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth")
        # All but the heads of its classes, to train on other classes:
        model = MaskRCNN(coco.backbone, 3, feature_pyramid=coco.feature_pyramid, rpn_head=coco.rpn_head)
    """
    check_kind("weights", weights, (dict, str, os.PathLike), "a state dict, or the path of a file")
    given = weights if isinstance(weights, dict) else read_state_dict(weights)
    given = {_name_today(str(name)): one for name, one in given.items()}
    given = {name: _as_array(one) for name, one in given.items() if not name.endswith("num_batches_tracked")}
    if all(hasattr(model, part) for part in _PARTS):
        wanted = _of_detector(model)
    else:
        wanted = _of_backbone(model)
        given = {name: one for name, one in given.items() if name not in ("fc.weight", "fc.bias")}
    _check_fits(model, wanted, given)
    values = [np.asarray(one.convert(given[name]), "float32") for name, one in wanted.items()]
    for one, value in zip(wanted.values(), values, strict=True):
        one.variable.assign(value)


class _Weight(NamedTuple):
    """A variable, the shape that torchvision has it in, and how it gets ours."""

    variable: keras.Variable
    shape: tuple
    convert: Callable


def _of_backbone(network, prefix=""):
    """{name in torchvision: what it becomes} of a residual network."""
    found = {}
    for layer in getattr(network, "layers", ()):
        module = re.sub(r"_(?=\d|conv|bn|downsample)", ".", layer.name)
        # A frozen normalisation is within the convolution before it.
        norm = re.sub(r"conv(\d)$", r"bn\1", module).replace("downsample.0", "downsample.1")
        for variable in layer.weights:
            name = f"{norm}.{_NORM[variable.name]}" if variable.name in _NORM else f"{module}.weight"
            found[prefix + name] = _plain(variable)
    if f"{prefix}conv1.weight" not in found or len(found) != len(network.weights):
        raise ValueError(
            "Weights of torchvision fit `MaskRCNN` on `torchvision_resnet`, or the latter alone. Received: "
            f"{getattr(network, 'name', network)!r}, whose layers have other names."
        )
    return found


def _of_detector(model):
    """The same of a Mask R-CNN."""
    num_convs = len([layer for layer in model.mask_head.layers if layer.name.startswith("conv_")])
    modules = {
        "feature_pyramid": {
            **{f"lateral_{level}": f"backbone.fpn.inner_blocks.{level - 2}.0" for level in range(2, 6)},
            **{f"output_{level}": f"backbone.fpn.layer_blocks.{level - 2}.0" for level in range(2, 6)},
        },
        "rpn_head": {
            "conv": "rpn.head.conv.0.0",
            "objectness": "rpn.head.cls_logits",
            "deltas": "rpn.head.bbox_pred",
        },
        "box_head": {
            "hidden_1": "roi_heads.box_head.fc6",
            "hidden_2": "roi_heads.box_head.fc7",
            "scores": "roi_heads.box_predictor.cls_score",
            "deltas": "roi_heads.box_predictor.bbox_pred",
        },
        "mask_head": {
            **{f"conv_{place + 1}": f"roi_heads.mask_head.{place}.0" for place in range(num_convs)},
            "upsample": "roi_heads.mask_predictor.conv5_mask",
            "class_masks": "roi_heads.mask_predictor.mask_fcn_logits",
        },
    }
    # What differs from our layout by more than the order of axes.
    special = {
        ("box_head", "hidden_1"): lambda one: _of_flat(one, model.box_head.inputs[0].shape),
        ("box_head", "deltas"): lambda one: _without_background(one, 4),
        ("mask_head", "class_masks"): lambda one: _without_background(one, 1),
    }
    found = _of_backbone(model.backbone, "backbone.body.")
    for part, layers in modules.items():
        network = getattr(model, part)
        for layer in network.layers:
            if layer.weights and layer.name not in layers:
                raise ValueError(
                    f"Weights of torchvision fit the {part} that `zoo.{part}` makes, whose layers are "
                    f"{', '.join(layers)}. Received: one with a layer {layer.name!r}."
                )
            for variable in layer.weights:
                name = f"{layers[layer.name]}.{'bias' if variable.name == 'bias' else 'weight'}"
                found[name] = special.get((part, layer.name), _plain)(variable)
    return found


def _plain(variable):
    """A weight that differs in the order of its axes alone, or not at all."""
    axes = {2: (1, 0), 4: (2, 3, 1, 0)}.get(len(variable.shape))
    if axes is None:
        return _Weight(variable, tuple(variable.shape), lambda given: given)
    back = np.argsort(axes)
    return _Weight(variable, tuple(variable.shape[axis] for axis in back), lambda given: given.transpose(axes))


def _of_flat(variable, shape):
    """A weight of what follows flattened features, (height, width, channels) here and channels first there."""
    if len(variable.shape) == 1:
        return _plain(variable)
    _, height, width, channels = shape
    sizes = (-1, channels, height, width)

    def convert(given):
        return given.reshape(sizes).transpose(2, 3, 1, 0).reshape(variable.shape)

    return _Weight(variable, tuple(variable.shape[::-1]), convert)


def _without_background(variable, count):
    """A weight that torchvision has for background too, in its first `count` rows."""
    if len(variable.shape) == 1:
        return _Weight(variable, (variable.shape[0] + count,), lambda given: given[count:])
    if count == 1:  # a 1 x 1 convolution, of which the network keeps a row of channels for each class
        rows, width = variable.shape
        return _Weight(variable, (rows + 1, width, 1, 1), lambda given: given[1:, :, 0, 0])
    width, rows = variable.shape
    return _Weight(variable, (rows + count, width), lambda given: given[count:].T)


def _check_fits(model, wanted, given):
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    if missing or unexpected:
        kinds = {"without": missing, "with": unexpected}
        received = ", and ".join(f"{word} {_listed(names)}" for word, names in kinds.items() if names)
        raise ValueError(
            f"The weights are not those of {model.name}, which torchvision has under {len(wanted)} names. Received: "
            f"weights {received}.{_advice(wanted, given)}"
        )
    wrong = [name for name, one in wanted.items() if given[name].shape != one.shape]
    if wrong:
        received = _listed([f"{name} {given[name].shape} instead of {wanted[name].shape}" for name in wrong])
        raise ValueError(
            f"The weights have other shapes than {model.name} needs. Received: {received}. Give it the width, anchors "
            "and number of classes (torchvision's without background) that the weights have."
        )


def _advice(wanted, given):
    """What to do where the weights are those of another kind of model."""
    are_detector, is_detector = (any(name.startswith("roi_heads.") for name in names) for names in (given, wanted))
    if is_detector and not are_detector and "layer1.0.conv1.weight" in given:
        return " They are a classifier's: `load_torchvision_weights(model.backbone, ...)` takes them."
    if are_detector and not is_detector:
        return " They are a detector's: give the `MaskRCNN` instead of its backbone."
    return " Give the model the depth and the networks that the weights are of."


def _listed(names):
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _name_today(name):
    for old, new in _RENAMED:
        name = re.sub(old, new, name)
    return name


def _as_array(one):
    """A tensor of PyTorch, wherever it is, or anything else as an array."""
    return one.detach().cpu().float().numpy() if hasattr(one, "detach") else np.asarray(one)
