"""Training from scratch or from where the run folder stands, on one worker or as one of several."""

import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from zoo.checks import check_choice, check_replicas
from zoo.runs.devices import make_strategy
from zoo.runs.ending import finish
from zoo.runs.folder import (
    describe,
    described,
    judging_of,
    open_folder,
    read_baselines,
    read_json,
    restore,
    write_json,
)
from zoo.runs.optimizers import change_of_rate


def run(name, config, build, task, *, group=None, rate_of=None):
    """Trains one model as its recipe says, from scratch or from where the run folder stands.

    With several workers, each calls this with the same configuration. The first, the chief, reads and writes the run
    folder and evaluates; the others only train, and need no access to the folder.

    Args:
        name: Name of the recipe, and of the published model.
        config: `RunConfig` of the recipe.
        build: Function (config, build_from) that returns a compiled model; the task has `build_from`, mostly the shape
            of one example.
        task: What the model learns: a class such as `Generation`, made of `config`, with `data`,
            `batch_options`, `build_from`, `evaluate`, `better`, `baselines`, `conclude`, `callbacks`, `draw` and
            `report`.
        group: Updates of one step that take examples of their own; None if the step sees one batch.
        rate_of: Function of a configuration that returns the learning rate, where it follows the number of epochs, so
            that a run which goes on with another one can say so; None where it does not.

    Returns:
        The metrics written to metrics.json; None on workers other than the chief.

    Raises:
        ValueError: If the folder holds a run of another configuration, or one that has gone further.
        FloatingPointError: If training became NaN; the last checkpoint is kept.
        ConnectionError: If another worker is gone.
        SystemExit: With code 0 after a SIGTERM or Ctrl-C, once the checkpoint is written; with code 75 if another
            worker had the signal.

    Example:
        >>> def build(config, example_shape):
        ...     model = zoo.Autoencoder(zoo.mlp_encoder(example_shape, 1), zoo.mlp_decoder(example_shape, 1))
        ...     model.compile()
        ...     return model
        >>> config = zoo.runs.GenerationConfig(data="ring", epochs=1, steps_per_epoch=1, out="run")
        >>> metrics = run("autoencoder", config, build, zoo.runs.Representation)
        autoencoder on ring: 100000 examples (2,) from ...
        >>> sorted(metrics)
        ['neighbour_accuracy', 'pca', 'steps', 'test_reconstruction_loss', 'untrained']
    """
    strategy = make_strategy(config.strategy, config.replicas)
    import keras

    from zoo.training import distribute, is_chief, lost_workers_named, num_workers, share_weights

    task = task(config)
    data, group = task.data, group if group and group > 1 else None
    passes = data.steps_per_epoch(config.batch_size, group)
    steps_per_epoch = config.steps_per_epoch or passes
    total = config.epochs * steps_per_epoch
    check_replicas(config.batch_size, strategy.num_replicas_in_sync)
    chief = is_chief(strategy)
    if chief:
        folder = open_folder(name, config)
        print(f"{name} on {data.name}: {data.size} examples {data.shape} from {data.origin}")
        counts = ((strategy.num_replicas_in_sync, "replica"), (num_workers(strategy), "worker"))
        replicas = " of ".join(f"{count} {what}{'s' * (count > 1)}" for count, what in counts)
        print(f"Run folder: {folder}    TensorBoard: tensorboard --logdir {folder / 'logs'}    {replicas}", flush=True)
    keras.config.set_dtype_policy(config.precision)
    keras.utils.set_random_seed(config.seed)
    # Where an option follows the length of an epoch, it is known by now.
    whole = replace(config, steps_per_epoch=steps_per_epoch)
    with strategy.scope():
        model = build(whole, task.build_from)

    def batches_from(step):
        options = {**task.batch_options, "first_epoch": step // passes, "first_step": step % passes}
        return distribute(strategy, partial(data.batches, config.batch_size, config.seed, group=group, **options))

    with stop_on_signals(model) as received:
        if chief:
            earlier = begin(name, config, folder, model, task, steps_per_epoch)
        with lost_workers_named(strategy):
            share_weights(model)
        done = model.steps_taken
        if done and chief:
            print(f"Resuming after {done} of {total} steps." if done < total else f"All {done} steps are done already.")
            change = change_of_rate(rate_of, whole, earlier.get("epochs"), done) if rate_of and done < total else None
            if change:
                print(change, flush=True)
        callbacks = callbacks_of(config, folder, task, total, model) if chief else callbacks_of_worker(config)
        show = int(chief and verbosity(config.verbose) == "bar")
        done = train(model, batches_from, config.epochs, steps_per_epoch, callbacks=callbacks, verbose=show)
    if model.interrupted:
        cause = received[0] if received else "a signal to another worker"
        print(f"\nStopped by {cause} after {done} of {total} steps. The same command goes on from there.")
        # A worker that was not told to end itself asks whoever runs it to start it again.
        raise SystemExit(0 if received else os.EX_TEMPFAIL)
    if done < total and chief:
        print(f"Stopped after {done} of {total} steps. The same command goes on from there.")
    return finish(name, config, folder, model, task, done) if chief else None


def train(model, batches_from, epochs, steps_per_epoch, **options):
    """Fits from where the model stands to the last epoch, or until something stops it; returns the steps taken."""
    while (done := model.steps_taken) < epochs * steps_per_epoch:
        epoch, taken = divmod(done, steps_per_epoch)
        model.fit(
            batches_from(done),
            initial_epoch=epoch,
            # An epoch that was cut short is finished first, on its own.
            epochs=epoch + 1 if taken else epochs,
            steps_per_epoch=steps_per_epoch - taken,
            shuffle=False,
            **options,
        )
        if model.stop_training:
            return model.steps_taken
    return done


def begin(name, config, folder, model, task, steps_per_epoch):
    """Loads the checkpoint, or writes down what the task can say before training; then describes the run.

    Returns:
        The content of config.json before, or that of now if there was none.

    Raises:
        ValueError: If the checkpoint cannot be loaded or has more steps than `epochs` are, or `best_by` names nothing
            that will be measured.
    """
    checkpoint, baselines = folder / "checkpoints" / "latest.weights.h5", folder / "baselines.json"
    earlier = read_json(folder / "config.json") or described(name, config)
    judged_before, resumed = judging_of(config, earlier), checkpoint.exists()
    rejudged = judged_before != judging_of(config)
    # The model is as it was before its first step, until the checkpoint is loaded.
    measured = None if resumed and baselines.exists() and not rejudged else task.baselines(model)
    if resumed:
        restore(model, checkpoint)
        if (done := model.steps_taken) > config.epochs * steps_per_epoch:
            raise ValueError(
                f"The run folder {folder} holds a run of {done} steps, more than the {config.epochs * steps_per_epoch} "
                f"of `--epochs {config.epochs}`. It is left as it is. Give `--epochs {-(-done // steps_per_epoch)}` or "
                "more, or another `--out`."
            )
    if measured is not None:
        write_json(baselines, measured)
    if resumed and rejudged:
        print("Evaluations judge otherwise than before: the untrained model was measured again.", flush=True)
        best = read_json(folder / "checkpoints" / "best.json")
        # One that is older than `judging` is of the command before.
        if best and "judging" not in best:
            write_json(folder / "checkpoints" / "best.json", {**best, "judging": judged_before})
    if config.best_by is not None:
        metrics = read_baselines(folder).get("untrained", {})
        if config.evaluate_every > config.epochs and config.best_by in metrics:
            raise ValueError(
                f"`--best-by` needs an evaluation, and there is none in {config.epochs} epochs with "
                f"`--evaluate-every {config.evaluate_every}`. Lower it."
            )
        check_choice("--best-by", config.best_by, [*(name for name in metrics if name in task.better), *model.better])
    # Last: what was mistaken so far is not what the folder holds.
    describe(folder, name, config)
    return earlier


@contextmanager
def stop_on_signals(model):
    """Makes SIGTERM, as pre-emptible machines send it, and Ctrl-C end training after a step; a second one at once.

    Yields:
        List of the names of the signals received.
    """
    received = []

    def request_stop(number, _):
        received.append(signal.Signals(number).name)
        print(f"\n{received[0]}: stopping after this step and writing a checkpoint.", file=sys.stderr, flush=True)
        model.request_stop(interrupted=True)
        signal.signal(number, earlier[number])

    earlier = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for number in earlier:
            signal.signal(number, request_stop)
        yield received
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def callbacks_of(config, folder, task, total, model):
    """The callbacks of the chief, in the order in which they see the logs."""
    import keras

    from zoo.callbacks import Checkpoint, Evaluate, History, KeepBest, Progress

    checkpoints = folder / "checkpoints"
    mode = {**model.better, **task.better}.get(config.best_by)
    # The terms of a model are those of its training.
    judging = judging_of(config) if config.best_by in task.better else None
    options = {"mode": mode, "patience": config.patience, "judging": judging}
    best = [KeepBest(checkpoints, config.best_by, **options)] if config.best_by else []
    return [
        Evaluate(task.evaluate, config.evaluate_every),
        History(folder / "history.jsonl"),
        keras.callbacks.TensorBoard(folder / "logs", write_graph=False),
        *task.callbacks(folder),
        *([Progress(total)] if verbosity(config.verbose) == "lines" else []),
        *callbacks_of_worker(config),
        *best,
        # Last, so that a checkpoint is of an epoch whose logs and pictures are written.
        Checkpoint(checkpoints / "latest.weights.h5", keep=config.keep_checkpoints, minutes=config.checkpoint_minutes),
    ]


def callbacks_of_worker(config):
    """The callbacks that every worker has."""
    from zoo.callbacks import TimeBudget

    return [] if config.max_minutes is None else [TimeBudget(config.max_minutes)]


def verbosity(name):
    """How progress is shown: "bar", "lines" or "silent"."""
    if name == "auto":
        return "bar" if sys.stdout.isatty() else "lines"
    return name
