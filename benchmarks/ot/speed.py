"""Time: a fixed number of iterations, to a given error, proximal steps, and growth with the size."""

import statistics

import numpy as np

from benchmarks.ot.bench import BATCH, ITERATIONS, LARGE, MEDIUM, SMALL, label
from benchmarks.ot.reference import difference, marginal, proximal, reference, unit, values
from benchmarks.side_by_side import ratios

TARGETS = {
    "ott": {BATCH: 6.0, SMALL: 6.0, MEDIUM: 3.5, LARGE: 4.5},
    "geomloss": {BATCH: 10.0, SMALL: 10.0, MEDIUM: 10.0, LARGE: 30.0},
    "pot-torch": {BATCH: 10.0, SMALL: 10.0, MEDIUM: 10.0, LARGE: 30.0},
}
IPOT_TARGET = 6.0
SAME_VALUE = 1e-3
# Converged rows: the error to reach, the one above which a row is marked, and when to give up.
MARGINAL_ERROR, FAIR_ERROR = 1e-4, 1.2e-4
MOST_ITERATIONS = {"zoo": 20_000, "ott": 20_000, "geomloss": 500, "pot-torch": 5000}


def fixed(bench):
    """100 iterations of everybody; beside them, the ratio of times to an equal error, of those in `converged`."""
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
            times = bench.measure(processes, names)
            stopping = [name for name in names if name in MOST_ITERATIONS]
            equal, _ = to_equal_error(bench, processes, stopping, path, cost, 0.05)
            for name in names:
                reached = ratios(equal[name], equal["zoo"])["ratio"] if name in equal else "-"
                columns[name]["to equal error"] = reached
            targets = {name: target[size] for name, target in TARGETS.items()}
            title = f"fixed: {label(size)}, {ITERATIONS} iterations, epsilon = 0.05 mean(C)"
            bench.table(title, times, columns, targets)


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
                title = f"converged: {label(size)}, epsilon = {epsilon:g} mean(C)"
                bench.table(title, *to_equal_error(bench, processes, list(processes.running), path, cost, epsilon))


def to_equal_error(bench, processes, names, path, cost, epsilon):
    """({name: seconds of each round}, {name: columns}) of all contestants to `MARGINAL_ERROR`."""
    columns = {}
    for name in names:
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
    return bench.measure(processes, names), columns


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
