"""The task of most recipes: to generate examples like those of a data set."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from zoo import data, pictures
from zoo.evaluation import Evaluator
from zoo.runs.config import RunConfig, option
from zoo.runs.help import Heading


@dataclass(frozen=True, kw_only=True)
class GenerationConfig(RunConfig):
    """Options of every recipe that learns from a data set of examples.

    Example:
        >>> GenerationConfig(data="digits", image_size=16).load("test").shape
        (16, 16, 1)
    """

    _DATA: ClassVar = Heading("data")
    data: str = "digits"
    """Data: digits, ring, grid, swiss_roll, mnist, fashion_mnist, usps, cifar10, or a folder of images or records."""
    cache: bool | None = option(None, free=True)
    """Keep each decoded picture of a folder in memory after its first reading; None if they take a quarter of it."""
    image_size: int | None = None
    """Height and width that images are resized to; None keeps them."""
    channels: int | None = None
    """1 for grey, 3 for RGB; None keeps what the images have."""

    def load(self, split):
        """The `zoo.data.Source` of a split; only what is trained on is kept in memory as `cache` says."""
        cache = self.cache if split == "train" else False
        return data.load(self.data, split=split, image_size=self.image_size, channels=self.channels, cache=cache)


class Generation:
    """Data, metrics and pictures of models with `generate`: what `runs.run` asks of a task.

    Args:
        config: A `GenerationConfig`.

    Attributes:
        data: `zoo.data.Source` that the model learns from.
        batch_options: Options of its batches: none.
        build_from: Shape of one example, which the networks are built for.
        better: Which way each metric of `evaluate` is better.

    Example:
        >>> task = Generation(GenerationConfig(data="ring"))
        >>> task.build_from, task.data.size
        ((2,), 100000)
    """

    batch_options = {}
    better = Evaluator.better

    def __init__(self, config):
        self.config, self.data = config, config.load("train")
        self.build_from = self.data.shape

    @cached_property
    def evaluate(self):
        """Function of the model that returns {metric: number or text}; it reads the test split, on the chief only."""
        return Evaluator(self.data, self.config.load("test"))

    def baselines(self, model):
        """What the untrained model and real examples reach, and of images those that were not learnt from."""
        held_out = self.evaluate.held_out_against_real()
        found = {"untrained": self.evaluate(model), "real": self.evaluate.real_against_real()}
        return {**found, **({"held_out": held_out} if held_out else {})}

    def conclude(self, model):
        """Metrics of the trained model alone: none."""
        return {}

    def callbacks(self, folder):
        """Callbacks that draw: the same samples after each epoch."""
        from zoo.callbacks import SampleGrid

        return [SampleGrid(folder / "samples", folder / "logs" / "samples", **self._samples)]

    def draw(self, model):
        """{name: picture} of the trained model."""
        samples = model.generate(self._samples["num_samples"], seed=0)
        return {"samples": pictures.draw(samples, self._samples["reference"])}

    def report(self, metrics):
        """One line that sets the main figure beside that of real and of untrained examples."""
        headline = self.evaluate.headline
        return report(metrics, headline) if headline else "No metric is defined for unlabelled images."

    @cached_property
    def _samples(self):
        points = not self.data.is_images
        return {"num_samples": 2500 if points else 64, "reference": self.data.examples(2500) if points else None}


def report(metrics, headline):
    """One line that sets a metric beside that of real and of untrained examples.

    Args:
        metrics: What `runs.run` returned.
        headline: Name of the metric.

    Returns:
        Text.

    Example:
        >>> report({"mine": 0.2, "real": {"mine": 0.1}, "untrained": {"mine": 3.0}}, "mine")
        'mine = 0.2 (real examples 0.1, untrained 3).'
    """
    name = metrics.get("frechet_label", headline)
    numbers = [
        f"{label} {metrics[key][headline]:.4g}"
        for key, label in (("real", "real examples"), ("held_out", "held-out ones"), ("untrained", "untrained"))
        if headline in metrics.get(key, {})
    ]
    line = f"{name} = {metrics[headline]:.4g} ({', '.join(numbers)})."
    if "frechet_distance_held_out" in metrics:
        line += f" Beside held-out images {metrics['frechet_distance_held_out']:.4g}."
    if "nearer_to_training" in metrics:
        share = 100 * metrics["nearer_to_training"]
        line += f" Nearer to training images than held-out ones are in {share:.0f} % of pairs (new images: 50 %)."
    if "high_quality" in metrics:
        line += f" High quality {100 * metrics['high_quality']:.1f} %, W2 {metrics['wasserstein_2']:.3g}."
    return line
