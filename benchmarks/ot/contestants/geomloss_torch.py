"""GeomLoss on PyTorch tensors."""

import torch
from geomloss.ot import solve_batch

from benchmarks.ot.contestants.base import Contestant, batched


class GeomLoss(Contestant):
    """`geomloss.ot.solve_batch` on PyTorch tensors."""

    def __init__(self, threads):
        torch.set_num_threads(threads)

    def sinkhorn(self, arrays, epsilon, iterations):
        """`iterations` symmetric iterations in which epsilon falls from max C - min C, and one more at the end."""
        cost = torch.from_numpy(batched(arrays["cost"]))

        def solve():
            result = solve_batch(cost, reg=epsilon, max_iter=iterations)
            return {
                "source_potential": result.potential_a,
                "target_potential": result.potential_b,
                "regularized_cost": result.value,
            }

        return solve
