"""How the solution under relaxed marginals moves with the problem: one linear system, solved where values are wanted.

With exact marginals every value of `sinkhorn` is stationary in the potentials, up to what the weights say. With
penalties the entropic value is not: <P, log a b^T> depends on the plan. Its gradient needs H (x, y) = (R, S), with H
minus the second derivative of the dual,

    H = [diag(P 1) k, P / eps; P^T / eps, diag(P^T 1) k],    k = 1 / rho + 1 / eps.
"""

from keras import ops

from zoo.ot.inputs import dtype_of
from zoo.ot.solvers import times, times_transposed

# Residual, relative to the right side, at which the solution is as exact as its type.
RESIDUAL = {"float32": 1e-7, "float64": 1e-14}
MOST_ITERATIONS = 1000


def solve_adjoint(plan, rows, columns, epsilon, penalty, R, S):
    """(x, y) of H (x, y) = (R, S), for R and S of the same sum.

    y is eliminated, and x scaled so that the system is (I - A A^T) x = r with A = P / sqrt(rows columns) / (eps k).
    The largest singular value of A belongs to sqrt(rows) and is rho / (rho + eps): so near 1 for large rho that this
    part is taken in closed form. On the rest conjugate gradients converge faster than Sinkhorn's iterations.

    Args:
        plan: P, (..., n, m).
        rows: P 1, (..., n).
        columns: P^T 1, (..., m).
        epsilon: (...).
        penalty: rho, ().
        R: (..., n).
        S: (..., m).

    Returns:
        x, (..., n), and y, (..., m), 0 where rows and columns are 0.
    """
    epsilon = epsilon[..., None]
    k = 1.0 / penalty + 1.0 / epsilon
    factor = penalty / (penalty + epsilon)
    to_x, to_y = _inverse_root(rows * k), _inverse_root(columns * k)

    def from_y(y):
        return to_x * times(plan, to_y * y) / epsilon

    def to_other(x):
        return to_y * times_transposed(plan, to_x * x) / epsilon

    mass = ops.sum(rows, axis=-1, keepdims=True)
    top = ops.sqrt(rows) * _inverse_root(mass)

    def rest(x):
        return x - top * _dot(top, x)

    def system(x):
        return rest(x - from_y(to_other(x)))

    right = rest(to_x * R - from_y(to_y * S))
    x = _conjugate_gradients(system, right, RESIDUAL[dtype_of(plan)])
    share = _dot(ops.sqrt(rows), ops.sqrt(rows))
    x = to_x * x + ops.sum(R, axis=-1, keepdims=True) / (k * (1.0 + factor) * ops.where(share > 0, share, 1.0))
    x = ops.where(rows > 0, x, 0.0)
    return x, to_y * to_y * (S - times_transposed(plan, x) / epsilon)


def _conjugate_gradients(system, right, residual):
    """x of system(x) = right, (..., n), problem by problem (Hestenes and Stiefel 1952)."""
    enough = residual**2 * _dot(right, right)

    def more(x, r, p, size, count):
        return ops.logical_and(count < MOST_ITERATIONS, ops.any(size > enough))

    def step(x, r, p, size, count):
        q = system(p)
        curvature = _dot(p, q)
        going = ops.logical_and(size > enough, curvature > 0)
        length = ops.where(going, size / ops.where(going, curvature, 1.0), 0.0)
        x, r = x + length * p, r - length * q
        new = ops.where(going, _dot(r, r), 0.0)
        return x, r, r + new / ops.where(going, size, 1.0) * p, new, count + 1

    state = ops.zeros_like(right), right, right, _dot(right, right), ops.zeros((), "int32")
    return ops.while_loop(more, step, state)[0]


def _dot(x, y):
    return ops.sum(x * y, axis=-1, keepdims=True)


def _inverse_root(values):
    """1 / sqrt(values), 0 where they are 0."""
    positive = values > 0
    return ops.where(positive, ops.rsqrt(ops.where(positive, values, 1.0)), 0.0)
