"""The solvers that `benchmarks.ot` compares, and the processes they live in.

A contestant takes a task, which is a function of arrays from a file, and then runs it when asked to. It answers with
potentials f and g in one convention, P_ij = a_i b_j exp((f_i + g_j - C_ij) / eps), whatever its library's is.
"""

import contextlib
import importlib.util
import multiprocessing
import os
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

# A turn of a solver ends after this many calls even if its time is not up.
MOST_CALLS = 200
# What each contestant needs beside Zoo itself.
PACKAGES = {
    "zoo": (),
    "ott": ("jax", "ott"),
    "geomloss": ("torch", "geomloss"),
    "pot-torch": ("torch", "ot"),
    "pot-detached": ("torch", "ot"),
    "pot-numpy": ("ot",),
    "pot-kernel": ("ot",),
}


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


class Zoo(Contestant):
    """`zoo.ot` inside a `tf.function`, as in a train step."""

    def __init__(self, threads):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        # It warns of functions that are made anew, which is what a task is.
        tf.get_logger().setLevel("ERROR")

    def sinkhorn(self, arrays, epsilon, iterations, tolerance=0.0, dtype="float32", **options):
        """`sinkhorn`; a tolerance of 0 never stops."""
        import tensorflow as tf

        from zoo.ot import sinkhorn

        cost, epsilon = tf.constant(arrays["cost"], dtype), tf.constant(epsilon, dtype)
        sides = [name for name in ("source_weights", "target_weights") if name in arrays]
        weights = {name: tf.constant(arrays[name], dtype) for name in sides}

        @tf.function
        def solve(cost):
            result = sinkhorn(cost, epsilon, tolerance=tolerance, max_iterations=iterations, **weights, **options)
            return result._asdict()

        return finished(lambda: solve(cost))

    def ipot(self, arrays, beta, iterations, gradient=None):
        """`ipot`; with `gradient` "envelope" or "unrolled" also the gradient in the cost."""
        import tensorflow as tf

        from zoo.ot import ipot

        cost = tf.constant(arrays["cost"])
        masks = {name: tf.constant(array) for name, array in arrays.items() if name.endswith("mask")}

        def forward(cost, **options):
            result = ipot(cost, beta, num_iterations=iterations, **masks, **options)
            return {"transport_cost": result.transport_cost, "plan": result.plan}

        # Gradients through all iterations are compiled where the caller's function is, as a train step may be.
        @tf.function(jit_compile=gradient == "unrolled")
        def solve(cost):
            if gradient is None:
                return forward(cost)
            with tf.GradientTape() as tape:
                tape.watch(cost)
                result = forward(cost, gradient=gradient)
            return result | {"gradient": tape.gradient(result["transport_cost"], cost)}

        return finished(lambda: solve(cost))

    def point_cloud(self, arrays, epsilon, iterations):
        """`point_cloud_sinkhorn`, which never holds the cost matrix."""
        import tensorflow as tf

        from zoo.ot import point_cloud_sinkhorn

        source, target = tf.constant(arrays["source"]), tf.constant(arrays["target"])

        def solve():
            return point_cloud_sinkhorn(source, target, epsilon, tolerance=0.0, max_iterations=iterations)._asdict()

        return finished(solve)


class Ott(Contestant):
    """OTT-JAX in the log domain: one `jax.jit`, with `jax.vmap` over a batch."""

    def __init__(self, threads):
        import jax

        jax.config.update("jax_platforms", "cpu")

    def sinkhorn(self, arrays, epsilon, iterations, tolerance=0.0):
        """`Sinkhorn`; without a tolerance as a scan that never looks at the error, its fastest configuration."""
        import jax
        import jax.numpy as jnp
        from ott.geometry.geometry import Geometry
        from ott.problems.linear.linear_problem import LinearProblem
        from ott.solvers.linear.sinkhorn import Sinkhorn

        stop = {"threshold": tolerance} if tolerance else {"threshold": -1, "min_iterations": iterations}
        solver = Sinkhorn(lse_mode=True, norm_error=1, inner_iterations=10, max_iterations=iterations, **stop)

        def solve(cost):
            result = solver(LinearProblem(Geometry(cost_matrix=cost, epsilon=epsilon)))
            return {
                "source_potential": result.f + epsilon * np.log(cost.shape[0]),
                "target_potential": result.g + epsilon * np.log(cost.shape[1]),
                "regularized_cost": result.reg_ot_cost,
                "num_iterations": 10 * jnp.sum(result.errors != -1),
            }

        cost = jnp.asarray(arrays["cost"])
        solve = jax.jit(jax.vmap(solve) if cost.ndim == 3 else solve)
        return lambda: jax.block_until_ready(solve(cost))


class GeomLoss(Contestant):
    """`geomloss.ot.solve_batch` on PyTorch tensors."""

    def __init__(self, threads):
        import torch

        torch.set_num_threads(threads)

    def sinkhorn(self, arrays, epsilon, iterations):
        """`iterations` symmetric iterations in which epsilon falls from max C - min C, and one more at the end."""
        import torch
        from geomloss.ot import solve_batch

        cost = torch.from_numpy(batched(arrays["cost"]))

        def solve():
            result = solve_batch(cost, reg=epsilon, max_iter=iterations)
            return {
                "source_potential": result.potential_a,
                "target_potential": result.potential_b,
                "regularized_cost": result.value,
            }

        return solve


