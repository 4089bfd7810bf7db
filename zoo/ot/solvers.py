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
"""

from keras import ops

from zoo.ot.backend import repeat
from zoo.ot.inputs import column, dtype_of, line

# Iterations between two looks at the error.
BLOCK = 10
LIMIT = {"float32": 60.0, "float64": 600.0}
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


def damping(problem, penalty):
    """rho / (rho + eps) of the relaxed marginals, (..., 1): the factor by which updates fall short of the balanced.

    None without a penalty.
    """
    return None if penalty is None else (penalty / (penalty + problem.epsilon))[..., None]


def log_updates(problem, penalty):
    """The two half iterations in the log domain: functions of the other side's potential."""
    cost, epsilon = problem.cost, problem.epsilon[..., None]
    factor = damping(problem, penalty)

    def update(logits, axis, valid):
        largest = ops.stop_gradient(ops.max(logits, axis=axis, keepdims=True))
        sums = ops.log(ops.sum(ops.exp(logits - largest), axis=axis)) + ops.squeeze(largest, axis)
        potential = -epsilon * sums if factor is None else -factor * epsilon * sums
        return potential if valid is None else ops.where(valid > 0, potential, ops.zeros_like(potential))

    source, target = log_weights(problem.source_weights), log_weights(problem.target_weights)

    def source_update(g):
        return update(line(g / epsilon + target) - cost / column(epsilon), -1, problem.source_valid)

    def target_update(f):
        return update(column(f / epsilon + source) - cost / column(epsilon), -2, problem.target_valid)

    return source_update, target_update


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


def solve(problem, penalty, tolerance, max_iterations, hopeless, f, g):
    """Potentials by products with the log domain as fallback.

    Args:
        problem: `Problem`.
        penalty: rho (scalar tensor) or None.
        tolerance: Scalar tensor.
        max_iterations: int32 scalar tensor, rounded up to whole blocks.
        hopeless: Problems not to be tried, bool (...).
        f: Source potential to start from, (..., n).
        g: Target potential to start from, (..., m).

    Returns:
        (f, g, u, v, done, iterations), the last two of shape (...). The solution is f + eps log u and g + eps log v;
        apart, the plan is more exact than with their rounded sum.
    """
    limit = LIMIT[dtype_of(problem.cost)]
    a, b, epsilon = problem.source_weights, problem.target_weights, problem.epsilon[..., None]
    factor = damping(problem, penalty)

    def scaled(sums, offset, valid):
        # A padded point's sum is 0; made 1, its scaling stays 1 and its potential 0.
        sums = sums if valid is None else sums + (1.0 - valid)
        return 1.0 / sums if factor is None else ops.exp(offset - factor * ops.log(sums))

    def more(f, g, u, v, done, iterations, count, rejected):
        return ops.logical_and(count < max_iterations, ops.logical_not(ops.all(done)))

    def rounds(f, g, u, v, done, iterations, count, rejected):
        f, g = f + epsilon * ops.log(u), g + epsilon * ops.log(v)
        f, g, done, iterations, count = ops.cond(
            rejected,
            lambda: log_block(problem, penalty, tolerance, f, g, done, iterations, count),
            lambda: (f, g, done, iterations, count),
        )
        K = kernel(problem, f, g)
        source_offset = None if factor is None else (factor - 1.0) * f / epsilon
        target_offset = None if factor is None else (factor - 1.0) * g / epsilon

        def in_range(u, v, done, iterations, count, spread):
            return ops.logical_and(spread <= limit / 2, more(f, g, u, v, done, iterations, count, rejected))

        def block(u, v, done, iterations, count, _):
            new_u, new_v = u, v
            for _ in range(BLOCK):
                old_u = new_u
                new_u = scaled(times(K, b * new_v), source_offset, problem.source_valid)
                new_v = scaled(times_transposed(K, a * new_u), target_offset, problem.target_valid)
            error = relative_change(problem, old_u / new_u)
            spread = ops.max(ops.abs(ops.log(new_u)), axis=-1) + ops.max(ops.abs(ops.log(new_v)), axis=-1)
            # A maximum may pass over numbers that are not; a sum does not.
            spread = ops.where(ops.isnan(error), float("inf"), spread)
            spread = ops.max(ops.where(done, 0.0, spread))
            keep = ops.logical_and(spread <= limit, ops.logical_not(done))[..., None]
            u, v = ops.where(keep, new_u, u), ops.where(keep, new_v, v)
            return u, v, *advance(spread <= limit, error, tolerance, done, iterations, count), spread

        u, v, done, iterations, count, spread = ops.while_loop(
            in_range, block, (ops.ones_like(f), ops.ones_like(g), done, iterations, count, ops.zeros_like(tolerance))
        )
        return f, g, u, v, done, iterations, count, ops.logical_not(spread <= limit)

    state = (f, g, ops.ones_like(f), ops.ones_like(g), *beginning(hopeless), ops.convert_to_tensor(False))
    return ops.while_loop(more, rounds, state)[:6]


