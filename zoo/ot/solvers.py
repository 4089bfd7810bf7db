"""The iterations of Sinkhorn: products with a kernel while they are safe, the log domain where they are not.

Both compute the same iterates. With f and g the potentials, one iteration is, in the log domain,

    f_i = -eps log sum_j b_j exp((g_j - C_ij) / eps),    g_j = -eps log sum_i a_i exp((f_i - C_ij) / eps),

which takes an exponential for each entry and each line. As products, with K_ij = exp((f_i + g_j - C_ij) / eps) made
once from potentials that are absorbed into it, u = 1 / (K (b v)) and v = 1 / (K^T (a u)) (Schmitzer 2019, Stabilized
sparse scaling algorithms, section 3). The potentials are then f + eps log u and g + eps log v.

The rule of the fallback. Products come in blocks of `BLOCK` iterations. A block is kept if, for each problem that is
not finished, max |log u| + max |log v| <= LIMIT: then no entry of K that fell below the smallest number could have
mattered (in float32, 1e-38 e^60 = 1e-12). Otherwise the block is thrown away and its iterations are done in the log
domain, after which products are tried again. A kept block beyond LIMIT / 2 is absorbed.

Two things make fewer iterations do, without another result.

Over-relaxation: where the error falls slowly, a potential goes omega times as far as its update, omega in (1, 2), as
Sinkhorn's iterations are those of Gauss and Seidel near the solution (Thibault et al. 2021, Overrelaxed
Sinkhorn-Knopp). `relaxation` finds omega from how fast the error falls. Each block ends in two plain iterations, of
which the error is read.

Translation: with relaxed marginals, f + lambda and g - lambda have the same plan for all lambda, and the updates alone
find the best one at a rate of about rho / (rho + eps). It has a closed form, taken at each iteration (Sejourne et al.
2022, Faster unbalanced optimal transport). Here f and g are known up to it: the potentials of the dual are
f + `translation` and g - `translation`, which may be so large that exponents would lose all digits.
"""

from typing import NamedTuple

from keras import ops

from zoo.ot.backend import repeat
from zoo.ot.inputs import column, dtype_of, line

# Iterations between two looks at the error.
BLOCK = 10
LIMIT = {"float32": 60.0, "float64": 600.0}
# Over-relaxation above 2 diverges, and below the smallest it saves nothing.
SMALLEST_RELAXATION, LARGEST_RELAXATION = 1.2, 1.99
# Exponents of pairs without weight on either side are not bounded by the marginals; these are.
LARGEST_LOG = {"float32": 80.0, "float64": 700.0}


def kernel(problem, f, g):
    """exp((f_i + g_j - C_ij) / eps), (..., n, m), with 0 at padding.

    Summed in this order, numbers of the size of the costs cancel before anything is rounded to their size.
    """
    exponents = ((column(f) - problem.cost) + line(g)) / problem.epsilon[..., None, None]
    return padded(problem, ops.exp(ops.minimum(exponents, LARGEST_LOG[dtype_of(problem.cost)])))


def padded(problem, matrix):
    """A matrix (..., n, m) with 0 at padding."""
    if problem.source_valid is None:
        return matrix
    return matrix * column(problem.source_valid) * line(problem.target_valid)


def miss(problem, rows, columns):
    """By how much sums over a plan's rows and columns miss the weights, in L1, (...)."""
    source = ops.sum(ops.abs(rows - problem.source_weights), axis=-1)
    return ops.stop_gradient(source + ops.sum(ops.abs(columns - problem.target_weights), axis=-1))


def times(matrix, vector):
    """K v, (..., n)."""
    return ops.squeeze(ops.matmul(matrix, column(vector)), -1)


def times_transposed(matrix, vector):
    """K^T u, (..., m), as u^T K: the order in which XLA reads a matrix row by row on a CPU."""
    return ops.squeeze(ops.matmul(line(vector), matrix), -2)


