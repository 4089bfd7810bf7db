"""Metrics between epochs, and the logs of all epochs in a file."""

import json
import numbers
from pathlib import Path

import keras
import numpy as np

from zoo.checks import check_positive
from zoo.files import write_text

# Where a model keeps which way the metrics of its `Evaluate` callbacks are better.
BETTER = "_better_of_metrics"


class Evaluate(keras.callbacks.Callback):
    """Adds metrics to the logs at the end of an epoch, so that callbacks after it (TensorBoard) write them.

    Texts and counts (`num_...`) are left out.

    Args:
        metrics: Function of the model that returns {name: number}. Its attribute `better`, {name: "min" or "max"}, if
            it has one, tells callbacks that watch one which way it is.
        every: Evaluate each `every`-th epoch.

    Raises:
        ValueError: If `metrics` is no such function, or `every` no whole number of 1 or more.

    Example:
        >>> def metrics(model):
        ...     return {"largest_weight": max(np.abs(weight).max() for weight in model.get_weights())}
        >>> model = zoo.Autoencoder(zoo.mlp_encoder((2,), 1), zoo.mlp_decoder((2,), 1))
        >>> model.compile()
        >>> history = model.fit(np.eye(2), verbose=0, callbacks=[Evaluate(metrics)])
        >>> "largest_weight" in history.history
        True
    """

    # So that `fit` does not refuse callbacks that watch what this one may log.
    adds_to_logs = True

    def __init__(self, metrics, every=1):
        super().__init__()
        check_positive("every", every)
        self.compute, self.every = metrics, every
        if not callable(metrics):
            self._refuse(metrics)

    @property
    def better(self):
        """Which way the metrics are better, as far as they say so, {name: "min" or "max"}."""
        return getattr(self.compute, "better", {})

    def set_model(self, model):
        """Leaves with the model which way the metrics are better."""
        super().set_model(model)
        # Not as an attribute, which Keras would track.
        model.__dict__.setdefault(BETTER, {}).update(self.better)

    def on_epoch_end(self, epoch, logs=None):
        """Computes the metrics and puts them into `logs`."""
        # An epoch that was cut short is evaluated at the end of the run.
        if (epoch + 1) % self.every == 0 and not self.model.stop_requested:
            metrics = self.compute(self.model)
            if not isinstance(metrics, dict):
                self._refuse(metrics)
            found = {name: _number(value) for name, value in metrics.items() if name[:4] != "num_"}
            logs.update({name: value for name, value in found.items() if value is not None})

    def _refuse(self, received):
        raise ValueError(
            "`metrics` must be a function of the model that returns {name: number}. "
            f"Received: {type(received).__name__}, in the place of "
            + ("what it returns." if callable(self.compute) else "the function.")
        )


class History(keras.callbacks.Callback):
    """Keeps the logs of each epoch as a line of JSON; a resumed run drops lines of steps that it takes again.

    Args:
        path: File of lines such as {"epoch": 1, "step": 100, "critic_loss": -0.3}.

    Example:
        >>> model = zoo.Autoencoder(zoo.mlp_encoder((2,), 1), zoo.mlp_decoder((2,), 1))
        >>> model.compile()
        >>> _ = model.fit(np.eye(2), batch_size=1, verbose=0, callbacks=[History("history.jsonl")])
        >>> read_history("history.jsonl")
        [{'epoch': 1, 'step': 2, 'loss': ...}]
    """

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the file with a line for this epoch, beside the old one and then in its place."""
        step = self.model.steps_taken
        rows = [row for row in read_history(self.path) if row["step"] < step]
        values = {name: float(value) for name, value in logs.items()}
        rows.append({"epoch": epoch + 1, "step": step, **values})
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in rows))


def read_history(path):
    """The lines of a `History` file as a list of dicts; none if there is no file.

    Raises:
        ValueError: If a line is damaged.

    Example:
        >>> _ = Path("history.jsonl").write_text('{"epoch": 1, "step": 100, "critic_loss": -0.3}')
        >>> read_history("history.jsonl")
        [{'epoch': 1, 'step': 100, 'critic_loss': -0.3}]
    """
    path, rows = Path(path), []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else (), 1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or not isinstance(row.get("step"), int):
                raise ValueError(f'it must be {{"epoch": 1, "step": 100, ...}}. Received: {line[:40]}')
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged in line {number}: {error}. Remove that line, or the file.") from None
        rows.append(row)
    return rows


def _number(value):
    """A number of Python or NumPy, or a tensor of one, as a float; None for all else."""
    is_number = isinstance(value, numbers.Real) or getattr(value, "shape", None) == ()
    return float(value) if is_number and not isinstance(value, (bool, np.bool_, str)) else None
