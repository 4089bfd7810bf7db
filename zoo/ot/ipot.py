"""Unregularised optimal transport by the inexact proximal point method."""

from typing import Any, NamedTuple

from keras import ops

from zoo.checks import check_choice, check_positive
from zoo.ot.backend import compiled, repeat
from zoo.ot.convergence import warn_unconverged
from zoo.ot.inputs import (
    check_strength,
    column,
    constant,
    dtype_of,
    faults,
    line,
    not_numbers,
    prepare,
    raise_faults,
    spoiled,
    tensors,
    without_lone_batch,
)
from zoo.ot.solvers import LARGEST_LOG, log_updates, miss, padded, times, times_transposed


class IPOTResult(NamedTuple):
    """What `ipot` found; tensors without the batch axis where the cost had none.

    Attributes:
        transport_cost: <P, C>, (batch,).
        marginal_error: sum_i |sum_j P_ij - a_i| + sum_j |sum_i P_ij - b_j|, (batch,).
        plan: P, (batch, n, m).
        converged: Whether marginal_error is at most 0.03, (batch,). transport_cost may still be off: by about half of
            marginal_error, the mass in the wrong place, times what it costs to cross; and as the plan is not optimal.

    Example:
        >>> result = ipot(ops.array([[0.0, 1.0], [1.0, 5.0]]), target_mask=ops.array([True, False]))
        >>> bool(result.converged), round(float(result.marginal_error), 3)
        (True, 0.0)
    """

    transport_cost: Any
    marginal_error: Any
    plan: Any
    converged: Any


# Half of it is mass in the wrong place. 50 iterations with beta 0.5 on cosine costs leave at most 0.013 with 32 to 128
# random features in 2 to 256 dimensions, 0.007 with sentences of 8 to 40 words that repeat; 0.06 with 5 points against
# 9 in 2 dimensions.
LARGEST_ERROR = 0.03
REMEDY = (
    "The plan lacks mass that has to cross between points far apart, and its cost is too low or too high. Raise "
    "`num_iterations`, or `beta` where groups of points lie many beta apart; or use `sinkhorn` or `exact`."
)