def shortfall(problem, penalty):
    """eps / (rho + eps), (..., 1): the share by which updates under relaxed marginals fall short of the balanced.

    None without a penalty. For a large penalty, 1 less this would lose its digits.
    """
    return None if penalty is None else (problem.epsilon / (penalty + problem.epsilon))[..., None]


def translation(problem, penalty, f, g):
    """The lambda by which f + lambda and g - lambda solve the dual best, (..., 1); None without a penalty.

    rho / 2 (log sum_i a_i exp(-f_i / rho) - log sum_j b_j exp(-g_j / rho)) (Sejourne et al. 2022, proposition 3).
    """
    if penalty is None:
        return None
    masses = (
        log_sum(log_weights(weights) - potential / penalty, -1)
        for weights, potential in ((problem.source_weights, f), (problem.target_weights, g))
    )
    source, target = masses
    return (penalty / 2.0 * (source - target))[..., None]


def log_sum(logits, axis):
    """log sum exp over an axis, without overflow."""
    largest = ops.stop_gradient(ops.max(logits, axis=axis, keepdims=True))
    return ops.log(ops.sum(ops.exp(logits - largest), axis=axis)) + ops.squeeze(largest, axis)


def log_updates(problem, penalty):
    """The two half iterations in the log domain: functions of the other side's potential and the `translation`."""
    cost, epsilon = problem.cost, problem.epsilon[..., None]
    short = shortfall(problem, penalty)

    def update(logits, axis, valid, shift):
        potential = -epsilon * log_sum(logits, axis)
        if short is not None:
            potential = potential - short * (potential + shift)
        return potential if valid is None else ops.where(valid > 0, potential, ops.zeros_like(potential))

    source, target = log_weights(problem.source_weights), log_weights(problem.target_weights)

    def source_update(g, shift):
        return update(line(g / epsilon + target) - cost / column(epsilon), -1, problem.source_valid, shift)

    def target_update(f, shift):
        shift = None if shift is None else -shift
        return update(column(f / epsilon + source) - cost / column(epsilon), -2, problem.target_valid, shift)

    return source_update, target_update


def log_iteration(problem, penalty):
    """An iteration in the log domain: a function of f, g and how far they go, omega (..., 1) or 1."""
    source_update, target_update = log_updates(problem, penalty)

    def iteration(f, g, omega=None):
        shift = translation(problem, penalty, f, g)
        f = towards(f, source_update(g, shift), omega)
        return f, towards(g, target_update(f, shift), omega)

    return iteration


def towards(old, new, omega):
    """old + omega (new - old); new where omega is None."""
    return new if omega is None else old + omega * (new - old)


def log_weights(weights):
    """Logarithms of weights; instead of -inf a number so low that its exponential is 0, with a gradient of 0."""
    positive = weights > 0
    return ops.where(positive, ops.log(ops.where(positive, weights, 1.0)), -1e30)


def start(problem, penalty):
    """Potentials to start from, f_i = min_j C_ij and g_j = max(0, min_i C_ij - max_i f_i).

    All f_i + g_j are at most C_ij, with equality somewhere in each row: the kernel has a 1 there and nothing larger,
    so that no sum can overflow. Only plain minima are taken, which XLA does several times faster than minima of
    differences; columns are within the spread of f of having a 1 too.
    """
    cost = problem.cost
    if problem.source_valid is None:
        f = ops.min(cost, axis=-1)
        return f, ops.relu(ops.min(cost, axis=-2) - ops.max(f, axis=-1, keepdims=True))
    infinity = float("inf")
    f = ops.min(ops.where(line(problem.target_valid) > 0, cost, infinity), axis=-1)
    f = ops.where(problem.source_valid > 0, f, 0.0)
    g = ops.min(ops.where(column(problem.source_valid) > 0, cost - column(f), infinity), axis=-2)
    return f, ops.where(problem.target_valid > 0, g, 0.0)


