"""Accuracy of `zoo.ot`: float32 against float64, the linear program and closed forms."""

import numpy as np

from benchmarks.ot.bench import BATCH, MEDIUM, SMALL, label
from benchmarks.ot.reference import difference, marginal, points, reference, squared_distances, values


def accuracy(bench):
    """float32 against float64 and closed forms."""
    kinds = "transport_cost", "regularized_cost", "entropic_cost"
    with bench.processes("zoo", "pot-numpy") as processes:

        def zoo(path, **settings):
            processes.ask("zoo", "take", "sinkhorn", path, **settings)
            return processes.ask("zoo", "answer")[0]

        print("\naccuracy: largest relative error over the problems, the same start and number of iterations")
        print(f"{'':14}{'epsilon':>9}{'iterations':>12}{'transport':>13}{'regularized':>13}{'entropic':>13}", end="")
        print(f"{'target':>9}{'marginal':>12}{'float64 log':>14}")
        for size in [BATCH, SMALL] if bench.options.quick else [BATCH, SMALL, MEDIUM]:
            path, cost = bench.problem(*size)
            for epsilon, iterations, target in ((0.05, 100, 1e-6), (0.005, 500, 1e-5)):
                task = {"epsilon": epsilon, "iterations": iterations}
                single, double = zoo(path, **task), zoo(path, method="log", dtype="float64", **task)
                expected = values(cost, epsilon, *reference(cost, epsilon, iterations))
                off = {kind: difference(single[kind], expected[kind]) for kind in kinds}
                error = marginal(cost, epsilon, single)
                log = max(difference(double[kind], expected[kind]) for kind in kinds)
                print(f"{label(size):14}{epsilon:9g}{iterations:12}", *(f"{off[kind]:12.1e}" for kind in kinds), end="")
                print(f"{target:9g}{error:12.1e}{log:14.1e}", flush=True)
                bench.keep("accuracy", size=size, epsilon=epsilon, target=target, marginal=error, log=log, **off)
        print("float64 log: `method='log'` in float64, worst of the three. All against NumPy in float64.")
        linear_program(bench, processes, zoo)
        closed_forms(bench, zoo)


def linear_program(bench, processes, zoo):
    """The transport cost exceeds that of the linear program by at most eps log n, and approaches it."""
    if "pot-numpy" not in processes.running:
        return
    cost = squared_distances(*points(0, 64, dimension=2))
    path = bench.write("linear", cost=cost / cost.mean())
    processes.ask("pot-numpy", "take", "exact", path)
    exact = float(processes.ask("pot-numpy", "answer")[0]["transport_cost"])
    print(f"\naccuracy: the linear program, n = 64 in R^2, `ot.emd2` = {exact:.6f}, ours in float64")
    print(f"{'epsilon':>14}{'cost / exact - 1':>19}{'bound':>12}{'marginal':>12}{'iterations':>12}")
    for epsilon in (0.1, 0.01, 0.001, 0.0001):
        task = {"epsilon": epsilon, "tolerance": 1e-8, "iterations": 100_000, "epsilon_scaling": True}
        found = zoo(path, dtype="float64", **task)
        excess, bound = float(found["transport_cost"]) / exact - 1, epsilon * np.log(64) / exact
        error = marginal(cost / cost.mean(), epsilon, found)
        count = int(found["num_iterations"])
        print(f"{epsilon:14g}{excess:19.1e}{bound:12.1e}{error:12.1e}{count:12}", flush=True)
        bench.keep("accuracy: linear program", epsilon=epsilon, excess=excess, bound=bound, marginal=error)


def closed_forms(bench, zoo):
    """Two normal distributions on a line, and the product plan."""
    means, deviations, epsilon = (0.0, 1.0), (1.0, 0.5), 0.5
    # Janati et al. 2020, Entropic optimal transport between unbalanced Gaussian measures has a closed form, theorem 1:
    # d = 1, cost (x - y)^2, eps = 2 sigma^2, KL against the product of the marginals.
    variance = epsilon / 2
    root = np.sqrt(4 * np.prod(np.square(deviations)) + variance**2)
    form = np.diff(means)[0] ** 2 + np.sum(np.square(deviations)) - root
    form += variance * (1 - np.log(2 * variance) + np.log(root + variance))
    grid = np.linspace(-9, 9, 401)
    densities = [np.exp(-0.5 * ((grid - mean) / width) ** 2) for mean, width in zip(means, deviations, strict=True)]
    a, b = (density / density.sum() for density in densities)
    path = bench.write("normal", cost=np.subtract.outer(grid, grid) ** 2, source_weights=a, target_weights=b)
    print(f"\naccuracy: N(0, 1) and N(1, 0.25) on a grid of 401 points, epsilon = {epsilon}: Janati et al. {form:.8f}")
    for dtype in ("float32", "float64"):
        value = float(zoo(path, epsilon=epsilon, iterations=1000, tolerance=1e-6, dtype=dtype)["regularized_cost"])
        print(f"zoo in {dtype}: {value:.8f}, off by {abs(value / form - 1):.1e}")
        bench.keep("accuracy: normal distributions", dtype=dtype, value=value, closed_form=form)
    path, cost = bench.problem(*SMALL)
    for epsilon in (10.0, 1e3, 1e5):
        found = float(zoo(path, epsilon=epsilon, iterations=100)["transport_cost"])
        off = abs(found / cost.mean(dtype="float64") - 1)
        print(f"{label(SMALL)}, epsilon = {epsilon:g} mean(C): off the product plan's cost by {off:.1e}")
        bench.keep("accuracy: product plan", epsilon=epsilon, off=off)
