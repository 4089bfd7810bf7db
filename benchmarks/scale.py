"""Every model under every way to execute it: how far the result moves, the time of a step, the memory.

    python -m benchmarks.scale                             # the tables of docs/scale.md
    python -m benchmarks.scale --models wgan_gp --settings float32 mixed_bfloat16 --rounds 1

The models are those of tests/helpers/rows.py at a realistic size. Each setting trains the same
steps of SGD from the same weights, in processes of its own. For float32 the table shows the largest difference of a
weight to one replica, for 16 bits the largest relative difference of a loss term. Times and memory (peak above that of
the built model) are ratios to one replica in float32: the least time of the rounds, the median of memory.

Weak scaling: one process on one core against two workers on one core each, every worker with the whole batch of the
one. Two processes that do not talk give the share of the slowdown that is the machine's; the rest is communication.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.side_by_side import positive

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parents[1]
STEPS, BATCH, LEARNING_RATE = 8, 64, 0.001
REFERENCE = "1 replica"
SETTINGS = {
    REFERENCE: {},
    "2 replicas": {"replicas": 2},
    "2 replicas, XLA": {"replicas": 2, "jit_compile": True},
    "2 workers": {"workers": 2},
    "4 workers": {"workers": 4},
    "accumulation of 4": {"gradient_accumulation_steps": 4},
    "4 steps at a time": {"steps_per_execution": 4},
    "XLA": {"jit_compile": True},
    "mixed_bfloat16": {"policy": "mixed_bfloat16"},
    "mixed_float16": {"policy": "mixed_float16"},
}
# On CPUs, which lack it, 16-bit floating point is emulated.
ONCE = ("mixed_float16",)
WEAK = {"one alone": 1, "two apart": 2, "two workers": 2}


def train(
    model_name, out, *, replicas=None, workers=1, policy="float32", core=None, batch=BATCH, steps=STEPS, **execution
):
    """Trains in this process and writes weights, losses, step time and memory; one worker of several, or alone."""
    if core is not None:
        core = core if workers == 1 else json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})
    import keras
    import numpy as np
    import tensorflow as tf

    from tests.helpers.rows import ROWS, compile_sgd
    from zoo.runs.devices import make_strategy
    from zoo.training import is_chief

    if core is not None:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    strategy = make_strategy("multiworker" if workers > 1 else "mirrored" if replicas else "cpu", replicas)
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    row = ROWS[model_name]
    with strategy.scope():
        model = row.build(**row.large)
        if policy == "mixed_float16":
            optimizers = [keras.optimizers.SGD(LEARNING_RATE, momentum=0.5) for _ in row.trains]
            # From its usual 2^15 the scale would first come down by steps that change nothing.
            optimizers = [keras.optimizers.LossScaleOptimizer(one, initial_scale=8) for one in optimizers]
            model.compile(*optimizers, **execution)
        else:
            compile_sgd(model, LEARNING_RATE, **execution)
    examples = row.examples(batch * steps, shape=model.example_shape)
    examples = tf.data.Dataset.from_tensor_slices(examples).batch(batch, True)
    built = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    class Clock(keras.callbacks.Callback):
        times = []

        def on_train_batch_end(self, batch, logs=None):
            self.times.append(time.perf_counter())

    # The second epoch is timed, in which nothing is traced or compiled.
    logs = model.fit(examples, epochs=2, shuffle=False, verbose=0, callbacks=[Clock()]).history
    executions = len(Clock.times) // 2
    per_execution = np.diff(Clock.times[executions:])
    result = {
        "step_s": float(np.median(per_execution)) / model.steps_per_execution if len(per_execution) else None,
        "memory_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - built) / 1024,
        "logs": logs,
        "steps": model.steps_taken,
    }
    if is_chief(strategy):
        np.savez(out.with_suffix(".npz"), *model.get_weights())
        out.write_text(json.dumps(result))


def run(model_name, folder, name, setting):
    """Trains one setting in processes of its own and reads what the first wrote."""
    out = folder / "result.json"
    out.unlink(missing_ok=True)
    command = ["-m", "benchmarks.scale", "--child", json.dumps({"model_name": model_name, "out": str(out), **setting})]
    launcher = ["-m", "zoo.launch", "--workers", str(setting["workers"])] if setting.get("workers", 1) > 1 else []
    done = subprocess.run([sys.executable, *launcher, *command], cwd=ROOT, capture_output=True, text=True)
    if not out.exists():
        raise SystemExit(f"{model_name}, {name}: failed.\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    import numpy as np

    with np.load(out.with_suffix(".npz")) as weights:
        return {**json.loads(out.read_text()), "weights": [weights[key] for key in weights.files]}


def difference(result, reference, exact):
    """Largest difference of a weight, or largest relative difference of a loss term in an epoch."""
    import numpy as np

    if exact:
        pairs = zip(result["weights"], reference["weights"], strict=True)
        return max(float(np.abs(one - other).max()) for one, other in pairs)
    terms = reference["logs"]
    pairs = [pair for name in terms for pair in zip(result["logs"][name], terms[name], strict=True)]
    return max(abs(one - other) / max(abs(other), 0.1) for one, other in pairs)


def table(models, settings, rounds, batch, folder):
    """Rows {model, setting, difference, time and memory as ratios to the reference of the same round}."""
    rows = []
    for model in models:
        results = {name: [] for name in [REFERENCE, *settings]}
        for number in range(rounds):
            for name, found in results.items():
                if number and name in ONCE:
                    continue
                found.append(run(model, folder, name, {**SETTINGS[name], "batch": batch}))
                print(f"  {model:16} {name:20} {1000 * found[-1]['step_s']:8.1f} ms", file=sys.stderr, flush=True)
        base = results[REFERENCE]
        for name, found in results.items():
            row = {"model": model, "setting": name}
            row["difference"] = max(difference(one, base[0], "policy" not in SETTINGS[name]) for one in found)
            # What else the machine does only adds to a time: the least of the rounds is the closest to it.
            for key, pick in (("step_s", min), ("memory_mb", statistics.median)):
                row[key] = pick(one[key] for one in found)
                row[f"{key}_ratio"] = row[key] / pick(one[key] for one in base)
            rows.append(row)
    return rows


def weak_scaling(models, rounds, folder):
    """Per model: efficiency of two workers against one, and the share of their step that is communication."""
    rows = []
    for model in models:
        ratios = []
        for _ in range(rounds):
            alone, apart, together = (weak_step(model, folder, name) for name in WEAK)
            ratios.append((alone / together, alone / apart, (together - apart) / together))
            print(
                f"  {model:16} weak scaling {1000 * alone:.1f} {1000 * apart:.1f} {1000 * together:.1f} ms",
                file=sys.stderr,
            )
        efficiency, apart, share = (statistics.median(column) for column in zip(*ratios, strict=True))
        rows.append({"model": model, "efficiency": efficiency, "apart": apart, "share": share})
    return rows


def weak_step(model, folder, name):
    """Time of a step of the slowest of the processes, each bound to a core of its own."""
    if name == "two workers":
        # The whole batch for each worker: twice as many examples in all. Workers count themselves.
        return run(model, folder, name, {"workers": 2, "batch": 2 * BATCH, "core": 0, "steps": 12})["step_s"]
    outs = [folder / f"weak{core}.json" for core in range(WEAK[name])]
    processes = []
    for core, out in enumerate(outs):
        setting = {"model_name": model, "out": str(out), "core": core, "steps": 12}
        command = [sys.executable, "-m", "benchmarks.scale", "--child", json.dumps(setting)]
        processes.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    for process in processes:
        process.wait()
    return max(json.loads(out.read_text())["step_s"] for out in outs)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", help="rows of the conformance table (default: all)")
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, help="default: all")
    parser.add_argument("--rounds", type=positive, default=3, help="default: %(default)s")
    parser.add_argument("--batch-size", type=positive, default=BATCH, help="of the first table (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        given = json.loads(options.child)
        return train(given.pop("model_name"), Path(given.pop("out")), **given)
    from tests.helpers.rows import ROWS

    models = options.models or list(ROWS)
    if unknown := set(models) - set(ROWS):
        parser.error(f"--models: expected names of {', '.join(ROWS)}. Received: {', '.join(unknown)}.")
    settings = [name for name in (SETTINGS if options.settings is None else options.settings) if name != REFERENCE]
    with tempfile.TemporaryDirectory() as folder:
        rows = table(models, settings, options.rounds, options.batch_size, Path(folder))
        weak = weak_scaling(models, options.rounds, Path(folder))
    print(f"\nBatch {options.batch_size}, {2 * STEPS} steps, {options.rounds} rounds. Ratios to {REFERENCE}.")
    print(f"{'model':18}{'setting':20}{'difference':>12}{'':8}{'time':>7}{'memory':>8}{'ms/step':>10}{'MB':>8}")
    for row in rows:
        kind = "loss" if "policy" in SETTINGS[row["setting"]] else "weight"
        print(
            f"{row['model']:18}{row['setting']:20}{row['difference']:12.1e} {kind:7}{row['step_s_ratio']:7.2f}"
            f"{row['memory_mb_ratio']:8.2f}{1000 * row['step_s']:10.1f}{row['memory_mb']:8.0f}"
        )
    print("\nWeak scaling, one core a process: time of one / time of two with the same batch each.")
    print(f"{'model':18}{'two workers':>12}{'two apart':>12}{'communication':>16}")
    for row in weak:
        print(f"{row['model']:18}{row['efficiency']:12.2f}{row['apart']:12.2f}{100 * row['share']:15.0f}%")
    if options.json:
        options.json.write_text(json.dumps({"settings": rows, "weak_scaling": weak}, indent=2) + "\n")


if __name__ == "__main__":
    main()
