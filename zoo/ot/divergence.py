"""Losses between two sets of points that are made of several transport problems."""

from typing import Any, NamedTuple

from keras import ops

from zoo.checks import check_choice
from zoo.ot.convergence import warn_unconverged
from zoo.ot.costs import cost_matrix
from zoo.ot.inputs import as_float, check_strength, same_type, without_padding
from zoo.ot.sinkhorn import solved


class LossResult(NamedTuple):
    """A loss made of several transport problems, and whether they were solved.

    Attributes:
        value: The loss, () or (batch,).
        converged: Whether the errors of all problems fell below the tolerance, bool () or (batch,).
        num_iterations: Of the problem that took most, int32 () or (batch,).
        marginal_error: Of the problem that misses its marginals most, as of `SinkhornResult`, () or (batch,).

    Example:
        >>> x = ops.array([[0.0], [1.0]])
        >>> result = sinkhorn_divergence(x, x + 3.0, epsilon=1.0, return_result=True)
        >>> round(float(result.value), 2), bool(result.converged), float(result.marginal_error) < 1e-3
        (9.0, True, True)
    """

    value: Any
    converged: Any
    num_iterations: Any
    marginal_error: Any


def sinkhorn_divergence(
    source,
    target,
    epsilon,
    source_weights=None,
    target_weights=None,
    *,
    cost="squared_euclidean",
    source_mask=None,
    target_mask=None,
    tolerance=1e-4,
    max_iterations=2000,
    method="auto",
    value="regularized_cost",
    return_result=False,
    **options,
):
    """Sinkhorn divergence: entropic transport without its bias, 0 between a measure and itself.

    S = OT(a, b) - OT(a, a) / 2 - OT(b, b) / 2, where OT is the `regularized_cost` of `sinkhorn` (Feydy et al. 2019,
    equation 3). Genevay et al. 2018 print twice this, with the `transport_cost` for OT. Small epsilon: the transport
    cost; large epsilon: half the squared maximum mean discrepancy of the kernel -C.

    Args:
        source: Points, (n, d) or (batch, n, d), or whatever `cost` takes.
        target: Points, (m, d) or (batch, m, d).
        epsilon: Strength of the regularisation in the unit of the cost, above 0: a number or (batch,).
        source_weights: a, (n,) or (batch, n), at least 0, summing to 1. Uniform (over the mask) by default.
        target_weights: b, (m,) or (batch, m), likewise.
        cost: "squared_euclidean", "euclidean", "cosine", or a symmetric function of two sets of points.
        source_mask: True at points, False at padding, (n,) or (batch, n).
        target_mask: The same for the targets, (m,) or (batch, m).
        tolerance: As of `sinkhorn`, for each of the three problems.
        max_iterations: Bound of the iterations of each.
        method: "auto" or "log", for the term between the two; the others are solved by "symmetric".
        value: What OT is: "regularized_cost", or "transport_cost", whose exact gradient needs `gradient="unrolled"`.
        return_result: Whether to return a `LossResult`, which says whether the problems were solved.
        options: As `epsilon_scaling`, `gradient`, `jit_compile` of `sinkhorn`.

    Returns:
        Tensor, () or (batch,), at least 0 up to rounding and the tolerance. Its gradients reach points and weights.
        Or a `LossResult`.

    Warns:
        ConvergenceWarning: As `sinkhorn`; not where a result is returned, which says so itself.

    Raises:
        ValueError: As `sinkhorn` and `cost_matrix`; for `marginal_penalty`, whose divergence has another term.

    Example:
        >>> x = ops.array([[0.0], [1.0]])
        >>> round(float(sinkhorn_divergence(x, x + 3.0, epsilon=1.0)), 2)  # the square of a shift, whatever epsilon is
        9.0

        sinkhorn_divergence(features(images), features(generated), epsilon=0.1)
    """
    if options.get("marginal_penalty") is not None:
        raise ValueError(
            "`sinkhorn_divergence` takes no `marginal_penalty`: between measures of different mass the divergence "
            "has a further term (Sejourne et al. 2019). Call `sinkhorn` and take `regularized_cost`."
        )

    source, target = without_padding(source, source_mask), without_padding(target, target_mask)
    check_choice("value", value, ("regularized_cost", "transport_cost"))
    options |= {"tolerance": tolerance, "max_iterations": max_iterations}

    def solve(x, y, a, b, a_mask, b_mask, method):
        masks = {"source_mask": a_mask, "target_mask": b_mask}
        return solved(cost_matrix(x, y, cost), epsilon, a, b, method=method, **masks, **options)[0]

    between = solve(source, target, source_weights, target_weights, source_mask, target_mask, method)
    within_source = solve(source, source, source_weights, source_weights, source_mask, source_mask, "symmetric")
    within_target = solve(target, target, target_weights, target_weights, target_mask, target_mask, "symmetric")
    divergence = getattr(between, value) - 0.5 * (getattr(within_source, value) + getattr(within_target, value))
    if source_mask is not None or target_mask is not None:
        # Where one side is all padding there is nothing to compare, though the other side's own cost is not 0.
        masks = [ops.any(ops.cast(mask, "bool"), axis=-1) for mask in (source_mask, target_mask) if mask is not None]
        some = masks[0] if len(masks) == 1 else ops.logical_and(*masks)
        divergence = ops.where(some, divergence, ops.zeros_like(divergence))
    found = worst(divergence, ops.stack, (between, within_source, within_target))
    return answer("sinkhorn_divergence", found, return_result, tolerance, max_iterations, options)


