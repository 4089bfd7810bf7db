"""Exact optimal transport with a given cost matrix, by the network simplex of POT."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from zoo.ot.backend import has_values
from zoo.ot.inputs import dtype_of, faults, prepare, report

# Measured on one core with POT 0.9.7: 2000 x 2000 took 0.8 to 1.2 s for random costs and points in the plane or in
# R^64, and 7 s for points on a line with squared costs; 4000 x 4000 took 5 s and 52 s.
MAX_ENTRIES = 4_000_000
# The slowest of those problems needed over 10^5 and under 10^6.
MAX_ITERATIONS = 10_000_000


class ExactResult(NamedTuple):
    """What `exact` found; tensors without the batch axis where the cost had none.

    Attributes:
        transport_cost: <P, C>, (batch,).
        plan: P, (batch, n, m), with at most n + m - 1 entries above 0. No gradient.
        source_potential: f, (batch, n), with f_i + g_j <= C_ij, equal where P_ij > 0, and sum f a + sum g b = <P, C>.
            Only the sum of both potentials is determined: a constant can move from f to g. No gradient.
        target_potential: g, (batch, m).

    Example:
        >>> result = exact(ops.array([[0.0, 2.0], [2.0, 1.0]]))
        >>> result._fields
        ('transport_cost', 'plan', 'source_potential', 'target_potential')
    """

    transport_cost: Any
    plan: Any
    source_potential: Any
    target_potential: Any


def exact(cost, source_weights=None, target_weights=None):
    """Optimal transport without regularisation, for one problem or a batch of them, one after the other.

    min over P >= 0 of <P, C>, with P 1 = a and P^T 1 = b (Peyre and Cuturi 2019, Computational Optimal Transport,
    section 2.3), by the network simplex of POT's `ot.emd` (Bonneel et al. 2011) in float64 on the CPU. It needs the
    optional package POT: `pip install "zoo-models[ot]"`.

    It is meant for small problems and as the reference of `sinkhorn`. The simplex needs values, so that it cannot run
    while a graph is traced; `sinkhorn` and `ipot` can. The gradient of `transport_cost` in the cost is the plan
    (envelope theorem). It has none in the weights; theirs, by the same theorem, are the potentials.

    Args:
        cost: C, (n, m) or (batch, n, m), floating point, with n * m at most 4,000,000 (2000 x 2000: 1 to 7 s on a CPU).
        source_weights: a, (n,) or (batch, n), at least 0, summing to 1. Uniform by default.
        target_weights: b, (m,) or (batch, m), likewise.

    Returns:
        `ExactResult`, in float32, or in float64 where the cost is.

    Raises:
        ImportError: If POT is not installed.
        ValueError: If shapes do not fit, a set is empty, the problem is too large, the cost is not finite, or weights
            are negative or do not sum to 1.
        RuntimeError: If a graph is traced, or the simplex found no optimum.

    Example:
        >>> result = exact(ops.array([[0.0, 2.0], [2.0, 1.0]]))
        >>> float(result.transport_cost)  # 0.5 * 0 + 0.5 * 1
        0.5
        >>> np.array(result.plan)
        array([[0.5, 0. ],
               [0. , 0.5]], dtype=float32)
    """
    problem = prepare(cost, 1.0, source_weights, target_weights)
    cost, _, source_weights, target_weights, _, _ = problem
    n, m = cost.shape[-2:]
    if None not in (n, m) and n * m > MAX_ENTRIES:
        raise ValueError(
            f"The problem is too large to solve exactly: {n} x {m} costs. Expected at most {MAX_ENTRIES} in a problem, "
            "since the time grows with the third power of n. Use `sinkhorn`, or a random subset of the points."
        )
    arrays = [ops.stop_gradient(array) for array in (cost, source_weights, target_weights)]
    if not all(map(has_values, arrays)):
        raise RuntimeError(
            "`exact` needs values, and was called while a graph is traced (`tf.function`, `fit`, `jax.jit`). Call it "
            "eagerly, or use `sinkhorn` or `ipot` in compiled code."
        )
    # Epsilon has no part here: its faults come last and are left out.
    report(faults(problem, balanced=True)[:4], problem, "epsilon")
    costs, sources, targets = (ops.convert_to_numpy(array).astype("float64") for array in arrays)
    if costs.ndim == 2:
        plan, f, g = _solve(costs, sources, targets)
    else:
        solutions = [_solve(*each) for each in zip(costs, sources, targets, strict=True)]
        plan, f, g = (np.stack(members) for members in zip(*solutions, strict=True))
    plan, f, g = (ops.convert_to_tensor(member, dtype_of(cost)) for member in (plan, f, g))
    return ExactResult(ops.sum(plan * cost, axis=(-2, -1)), plan, f, g)


def _solve(cost, source_weights, target_weights):
    """Plan and potentials of one problem of NumPy arrays in float64."""
    try:
        import ot
    except ImportError as error:
        raise ImportError(
            'Exact optimal transport needs the package POT, which is not installed. Run: pip install "zoo-models[ot]"'
        ) from error
    # Shifted and scaled into [0, 1], where the tolerances of the simplex fit.
    lowest = cost.min()
    scale = (cost.max() - lowest) or 1.0
    with warnings.catch_warnings():
        # What POT warns of comes in the log too.
        warnings.simplefilter("ignore")
        plan, log = ot.emd(
            source_weights / source_weights.sum(),
            target_weights / target_weights.sum(),
            (cost - lowest) / scale,
            numItermax=MAX_ITERATIONS,
            log=True,
        )
    if log["warning"] is not None:
        raise RuntimeError(
            f"The simplex found no optimum for {cost.shape[0]} x {cost.shape[1]} costs. POT says: {log['warning']} "
            "Use fewer points, or `sinkhorn`."
        )
    return plan, log["u"] * scale + lowest, log["v"] * scale
