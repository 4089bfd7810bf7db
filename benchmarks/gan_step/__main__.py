"""Time of one WGAN-GP training step on 28x28x1 images: ours, a hand-written Keras model, and PyTorch.

    python -m benchmarks.gan_step
    python -m benchmarks.gan_step --jit --rounds 5 --steps 3 --json gan_step.json

One step is `CRITIC_STEPS` critic updates with gradient penalty and one generator update, with DCGAN networks, layer
normalisation and Adam(1e-4, 0, 0.9). The contestants:

- zoo           `WGANGP.compile()` and `fit`, as a user writes it.
- zoo-jit       the same with `compile(jit_compile=True)`; only with `--jit`.
- keras         a `keras.Model` subclass with its own loop, tapes and `apply_gradients`, in stock `fit`; same networks.
- torch         PyTorch, eager, the penalty by `torch.autograd.grad(create_graph=True)`.
- torch-parts   `torch.compile` of what a user can wrap without a rewrite: the generator, and the critic where no
                penalty is taken. The penalty stays eager, since a compiled backward cannot be differentiated again.
- torch-whole   `torch.compile` of each whole objective. The inner gradient is `torch.func.grad`, which the compiler
                traces as a part of the forward pass, so that the backward pass is the only one it has to derive.

Each contestant has a process of its own, kept alive over a pipe, and only one works at a time. They take turns round
by round, so that a busy machine slows all of them, and ratios count. First all of them evaluate the critic's
objective on the same weights, images, latents and mixing weights, and must agree.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.gan_step.contestants import PACKAGES, environment, make
from benchmarks.gan_step.problem import CRITIC_STEPS, write_problem
from benchmarks.side_by_side import (
    Processes,
    add_json,
    installed,
    measure,
    positive,
    print_table,
    ratios,
    spread,
    write_json,
)

TOLERANCE = 1e-4


def share_problem(processes, folder, batch_size):
    """Gives all contestants the same weights and images."""
    path = str(Path(folder) / "problem.npz")
    write_problem(path, processes.ask("zoo", "weights"), batch_size)
    for name in processes.running:
        processes.ask(name, "load", path, batch_size)


def check(processes):
    """Prints what each contestant computes on the shared problem; stops if they disagree.

    Returns {name: seconds it took}, since PyTorch compiles here what it runs later.
    """
    expected_count = processes.ask("zoo", "num_parameters")
    expected = processes.ask("zoo", "check")
    times = {}

    def rows():
        for name in processes.running:
            begin = time.perf_counter()
            values = processes.ask(name, "check")
            times[name] = time.perf_counter() - begin
            count = processes.ask(name, "num_parameters")
            difference = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(values, expected, strict=True))
            yield name, *(f"{value:.6f}" for value in values), f"{difference:.1e}"
            if count != expected_count or difference > TOLERANCE:
                raise SystemExit(f"{name} differs from zoo: parameters {count}, values off by {difference:.1e}.")

    print(f"Parameters: generator {expected_count[0]:,}, critic {expected_count[1]:,}")
    print_table([("", 14), ("critic loss", 14), ("penalty", 14), ("|gradient|", 14), ("difference", 14)], rows())
    return times


def step_times(processes, rounds, steps):
    """{name: (seconds of the first step, milliseconds per step in each round)}."""
    first = {name: processes.ask(name, "first_step") for name in processes.running}
    for name in processes.running:
        processes.ask(name, "steps", steps)
    times = measure(processes.running, rounds, lambda name: 1e3 * processes.ask(name, "steps", steps))
    return {name: (first[name], times[name]) for name in times}


def table(check_times, results):
    """One row per contestant; ratio = its time / ours of the same round, so above 1 means that ours is faster."""
    return [
        {
            "contestant": name,
            "step_ms": statistics.median(times),
            **ratios(times, results["zoo"][1]),
            "compile_s": check_times[name] + first,
            "rounds_ms": times,
        }
        for name, (first, times) in results.items()
    ]


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gan_step", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=8, help="turns of each contestant (default: %(default)s)")
    parser.add_argument("--steps", type=positive, default=4, help="measured steps in a turn (default: %(default)s)")
    parser.add_argument("--batch-size", type=positive, default=64, help="default: %(default)s")
    parser.add_argument("--threads", type=positive, default=2, help="threads of each contestant (default: %(default)s)")
    parser.add_argument("--contestants", nargs="+", choices=PACKAGES, help="default: all but zoo-jit")
    parser.add_argument("--jit", action="store_true", help="also ours with jit_compile=True")
    add_json(parser)
    options = parser.parse_args()

    chosen = (
        set(options.contestants or PACKAGES.keys() - {"zoo-jit"}) | {"zoo"} | ({"zoo-jit"} if options.jit else set())
    )
    names = installed({name: needed for name, needed in PACKAGES.items() if name in chosen})
    with tempfile.TemporaryDirectory() as folder:
        with Processes(make, names, options.threads, environment=environment(options.threads)) as processes:
            share_problem(processes, folder, options.batch_size)
            check_times = check(processes)
            rows = table(check_times, step_times(processes, options.rounds, options.steps))
    print(
        f"\nBatch {options.batch_size}, {CRITIC_STEPS} critic steps, {options.threads} threads, median of "
        f"{options.rounds} rounds of {options.steps} steps. Ratio: time / time of zoo, above 1 means zoo is faster."
    )
    print_table(
        [("", 14), ("ms per step", 14), ("ratio", 9), ("min - max", 17), ("compile, s", 16)],
        (
            (row["contestant"], f"{row['step_ms']:.1f}", f"{row['ratio']:.2f}", spread(row), f"{row['compile_s']:.1f}")
            for row in rows
        ),
    )
    write_json(options, rows)


if __name__ == "__main__":
    main()
