"""Stateless random numbers that are the same on every device, with and without XLA.

TensorFlow's `stateless_normal` and `stateless_uniform` turn the same random bits into other floats under XLA and,
for normals, on a GPU. Here the bits become floats by arithmetic that is the same everywhere.
"""

import math

import tensorflow as tf


def uniform(shape, seed):
    """Uniform float32 numbers in (0, 1), multiples of 2^-23 shifted by 2^-24.

    Args:
        shape: Shape of the result; may hold scalar tensors.
        seed: int tensor (2,).

    Returns:
        float32 tensor of `shape`.

    Example:
        >>> uniform((2,), seed=[0, 1])
    """
    bits = tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox")
    return (tf.cast(tf.bitwise.right_shift(bits, 9), tf.float32) + 0.5) * 2.0**-23


def normal(shape, seed):
    """Standard normal float32 numbers by the inverse of the distribution function; at most 5.3 from zero.

    Args:
        shape: Shape of the result; may hold scalar tensors.
        seed: int tensor (2,).

    Returns:
        float32 tensor of `shape`.
    """
    return math.sqrt(2.0) * tf.math.erfinv(2.0 * uniform(shape, seed) - 1.0)
