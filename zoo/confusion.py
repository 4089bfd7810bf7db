"""Figures of a confusion matrix, of NumPy's arrays and of tensors alike."""

import numpy as np


def class_overlaps(counts, ops=np):
    """Intersection over union of each class, and how much there is of it.

    Args:
        counts: Floats (K, K): how many pixels of each class, a row, were taken for each, a column.
        ops: `numpy`, or `keras.ops` for tensors.

    Returns:
        Tuple of n_ii / (t_i + sum_j n_ji - n_ii), (K,), 0 for a class that is nowhere; and of t_i + sum_j n_ji - n_ii,
        its pixels in the truth or among what was found, (K,).
    """
    right = ops.diagonal(counts)
    union = ops.sum(counts, 1) + ops.sum(counts, 0) - right
    return _ratio(right, union, ops), union


def confusion_scores(counts, ops=np):
    """Pixel accuracy, mean accuracy, mean IoU and frequency-weighted IoU (Long et al. 2015, section 5).

    A class that is nowhere has no share in a mean. One that is only found has no accuracy, and an IoU of 0 that counts,
    as in the authors' code.

    Args:
        counts: Floats (K, K), as of `class_overlaps`.
        ops: `numpy`, or `keras.ops` for tensors.

    Returns:
        {name: scalar in [0, 1]}, 0 where no pixel is labelled.
    """
    right, true = ops.diagonal(counts), ops.sum(counts, 1)
    overlaps, union = class_overlaps(counts, ops)
    total = ops.sum(true)
    return {
        "pixel_accuracy": _ratio(ops.sum(right), total, ops),
        "mean_accuracy": _mean_where(true > 0, _ratio(right, true, ops), ops),
        "mean_iou": _mean_where(union > 0, overlaps, ops),
        "frequency_weighted_iou": _ratio(ops.sum(true * overlaps), total, ops),
    }


def _ratio(part, whole, ops):
    """part / whole, 0 where there is no whole."""
    there = whole > 0
    return ops.where(there, part / ops.where(there, whole, ops.ones_like(whole)), ops.zeros_like(whole))


def _mean_where(there, values, ops):
    """The mean of the values that are there, 0 where none is."""
    counted = ops.where(there, ops.ones_like(values), ops.zeros_like(values))
    return _ratio(ops.sum(counted * values), ops.sum(counted), ops)
