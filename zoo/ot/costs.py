"""Ground costs between two sets of points: what it costs to move one unit of mass from x_i to y_j."""

from keras import ops

from zoo.ot.backend import has_values, wide
from zoo.ot.inputs import as_points, column, dtype_of, line, refuse_not_finite

# Up to this many coordinates, differences are taken one by one: exact also for points that nearly coincide.
FEW_COORDINATES = 4
# Two points are near where their squared distance is less than this share of their squared distance from the center:
# there the rounding of an expansion, 1e-7 of the latter in float32, would show.
NEAR = 1 / 256
# Squared distances below this many roundings of the squares they are the difference of count as 0.
ROUNDINGS = 16
PRECISION = {"float32": 2.0**-24, "float64": 2.0**-53}


def squared_euclidean(source, target):
    """Squared Euclidean cost, C_ij = ||x_i - y_j||^2.

    Beyond four coordinates it is the expansion ||x||^2 + ||y||^2 - 2 x.y around the mean of the targets, one matrix
    product; in float64 where some points are so near each other that rounding in float32 would show. So costs are right
    to a relative 1e-4 and to 1e-6 of the squared distance from the mean, whichever is less, and two points that are
    nearer than 1e-7 of their distance from the mean cost 0, also in float64. Where there is no float64, as on
    NumPy, and on JAX unless `jax_enable_x64` is set, that is 2e-3 in place of 1e-7.

    Args:
        source: Points x, (n, d) or (batch, n, d), floating point.
        target: Points y, (m, d) or (batch, m, d).

    Returns:
        Tensor (n, m) or (batch, n, m), at least 0; float32, or float64 where an input is.

    Raises:
        ValueError: If the shapes do not fit, or points are not finite where values can be read. In a graph the costs
            of such a point are NaN, with a gradient of 0.

    Example:
        >>> np.array(squared_euclidean(ops.array([[0.0], [1.0]]), ops.array([[3.0]])))
        array([[9.],
               [4.]], dtype=float32)
    """
    return between_points(_squared, source, target)


def euclidean(source, target):
    """Euclidean cost, C_ij = ||x_i - y_j||, with gradient 0 where two points coincide.

    Args:
        source: Points x, (n, d) or (batch, n, d), floating point.
        target: Points y, (m, d) or (batch, m, d).

    Returns:
        Tensor (n, m) or (batch, n, m), at least 0.

    Raises:
        ValueError: As `squared_euclidean`.

    Example:
        >>> np.round(euclidean(ops.array([[0.0, 0.0]]), ops.array([[3.0, 4.0]])), 4)
        array([[5.]], dtype=float32)
    """
    return between_points(lambda *points: safe_sqrt(_squared(*points)), source, target)


def cosine(source, target):
    """Cosine cost, C_ij = 1 - <x_i, y_j> / (||x_i|| ||y_j||); a point at the origin costs 1 to move anywhere.

    Args:
        source: Features x, (n, d) or (batch, n, d), floating point.
        target: Features y, (m, d) or (batch, m, d).

    Returns:
        Tensor (n, m) or (batch, n, m), in [0, 2], with a rounding error of about 1e-7 in float32.

    Raises:
        ValueError: As `squared_euclidean`.

    Example:
        >>> np.abs(np.round(cosine(ops.array([[1.0, 0.0]]), ops.array([[2.0, 0.0], [0.0, 1.0]])), 4))
        array([[0., 1.]], dtype=float32)
    """
    return between_points(_cosine, source, target)


COSTS = {"squared_euclidean": squared_euclidean, "euclidean": euclidean, "cosine": cosine}


