"""What every solver in a process of its own answers to.

A contestant takes a task, which is a function of arrays from a file, and then runs it when asked to. It answers with
potentials f and g in one convention, P_ij = a_i b_j exp((f_i + g_j - C_ij) / eps), whatever its library's is.
"""

import contextlib
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

# A turn of a solver ends after this many calls even if its time is not up.
MOST_CALLS = 200


class Contestant:
    """A solver in its own process.

    Subclasses define tasks: methods of (arrays, **settings) that return a function without arguments. It runs to the
    end and returns {name: array}.
    """

    def take(self, task, path, /, **settings):
        """Prepares a task; nothing is compiled before its first call."""
        with np.load(path) as arrays:
            # Kept, since memory that is given back would hide as much of what a call takes.
            self.arrays = dict(arrays)
        self.call = getattr(self, task)(self.arrays, **settings)

    def answer(self):
        """({name: float64 array}, seconds) of one call: of the first, compiling included."""
        begin = time.perf_counter()
        result = self.call()
        self.last = time.perf_counter() - begin
        found = {name: np.asarray(value).astype("float64") for name, value in result.items() if value is not None}
        return found, self.last

    def turn(self, budget):
        """Median seconds of the calls that begin within `budget` seconds, after one that is not counted."""
        if self.last < 1.0:
            self.call()
        times = []
        while not times or (sum(times) < budget and len(times) < MOST_CALLS):
            begin = time.perf_counter()
            self.call()
            times.append(time.perf_counter() - begin)
        self.last = statistics.median(times)
        return self.last

    def memory(self):
        """(bytes before, peak bytes, seconds) of one call."""
        with contextlib.suppress(OSError):
            # On Linux the peak is counted anew from here; elsewhere what was taken and freed earlier hides as much.
            Path("/proc/self/clear_refs").write_text("5")
        before = peak_memory()
        _, seconds = self.answer()
        return before, peak_memory(), seconds


def batched(cost):
    """A cost with a batch axis, for libraries that need one."""
    return cost if cost.ndim == 3 else cost[None]


def peak_memory():
    """The most bytes that this process has held at a time."""
    # On Linux, getrusage also counts what the parent held when it started this process.
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
