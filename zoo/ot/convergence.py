"""How a solver says that it stopped before it had converged."""

import warnings

import numpy as np
from keras import ops

from zoo.ot.backend import has_values

REMEDY = (
    "Values and gradients are off. Raise `max_iterations`, or `epsilon`; where epsilon is small, `sinkhorn` and losses "
    "have `epsilon_scaling=True`. If so large an error does, raise `tolerance`; `tolerance=0` asks for exactly "
    "`max_iterations` and does not warn."
)


class ConvergenceWarning(UserWarning):
    """A solver of `zoo.ot` stopped at its bound of iterations, before its error was below the tolerance."""


def warn_unconverged(solver, result, tolerance, max_iterations, *, error=None, remedy=REMEDY, stacklevel=3):
    """Warns where a result has not converged, if that can be read: not while a graph is traced.

    Args:
        solver: Name of the function that the user called.
        result: Has `converged` and `marginal_error`, (...).
        tolerance: What the error was to be below; 0, which no error is, asked for all iterations on purpose.
        max_iterations: Bound of the iterations.
        error: What was compared with the tolerance, (...), if it is not `marginal_error`.
        remedy: What to do about it.
        stacklevel: As of `warnings.warn`, seen from here.
    """
    if not has_values(result.converged):
        return
    converged = ops.convert_to_numpy(result.converged)
    if np.all(converged) or not np.any(ops.convert_to_numpy(tolerance) > 0):
        return
    error = result.marginal_error if error is None else error
    many = f" {np.sum(~converged)} of {converged.size} problems did not; the worst:" if converged.size > 1 else ""
    warnings.warn(
        f"`{solver}` stopped after {_number(max_iterations)} iterations, before it had converged.{many} error "
        f"{np.max(ops.convert_to_numpy(ops.stop_gradient(error))):.2g}, asked for: below "
        f"{_number(tolerance):g}. {remedy}",
        ConvergenceWarning,
        stacklevel=stacklevel,
    )


def _number(value):
    return np.max(ops.convert_to_numpy(value))
