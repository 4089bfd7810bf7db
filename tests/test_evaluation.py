"""Which metrics fit which data, on generators whose quality is known."""

import numpy as np
import pytest

from zoo import data
from zoo.evaluation import Evaluator
from zoo.metrics import MetricWarning


class Copies:
    """Generates the first examples of a set."""

    def __init__(self, examples):
        self.examples = examples

    def generate(self, num_samples, seed=0):
        return self.examples[np.arange(num_samples) % len(self.examples)]


def evaluator(name):
    return Evaluator(data.load(name), data.load(name, split="test"))


def test_points_with_modes():
    evaluate = evaluator("grid")
    assert evaluate.headline == "modes_found"
    real = evaluate.real_against_real()
    # A two-dimensional Gaussian has 1 - exp(-9/2) = 98.9 % of its mass within 3 standard deviations.
    assert real["modes_found"] == 25 and abs(real["high_quality"] - 0.989) < 0.01
    collapsed = evaluate(Copies(evaluate.train.modes[:1]))
    assert (collapsed["modes_found"], collapsed["high_quality"]) == (1, 1.0)
    assert collapsed["wasserstein_2"] > 5 * real["wasserstein_2"]
    far = evaluate(Copies(np.full((1, 2), 100.0)))
    assert far["modes_found"] == 0 and far["kl_to_uniform"] is None


def test_points_without_modes():
    evaluate = evaluator("swiss_roll")
    assert evaluate.headline == "wasserstein_2"
    assert set(evaluate(Copies(evaluate.train.examples(2500)))) == {"wasserstein_2"}


def test_images_are_ranked_real_noisy_noise():
    evaluate = evaluator("digits")
    assert evaluate.headline == "frechet_distance"
    rng = np.random.default_rng(0)
    images = evaluate.train.examples()
    noisy = np.clip(images + 0.3 * rng.normal(size=images.shape), -1, 1)
    noise = rng.uniform(-1, 1, images.shape)
    scores = [evaluate(Copies(each))["frechet_distance"] for each in (noisy, noise)]
    assert evaluate.real_against_real()["frechet_distance"] < scores[0] < scores[1]
    assert evaluate(Copies(noisy))["num_images"] == evaluate.train.size // 2


@pytest.mark.parametrize("labelled", [True, False])
def test_folders_of_images_with_and_without_classes(tmp_path, labelled):
    from PIL import Image

    rng = np.random.default_rng(0)
    for index in range(40):
        folder = tmp_path / "my pictures" / (f"class {index % 2}" if labelled else "")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 128 + 127 * (index % 2), (8, 8, 3), dtype="uint8")).save(
            folder / f"{index}.png"
        )
    evaluate = evaluator(str(tmp_path / "my pictures"))
    if labelled:
        with pytest.warns(MetricWarning, match="18 samples of 64 features"):
            metrics = evaluate(Copies(evaluate.train.examples()))
        assert metrics["frechet_label"].startswith("FID(cnn-my-pictures-")
    else:
        assert evaluate.headline is None and evaluate(Copies(evaluate.train.examples())) == {}
