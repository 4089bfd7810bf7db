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
        ConstantThenLinear(2e-4, 100, 100)(150)  # 1e-4
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
