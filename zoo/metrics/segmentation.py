"""How well the pixels of images are labelled: the four figures of Long et al. 2015, from one matrix of counts."""

import numpy as np

from zoo.checks import VOID, check_whole
from zoo.confusion import class_overlaps, confusion_scores


def confusion_matrix(labels, predicted, num_classes):
    """How many pixels of each class were taken for each class. Matrices of parts of a set add up to that of the whole.

    Args:
        labels: Whole numbers of any shape: the true class of each pixel, 0 to `num_classes` - 1, or 255 (void) for
            pixels that do not count.
        predicted: Whole numbers of the same shape: what was found. What stands where the truth is void does not matter.
        num_classes: 1 to 255.

    Returns:
        int64 array (num_classes, num_classes); a row for each true class, a column for each that was predicted.

    Raises:
        ValueError: If shapes differ, or a value is no class.

    Example:

        >>> confusion_matrix([0, 0, 1, 255], [0, 1, 1, 0], num_classes=2)
        array([[1, 1],
               [0, 1]])
    """
    check_whole("num_classes", num_classes, low=1, high=VOID)
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.shape != predicted.shape:
        raise ValueError(
            "`labels` and `predicted` must have one value for each of the same pixels. Received: shapes "
            f"{labels.shape} and {predicted.shape}."
        )
    counted = labels != VOID
    of_truth = f"Mark pixels that do not count by {VOID}."
    labels = _checked("labels", labels[counted], num_classes, of_truth)
    predicted = _checked("predicted", predicted[counted], num_classes, "The model must have the classes of the data.")
    pairs = np.bincount(num_classes * labels + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def segmentation_scores(matrix):
    """Pixel accuracy, mean accuracy, mean IoU and frequency-weighted IoU (Long et al. 2015, section 5).

    With n_ij pixels of class i predicted as j, t_i = sum_j n_ij, and IoU_i = n_ii / (t_i + sum_j n_ji - n_ii):
    sum_i n_ii / sum_i t_i, mean_i n_ii / t_i, mean_i IoU_i, and sum_i t_i IoU_i / sum_i t_i. A class that is neither in
    the truth nor predicted does not count. One that is only predicted has no accuracy, and an IoU of 0 that counts, as
    in the authors' code.

    Args:
        matrix: Counts (num_classes, num_classes), as `confusion_matrix` returns them.

    Returns:
        {"pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou": number in [0, 1], or None where no
        pixel is labelled}.

    Raises:
        ValueError: If it is no such matrix.

    Example:

        >>> segmentation_scores([[1, 1], [0, 2]])  # IoUs of 1/2 and 2/3
        {'pixel_accuracy': 0.75, 'mean_accuracy': 0.75, 'mean_iou': 0.583..., 'frequency_weighted_iou': 0.583...}
    """
    counts = _checked_counts(matrix)
    return {name: float(score) if counts.any() else None for name, score in confusion_scores(counts).items()}


def class_iou(matrix):
    """Intersection over union of each class: n_ii / (t_i + sum_j n_ji - n_ii), in the terms of `segmentation_scores`.

    Args:
        matrix: Counts (num_classes, num_classes), as `confusion_matrix` returns them.

    Returns:
        List of a number in [0, 1] for each class, or None where it is neither in the truth nor predicted.

    Raises:
        ValueError: If it is no such matrix.

    Example:

        >>> class_iou([[1, 1, 0], [0, 2, 0], [0, 0, 0]])
        [0.5, 0.666..., None]
    """
    overlaps, union = class_overlaps(_checked_counts(matrix))
    return [float(overlap) if pixels else None for overlap, pixels in zip(overlaps, union, strict=True)]


def _checked(name, values, num_classes, advice):
    """The values as int64, if each is a class."""
    expected = f"`{name}` must hold whole numbers from 0 to {num_classes - 1}, the classes."
    if not values.size:
        return values.astype("int64")
    if values.dtype.kind not in "iu":
        raise ValueError(f"{expected} Received: {values.dtype} values. Give classes, such as the argmax of scores.")
    for extreme in (values.min(), values.max()):
        if not 0 <= extreme < num_classes:
            raise ValueError(f"{expected} Received: {extreme}. {advice}")
    return values.astype("int64")


def _checked_counts(matrix):
    """The counts as float64, which holds whole numbers up to 9e15."""
    matrix = np.asarray(matrix)
    is_square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    if not is_square or matrix.dtype.kind not in "iu" or (matrix < 0).any():
        raise ValueError(
            "A confusion matrix must be counts of pixels, whole numbers (num_classes, num_classes). Received: "
            f"{matrix.dtype} of shape {matrix.shape}. `confusion_matrix` makes one."
        )
    return matrix.astype("float64")
