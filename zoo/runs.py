"""A run: one folder, one command. Strategy, data, resume, training, evaluation, figures and publishing.

run folder: config.json  versions.json  history.jsonl  metrics.json  model.keras
            checkpoints/  logs/ (TensorBoard)  samples/  figures/
"""

import json
import os
import platform
import shlex
import sys
import tempfile
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from zoo.checks import check_replicas

# May differ between the commands that continue one run: they do not change what has been trained so far.
FREE_OPTIONS = {"epochs", "max_minutes", "out", "exports", "evaluate_every", "verbose"}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Options of every recipe."""

    data: str = "digits"
    """Data set: digits, ring, grid, swiss_roll, mnist, fashion_mnist, usps, cifar10, or a folder of images."""
    image_size: int | None = None
    """Height and width that images are resized to; None keeps them."""
    epochs: int = 50
    """Epochs to have trained at the end, those of earlier commands in the same folder included."""
    steps_per_epoch: int | None = None
    """Training steps (generator updates) per epoch; None for one pass over the data."""
    batch_size: int = 64
    """Examples per update, over all replicas."""
    seed: int = 0
    """Seed of weights, order of the data and noise."""
    out: Path | None = None
    """Run folder; None for runs/<recipe>-<data>. The same command again resumes there."""
    exports: Path | None = None
    """Folder to publish a servable version in at the end; None to publish nothing."""
    max_minutes: float | None = None
    """Stop training cleanly after so many minutes; the same command again goes on."""
    evaluate_every: int = 10
    """Evaluate each so many epochs, besides the end."""
    strategy: Literal["auto", "mirrored", "multiworker", "cpu"] = "auto"
    """Devices: auto takes TF_CONFIG's workers, else all GPUs, else the CPU."""
    replicas: int | None = None
    """Replicas for mirrored; None for all GPUs. Without GPUs, logical CPUs."""
    verbose: Literal["auto", "bar", "lines", "silent"] = "auto"
    """Progress: a bar in a terminal, else a line per epoch."""


def main(config_class, train, arguments=None):
    """Parses the command line and trains.

    Args:
        config_class: Dataclass of the recipe's options, a `RunConfig`.
        train: Function of a configuration.
        arguments: Command line; None for that of the process.
    """
    import tyro

    description = sys.modules[config_class.__module__].__doc__
    start(train, tyro.cli(config_class, args=arguments, description=description))


def start(train, config):
    """Trains; what a user can mend ends in one message and exit code 1 instead of a stack of calls.

    Args:
        train: Function of a configuration.
        config: The configuration.
    """
    import_tensorflow_quietly()
    try:
        train(config)
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("ZOO_TRACEBACK"):
            traceback.print_exc()
        print(f"\nerror: {error}\n(ZOO_TRACEBACK=1 shows where it was raised.)", file=sys.stderr)
        raise SystemExit(1) from None


