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
        >>> uniform((2, 3), seed=[0, 1]).shape
        TensorShape([2, 3])
        >>> bool(tf.reduce_all(uniform((3,), seed=[0, 1]) == uniform((3,), seed=[0, 1])))
        True
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

    Example:
        >>> drawn = normal((10_000,), seed=[0, 1])
        >>> round(float(tf.math.reduce_std(drawn)), 1), bool(tf.reduce_all(abs(drawn) < 5.4))
        (1.0, True)
    """
    return math.sqrt(2.0) * tf.math.erfinv(2.0 * uniform(shape, seed) - 1.0)


def bits(shape, seed):
    """Uniform whole numbers from 0 to 2^32 - 1.

    Args:
        shape: Shape of the result; may hold scalar tensors.
        seed: int tensor (2,).

    Returns:
        int64 tensor of `shape`.

    Example:
        >>> drawn = bits((10_000,), seed=[0, 1])
        >>> drawn.dtype, bool(tf.reduce_all((drawn >= 0) & (drawn < 2**32)))
        (tf.int64, True)
    """
    found = tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox")
    return tf.cast(found, tf.int64)


def bits_of_keys(keys, count, stream=0):
    """Uniform 32-bit numbers for each row, which depend on the row's key alone, and on nothing else in the batch.

    A hash of key, stream and position, which costs a fraction of a generator: XLA makes one pass over memory of it. The
    mixing function is Wellons's lowbias32 (2018, Prospecting for hash functions).

    Args:
        keys: int64 (rows,), from 0 to 2^32 - 1, as `bits` or `mixed_keys` give them.
        count: Numbers for each row; may be a scalar tensor.
        stream: Whole number, or a scalar int tensor; two streams are independent.

    Returns:
        uint32 tensor (rows, count).

    Example:
        >>> found = bits_of_keys(tf.constant([7, 8, 7], tf.int64), 3)
        >>> found.shape, bool(tf.reduce_all(found[0] == found[2])), bool(tf.reduce_any(found[0] == found[1]))
        (TensorShape([3, 3]), True, False)
    """
    places = tf.cast(tf.range(count), tf.uint32) * tf.constant(0x9E3779B9, tf.uint32)
    stream = _mixed(tf.cast(stream, tf.uint32) + tf.constant(0x85EBCA6B, tf.uint32))
    places = _mixed(places + stream)
    return _mixed(tf.bitwise.bitwise_xor(places[None], tf.cast(keys, tf.uint32)[:, None]))


def uniform_of_keys(keys, count, stream=0):
    """Uniform float32 numbers (rows, count) in (0, 1) of the rows' keys; arguments as of `bits_of_keys`.

    Example:
        >>> found = uniform_of_keys(mixed_keys(tf.range(10, dtype=tf.int64)), 1000)
        >>> found.shape, round(float(tf.reduce_mean(found)), 1)
        (TensorShape([10, 1000]), 0.5)
    """
    return (tf.cast(tf.bitwise.right_shift(bits_of_keys(keys, count, stream), 9), tf.float32) + 0.5) * 2.0**-23


def mixed_keys(keys):
    """Keys for `bits_of_keys` of keys that were counted and not drawn, such as the seeds of rows.

    Rows of `bits_of_keys` whose keys follow each other are weakly dependent; of keys that were mixed they are not.

    Args:
        keys: int64 (rows,), from 0 to 2^32 - 1.

    Returns:
        int64 (rows,), from 0 to 2^32 - 1; different keys stay different.

    Example:
        >>> mixed = mixed_keys(tf.range(4, dtype=tf.int64))
        >>> len({*mixed.numpy().tolist()}), bool(tf.reduce_all(mixed < 2**32))
        (4, True)
    """
    return tf.cast(_mixed(tf.cast(keys, tf.uint32) + tf.constant(0x9E3779B9, tf.uint32)), tf.int64)


def _mixed(number):
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, None)):
        number = tf.bitwise.bitwise_xor(number, tf.bitwise.right_shift(number, tf.constant(shift, tf.uint32)))
        number = number if factor is None else number * tf.constant(factor, tf.uint32)
    return number
