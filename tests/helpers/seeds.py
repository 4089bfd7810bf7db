"""The seeds that every test begins with."""

from unittest import mock

import keras
import tensorflow as tf


def seed():
    """As `keras.utils.set_random_seed`, without TensorFlow's own seed.

    Nothing here draws from that, and whoever sets it makes TensorFlow forget all functions that it has optimised and
    compiled, which then cost each test seconds.
    """
    with mock.patch.object(tf.random, "set_seed"):
        keras.utils.set_random_seed(0)