def ipot(
    cost,
    beta=0.5,
    source_weights=None,
    target_weights=None,
    *,
    source_mask=None,
    target_mask=None,
    num_iterations=50,
    inner_iterations=1,
    gradient="envelope",
    jit_compile=True,
):
    """Unregularised optimal transport by proximal steps, each a Sinkhorn iteration from the plan before.

    T <- a b^T; repeat: Q = exp(-C / beta) * T; delta = a / (Q sigma), sigma = b / (Q^T delta), inner_iterations times;
    T = diag(delta) Q diag(sigma) (Xie et al. 2019, A fast proximal point method, algorithm 1; T starts from the product
    plan, which for uniform weights is the same, so that a point of weight 0 has no part). T approaches a solution of
    the linear program whatever beta is. Above it, on average, with beta 0.5 and cosine costs of 32 to 128 random
    features: after 50 iterations 0.4 to 0.8 % in 8 to 256 dimensions, 0.8 to 3.5 % in 4, 3 to 15 % in 2; after 1,000 at
    most 0.03 % in 4 dimensions and more, 0.07 to 0.7 % in 2.

    A smaller beta needs fewer iterations only where no mass has to cross between groups of points many beta apart. It
    crosses last, first too little, then too much, and until then the cost is far off. Two clusters on a line of 33 and
    31 points against 31 and 33, with standard deviation 0.1 and 25 apart in squared distance, cost 0.687 (their mean
    cost is 12.6); found after 200 iterations: 0.703 with beta 25, 0.663 with 12.5, 0.35 with 5, 2.5 with 2, which after
    50 had 0.012. `marginal_error` shows it: 0.0001, 0.003, 0.031, 0.25 and 0.063. Above 0.03 `converged` is False, and
    an eager call with the plan held fixed warns.

    Iterations are products of matrices. All are done again in the log domain, which takes several times as long, where
    numbers have left their range: a point has lost a quarter of its mass, or a problem whose error is above 0.03 has
    entries of the plan that fell to 0 between points with weight, from which products cannot come back.

    Gradients hold the plan fixed by default: that of `transport_cost` is the plan. With `gradient="unrolled"` they
    pass through all iterations, which are then compiled only where the caller's function is.

    Args:
        cost: C, (n, m) or (batch, n, m), floating point. float64 is computed as such, anything else in float32.
        beta: Step of the proximal method in the unit of the cost, above 0: a number or (batch,). Not far below the
            costs between groups of points that have to exchange mass. 0.5 suits cosine costs of features without
            such groups (Chen et al. 2019); for others begin with the mean cost.
        source_weights: a, (n,) or (batch, n), at least 0, summing to 1. Uniform (over the mask) by default.
        target_weights: b, (m,) or (batch, m), likewise.
        source_mask: True at points, False at padding, (n,) or (batch, n). A problem where one side is all padding
            has value 0 and gradient 0.
        target_mask: The same for the targets, (m,) or (batch, m).
        num_iterations: Proximal steps.
        inner_iterations: Sinkhorn iterations in each.
        gradient: "envelope" or "unrolled".
        jit_compile: False leaves XLA out, as exports for TensorFlow Serving need it.

    Returns:
        `IPOTResult`.

    Raises:
        ValueError: As `sinkhorn`, with beta for epsilon.

    Warns:
        ConvergenceWarning: Where a problem has not `converged`, unless a graph is traced or gradient is "unrolled".

    Example:
        >>> result = ipot(ops.array([[0.0, 1.0], [1.0, 5.0]]), target_mask=ops.array([True, False]))
        >>> round(float(result.transport_cost), 3)  # all mass goes to the first: (0 + 1) / 2
        0.5

        result = ipot(cosine(words, others), source_mask=mask, target_mask=other_mask)
    """
    check_choice("gradient", gradient, ("envelope", "unrolled"))
    check_positive("num_iterations", num_iterations)
    check_positive("inner_iterations", inner_iterations)
    check_strength("beta", beta)
    arguments = tensors(cost, beta, source_weights, target_weights, source_mask, target_mask)
    result, wrong = _ipot(
        arguments,
        num_iterations=num_iterations,
        inner_iterations=inner_iterations,
        unrolled=gradient == "unrolled",
        jit_compile=jit_compile and gradient == "envelope",
    )
    raise_faults(wrong, *arguments, strength="beta", largest_exponent=LARGEST_EXPONENT)
    if gradient == "envelope":
        warn_unconverged("ipot", result, LARGEST_ERROR, num_iterations, remedy=REMEDY)
    return result


# Beyond max |C| / beta of this, exp(-C / beta) falls below the smallest number of its type.
LARGEST_EXPONENT = {"float32": 80.0, "float64": 700.0}


@compiled
def _ipot(arguments, *, num_iterations, inner_iterations, unrolled):
    problem, restored = without_lone_batch(prepare(*arguments))
    plan = proximal_plan(problem, num_iterations, inner_iterations, unrolled)
    transport = ops.sum(plan * problem.cost, axis=(-2, -1))
    error = miss(problem, ops.sum(plan, axis=-1), ops.sum(plan, axis=-2))
    wrong = not_numbers(faults(problem, balanced=True, largest_exponent=LARGEST_EXPONENT), transport, error)
    transport, error, plan = (spoiled(member, wrong) for member in (transport, error, plan))
    return restored(IPOTResult(transport, error, plan, error <= LARGEST_ERROR)), wrong


