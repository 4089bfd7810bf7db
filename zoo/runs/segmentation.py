"""The task of recipes that label the pixels of images."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from zoo import data, pictures_of_segmentation
from zoo.evaluation import SegmentationEvaluator
from zoo.runs.help import Heading
from zoo.runs.pictures import PicturesConfig, said

_DRAWN = 8
_SAID = {
    "mean IoU": "mean_iou",
    "frequency-weighted IoU": "frequency_weighted_iou",
    "pixel accuracy": "pixel_accuracy",
    "mean accuracy": "mean_accuracy",
}


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig(PicturesConfig):
    """Options of every recipe that learns from images with a class for each pixel.

    Example:
        >>> SegmentationConfig(image_size=64).load("test").shape
        (64, 64, 3)
    """

    MAY_BE_ZERO: ClassVar = PicturesConfig.MAY_BE_ZERO

    _DATA: ClassVar = Heading("data")
    data: str = "scenes"
    """Images with a class for each pixel: scenes, camvid, or a folder as VOC, CamVid, ADE20K or COCO panoptic are."""
    image_size: int | None = None
    """Height and width of the canvas that pictures are fitted into; None for that of the set."""
    _CHANGES: ClassVar = Heading("random changes of pictures")
    crop: int | None = None
    """Side of the square that is learnt of each picture, around a pixel of one of its classes other than class 0; None
    for whole pictures."""

    @property
    def batch_options(self):
        """How batches of training pictures are changed at random, and cropped."""
        return {"augment": self.augmentation(self.crop)}

    def load(self, split):
        """The `zoo.data.SegmentationSource` of a split."""
        return data.load_segmentation(
            self.data,
            split=split,
            image_size=self.image_size,
            skip_damaged=self.skip_damaged,
            num_scenes=self.num_scenes if split == "train" else None,
        )


class Segmentation:
    """Data, metrics and pictures of models with `segment`.

    Args:
        config: A `SegmentationConfig`.

    Attributes:
        data: `zoo.data.SegmentationSource` that the model learns from.
        batch_options: How its batches are changed at random.
        build_from: Shape of the canvas, (height, width, 3), and the names of the classes.
        classes: List of these names, for what is published.
        better: Which way each metric of `evaluate` is better.

    Example:
        >>> task = Segmentation(SegmentationConfig())
        >>> task.build_from[0], task.classes[:3]
        ((128, 128, 3), ['background', '0', '1'])
    """

    better = SegmentationEvaluator.better

    def __init__(self, config):
        self.config, self.data = config, config.load("train")
        self.classes = list(self.data.class_names)
        self.build_from = (self.data.shape, tuple(self.classes))
        self.batch_options = config.batch_options

    @cached_property
    def evaluate(self):
        """Function of the model that returns {metric: number}; it reads the judged split, on the chief only."""
        return SegmentationEvaluator(self.config.load(self.config.judged_split), self.config.judged_images)

    def baselines(self, model):
        """What the untrained model reaches, on a few pictures."""
        return {"untrained": self.evaluate.untrained(model)}

    def conclude(self, model):
        """Metrics of the trained model alone: none."""
        return {}

    def callbacks(self, folder):
        """Callbacks that draw: how the same held-out pictures are labelled after each epoch, beside how they should."""
        from zoo.callbacks import Pictures

        return [Pictures(self.draw, folder / "samples", folder / "logs" / "samples")]

    def draw(self, model):
        """{"segmentation": picture}: held-out pictures, as they are, as labelled, and as the model labels them."""
        images, labels = self._drawn
        found = model.segment(images)
        return {"segmentation": pictures_of_segmentation.side_by_side(images, labels, found, self.build_from[1])}

    def report(self, metrics):
        """One line with the four figures of the whole set, beside the mean IoU as it was."""
        figures = ", ".join(f"{label} {said(metrics[name])}" for label, name in _SAID.items())
        return (
            f"{figures} (untrained mean IoU {said(metrics['untrained']['mean_iou'])}); on {metrics['num_images']} "
            f"{self.config.judged_pictures}."
        )

    @cached_property
    def _drawn(self):
        test = self.evaluate.test
        return test.examples(min(test.size, _DRAWN), seed=0)
