"""Random crops of whole pixels as a KerasCV layer. Importing this module imports KerasCV and TensorFlow."""

import keras_cv
import tensorflow as tf


class WholePixelCrop(keras_cv.layers.RandomCrop):
    """Crops that are slices of the image, every place equally likely.

    The layer of KerasCV 0.9 that this one is in place of samples the image at fractions of pixels: of about every
    tenth crop it leaves out a row or column, and it takes the outermost places half as often as the others.

    Args:
        height: Height of the crop.
        width: Width of the crop.

    Example:

        >>> WholePixelCrop(28, 28)(tf.zeros((5, 32, 32, 1))).shape
        TensorShape([5, 28, 28, 1])
    """

    def augment_images(self, images, transformations, **_):
        """The crops of images (n, height, width, channels) at the offsets that the drawn numbers in [0, 1) stand for.

        Raises:
            ValueError: If the images are smaller than the crop.
        """
        height, width = images.shape[1:3]
        if height < self.height or width < self.width:
            raise ValueError(
                f"Crops of {self.height} x {self.width} pixels (height x width) do not fit into images of "
                f"{height} x {width}. Make the crop smaller, or enlarge the images before."
            )
        rows = _places(transformations["tops"], height, self.height)
        columns = _places(transformations["lefts"], width, self.width)
        return tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def _places(drawn, size, wanted):
    """Numbers of the rows or columns of each crop: (n, 1) numbers in [0, 1) to (n, wanted) integers."""
    first = tf.cast(tf.floor(drawn * (size - wanted + 1)), tf.int32)
    return first + tf.range(wanted)
