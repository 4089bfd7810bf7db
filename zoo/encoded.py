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