def relative_change(problem, ratio):
    """sum_i a_i |ratio_i - 1|, (...): with u_old / u_new the L1 error of the source marginal."""
    return ops.sum(problem.source_weights * ops.abs(ratio - 1.0), axis=-1)


class Progress(NamedTuple):
    """How far a solver is."""

    done: object  # Whether the problem is finished, bool (...)
    iterations: object  # Iterations of the problem, int32 (...)
    count: object  # Iterations of the longest, int32 ()
    error: object  # Error at the end of the last block, (...)
    omega: object  # Over-relaxation, (...); 1 for none


def beginning(problem, hopeless):
    """The `Progress` before the first block."""
    iterations = ops.cast(ops.zeros_like(hopeless), "int32")
    error = ops.full_like(problem.epsilon, float("inf"))
    return Progress(hopeless, iterations, ops.zeros((), "int32"), error, ops.ones_like(problem.epsilon))


def solve(problem, penalty, tolerance, max_iterations, hopeless, f, g):
    """Potentials by products with the log domain as fallback.

    Args:
        problem: `Problem`.
        penalty: rho (scalar tensor) or None.
        tolerance: Scalar tensor; 0 for exactly `max_iterations`, all plain.
        max_iterations: int32 scalar tensor, rounded up to whole blocks.
        hopeless: Problems not to be tried, bool (...).
        f: Source potential to start from, (..., n).
        g: Target potential to start from, (..., m).

    Returns:
        (f, g, u, v, `Progress`). The solution is f + eps log u and g + eps log v; apart, the plan is more exact than
        with their rounded sum.
    """
    limit = LIMIT[dtype_of(problem.cost)]
    a, b, epsilon = problem.source_weights, problem.target_weights, problem.epsilon[..., None]
    short = shortfall(problem, penalty)

    def scaled(sums, potential, shift, valid):
        # A padded point's sum is 0; made 1, its scaling stays 1 and its potential 0.
        sums = sums if valid is None else sums + (1.0 - valid)
        if short is None:
            return 1.0 / sums
        logs = -ops.log(sums)
        scaling = ops.exp(logs - short * (logs + (potential + shift) / epsilon))
        return scaling if valid is None else ops.where(valid > 0, scaling, ops.ones_like(scaling))

    def more(f, g, u, v, progress, rejected):
        return unfinished(progress, max_iterations)

    def rounds(f, g, u, v, progress, rejected):
        f, g = f + epsilon * ops.log(u), g + epsilon * ops.log(v)
        f, g, progress = ops.cond(
            rejected,
            lambda: log_block(problem, penalty, tolerance, f, g, progress),
            lambda: (f, g, progress),
        )
        K = kernel(problem, f, g)

        def iteration(u, v, omega=None):
            shift = opposite = None
            if penalty is not None:
                shift = translation(problem, penalty, f + epsilon * ops.log(u), g + epsilon * ops.log(v))
                opposite = -shift
            new = scaled(times(K, b * v), f, shift, problem.source_valid)
            u = new if omega is None else u * ops.exp(omega * ops.log(new / u))
            new = scaled(times_transposed(K, a * u), g, opposite, problem.target_valid)
            return u, new if omega is None else v * ops.exp(omega * ops.log(new / v))

        def plain(u, v, count):
            for _ in range(count):
                u, v = iteration(u, v)
            return u, v

        def in_range(u, v, progress, spread):
            return ops.logical_and(spread <= limit / 2, unfinished(progress, max_iterations))

        def block(u, v, progress, _):
            omega = progress.omega[..., None]
            new_u, new_v = ops.cond(
                ops.any(omega > 1.0),
                lambda: repeat(lambda u, v: iteration(u, v, omega), (u, v), BLOCK - 2),
                lambda: plain(u, v, BLOCK - 2),
            )
            old_u, new_v = plain(new_u, new_v, 1)
            new_u, new_v = plain(old_u, new_v, 1)
            error = relative_change(problem, old_u / new_u)
            spread = ops.max(ops.abs(ops.log(new_u)), axis=-1) + ops.max(ops.abs(ops.log(new_v)), axis=-1)
            # A maximum may pass over numbers that are not; a sum does not.
            spread = ops.where(ops.isnan(error), float("inf"), spread)
            spread = ops.max(ops.where(progress.done, 0.0, spread))
            keep = ops.logical_and(spread <= limit, ops.logical_not(progress.done))[..., None]
            u, v = ops.where(keep, new_u, u), ops.where(keep, new_v, v)
            return u, v, advance(spread <= limit, error, tolerance, progress), spread

        u, v, progress, spread = ops.while_loop(
            in_range, block, (ops.ones_like(f), ops.ones_like(g), progress, ops.zeros_like(tolerance))
        )
        return f, g, u, v, progress, ops.logical_not(spread <= limit)

    state = (f, g, ops.ones_like(f), ops.ones_like(g), beginning(problem, hopeless), ops.convert_to_tensor(False))
    return ops.while_loop(more, rounds, state)[:5]


