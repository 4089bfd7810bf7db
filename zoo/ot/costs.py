"""Ground costs between two sets of points: what it costs to move one unit of mass from x_i to y_j."""

from keras import ops

from zoo.ot.inputs import as_points

# Up to this many coordinates, differences are taken one by one: exact also for points that nearly coincide.
FEW_COORDINATES = 4


def squared_euclidean(source, target):
    """Squared Euclidean cost, C_ij = ||x_i - y_j||^2.

    Beyond four coordinates it is the expansion ||x||^2 + ||y||^2 - 2 x.y around the mean of the targets, one matrix
    product, with a rounding error of about 1e-7 times the squared spread of the points.

    Args:
        source: Points x, (n, d) or (batch, n, d), floating point.
        target: Points y, (m, d) or (batch, m, d).

    Returns:
        Tensor (n, m) or (batch, n, m), at least 0; float32, or float64 where an input is.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> squared_euclidean(ops.array([[0.0], [1.0]]), ops.array([[3.0]]))  # [[9.], [4.]]
    """
    source, target = as_points(source, target)
    dimension = source.shape[-1]
    if dimension is not None and dimension <= FEW_COORDINATES:
        differences = (source[..., :, None, axis] - target[..., None, :, axis] for axis in range(dimension))
        return sum(ops.square(difference) for difference in differences)
    center = ops.stop_gradient(ops.mean(target, axis=-2, keepdims=True))
    source, target = source - center, target - center
    squares = ops.sum(ops.square(source), axis=-1)[..., :, None] + ops.sum(ops.square(target), axis=-1)[..., None, :]
    return ops.relu(squares - 2.0 * ops.matmul(source, ops.swapaxes(target, -1, -2)))


def euclidean(source, target):
    """Euclidean cost, C_ij = ||x_i - y_j||, with gradient 0 where two points coincide.

    Args:
        source: Points x, (n, d) or (batch, n, d), floating point.
        target: Points y, (m, d) or (batch, m, d).

    Returns:
        Tensor (n, m) or (batch, n, m), at least 0.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> euclidean(ops.array([[0.0, 0.0]]), ops.array([[3.0, 4.0]]))  # [[5.]]
    """
    return safe_sqrt(squared_euclidean(source, target))


def cosine(source, target):
    """Cosine cost, C_ij = 1 - <x_i, y_j> / (||x_i|| ||y_j||); a point at the origin costs 1 to move anywhere.

    Args:
        source: Features x, (n, d) or (batch, n, d), floating point.
        target: Features y, (m, d) or (batch, m, d).

    Returns:
        Tensor (n, m) or (batch, n, m), in [0, 2].

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> cosine(ops.array([[1.0, 0.0]]), ops.array([[2.0, 0.0], [0.0, 1.0]]))  # [[0., 1.]]
    """
    source, target = as_points(source, target)
    return 1.0 - ops.matmul(unit(source), ops.swapaxes(unit(target), -1, -2))


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
        ValueError: If `cost` has no such name, or the shapes do not fit.

    Example:
        >>> cost_matrix(x, y, cost=lambda x, y: 1.0 - kernel(x, y))
    """
    if callable(cost):
        return cost(source, target)
    if cost not in COSTS:
        names = ", ".join(map(repr, COSTS))
        raise ValueError(f"`cost` must be {names} or a function of two sets of points. Received: {cost!r}.")
    return COSTS[cost](source, target)


def unit(features):
    """Features of length 1 along the last axis; the origin stays, with a gradient of 0."""
    squared = ops.sum(ops.square(features), axis=-1, keepdims=True)
    return features / ops.where(squared > 0, safe_sqrt(squared), 1.0)


def safe_sqrt(squared):
    """Square root with gradient 0 at 0."""
    positive = squared > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, squared, 1.0)), 0.0)


def absolute(values):
    """|x| with gradient 0 at 0: that of JAX's own is 1."""
    return values * ops.sign(ops.stop_gradient(values))
