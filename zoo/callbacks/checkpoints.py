"""The newest weights and the best, each written whole before it takes its place."""

import json
import math
import os
import shutil
import time
from pathlib import Path

import keras
import numpy as np

from zoo.callbacks.logs import BETTER
from zoo.checks import check_choice, check_folder, check_number, check_positive
from zoo.files import replacing, write_text


class Checkpoint(keras.callbacks.Callback):
    """Keeps the newest weights, optimizer slots and step count in one file, replaced in one move.

    Keras's `BackupAndRestore` writes weights and epoch one after the other; a kill between them makes the resumed
    run differ. Here the step is part of the file, and the old file stands until the new one is whole.

    Args:
        path: File to write, ending in `.weights.h5`.
        keep: Number of epochs whose checkpoints are kept; all but the newest as `step-00001000.weights.h5` beside it.
        minutes: Also write within an epoch after so many minutes; None for at its end only.

    Raises:
        ValueError: If an argument is out of range.
        OSError: If the file cannot be written, as on a full disk; the earlier one is kept.

    Example:
        >>> model = zoo.Autoencoder(zoo.mlp_encoder((2,), 1), zoo.mlp_decoder((2,), 1))
        >>> model.compile()
        >>> _ = model.fit(np.eye(2), epochs=2, verbose=0, callbacks=[Checkpoint("run/newest.weights.h5", keep=2)])
        >>> sorted(path.name for path in Path("run").iterdir())
        ['newest.weights.h5', 'step-00000001.weights.h5']
    """

    def __init__(self, path, *, keep=1, minutes=None):
        super().__init__()
        check_positive("keep", keep)
        if minutes is not None:
            check_number("minutes", minutes, 0)
        if not str(path).endswith(".weights.h5"):
            raise ValueError(f"`path` must end in .weights.h5, as Keras wants it. Received: {path}.")
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
        metric: Name in the logs. NaN is never the best.
        mode: "min" where lower is better, "max" where higher is; "auto" for what the model says of its terms, the
            function of an `Evaluate` before this callback of its metrics, and "min" for what is called a loss.
        patience: Evaluations in a row that bring nothing better, after which training stops; None to go on.
        judging: What else the metric depends on, {name: number or text}, such as how many images are looked at: the
            best begins anew where the folder has a value of another judging. None where there is nothing to say.

    Raises:
        NotADirectoryError: If the folder is a file.
        ValueError: If the folder keeps the best by another metric, its best.json is damaged, `patience` is no whole
            number of 1 or more, or as `fit` begins, if nobody says which way the metric is better.

    Example:
        >>> model = zoo.Autoencoder(zoo.mlp_encoder((2,), 1), zoo.mlp_decoder((2,), 1))
        >>> model.compile()
        >>> metrics = zoo.callbacks.Evaluate(lambda model: {"mine": 0.5})
        >>> _ = model.fit(np.eye(2), verbose=0, callbacks=[metrics, KeepBest("run", "mine", mode="max")])
        >>> sorted(path.name for path in Path("run").iterdir())
        ['best.json', 'best.weights.h5']

        model.fit(batches, callbacks=[Evaluate(DetectionEvaluator(test)), KeepBest("run", "mask_ap")])
    """

    def __init__(self, folder, metric, *, mode="auto", patience=None, judging=None):
        super().__init__()
        check_choice("mode", mode, ("auto", "min", "max"))
        if patience is not None:
            check_positive("patience", patience)
        self.folder, self.metric, self.mode, self.patience = Path(folder), metric, mode, patience
        check_folder("folder", self.folder)
        self.logged = ()
        self.state = {"metric": metric, "value": None, "step": 0, "evaluated": 0, "evaluations_since": 0}
        self.state.update({"judging": judging} if judging else {})
        self.begun_anew = ""
        path = self.folder / "best.json"
        if path.exists():
            earlier = _read_state(path)
            if earlier["metric"] != metric:
                raise ValueError(
                    f"{path} keeps the best model by {earlier['metric']!r}. Received: {metric!r}. Give that metric, "
                    "or move best.json and best.weights.h5 away."
                )
            # A file that is older than `judging` says nothing of it.
            if judging and earlier.setdefault("judging", judging) != judging:
                self.begun_anew = (
                    f"The best begins anew: {metric} of step {earlier['step']} was judged with "
                    f"{_difference(earlier['judging'], judging)}."
                )
            else:
                self.state = earlier

    def on_train_begin(self, logs=None):
        """Finds out which way is better, before hours of training; says whether the best begins anew."""
        self.direction()
        if self.begun_anew:
            print(self.begun_anew, flush=True)
            self.begun_anew = ""

    def direction(self):
        """ "min" or "max".

        Raises:
            ValueError: If nobody says which.
        """
        name = self.metric.removeprefix("val_")
        known = {**getattr(self.model, "better", {}), **self.model.__dict__.get(BETTER, {})}
        if self.mode != "auto":
            return self.mode
        if name not in known and not name.endswith("loss"):
            raise ValueError(
                f"KeepBest cannot tell whether a higher or a lower `{self.metric}` is better. "
                f'Known are: {", ".join(known) or "none"}. Give `mode="max"` or `mode="min"`.'
            )
        return known.get(name, "min")

    def on_epoch_end(self, epoch, logs=None):
        """Compares, where this epoch was evaluated and brings steps that were not counted before."""
        self.logged = list(logs)
        if self.metric not in logs or self.model.steps_taken <= self.state["evaluated"]:
            return
        self.state["evaluated"] = self.model.steps_taken
        value, best = float(logs[self.metric]), self.state["value"]
        sign = {"min": 1, "max": -1}[self.direction()]
        if np.isfinite(value) and (best is None or sign * value < sign * best):
            save_weights(self.model, self.folder / "best.weights.h5")
            self.state.update(value=value, step=self.model.steps_taken, evaluations_since=0)
        else:
            self.state["evaluations_since"] += 1
        write_text(self.folder / "best.json", json.dumps(self.state) + "\n")
        if self.patience is not None and self.state["evaluations_since"] >= self.patience:
            than = "finite" if best is None else f"better than {best:.4g}"
            print(f"Stopping: {self.metric} was not {than} in {self.patience} evaluations.", flush=True)
            self.model.request_stop()

    def on_train_end(self, logs=None):
        """Says so where there was nothing to compare; what has been trained is good, so this is no error."""
        if self.logged and not self.state["evaluated"] and not self.model.stop_requested:
            print(
                f"KeepBest never saw `{self.metric}` in this `fit`, and kept nothing. "
                f"The logs had: {', '.join(self.logged)}. "
                "`Evaluate` must come before it, and be due in one of the epochs.",
                flush=True,
            )


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_value(value):
    return value is None or (isinstance(value, (int, float)) and abs(value) < math.inf and not isinstance(value, bool))


# What best.json holds, and what each of it is.
_KINDS = {
    "metric": lambda value: isinstance(value, str),
    "value": _is_value,
    **dict.fromkeys(("step", "evaluated", "evaluations_since"), _is_count),
}


def _difference(earlier, now):
    """Two ways of judging as "--judged-images 1, now 4", of what differs."""
    told = sorted(name for name in {*earlier, *now} if earlier.get(name) != now.get(name))
    return "; ".join(f"{name} {earlier.get(name)}, now {now.get(name)}" for name in told)


def _read_state(path):
    try:
        state = json.loads(path.read_text())
        lacking = sorted(_KINDS.keys() - state.keys())
        wrong = [name for name, is_right in _KINDS.items() if name in state and not is_right(state[name])]
        if not isinstance(state.get("judging", {}), dict):
            wrong.append("judging")
        if not lacking and not wrong:
            return state
        reason = f"it lacks {', '.join(lacking)}" if lacking else f"{wrong[0]} is {repr(state[wrong[0]])[:40]}"
    except (ValueError, AttributeError, RecursionError) as error:
        reason = str(error)
    raise ValueError(
        f"{path} is damaged: {reason}. Expected what KeepBest wrote. Move it and best.weights.h5 away to begin anew."
    )


def save_weights(model, path):
    """Writes the weights of a model beside an older file, then in its place.

    Raises:
        OSError: If they cannot be written; the older file is kept, and nothing half written stays.

    Example:
        >>> network = zoo.mlp_critic((2,))
        >>> save_weights(network, "critic.weights.h5")
        >>> Path("critic.weights.h5").exists()
        True
    """
    path = Path(path)
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

    Example:
        >>> reserve("critic.weights.h5", 1000)
        >>> Path("critic.weights.h5").exists()  # there is room, and nothing stays
        False
    """
    if hasattr(os, "posix_fallocate") and size:
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        os.unlink(path)
