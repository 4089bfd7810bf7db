"""Entropic and proximal optimal transport: time, memory and accuracy of `zoo.ot` and its peers on the CPU.

    python -m benchmarks.ot
    python -m benchmarks.ot --sections fixed ipot --rounds 9 --json ot.json
    python -m benchmarks.ot --quick                       # small problems, two rounds, a few minutes

The contestants, all in float32 with the cost matrix given:

- zoo           `zoo.ot.sinkhorn` and `ipot` inside a `tf.function`.
- ott           OTT-JAX, `jax.jit`, log domain; 100 fixed iterations as a scan, its fastest configuration.
- geomloss      `geomloss.ot.solve_batch` on PyTorch, log domain. All its iterations belong to one descent of epsilon
                from max C - min C, both potentials are updated at once, and it has no stopping rule.
- pot-torch     POT's `ot.batch.solve_batch` on PyTorch, log domain. `pot-detached` (only in `ipot`) calls it on a
                detached cost and multiplies with the plan by hand, which spares it the graph it would throw away.
- pot-numpy     POT's `ot.sinkhorn(method="sinkhorn_log")`, a loop over problems.
- pot-kernel    POT's `ot.sinkhorn(method="sinkhorn")`: products as ours, but not stabilised, so that it overflows at a
                small epsilon. Named because it is the only peer near our speed; no target refers to it.

Costs are squared Euclidean between normal points in R^64, divided by their mean problem by problem: epsilon = 0.05 then
is 0.05 mean(C) for each problem of a batch, also for libraries that take one number.

Each contestant has a process of its own, kept alive over a pipe, and only one works at a time. They take turns round by
round; the time of a turn is the median of its calls. The ratio is a contestant's time over zoo's in the same round:
above 1, zoo is faster. Before the clock runs, each contestant's own value (regularised cost, or transport cost where it
has no other) is compared with a float64 solution in the log domain by NumPy, run to convergence: starting points,
orders of updates and descents differ, so that the bound is 1e-3. `marginal` is the L1 error of the worse marginal of
the plan that belongs to a contestant's potentials, computed in float64 here. `first call` includes compiling, and is no
part of the ratio.

Run it on a machine that does nothing else. PyTorch's OpenMP threads spin while they wait: beside one other busy process
`geomloss` and `pot-torch` were up to a hundred times slower here, which a wide `min - max` gives away.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.ot_contestants import Processes, installed

SECTIONS = ("fixed", "converged", "ipot", "memory", "exponent", "accuracy")
# (batch, n); a batch of 0 is one problem without a batch axis.
BATCH, SMALL, MEDIUM, LARGE = (64, 32), (0, 256), (0, 1024), (0, 4096)
TARGETS = {
    "ott": {BATCH: 6.0, SMALL: 6.0, MEDIUM: 3.5, LARGE: 4.5},
    "geomloss": {BATCH: 10.0, SMALL: 10.0, MEDIUM: 10.0, LARGE: 30.0},
    "pot-torch": {BATCH: 10.0, SMALL: 10.0, MEDIUM: 10.0, LARGE: 30.0},
}
IPOT_TARGET = 6.0
ITERATIONS = 100
SAME_VALUE = 1e-3
# Converged rows: the error to reach, the one above which a row is marked, and when to give up.
MARGINAL_ERROR, FAIR_ERROR = 1e-4, 1.2e-4
MOST_ITERATIONS = {"zoo": 20_000, "ott": 20_000, "geomloss": 500, "pot-torch": 5000}
# Contestants slower than this leave after `SLOW_ROUNDS` rounds.
SLOW_SECONDS, SLOW_ROUNDS = 4.0, 2
# Load average of the last minute above which the run says that others are at work.
BUSY = 0.5


class Bench:
    """Options, the folder of the problems, and the figures to keep."""

    def __init__(self, options, folder):
        self.options, self.folder, self.figures = options, Path(folder), []

    def processes(self, *names):
        """Those of the contestants that are installed, running."""
        return Processes(installed(names), self.options.threads)

    def write(self, name, **arrays):
        """Writes a problem and returns its path."""
        path = str(self.folder / f"{name}.npz")
        np.savez(path, **arrays)
        return path

    def problem(self, batch, n):
        """(path, cost) of the problem of this size."""
        source, target = points(batch, n)
        cost = squared_distances(source, target)
        cost = (cost / cost.mean(axis=(-2, -1), keepdims=True)).astype("float32")
        return self.write(f"{batch}x{n}", cost=cost), cost

    def measure(self, processes, names):
        """{name: seconds of a turn in each round}."""
        times = {name: [] for name in names}
        for turn in range(self.options.rounds):
            # Another one begins each round, so that nobody always follows the same contestant.
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                if turn < SLOW_ROUNDS or max(times[name]) < SLOW_SECONDS:
                    times[name].append(processes.ask(name, "turn", self.options.budget))
        return times

    def table(self, title, times, columns, targets=None):
        """Prints and keeps one row per contestant; `columns` is {name: {heading: text or number}}."""
        headings = list(next(iter(columns.values())))
        print(f"\n{title}")
        print(f"{'':14}{'ms':>11}{'ratio':>9}{'min - max':>20}{'target':>9}" + "".join(f"{h:>15}" for h in headings))
        for name, measured in times.items():
            ratios = [mine / ours for mine, ours in zip(measured, times["zoo"], strict=False)]
            row = {"contestant": name, "ms": 1e3 * statistics.median(measured), "ratio": statistics.median(ratios)}
            row |= {"ratio_min": min(ratios), "ratio_max": max(ratios), "target": (targets or {}).get(name)}
            self.figures.append({"table": title, **row, **columns[name], "rounds_ms": [1e3 * t for t in measured]})
            target = f">= {row['target']:g}" if row["target"] else ""
            spread = f"{row['ratio_min']:.2f} - {row['ratio_max']:.2f}"
            line = f"{name:14}{row['ms']:11.2f}{row['ratio']:9.2f}{spread:>20}{target:>9}"
            print(line + "".join(f"{shown(columns[name][h]):>15}" for h in headings), flush=True)

    def keep(self, table, **row):
        """Keeps a row that has a print of its own."""
        self.figures.append({"table": table, **row})


def fixed(bench):
    """100 iterations of everybody."""
    sizes = [BATCH, SMALL] if bench.options.quick else [BATCH, SMALL, MEDIUM, LARGE]
    with bench.processes("zoo", "ott", "geomloss", "pot-torch", "pot-numpy", "pot-kernel") as processes:
        names = list(processes.running)
        for size in sizes:
            path, cost = bench.problem(*size)
            # At 4096 the reference would take minutes: there, the others are compared with zoo.
            expected = None if size == LARGE else values(cost, 0.05, *reference(cost, 0.05))
            columns = {}
            for name in names:
                processes.ask(name, "take", "sinkhorn", path, epsilon=0.05, iterations=ITERATIONS)
                found, seconds = processes.ask(name, "answer")
                expected = expected or found
                kind = "regularized_cost" if "regularized_cost" in found else "transport_cost"
                off = difference(found[kind], expected[kind])
                if not off <= SAME_VALUE:
                    raise SystemExit(f"{label(size)}: the {kind} of {name} is off by {off:.1e}.")
                columns[name] = {"value off": off, "marginal": marginal(cost, 0.05, found), "first call, s": seconds}
            targets = {name: target[size] for name, target in TARGETS.items()}
            title = f"fixed: {label(size)}, {ITERATIONS} iterations, epsilon = 0.05 mean(C)"
            bench.table(title, bench.measure(processes, names), columns, targets)


def converged(bench):
    """To an L1 error of the marginal of 1e-4.

    zoo and ott stop by themselves, looking every ten iterations. POT stops by another norm and GeomLoss not at all:
    they are told the smallest multiple of ten iterations that is enough, found outside the timing.
    """
    print(f"\nRows end at a marginal error of {MARGINAL_ERROR:g}. '!' marks a plan above {FAIR_ERROR:g}.")
    with bench.processes("zoo", "ott", "geomloss", "pot-torch") as processes:
        for size in [SMALL] if bench.options.quick else [BATCH, SMALL, MEDIUM]:
            path, cost = bench.problem(*size)
            for epsilon in (0.05, 0.005):
                columns = {}
                for name in processes.running:
                    settings = {"iterations": MOST_ITERATIONS[name], "tolerance": MARGINAL_ERROR}
                    if name not in ("zoo", "ott"):
                        settings = {"iterations": fewest(processes, name, path, cost, epsilon)}
                    processes.ask(name, "take", "sinkhorn", path, epsilon=epsilon, **settings)
                    found, _ = processes.ask(name, "answer")
                    error = marginal(cost, epsilon, found)
                    columns[name] = {
                        "iterations": int(np.max(found.get("num_iterations", settings["iterations"]))),
                        "marginal": error,
                        "": "" if error <= FAIR_ERROR else "! not reached",
                    }
                title = f"converged: {label(size)}, epsilon = {epsilon:g} mean(C)"
                bench.table(title, bench.measure(processes, list(columns)), columns)


def fewest(processes, name, path, cost, epsilon):
    """The smallest multiple of ten iterations that reaches the error, or the most that are tried."""

    def enough(tens):
        processes.ask(name, "take", "sinkhorn", path, epsilon=epsilon, iterations=10 * tens)
        return marginal(cost, epsilon, processes.ask(name, "answer")[0]) <= MARGINAL_ERROR

    low, high, most = 0, 1, MOST_ITERATIONS[name] // 10
    while not enough(high):
        if high == most:
            return 10 * most
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return 10 * high


def ipot(bench):
    """50 proximal steps at cosine costs: ours with lengths 8 to 32 under masks, POT without masks at 32 x 32."""
    numbers = np.random.default_rng(1)
    batch, n, beta, steps = 64, 32, 0.5, 50
    source, target = (unit(numbers.standard_normal((batch, n, 64))) for _ in range(2))
    cost = (1.0 - source @ np.swapaxes(target, -1, -2)).astype("float32")
    masks = [np.arange(n) < numbers.integers(8, n + 1, (batch, 1)) for _ in range(2)]
    whole = bench.write("ipot", cost=cost)
    padded = bench.write("ipot_masked", cost=cost, source_mask=masks[0], target_mask=masks[1])

    full = np.sum(proximal(cost, beta, steps) * cost, axis=(-2, -1))
    parts = [matrix[source][:, target] for matrix, source, target in zip(cost, *masks, strict=True)]
    cropped = np.array([np.sum(proximal(part, beta, steps) * part) for part in parts])
    with bench.processes("zoo", "pot-torch", "pot-detached") as processes:
        processes.ask("zoo", "take", "ipot", whole, beta=beta, iterations=steps)
        off = difference(processes.ask("zoo", "answer")[0]["transport_cost"], full)
        print(f"\nipot: zoo without masks is off by {off:.1e} from float64 NumPy.")
        for gradient in (None, "envelope", "unrolled"):
            columns = {}
            for name in processes.running:
                if name == "pot-detached" and gradient != "envelope":
                    continue
                path, expected = (padded, cropped) if name == "zoo" else (whole, full)
                processes.ask(name, "take", "ipot", path, beta=beta, iterations=steps, gradient=gradient)
                found, seconds = processes.ask(name, "answer")
                off = difference(found["transport_cost"], expected)
                if not off <= SAME_VALUE:
                    raise SystemExit(f"ipot: the transport cost of {name} is off by {off:.1e}.")
                columns[name] = {"value off": off, "first call, s": seconds}
            backward = f"and backward, {gradient} gradient" if gradient else "only"
            title = f"ipot: {batch} problems, lengths 8 to {n}, {steps} iterations, forward {backward}"
            targets = None if gradient == "unrolled" else {"pot-torch": IPOT_TARGET, "pot-detached": IPOT_TARGET}
            bench.table(title, bench.measure(processes, list(columns)), columns, targets)


def memory(bench):
    """Peak resident memory of one call; then 100,000 points without their cost matrix."""
    size = MEDIUM if bench.options.quick else LARGE
    (warm, _), (path, cost) = bench.problem(*SMALL), bench.problem(*size)
    title = f"memory: {label(size)}, one call of 10 iterations in a fresh process, warmed at n = {SMALL[1]}"
    print(f"\n{title}\nThe cost has {cost.nbytes / 2**20:.0f} MiB. Memory that compiling takes is included.")
    print(f"{'':14}{'before, MiB':>14}{'peak, MiB':>14}{'above, MiB':>14}{'above / cost':>15}")
    for name in installed(("zoo", "ott", "geomloss", "pot-torch", "pot-numpy", "pot-kernel")):
        with bench.processes(name) as processes:
            processes.ask(name, "take", "sinkhorn", warm, epsilon=0.05, iterations=10)
            processes.ask(name, "answer")
            processes.ask(name, "take", "sinkhorn", path, epsilon=0.05, iterations=10)
            before, peak, _ = (figure / 2**20 for figure in processes.ask(name, "memory"))
        times_cost = (peak - before) * 2**20 / cost.nbytes
        print(f"{name:14}{before:14.0f}{peak:14.0f}{peak - before:14.0f}{times_cost:15.2f}", flush=True)
        bench.keep(title, contestant=name, before_mib=before, peak_mib=peak)

    # The large run takes minutes: it is left to those who ask for this section.
    many, iterations = (100_000 if bench.options.long else 10_000), 5
    few = many // 10
    print(f"\nmemory: point_cloud_sinkhorn in R^2, {iterations} iterations, epsilon = 0.05 mean(C); target: under 2 GB")
    for n in (few, many):
        source, target = (array.astype("float32") for array in points(0, n, dimension=2))
        epsilon = 0.05 * float(squared_distances(source[:1000], target[:1000]).mean())
        path = bench.write("points", source=source, target=target)
        with bench.processes("zoo") as processes:
            processes.ask("zoo", "take", "point_cloud", path, epsilon=epsilon, iterations=iterations)
            before, peak, seconds = processes.ask("zoo", "memory")
            again = processes.ask("zoo", "turn", 0.0) if n == few else None
        whole = f"the cost matrix alone would take {4 * n * n / 1e9:.1f} GB"
        print(f"n = {n}: {seconds:.1f} s, {peak / 1e9:.2f} GB in all, {before / 1e9:.2f} before; {whole}", flush=True)
        bench.keep("memory: point cloud", n=n, seconds=seconds, peak_bytes=peak, before_bytes=before)
        if again:
            print(f"n = {many} has 100 times as many pairs: expect {100 * again / 60:.1f} minutes.", flush=True)


def exponent(bench):
    """How time grows with n, at 100 iterations."""
    sizes = [256, 512, 1024] if bench.options.quick else [256, 512, 1024, 2048, 4096]
    measured = {}
    print(f"\nexponent: {ITERATIONS} iterations, epsilon = 0.05 mean(C)\n{'n':>14}{'zoo, ms':>14}{'ott, ms':>14}")
    with bench.processes("zoo", "ott") as processes:
        for n in sizes:
            path, _ = bench.problem(0, n)
            names = [name for name in processes.running if name == "zoo" or n <= 2048]
            for name in names:
                processes.ask(name, "take", "sinkhorn", path, epsilon=0.05, iterations=ITERATIONS)
                processes.ask(name, "answer")
            times = {name: statistics.median(rounds) for name, rounds in bench.measure(processes, names).items()}
            for name, seconds in times.items():
                measured.setdefault(name, {})[n] = seconds
            print(f"{n:14}" + "".join(f"{1e3 * seconds:14.2f}" for seconds in times.values()), flush=True)
    for name, times in measured.items():
        slope, _ = np.polyfit(np.log(list(times)), np.log(list(times.values())), 1)
        print(f"{name}: time grows as n^{slope:.2f}, by least squares in logarithms over n = {list(times)}")
        bench.keep("exponent", contestant=name, exponent=float(slope), seconds=times)


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


def points(batch, n, dimension=64):
    """Sources from N(0, 1) and targets from N(0.1, 1), seeded."""
    numbers = np.random.default_rng(0)
    shape = (batch, n, dimension) if batch else (n, dimension)
    return numbers.standard_normal(shape), 0.1 + numbers.standard_normal(shape)


def squared_distances(source, target):
    squares = np.sum(source**2, axis=-1)[..., :, None] + np.sum(target**2, axis=-1)[..., None, :]
    return np.maximum(squares - 2.0 * source @ np.swapaxes(target, -1, -2), 0.0)


def unit(features):
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


def reference(cost, epsilon, iterations=None):
    """Potentials in float64 by the log domain from zoo's start; to an error of 1e-9 unless `iterations` are given."""
    cost = cost.astype("float64")
    n, m = cost.shape[-2:]
    scores, turned = -cost / epsilon, np.swapaxes(-cost / epsilon, -1, -2).copy()
    g = np.min(cost - np.min(cost, axis=-1, keepdims=True), axis=-2) / epsilon
    for count in range(1, (iterations or 2000) + 1):
        f = np.log(m) - log_sum(scores + g[..., None, :])
        g = np.log(n) - log_sum(turned + f[..., None, :])
        if iterations is None and count % 10 == 0 and errors(cost, epsilon, epsilon * f, epsilon * g).max() < 1e-9:
            break
    return epsilon * f, epsilon * g


