"""Bounds on the likelihood of latent variable models."""

import math

import tensorflow as tf


def importance_weighted_bound(log_weights):
    """log (1/k) sum_i w_i, a lower bound of log p(x) on average, and the tighter the larger k.

    Burda, Grosse, Salakhutdinov 2016, equation 8, with w_i = p(x, z_i) / q(z_i | x). One sample gives the evidence
    lower bound.

    Args:
        log_weights: log w_i, (k, rows).

    Returns:
        Tensor (rows,), in nats.

    Example:
        >>> importance_weighted_bound(ops.log([[1.0], [3.0]]))  # [0.693], the logarithm of the mean
    """
    return tf.reduce_logsumexp(log_weights, axis=0) - math.log(log_weights.shape[0])


def bits_per_dimension(nats, example_shape):
    """-nats / (dimensions log 2): bits that coding one value of an example takes.

    Args:
        nats: Log-likelihood of an example, or a bound of it.
        example_shape: Shape of one example.

    Returns:
        A number or array like `nats`.

    Example:
        >>> bits_per_dimension(-784 * 0.6931, (28, 28, 1))  # 1.0
    """
    return -nats / (math.prod(example_shape) * math.log(2))


def binarize(images, uniform):
    """Black and white images, drawn with the probabilities that grey ones stand for (Salakhutdinov, Murray 2008).

    Args:
        images: (..., height, width, channels) in [-1, 1]; those that are black and white already stay as they are.
        uniform: Numbers in (0, 1), of the same shape.

    Returns:
        Tensor of -1 and 1, of the shape of `images`.
    """
    return tf.where(uniform < 0.5 * (images + 1.0), tf.ones_like(images), -tf.ones_like(images))
