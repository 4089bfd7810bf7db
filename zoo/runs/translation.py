"""The task of recipes that translate between two sets of images without pairs."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from zoo import data, pictures
from zoo.data.augment import enlarge_crop_flip
from zoo.evaluation import DIRECTIONS, TranslationEvaluator
from zoo.runs.config import RunConfig, option
from zoo.runs.help import Heading

_COLUMNS = 12


@dataclass(frozen=True, kw_only=True)
class TranslationConfig(RunConfig):
    """Options of every recipe that learns from two sets of images.

    Example:
        >>> TranslationConfig(data=("digits/3", "digits/8")).load("train").name
        'digits_3-digits_8'
    """

    _DATA: ClassVar = Heading("data")
    data: tuple[str, ...] = ("emoji",)
    """Images: emoji, mnist_usps, a folder with trainA and trainB, or two sets or folders: cifar10/cat cifar10/dog."""
    cache: bool | None = option(None, free=True)
    """Keep each decoded picture of a folder in memory after its first reading; None if they take a quarter of it."""
    image_size: int | None = None
    """Height and width that images are resized to; None keeps them."""
    channels: int | None = None
    """1 for grey, 3 for RGB; None keeps what the images have."""
    skip_damaged: bool = False
    """Leave damaged files of a folder out, instead of stopping."""
    _CHANGES: ClassVar = Heading("random changes of pictures")
    enlarge: float | None = None
    """Training images are enlarged so many times, and a random part of the old size is cut out; 1 for neither. None for
    1.117 (paper: from 256 to 286 pixels), unless the images are grey, as digits are."""
    flip: bool | None = None
    """Mirror every other training image; None does so unless the images are grey, as digits are."""

    def load(self, split):
        """The `zoo.data.Pair` of a split; only what is trained on is kept in memory as `cache` says."""
        return data.load_pair(
            self.data[0] if len(self.data) == 1 else self.data,
            split=split,
            image_size=self.image_size,
            channels=self.channels,
            cache=self.cache if split == "train" else False,
            skip_damaged=self.skip_damaged,
        )


class Translation:
    """Data, metrics and pictures of models with `translate`.

    Args:
        config: A `TranslationConfig`.

    Attributes:
        data: `zoo.data.Pair` that the model learns from.
        batch_options: How its batches are changed at random.
        build_from: Shape of one example, which the networks are built for.
        better: Which way each metric of `evaluate` is better.

    Example:
        >>> Translation(TranslationConfig(data=("digits/3", "digits/8"))).build_from
        (8, 8, 1)
    """

    better = TranslationEvaluator.better

    def __init__(self, config):
        self.config, self.data = config, config.load("train")
        self.build_from = self.data.shape
        colour = self.data.shape[-1] > 1
        enlarge = (286 / 256 if colour else 1.0) if config.enlarge is None else config.enlarge
        flip = colour if config.flip is None else config.flip
        self.batch_options = {"augment": enlarge_crop_flip(self.data.shape, enlarge, flip)}

    @cached_property
    def evaluate(self):
        """Function of the model that returns {metric: number}; it reads the test split, on the chief only."""
        return TranslationEvaluator(self.data, self.config.load("test"))

    def baselines(self, model):
        """What the untrained model reaches; where there are classes, also images as they are, and real ones."""
        references = {"untranslated": self.evaluate.untranslated(), "real": self.evaluate.real()}
        return {"untrained": self.evaluate(model), **{name: found for name, found in references.items() if found}}

    def conclude(self, model):
        """Metrics of the trained model alone: none."""
        return {}

    def callbacks(self, folder):
        """Callbacks that draw: the same translations after each epoch."""
        from zoo.callbacks import Pictures

        return [Pictures(self.draw, folder / "samples", folder / "logs" / "samples")]

    def draw(self, model):
        """{direction: picture}: held-out images, what they become, and what becomes of that on the way back."""
        drawn = {}
        for images, there, back in zip(self.evaluate.images, DIRECTIONS, DIRECTIONS[::-1], strict=True):
            images = images[:_COLUMNS]
            translated = model.translate(images, there)
            rows = np.concatenate([images, translated, model.translate(translated, back)])
            drawn[there] = pictures.draw(rows, columns=len(images))
        return drawn

    def report(self, metrics):
        """One line that sets cycle error, and accuracies or domains, beside what they are without translation."""
        line = f"cycle error {metrics['cycle_error']:.4f} (untrained {metrics['untrained']['cycle_error']:.4f})"
        for direction, names in zip(DIRECTIONS, (self.evaluate.names, self.evaluate.names[::-1]), strict=True):
            for key, what in ((f"accuracy_{direction}", "right"), (f"domain_{direction}", f"taken for {names[1]}")):
                if key in metrics:
                    share, untranslated, real = (
                        100 * one[key] for one in (metrics, metrics["untranslated"], metrics["real"])
                    )
                    line += (
                        f"; {names[0]} as {names[1]} {share:.1f} % {what} "
                        f"(untranslated {untranslated:.1f} %, real {names[1]} {real:.1f} %)"
                    )
        return line + "."
