"""Callbacks that Keras lacks: sample pictures, metrics between epochs, atomic checkpoints, a time budget.

They know no model class, only `generate`.
"""

import json
import os
import time
from pathlib import Path

import keras
import tensorflow as tf

from zoo import pictures


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
        if (epoch + 1) % self.every == 0:
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
        new = self.path.with_name("writing-" + self.path.name)
        new.write_text("".join(json.dumps(row) + "\n" for row in rows))
        os.replace(new, self.path)


def read_history(path):
    """The lines of a `History` file as a list of dicts; none if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Checkpoint(keras.callbacks.Callback):
    """Keeps the newest weights, optimizer slots and step count in one file, replaced in one move.

    Keras's `BackupAndRestore` writes weights and epoch one after the other; a kill between them makes the resumed
    run differ. Here the step is part of the file, and the old file stands until the new one is whole.

    Args:
        path: File to write, ending in `.weights.h5`.
    """

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the file beside the old one, then puts it in its place."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name("writing-" + self.path.name)
        self.model.save_weights(new, overwrite=True)
        os.replace(new, self.path)


class TimeBudget(keras.callbacks.Callback):
    """Ends training after the step at which the budget is spent; the epoch's callbacks, checkpoint too, still run.

    Args:
        minutes: Budget, counted from the making of this object.
    """

    def __init__(self, minutes):
        super().__init__()
        self.deadline = time.monotonic() + 60 * minutes
        self.spent = False

    def on_train_batch_end(self, batch, logs=None):
        """Stops training when the time is up."""
        if time.monotonic() > self.deadline:
            self.spent = self.model.stop_training = True


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
