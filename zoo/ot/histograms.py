"""Distances between histograms over the same bins, each over the last axis; leading axes are batches and broadcast.

They compare a bin only with the same bin of the other histogram. So two bumps that do not overlap are equally far apart
however far they lie (Rubner et al. 2000; Arjovsky et al. 2017, section 2). `zoo.ot.cross_bin` sees how far.

Results are float32, or float64 where an input is; half precision is computed in float32. (Keras 3.15 itself brings
float64 arrays to float32 on the NumPy backend, and takes cumulative sums in float32 on PyTorch.) Values are checked
where they can be read: not while a graph is traced, where a histogram that is not finite gives NaN.
"""

import numbers

import numpy as np
from keras import ops

from zoo.ot.backend import has_values
from zoo.ot.costs import absolute
from zoo.ot.inputs import SUM_TOLERANCE, answer, as_float, dtype_of, same_type, whole

# Rounding each bin to half precision moves the sum of a histogram by up to 0.4 %.
HALF_SUM_TOLERANCE = 1e-2


def total_variation(p, q):
    """Total variation distance, 1/2 sum_i |p_i - q_i|: the largest difference of probability of any event.

    Source: Arjovsky et al. 2017, Wasserstein GAN, section 2, as the supremum over events.

    Args:
        p: Histogram (..., bins), at least 0, summing to 1.
        q: Histogram (..., bins), likewise.

    Returns:
        Tensor (...), in [0, 1].

    Raises:
        ValueError: If shapes do not fit, or values are negative, not finite or do not sum to 1.

    Example:
        >>> float(total_variation([0.5, 0.5, 0.0], [0.0, 0.5, 0.5]))
        0.5
    """
    p, q = as_histograms(p, q, sum_to_one=True)
    return answer(0.5 * ops.sum(absolute(p - q), axis=-1), whole(p), whole(q))


def kl_divergence(p, q):
    """Kullback-Leibler divergence, sum_i p_i log(p_i / q_i), natural logarithm.

    0 log 0 is 0. Where some q_i = 0 < p_i the divergence is infinite. Bins with p_i = 0 or q_i = 0 get the gradient 0.

    Source: Kullback and Leibler 1951; Arjovsky et al. 2017, Wasserstein GAN, section 2.

    Args:
        p: Histogram (..., bins), at least 0, summing to 1.
        q: Histogram (..., bins), likewise.

    Returns:
        Tensor (...), at least 0 up to rounding, possibly infinite.

    Raises:
        ValueError: If shapes do not fit, or values are negative, not finite or do not sum to 1.

    Example:
        >>> round(float(kl_divergence([1.0, 0.0], [0.5, 0.5])), 4)  # log 2
        0.6931
        >>> float(kl_divergence([0.5, 0.5], [1.0, 0.0]))
        inf
    """
    p, q = as_histograms(p, q, sum_to_one=True)
    return answer(_relative_entropy(p, q), whole(p), whole(q))


def js_divergence(p, q):
    """Jensen-Shannon divergence, 1/2 KL(p | m) + 1/2 KL(q | m) with m = (p + q) / 2, natural logarithm.

    The square root is a metric; `scipy.spatial.distance.jensenshannon` returns that root. In a bin with p_i = 0 < q_i
    the slope in p_i is infinite; a finite one is returned.

    Source: Lin 1991, Divergence measures based on the Shannon entropy; Arjovsky et al. 2017, section 2, who print it
    without the factors 1/2, but whose example 1 has the value log 2 and so the factors. The "Jeffrey divergence" of
    Rubner et al. 2000 is twice this.

    Args:
        p: Histogram (..., bins), at least 0, summing to 1.
        q: Histogram (..., bins), likewise.

    Returns:
        Tensor (...), in [0, log 2].

    Raises:
        ValueError: If shapes do not fit, or values are negative, not finite or do not sum to 1.

    Example:
        >>> round(float(js_divergence([1.0, 0.0], [0.0, 1.0])), 4)  # log 2
        0.6931
    """
    p, q = as_histograms(p, q, sum_to_one=True)
    middle = 0.5 * (p + q)
    # Rounding can leave a value of -1e-8, of which a caller may take the root. The gradient is 0 there anyway.
    divergence = ops.relu(0.5 * (_relative_entropy(p, middle) + _relative_entropy(q, middle)))
    return answer(divergence, whole(p), whole(q))


def minkowski(p, q, order=2):
    """Minkowski-form distance, (sum_i |p_i - q_i|^r)^(1/r); the largest |p_i - q_i| for r = inf.

    The gradient is 0 where p = q.

    Source: Rubner et al. 2000, "Minkowski-form distance".

    Args:
        p: Histogram (..., bins), at least 0, of any mass.
        q: Histogram (..., bins), likewise.
        order: r, at least 1, or `float("inf")`.

    Returns:
        Tensor (...), at least 0.

    Raises:
        ValueError: If `order` is below 1, shapes do not fit, or values are negative or not finite.

    Example:
        >>> round(float(minkowski([3.0, 0.0], [0.0, 4.0])), 4)
        5.0
        >>> round(float(minkowski([3.0, 0.0], [0.0, 4.0], order=float("inf"))), 4)
        4.0
    """
    if not isinstance(order, numbers.Real) or not order >= 1:
        raise ValueError(
            f"`order` must be at least 1: below it the triangle inequality fails. Received: {order!r}. "
            'Use 1, 2 or float("inf").'
        )
    p, q = as_histograms(p, q)
    return answer(_norm(absolute(p - q), order), whole(p), whole(q))


