"""What a user passes to a solver, brought to one form and checked."""

import functools
import numbers
from typing import NamedTuple

import numpy as np
from keras import ops

from zoo.checks import check_finite
from zoo.ot.backend import has_values

# Weights count as normalised when their sum is this close to 1.
SUM_TOLERANCE = 1e-4
# The smallest usable epsilon is max |C| / LARGEST_EXPONENT: there rounding moves an exponent (f + g - C) / epsilon by
# about LARGEST_EXPONENT times the machine's precision, 1 % in float32.
LARGEST_EXPONENT = {"float32": 1e5, "float64": 1e13}


# What those need who pass points, or measures first as other libraries take them.
_USAGE = "It takes a cost: `sinkhorn(ot.squared_euclidean(x, y), 0.1)`. For points: `sinkhorn_divergence(x, y, 0.1)`."


class Problem(NamedTuple):
    """Transport problems in float32 or float64, with or without a batch axis; padding has weight 0 and cost 0."""

    cost: object  # (..., n, m)
    epsilon: object  # (...)
    source_weights: object  # (..., n)
    target_weights: object  # (..., m)
    source_valid: object  # (..., n), 1 at points, 0 at padding; None where nothing is padded
    target_valid: object  # (..., m)


def as_points(source, target):
    """Two sets of points as floating-point tensors of one type; shapes and, where they can be read, values checked."""
    source, target = as_float(source), as_float(target)
    shapes = tuple(source.shape), tuple(target.shape)
    batches = shapes[0][:-2], shapes[1][:-2]
    fit = len(shapes[0]) == len(shapes[1]) and len(shapes[0]) in (2, 3)
    if not fit or shapes[0][-1] != shapes[1][-1] or (batches[0] != batches[1] and None not in batches[0] + batches[1]):
        raise ValueError(
            "The points do not fit together. Expected shapes (n, d) and (m, d), or (batch, n, d) and (batch, m, d). "
            f"Received: {shapes[0]} and {shapes[1]}. Flatten each point to one axis: `x.reshape(len(x), -1)`."
        )
    refuse_empty(source=shapes[0], target=shapes[1])
    refuse_not_finite(
        "Remove or repair those points; replace what a mask leaves out by any number, such as 0.",
        source=source,
        target=target,
    )
    return same_type(source, target)


def as_float(array):
    """A tensor in float32, or in float64 where it came so: transport is never computed in half precision."""
    tensor = ops.convert_to_tensor(array)
    if dtype_of(tensor).startswith("complex"):
        raise ValueError(f"Costs and points must be real numbers. Received: {dtype_of(tensor)}. Take their real part.")
    return tensor if dtype_of(tensor) == "float64" else ops.cast(tensor, "float32")


def without_padding(points, mask):
    """Points with a copy of the first that counts in place of padding, whose content then has no part in any cost.

    Args:
        points: (n, d) or (batch, n, d); anything else stays as it is.
        mask: True at points, False at padding, (n,) or (batch, n); None, or what does not fit, leaves the points alone.

    Returns:
        Tensor of the points' shape, 0 where all is padding. No gradient passes to or through the copies.
    """
    if mask is None:
        return points
    points, mask = ops.convert_to_tensor(points), ops.cast(ops.convert_to_tensor(mask), "bool")
    shape = tuple(points.shape)
    if len(shape) not in (2, 3) or len(mask.shape) not in (1, len(shape) - 1):
        return points
    if any(None not in pair and pair[0] != pair[1] for pair in zip(mask.shape[::-1], shape[-2::-1], strict=False)):
        return points
    mask = ops.broadcast_to(mask, ops.shape(points)[:-1])[..., None]
    first = ops.argmax(ops.cast(mask, "int32"), axis=-2, keepdims=True)
    copy = ops.stop_gradient(ops.take_along_axis(points, first, axis=-2))
    return ops.where(mask, points, ops.where(ops.any(mask, axis=-2, keepdims=True), copy, ops.zeros_like(copy)))


def line(vector):
    """A vector per problem, (..., m), as one row of a matrix: (..., 1, m)."""
    return vector[..., None, :]


def column(vector):
    """A vector per problem, (..., n), as one column of a matrix: (..., n, 1)."""
    return vector[..., None]


def tensors(*arguments):
    """Arguments as tensors, which compile once for all their values; None stays None."""
    return tuple(None if argument is None else as_tensor(argument) for argument in arguments)


def as_tensor(argument):
    """A tensor; of a Python number with all its digits, which the backends' default type would cut to float32."""
    return ops.convert_to_tensor(np.float64(argument) if isinstance(argument, float) else argument)


