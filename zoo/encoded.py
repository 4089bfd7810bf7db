"""Images as files of bytes, in and out of a graph that TF Serving runs."""

import tensorflow as tf


def decode(file, channels):
    """The image in a JPEG, PNG, GIF (first frame) or BMP file; transparency becomes white.

    Args:
        file: string tensor ().
        channels: 1 for grey or 3 for RGB, whatever the file has.

    Returns:
        float32 tensor (height, width, channels) in [-1, 1].
    """
    pixels = tf.cast(tf.io.decode_image(file, expand_animations=False), tf.float32)
    has_alpha = tf.shape(pixels)[-1] % 2 == 0
    colours = tf.cond(has_alpha, lambda: pixels[..., :-1], lambda: pixels)
    opacity = tf.cond(has_alpha, lambda: pixels[..., -1:] / 255, lambda: tf.ones_like(pixels[..., :1]))
    colours = tf.cond(tf.shape(colours)[-1] == 1, lambda: tf.repeat(colours, 3, -1), lambda: colours)
    colours = tf.ensure_shape(255 + opacity * (colours - 255), (None, None, 3))
    return (colours if channels == 3 else tf.image.rgb_to_grayscale(colours)) / 127.5 - 1


def encode(image):
    """An image as a PNG file.

    Args:
        image: Tensor (height, width, 1 or 3); what is outside [-1, 1] is clipped.

    Returns:
        string tensor ().
    """
    return tf.io.encode_png(tf.cast(tf.clip_by_value(tf.round((image + 1) * 127.5), 0, 255), tf.uint8))


def fit_to_canvas(file, canvas):
    """The image in a file, brought with its aspect kept to the largest size that fits a canvas, at its top left.

    Args:
        file: string tensor (), as for `decode`.
        canvas: (height, width).

    Returns:
        Tuple of float32 (*canvas, 3) in [0, 255], 0 beside the image; int32 (2,), height and width of the image on the
        canvas; and the same of the file.
    """
    pixels = (decode(file, 3) + 1) * 127.5
    size = tf.shape(pixels)[:2]
    scale = tf.reduce_min(tf.constant(canvas, tf.float32) / tf.cast(size, tf.float32))
    fitted = tf.clip_by_value(tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32), 1, canvas)
    pixels = tf.clip_by_value(tf.image.resize(pixels, fitted, antialias=True), 0, 255)
    pixels = tf.pad(pixels, ((0, canvas[0] - fitted[0]), (0, canvas[1] - fitted[1]), (0, 0)))
    return tf.ensure_shape(pixels, (*canvas, 3)), fitted, size


def fit_all_to_canvas(files, canvas):
    """`fit_to_canvas` of each of many files, string (batch,): three tensors with the batch in front."""
    two = tf.TensorSpec((2,), tf.int32)
    kinds = (tf.TensorSpec((*canvas, 3), tf.float32), two, two)
    return tf.map_fn(lambda file: fit_to_canvas(file, canvas), files, fn_output_signature=kinds)
