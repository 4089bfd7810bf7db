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
import os
import tempfile
import time

from benchmarks.ot.accuracy import accuracy
from benchmarks.ot.bench import SLOW_ROUNDS, SLOW_SECONDS, Bench
from benchmarks.ot.memory import memory
from benchmarks.ot.speed import converged, exponent, fixed, ipot
from benchmarks.side_by_side import add_json, positive, write_json

SECTIONS = {section.__name__: section for section in (fixed, converged, ipot, memory, exponent, accuracy)}
# Load average of the last minute above which the run says that others are at work.
BUSY = 0.5


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ot", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sections",
        nargs="+",
        choices=SECTIONS,
        help="default: all; 100,000 points, which take minutes, only where `memory` is named",
    )
    parser.add_argument("--quick", action="store_true", help="small problems and, unless told otherwise, two rounds")
    parser.add_argument("--rounds", type=positive, help="turns of each contestant (default: 7)")
    parser.add_argument("--budget", type=float, default=0.3, help="seconds of a turn (default: %(default)s)")
    parser.add_argument("--threads", type=positive, default=2, help="threads of each contestant (default: %(default)s)")
    add_json(parser)
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 7)
    options.long = "memory" in (options.sections or ()) and not options.quick
    options.sections = options.sections or list(SECTIONS)

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
            SECTIONS[section](bench)
    print(f"\n{(time.perf_counter() - begin) / 60:.1f} minutes")
    write_json(options, bench.figures)


if __name__ == "__main__":
    main()
