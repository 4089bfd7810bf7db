"""Callbacks that Keras lacks: sample pictures, metrics between epochs, atomic checkpoints, time left and time budget.

They know no model class, only `generate`, `steps_taken`, `request_stop` and `stop_requested`.
"""

import json
import os
import shutil
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo import pictures
from zoo.files import replacing, write_text


class SampleGrid(keras.callbacks.Callback):
    """Draws the same seeded samples at the end of each epoch, as a PNG file and as an image in TensorBoard.

    Args:
        folder: Where `epoch-0001.png` and so on are written.
        log_dir: TensorBoard folder, or None.
        num_samples: Number of samples.
        reference: Points (n, 2) to draw behind generated points, or None.
        every: Draw each `every`-th epoch.
        seed: Seed of the samples.

    Example:
        model.fit(images, epochs=20, callbacks=[SampleGrid("runs/fashion/samples", "runs/fashion/logs")])
    """

    def __init__(self, folder, log_dir=None, *, num_samples=64, reference=None, every=1, seed=0):
        super().__init__()
        self.folder = Path(folder)
        self.num_samples, self.reference, self.every, self.seed = num_samples, reference, every, seed
        self.writer = tf.summary.create_file_writer(str(log_dir)) if log_dir else None

    def on_epoch_end(self, epoch, logs=None):
        """Draws and writes the picture of this epoch."""
        if (epoch + 1) % self.every:
            return
        picture = pictures.draw(self.model.generate(self.num_samples, self.seed), self.reference)
        pictures.save(picture, self.folder / f"epoch-{epoch + 1:04d}.png")
        if self.writer:
            with self.writer.as_default():
                tf.summary.image("samples", picture[None], step=epoch)
            self.writer.flush()


class Evaluate(keras.callbacks.Callback):
    """Adds metrics to the logs at the end of an epoch, so that callbacks after it (TensorBoard) write them.

    Texts and counts (`num_...`) are left out.

    Args:
        metrics: Function of the model that returns {name: number}.
        every: Evaluate each `every`-th epoch.
    """

    def __init__(self, metrics, every=1):
        super().__init__()
        self.compute, self.every = metrics, every

    def on_epoch_end(self, epoch, logs=None):
        """Computes the metrics and puts them into `logs`."""
        # An epoch that was cut short is evaluated at the end of the run.
        if (epoch + 1) % self.every == 0 and not self.model.stop_requested:
            metrics = self.compute(self.model).items()
            logs.update({name: value for name, value in metrics if _is_number(value) and name[:4] != "num_"})


class History(keras.callbacks.Callback):
    """Keeps the logs of each epoch as a line of JSON; a resumed run drops lines of steps that it takes again.

    Args:
        path: File of lines such as {"epoch": 1, "step": 100, "critic_loss": -0.3}.
    """

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the file with a line for this epoch, beside the old one and then in its place."""
        step = self.model.steps_taken
        rows = [row for row in read_history(self.path) if row["step"] < step]
        numbers = {name: float(value) for name, value in logs.items()}
        rows.append({"epoch": epoch + 1, "step": step, **numbers})
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in rows))


def read_history(path):
    """The lines of a `History` file as a list of dicts; none if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Checkpoint(keras.callbacks.Callback):
    """Keeps the newest weights, optimizer slots and step count in one file, replaced in one move.

    Keras's `BackupAndRestore` writes weights and epoch one after the other; a kill between them makes the resumed
    run differ. Here the step is part of the file, and the old file stands until the new one is whole.

    Args:
        path: File to write, ending in `.weights.h5`.
        keep: Number of epochs whose checkpoints are kept; all but the newest as `step-00001000.weights.h5` beside it.
        minutes: Also write within an epoch after so many minutes; None for at its end only.

    Raises:
        OSError: If the file cannot be written, as on a full disk; the earlier one is kept.
    """

    def __init__(self, path, *, keep=1, minutes=None):
        super().__init__()
        self.path, self.keep, self.minutes = Path(path), keep, minutes
        self.written = time.monotonic()

    def on_train_begin(self, logs=None):
        """A file that is there is of the steps taken so far."""
        self.steps = self.model.steps_taken

    def on_train_batch_end(self, batch, logs=None):
        """Writes the file if it is time, and all weights are finite."""
        if self.minutes is not None and time.monotonic() - self.written > 60 * self.minutes:
            if all(np.isfinite(weight).all() for weight in self.model.get_weights()):
                self._write()

    def on_epoch_end(self, epoch, logs=None):
        """Writes the file beside the old one, then puts it in its place, and drops what is too old."""
        if self.keep > 1 and self.path.exists():
            # The next write replaces the name, not what the second name stands for.
            older = self.path.with_name(f"step-{self.steps:08d}.weights.h5")
            older.unlink(missing_ok=True)
            os.link(self.path, older)
        self._write()
        for old in sorted(self.path.parent.glob("step-*.weights.h5"))[: 1 - self.keep or None]:
            old.unlink()

    def _write(self):
        save_weights(self.model, self.path)
        self.steps, self.written = self.model.steps_taken, time.monotonic()


