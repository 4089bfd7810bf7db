"""Draws docs/plans.png: the plan between two densities on a line, for three epsilons and the exact one.

python docs/plot_plans.py
"""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt

from zoo import ot

POINTS = np.linspace(0.0, 1.0, 120)
RELATIVE = (0.5, 0.05, 0.005)


def density(*bumps):
    """Weights of a mixture of Gaussian bumps (mean, deviation, mass) on the points."""
    weights = sum(mass * np.exp(-0.5 * ((POINTS - mean) / width) ** 2) / width for mean, width, mass in bumps)
    return weights / weights.sum()


def main():
    """Solves, draws and writes the picture."""
    source = density((0.25, 0.06, 0.6), (0.7, 0.1, 0.4))
    target = density((0.4, 0.12, 0.5), (0.85, 0.04, 0.5))
    cost = np.array(ot.squared_euclidean(POINTS[:, None], POINTS[:, None]))
    mean = cost.mean()
    plans = [
        (
            f"epsilon = {relative} mean(C), {int(result.num_iterations)} iterations\n"
            f"transport cost {float(result.transport_cost):.4f}",
            np.array(result.plan),
        )
        for relative in RELATIVE
        for result in [ot.sinkhorn(cost, relative * mean, source, target, tolerance=1e-6, return_plan=True)]
    ]
    exact = ot.exact(cost, source, target)
    plans.append(
        (f"exact, by linear programming\ntransport cost {float(exact.transport_cost):.4f}", np.array(exact.plan))
    )

    figure, axes = plt.subplots(1, len(plans), figsize=(15, 4.2), layout="constrained")
    for axis, (title, plan) in zip(axes, plans, strict=True):
        axis.imshow(np.power(plan, 0.4), origin="lower", cmap="magma_r", extent=(0, 1, 0, 1))
        axis.plot(POINTS, 0.2 * target / target.max(), color="tab:blue", linewidth=1)
        axis.plot(0.2 * source / source.max(), POINTS, color="tab:green", linewidth=1)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("target (blue)")
    axes[0].set_ylabel("source (green)")
    figure.savefig(Path(__file__).with_name("plans.png"), dpi=90)


if __name__ == "__main__":
    main()
