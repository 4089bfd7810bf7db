"""Dropout whose masks belong to the rows of a batch, so that training repeats however it is split or resumed."""

import keras
import tensorflow as tf
from keras import layers, ops

from zoo.checks import check_number, check_whole
from zoo.random import bits_of_keys


@keras.saving.register_keras_serializable("zoo")
class KeyedDropout(layers.Layer):
    """Sets a share of the values to 0 and scales the others up; what is left out follows from a key for each row.

    Keras's `Dropout` draws the same masks on each replica and other ones after a resume.

    Args:
        rate: Share of the values that are left out, in [0, 1).
        stream: Number of the layer; layers with different numbers leave out different values for one key.

    Takes values (rows, ...), keys int64 (rows,) from 0 to 2^32 - 1, and `training`; without keys, or outside of
    training, values pass unchanged.

    Example:
        >>> keys = np.array([7, 8, 7])
        >>> kept = np.array(KeyedDropout(0.5, stream=0)(np.ones((3, 100), "float32"), keys=keys, training=True))
        >>> np.array_equal(kept[0], kept[2]), np.array_equal(kept[0], kept[1]), np.unique(kept)
        (True, False, array([0., 2.], dtype=float32))
    """

    def __init__(self, rate, stream, **kwargs):
        super().__init__(**kwargs)
        check_number("rate", rate, 0, below=1)
        check_whole("stream", stream, low=0)
        self.rate, self.stream = rate, stream
        self.built = True

    def call(self, values, keys=None, training=False):
        """The values, of which some are 0."""
        if not training or not self.rate or keys is None:
            return values
        shape = ops.shape(values)
        drawn = bits_of_keys(keys, tf.reduce_prod(shape[1:]), self.stream)
        kept = tf.reshape(drawn, shape) >= tf.constant(round(self.rate * 2**32), tf.uint32)
        return tf.where(kept, values * (1 / (1 - self.rate)), tf.zeros_like(values))

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "stream": self.stream}