class PotTorch(Contestant):
    """`ot.batch.solve_batch` on PyTorch tensors; `detached` leaves gradients to the caller."""

    def __init__(self, threads, detached=False):
        import torch

        torch.set_num_threads(threads)
        self.detached = detached

    def sinkhorn(self, arrays, epsilon, iterations):
        """The log domain; a `max_iter` of 100 is 100 updates of both potentials, and nothing is below tol = 0."""
        import torch
        from ot.batch import solve_batch

        cost = torch.from_numpy(batched(arrays["cost"]))
        shifts = np.log(cost.shape[1:])

        def solve():
            result = solve_batch(cost, epsilon, max_iter=iterations, tol=0, method="log_sinkhorn", reg_type="kl")
            u, v = result.potentials
            return {
                "source_potential": epsilon * (u + shifts[0]),
                "target_potential": epsilon * (v + shifts[1]),
                "regularized_cost": result.value,
            }

        return solve

    def ipot(self, arrays, beta, iterations, gradient=None):
        """The proximal method.

        POT 0.9.7 takes log T with the wrong sign (PythonOT/POT issue 842), and then alternates between two plans of
        which neither is a solution. Its kernel is -(C + inner_reg log T) / (reg + inner_reg): with reg = 2 beta and
        inner_reg = -beta that is the method of the paper, at the same speed.
        """
        import torch
        from ot.batch import solve_batch

        cost = torch.from_numpy(arrays["cost"]).requires_grad_(gradient is not None)
        how = {None: "detach", "envelope": "envelope", "unrolled": "autodiff"}[gradient]

        def solve():
            given = cost.detach() if self.detached else cost
            result = solve_batch(
                given, 2 * beta, max_iter=iterations, tol=0, method="proximal", inner_reg=-beta, grad=how
            )
            values = (result.plan * cost).sum((1, 2)) if self.detached else result.value_linear
            found = {"transport_cost": values.detach(), "plan": result.plan.detach()}
            if gradient is None:
                return found
            return found | {"gradient": torch.autograd.grad(values.sum(), cost)[0]}

        return solve


class Pot(Contestant):
    """`ot.sinkhorn` on NumPy arrays, problem by problem: "sinkhorn_log", or the unstabilised "sinkhorn"."""

    def __init__(self, threads, method="sinkhorn_log"):
        self.method = method

    def sinkhorn(self, arrays, epsilon, iterations):
        """Potentials and the transport cost, the value that its users compute from the plan."""
        import ot

        costs = batched(arrays["cost"])
        a, b = (np.full(size, 1 / size, "float32") for size in costs.shape[1:])

        def one(cost):
            plan, log = ot.sinkhorn(
                a, b, cost, epsilon, method=self.method, numItermax=iterations, stopThr=0, warn=False, log=True
            )
            u, v = (log["log_u"], log["log_v"]) if "log_u" in log else (np.log(log["u"]), np.log(log["v"]))
            return epsilon * (u - np.log(a)), epsilon * (v - np.log(b)), np.sum(plan * cost)

        def solve():
            names = "source_potential", "target_potential", "transport_cost"
            return dict(zip(names, map(np.stack, zip(*map(one, costs), strict=True)), strict=True))

        return solve

    def exact(self, arrays):
        """The linear program, uniform weights."""
        import ot

        return lambda: {"transport_cost": ot.emd2([], [], arrays["cost"].astype("float64"))}


def make(name, threads):
    """The contestant called `name`; imports its framework."""
    if name in ("pot-numpy", "pot-kernel"):
        return Pot(threads, "sinkhorn" if name == "pot-kernel" else "sinkhorn_log")
    if name.startswith("pot"):
        return PotTorch(threads, detached=name == "pot-detached")
    return {"zoo": Zoo, "ott": Ott, "geomloss": GeomLoss}[name](threads)


def finished(solve):
    """`solve` of TensorFlow, waited for."""

    def call():
        result = solve()
        result["transport_cost"].numpy()
        return result

    return call


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


def installed(names):
    """Those of the contestants whose packages are there; says which are not."""
    missing = [name for name in names if any(importlib.util.find_spec(package) is None for package in PACKAGES[name])]
    if missing:
        print(
            f"Skipped, because their packages are not installed (pip install -e '.[benchmark]'): {', '.join(missing)}"
        )
    return [name for name in names if name not in missing]


class Processes:
    """Contestants, each in a process of its own, kept alive until the `with` block ends."""

    def __init__(self, names, threads):
        # Read when a library is loaded, thus set before the process begins. NPROC is what JAX counts its threads by.
        counts = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
        os.environ |= {name: str(threads) for name in counts}
        os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
        # POT imports every framework it finds unless told not to.
        os.environ |= {f"POT_BACKEND_DISABLE_{name}": "1" for name in ("JAX", "CUPY", "TENSORFLOW")}
        self.running = {}
        context = multiprocessing.get_context("spawn")
        for name in names:
            pipe, other = context.Pipe()
            process = context.Process(target=work, args=(name, threads, other), daemon=True)
            process.start()
            other.close()
            self.running[name] = process, pipe
        for name in names:
            self.receive(name)

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
        """What `method` of a contestant returns."""
        self.running[name][1].send((method, arguments, settings))
        return self.receive(name)

    def receive(self, name):
        """What a contestant sends next; ends the run if it has died."""
        try:
            return self.running[name][1].recv()
        except EOFError:
            raise SystemExit(f"The contestant {name} stopped; its own message stands above.") from None


def work(name, threads, pipe):
    """What a contestant's process does: answer (method, arguments, settings) until told to stop."""
    if hasattr(os, "sched_setaffinity"):
        # As many CPUs as threads, for libraries that count CPUs where they should read their options.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    contestant = make(name, threads)
    pipe.send("ready")
    while (message := pipe.recv()) is not None:
        method, arguments, settings = message
        pipe.send(getattr(contestant, method)(*arguments, **settings))
