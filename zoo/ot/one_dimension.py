"""Exact optimal transport on the line, by sorting."""

import numbers

import numpy as np
from keras import ops

from zoo.ot.backend import has_values, wide
from zoo.ot.costs import absolute
from zoo.ot.inputs import (
    SUM_TOLERANCE,
    answer,
    as_float,
    dtype_of,
    refuse_empty,
    refuse_not_finite,
    same_type,
    weights_and_mask,
    whole,
)


def wasserstein_1d(source, target, source_weights=None, target_weights=None, *, p=1):
    """Optimal transport between samples on the line for the cost |x - y|^p: W_p^p, the p-th POWER of the distance.

    W_p^p = integral over t in [0, 1] of |F^-1(t) - G^-1(t)|^p, with F^-1 and G^-1 the quantile functions of the samples
    (Peyre and Cuturi 2019, Computational Optimal Transport, section 2.6). For the distance take the root,
    `value ** (1 / p)`. POT's `ot.wasserstein_1d` returns the same power.

    Exact for p >= 1 in O((n + m) log(n + m)), for any n and m. Gradients reach the samples and the weights, with the
    optimal order held fixed: it is constant almost everywhere. Weights are divided by their sum, so that the gradient
    in them is that of moving mass: sum_i a_i dW/da_i = 0.

    Args:
        source: Samples x, (n,) or (batch, n), floating point. float64 is computed as such, anything else in float32.
            (Keras 3.15 brings float64 arrays to float32 on NumPy, and cumulative weights on PyTorch.)
        target: Samples y, (m,) or (batch, m).
        source_weights: a, (n,) or (batch, n), at least 0, summing to 1. Uniform by default.
        target_weights: b, (m,) or (batch, m), likewise.
        p: Power of the cost, at least 1 and finite. Below 1 the cost is concave, and sorting is not optimal.

    Returns:
        Tensor () or (batch,), at least 0, in the p-th power of the samples' unit.

    Raises:
        ValueError: If `p` is below 1, shapes do not fit or a set is empty; and, where values can be read (not while a
            graph is traced), if samples are not finite, or weights are negative or do not sum to 1.

    Example:
        >>> float(wasserstein_1d(ops.array([0.0, 1.0]), ops.array([3.0, 2.0]), p=2))  # (2^2 + 2^2) / 2
        4.0
        >>> float(wasserstein_1d(ops.array([0.0, 1.0]), ops.array([2.0]), ops.array([0.25, 0.75])))  # 0.5 + 0.75
        1.25
    """
    if not isinstance(p, numbers.Real) or not 1 <= p < float("inf"):
        raise ValueError(
            f"`p` must be a finite number of at least 1: below it sorting is not optimal. Received: {p!r}. "
            "For other costs use `exact` or `sinkhorn`."
        )
    source, target = same_type(as_float(source), as_float(target))
    shapes = tuple(source.shape), tuple(target.shape)
    batches = shapes[0][:-1] + shapes[1][:-1]
    fit = len(shapes[0]) == len(shapes[1]) and len(shapes[0]) in (1, 2)
    if not fit or (len({*batches}) == 2 and None not in batches):
        raise ValueError(
            "The samples do not fit together. Expected shapes (n,) and (m,), or (batch, n) and (batch, m). "
            f"Received: {shapes[0]} and {shapes[1]}. For points of more coordinates see `exact` and `sinkhorn`."
        )
    refuse_empty(source=shapes[0], target=shapes[1])
    refuse_not_finite("Repair or remove those samples.", source=source, target=target)
    same_count = shapes[0][-1] == shapes[1][-1] and shapes[0][-1] is not None
    if source_weights is None and target_weights is None and same_count:
        value = ops.mean(_powers(ops.sort(source, axis=-1) - ops.sort(target, axis=-1), p), axis=-1)
        return answer(value, whole(source), whole(target))
    a, b = _weights("source", source_weights, source), _weights("target", target_weights, target)
    wholes = [whole(array) for array in (source, target, a, b) if array is not None]
    return answer(_between_quantiles(source, target, a, b, p), *wholes)


def _between_quantiles(source, target, a, b, p):
    """integral of |F^-1(t) - G^-1(t)|^p over t, (...)."""
    source, source_levels = _quantiles(source, a)
    target, target_levels = _quantiles(target, b)
    # Between two neighbours of the merged levels both quantile functions are constant.
    levels = ops.concatenate([source_levels, target_levels], axis=-1)
    order = ops.argsort(levels, axis=-1)
    levels = ops.take_along_axis(levels, order, axis=-1)
    lengths = levels - ops.pad(levels[..., :-1], [[0, 0]] * (len(levels.shape) - 1) + [[1, 0]])
    from_source = ops.cast(order < ops.shape(source)[-1], "int32")
    differences = _at(source, _earlier(from_source)) - _at(target, _earlier(1 - from_source))
    return ops.sum(ops.cast(lengths, dtype_of(source)) * _powers(differences, p), axis=-1)


def _powers(differences, p):
    """|differences|^p."""
    if p == 2:
        return ops.square(differences)
    return absolute(differences) if p == 1 else ops.power(absolute(differences), float(p))


def _quantiles(samples, weights):
    """Samples in ascending order, and the level up to which each is the quantile: the cumulative weights.

    Levels are float64 wherever there is one: in float32 their differences, one part in the number of samples, would
    keep only few digits.
    """
    exact = wide(samples)
    order = ops.argsort(samples, axis=-1)
    samples = ops.take_along_axis(samples, order, axis=-1)
    if weights is None:
        # k / n exactly rounded, so that levels such as 1/2 and 2/4 are equal.
        count = ops.shape(samples)[-1]
        steps = ops.cast(ops.arange(1, count + 1), exact) / ops.cast(count, exact)
        return samples, ops.broadcast_to(steps, ops.shape(samples))
    weights = ops.cast(weights, exact)
    weights = ops.take_along_axis(weights / ops.sum(weights, axis=-1, keepdims=True), order, axis=-1)
    return samples, ops.cumsum(weights, axis=-1)


def _earlier(flags):
    """How many of the flags (0 or 1) stand before each."""
    return ops.cumsum(flags, axis=-1) - flags


def _at(samples, places):
    """Samples at places, the last one beyond the end: there rounding keeps the last levels from meeting at 1."""
    return ops.take_along_axis(samples, ops.minimum(places, ops.shape(samples)[-1] - 1), axis=-1)


def _weights(side, weights, samples):
    """Weights of one side, (..., samples), checked; None stays None."""
    if weights is None:
        return None
    weights, _ = weights_and_mask(side, weights, None, samples)
    fixed = ops.stop_gradient(weights)
    if has_values(fixed):
        values = ops.convert_to_numpy(fixed)
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ValueError(f"`{side}_weights` must be finite and at least 0. Received: minimum {values.min():g}.")
        sums = values.sum(axis=-1)
        if not (np.abs(sums - 1) <= SUM_TOLERANCE).all():
            raise ValueError(
                f"Weights must sum to 1 within {SUM_TOLERANCE:g}. Received: {side}_weights sum to "
                f"{sums.min():.6g} ... {sums.max():.6g}. Divide them by their sum."
            )
    return weights