def worst(value, stack, results):
    """The `LossResult` of a value made of `SinkhornResult`s; `stack` puts members of all on a first axis."""
    converged, num_iterations, error = (
        stack([getattr(result, name) for result in results])
        for name in ("converged", "num_iterations", "marginal_error")
    )
    return LossResult(value, ops.all(converged, axis=0), ops.max(num_iterations, axis=0), ops.max(error, axis=0))


def joined(problems):
    """Points or costs of several problems, (...) or (batch, ...) each, as one batch."""
    return ops.concatenate([one[None] if len(one.shape) == 2 else one for one in problems])


def answer(loss, result, return_result, tolerance, max_iterations, options):
    """What a loss returns; the value alone comes with a warning where it is off."""
    if return_result:
        return result
    if options.get("gradient", "envelope") == "envelope":
        warn_unconverged(loss, result, tolerance, max_iterations, stacklevel=4)
    return result.value


def minibatch_energy_distance(
    source,
    other_source,
    target,
    other_target,
    epsilon=1 / 500,
    *,
    cost="cosine",
    tolerance=1e-4,
    max_iterations=2000,
    return_result=False,
    **options,
):
    """Minibatch energy distance between two distributions, from two independent batches of each.

    W(X, Y) + W(X, Y') + W(X', Y) + W(X', Y') - 2 W(X, X') - 2 W(Y, Y') with W the `transport_cost` of `sinkhorn`,
    whose plans are held fixed for gradients (Salimans et al. 2018, equation 7). Its expectation is at least 0, and 0
    for equal distributions; a single value can be negative.

    Args:
        source: Features X, (n, d), or whatever `cost` takes; as the other three, (batch, n, d) too.
        other_source: X', independent of X, (n, d).
        target: Y, (n, d).
        other_target: Y', independent of Y, (n, d).
        epsilon: Strength of the regularisation, above 0. The paper's lambda is 1 / epsilon = 500.
        cost: "cosine", the paper's, another name, or a function of two sets of points.
        tolerance: As of `sinkhorn`, for each of the six problems.
        max_iterations: Bound of the iterations; the paper takes 500, whether they have converged or not
            (`tolerance=0`).
        return_result: Whether to return a `LossResult`, which says whether the problems were solved.
        options: Other arguments of `sinkhorn`, such as `method` or `jit_compile`.

    Returns:
        Tensor, () or (batch,). Or a `LossResult`.

    Warns:
        ConvergenceWarning: As `sinkhorn`; not where a result is returned, which says so itself.

    Raises:
        ValueError: As `sinkhorn` and `cost_matrix`; or if the four batches have different shapes.

    Example:
        >>> x, y = ops.array([[1.0, 0.0]]), ops.array([[0.0, 1.0]])
        >>> round(float(minibatch_energy_distance(x, x, y, y)), 4)  # four costs of 1, less two of 0
        4.0

        loss = minibatch_energy_distance(critic(x), critic(x2), critic(fake), critic(fake2))
    """
    check_strength("epsilon", epsilon)
    batches = {"source": source, "other_source": other_source, "target": target, "other_target": other_target}
    shapes = {name: tuple(ops.convert_to_tensor(batch).shape) for name, batch in batches.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"The four batches must have the same shape. Received: {shapes}. Split them in equal halves.")
    x, x2, y, y2 = batches.values() if callable(cost) else same_type(*map(as_float, batches.values()))
    pairs = (x, y), (x, y2), (x2, y), (x2, y2), (x, x2), (y, y2)
    # One batch of six problems, six times the user's batch.
    rank = len(shapes["source"])
    if callable(cost) or rank not in (2, 3):
        costs = same_type(*(ops.convert_to_tensor(cost_matrix(*pair, cost)) for pair in pairs))
        rank, stacked = len(costs[0].shape), joined(costs)
    else:
        # All costs at once: a graph holds their operations once, not six times.
        stacked = cost_matrix(*map(joined, zip(*pairs, strict=True)), cost)
    if len(ops.convert_to_tensor(epsilon).shape) == 1:
        epsilon = ops.tile(ops.convert_to_tensor(epsilon), [6])
    weights = dict.fromkeys(("source_weights", "target_weights", "source_mask", "target_mask"))
    options = {**weights, **options, "tolerance": tolerance, "max_iterations": max_iterations}
    result, _ = solved(stacked, epsilon, **options)
    shape = (6,) if rank == 2 else (6, -1)
    values = ops.unstack(ops.reshape(result.transport_cost, shape), 6)
    first, second, third, fourth, within_source, within_target = values
    distance = first + second + third + fourth - 2.0 * (within_source + within_target)
    found = worst(distance, lambda members: ops.reshape(members[0], shape), [result])
    return answer("minibatch_energy_distance", found, return_result, tolerance, max_iterations, options)
