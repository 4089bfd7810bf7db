"""Time left, and a budget of time."""

import time

import keras

from zoo.checks import check_number, check_positive


class Progress(keras.callbacks.Callback):
    """A line at the end of each epoch, and within long ones, with what is done, how fast, and the time left.

    Args:
        total: Steps of the whole run.
        seconds: Time between two lines within an epoch.

    Raises:
        ValueError: If one of them is out of range.

    Example:
        >>> model = zoo.Autoencoder(zoo.mlp_encoder((2,), 1), zoo.mlp_decoder((2,), 1))
        >>> model.compile()
        >>> _ = model.fit(np.eye(2), batch_size=1, verbose=0, callbacks=[Progress(total=4)])
        step 2 of 4 (50 %) ... ms/step ... left ...
    """

    def __init__(self, total, seconds=60.0):
        super().__init__()
        check_positive("total", total)
        check_number("seconds", seconds, 0)
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


class Countdown:
    """Prints how much of a long computation is done, at most every half minute.

    Args:
        what: What is computed.
        total: How much there is to do.
        show: Whether to print at all.

    Example:
        >>> countdown = Countdown("images", 200)
        >>> countdown.started = countdown.last = countdown.last - 60  # as if a minute had gone by
        >>> countdown(150)
        images: 150 of 200, 20 s left
    """

    def __init__(self, what, total, show=True):
        self.what, self.total, self.show = what, total, show
        self.started = self.last = time.monotonic()

    def __call__(self, done):
        """Takes note of how much is done."""
        now = time.monotonic()
        if self.show and now - self.last > 30:
            self.last = now
            left = duration((now - self.started) * (self.total - done) / done)
            print(f"{self.what}: {done} of {self.total}, {left} left", flush=True)


def duration(seconds):
    """Seconds as people say them: "42 s", "12 min", "3 h 20 min".

    Example:
        >>> duration(42), duration(720), duration(12_000)
        ('42 s', '12 min', '3 h 20 min')
    """
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class TimeBudget(keras.callbacks.Callback):
    """Ends training after the step at which the budget is spent; the epoch's callbacks, checkpoint too, still run.

    Args:
        minutes: Budget, counted from the making of this object.

    Raises:
        ValueError: If it is no number of 0 or more.

    Example:
        >>> model = zoo.Autoencoder(zoo.mlp_encoder((2,), 1), zoo.mlp_decoder((2,), 1))
        >>> model.compile()
        >>> _ = model.fit(np.eye(2), batch_size=1, epochs=100, verbose=0, callbacks=[TimeBudget(minutes=0)])
        >>> model.steps_taken
        1
    """

    def __init__(self, minutes):
        super().__init__()
        check_number("minutes", minutes, 0)
        self.deadline = time.monotonic() + 60 * minutes

    def on_train_batch_end(self, batch, logs=None):
        """Stops training when the time is up."""
        if time.monotonic() > self.deadline:
            self.model.request_stop()