def import_tensorflow_quietly():
    """Imports TensorFlow without its start-up notices, which it prints whatever TF_CPP_MIN_LOG_LEVEL says."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def run(name, config, build, *, group=None):
    """Trains one model as its recipe says, from scratch or from where the run folder stands.

    Args:
        name: Name of the recipe, and of the published model.
        config: `RunConfig` of the recipe.
        build: Function (config, example_shape) that returns a compiled model.
        group: Updates of one step that take examples of their own; None if the step sees one batch.

    Returns:
        The metrics written to metrics.json.

    Raises:
        ValueError: If the folder holds a run of another configuration.
        FloatingPointError: If training became NaN; the last checkpoint is kept.
    """
    strategy = make_strategy(config.strategy, config.replicas)
    import keras

    from zoo import data
    from zoo.evaluation import Evaluator

    group = group if group and group > 1 else None
    train_data = data.load(config.data, split="train", image_size=config.image_size)
    test_data = data.load(config.data, split="test", image_size=config.image_size)
    passes = train_data.steps_per_epoch(config.batch_size, group)
    steps_per_epoch = config.steps_per_epoch or passes
    check_replicas(config.batch_size, strategy.num_replicas_in_sync)
    chief = is_chief(strategy)
    folder = open_folder(name, config) if chief else Path(tempfile.mkdtemp(prefix="zoo-worker-"))
    print(f"{name} on {train_data.name}: {train_data.size} examples {train_data.shape} from {train_data.origin}")
    print(f"Run folder: {folder}    TensorBoard: tensorboard --logdir {folder / 'logs'}", flush=True)

    keras.utils.set_random_seed(config.seed)
    with strategy.scope():
        model = build(config, train_data.shape)
    checkpoint = folder / "checkpoints" / "latest.weights.h5"
    evaluate = Evaluator(train_data, test_data)
    written = home_of(name, config) / checkpoint.relative_to(folder)
    if written.exists():
        restore(model, written)
    else:
        write_json(folder / "baselines.json", {"untrained": evaluate(model), "real": evaluate.real_against_real()})

    budget = callbacks = None
    done = model.steps_taken
    total = config.epochs * steps_per_epoch
    if done:
        print(f"Resuming after {done} of {total} steps." if done < total else f"All {done} steps are done already.")
    while done < total and not (budget and budget.spent):
        callbacks, budget = callbacks_of(config, folder, train_data, evaluate, budget)
        epoch, taken = divmod(done, steps_per_epoch)
        batches = train_data.batches(config.batch_size, seed=config.seed, first_epoch=done // passes, group=group)
        model.fit(
            batches.skip(done % passes),
            initial_epoch=epoch,
            # An epoch that a time budget cut short is finished first, on its own.
            epochs=epoch + 1 if taken else config.epochs,
            steps_per_epoch=steps_per_epoch - taken,
            callbacks=callbacks,
            shuffle=False,
            verbose=verbosity(config.verbose),
        )
        done = model.steps_taken
    return finish(name, config if chief else replace(config, exports=None), folder, model, evaluate, done)


def make_strategy(name, replicas=None):
    """The `tf.distribute.Strategy` of a name; to be called before TensorFlow has made its devices.

    Args:
        name: "auto", "mirrored", "multiworker" or "cpu".
        replicas: Replicas for "mirrored"; without GPUs the CPU is split into so many logical devices.

    Returns:
        `tf.distribute.Strategy`.
    """
    import tensorflow as tf

    if name == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return tf.distribute.get_strategy()
    if name == "multiworker" or (name == "auto" and os.environ.get("TF_CONFIG")):
        if not os.environ.get("TF_CONFIG"):
            raise ValueError(
                "`--strategy multiworker` needs the environment variable TF_CONFIG, with the addresses of all workers "
                'and the index of this one: {"cluster": {"worker": ["host0:2000", "host1:2000"]}, '
                '"task": {"type": "worker", "index": 0}}. Received: none.'
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_physical_devices("GPU")
    if name == "auto" and replicas is None:
        return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()
    count = replicas or len(gpus) or 1
    if gpus and count > len(gpus):
        raise ValueError(f"`--replicas` must be at most the number of GPUs, {len(gpus)}. Received: {count}.")
    if not gpus and count > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    kind = "GPU" if gpus else "CPU"
    return tf.distribute.MirroredStrategy([f"{kind}:{index}" for index in range(count)])


def is_chief(strategy):
    """Whether this process writes the run folder: the first worker, or the only one."""
    resolver = strategy.cluster_resolver
    return resolver is None or not resolver.task_type or resolver.task_id == 0


def open_folder(name, config):
    """The run folder, made if need be.

    Args:
        name: Name of the recipe.
        config: `RunConfig`.

    Returns:
        `pathlib.Path`.

    Raises:
        ValueError: If the folder holds a run whose configuration differs in what shapes the result.
    """
    folder = home_of(name, config)
    wanted = {"recipe": name, **json.loads(json.dumps(asdict(config), default=str))}
    path = folder / "config.json"
    if path.exists():
        stored = json.loads(path.read_text())
        differing = [
            f"{key}: {stored.get(key)!r} there, {wanted.get(key)!r} now"
            for key in sorted({*stored, *wanted} - FREE_OPTIONS)
            if stored.get(key) != wanted.get(key)
        ]
        if differing:
            raise ValueError(
                f"The run folder {folder} holds a run of another configuration, which this command would mix up. "
                f"Different: {'; '.join(differing)}. Give another `--out`, or the stored options."
            )
    write_json(path, wanted)
    write_json(folder / "versions.json", versions())
    return folder


def home_of(name, config):
    """Where the run lives: `out`, or runs/<recipe>-<data>."""
    return config.out or Path("runs") / f"{name}-{Path(config.data).name}"


def versions():
    """Versions of what a result depends on."""
    import keras
    import numpy
    import tensorflow

    import zoo

    packages = {module.__name__: module.__version__ for module in (zoo, tensorflow, keras, numpy)}
    return {"python": platform.python_version(), **packages}


def restore(model, checkpoint):
    """Loads weights, slots and step count into `model`.

    Raises:
        ValueError: If the file is damaged or of other networks.
    """
    try:
        model.load_weights(checkpoint)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"The checkpoint {checkpoint} cannot be loaded into this model: {error}. It is kept as it is. "
            "Give another `--out` to start anew, or restore the file."
        ) from error


def callbacks_of(config, folder, source, evaluate, budget):
    """The callbacks of one `fit`, in the order in which they see the logs, and the time budget among them."""
    import keras

    from zoo.callbacks import Checkpoint, Evaluate, History, SampleGrid, TimeBudget

    points = not source.is_images
    reference = source.examples(2500, seed=0) if points else None
    if budget is None and config.max_minutes is not None:
        budget = TimeBudget(config.max_minutes)
    callbacks = [
        Evaluate(evaluate, config.evaluate_every),
        History(folder / "history.jsonl"),
        keras.callbacks.TensorBoard(folder / "logs", write_graph=False),
        SampleGrid(
            folder / "samples",
            folder / "logs" / "samples",
            num_samples=2500 if points else 64,
            reference=reference,
        ),
        *([budget] if budget else []),
        # Last, so that a checkpoint is of an epoch whose logs and pictures are written.
        Checkpoint(folder / "checkpoints" / "latest.weights.h5"),
    ]
    return callbacks, budget


def verbosity(name):
    """Keras's number for a progress setting."""
    if name == "auto":
        name = "bar" if sys.stdout.isatty() else "lines"
    return {"silent": 0, "bar": 1, "lines": 2}[name]


