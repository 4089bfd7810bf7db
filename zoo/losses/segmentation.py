"""Losses of segmentation: cross-entropy of pixels, of which some do not count."""

import tensorflow as tf

from zoo.checks import VOID
from zoo.losses.categorical import cross_entropy


def pixel_cross_entropy(labels, logits):
    """-log p of the label of each pixel, 0 where it is void.

    Args:
        labels: int (batch, height, width), 0 to K - 1, or `zoo.checks.VOID`.
        logits: (batch, height, width, K).

    Returns:
        float32 (batch, height, width), in nats.

    Example:
        >>> np.round(pixel_cross_entropy([[[1, 255]]], [[[[0.0, 0.0], [0.0, 0.0]]]]), 3)  # log 2, and nothing
        array([[[0.693, 0.   ]]], dtype=float32)
    """
    labels = tf.cast(labels, tf.int32)
    counts = labels != VOID
    nats = cross_entropy(tf.where(counts, labels, 0), tf.cast(logits, tf.float32))
    return tf.where(counts, nats, 0.0)


def pixel_weights(labels, class_weights=None):
    """How much each pixel counts: the weight of its class, or 1; 0 where it is void.

    Args:
        labels: int (batch, height, width).
        class_weights: Weight of each class, (K,), or None.

    Returns:
        float32 (batch, height, width).

    Example:
        >>> np.array(pixel_weights([[[1, 0, 255]]], class_weights=(0.5, 2.0)))
        array([[[2. , 0.5, 0. ]]], dtype=float32)
    """
    labels = tf.cast(labels, tf.int32)
    counts = labels != VOID
    if class_weights is None:
        return tf.cast(counts, tf.float32)
    return tf.where(counts, tf.gather(tf.constant(class_weights, tf.float32), tf.where(counts, labels, 0)), 0.0)
