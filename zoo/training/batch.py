"""The batch that all replicas share, and the random numbers that belong to it."""

import zlib

import tensorflow as tf
from keras import ops

from zoo import random


class GlobalBatch:
    """This replica's rows of the batch that all replicas share, and the random numbers that belong to them.

    Draws are keyed by (seed, stream, update, training step) and made for the whole batch; each replica takes its
    own rows. They repeat after a resume and do not depend on how the batch is split.

    Args:
        num_rows: Rows on this replica: int or scalar tensor.
        seed: Seed of the model, int.
        step: Training steps taken so far: int64 scalar tensor.
        micro_batches: Parts in which `minimize` computes a gradient, one after the other.
        compile_gradients: Whether `minimize` compiles its objective by XLA, where the step as a whole is not.

    Example:
        >>> batch = GlobalBatch(num_rows=3, seed=0, step=7)
        >>> batch.normal("generator", (2,)).shape, batch.keys("dropout").shape
        (TensorShape([3, 2]), TensorShape([3]))
        >>> again = GlobalBatch(num_rows=3, seed=0, step=7)
        >>> np.array_equal(batch.uniform("mix"), again.uniform("mix"))
        True
    """

    def __init__(self, num_rows, seed, step, *, micro_batches=1, compile_gradients=False):
        self.num_rows = num_rows
        self.micro_batches, self.compile_gradients = micro_batches, compile_gradients
        self.seed = seed
        self.step = ops.cast(step, "int32")
        context = tf.distribute.get_replica_context()
        self.num_replicas = context.num_replicas_in_sync
        self.start, self.size = 0, num_rows
        if self.num_replicas > 1:
            replica = context.replica_id_in_sync_group
            # In float32, exact up to 2^24 rows: GPUs keep int32 in host memory, where their collectives do not reach.
            rows = tf.one_hot(replica, self.num_replicas) * tf.cast(num_rows, tf.float32)
            rows = tf.cast(context.all_reduce(tf.distribute.ReduceOp.SUM, rows), tf.int32)
            self.start = tf.reduce_sum(rows[:replica])
            self.size = tf.reduce_sum(rows)

    def normal(self, stream, shape, update=0):
        """Standard normal numbers for these rows.

        Args:
            stream: Name of what the numbers are for; two streams are independent.
            shape: Shape of one example's numbers.
            update: Number of the update within the step, int.

        Returns:
            float32 tensor (num_rows, *shape).
        """
        return self._rows(random.normal, stream, shape, update)

    def uniform(self, stream, shape=(), update=0):
        """Uniform numbers in (0, 1) for these rows; arguments and result as of `normal`."""
        return self._rows(random.uniform, stream, shape, update)

    def keys(self, stream, update=0):
        """A random whole number from 0 to 2^32 - 1 for each of these rows, int64 (num_rows,).

        `zoo.random.bits_of_keys` makes as many numbers of it as a network needs, such as masks of dropout.
        """
        return self._rows(random.bits, stream, (), update)

    def shared_uniform(self, stream, shape):
        """Uniform numbers in (0, 1) of the step, float32 of `shape`, the same on every replica."""
        return random.uniform(shape, seed=self._key(stream, 0))

    def of_replica(self, points):
        """This replica's rows (num_rows, ...) of points of all, (size, ...)."""
        return points if self.num_replicas == 1 else points[self.start : self.start + self.num_rows]

    def mean(self, values):
        """This replica's share of the mean over all rows: shares add up to the mean, as Keras adds up gradients.

        Args:
            values: One value per row, (num_rows,).

        Returns:
            float32 scalar.
        """
        return ops.sum(ops.cast(values, "float32")) / ops.cast(self.size, "float32")

    def total(self, values):
        """The sum over the rows of all replicas, from this replica's values (num_rows,); a float32 scalar."""
        total = tf.reduce_sum(tf.cast(values, tf.float32))
        if self.num_replicas == 1:
            return total
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, total)

    def joint(self, function, points):
        """What a function makes of the points of all rows; gradients reach those of this replica's.

        Each replica computes the whole value from the same numbers. Its own rows are variable and the others are
        constants, so that the sum of the replicas' gradients is that of the value.

        Args:
            function: Function of tensors (size, ...) that returns a scalar, or a nest of them.
            points: Its arguments, this replica's rows of each, (num_rows, ...).

        Returns:
            float32 scalar, or the nest of them, the same on every replica.
        """
        found = function(*(self.of_all(ops.cast(one, "float32")) for one in points))
        return tf.nest.map_structure(lambda one: ops.cast(one, "float32"), found)

    def of_all(self, points):
        """Points of the rows of all replicas in order, (size, ...), from this replica's (num_rows, ...).

        Gradients reach this replica's own.
        """
        if self.num_replicas == 1:
            return points
        everyone = tf.distribute.get_replica_context().all_gather(tf.stop_gradient(points), axis=0)
        end = self.start + self.num_rows
        return tf.concat([everyone[: self.start], points, everyone[end:]], axis=0)

    def _rows(self, draw, stream, shape, update):
        return self.of_replica(draw((self.size, *shape), seed=self._key(stream, update)))

    def _key(self, stream, update):
        return tf.stack([zlib.crc32(f"{self.seed}/{stream}/{update}".encode()) & 0x7FFFFFFF, self.step])