class KeepBest(keras.callbacks.Callback):
    """Keeps the weights with the best value of a metric so far, also over resumed runs, and may end training.

    Args:
        folder: Where `best.weights.h5` and `best.json` are kept; the second says what it is worth.
        metric: Name in the logs; lower is better, unless it is one of `HIGHER_IS_BETTER`.
        patience: Evaluations in a row that bring nothing better, after which training stops; None to go on.

    Raises:
        ValueError: If the folder keeps the best by another metric.
    """

    HIGHER_IS_BETTER = ("modes_found", "high_quality")

    def __init__(self, folder, metric, *, patience=None):
        super().__init__()
        self.folder, self.metric, self.patience = Path(folder), metric, patience
        self.state = {"metric": metric, "value": None, "step": 0, "evaluated": 0, "evaluations_since": 0}
        path = self.folder / "best.json"
        if path.exists():
            self.state = json.loads(path.read_text())
            if self.state["metric"] != metric:
                raise ValueError(
                    f"{path} keeps the best model by {self.state['metric']!r}. Received: {metric!r}. Give that metric, "
                    "or move best.json and best.weights.h5 away."
                )

    def on_epoch_end(self, epoch, logs=None):
        """Compares, where this epoch was evaluated and brings steps that were not counted before."""
        if self.metric not in logs or self.model.steps_taken <= self.state["evaluated"]:
            return
        self.state["evaluated"] = self.model.steps_taken
        value, best = float(logs[self.metric]), self.state["value"]
        sign = -1 if self.metric in self.HIGHER_IS_BETTER else 1
        if best is None or sign * value < sign * best:
            save_weights(self.model, self.folder / "best.weights.h5")
            self.state.update(value=value, step=self.model.steps_taken, evaluations_since=0)
        else:
            self.state["evaluations_since"] += 1
        write_text(self.folder / "best.json", json.dumps(self.state) + "\n")
        if self.patience is not None and self.state["evaluations_since"] >= self.patience:
            print(f"Stopping: {self.metric} was not better than {best:.4g} in {self.patience} evaluations.", flush=True)
            self.model.request_stop()


class Progress(keras.callbacks.Callback):
    """A line at the end of each epoch, and within long ones, with what is done, how fast, and the time left.

    Args:
        total: Steps of the whole run.
        seconds: Time between two lines within an epoch.
    """

    def __init__(self, total, seconds=60.0):
        super().__init__()
        self.total, self.seconds = total, seconds

    def on_train_begin(self, logs=None):
        """Starts the clock; the first step, which traces the model, is not counted."""
        self.started = None

    def on_train_batch_end(self, batch, logs=None):
        """Prints a line if there was none for long."""
        if self.started is None:
            self.started = self.last = time.monotonic()
            self.first = self.model.steps_taken
        elif time.monotonic() - self.last > self.seconds:
            self._print(logs)

    def on_epoch_end(self, epoch, logs=None):
        """Prints a line."""
        self._print(logs)

    def _print(self, logs):
        self.last = time.monotonic()
        steps = self.model.steps_taken
        line = f"step {steps} of {self.total} ({100 * steps / self.total:.0f} %)"
        if self.started is not None and steps > self.first:
            pace = (self.last - self.started) / (steps - self.first)
            line += f"  {1000 * pace:.3g} ms/step  {duration(pace * (self.total - steps))} left"
        numbers = [f"{name} {float(value):.4g}" for name, value in (logs or {}).items()]
        print("  ".join([line, *numbers]), flush=True)


def duration(seconds):
    """Seconds as people say them: "42 s", "12 min", "3 h 20 min"."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class TimeBudget(keras.callbacks.Callback):
    """Ends training after the step at which the budget is spent; the epoch's callbacks, checkpoint too, still run.

    Args:
        minutes: Budget, counted from the making of this object.
    """

    def __init__(self, minutes):
        super().__init__()
        self.deadline = time.monotonic() + 60 * minutes

    def on_train_batch_end(self, batch, logs=None):
        """Stops training when the time is up."""
        if time.monotonic() > self.deadline:
            self.model.request_stop()


def save_weights(model, path):
    """Writes the weights of a model beside an older file, then in its place.

    Raises:
        OSError: If they cannot be written; the older file is kept, and nothing half written stays.
    """
    # Adam keeps two numbers besides each weight; a file that is there tells better.
    size = path.stat().st_size if path.exists() else 3 * 4 * model.count_params()
    try:
        with replacing(path) as beside:
            reserve(beside, size)
            model.save_weights(beside, overwrite=True)
    except OSError as error:
        free = shutil.disk_usage(path.parent).free
        kept = "The earlier one is kept." if path.exists() else "There is no earlier one."
        raise OSError(
            f"The checkpoint {path} of {size / 2**20:.1f} MB cannot be written: {error}. {kept} The disk has "
            f"{free / 2**20:.1f} MB free. Make room, and give the same command again."
        ) from error


def reserve(path, size):
    """Fails now if a file of `size` bytes would not fit: HDF5 finds out too late, and does not raise.

    Raises:
        OSError: If the disk, a quota or a limit has no room.
    """
    if hasattr(os, "posix_fallocate") and size:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        path.unlink()


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
