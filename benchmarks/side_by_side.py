"""What benchmarks share: contestants in processes of their own, turns, ratios of the same round, tables, files."""

import argparse
import contextlib
import importlib.util
import itertools
import json
import multiprocessing
import os
import statistics
import time
from pathlib import Path

FEWEST_STEPS = 2


class Processes:
    """Contestants, each in a process of its own, kept alive until the `with` block ends; one works at a time.

    Args:
        make: Function of a name and `arguments` that returns the contestant, in a module that imports little: it runs
            in the contestant's process.
        names: Names of the contestants.
        arguments: What else `make` takes.
        environment: Variables that libraries read when they are loaded, thus set before a process begins.
    """

    def __init__(self, make, names, *arguments, environment):
        """Starts them all and waits until each is ready."""
        os.environ |= environment
        self.running = {}
        context = multiprocessing.get_context("spawn")
        for name in names:
            pipe, other = context.Pipe()
            process = context.Process(target=_work, args=(make, name, arguments, other), daemon=True)
            process.start()
            other.close()
            self.running[name] = process, pipe
        for name in names:
            self._receive(name)

    def __enter__(self):
        """The processes; leaving the block ends them."""
        return self

    def __exit__(self, *failure):
        """Lets each finish what it does, and ends it."""
        for process, pipe in self.running.values():
            with contextlib.suppress(OSError):
                pipe.send(None)
            process.join()

    def ask(self, name, method, /, *arguments, **settings):
        """What `method` of a contestant returns, after it has finished."""
        self.running[name][1].send((method, arguments, settings))
        return self._receive(name)

    def _receive(self, name):
        """What a contestant sends next; ends the run if it has died."""
        try:
            return self.running[name][1].recv()
        except EOFError:
            raise SystemExit(f"The contestant {name} stopped; its own message stands above.") from None


def _work(make, name, arguments, pipe):
    """What a contestant's process does: answer (method, arguments, settings) until told to stop."""
    contestant = make(name, *arguments)
    pipe.send("ready")
    while (message := pipe.recv()) is not None:
        method, arguments, settings = message
        pipe.send(getattr(contestant, method)(*arguments, **settings))


def installed(packages):
    """Those of the contestants {name: packages it needs} whose packages are there; says which are not."""
    missing = [name for name, needed in packages.items() if any(map(_is_missing, needed))]
    if missing:
        print(
            f"Skipped, because their packages are not installed (pip install -e '.[benchmark]'): {', '.join(missing)}"
        )
    return [name for name in packages if name not in missing]


def _is_missing(package):
    return importlib.util.find_spec(package) is None


def measure(names, rounds, turn, stays=lambda times: True):
    """Lets contestants take turns.

    Args:
        names: Names of the contestants.
        rounds: Turns of each.
        turn: Function of a name that returns what is measured in a turn.
        stays: Whether one takes another turn after those measured.

    Returns:
        {name: what `turn` returned in each round}.
    """
    names = list(names)
    times = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        # Another one begins each round, so that nobody always follows the same contestant.
        for name in names[first:] + names[:first]:
            if stays(times[name]):
                times[name].append(turn(name))
    return times


def ratios(times, base):
    """Median, least and largest of the ratios to `base` of the same round, as far as both took turns."""
    found = [time / other for time, other in zip(times, base, strict=False)]
    return {"ratio": statistics.median(found), "ratio_min": min(found), "ratio_max": max(found)}


def spread(row, digits=2):
    """The range of the ratios in a row as text."""
    return f"{row['ratio_min']:.{digits}f} - {row['ratio_max']:.{digits}f}"


def print_table(columns, rows):
    """Prints rows as they come.

    Args:
        columns: Pairs (heading, width); the first column is on the left, the others on the right.
        rows: Iterable of as many texts each.
    """
    headings, widths = zip(*columns, strict=True)
    for first, *others in itertools.chain([headings], rows):
        cells = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        print(f"{first:{widths[0]}}" + "".join(cells), flush=True)


def timed(call, count):
    """Seconds per call over `count` calls, after one that is not counted."""
    call()
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def turns(names, options, seconds_of):
    """Milliseconds in each round, {name: list}; `seconds_of(name, count)` runs a contestant `count` times."""
    counts = {}
    for name in names:
        seconds_of(name, 1)  # which compiles
        counts[name] = max(FEWEST_STEPS, round(options.seconds / seconds_of(name, FEWEST_STEPS)))
    return measure(counts, options.rounds, lambda name: 1e3 * seconds_of(name, counts[name]))


def rows_of(times, **what):
    """Rows of figures from {name: milliseconds of each round}."""
    return [
        {**what, "contestant": name, "ms": statistics.median(each), **ratios(each, times["zoo"]), "rounds_ms": each}
        for name, each in times.items()
    ]


def show(title, options, rows, heading="contestant"):
    """Prints such rows."""
    print(f"\n{title}, {options.threads} threads, median of {options.rounds} rounds of {options.seconds:g} s.")
    columns = [("", 16), ("ms", 10), ("ratio", 9), ("min - max", 16)]
    print_table(columns, ((row[heading], f"{row['ms']:.1f}", f"{row['ratio']:.2f}", spread(row)) for row in rows))


def positive(text):
    """A whole number of 1 or more, as argparse takes it from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, received {text!r}")
    return int(text)


def add_json(parser):
    """Adds `--json`, the file that `write_json` writes."""
    parser.add_argument("--json", type=Path, help="file to write the figures of all rounds to")


def write_json(options, results):
    """Writes options and results to the file that `--json` names, if it does."""
    if options.json:
        settings = {name: value for name, value in vars(options).items() if name != "json"}
        options.json.write_text(json.dumps({"settings": settings, "results": results}, indent=2) + "\n")
