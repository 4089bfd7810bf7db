"""POT on NumPy arrays."""

import numpy as np
import ot

from benchmarks.ot.contestants.base import Contestant, batched


class Pot(Contestant):
    """`ot.sinkhorn` on NumPy arrays, problem by problem: "sinkhorn_log", or the unstabilised "sinkhorn"."""

    def __init__(self, method="sinkhorn_log"):
        self.method = method

    def sinkhorn(self, arrays, epsilon, iterations):
        """Potentials and the transport cost, the value that its users compute from the plan."""
        costs = batched(arrays["cost"])
        a, b = (np.full(size, 1 / size, "float32") for size in costs.shape[1:])

        def one(cost):
            plan, log = ot.sinkhorn(
                a, b, cost, epsilon, method=self.method, numItermax=iterations, stopThr=0, warn=False, log=True
            )
            u, v = (log["log_u"], log["log_v"]) if "log_u" in log else (np.log(log["u"]), np.log(log["v"]))
            return epsilon * (u - np.log(a)), epsilon * (v - np.log(b)), np.sum(plan * cost)

        def solve():
            names = "source_potential", "target_potential", "transport_cost"
            return dict(zip(names, map(np.stack, zip(*map(one, costs), strict=True)), strict=True))

        return solve

    def exact(self, arrays):
        """The linear program, uniform weights."""
        return lambda: {"transport_cost": ot.emd2([], [], arrays["cost"].astype("float64"))}
