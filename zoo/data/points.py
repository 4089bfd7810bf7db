"""Points in the plane with known density: the usual first tests of a generative model."""

import numpy as np

from zoo.data.source import Source

_SIZES = {"train": 100_000, "test": 10_000}


def load(name, split):
    """A fixed draw of a set of points.

    Args:
        name: "ring", "grid" or "swiss_roll".
        split: "train" (100,000 points) or "test" (10,000 others).

    Returns:
        `Source` of shape (2,), labelled with the mode of each point where the set has modes.
    """
    # RandomState, because NumPy promises that its streams never change.
    random = np.random.RandomState([list(SETS).index(name), list(_SIZES).index(split)])
    examples, labels, modes, mode_std, formula = SETS[name](random, _SIZES[split])
    return Source(
        name,
        examples.astype("float32"),
        labels=labels,
        num_classes=None if modes is None else len(modes),
        modes=modes,
        mode_std=mode_std,
        origin=f"{formula}, a fixed {split} draw",
    )


def ring(random, size):
    """8 Gaussians on the unit circle, standard deviation 0.01."""
    angles = np.arange(8) * (2 * np.pi / 8)
    modes = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return *_mixture(random, size, modes, 0.01), "8 Gaussians on the unit circle, standard deviation 0.01"


def grid(random, size):
    """25 Gaussians centred on {-4, -2, 0, 2, 4}^2, standard deviation 0.05."""
    axis = np.arange(-4.0, 5.0, 2.0)
    modes = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    return *_mixture(random, size, modes, 0.05), "25 Gaussians on a 5 x 5 grid, standard deviation 0.05"


def swiss_roll(random, size):
    """The spiral t (cos t, sin t) / 4.5 pi, t uniform in [1.5 pi, 4.5 pi], with noise of deviation 0.02."""
    turn = random.uniform(1.5 * np.pi, 4.5 * np.pi, size)
    spiral = np.stack([turn * np.cos(turn), turn * np.sin(turn)], axis=1) / (4.5 * np.pi)
    examples = spiral + 0.02 * random.standard_normal((size, 2))
    return examples, None, None, None, "Swiss roll in the plane, radius 1, noise of standard deviation 0.02"


SETS = {"ring": ring, "grid": grid, "swiss_roll": swiss_roll}


def _mixture(random, size, modes, std):
    labels = random.randint(len(modes), size=size)
    return modes[labels] + std * random.standard_normal((size, 2)), labels, modes, std
