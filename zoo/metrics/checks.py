"""Argument checks shared by the metrics: one message style, float64 out."""

import numpy as np

IMAGE_RANGE_TOLERANCE = 1e-3


class MetricWarning(UserWarning):
    """A metric was computed, but its value needs care."""


def numeric_array(value, name, dtype=np.float64):
    """Returns `value` as a finite array of `dtype`, or says what is wrong with argument `name`."""
    try:
        original = np.asarray(value)
        if original.dtype.kind not in "biuf":
            # Tensors of other libraries and bfloat16 convert; complex numbers and text must not.
            if original.dtype.kind in "cOSU":
                raise TypeError(f"dtype {original.dtype}")
        array = original.astype(dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`{name}` must be an array of real numbers. Received: {type(value).__name__} ({error}). "
            "Pass a rectangular NumPy array of floats."
        ) from None
    num_bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if num_bad:
        raise ValueError(
            f"`{name}` must be finite. Received: {num_bad} of {array.size} values are NaN or infinite. "
            "Find where they arise (a diverged generator is the usual cause); the metric does not drop them."
        )
    return array


def sample_matrix(value, name, min_samples=1):
    """Returns `value` as a float64 array (n, d) with at least `min_samples` rows."""
    array = numeric_array(value, name)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(
            f"`{name}` must have shape (n, d): one row a sample, d >= 1. Received: shape {array.shape}. "
            "Flatten each sample with `x.reshape(len(x), -1)`."
        )
    if len(array) < min_samples:
        raise ValueError(
            f"`{name}` must hold at least {min_samples} sample{'s' if min_samples > 1 else ''}. "
            f"Received: shape {array.shape}. Pass more samples."
        )
    return array


def same_dimension(x, y, x_name, y_name):
    """Raises when two sample matrices differ in their number of columns."""
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"`{x_name}` and `{y_name}` must have the same dimension d. Received: shapes {x.shape} and "
            f"{y.shape}. Take both from the same space (the same feature extractor)."
        )


def image_batch(value, name, image_shape=None):
    """Returns `value` as float32 images (n, h, w, c) in [-1, 1], of `image_shape` when that is given."""
    array = numeric_array(value, name, np.float32)
    if array.ndim != 4 or 0 in array.shape:
        raise ValueError(
            f"`{name}` must have shape (n, height, width, channels), none of them 0. "
            f"Received: shape {array.shape}. Add a missing axis with `images[..., None]`."
        )
    if image_shape is not None and array.shape[1:] != tuple(image_shape):
        raise ValueError(
            f"`{name}` must hold images of shape {tuple(image_shape)}, on which the feature extractor was "
            f"trained. Received: images of shape {array.shape[1:]}. Resize them, or build an extractor from "
            "images of this shape."
        )
    low, high = float(array.min()), float(array.max())
    if low < -1 - IMAGE_RANGE_TOLERANCE or high > 1 + IMAGE_RANGE_TOLERANCE:
        raise ValueError(
            f"`{name}` must be in [-1, 1], the range of all images in Zoo. Received: min={low:g}, "
            f"max={high:g}. For 8-bit images divide by 127.5 and subtract 1."
        )
    return array
