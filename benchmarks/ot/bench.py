"""What all sections share: sizes, problems, turns, and the figures to keep."""

import statistics
from pathlib import Path

import numpy as np

from benchmarks.ot.contestants import PACKAGES, environment, make
from benchmarks.ot.reference import points, squared_distances
from benchmarks.side_by_side import Processes, installed, measure, print_table, ratios, spread

# (batch, n); a batch of 0 is one problem without a batch axis.
BATCH, SMALL, MEDIUM, LARGE = (64, 32), (0, 256), (0, 1024), (0, 4096)
ITERATIONS = 100
# Contestants slower than this leave after `SLOW_ROUNDS` rounds.
SLOW_SECONDS, SLOW_ROUNDS = 4.0, 2


class Bench:
    """Options, the folder of the problems, and the figures to keep."""

    def __init__(self, options, folder):
        self.options, self.folder, self.figures = options, Path(folder), []

    def processes(self, *names):
        """Those of the contestants that are installed, running."""
        threads = self.options.threads
        return Processes(make, self.installed(*names), threads, environment=environment(threads))

    def installed(self, *names):
        """Those of the contestants whose packages are there."""
        return installed({name: PACKAGES[name] for name in names})

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
        return measure(
            names,
            self.options.rounds,
            lambda name: processes.ask(name, "turn", self.options.budget),
            lambda times: len(times) < SLOW_ROUNDS or max(times) < SLOW_SECONDS,
        )

    def table(self, title, times, columns, targets=None):
        """Prints and keeps one row per contestant; `columns` is {name: {heading: text or number}}."""
        rows = []
        for name, measured in times.items():
            row = {"contestant": name, "ms": 1e3 * statistics.median(measured), **ratios(measured, times["zoo"])}
            row["target"] = (targets or {}).get(name)
            rows.append(row)
            self.keep(title, **row, **columns[name], rounds_ms=[1e3 * seconds for seconds in measured])
        headings = list(next(iter(columns.values())))
        print(f"\n{title}")
        print_table(
            [("", 14), ("ms", 11), ("ratio", 9), ("min - max", 20), ("target", 9), *((text, 15) for text in headings)],
            (
                (
                    row["contestant"],
                    f"{row['ms']:.2f}",
                    f"{row['ratio']:.2f}",
                    spread(row),
                    f">= {row['target']:g}" if row["target"] else "",
                    *(shown(columns[row["contestant"]][text]) for text in headings),
                )
                for row in rows
            ),
        )

    def keep(self, table, **row):
        """Keeps a row that has a print of its own."""
        self.figures.append({"table": table, **row})


def label(size):
    batch, n = size
    return f"B{batch} x n{n}" if batch else f"n{n}"


def shown(figure):
    return f"{figure:.3g}" if isinstance(figure, float) else str(figure)