def log_sum(scores):
    """Logarithm of the sum of exponentials over the last axis."""
    largest = np.max(scores, axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(scores - largest), axis=-1)) + largest[..., 0]


def plan_of(cost, epsilon, f, g):
    """The plan of potentials, uniform weights."""
    scores = (f[..., :, None] + g[..., None, :] - cost.astype("float64")) / epsilon
    return np.exp(scores) / np.prod(cost.shape[-2:])


def values(cost, epsilon, f, g):
    """The three values as `zoo.ot.SinkhornResult` defines them, the regularised one by the dual objective."""
    plan = plan_of(cost, epsilon, f, g)
    regularized = f.mean(axis=-1) + g.mean(axis=-1) - epsilon * (plan.sum(axis=(-2, -1)) - 1.0)
    return {
        "transport_cost": np.sum(plan * cost, axis=(-2, -1)),
        "regularized_cost": regularized,
        "entropic_cost": regularized - epsilon * np.log(np.prod(cost.shape[-2:])),
    }


def errors(cost, epsilon, f, g):
    """L1 error of each problem's worse marginal."""
    plan = plan_of(cost, epsilon, f, g)
    sides = (np.abs(plan.sum(axis=axis) - 1.0 / plan.shape[-3 - axis]).sum(axis=-1) for axis in (-1, -2))
    return np.maximum(*sides)


