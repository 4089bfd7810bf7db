"""Learning rates that Keras does not have."""

import keras
from keras import ops

from zoo.checks import check_number, check_whole


@keras.saving.register_keras_serializable("zoo")
class ConstantThenLinear(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that stays, then falls in a straight line to zero (Zhu et al. 2017, section 4).

    Args:
        learning_rate: Where it begins.
        constant_steps: Updates for which it stays there, 0 or more.
        decay_steps: Updates in which it falls to zero, 1 or more; it stays there.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> rate = ConstantThenLinear(2e-4, 100, 100)
        >>> [round(float(rate(step)), 6) for step in (0, 100, 150, 200)]
        [0.0002, 0.0002, 0.0001, 0.0]

        model.compile(*(keras.optimizers.Adam(ConstantThenLinear(2e-4, 66_700, 66_700), beta_1=0.5) for _ in range(2)))
    """

    def __init__(self, learning_rate, constant_steps, decay_steps):
        super().__init__()
        check_number("learning_rate", learning_rate, 0)
        check_whole("constant_steps", constant_steps, low=0)
        check_whole("decay_steps", decay_steps, low=1)
        self.learning_rate, self.constant_steps, self.decay_steps = learning_rate, constant_steps, decay_steps

    def __call__(self, step):
        """The rate of an update, a float32 scalar, from the number of updates made before."""
        # In whole numbers, since float32 has no odd ones above 2^24.
        left = ops.clip(self.constant_steps + self.decay_steps - ops.cast(step, "int64"), 0, self.decay_steps)
        return self.learning_rate * ops.cast(left, "float32") / self.decay_steps

    def get_config(self):
        """The constructor's arguments."""
        names = ("learning_rate", "constant_steps", "decay_steps")
        return {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable("zoo")
class WarmUpThenInverseRoot(keras.optimizers.schedules.LearningRateSchedule):
    """scale * width^-0.5 * min(n^-0.5, n * warm_up_steps^-1.5) at the n-th update (Vaswani et al. 2017, equation 3).

    Args:
        width: d_model of the Transformer, 1 or more.
        warm_up_steps: Updates in which the rate rises in a straight line, 1 or more (paper: 4000).
        scale: Factor of the whole, at least 0.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> round(float(WarmUpThenInverseRoot(512)(3999)), 5)  # the highest rate of the paper's base model
        0.0007
    """

    def __init__(self, width, warm_up_steps=4000, scale=1.0):
        super().__init__()
        check_whole("width", width, low=1)
        check_whole("warm_up_steps", warm_up_steps, low=1)
        check_number("scale", scale, 0)
        self.width, self.warm_up_steps, self.scale = width, warm_up_steps, scale

    def __call__(self, step):
        """The rate of an update, a float32 scalar, from the number of updates made before."""
        number = ops.cast(step, "float32") + 1.0
        rising = number * self.warm_up_steps**-1.5
        return self.scale * self.width**-0.5 * ops.minimum(1.0 / ops.sqrt(number), rising)

    def get_config(self):
        """The constructor's arguments."""
        return {name: getattr(self, name) for name in ("width", "warm_up_steps", "scale")}