def cost_matrix(source, target, cost="squared_euclidean"):
    """The cost matrix of two sets of points.

    Args:
        source: Points, (n, d) or (batch, n, d); whatever `cost` takes where it is a function.
        target: Points, (m, d) or (batch, m, d).
        cost: "squared_euclidean", "euclidean", "cosine", or a function of (source, target).

    Returns:
        Tensor (n, m) or (batch, n, m).

    Raises:
        ValueError: If `cost` has no such name, the shapes do not fit, or points or what the function gives are not
            finite where values can be read.

    Example:
        >>> x, y = ops.array([[0.0], [1.0]]), ops.array([[3.0]])
        >>> np.round(cost_matrix(x, y, cost="euclidean"), 4)
        array([[3.],
               [2.]], dtype=float32)
        >>> np.round(cost_matrix(x, y, cost=lambda x, y: 1.0 - ops.exp(x - ops.transpose(y))), 4)
        array([[0.9502],
               [0.8647]], dtype=float32)
    """
    if callable(cost):
        matrix = cost(source, target)
        refuse_not_finite("Repair the points or the function.", cost=ops.convert_to_tensor(matrix))
        return matrix
    if not isinstance(cost, str) or cost not in COSTS:
        names = ", ".join(map(repr, COSTS))
        raise ValueError(f"`cost` must be {names} or a function of two sets of points. Received: {cost!r}.")
    return COSTS[cost](source, target)


def between_points(function, source, target):
    """A cost between two sets of points; in a graph NaN at points that are not finite, with a gradient of 0.

    So the gradient of costs that a mask leaves out is 0 whatever the padding holds, where 0 times NaN would be NaN.
    """
    same = source is target
    source, target = as_points(source, target)
    if has_values(source) and has_values(target):
        return function(source, target, same)
    wholes = [ops.all(ops.isfinite(points), axis=-1) for points in (source, target)]
    source, target = (
        ops.where(column(whole), points, 0.0) for points, whole in zip((source, target), wholes, strict=True)
    )
    good = ops.logical_and(column(wholes[0]), line(wholes[1]))
    return ops.where(good, function(source, target, same), float("nan"))


def _squared(source, target, same):
    """Squared distances (..., n, m) of finite points; `same` if both are one."""
    dimension = source.shape[-1]
    if dimension is not None and dimension <= FEW_COORDINATES:
        differences = (source[..., :, None, axis] - target[..., None, :, axis] for axis in range(dimension))
        return sum(ops.square(difference) for difference in differences)
    center = ops.stop_gradient(ops.mean(target, axis=-2, keepdims=True))
    squared, exact = expansion(source - center, target - center), wide(source)
    # The distances of points from themselves are known, and no reason to compute the others in float64.
    itself = ops.eye(source.shape[-2], dtype="bool") if same and source.shape[-2] is not None else None
    if dtype_of(source) != exact:
        others = ops.stop_gradient(squared)
        others = others if itself is None else ops.where(itself, float("inf"), others)
        reach = ops.stop_gradient(ops.sum(ops.square(source - center), axis=-1))
        wider = [ops.cast(points, exact) - ops.cast(center, exact) for points in (source, target)]
        squared = ops.cond(
            ops.any(ops.min(others, axis=-1) < NEAR * reach),
            lambda: ops.cast(expansion(*wider), dtype_of(source)),
            lambda: squared,
        )
    return squared if itself is None else ops.where(itself, 0.0, squared)


def expansion(source, target):
    """||x||^2 + ||y||^2 - 2 x.y, (..., n, m), 0 where it is no more than rounding."""
    squares = column(ops.sum(ops.square(source), axis=-1)) + line(ops.sum(ops.square(target), axis=-1))
    squared = squares - 2.0 * ops.matmul(source, ops.swapaxes(target, -1, -2))
    return ops.where(squared <= ROUNDINGS * PRECISION[dtype_of(squared)] * squares, 0.0, squared)


def _cosine(source, target, _):
    return ops.relu(1.0 - ops.matmul(unit(source), ops.swapaxes(unit(target), -1, -2)))


def unit(features):
    """Features of length 1 along the last axis; the origin stays, with a gradient of 0."""
    # In units of the largest coordinate, squares neither overflow nor vanish.
    largest = ops.stop_gradient(ops.max(ops.abs(features), axis=-1, keepdims=True))
    origin = largest == 0
    features = ops.where(origin, 0.0, features / ops.where(origin, 1.0, largest))
    squared = ops.sum(ops.square(features), axis=-1, keepdims=True)
    return features / ops.where(origin, 1.0, safe_sqrt(squared))


def safe_sqrt(squared):
    """Square root with gradient 0 at 0; what is not a number stays so."""
    nothing = squared <= 0
    return ops.where(nothing, 0.0, ops.sqrt(ops.where(nothing, 1.0, squared)))


def absolute(values):
    """|x| with gradient 0 at 0: that of JAX's own is 1."""
    return values * ops.sign(ops.stop_gradient(values))
