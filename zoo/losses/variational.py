"""Bounds on the likelihood of latent variable models."""

import math

import tensorflow as tf

from zoo.checks import check_number


def importance_weighted_bound(log_weights):
    """log (1/k) sum_i w_i, a lower bound of log p(x) on average, and the tighter the larger k.

    Burda, Grosse, Salakhutdinov 2016, equation 8, with w_i = p(x, z_i) / q(z_i | x). One sample gives the evidence
    lower bound.

    Args:
        log_weights: log w_i, (k, rows).

    Returns:
        Tensor (rows,), in nats.

    Example:
        >>> np.round(importance_weighted_bound(tf.math.log([[1.0], [3.0]])), 3)  # log 2, of the mean
        array([0.693], dtype=float32)
    """
    return tf.reduce_logsumexp(log_weights, axis=0) - math.log(log_weights.shape[0])


def bits_per_dimension(nats, example_shape, levels_per_unit=1.0):
    """-nats / (dimensions log 2) + log2 levels_per_unit: bits that coding one 8-bit value of an example takes.

    A density has the unit of one over that of its values, so its bits depend on the unit and may be negative; what one
    of the 256 levels is worth is the density times the distance of two levels (Theis et al. 2016, section 3.1). Of
    values that are no 8-bit levels, such as points, there is no such number.

    Args:
        nats: Log-likelihood of an example, or a bound of it.
        example_shape: Shape of one example.
        levels_per_unit: 8-bit levels in one unit of the values that the likelihood is over: 1 for probabilities of the
            levels themselves, 127.5 for a density over values in [-1, 1], and 255 over values in [0, 1].

    Returns:
        A number or array like `nats`.

    Raises:
        ValueError: If `levels_per_unit` is not above 0.

    Example:
        >>> round(bits_per_dimension(-784 * 0.6931, (28, 28, 1)), 2)
        1.0
        >>> round(bits_per_dimension(-784 * 0.6931, (28, 28, 1), levels_per_unit=127.5), 2)  # of a density of 1/2
        7.99
    """
    check_number("levels_per_unit", levels_per_unit, 0, above=True)
    return -nats / (math.prod(example_shape) * math.log(2)) + math.log2(levels_per_unit)


def binarize(images, uniform):
    """Black and white images, drawn with the probabilities that grey ones stand for (Salakhutdinov, Murray 2008).

    Args:
        images: (..., height, width, channels) in [-1, 1]; those that are black and white already stay as they are.
        uniform: Numbers in (0, 1), of the same shape.

    Returns:
        Tensor of -1 and 1, of the shape of `images`.

    Example:
        >>> grey = tf.zeros((1, 1, 2, 1))
        >>> np.array(binarize(grey, tf.reshape([0.2, 0.7], grey.shape))).ravel()
        array([ 1., -1.], dtype=float32)
    """
    return tf.where(uniform < 0.5 * (images + 1.0), tf.ones_like(images), -tf.ones_like(images))
