"""The exact 2-Wasserstein distance between small point samples."""

import numpy as np

from zoo.metrics.checks import same_dimension, sample_matrix

MAX_ASSIGNMENT_SAMPLES = 5000
MAX_PROGRAM_VARIABLES = 40_000


def wasserstein_2(x, y):
    """Exact 2-Wasserstein distance between two point samples with uniform weights.

    W2(x, y)^2 = min over P of sum_ij P_ij ||x_i - y_j||^2, P >= 0, rows summing to 1/n, columns to 1/m.

    For n = m the minimum is attained at a permutation (Birkhoff) and found by the assignment algorithm of
    `scipy.optimize.linear_sum_assignment`, O(n^3). For n != m the linear program itself is solved with
    HiGHS, which is much slower and therefore limited to small samples.
    Source: Peyre and Cuturi, Computational Optimal Transport (2019), section 2.3 and proposition 2.1.

    The value between two samples of ONE distribution is not 0 but falls slowly with n (as n^(-1/d) for
    d > 4): print the value between two real samples beside the value between real and generated ones.

    Args:
        x: array (n, d).
        y: array (m, d). Use n = m where you can; n = m <= 5,000, or n * m <= 40,000 when they differ.

    Returns:
        A float >= 0, in the unit of the samples.

    Raises:
        TypeError: an argument is not an array of real numbers.
        ValueError: shapes do not fit, values are not finite, or the samples are too large to solve exactly.

    Example:

        >>> import numpy as np
        >>> from zoo.metrics import wasserstein_2
        >>> x = np.array([[0.0, 0.0], [1.0, 0.0]])
        >>> wasserstein_2(x, x[::-1] + np.array([3.0, 4.0]))
        5.0
    """
    x = sample_matrix(x, "x")
    y = sample_matrix(y, "y")
    same_dimension(x, y, "x", "y")
    refuse_large(len(x), len(y))
    from scipy.spatial.distance import cdist

    cost = cdist(x, y, "sqeuclidean")
    squared = assignment_cost(cost) if len(x) == len(y) else program_cost(cost)
    return float(np.sqrt(max(squared, 0.0)))


def refuse_large(n, m):
    """Raises when an exact solution would take minutes or gigabytes."""
    if n == m and n > MAX_ASSIGNMENT_SAMPLES:
        raise ValueError(
            f"`x` and `y` may hold at most {MAX_ASSIGNMENT_SAMPLES} samples, because the exact assignment "
            f"takes time n^3 and memory n^2. Received: {n} samples each. Pass a random subset of both."
        )
    if n != m and n * m > MAX_PROGRAM_VARIABLES:
        raise ValueError(
            "`x` and `y` of different sizes need a linear program with n * m unknowns, of which at most "
            f"{MAX_PROGRAM_VARIABLES} are allowed. Received: n={n}, m={m}. Pass a random subset of "
            f"{min(n, m, MAX_ASSIGNMENT_SAMPLES)} samples of each: equal sizes are solved fast."
        )


def assignment_cost(cost):
    """Mean cost of the best one-to-one assignment of a square cost matrix (n, n)."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())


def program_cost(cost):
    """Cost of the best transport plan between uniform weights, from the linear program over (n, m)."""
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, kron, vstack

    n, m = cost.shape
    scale = cost.max()
    if scale == 0:
        return 0.0
    # One constraint a sample, weighted n * m so that right-hand sides are whole numbers. The last follows
    # from the others; left in, it can keep HiGHS busy for minutes.
    constraints = vstack([kron(eye_array(n), np.ones((1, m))), kron(np.ones((1, n)), eye_array(m))])
    masses = np.concatenate([np.full(n, float(m)), np.full(m, float(n))])
    result = linprog(cost.ravel() / scale, A_eq=constraints.tocsr()[:-1], b_eq=masses[:-1], method="highs-ds")
    if not result.success:
        raise RuntimeError(
            f"The transport program of {n} x {m} samples was not solved: {result.message} "
            f"Pass a random subset of {min(n, m)} samples of each, which needs no linear program."
        )
    return float(result.fun) * scale / (n * m)