def solve_log(problem, penalty, tolerance, max_iterations, hopeless, f, g):
    """The reference of `solve`: every iteration in the log domain; the same arguments and results."""

    def block(f, g, progress):
        return log_block(problem, penalty, tolerance, f, g, progress)

    state = (f, g, beginning(problem, hopeless))
    f, g, progress = ops.while_loop(lambda f, g, progress: unfinished(progress, max_iterations), block, state)
    return f, g, ops.ones_like(f), ops.ones_like(g), progress


def solve_symmetric(problem, penalty, tolerance, max_iterations, hopeless, f, g):
    """Transport of a measure onto itself by f <- (f + T f) / 2 with T the log-domain update; as `solve`.

    Near the solution T multiplies an error by numbers in [-1, 0] where the kernel is positive definite, as it is for
    squared and plain Euclidean costs; the mean of f and T f then at least halves it. So some tens of iterations do,
    whatever epsilon is, where updates in turns can need thousands (Feydy et al. 2019, Interpolating between optimal
    transport and MMD using Sinkhorn divergences). The error is read at each.
    """
    step = symmetric_step(problem, penalty)

    def iteration(f, progress):
        new_f = step(f)
        error = relative_change(problem, ops.exp(2.0 * (f - new_f) / problem.epsilon[..., None]))
        new_f = ops.where(progress.done[..., None], f, new_f)
        finished = ops.logical_or(error < tolerance, ops.isnan(error))
        return new_f, progress._replace(
            done=ops.logical_or(progress.done, finished),
            iterations=progress.iterations + ops.where(progress.done, 0, 1),
            count=progress.count + 1,
            error=ops.where(progress.done, progress.error, error),
        )

    state = (0.5 * (f + g), beginning(problem, hopeless))
    f, progress = ops.while_loop(lambda f, progress: unfinished(progress, max_iterations), iteration, state)
    return f, f, ops.ones_like(f), ops.ones_like(f), progress


def symmetric_step(problem, penalty):
    """The function from f to (f + T f) / 2. Both sides have the same potential, so that no translation is better."""
    update, _ = log_updates(problem, penalty)
    return lambda f: 0.5 * (f + update(f, 0.0))


def log_block(problem, penalty, tolerance, f, g, progress):
    """`BLOCK` iterations in the log domain; finished problems stay as they are."""
    iteration = log_iteration(problem, penalty)
    omega = progress.omega[..., None]
    new_f, new_g = repeat(lambda f, g: iteration(f, g, omega), (f, g), BLOCK - 2)
    old_f, new_g = iteration(new_f, new_g)
    new_f, new_g = iteration(old_f, new_g)
    error = relative_change(problem, ops.exp((old_f - new_f) / problem.epsilon[..., None]))
    done = progress.done[..., None]
    f, g = ops.where(done, f, new_f), ops.where(done, g, new_g)
    return f, g, advance(ops.convert_to_tensor(True), error, tolerance, progress)


