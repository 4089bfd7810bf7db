"""Losses of detectors, one value for each of the boxes or masks that are compared."""

import tensorflow as tf


def smooth_l1(errors, beta=1 / 9):
    """Squares of small errors and absolute values of large ones (Girshick 2015, Fast R-CNN, equation 3).

    0.5 e^2 / beta where |e| < beta, |e| - 0.5 beta elsewhere.

    Args:
        errors: (..., 4), differences of what `zoo.detection.boxes.encode` gives.
        beta: Where the square ends. 1 / 9 is that of the authors' Detectron for the RPN, and of torchvision for both;
            in the paper, and in Detectron for the box head, it is 1, with errors that are weighted as here.

    Returns:
        (...): the sum over the four numbers.

    Example:
        >>> np.round(smooth_l1(tf.constant([[0.0, 0.0, 0.5, 3.0]]), beta=1.0), 3)  # 0.5 * 0.5^2 + 3 - 0.5
        array([2.625], dtype=float32)
    """
    sizes = tf.abs(errors)
    return tf.reduce_sum(tf.where(sizes < beta, 0.5 / beta * tf.square(errors), sizes - 0.5 * beta), -1)


def objectness_loss(logits, is_object):
    """Cross-entropy between object and background (Ren et al. 2015, equation 1), float32 (...).

    Args:
        logits: (...).
        is_object: bool (...).

    Example:
        >>> np.round(objectness_loss(tf.constant([0.0, 9.0]), tf.constant([True, False])), 3)  # log 2, and much more
        array([0.693, 9.   ], dtype=float32)
    """
    return tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(is_object, tf.float32), tf.cast(logits, tf.float32))


def mask_loss(logits, masks):
    """Mean cross-entropy of the cells of a mask (He et al. 2017, section 3), float32 (n,).

    Args:
        logits: (n, M, M), of the mask of the object's own class.
        masks: (n, M, M), shares in [0, 1].

    Example:
        >>> np.round(mask_loss(tf.zeros((1, 4, 4)), tf.ones((1, 4, 4))), 3)  # log 2
        array([0.693], dtype=float32)
    """
    cells = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(masks, tf.float32), tf.cast(logits, tf.float32))
    return tf.reduce_mean(cells, (1, 2))