def proximal_plan(problem, num_iterations, inner_iterations, unrolled):
    """T after all proximal steps, (..., n, m), 0 at padding; without a gradient unless unrolled."""
    fixed = constant(problem)
    plan = by_products(fixed, num_iterations, inner_iterations)
    again = problem if unrolled else fixed
    plan = ops.cond(
        out_of_range(problem, plan),
        lambda: by_logarithms(again, num_iterations, inner_iterations),
        # With a gradient they are done anew: one through numbers out of range would be no number, though not chosen.
        lambda: by_products(problem, num_iterations, inner_iterations) if unrolled else plan,
    )
    return plan if unrolled else ops.stop_gradient(plan)


def out_of_range(problem, plan):
    """Whether numbers of some problem have left their range: a scalar.

    Either a point has lost a quarter of its mass or more, or is not a number; or the plan misses the weights, and an
    entry between two points with weight is 0, as the next step, a product with it, would leave it.
    """
    a, b = problem.source_weights, problem.target_weights
    rows, columns = ops.sum(plan, axis=-1), ops.sum(plan, axis=-2)
    kept = [ops.all(moved >= 0.75 * weights) for weights, moved in ((a, rows), (b, columns))]
    stuck = ops.any(ops.logical_and(plan == 0, column(a) * line(b) > 0), axis=(-2, -1))
    lost = ops.any(ops.logical_and(miss(problem, rows, columns) > LARGEST_ERROR, stuck))
    return ops.logical_or(lost, ops.logical_not(ops.logical_and(*kept)))


def by_products(problem, num_iterations, inner_iterations):
    """T after all proximal steps, kept as Q, delta and sigma with T = diag(a delta) Q diag(b sigma)."""
    a, b = problem.source_weights, problem.target_weights
    step = padded(problem, ops.exp(-problem.cost / column(problem.epsilon[..., None])))
    # Between two points without weight nothing bounds the numbers.
    step = ops.where(column(a) + line(b) == 0, 0.0, step)

    def iteration(Q, delta, sigma):
        # The plan of the step before, column(delta) * Q * line(sigma), is not kept: one pass over the matrix, not two.
        Q = step * (column(delta) * Q * line(sigma))
        for _ in range(inner_iterations):
            delta = 1.0 / filled(times(Q, b * sigma), problem.source_valid)
            sigma = 1.0 / filled(times_transposed(Q, a * delta), problem.target_valid)
        return Q, delta, sigma

    first = ops.ones_like(problem.cost), ops.ones_like(a), ops.ones_like(b)
    Q, delta, sigma = repeat(iteration, first, num_iterations)
    return column(a * delta) * Q * line(b * sigma)


def by_logarithms(problem, num_iterations, inner_iterations):
    """The same T, from potentials: after k steps it is diag(a) exp((f + g - k C) / beta) diag(b)."""
    a, b, beta = problem.source_weights, problem.target_weights, problem.epsilon[..., None]

    def iteration(f, g, old_g, count):
        count = count + 1.0
        source_update, target_update = log_updates(problem._replace(cost=count * problem.cost), None)
        # As the products begin with the sigma of the step before.
        f = source_update(2.0 * g - old_g, None)
        new_g = target_update(f, None)
        for _ in range(inner_iterations - 1):
            f = source_update(new_g, None)
            new_g = target_update(f, None)
        return f, new_g, g, count

    nothing = ops.zeros_like(a), ops.zeros_like(b), ops.zeros_like(b), ops.zeros((), dtype_of(a))
    f, g, _, count = repeat(iteration, nothing, num_iterations)
    exponents = ((column(f) - count * problem.cost) + line(g)) / column(beta)
    Q = padded(problem, ops.exp(ops.minimum(exponents, LARGEST_LOG[dtype_of(a)])))
    # Potentials grow with each step, and their rounding with them: the targets' sums are made exact once more.
    sigma = 1.0 / filled(times_transposed(Q, a), problem.target_valid)
    return column(a) * Q * line(b * sigma)


def filled(sums, valid):
    """Sums that are 0 at padding, with 1 there."""
    return sums if valid is None else sums + (1.0 - valid)
