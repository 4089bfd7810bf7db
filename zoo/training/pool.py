"""A pool of generated images, from which discriminators are also shown earlier ones."""

import keras
import tensorflow as tf

from zoo.checks import check_positive


@keras.saving.register_keras_serializable("zoo")
class ImagePool(keras.layers.Layer):
    """Earlier generated images (Shrivastava et al. 2017, section 2.3; the schedule of Zhu et al. 2017's code).

    Until the pool is full, it keeps what it is given, and gives it back. Then each image changes places with a random
    one of the pool at even odds, or comes back itself. Images of one batch meet different ones of the pool; those of a
    batch beyond the size of the pool come back as they are.

    The pool is part of the model's state, and is the same on every replica: it sees the images of all of them.

    Args:
        size: Number of images kept.
        image_shape: (height, width, channels).

    Example:
        >>> pool = ImagePool(size=50, image_shape=(4, 4, 1))
        >>> shown = pool.exchange(zoo.training.GlobalBatch(2, seed=0, step=0), tf.ones((2, 4, 4, 1)), "pool")
        >>> shown.shape, int(pool.count)
        (TensorShape([2, 4, 4, 1]), 2)
    """

    def __init__(self, size, image_shape, **kwargs):
        super().__init__(**kwargs)
        check_positive("size", size)
        self.size, self.image_shape = int(size), tuple(image_shape)
        options = {"initializer": "zeros", "trainable": False, "aggregation": "only_first_replica"}
        self.images = self.add_weight(
            shape=(self.size, *self.image_shape), dtype="float32", autocast=False, name="images", **options
        )
        self.count = self.add_weight(shape=(), dtype="int64", name="count", **options)
        self.built = True

    def exchange(self, batch, images, stream):
        """What to show instead of images.

        Args:
            batch: `GlobalBatch` of the step.
            images: This replica's (num_rows, *image_shape).
            stream: Name of the random numbers; each pool has its own.

        Returns:
            float32 tensor of the same shape.
        """
        everyone = tf.cast(batch.of_all(images), tf.float32)
        held = tf.convert_to_tensor(self.images.value)
        count = tf.cast(tf.convert_to_tensor(self.count.value), tf.int32)
        rows = tf.minimum(tf.shape(everyone)[0], self.size)
        order, coins = tf.unstack(batch.shared_uniform(stream, (2, self.size)))
        full = count >= self.size
        # Different places for the rows of a batch, so that none is written twice.
        places = tf.where(full, tf.argsort(order), (count + tf.range(self.size)) % self.size)[:rows]
        earlier = tf.gather(held, places)
        swaps = full & (coins[:rows] < 0.5)
        stays = swaps | (count + tf.range(rows) < self.size)
        given = everyone[:rows]

        def choose(which, first, second):
            return tf.where(which[:, None, None, None], first, second)

        self.images.assign(tf.tensor_scatter_nd_update(held, places[:, None], choose(stays, given, earlier)))
        self.count.assign(tf.cast(tf.minimum(count + rows, self.size), tf.int64))
        return batch.of_replica(tf.concat([choose(swaps, earlier, given), everyone[rows:]], 0))

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "size": self.size, "image_shape": self.image_shape}