def unfinished(progress, max_iterations):
    """Whether a problem is left, and iterations to try."""
    return ops.logical_and(progress.count < max_iterations, ops.logical_not(ops.all(progress.done)))


def advance(kept, error, tolerance, progress):
    """`Progress` after a block. A problem that is not a number is finished: it cannot get better."""
    going = ops.logical_and(kept, ops.logical_not(progress.done))
    finished = ops.logical_and(ops.logical_or(error < tolerance, ops.isnan(error)), going)
    omega = ops.where(tolerance > 0, relaxation(progress.omega, error, progress.error), progress.omega)
    return Progress(
        ops.logical_or(progress.done, finished),
        progress.iterations + ops.where(going, BLOCK, 0),
        progress.count + ops.where(kept, BLOCK, 0),
        ops.where(going, error, progress.error),
        ops.where(going, omega, progress.omega),
    )


def relaxation(omega, error, previous):
    """The omega of the next block, from the error after this one and the one before.

    If errors fall by the factor lambda an iteration under omega, then theta = (lambda + omega - 1)^2 / (lambda
    omega^2) is that of plain iterations, and 2 / (1 + sqrt(1 - theta)) the best omega (Young 1954, for iterations of
    Gauss and Seidel on two blocks). Too low an omega shows too low a theta, so that it only grows; where the error
    does not fall, far from the solution, half of it is taken back.
    """
    rate = ops.power(error / previous, 1.0 / BLOCK)
    rate = ops.clip(rate, 1e-3, 1.0)
    theta = ops.minimum(ops.square(rate + omega - 1.0) / (rate * ops.square(omega)), 0.99999)
    best = ops.clip(2.0 / (1.0 + ops.sqrt(1.0 - theta)), omega, LARGEST_RELAXATION)
    best = ops.where(best < SMALLEST_RELAXATION, 1.0, best)
    best = ops.where(ops.logical_and(error < 1.0, ops.isfinite(previous)), best, omega)
    return ops.where(error < previous, best, 0.5 * (1.0 + omega))


def unroll(problem, penalty, iterations, f, g, symmetric):
    """Exactly `iterations` iterations in the log domain, in a way that gradients pass through each of them."""
    if symmetric:
        step = symmetric_step(problem, penalty)
        (f,) = repeat(lambda f: (step(f),), (0.5 * (f + g),), iterations)
        return f, f
    return repeat(log_iteration(problem, penalty), (f, g), iterations)


def anneal(problem, penalty):
    """Potentials to start from: one log-domain iteration at each of eps = max |C|, max |C| / 2, ... (eps-scaling).

    Schmitzer 2019, section 3.2, with the halving of Feydy et al. 2019. A problem of the batch that has reached its
    own epsilon waits for the others.
    """
    largest = largest_cost(problem)
    # A problem at fault stays where it is: no halving brings it to an epsilon below 0, or down from infinity.
    last = ops.where(ops.logical_and(problem.epsilon > 0, ops.isfinite(largest)), problem.epsilon, largest)

    def above(epsilon, f, g):
        return ops.any(epsilon > last)

    def step(epsilon, f, g):
        f, g = log_iteration(problem._replace(epsilon=epsilon), penalty)(f, g)
        return ops.maximum(epsilon / 2.0, last), f, g

    zeros = ops.zeros_like(problem.source_weights), ops.zeros_like(problem.target_weights)
    _, f, g = ops.while_loop(above, step, (ops.maximum(largest, last), *zeros))
    return log_iteration(problem, penalty)(f, g)


def largest_cost(problem):
    """max |C| of each problem, (...); 1 where all costs are 0."""
    largest = ops.max(ops.abs(problem.cost), axis=(-2, -1))
    return ops.where(largest > 0, largest, ops.ones_like(largest))