def finish(name, config, folder, model, evaluate, steps):
    """Evaluates, draws the figures, saves the model, publishes it, and says what was reached."""
    from zoo import pictures

    figures = evaluate(model)
    previous = read_json(folder / "metrics.json")
    metrics = {"steps": steps, **figures, **read_json(folder / "baselines.json")}
    draw_history(folder, model.terms)
    examples = model.generate(2500 if not evaluate.train.is_images else 64, seed=0)
    reference = None if evaluate.train.is_images else evaluate.train.examples(2500, seed=0)
    pictures.save(pictures.draw(examples, reference), folder / "figures" / "samples.png")
    save_model(model, folder / "model.keras")
    if config.exports:
        from zoo.serving.saved_model import publish

        published = previous.get("export")
        if published and previous.get("steps") == steps and Path(published).exists():
            metrics["export"] = published
        else:
            card = {
                "data": {"name": evaluate.train.name, "origin": evaluate.train.origin},
                "command": shlex.join(["python", *sys.orig_argv[1:]]),
                "figures": figures,
                "config": json.loads((folder / "config.json").read_text()),
            }
            metrics["export"] = str(publish(model, config.exports, name, card=card))
    write_json(folder / "metrics.json", metrics)
    print(report(metrics, evaluate.headline))
    print(f"Pictures: {folder / 'figures'} and {folder / 'samples'}")
    if "export" in metrics:
        print(f"Published: {metrics['export']}")
    return metrics


def report(metrics, headline):
    """One line that sets the main figure beside that of real and of untrained examples."""
    if headline is None:
        return f"{metrics['steps']} steps. No metric is defined for unlabelled images."
    name = metrics.get("frechet_label", headline)
    real, untrained = metrics.get("real", {}), metrics.get("untrained", {})
    numbers = [
        f"{key} {source[headline]:.4g}"
        for key, source in (("real examples", real), ("untrained", untrained))
        if headline in source
    ]
    line = f"After {metrics['steps']} steps: {name} = {metrics[headline]:.4g} ({', '.join(numbers)})."
    if "high_quality" in metrics:
        line += f" High quality {100 * metrics['high_quality']:.1f} %, W2 {metrics['wasserstein_2']:.3g}."
    return line


def draw_history(folder, terms):
    """Draws the loss curves of history.jsonl, if there are any."""
    from zoo import pictures
    from zoo.callbacks import read_history

    rows = read_history(folder / "history.jsonl")
    if rows:
        columns = {term: [row[term] for row in rows] for term in terms}
        pictures.save(pictures.curves(columns, "epoch"), folder / "figures" / "losses.png")


def save_model(model, path):
    """Writes a `.keras` file beside an older one, then in its place."""
    new = path.with_name("writing-" + path.name)
    model.save(new, overwrite=True)
    os.replace(new, path)


def write_json(path, content):
    """Writes a JSON file beside an older one, then in its place; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name("writing-" + path.name)
    new.write_text(json.dumps(content, indent=2, default=str) + "\n")
    os.replace(new, path)


def read_json(path):
    """The content of a JSON file, or an empty dict where there is none."""
    return json.loads(path.read_text()) if path.exists() else {}
