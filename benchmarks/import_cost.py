"""Whole-process time of importing Zoo, beside TensorFlow and Keras alone.

    python -m benchmarks.import_cost
    python -m benchmarks.import_cost --rounds 11 --json import_cost.json

Each statement runs in a fresh Python process, and the clock runs from its start to its end. The statements take
turns, so that a busy machine slows all of them. One round before, not counted, fills the file cache.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

from benchmarks.side_by_side import add_json, measure, positive, print_table, ratios, spread, write_json

REFERENCE = "import tensorflow"
STATEMENTS = ("pass", "import zoo", "from zoo import WGANGP", "import keras", REFERENCE)


def seconds(statement):
    """Time of one Python process that runs `statement`."""
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_cost", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=7, help="processes per statement (default: %(default)s)")
    add_json(parser)
    options = parser.parse_args()

    for statement in STATEMENTS:
        seconds(statement)
    times = measure(STATEMENTS, options.rounds, seconds)
    rows = [
        {
            "statement": statement,
            "seconds": statistics.median(measured),
            **ratios(measured, times[REFERENCE]),
            "rounds_s": measured,
        }
        for statement, measured in times.items()
    ]
    print(f"Median of {options.rounds} processes. Ratio: time / time of `{REFERENCE}` in the same round.")
    print_table(
        [("", 28), ("seconds", 9), ("ratio", 9), ("min - max", 17)],
        ((row["statement"], f"{row['seconds']:.2f}", f"{row['ratio']:.3f}", spread(row, 3)) for row in rows),
    )
    write_json(options, rows)


if __name__ == "__main__":
    main()
