"""From row numbers to batches: what is stored is read, brought to [-1, 1] and resized, as a `tf.data` pipeline."""

import numpy as np

from zoo.data.decode import centre_box
from zoo.data.order import as_written
from zoo.data.reading import divided_by_rows, in_groups

# Rows of files that one call of Python reads: a call per picture costs more than decoding a small one.
_READ_AT_ONCE = 32


class Pipeline:
    """Batches of the rows of some examples.

    Args:
        stored: uint8 images or floats (size, ...); or pictures in files, with `shape` and `read(row)`.
        shape: Shape that each example is brought to.
        white: Value of white in uint8 images.
    """

    def __init__(self, stored, shape, white):
        """Reads nothing yet."""
        self._stored, self._shape, self._white = stored, shape, white
        self._is_files = hasattr(stored, "read")
        self._is_bytes = self._is_files or stored.dtype == np.uint8

    def batches(self, rows, sizes, group=None, drop_remainder=True, augment=None):
        """Vectors of row numbers to batches of examples, as long as each of `sizes` in turn.

        With `augment`, a function of finished images and their keys, `rows` also gives the keys: (n,), (n, 2).
        """
        import tensorflow as tf

        many = min(_READ_AT_ONCE, sum(sizes))
        sizes = sizes[0] if len(set(sizes)) == 1 else sizes
        if self._is_files:
            rows = rows.rebatch(many, drop_remainder=drop_remainder)
            read_files = self._read_files if augment is None else self._read_files_with_keys
            batches = rows.map(as_written(read_files), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            batches = batches.rebatch(sizes, drop_remainder=drop_remainder)
            read = tf.identity
        else:
            batches = rows.rebatch(sizes, drop_remainder=drop_remainder)
            # On the CPU, where the pipeline runs, also when a GPU is the default device.
            with tf.device("CPU:0"):
                stored = tf.constant(self._stored)

            def read(batch):
                return tf.gather(stored, batch)

        def finish(batch):
            return self._finish(in_groups(read(batch), group))

        def finish_and_augment(batch, keys):
            examples = tf.ensure_shape(augment(self._finish(read(batch)), keys), (batch.shape[0], *self._shape))
            return in_groups(examples, group)

        to_examples = finish if augment is None else finish_and_augment
        batches = batches.map(as_written(to_examples), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return divided_by_rows(batches)

    def _read_files(self, rows):
        """Pictures of some rows, as a uint8 tensor (rows, height, width, channels)."""
        import tensorflow as tf

        def read(numbers):
            pictures = np.empty((len(numbers), *self._stored.shape[1:]), np.uint8)
            for place, number in enumerate(numbers.tolist()):
                pictures[place] = self._stored.read(number)
            return pictures

        pictures = tf.numpy_function(read, [rows], tf.uint8, stateful=False)
        return tf.ensure_shape(pictures, (rows.shape[0], *self._stored.shape[1:]))

    def _read_files_with_keys(self, rows, keys):
        return self._read_files(rows), keys

    def _finish(self, batch):
        """A batch as stored to float32 of `shape`, images to [-1, 1]."""
        import tensorflow as tf

        batch = tf.cast(batch, tf.float32)
        if self._is_bytes:
            batch = batch / (self._white / 2) - 1
        if len(self._shape) != 3 or tuple(batch.shape[-3:]) == self._shape:
            return batch
        leading = tf.shape(batch)[:-3]
        images = tf.reshape(batch, (-1, *batch.shape[-3:]))
        height, width, channels = self._shape
        if images.shape[-1] != channels:
            images = tf.image.rgb_to_grayscale(images) if channels == 1 else tf.repeat(images, 3, axis=-1)
        if tuple(images.shape[1:3]) != (height, width):
            left, top, right, bottom = centre_box(images.shape[1:3], (height, width))
            images = tf.image.resize(images[:, top:bottom, left:right], (height, width), antialias=True)
            images = tf.clip_by_value(images, -1, 1)
        resized = tf.reshape(images, tf.concat([leading, self._shape], 0))
        return tf.ensure_shape(resized, (*batch.shape[:-3], *self._shape))
