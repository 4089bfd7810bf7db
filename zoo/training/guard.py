"""The guard that stops training before a broken model is saved."""

import keras
import numpy as np
from keras import ops


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends training with a message as soon as a loss, or at the end of an epoch a weight, is NaN or infinite.

    Losses are running means, so that one bad step stays visible; they are read every ten steps.
    `TrainStepModel.fit` puts it before all other callbacks, so no checkpoint is written of a broken model.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.remedy = "Lower the learning rate."
        >>> guard = StopOnNonFinite()
        >>> guard.set_model(model)
        >>> guard.on_epoch_end(0, {"loss": float("nan")})
        Traceback (most recent call last):
        FloatingPointError: Training stopped: loss = nan at epoch 1. ... Lower the learning rate.
    """

    def on_epoch_begin(self, epoch, logs=None):
        """Begins to count."""
        self.tens = -1

    def on_train_batch_end(self, batch, logs=None):
        """Reads the losses of every tenth step, also where one execution takes many."""
        if batch // 10 > self.tens:
            self.tens = batch // 10
            self._check_losses(logs, f"step {batch + 1} of the epoch")

    def on_epoch_end(self, epoch, logs=None):
        """Reads the losses of the epoch, and all weights."""
        self._check_losses(logs, f"epoch {epoch + 1}")
        for variable in self.model.trainable_variables:
            if not np.isfinite(ops.convert_to_numpy(variable)).all():
                self._stop(f"the weight `{variable.path}` is not finite after epoch {epoch + 1}")

    def _check_losses(self, logs, when):
        bad = {name: float(value) for name, value in (logs or {}).items() if not np.isfinite(np.sum(value))}
        if bad:
            self._stop(f"{', '.join(f'{name} = {value}' for name, value in bad.items())} at {when}")

    def _stop(self, what):
        raise FloatingPointError(
            f"Training stopped: {what}. No checkpoint is written of it; an earlier one is kept. {self.model.remedy}"
        )