def same_type(*tensors):
    """The tensors in the widest of their types."""
    wide = "float64" if any(dtype_of(tensor) == "float64" for tensor in tensors) else "float32"
    return tuple(ops.cast(tensor, wide) for tensor in tensors)


def dtype_of(tensor):
    """The name of a tensor's type, the same on every backend."""
    import keras

    return keras.backend.standardize_dtype(tensor.dtype)


def check_strength(name, value):
    """Raises where `value` can be no strength of a regularisation, before it is made a tensor."""
    if value is None or isinstance(value, (str, bool)):
        raise ValueError(f"`{name}` must be a number above 0. Received: {value!r}.")


def check_tolerance(tolerance):
    """Raises where an error cannot be compared with `tolerance`."""
    _check_number("tolerance", tolerance, "at least 0", "0 never stops early.", lambda number: number >= 0)


def check_penalty(penalty):
    """Raises where `penalty` can be no marginal penalty."""
    if penalty is not None:
        advice = "It holds for both sides and all problems; None keeps the marginals exact."
        _check_number("marginal_penalty", penalty, "above 0", advice, lambda number: 0 < number < float("inf"))


def _check_number(name, value, expected, advice, good):
    """Raises where `value` is no number, or array of no axes, that is `good`; one that is traced has no value yet."""
    shape = getattr(value, "shape", None)
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool) if shape is None else tuple(shape) == ()
    if not is_number or ((shape is None or has_values(value)) and not good(float(value))):
        received = f"an array of shape {tuple(shape)}" if shape else repr(value)
        raise ValueError(f"`{name}` must be {expected}, one number. Received: {received}. {advice}")


def prepare(cost, epsilon, source_weights=None, target_weights=None, source_mask=None, target_mask=None):
    """The `Problem` that the user passed.

    Raises:
        ValueError: If shapes do not fit, or a set is empty.
    """
    cost = as_float(cost)
    shape = tuple(cost.shape)
    if len(shape) not in (2, 3):
        raise ValueError(f"`cost` must have shape (n, m) or (batch, n, m). Received: shape {shape}. {_USAGE}")
    refuse_empty(cost=shape)
    epsilon = ops.cast(as_tensor(epsilon), dtype_of(cost))
    if len(epsilon.shape) > 1 or (
        len(epsilon.shape) == 1 and (len(shape) == 2 or epsilon.shape[0] not in (None, shape[0]))
    ):
        raise ValueError(
            "`epsilon` must be a number, or have shape (batch,) beside a cost of shape (batch, n, m). "
            f"Received: shape {tuple(epsilon.shape)} with a cost of shape {shape}. {_USAGE}"
        )
    epsilon = ops.broadcast_to(epsilon, ops.shape(cost)[:-2])
    source_weights, source_valid = weights_and_mask("source", source_weights, source_mask, cost[..., 0])
    target_weights, target_valid = weights_and_mask("target", target_weights, target_mask, cost[..., 0, :])
    if source_valid is None and target_valid is None:
        return Problem(cost, epsilon, source_weights, target_weights, None, None)
    # Where one side is all padding there is nothing to move, so that the other side counts as padding too.
    source_valid = ops.ones_like(source_weights) if source_valid is None else source_valid
    target_valid = ops.ones_like(target_weights) if target_valid is None else target_valid
    some = ops.max(source_valid, axis=-1, keepdims=True) * ops.max(target_valid, axis=-1, keepdims=True)
    source_valid, target_valid = source_valid * some, target_valid * some
    cost = ops.where(column(source_valid) * line(target_valid) > 0, cost, ops.zeros_like(cost))
    return Problem(
        cost, epsilon, source_weights * source_valid, target_weights * target_valid, source_valid, target_valid
    )


