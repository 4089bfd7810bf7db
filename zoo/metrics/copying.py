"""Whether generated examples are copies of those that were learnt from."""

import numpy as np

from zoo.metrics.checks import same_dimension, sample_matrix

# Distances that are held at a time.
_DISTANCES = 20_000_000


def nearer_to_training(generated, held_out, training):
    """Share of pairs in which a generated example is nearer to the training set than a held-out one is.

    P(d(g) < d(h)) + P(d(g) = d(h)) / 2 with d the Euclidean distance to the nearest training example: the statistic of
    Mann and Whitney, by which Meehan et al. 2020 test for copying (A non-parametric test to detect data-copying in
    generative models, section 3). Fresh draws of the same distribution come to 1/2, with standard deviation
    sqrt((n + m + 1) / (12 n m)) over generated and held-out ones; copies come to 1, and what is unlike the data to 0.

    Args:
        generated: array (n, d), such as features.
        held_out: array (m, d), of examples that nothing was learnt from.
        training: array (k, d), of the examples that were learnt from.

    Returns:
        Number in [0, 1].

    Raises:
        TypeError: An argument is not an array of real numbers.
        ValueError: Wrong rank, different d, no samples, NaN or infinite values.

    Example:
        >>> nearer_to_training([[0.0]], [[0.5]], [[0.0], [1.0]])
        1.0
    """
    named = {"generated": generated, "held_out": held_out, "training": training}
    generated, held_out, training = (sample_matrix(one, name, min_samples=1) for name, one in named.items())
    same_dimension(generated, training, "generated", "training")
    same_dimension(held_out, training, "held_out", "training")
    of_generated, of_held_out = (_nearest(one, training) for one in (generated, held_out))
    ordered = np.sort(of_held_out)
    above = len(ordered) - np.searchsorted(ordered, of_generated, side="right")
    equal = len(ordered) - above - np.searchsorted(ordered, of_generated, side="left")
    return float((above + equal / 2).mean() / len(ordered))


def _nearest(points, training):
    """Distance of each point to its nearest training example, in float64."""
    from sklearn.metrics import pairwise_distances_argmin_min

    step = max(1, _DISTANCES // len(training))
    starts = range(0, len(points), step)
    rows = np.concatenate([pairwise_distances_argmin_min(points[one : one + step], training)[0] for one in starts])
    # By their difference, which is exactly 0 of a copy.
    return np.linalg.norm(points - training[rows], axis=1)