def _norm(differences, order):
    """(sum_i differences_i^r)^(1/r), (...), of numbers of at least 0."""
    if order == 1:
        return ops.sum(differences, axis=-1)
    if order == float("inf"):
        return ops.max(differences, axis=-1)
    # Measured in units of the largest difference, powers neither overflow nor vanish; the unit has no gradient.
    unit = ops.stop_gradient(ops.max(differences, axis=-1, keepdims=True))
    apart = unit > 0
    unit = ops.where(apart, unit, 1.0)
    powers = ops.sum(ops.power(differences / unit, float(order)), axis=-1, keepdims=True)
    roots = ops.where(apart, ops.power(ops.where(apart, powers, 1.0), 1.0 / order), 0.0)
    return ops.squeeze(unit * roots, -1)


def chi_squared(p, q):
    """Chi-squared distance with the factor 1/2, 1/2 sum_i (p_i - q_i)^2 / (p_i + q_i), where 0/0 is 0.

    It is sum_i (p_i - m_i)^2 / m_i with m = (p + q) / 2, the form that Rubner et al. 2000 print as "chi-squared
    statistics". Without the factor 1/2 it is twice this, the triangular discrimination (Topsoe 2000).

    Args:
        p: Histogram (..., bins), at least 0, of any mass.
        q: Histogram (..., bins), likewise.

    Returns:
        Tensor (...), at least 0; at most 1 for histograms that sum to 1.

    Raises:
        ValueError: If shapes do not fit, or values are negative or not finite.

    Example:
        >>> float(chi_squared([1.0, 0.0], [0.0, 1.0]))
        1.0
    """
    p, q = as_histograms(p, q)
    total = p + q
    positive = total > 0
    terms = ops.where(positive, ops.square(p - q) / ops.where(positive, total, 1.0), 0.0)
    return answer(0.5 * ops.sum(terms, axis=-1), whole(p), whole(q))


def histogram_intersection(p, q):
    """Histogram intersection as a distance, 1 - sum_i min(p_i, q_i) / sum_i q_i.

    The share of q that p does not cover: 0 where p covers q, 1 where they do not overlap. Between histograms of the
    same mass it is symmetric and, at mass 1, the total variation distance.

    Source: Rubner et al. 2000, "Histogram intersection"; Swain and Ballard 1991, Color indexing, define the similarity
    sum min / sum q.

    Args:
        p: Histogram (..., bins), at least 0, of any mass.
        q: Histogram (..., bins) that is looked for in p, at least 0, with a mass above 0.

    Returns:
        Tensor (...), in [0, 1].

    Raises:
        ValueError: If shapes do not fit, values are negative or not finite, or q is empty.

    Example:
        >>> float(histogram_intersection([2.0, 1.0], [1.0, 3.0]))  # 1 - (1 + 1) / 4
        0.5
    """
    p, q = as_histograms(p, q)
    mass = ops.sum(q, axis=-1)
    fixed = ops.stop_gradient(mass)
    if has_values(fixed) and not (ops.convert_to_numpy(fixed) > 0).all():
        raise ValueError(
            "`q` has no mass: all bins of a histogram are 0, and the distance divides by their sum. Leave it out."
        )
    shared = ops.sum(ops.where(p < q, p, q), axis=-1)
    return answer(1.0 - shared / ops.where(mass > 0, mass, 1.0), whole(p), whole(q))


def _relative_entropy(p, q):
    """sum_i p_i log(p_i / q_i) with 0 log 0 = 0; infinite where some q_i = 0 < p_i."""
    occupied, covered = p > 0, q > 0
    logarithms = ops.log(ops.where(occupied, p, 1.0)) - ops.log(ops.where(covered, q, 1.0))
    terms = ops.where(ops.logical_and(occupied, covered), p * logarithms, 0.0)
    missed = ops.logical_and(occupied, ops.logical_not(covered))
    return ops.sum(ops.where(missed, float("inf"), terms), axis=-1)


def as_histograms(p, q, sum_to_one=False):
    """Two histograms as floating-point tensors of one type, checked."""
    p, q = ops.convert_to_tensor(p), ops.convert_to_tensor(q)
    half = any(dtype_of(histogram) in ("float16", "bfloat16") for histogram in (p, q))
    p, q = same_type(as_float(p), as_float(q))
    shapes = tuple(p.shape), tuple(q.shape)
    if not fit(*shapes):
        raise ValueError(
            "The histograms do not fit together. Expected shapes (..., bins) with the same bins and leading axes that "
            f"broadcast. Received: {shapes[0]} and {shapes[1]}."
        )
    if shapes[0][-1] == 0:
        raise ValueError(f"The histograms have no bins: shapes {shapes[0]} and {shapes[1]}. Expected at least one.")
    for name, histogram in (("p", p), ("q", q)):
        _check_values(name, ops.stop_gradient(histogram), sum_to_one, HALF_SUM_TOLERANCE if half else SUM_TOLERANCE)
    return p, q


def fit(first, second):
    """Whether two shapes have the same last axis, and others that broadcast; None fits any length."""
    pairs = zip(reversed(first), reversed(second), strict=False)
    lengths = [len({*pair} - {None}) < 2 or (place > 0 and 1 in pair) for place, pair in enumerate(pairs)]
    return bool(lengths) and all(lengths)


def _check_values(name, histogram, sum_to_one, tolerance):
    if not has_values(histogram):
        return
    values = ops.convert_to_numpy(histogram)
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(
            f"`{name}` must be finite and at least 0. Received: {np.count_nonzero(~(values >= 0))} values that are NaN "
            f"or negative and {np.count_nonzero(np.isinf(values))} that are infinite, of {values.size}."
        )
    sums = values.sum(axis=-1)
    if sum_to_one and not (np.abs(sums - 1) <= tolerance).all():
        raise ValueError(
            f"`{name}` must sum to 1 within {tolerance:g}. Received: sums {sums.min():.6g} ... {sums.max():.6g}. "
            "Divide histograms by their sum."
        )
