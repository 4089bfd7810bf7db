"""The order in which rows are read: a function of seed and epoch, so that a resumed run goes on where it was."""

import numpy as np

from zoo.checks import check_positive, check_whole
from zoo.data.augment import keys_of
from zoo.data.checks import parts


def steps_of(name, size, batch_size, group=None):
    """Number of batches of one pass over `size` examples; what is left over is dropped.

    Args:
        name: What the set is called.
        size: Number of examples.
        batch_size: Elements of a batch, at least 1.
        group: Examples that make one element, or None.

    Returns:
        Number of steps, at least 1.

    Raises:
        ValueError: If a batch is larger than the data.
    """
    check_positive("batch_size", batch_size)
    if group is not None:
        check_positive("group", group)
    needed = batch_size * (group or 1)
    if needed > size:
        grouped = f" of {batch_size} elements with {group} examples each" if group else ""
        raise ValueError(
            f"A batch{grouped} needs {needed} examples, and {name!r} has {size}. "
            f"Use a batch size of at most {size // (group or 1)}, or more data."
        )
    return size // needed


def rows_in_order(size, steps, batch_size, seed, first_epoch, first_step, group, shuffle, replicas, with_keys):
    """Numbers of the rows to read, without end, and how many of them make each part of a batch.

    Args:
        size: Number of examples.
        steps: Steps of an epoch, as `steps_of` says.
        batch_size, seed, first_epoch, first_step, group, shuffle, replicas: As of `zoo.data.Source.batches`.
        with_keys: Whether each row comes with its key of the epoch, as `keys_of` makes them.

    Returns:
        `tf.data.Dataset` of int64 scalars, or of them and int64 (2,); and a list of the rows of each part in turn.

    Raises:
        ValueError: If an argument is out of range.
    """
    import tensorflow as tf

    check_whole("seed", seed, low=-(2**63), high=2**63 - 1)
    check_whole("first_epoch", first_epoch, low=0, high=2**63 - 1)
    check_whole("first_step", first_step, low=0, high=steps - 1)
    start, sizes = parts(batch_size, replicas)
    of_one = group or 1

    def order_of(epoch):
        rows = tf.range(size, dtype=tf.int64)
        if shuffle:
            key = tf.stack([tf.constant(seed, tf.int64), epoch])
            # Philox by name: the automatic choice depends on the device.
            rows = tf.random.experimental.stateless_shuffle(rows, key, alg="philox")
        rows = tf.reshape(rows[: steps * batch_size * of_one], (steps, batch_size * of_one))
        mine = rows[:, start * of_one : (start + sum(sizes)) * of_one]
        mine = mine[tf.where(epoch == first_epoch, first_step, 0) :]
        return (mine, keys_of(seed, epoch, mine)) if with_keys else mine

    # The next epoch is shuffled while this one is read.
    orders = tf.data.Dataset.counter(first_epoch).map(as_written(order_of)).prefetch(1)
    slices = tf.data.Dataset.from_tensor_slices
    rows = orders.flat_map(as_written((lambda *order: slices(order)) if with_keys else slices))
    return rows, [rows_of_part * of_one for rows_of_part in sizes]


def as_written(function):
    """A function for `Dataset.map`, whose Python is not translated first: that takes seconds where it calls others."""
    import tensorflow as tf

    return tf.autograph.experimental.do_not_convert(function)


def sample_of(name, size, n, seed):
    """The rows of a fixed sample without replacement, or all in order.

    Args:
        name: What the set is called.
        size: Number of examples.
        n: Number of rows, 1 to `size`; None for all.
        seed: Seed of the sample, 0 to 2^32 - 1.

    Returns:
        Integers (n,).

    Raises:
        ValueError: If `n` is larger than the data, or an argument is out of range.
    """
    if n is None:
        return np.arange(size)
    check_positive("n", n)
    check_whole("seed", seed, low=0, high=2**32 - 1)
    if n > size:
        raise ValueError(
            f"A sample without replacement has at most as many examples as {name!r}: {size}. "
            f"Received: n={n}. Use fewer, or None for all."
        )
    return np.random.RandomState(seed).permutation(size)[:n]
