"""Entropic optimal transport with a given cost matrix."""

from typing import Any, NamedTuple

from keras import ops

from zoo.checks import check_choice, check_positive
from zoo.ot.adjoint import solve_adjoint
from zoo.ot.backend import compiled
from zoo.ot.convergence import warn_unconverged
from zoo.ot.inputs import (
    check_penalty,
    check_strength,
    check_tolerance,
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
from zoo.ot.solvers import (
    anneal,
    kernel,
    miss,
    solve,
    solve_log,
    solve_symmetric,
    start,
    times,
    times_transposed,
    translation,
    unroll,
)


class SinkhornResult(NamedTuple):
    """What `sinkhorn` found; tensors without the batch axis where the cost had none.

    Attributes:
        transport_cost: <P, C>, (batch,).
        regularized_cost: <P, C> + eps KL(P | a b^T), (batch,); with a marginal penalty rho also
            + rho KL(P 1 | a) + rho KL(P^T 1 | b).
        entropic_cost: <P, C> - eps h(P) with h(P) = -sum P log P, (batch,); with the same penalties.
        source_potential: f, (batch, n), 0 at padding. P_ij = a_i b_j exp((f_i + g_j - C_ij) / eps).
        target_potential: g, (batch, m), 0 at padding.
        converged: Whether the error fell below the tolerance, bool (batch,); False after iterations that were not to
            stop early.
        num_iterations: Iterations done, int32 (batch,).
        marginal_error: sum_i |sum_j P_ij - a_i| + sum_j |sum_i P_ij - b_j|, (batch,). With a marginal penalty the
            marginals are free, and this tells by how much.
        plan: P, (batch, n, m), or None unless asked for.

    Example:
        >>> result = sinkhorn(ops.array([[0.0, 1.0], [1.0, 0.0]]), epsilon=0.05, return_plan=True)
        >>> bool(result.converged), result.source_potential.shape, result.plan.shape
        (True, TensorShape([2]), TensorShape([2, 2]))
    """

    transport_cost: Any
    regularized_cost: Any
    entropic_cost: Any
    source_potential: Any
    target_potential: Any
    converged: Any
    num_iterations: Any
    marginal_error: Any
    plan: Any = None


SOLVERS = {"auto": solve, "log": solve_log, "symmetric": solve_symmetric}


def sinkhorn(
    cost,
    epsilon,
    source_weights=None,
    target_weights=None,
    *,
    source_mask=None,
    target_mask=None,
    tolerance=1e-4,
    max_iterations=2000,
    epsilon_scaling=False,
    marginal_penalty=None,
    method="auto",
    gradient="envelope",
    return_plan=False,
    jit_compile=True,
):
    """Entropic optimal transport, for one problem or a batch of them.

    min over P of <P, C> + eps KL(P | a b^T), with P 1 = a and P^T 1 = b (Cuturi 2013; Peyre and Cuturi 2019,
    chapter 4). The literature's lambda is 1 / eps: a small epsilon approaches the unregularised cost, a large one the
    product plan.

    Iterations are products with a kernel, and fall back on the log domain where numbers would leave the range
    (`zoo.ot.solvers` states the rule). The error is read every ten iterations, problem by problem; where it falls
    slowly, the next ones are over-relaxed (Thibault et al. 2021), which takes a fifth to a tenth of the iterations.
    What has not converged has `converged` False, and gives a `ConvergenceWarning` in eager calls.

    Gradients reach `cost`, whatever it was computed from, and both weights. By default the plan and the potentials are
    held fixed (envelope theorem), which costs one plan and is exact at convergence for `regularized_cost` and
    `entropic_cost` (with a marginal penalty, by a linear system for the latter); `transport_cost` then has the gradient
    P. With `gradient="unrolled"` they pass through every
    iteration, of which exactly `max_iterations` are done, need the memory of twice as many plans, and are compiled
    only where the caller's function is.

    Args:
        cost: C, (n, m) or (batch, n, m), floating point; see `cost_matrix`. float64 is computed as such, anything
            else in float32.
        epsilon: Strength of the regularisation in the unit of the cost, above 0: a number or (batch,). 0.05 times the
            mean cost blurs visibly and converges in tens of iterations; 0.005 times it, mostly in hundreds.
        source_weights: a, (n,) or (batch, n), at least 0, summing to 1. Uniform (over the mask) by default.
        target_weights: b, (m,) or (batch, m), likewise.
        source_mask: True at points, False at padding, (n,) or (batch, n). A problem where one side is all padding
            has value 0 and gradient 0.
        target_mask: The same for the targets, (m,) or (batch, m).
        tolerance: A problem stops when sum_i |sum_j P_ij - a_i| is below this. With a marginal penalty: when
            sum_i a_i |c_i - 1| is, with c_i the change of exp(f_i / eps) in an iteration. 0 never stops: exactly
            `max_iterations`, without over-relaxation and without a warning.
        max_iterations: Bound of the iterations, rounded up to a multiple of ten.
        epsilon_scaling: Start from a solution at a large epsilon, halved step by step: mostly fewer iterations where
            epsilon is under a five-hundredth of the mean cost, some more where it is not.
        marginal_penalty: rho > 0 replaces both constraints by penalties rho KL(P 1 | a) and rho KL(P^T 1 | b)
            (Chizat et al. 2018), for weights of any mass. Each iteration translates the potentials to their best
            (Sejourne et al. 2022), so that a large penalty takes no more iterations than exact marginals.
        method: "auto"; "log" for the log domain throughout, the reference, several times slower; "symmetric" for the
            transport of a measure onto itself, with a symmetric cost and the same weights on both sides: some tens
            of iterations, where the others can need thousands.
        gradient: "envelope" or "unrolled".
        return_plan: Whether to keep the plan, of the size of the cost.
        jit_compile: False leaves XLA out, as exports for TensorFlow Serving need it.

    Returns:
        `SinkhornResult`.

    Warns:
        ConvergenceWarning: If a problem has not converged, and values can be read. Not with `tolerance=0`, nor with
            `gradient="unrolled"`, which ask for a number of iterations.

    Raises:
        ValueError: If shapes do not fit or a set is empty; and, where values can be read (not while a graph is traced,
            where all numbers turn to NaN), if the cost is not finite, weights are negative or do not sum to 1, or
            epsilon is not positive or too small for the type, or if the iterations leave the range of numbers.

    Example:
        >>> result = sinkhorn(ops.array([[0.0, 1.0], [1.0, 0.0]]), epsilon=0.05, return_plan=True)
        >>> np.round(result.plan, 3)
        array([[0.5, 0. ],
               [0. , 0.5]], dtype=float32)
        >>> bool(result.converged), round(float(result.regularized_cost), 4)  # epsilon log 2
        (True, 0.0347)
    """
    sides = {"source_mask": source_mask, "target_mask": target_mask}
    result, error = solved(
        cost,
        epsilon,
        source_weights,
        target_weights,
        **sides,
        tolerance=tolerance,
        max_iterations=max_iterations,
        epsilon_scaling=epsilon_scaling,
        marginal_penalty=marginal_penalty,
        method=method,
        gradient=gradient,
        return_plan=return_plan,
        jit_compile=jit_compile,
    )
    if gradient == "envelope":
        warn_unconverged("sinkhorn", result, tolerance, max_iterations, error=error)
    return result


def solved(
    cost,
    epsilon,
    source_weights,
    target_weights,
    *,
    source_mask,
    target_mask,
    tolerance,
    max_iterations,
    epsilon_scaling=False,
    marginal_penalty=None,
    method="auto",
    gradient="envelope",
    return_plan=False,
    jit_compile=True,
):
    """`sinkhorn` without a warning: its result, and the error (...) that was compared with the tolerance."""
    check_choice("method", method, tuple(SOLVERS))
    check_choice("gradient", gradient, ("envelope", "unrolled"))
    check_positive("max_iterations", max_iterations)
    check_strength("epsilon", epsilon)
    check_tolerance(tolerance)
    check_penalty(marginal_penalty)
    arguments = tensors(cost, epsilon, source_weights, target_weights, source_mask, target_mask)
    penalty, tolerance, limit = tensors(marginal_penalty, tolerance, max_iterations)
    result, wrong, error = _sinkhorn(
        arguments,
        penalty,
        tolerance,
        limit,
        method=method,
        epsilon_scaling=epsilon_scaling,
        unrolled_iterations=max_iterations if gradient == "unrolled" else None,
        return_plan=return_plan,
        # What a loop keeps for its gradient cannot leave a function that XLA has compiled alone.
        jit_compile=jit_compile and gradient == "envelope",
    )
    raise_faults(wrong, *arguments)
    return result, error


@compiled
def _sinkhorn(
    arguments, penalty, tolerance, max_iterations, *, method, epsilon_scaling, unrolled_iterations, return_plan
):
    problem, restored = without_lone_batch(prepare(*arguments))
    n, m = tuple(problem.cost.shape)[-2:]
    if method == "symmetric" and n != m:
        raise ValueError(
            "`method='symmetric'` is for the transport of a measure onto itself, with a square cost. "
            f"Received: a cost of {n} x {m}. Use 'auto'."
        )
    penalty = None if penalty is None else ops.cast(penalty, dtype_of(problem.cost))
    wrong = faults(problem, balanced=penalty is None)
    begin = anneal if epsilon_scaling else start
    if unrolled_iterations is None:
        fixed = constant(problem)
        tolerance = ops.cast(tolerance, dtype_of(problem.cost))
        *potentials, progress = SOLVERS[method](
            fixed, penalty, tolerance, max_iterations, ops.any(wrong, axis=0), *begin(fixed, penalty)
        )
        potentials = [ops.stop_gradient(member) for member in potentials]
        converged, num_iterations = progress.done, progress.iterations
        error = ops.stop_gradient(progress.error)
    else:
        # Not from minima, whose gradient is 0 / 0 where XLA computes costs twice, and not to the same digit.
        zeros = ops.zeros_like(problem.source_weights), ops.zeros_like(problem.target_weights)
        first = anneal(problem, penalty) if epsilon_scaling else zeros
        f, g = unroll(problem, penalty, unrolled_iterations, *first, method == "symmetric")
        potentials = f, g, ops.ones_like(f), ops.ones_like(g)
        num_iterations = ops.full_like(ops.cast(problem.epsilon, "int32"), unrolled_iterations)
    (f, g), values, plan, missed = evaluate(problem, penalty, *potentials, hold_plan=unrolled_iterations is None)
    if unrolled_iterations is not None:
        error, converged = missed, missed <= ops.cast(tolerance, dtype_of(missed))
    wrong = not_numbers(wrong, *values)
    *values, f, g, missed, plan = (spoiled(member, wrong) for member in (*values, f, g, missed, plan))
    converged = ops.logical_and(converged, ops.isfinite(values[1]))
    result = SinkhornResult(*values, f, g, converged, num_iterations, missed, plan if return_plan else None)
    return restored(result), wrong, error


def evaluate(problem, penalty, f, g, u, v, hold_plan):
    """The potentials, the three values, the plan, and by how much it misses the marginals.

    The regularised value is the dual objective at the potentials, whose partial derivatives are the gradient of the
    optimum.
    """
    held = ops.stop_gradient if hold_plan else lambda tensor: tensor
    a, b, epsilon = problem.source_weights, problem.target_weights, problem.epsilon
    K = kernel(problem, f, g)
    source, target = a * u, b * v
    plan = column(source) * K * line(target)
    rows, columns = source * times(K, target), target * times_transposed(K, source)
    f, g = f + epsilon[..., None] * ops.log(u), g + epsilon[..., None] * ops.log(v)
    # Row by row: one long sum would be ten times less exact.
    transport = ops.sum(held(source) * ops.sum(held(K * line(target)) * problem.cost, axis=-1), axis=-1)
    surplus = ops.sum(rows, axis=-1) - ops.sum(a, axis=-1) * ops.sum(b, axis=-1)
    if penalty is None:
        regularized = ops.sum(f * a, axis=-1) + ops.sum(g * b, axis=-1) - epsilon * surplus
        entropic = regularized + epsilon * (negative_entropy(a, a) + negative_entropy(b, b))
    else:
        shift = held(translation(problem, penalty, f, g))
        f, g = shifted(f, shift, problem.source_valid), shifted(g, -shift, problem.target_valid)
        relaxed = ops.sum(a * ops.expm1(-f / penalty), axis=-1) + ops.sum(b * ops.expm1(-g / penalty), axis=-1)
        regularized = -penalty * relaxed - epsilon * surplus
        cross = negative_entropy(rows, a) + negative_entropy(columns, b)
        entropic = regularized + epsilon * (cross + surplus)
        if hold_plan:
            entropic = entropic + response(problem, penalty, f, g, plan, rows, columns)
    return (f, g), (transport, regularized, entropic), plan, miss(problem, rows, columns)


def shifted(potential, shift, valid):
    """A potential moved by a number per problem, 0 at padding."""
    return potential + shift if valid is None else ops.where(valid > 0, potential + shift, ops.zeros_like(potential))


def response(problem, penalty, f, g, plan, rows, columns):
    """0, whose gradient is that of the entropic cost under penalties through the potentials, which are held fixed."""
    a, b = problem.source_weights, problem.target_weights
    P, r, c = (ops.stop_gradient(array) for array in (plan, rows, columns))
    log_a, log_b = (ops.stop_gradient(finite_log(weights)) for weights in (a, b))
    # Of <P, log a + log b + 1> in the potentials, times eps.
    R = r * (log_a + 1.0) + times(P, log_b)
    S = c * (log_b + 1.0) + times_transposed(P, log_a)
    x, y = map(ops.stop_gradient, solve_adjoint(P, r, c, problem.epsilon, penalty, R, S))
    # What is 0 at the solution, whatever the problem is.
    source = a * ops.exp(-f / penalty) - rows
    target = b * ops.exp(-g / penalty) - columns
    total = ops.sum(x * source, axis=-1) + ops.sum(y * target, axis=-1)
    return total - ops.stop_gradient(total)


def negative_entropy(masses, weights):
    """sum_i masses_i log weights_i, with 0 log 0 = 0 and a gradient of 0 there."""
    return ops.sum(masses * finite_log(weights), axis=-1)


def finite_log(weights):
    """Logarithms of weights, 0 where they are 0, with a gradient of 0 there."""
    positive = weights > 0
    return ops.where(positive, ops.log(ops.where(positive, weights, 1.0)), 0.0)