def solve_log(problem, penalty, tolerance, max_iterations, hopeless, f, g):
    """The reference of `solve`: every iteration in the log domain; the same arguments and results."""

    def more(f, g, done, iterations, count):
        return ops.logical_and(count < max_iterations, ops.logical_not(ops.all(done)))

    def block(f, g, done, iterations, count):
        return log_block(problem, penalty, tolerance, f, g, done, iterations, count)

    f, g, done, iterations, _ = ops.while_loop(more, block, (f, g, *beginning(hopeless)))
    return f, g, ops.ones_like(f), ops.ones_like(g), done, iterations


def solve_symmetric(problem, penalty, tolerance, max_iterations, hopeless, f, g):
    """Transport of a measure onto itself by f <- (f + T f) / 2 with T the log-domain update; as `solve`.

    Near the solution T multiplies an error by numbers in [-1, 0] where the kernel is positive definite, as it is for
    squared and plain Euclidean costs; the mean of f and T f then at least halves it. So some tens of iterations do,
    whatever epsilon is, where updates in turns can need thousands (Feydy et al. 2019, Interpolating between optimal
    transport and MMD using Sinkhorn divergences). The error is read at each.
    """
    step = symmetric_step(problem, penalty)

    def more(f, done, iterations, count):
        return ops.logical_and(count < max_iterations, ops.logical_not(ops.all(done)))

    def iteration(f, done, iterations, count):
        new_f = step(f)
        error = relative_change(problem, ops.exp(2.0 * (f - new_f) / problem.epsilon[..., None]))
        finished = ops.logical_or(error < tolerance, ops.isnan(error))
        f, iterations = ops.where(done[..., None], f, new_f), iterations + ops.where(done, 0, 1)
        return f, ops.logical_or(done, finished), iterations, count + 1

    f, done, iterations, _ = ops.while_loop(more, iteration, (0.5 * (f + g), *beginning(hopeless)))
    return f, f, ops.ones_like(f), ops.ones_like(f), done, iterations


def symmetric_step(problem, penalty):
    """The function from f to (f + T f) / 2."""
    update, _ = log_updates(problem, penalty)
    return lambda f: 0.5 * (f + update(f))


def beginning(hopeless):
    """(done, iterations, count) before the first block."""
    return hopeless, ops.cast(ops.zeros_like(hopeless), "int32"), ops.zeros((), "int32")


def log_block(problem, penalty, tolerance, f, g, done, iterations, count):
    """`BLOCK` iterations in the log domain; finished problems stay as they are."""
    source_update, target_update = log_updates(problem, penalty)

    def iteration(f, g, _):
        new_f = source_update(g)
        return new_f, target_update(new_f), f

    new_f, new_g, old_f = repeat(iteration, (f, g, f), BLOCK)
    error = relative_change(problem, ops.exp((old_f - new_f) / problem.epsilon[..., None]))
    new_f, new_g = ops.where(done[..., None], f, new_f), ops.where(done[..., None], g, new_g)
    return new_f, new_g, *advance(True, error, tolerance, done, iterations, count)


def advance(kept, error, tolerance, done, iterations, count):
    """(done, iterations, count) after a block. A problem that is not a number is finished: it cannot get better."""
    kept = ops.cast(kept, "int32")
    iterations = iterations + ops.where(done, 0, BLOCK * kept)
    finished = ops.logical_and(ops.logical_or(error < tolerance, ops.isnan(error)), kept > 0)
    return ops.logical_or(done, finished), iterations, count + BLOCK * kept


def unroll(problem, penalty, iterations, f, g, symmetric):
    """Exactly `iterations` iterations in the log domain, in a way that gradients pass through each of them."""
    if symmetric:
        step = symmetric_step(problem, penalty)
        (f,) = repeat(lambda f: (step(f),), (0.5 * (f + g),), iterations)
        return f, f
    source_update, target_update = log_updates(problem, penalty)

    def iteration(f, g):
        f = source_update(g)
        return f, target_update(f)

    return repeat(iteration, (f, g), iterations)


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
        source_update, target_update = log_updates(problem._replace(epsilon=epsilon), penalty)
        f = source_update(g)
        return ops.maximum(epsilon / 2.0, last), f, target_update(f)

    zeros = ops.zeros_like(problem.source_weights), ops.zeros_like(problem.target_weights)
    _, f, g = ops.while_loop(above, step, (ops.maximum(largest, last), *zeros))
    source_update, target_update = log_updates(problem, penalty)
    f = source_update(g)
    return f, target_update(f)


def largest_cost(problem):
    """max |C| of each problem, (...); 1 where all costs are 0."""
    largest = ops.max(ops.abs(problem.cost), axis=(-2, -1))
    return ops.where(largest > 0, largest, ops.ones_like(largest))
