"""Options of recipes that learn from whole pictures, on a canvas, with what is in them."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo.runs.config import RunConfig, option
from zoo.runs.help import Heading


@dataclass(frozen=True, kw_only=True)
class PicturesConfig(RunConfig):
    """What the recipes of objects and of labelled pixels have in common."""

    MAY_BE_ZERO: ClassVar = (*RunConfig.MAY_BE_ZERO, "recolour", "turn", "warp")

    _DATA: ClassVar = Heading("data")
    num_scenes: int | None = None
    """Scenes to train on, where the data are scenes, which are composed here; None for 10,000."""
    skip_damaged: bool = False
    """Leave damaged pictures and annotations out, instead of stopping."""
    _CHANGES: ClassVar = Heading("random changes of pictures")
    flip: bool | None = None
    """Mirror every other training picture; None does so unless they show digits, as scenes do."""
    enlarge: float = 1.0
    """Training pictures are enlarged up to so many times at random, and cut; 1 for never."""
    reduce: float = 1.0
    """They are reduced down to this share of their size at random; 1 for never."""
    recolour: float = 0.0
    """The contrast of each of their colours is changed by up to this share at random, and the brightness by half."""
    turn: float = 0.0
    """They are turned by up to so many degrees to either side at random."""
    stretch: float = 1.0
    """They become up to so many times as wide for their height, or as narrow, at random; 1 for never."""
    warp: float = 0.0
    """Their pixels move smoothly by random displacements, of a standard deviation of this share of a fifth of what is
    kept of them; 0 for never."""
    _EVALUATION: ClassVar = Heading("evaluation and checkpoints")
    judged_images: int = option(1000, judging=True)
    """Pictures that an evaluation looks at, at most."""
    judged_split: Literal["test", "train"] = option("test", judging=True)
    """Held-out pictures, or those of the training, which say whether a model can learn them by heart."""

    def check(self):
        """Checks all numbers, before anything slow begins."""
        super().check()
        if self.enlarge < 1 or self.reduce > 1:
            raise ValueError(
                "`--enlarge` must be 1 or more, and `--reduce` 1 or less. "
                f"Received: {self.enlarge:g} and {self.reduce:g}."
            )
        if self.recolour >= 1:
            raise ValueError(f"`--recolour` must be below 1: a share of the contrast. Received: {self.recolour:g}.")
        if self.turn > 180:
            raise ValueError(f"`--turn` must be at most 180: degrees to either side. Received: {self.turn:g}.")
        if self.stretch < 1:
            raise ValueError(f"`--stretch` must be 1 or more: a factor of the aspect. Received: {self.stretch:g}.")
        if self.warp > 0.5:
            raise ValueError(f"`--warp` must be at most 0.5, beyond which pictures fold. Received: {self.warp:g}.")

    @property
    def batch_options(self):
        """How batches of training pictures are changed at random."""
        return {"augment": self.augmentation()}

    def augmentation(self, crop=None):
        """What changes training pictures at random, and crops them if `crop` says so."""
        from zoo.data.detection import flip_and_scale

        flip = self.data != "scenes" if self.flip is None else self.flip
        return flip_and_scale(flip, self.reduce, self.enlarge, self.recolour, self.turn, crop, self.stretch, self.warp)

    @property
    def judged_pictures(self):
        """Which pictures an evaluation looks at, in words."""
        return f"{'held-out' if self.judged_split == 'test' else 'training'} pictures"


def said(figure):
    """A figure in words: "none" where there was nothing to judge."""
    return "none" if figure is None else f"{figure:.3f}"
