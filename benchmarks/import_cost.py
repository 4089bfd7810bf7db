"""Whole-process time of importing Zoo, beside TensorFlow and Keras alone.

    python -m benchmarks.import_cost
    python -m benchmarks.import_cost --rounds 11 --json import_cost.json

Each statement runs in a fresh Python process, and the clock runs from its start to its end. The statements take
turns, so that a busy machine slows all of them. One round before, not counted, fills the file cache.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

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
    parser.add_argument("--rounds", type=int, default=7, help="processes per statement (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the figures of all rounds to")
    options = parser.parse_args()

    for statement in STATEMENTS:
        seconds(statement)
    times = {statement: [] for statement in STATEMENTS}
    for turn in range(options.rounds):
        # Another one begins each round, so that nobody always follows the same statement.
        for index in range(len(STATEMENTS)):
            statement = STATEMENTS[(turn + index) % len(STATEMENTS)]
            times[statement].append(seconds(statement))

    rows = []
    for statement, measured in times.items():
        ratios = [mine / other for mine, other in zip(measured, times[REFERENCE], strict=True)]
        rows.append(
            {
                "statement": statement,
                "seconds": statistics.median(measured),
                "ratio": statistics.median(ratios),
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
                "rounds_s": measured,
            }
        )
    print(f"Median of {options.rounds} processes. Ratio: time / time of `{REFERENCE}` in the same round.")
    print(f"{'':28}{'seconds':>9}{'ratio':>9}{'min - max':>17}")
    for row in rows:
        spread = f"{row['ratio_min']:.3f} - {row['ratio_max']:.3f}"
        print(f"{row['statement']:28}{row['seconds']:9.2f}{row['ratio']:9.3f}{spread:>17}")
    if options.json:
        options.json.write_text(json.dumps({"rounds": options.rounds, "results": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
