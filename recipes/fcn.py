r"""Fully convolutional network (FCN): the class of each pixel of an image.

python -m recipes.fcn --exports exports
python -m recipes.fcn --data camvid --enlarge 1.5 --stride 32 --epochs 40 --out runs/fcn32s
python -m recipes.fcn --data camvid --enlarge 1.5 --stride 16 --epochs 15 --out runs/fcn16s \
    --begin-with runs/fcn32s/model.keras
python -m recipes.fcn --data camvid --enlarge 1.5 --stride 8 --epochs 15 --out runs/fcn8s \
    --begin-with runs/fcn16s/model.keras
python -m recipes.fcn --data path/to/VOC2012 --backbone vgg16 --width 4096 --stride 32 --optimizer sgd \
    --learning-rate 1e-4 --weights vgg16_weights_tf_dim_ordering_tf_kernels.h5

The first learns digits on photos, composed here; no file is needed. The next three are the stages of the paper, each of
which begins with the weights of the one before. The last is the network of the paper on VOC, from the weights of a
classifier. Afterwards `zoo predict exports/fcn --signature from_bytes --files photo.jpg --png found.png` paints the
classes over a photo. The paper reports a mean IU of 59.4, 62.4 and 62.7 for the three strides on a part of VOC 2011's
validation set. On CamVid, at 240 x 180 pixels and from scratch, the small backbone reaches 46.9, 50.3 and 52.5 (seed 1:
47.7, 50.9, 53.0), in 49 minutes on one core.

FCN-8s scores cells of 8 pixels, which are wider than the strokes of the smallest digits on scenes of the usual 128
pixels; with `--image-size 256` or more they are narrower. Most of a scene is background: learning from squares around
digits takes a fraction of the time. `--top-down` lets fine features know the coarse ones, so that borders between two
digits go to the right one, `--warp` shows digits, which are few, in other shapes, and `--num-scenes` more ways of lying
over each other. So these five stages

SHARED="--small-blocks 1 2 2 2 --top-down 2 2 --optimizer muon --weight-decay 0.05 --steps-per-epoch 500"
python -m recipes.fcn $SHARED --image-size 256 --crop 128 --batch-size 32 --learning-rate 2e-3 --reduce 0.8 \
    --enlarge 1.3 --recolour 0.4 --turn 10 --stretch 1.2 --epochs 6 --out runs/scenes1
python -m recipes.fcn $SHARED --image-size 448 --crop 192 --batch-size 20 --learning-rate 1.5e-3 --reduce 0.65 \
    --enlarge 1.15 --recolour 0.4 --turn 12 --stretch 1.25 --epochs 10 --out runs/scenes2 \
    --begin-with runs/scenes1/model.keras
python -m recipes.fcn $SHARED --image-size 448 --crop 192 --batch-size 20 --learning-rate 1.2e-3 --reduce 0.65 \
    --enlarge 1.15 --recolour 0.4 --turn 15 --stretch 1.3 --warp 0.2 --epochs 7 --out runs/scenes3 \
    --begin-with runs/scenes2/model.keras
python -m recipes.fcn $SHARED --image-size 448 --crop 192 --batch-size 20 --learning-rate 1.5e-3 --reduce 0.65 \
    --enlarge 1.15 --recolour 0.4 --turn 15 --stretch 1.3 --warp 0.2 --num-scenes 100000 --epochs 10 \
    --out runs/scenes4 --begin-with runs/scenes3/model.keras
python -m recipes.fcn $SHARED --image-size 448 --crop 256 --batch-size 12 --learning-rate 7e-4 --reduce 0.8 \
    --enlarge 1.1 --recolour 0.3 --turn 8 --stretch 1.15 --warp 0.15 --num-scenes 200000 --epochs 8 \
    --out runs/scenes5 --begin-with runs/scenes4/model.keras

reach a mean IU of 81.6 (at 256 pixels), 86.1, 88.7, 88.4 and 91.4 on the 200 test scenes, on which the stages were
chosen: unseen digits on the other halves of the same two photos. They take four hours and a half on two cores with
`TF_ENABLE_ONEDNN_OPTS=1`; the second was ended after 1,813 of its steps and the fourth after 3,071, as `--max-minutes`
does. With the paper's skips alone it was 87.6 after 161 minutes; README has the options.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from zoo import runs

# Blocks of the four stages.
_OF_KERAS_CV = {"resnet18": ((2, 2, 2, 2), "basic_block"), "resnet50": ((3, 4, 6, 3), "block")}


@dataclass(frozen=True, kw_only=True)
class Config(runs.SegmentationConfig):
    """Options of the FCN recipe."""

    MAY_BE_ZERO: ClassVar = (
        *runs.SegmentationConfig.MAY_BE_ZERO,
        "dropout",
        "momentum",
        "warm_up_steps",
        "weight_decay",
        "width",
    )

    epochs: int = 10
    """Epochs to have trained at the end, those of earlier commands in the same folder included. The step size falls to
    0 by then: a run that goes on with more of them takes up the higher one of the longer fall."""
    batch_size: int = 8
    """Images per update, over all replicas (paper: 20)."""
    _MODEL: ClassVar = runs.Heading("model")
    stride: Literal[32, 16, 8] = 8
    """Of the finest features that are scored: FCN-32s, FCN-16s or FCN-8s."""
    backbone: Literal["small", "resnet18", "resnet50", "vgg16"] = "small"
    """A small residual network, or KerasCV's networks; the paper's is vgg16."""
    small_width: int = 32
    """Channels of the first stage of the small backbone; each of the next three has twice as many."""
    small_blocks: tuple[int, int, int, int] = (1, 1, 1, 1)
    """Blocks of its four stages. More of them make features at strides of 8 and 16 see whole objects."""
    top_down: tuple[int, int] | None = None
    """Blocks at strides of 16 and 8 after the coarser features are added to theirs (`zoo.top_down`); None for the
    paper's skips alone."""
    width: int = 0
    """Channels of fc6 and fc7 (paper: 4096); 0 to score the features of the backbone as they are."""
    dropout: float = 0.5
    """Share of fc6 and of fc7 that is left out (paper: 0.5)."""
    scales: tuple[float, float] = (1.0, 1.0)
    """Factors of the features at strides 16 and 8 (the authors, for vgg16 that is trained at once: 0.01, 0.0001)."""
    class_weights: tuple[float, ...] | None = None
    """How much a pixel of each class counts; None for all alike (paper)."""
    begin_with: Path | None = None
    """The model.keras of a run with another stride and the same networks, whose weights to begin with."""
    weights: Path | None = None
    """File of `keras.applications.VGG16`, whose weights to begin with; for vgg16."""
    _OPTIMIZER: ClassVar = runs.Heading("optimizer")
    optimizer: Literal["sgd", "adam", "muon"] = "adam"
    """Adam; Muon, which learns more in a step; or stochastic gradient descent with momentum, as in the paper, which
    takes longer without weights."""
    learning_rate: float = 1e-3
    """Highest step size, after the warm-up; then it falls to 0 like a cosine (paper, with sgd: 1e-4 all the time)."""
    warm_up_steps: int = 100
    """Updates in which the step size rises; no more than half of all."""
    momentum: float = 0.9
    """Of stochastic gradient descent (paper: 0.9)."""
    weight_decay: float = 1e-4
    """Share of the step size by which weights shrink in each update (paper: 5e-4)."""
    clip: float | None = 10.0
    """Largest norm of the gradient of all weights together; None for any."""

    def check(self):
        """Checks all numbers, before anything slow begins."""
        super().check()
        if self.weights is not None and self.backbone != "vgg16":
            raise ValueError(f"`--weights` needs `--backbone vgg16`. Received: {self.backbone}.")
        if self.weights is not None and self.begin_with is not None:
            raise ValueError("Begin with `--weights` of a classifier or with a model (`--begin-with`), not with both.")
        for name in ("weights", "begin_with"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise FileNotFoundError(f"There is no file `{path}`. Expected one for `--{name.replace('_', '-')}`.")


def build(config, canvas_and_names):
    """The compiled model."""
    from zoo import FCN, carry_over, fcn_head, fcn_levels, load, load_vgg16_weights, top_down, vgg16_normalisation

    (height, width, _), names = canvas_and_names
    backbone = fcn_levels(backbone_of(config))
    if config.top_down is not None:
        backbone = top_down(backbone, config.top_down)
    channels = [one.shape[-1] for one in backbone.outputs]
    options = {"width": config.width, "dropout": config.dropout, "scales": config.scales}
    model = FCN(
        backbone,
        len(names),
        config.stride,
        head=fcn_head(channels, len(names), config.stride, **options),
        class_weights=config.class_weights,
        image_size=(height, width),
        seed=config.seed,
        **(vgg16_normalisation() if config.weights is not None else {}),
    )
    if config.weights is not None:
        load_vgg16_weights(model, config.weights)
    if config.begin_with is not None:
        earlier = load(config.begin_with, compile=False)
        carry_over(earlier.backbone, model.backbone)
        carry_over(earlier.head, model.head)
    model.compile(runs.cosine_optimizer(config, scores=["score"]), **runs.execution(config))
    return model


def backbone_of(config):
    """The network to features at several strides."""
    if config.backbone == "small":
        from zoo import torchvision_resnet

        return torchvision_resnet(18, width=config.small_width, blocks=config.small_blocks, batch_norm="live")
    import keras_cv

    options = {"include_rescaling": False, "input_shape": (None, None, 3)}
    if config.backbone == "vgg16":
        return keras_cv.models.VGG16Backbone(include_top=False, **options)
    blocks, kind = _OF_KERAS_CV[config.backbone]
    return keras_cv.models.ResNetBackbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=list(blocks),
        stackwise_strides=[1, 2, 2, 2],
        block_type=kind,
        **options,
    )


def train(config):
    """Trains, evaluates and publishes."""
    return runs.run("fcn", config, build, runs.Segmentation, rate_of=runs.cosine_rate)


if __name__ == "__main__":
    runs.main(Config, train)
