"""Entropic optimal transport between large sets of points, whose cost matrix is never held."""

import math

import numpy as np
from keras import ops

from zoo.checks import check_choice, check_positive
from zoo.ot.backend import compiled, has_values, wide
from zoo.ot.convergence import warn_unconverged
from zoo.ot.costs import COSTS, FEW_COORDINATES, expansion, safe_sqrt, unit
from zoo.ot.inputs import (
    Problem,
    as_points,
    check_strength,
    check_tolerance,
    column,
    dtype_of,
    faults,
    line,
    not_numbers,
    raise_lost,
    report,
    spoiled,
    tensors,
    weights_and_mask,
)
from zoo.ot.sinkhorn import SinkhornResult, negative_entropy
from zoo.ot.solvers import LARGEST_LOG, miss, times, times_transposed

# Entries of the cost matrix that are held at a time, unless the user says otherwise: 16 MB in float32.
BLOCK_ENTRIES = 2**22
REMEDY = (
    "Values and gradients are off. Raise `max_iterations`, or `epsilon`; or `tolerance`, if so large an error does."
)


def point_cloud_sinkhorn(
    source,
    target,
    epsilon,
    source_weights=None,
    target_weights=None,
    *,
    cost="squared_euclidean",
    tolerance=1e-4,
    max_iterations=1000,
    block_size=None,
    jit_compile=True,
):
    """Entropic optimal transport between two large sets of points, in memory of n + m instead of n m.

    The problem and the values of `sinkhorn`, from costs that are computed again in each iteration, some rows at a
    time, with one exponential for each pair. Potentials are absorbed after each half iteration, which needs no log
    domain: from f_i = min_j C_ij and g_j = min_i C_ij - f_i, over points that have weight, no update moves a potential
    by more than eps log(1 / smallest weight), since updates do not expand distances in the maximum norm. Points of
    weight 0 follow the others and change nothing.

    Gradients hold the plan fixed (envelope theorem) and reach the points and, through `regularized_cost` and
    `entropic_cost`, the weights.

    Args:
        source: Points x, (n, d), floating point.
        target: Points y, (m, d).
        epsilon: Strength of the regularisation in the unit of the cost, a number above 0.
        source_weights: a, (n,), at least 0, summing to 1. Uniform by default.
        target_weights: b, (m,), likewise.
        cost: "squared_euclidean", "euclidean" or "cosine".
        tolerance: Stop when sum_i |sum_j P_ij - a_i| is below this; 0 never stops, and never warns.
        max_iterations: Bound of the iterations.
        block_size: Rows of the cost matrix that are held at a time; by default as many as make 16 MB in float32.
        jit_compile: False leaves XLA out.

    Returns:
        `SinkhornResult` without a plan.

    Warns:
        ConvergenceWarning: As `sinkhorn`.

    Raises:
        ValueError: As `sinkhorn`; for costs other than the three, and for points with a batch axis.

    Example:
        >>> x, y = ops.array([[0.0, 0.0], [3.0, 0.0]]), ops.array([[0.0, 4.0], [3.0, 4.0]])
        >>> result = point_cloud_sinkhorn(x, y, epsilon=0.5)
        >>> round(float(result.transport_cost), 3), bool(result.converged)  # both move by 4, squared
        (16.0, True)
    """
    check_strength("epsilon", epsilon)
    check_choice("cost", cost, tuple(COSTS))
    check_positive("max_iterations", max_iterations)
    check_tolerance(tolerance)
    source, target = as_points(source, target)
    if len(source.shape) != 2 or None in tuple(source.shape) + tuple(target.shape):
        raise ValueError(
            "`point_cloud_sinkhorn` solves one problem of known size. Expected points of shape (n, d) and (m, d). "
            f"Received: {tuple(source.shape)} and {tuple(target.shape)}. For batches use `sinkhorn`."
        )
    if len(ops.convert_to_tensor(epsilon).shape) > 0:
        raise ValueError(
            "`epsilon` must be a number: `point_cloud_sinkhorn` solves one problem. "
            f"Received: shape {tuple(ops.convert_to_tensor(epsilon).shape)}."
        )
    if block_size is None:
        block_size = max(1, BLOCK_ENTRIES // target.shape[0])
    check_positive("block_size", block_size)
    result, wrong, problem = _point_cloud(
        source,
        target,
        *tensors(epsilon, source_weights, target_weights, tolerance, max_iterations),
        cost=cost,
        rows=min(block_size, source.shape[0]),
        jit_compile=jit_compile,
    )
    if has_values(wrong) and np.any(ops.convert_to_numpy(wrong)):
        report(wrong, problem, "epsilon")
        raise_lost(problem, "epsilon")
    warn_unconverged("point_cloud_sinkhorn", result, tolerance, max_iterations, remedy=REMEDY)
    return result


@compiled
def _point_cloud(source, target, epsilon, source_weights, target_weights, tolerance, max_iterations, *, cost, rows):
    a, _ = weights_and_mask("source", source_weights, None, source[:, 0])
    b, _ = weights_and_mask("target", target_weights, None, target[:, 0])
    epsilon, tolerance = ops.cast(epsilon, dtype_of(source)), ops.cast(tolerance, dtype_of(source))
    x, y = (unit(source), unit(target)) if cost == "cosine" else (source, target)
    problem = Problem(_largest_cost(x, y, a, b, cost), epsilon, a, b, None, None)
    wrong = faults(problem, balanced=True)

    padding = -source.shape[0] % rows
    fixed = ops.stop_gradient(ops.pad(x, [[0, padding], [0, 0]])), ops.stop_gradient(y)
    weights = ops.stop_gradient(ops.pad(a, [[0, padding]])), ops.stop_gradient(b)
    blocks = Blocks(*fixed, *weights, epsilon, cost, rows, source.shape[0])
    # A problem at fault is not tried, so that its error comes at once.
    limit = ops.where(ops.any(wrong), 0, max_iterations)
    f, g, error, iterations = map(ops.stop_gradient, blocks.solve(tolerance, limit))
    transport, *sums = map(ops.stop_gradient, blocks.summarise(f, g))
    row_weights, moved, column_weights, moved_back, rows_of_plan, columns_of_plan = sums
    f, row_weights, moved, rows_of_plan = (array[: source.shape[0]] for array in (f, row_weights, moved, rows_of_plan))

    # The gradient of sum_ij W_ij ||x_i - y_j||^2 in x and y, with W = P dC / d||x - y||^2 held fixed.
    pull = ops.sum(row_weights * ops.sum(ops.square(x), axis=-1)) + ops.sum(
        column_weights * ops.sum(ops.square(y), axis=-1)
    )
    pull = pull - 2.0 * (ops.sum(x * moved) + ops.sum(y * moved_back))
    pull = pull - ops.stop_gradient(pull)
    regularized = ops.sum(f * a) + ops.sum(g * b) + pull
    entropic = regularized + epsilon * (negative_entropy(a, a) + negative_entropy(b, b))
    missed = miss(problem, rows_of_plan, columns_of_plan)
    values = transport + pull, regularized, entropic
    # Points are looked at by a sum, which any number that is not finite spoils.
    wrong = not_numbers(wrong, *values, missed, ops.stop_gradient(ops.sum(x) + ops.sum(y)))
    members = [spoiled(member, wrong) for member in (*values, f, g, missed)]
    converged = ops.logical_and(error < tolerance, ops.isfinite(members[1]))
    return SinkhornResult(*members[:5], converged, iterations, members[5]), wrong, problem


class Blocks:
    """The cost matrix between two sets of points, a block of rows at a time; its kernel is made and dropped."""

    def __init__(self, x, y, a, b, epsilon, cost, rows, count):
        self.x, self.y, self.a, self.b, self.epsilon = x, y, a, b, epsilon
        self.cost, self.rows, self.count = cost, rows, count
        self.center = weighted_mean(y, b)
        # Where the root is taken of what float32 has rounded, near points would be at distances of that root.
        self.exact = wide(y) if cost == "euclidean" else dtype_of(y)

    def fold(self, body, *state):
        """Runs body(index of the first row, squared distances, costs, *state) over all blocks."""

        def step(first, *state):
            x = self.slice(self.x, first)
            squared = self.squared(x)
            return first + self.rows, *body(first, squared, self.of_squared(squared, x), *state)

        _, *state = ops.while_loop(lambda first, *_: first < self.x.shape[0], step, (ops.zeros((), "int32"), *state))
        return state

    def slice(self, array, first):
        """The rows of a block."""
        return ops.slice(array, (first, 0)[: len(array.shape)], (self.rows, *array.shape[1:]))

    def put(self, array, first, rows):
        """The array with the rows of a block replaced."""
        return ops.scatter_update(array, first + ops.arange(self.rows, dtype="int32")[:, None], rows)

    def squared(self, x):
        """Squared distances of a block of points to all targets, (rows, m)."""
        if self.y.shape[1] <= FEW_COORDINATES:
            return sum(ops.square(column(x[:, axis]) - line(self.y[:, axis])) for axis in range(self.y.shape[1]))
        x, y = (ops.cast(points, self.exact) - ops.cast(self.center, self.exact) for points in (x, self.y))
        return ops.cast(expansion(x, y), dtype_of(self.y))

    def of_squared(self, squared, x):
        """Costs of squared distances; those of the cosine cost are between features of length 1, or 0 at the origin."""
        if self.cost == "squared_euclidean":
            return squared
        if self.cost == "euclidean":
            return safe_sqrt(squared)
        origins = [ops.max(ops.abs(features), axis=-1) == 0 for features in (x, self.y)]
        return ops.where(ops.logical_or(column(origins[0]), line(origins[1])), 1.0, 0.5 * squared)

    def slope(self, squared):
        """The derivative of `of_squared`, 0 where points coincide."""
        if self.cost == "squared_euclidean":
            return ops.ones_like(squared)
        if self.cost == "cosine":
            return ops.full_like(squared, 0.5)
        apart = squared > 0
        return ops.where(apart, 0.5 / safe_sqrt(ops.where(apart, squared, 1.0)), 0.0)

    def kernel(self, first, costs, f, g):
        """exp((f_i + g_j - C_ij) / eps) of a block, (rows, m), bounded as that of `solvers.kernel`."""
        exponents = (column(self.slice(f, first)) + line(g) - costs) / self.epsilon
        return ops.exp(ops.minimum(exponents, LARGEST_LOG[dtype_of(costs)]))

    def start(self):
        """f_i = min_j C_ij and g_j = min_i C_ij - f_i, over points that have weight; f_i = min_j C_ij - g_j elsewhere.

        So the kernel has no more than a 1 between points of which one has weight.
        """
        infinity = ops.full_like(self.b, float("inf"))

        def nearest(first, squared, costs, f):
            return (self.put(f, first, ops.min(ops.where(line(self.b) > 0, costs, infinity), axis=-1)),)

        (f,) = self.fold(nearest, ops.zeros_like(self.a))

        def reach(first, squared, costs, g):
            f_rows, weights = column(self.slice(f, first)), column(self.slice(self.a, first))
            return (ops.minimum(g, ops.min(ops.where(weights > 0, costs - f_rows, float("inf")), axis=0)),)

        (g,) = self.fold(reach, infinity)

        def follow(first, squared, costs, f):
            nearest = ops.min(ops.where(line(self.b) > 0, costs - line(g), infinity), axis=-1)
            return (self.put(f, first, ops.where(self.slice(self.a, first) > 0, self.slice(f, first), nearest)),)

        # Rows that only fill the last block need not follow.
        weightless = ops.any(self.a[: self.count] == 0)
        return ops.cond(weightless, lambda: self.fold(follow, f)[0], lambda: f), g

    def solve(self, tolerance, limit):
        """(f, g, error of the source marginal before the last iteration, iterations)."""

        def update(first, squared, costs, f, sums, error, g):
            K = self.kernel(first, costs, f, g)
            weights, row_sums = self.slice(self.a, first), filled(times(K, self.b))
            error = error + ops.sum(weights * ops.abs(row_sums - 1.0))
            sums = sums + times_transposed(K, weights / row_sums)
            f = self.put(f, first, self.slice(f, first) - self.epsilon * ops.log(row_sums))
            return f, sums, error, g

        def iteration(f, g, error, iterations):
            nothing = ops.zeros_like(error)
            f, sums, error, _ = self.fold(update, f, ops.zeros_like(g), nothing, g)
            return f, g - self.epsilon * ops.log(filled(sums)), error, iterations + 1

        def more(f, g, error, iterations):
            return ops.logical_and(iterations < limit, error >= tolerance)

        f, g = self.start()
        large = ops.full_like(self.epsilon, float("inf"))
        return ops.while_loop(more, iteration, (f, g, large, ops.zeros((), "int32")))

    def summarise(self, f, g):
        """Sums of the plan P that values and gradients need, with W = P times `slope`.

        Returns:
            (<P, C>, W 1, W y, W^T 1, W^T x, P 1, P^T 1).
        """

        def add(first, squared, costs, value, row_weights, moved, column_weights, moved_back, row_sums, columns):
            weights = self.slice(self.a, first)
            plan = column(weights) * self.kernel(first, costs, f, g) * line(self.b)
            W = plan * self.slope(squared)
            x, ones = self.slice(self.x, first), ops.ones_like(weights)
            return (
                value + ops.sum(plan * costs),
                self.put(row_weights, first, times(W, ops.ones_like(self.b))),
                self.put(moved, first, ops.matmul(W, self.y)),
                column_weights + times_transposed(W, ones),
                moved_back + ops.matmul(ops.transpose(W), x),
                self.put(row_sums, first, times(plan, ops.ones_like(self.b))),
                columns + times_transposed(plan, ones),
            )

        zeros = [ops.zeros_like(array) for array in (self.epsilon, self.a, self.x, self.b, self.y, self.a, self.b)]
        return self.fold(add, *zeros)


def filled(sums):
    """Sums of the kernel, with a small number for 0, where small weights times small scalings have vanished.

    So potentials move by many epsilon, and not without end; once they are right, sums are near 1.
    """
    return ops.where(sums == 0, math.exp(-LARGEST_LOG[dtype_of(sums)]), sums)


def weighted_mean(points, weights):
    """The mean of points, (d,), which those of weight 0 do not move."""
    return times_transposed(points, weights)


def _largest_cost(x, y, a, b, cost):
    """A bound of the costs, (1, 1), from the largest distances of points with weight to the targets' mean."""
    center = weighted_mean(y, b)
    squares = [ops.sum(ops.square(points - center), axis=-1) for points in (x, y)]
    reach = [
        safe_sqrt(ops.max(ops.where(weights == 0, 0.0, square)))
        for weights, square in zip((a, b), squares, strict=True)
    ]
    bound = {"squared_euclidean": ops.square(sum(reach)), "euclidean": sum(reach), "cosine": ops.full_like(reach[0], 2)}
    return ops.stop_gradient(bound[cost])[None, None]