def marginal(cost, epsilon, found):
    """The largest of `errors`, of a contestant's answer."""
    f, g = (found[f"{side}_potential"].reshape(*cost.shape[:-2], -1) for side in ("source", "target"))
    return float(errors(cost, epsilon, f, g).max())


def proximal(cost, beta, steps):
    """The plan of the inexact proximal point method (Xie et al. 2019, algorithm 1) in float64, uniform weights."""
    n, m = cost.shape[-2:]
    step = np.exp(-cost.astype("float64") / beta)
    plan, sigma = np.ones_like(step), np.full((*cost.shape[:-2], m, 1), 1.0 / m)
    for _ in range(steps):
        Q = step * plan
        delta = 1.0 / (n * (Q @ sigma))
        sigma = 1.0 / (m * (np.swapaxes(Q, -1, -2) @ delta))
        plan = delta * Q * np.swapaxes(sigma, -1, -2)
    return plan


def difference(found, expected):
    """Largest relative difference over the problems."""
    return float(np.max(np.abs(np.ravel(found) / np.ravel(expected) - 1.0)))


def label(size):
    batch, n = size
    return f"B{batch} x n{n}" if batch else f"n{n}"


def shown(figure):
    return f"{figure:.3g}" if isinstance(figure, float) else str(figure)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ot", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sections",
        nargs="+",
        choices=SECTIONS,
        help="default: all; 100,000 points, which take minutes, only where `memory` is named",
    )
    parser.add_argument("--quick", action="store_true", help="small problems and, unless told otherwise, two rounds")
    parser.add_argument("--rounds", type=int, help="turns of each contestant (default: 7)")
    parser.add_argument("--budget", type=float, default=0.3, help="seconds of a turn (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each contestant (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the figures of all rounds to")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 7)
    options.long = "memory" in (options.sections or ()) and not options.quick
    options.sections = options.sections or SECTIONS

    print(
        f"{options.threads} threads, median of {options.rounds} rounds ({SLOW_ROUNDS} for calls above "
        f"{SLOW_SECONDS:g} s). Ratio: time / time of zoo in the same round, above 1 means zoo is faster."
    )
    if (load := os.getloadavg()[0]) > BUSY:
        print(f"The machine is busy (load {load:.1f}): ratios of PyTorch's contestants will be too high.")
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, folder)
        for section in options.sections:
            globals()[section](bench)
    print(f"\n{(time.perf_counter() - begin) / 60:.1f} minutes")
    if options.json:
        settings = {name: value for name, value in vars(options).items() if name != "json"}
        options.json.write_text(json.dumps({"settings": settings, "results": bench.figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
