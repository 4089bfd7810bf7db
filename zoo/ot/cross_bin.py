"""Distances between histograms that know how far apart, or how alike, two different bins are.

Shapes, types and checks are those of `zoo.ot.histograms`.
"""

import numpy as np
from keras import ops

from zoo.ot.backend import has_values
from zoo.ot.costs import absolute, safe_sqrt
from zoo.ot.histograms import as_histograms, fit
from zoo.ot.inputs import answer, as_float, line, same_type, whole

# A quadratic form that is negative by more than rounding: this share of the sum of its terms' sizes.
FORM_TOLERANCE = 1e-4


def earth_mover(p, q, positions=None):
    """Earth mover's distance on a line, sum_i |P_i - Q_i| (x_{i+1} - x_i), with P and Q the cumulative sums.

    The least work, mass times distance, that turns p into q: the 1-Wasserstein distance of the histograms.

    Source: Rubner et al. 2000, The earth mover's distance as a metric for image retrieval; the formula on the line:
    Peyre and Cuturi 2019, Computational Optimal Transport, section 2.6.

    Args:
        p: Histogram (..., bins), at least 0, summing to 1.
        q: Histogram (..., bins), likewise.
        positions: x, where the bins lie, (bins,) or (..., bins), ascending. 0, 1, 2, ... by default.

    Returns:
        Tensor (...), at least 0, in the unit of the positions.

    Raises:
        ValueError: If shapes do not fit, values are negative, not finite or do not sum to 1, or the positions are not
            ascending.

    Example:
        >>> float(earth_mover([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]))
        2.0
        >>> round(float(earth_mover([1.0, 0.0], [0.0, 1.0], positions=[0.0, 0.3])), 4)
        0.3
    """
    p, q = as_histograms(p, q, sum_to_one=True)
    if positions is None:
        return answer(ops.sum(absolute(ops.cumsum(p - q, axis=-1)[..., :-1]), axis=-1), whole(p), whole(q))
    p, q, positions = same_type(p, q, as_float(positions))
    shape = tuple(positions.shape)
    if not (fit(shape, tuple(p.shape)) and fit(shape, tuple(q.shape))):
        raise ValueError(
            f"`positions` must have shape (bins,) or (..., bins). Received: shape {shape} beside histograms of shapes "
            f"{tuple(p.shape)} and {tuple(q.shape)}."
        )
    gaps = positions[..., 1:] - positions[..., :-1]
    fixed = ops.stop_gradient(gaps)
    if has_values(fixed):
        values = ops.convert_to_numpy(fixed)
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ValueError(
                "`positions` must be finite and ascending. "
                f"Received: a step of {values.min():g} between neighbours. Sort the bins, and the histograms with them."
            )
    value = ops.sum(absolute(ops.cumsum(p - q, axis=-1)[..., :-1]) * gaps, axis=-1)
    return answer(value, whole(p), whole(q), whole(positions))


def quadratic_form(p, q, similarity):
    """Quadratic-form distance, sqrt((p - q)^T A (p - q)), with A_ij the similarity of bins i and j.

    Rubner et al. take A_ij = 1 - d_ij / max d with d_ij the distance of the bins. With the identity it is the
    Euclidean distance. The gradient is 0 where p = q.

    Source: Hafner et al. 1995, Efficient color histogram indexing for quadratic form distance functions; Rubner et al.
    2000, "Quadratic-form distance".

    Args:
        p: Histogram (..., bins), at least 0, of any mass.
        q: Histogram (..., bins), likewise.
        similarity: A, (bins, bins) or (..., bins, bins), not negative in any direction p - q (positive semidefinite is
            enough).

    Returns:
        Tensor (...), at least 0.

    Raises:
        ValueError: If shapes do not fit, values are negative or not finite, or the form is negative at p - q.

    Example:
        >>> round(float(quadratic_form([1.0, 0.0], [0.0, 1.0], [[1.0, 0.5], [0.5, 1.0]])), 4)
        1.0
    """
    p, q = as_histograms(p, q)
    p, q, similarity = same_type(p, q, as_float(similarity))
    shape, difference = tuple(similarity.shape), p - q
    bins = difference.shape[-1:]
    if not (fit(shape[-2:-1], bins) and fit(shape[:-2] + shape[-1:], tuple(difference.shape))):
        raise ValueError(
            f"`similarity` must have shape (bins, bins) or (..., bins, bins). Received: shape {shape} beside "
            f"histograms of shapes {tuple(p.shape)} and {tuple(q.shape)}."
        )
    squared = ops.sum(ops.squeeze(ops.matmul(line(difference), similarity), -2) * difference, axis=-1)
    fixed = ops.stop_gradient(squared)
    if has_values(fixed):
        sizes = ops.matmul(line(ops.abs(difference)), ops.abs(similarity))
        sizes = ops.sum(ops.squeeze(ops.stop_gradient(sizes), -2) * ops.stop_gradient(ops.abs(difference)), axis=-1)
        good = ops.logical_and(fixed >= -FORM_TOLERANCE * sizes, whole(ops.stop_gradient(similarity), axes=2))
        if not ops.convert_to_numpy(ops.all(good)):
            raise ValueError(
                "`similarity` must be finite, and (p - q)^T A (p - q) at least 0. "
                f"Received: a minimum of {ops.convert_to_numpy(fixed).min():g}. Pass a positive semidefinite matrix, "
                "such as exp(-distance) of the bins."
            )
    return answer(safe_sqrt(squared), whole(p), whole(q), whole(similarity, axes=2))
