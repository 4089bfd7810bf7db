"""The task of recipes that find objects in images."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from zoo import data, pictures_of_detections
from zoo.evaluation import DetectionEvaluator
from zoo.runs.help import Heading
from zoo.runs.pictures import PicturesConfig, said

_DRAWN = 8
_SAID = {"AP": "ap", "AP50": "ap50", "AP75": "ap75"}


@dataclass(frozen=True, kw_only=True)
class DetectionConfig(PicturesConfig):
    """Options of every recipe that learns from images with boxes, classes and masks of their objects.

    Example:
        >>> DetectionConfig(image_size=64).load("test").shape
        (64, 64, 3)
    """

    MAY_BE_ZERO: ClassVar = PicturesConfig.MAY_BE_ZERO

    _DATA: ClassVar = Heading("data")
    data: str = "scenes"
    """Images with objects: scenes, tiny_coco, coco128, or a folder of pictures with annotations in COCO's format."""
    image_size: int | None = None
    """Height and width of the canvas that pictures are fitted into, a multiple of 32; None for that of the set."""
    max_objects: int | None = None
    """Objects of a picture that are learnt from, the largest; None for as many as any picture has."""

    def check(self):
        """Checks all numbers, before anything slow begins."""
        super().check()
        if self.image_size is not None and self.image_size % 32:
            raise ValueError(f"`--image-size` must be a multiple of 32. Received: {self.image_size}.")

    def load(self, split):
        """The `zoo.data.DetectionSource` of a split."""
        return data.load_detection(
            self.data,
            split=split,
            image_size=self.image_size,
            max_objects=self.max_objects,
            skip_damaged=self.skip_damaged,
            num_scenes=self.num_scenes if split == "train" else None,
        )


class Detection:
    """Data, metrics and pictures of models with `detect`.

    Args:
        config: A `DetectionConfig`.

    Attributes:
        data: `zoo.data.DetectionSource` that the model learns from.
        batch_options: How its batches are changed at random.
        build_from: Shape of the canvas, (height, width, 3), and the names of the classes.
        classes: List of these names, for what is published.
        better: Which way each metric of `evaluate` is better.

    Example:
        >>> task = Detection(DetectionConfig())
        >>> task.build_from[0], task.classes[:3]
        ((128, 128, 3), ['0', '1', '2'])
    """

    better = DetectionEvaluator.better

    def __init__(self, config):
        self.config, self.data = config, config.load("train")
        self.classes = list(self.data.class_names)
        self.build_from = (self.data.shape, tuple(self.classes))
        self.batch_options = config.batch_options

    @cached_property
    def evaluate(self):
        """Function of the model that returns {metric: number}; it reads the judged split, on the chief only."""
        return DetectionEvaluator(self.config.load(self.config.judged_split), self.config.judged_images)

    def baselines(self, model):
        """What the untrained model reaches, on a few pictures."""
        return {"untrained": self.evaluate.untrained(model)}

    def conclude(self, model):
        """Metrics of the trained model alone: none."""
        return {}

    def callbacks(self, folder):
        """Callbacks that draw: what is found in the same held-out pictures after each epoch, beside what is there."""
        from zoo.callbacks import Pictures

        return [Pictures(self.draw, folder / "samples", folder / "logs" / "samples")]

    def draw(self, model):
        """{"detections": picture}: held-out pictures with their objects, as annotated and as found."""
        images, targets = self._drawn
        found = model.detect(images, targets["sizes"])
        names = self.build_from[1]
        return {"detections": pictures_of_detections.side_by_side(images, targets, found, names)}

    def report(self, metrics):
        """One line with the precision of masks and boxes, beside what it was."""
        of_masks, of_boxes = (
            ", ".join(f"{label} {said(metrics[f'{kind}_{name}'])}" for label, name in _SAID.items())
            for kind in ("mask", "box")
        )
        return (
            f"masks: {of_masks} (untrained {said(metrics['untrained']['mask_ap'])}); boxes: {of_boxes}; on "
            f"{metrics['num_images']} {self.config.judged_pictures}."
        )

    @cached_property
    def _drawn(self):
        test = self.evaluate.test
        return test.examples(min(test.size, _DRAWN), seed=0)
