"""POT on PyTorch tensors."""

import numpy as np
import torch
from ot.batch import solve_batch

from benchmarks.ot.contestants.base import Contestant, batched


class PotTorch(Contestant):
    """`ot.batch.solve_batch` on PyTorch tensors; `detached` leaves gradients to the caller."""

    def __init__(self, threads, detached=False):
        torch.set_num_threads(threads)
        self.detached = detached

    def sinkhorn(self, arrays, epsilon, iterations):
        """The log domain; a `max_iter` of 100 is 100 updates of both potentials, and nothing is below tol = 0."""
        cost = torch.from_numpy(batched(arrays["cost"]))
        shifts = np.log(cost.shape[1:])

        def solve():
            result = solve_batch(cost, epsilon, max_iter=iterations, tol=0, method="log_sinkhorn", reg_type="kl")
            u, v = result.potentials
            return {
                "source_potential": epsilon * (u + shifts[0]),
                "target_potential": epsilon * (v + shifts[1]),
                "regularized_cost": result.value,
            }

        return solve

    def ipot(self, arrays, beta, iterations, gradient=None):
        """The proximal method.

        POT 0.9.7 takes log T with the wrong sign (PythonOT/POT issue 842), and then alternates between two plans of
        which neither is a solution. Its kernel is -(C + inner_reg log T) / (reg + inner_reg): with reg = 2 beta and
        inner_reg = -beta that is the method of the paper, at the same speed.
        """
        cost = torch.from_numpy(arrays["cost"]).requires_grad_(gradient is not None)
        how = {None: "detach", "envelope": "envelope", "unrolled": "autodiff"}[gradient]

        def solve():
            given = cost.detach() if self.detached else cost
            result = solve_batch(
                given, 2 * beta, max_iter=iterations, tol=0, method="proximal", inner_reg=-beta, grad=how
            )
            values = (result.plan * cost).sum((1, 2)) if self.detached else result.value_linear
            found = {"transport_cost": values.detach(), "plan": result.plan.detach()}
            if gradient is None:
                return found
            return found | {"gradient": torch.autograd.grad(values.sum(), cost)[0]}

        return solve