def weights_and_mask(side, weights, mask, like):
    """Weights (..., points) of one side, uniform unless given, and its mask as numbers or None.

    Args:
        side: "source" or "target".
        weights: What the user passed, or None.
        mask: What the user passed, or None.
        like: Tensor of the shape (..., points) and the type of the weights.
    """
    expected = tuple(like.shape)

    def fit(name, array):
        shape = tuple(array.shape)
        known = len(shape) in range(1, len(expected) + 1)
        if not known or any(
            None not in pair and pair[0] != pair[1] for pair in zip(shape[::-1], expected[::-1], strict=False)
        ):
            choices = f"({expected[-1]},)" + (" or (batch, points), here " + str(expected) if len(expected) > 1 else "")
            raise ValueError(f"`{side}_{name}` must have shape {choices}. Received: shape {shape}.")
        return ops.broadcast_to(ops.cast(array, dtype_of(like)), ops.shape(like))

    if mask is not None:
        mask = ops.convert_to_tensor(mask)
        if "float" in dtype_of(mask):
            raise ValueError(
                f"`{side}_mask` must be boolean or whole numbers, 0 at padding. Received: {dtype_of(mask)}. Were these "
                f"weights? Pass `{side}_weights`."
            )
        mask = fit("mask", ops.cast(mask, "bool"))
    if weights is not None:
        weights = fit("weights", ops.convert_to_tensor(weights))
        return (weights if mask is None else ops.where(mask > 0, weights, ops.zeros_like(weights))), mask
    if mask is None:
        return ops.ones_like(like) / ops.cast(ops.shape(like)[-1], dtype_of(like)), None
    return mask / ops.maximum(ops.sum(mask, axis=-1, keepdims=True), 1), mask


def constant(problem):
    """The problem, with all gradients stopped."""
    return Problem(*(None if member is None else ops.stop_gradient(member) for member in problem))


def without_lone_batch(problem):
    """The problem, without the axis of a batch of one, and a function that gives it back to a result.

    XLA multiplies a batch of one on a CPU six to ten times slower than the same matrices without a batch axis.
    """
    if len(problem.cost.shape) == 2 or problem.cost.shape[0] != 1:
        return problem, lambda result: result

    def restored(result):
        return type(result)(*(None if member is None else member[None] for member in result))

    return Problem(*(None if member is None else member[0] for member in problem)), restored


def refuse_empty(**shapes):
    """Raises where a shape has an axis of length 0."""
    for name, shape in shapes.items():
        if 0 in shape:
            raise ValueError(f"`{name}` is empty: shape {shape}. Expected at least one point on each side.")


def refuse_not_finite(advice, **arrays):
    """Raises where an array holds NaN or infinite values, if they can be read: not while a graph is traced."""
    for name, array in arrays.items():
        fixed = ops.stop_gradient(array)
        if has_values(fixed):
            check_finite(f"`{name}` holds", ops.convert_to_numpy(fixed), advice)


def faults(problem, balanced, largest_exponent=LARGEST_EXPONENT):
    """What is wrong with the values of each problem: booleans (6, ...) in the order of `_message`.

    Costs are looked at by plain maxima and minima, which XLA takes several times faster than any function of all
    entries. Those may pass over a NaN, for which see `not_numbers`.
    """
    cost, epsilon, source, target, source_valid, _ = problem
    some = ops.ones_like(epsilon) if source_valid is None else ops.max(source_valid, axis=-1)
    largest = ops.maximum(ops.max(cost, axis=(-2, -1)), -ops.min(cost, axis=(-2, -1)))
    sums = ops.where(some > 0, ops.stack([ops.sum(source, axis=-1), ops.sum(target, axis=-1)]), 1.0)
    lowest = ops.minimum(ops.min(source, axis=-1), ops.min(target, axis=-1))
    off = ops.max(ops.abs(sums - 1.0), axis=0) if balanced else ops.zeros_like(epsilon)
    right = [
        ops.isfinite(largest),
        ops.logical_and(lowest >= 0, ops.all(ops.isfinite(sums), axis=0)),
        ops.all(sums > 0, axis=0),
        off <= SUM_TOLERANCE,
        ops.logical_and(epsilon > 0, ops.isfinite(epsilon)),
        epsilon * largest_exponent[dtype_of(cost)] >= largest,
    ]
    return ops.logical_not(ops.stack(right))


def not_numbers(wrong, *values):
    """The answer of `faults`, with costs at fault also where a value is not finite: any entry of C spoils <P, C>."""
    good = ops.all(ops.isfinite(ops.stack(values)), axis=0)
    return ops.concatenate([ops.logical_or(wrong[:1], ops.logical_not(good)[None]), wrong[1:]])


def spoiled(values, wrong):
    """The values (..., any axes), not a number where a problem is at fault: what a graph says instead of an error."""
    wrong = ops.any(wrong, axis=0)
    while len(wrong.shape) < len(values.shape):
        wrong = wrong[..., None]
    return ops.where(wrong, float("nan"), values)


