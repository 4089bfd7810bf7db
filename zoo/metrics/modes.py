"""How many modes of a known mixture a generator covers."""

import math

import numpy as np

from zoo.metrics.checks import numeric_array, same_dimension, sample_matrix

PROTOCOL_RADIUS = 3.0
BLOCK_SIZE = 4_000_000


def mode_coverage(samples, modes, std):
    """Counts the modes of an isotropic Gaussian mixture that `samples` reach, and how well.

    With m(x) the mode nearest to x, a sample is of high quality when ||x - m(x)|| <= 3 std, and a mode is
    found when at least one high-quality sample belongs to it. With p_k the share of mode k among the
    high-quality samples of K modes, the balance is KL(p || uniform) = sum_k p_k log(p_k K), in nats:
    0 when all modes are equally likely, log K when there is one.

    Source: VEEGAN (Srivastava et al., 2017) and PacGAN (Lin et al., 2018, table 1), who draw 2,500 samples.
    Samples of a true two-dimensional mixture are of high quality with probability 1 - exp(-9 / 2) = 0.98889,
    so 100 % in two dimensions means modes that are too narrow.
    The number of modes found grows with the number of samples: compare at equal `num_samples`.

    Args:
        samples: array (n, d), generated points, n >= 1. The published protocol uses n = 2,500.
        modes: array (k, d), the means of the mixture, all different.
        std: positive float, the standard deviation of every component, in the unit of `samples`.

    Returns:
        A dict: `modes_found` (int, 0..k), `num_modes` (k), `high_quality` (float, share 0..1),
        `kl_to_uniform` (float, nats; NaN when no sample is of high quality), `num_samples` (n).

    Raises:
        TypeError: an argument is not an array of real numbers.
        ValueError: shapes do not fit, values are not finite, modes repeat, or `std` is not positive.

    Example:

        >>> import numpy as np
        >>> from zoo.metrics import mode_coverage
        >>> modes = np.array([[0.0, 0.0], [1.0, 0.0]])
        >>> mode_coverage(np.array([[0.01, 0.0], [0.02, 0.0], [0.5, 0.0]]), modes, std=0.01)["modes_found"]
        1
    """
    samples = sample_matrix(samples, "samples")
    modes = sample_matrix(modes, "modes")
    same_dimension(samples, modes, "samples", "modes")
    std = numeric_array(std, "std")
    if std.ndim != 0 or std <= 0:
        raise ValueError(
            f"`std` must be one positive number, the standard deviation of every mode. Received: {std}. "
            "Pass the value with which the mixture was drawn."
        )
    if len(np.unique(modes, axis=0)) < len(modes):
        raise ValueError(
            f"`modes` must be all different, or the nearest mode is ambiguous. Received: {len(modes)} modes, "
            f"{len(np.unique(modes, axis=0))} of them different. Remove the repeated rows."
        )
    nearest, distance = nearest_mode(samples, modes)
    high_quality = distance <= PROTOCOL_RADIUS * float(std)
    counts = np.bincount(nearest[high_quality], minlength=len(modes))
    return {
        "modes_found": int(np.count_nonzero(counts)),
        "num_modes": len(modes),
        "high_quality": float(high_quality.mean()),
        "kl_to_uniform": kl_to_uniform(counts),
        "num_samples": len(samples),
    }


def nearest_mode(samples, modes):
    """Returns the index (n,) of the mode nearest to each sample, and the Euclidean distance (n,) to it."""
    block = max(1, BLOCK_SIZE // modes.size)
    index = np.empty(len(samples), dtype=np.int64)
    distance = np.empty(len(samples))
    for start in range(0, len(samples), block):
        rows = slice(start, start + block)
        # Differences, not the expanded square: that cancels when std is small beside the modes' norm.
        distances = np.linalg.norm(samples[rows, None] - modes, axis=-1)
        index[rows] = distances.argmin(axis=1)
        distance[rows] = distances.min(axis=1)
    return index, distance


def kl_to_uniform(counts):
    """Returns KL(histogram || uniform) in nats, with 0 log 0 = 0; NaN for an empty histogram."""
    total = counts.sum()
    if total == 0:
        return math.nan
    share = counts[counts > 0] / total
    return max(0.0, float(np.sum(share * np.log(share * len(counts)))))