def answer(value, *wholes):
    """The value of a function whose inputs were checked, where that could be.

    Args:
        value: Tensor (...).
        wholes: Tensors (...) of bool, False where an input holds what is not finite.

    Returns:
        In a graph, where nothing was checked: the value, NaN where an input is not finite. Else the value.

    Raises:
        ValueError: If the value can be read and is not a number.
    """
    if not has_values(value):
        return ops.where(functools.reduce(ops.logical_and, wholes), value, float("nan"))
    bad = np.count_nonzero(np.isnan(ops.convert_to_numpy(ops.stop_gradient(value))))
    if bad:
        raise ValueError(
            f"The inputs leave the range of {dtype_of(value)}: {bad} of the values are not numbers. Scale the inputs "
            "so that none is larger than about 1e10, or pass float64."
        )
    return value


def whole(array, axes=1):
    """Whether all numbers along the last axes are finite, (...)."""
    return ops.all(ops.isfinite(array), axis=tuple(range(-axes, 0)))


def raise_faults(found, *arguments, strength="epsilon", largest_exponent=LARGEST_EXPONENT):
    """Raises what `faults` found, if anything, and if the values can be read: not while a graph is traced.

    Args:
        found: The answer of `faults`.
        arguments: Those of `prepare`.
        strength: What the user calls epsilon.
        largest_exponent: What `faults` took.

    Raises:
        ValueError: With what was expected, what was received and how to mend it.
    """
    if has_values(found) and np.any(ops.convert_to_numpy(found)):
        problem = prepare(*arguments)
        report(found, problem, strength, largest_exponent)
        raise_lost(problem, strength)


def raise_lost(problem, strength):
    """Raises where the inputs are right, and yet what came out is not a number."""
    cost, epsilon = (ops.convert_to_numpy(ops.stop_gradient(array)) for array in problem[:2])
    raise ValueError(
        f"The iterations left the range of {dtype_of(problem.cost)}, with costs up to {np.abs(cost).max():g} and "
        f"{strength} from {epsilon.min():g}. Scale the costs to about 1 and {strength} with them, raise {strength}, or "
        "pass the cost in float64."
    )


def report(found, problem, strength, largest_exponent=LARGEST_EXPONENT):
    """Raises the first fault that was found in any problem."""
    found = np.reshape(ops.convert_to_numpy(found), (len(found), -1)).any(axis=1)
    found[0] = not np.all(np.isfinite(ops.convert_to_numpy(ops.stop_gradient(problem.cost))))
    if not found.any():
        return
    fault = int(np.argmax(found))
    cost, epsilon, source, target = (ops.convert_to_numpy(ops.stop_gradient(array)) for array in problem[:4])
    raise ValueError(_message(fault, cost, epsilon, source, target, strength, largest_exponent))


def _message(fault, cost, epsilon, source, target, strength, largest_exponent):
    if fault == 0:
        bad = cost.size - np.count_nonzero(np.isfinite(cost))
        return (
            f"The cost holds {bad} values that are NaN or infinite, of {cost.size}. Expected finite numbers. "
            "Repair the points or the cost; to forbid a pair, use a mask or a large finite cost."
        )
    sides = {"source_weights": source, "target_weights": target}
    lowest = {name: weights.min() for name, weights in sides.items()}
    sums = {name: weights.sum(axis=-1) for name, weights in sides.items()}
    ranges = ", ".join(f"{name} sum to {total.min():.6g} ... {total.max():.6g}" for name, total in sums.items())
    if fault == 1:
        name = min(lowest, key=lambda name: np.nan_to_num(lowest[name], nan=-np.inf))
        return f"`{name}` must be finite and at least 0. Received: minimum {lowest[name]:g}."
    if fault == 2:
        return f"The weights of a problem have no mass. Received: {ranges}. To leave a problem out, mask its points."
    if fault == 3:
        return (
            f"Weights must sum to 1 within {SUM_TOLERANCE:g}. Received: {ranges}. Divide them by their sum, or pass "
            "`marginal_penalty` for measures of different mass."
        )
    if fault == 4:
        bad = np.extract(~((epsilon > 0) & np.isfinite(epsilon)), epsilon)[0]
        if bad == np.inf:
            return f"`{strength}` must be finite and above 0. Received: inf. In its limit the plan is a b^T."
        return f"`{strength}` must be above 0. Received: {bad:g}. For the unregularised problem use `exact`."
    name = cost.dtype.name
    smallest = np.abs(cost).max(axis=(-2, -1)) / largest_exponent[name]
    worst = np.unravel_index(np.argmax(smallest / epsilon), epsilon.shape)
    advice = "pass the cost in float64, or use `exact`" if name == "float32" else "or use `exact`"
    return (
        f"`{strength}` is too small for {name}: {epsilon[worst]:g} with costs up to {np.abs(cost[worst]).max():g}. "
        f"The smallest usable {strength} for these costs is {smallest[worst]:.3g}. Raise it, {advice}."
    )
