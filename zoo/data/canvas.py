"""Pictures with objects on a canvas of fixed size, at its top left, with their aspect kept; the rest is black."""

from typing import NamedTuple

import numpy as np


class Scene(NamedTuple):
    """A picture on its canvas, and its objects.

    Attributes:
        image: uint8 (height, width, 3).
        boxes: float32 (n, 4), corners x1, y1, x2, y2 in pixels of the canvas.
        classes: int32 (n,).
        crowds: Booleans (n,).
        masks: uint8 (n, height, width), 0 or 1.
        size: (height, width) of the picture within the canvas.
    """

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    crowds: np.ndarray
    masks: np.ndarray
    size: tuple


def fitted_size(size, canvas):
    """The largest size of a picture with its aspect kept that fits a canvas.

    Args:
        size: (height, width) of the picture.
        canvas: (height, width) of the canvas.

    Returns:
        (height, width), whole pixels, at least 1.
    """
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    return tuple(min(max(1, round(side * scale)), most) for side, most in zip(size, canvas, strict=True))


def put_image(image, size, canvas):
    """A picture, resized by antialiased bilinear interpolation, on a canvas.

    Args:
        image: `PIL.Image.Image` of mode RGB; may have been decoded at a fraction of its size.
        size: (height, width) of all of the picture.
        canvas: (height, width).

    Returns:
        uint8 array (height, width, 3).
    """
    from PIL import Image

    height, width = fitted_size(size, canvas)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return _padded(np.asarray(image), canvas)


def put_mask(mask, canvas):
    """The mask of an object, resized like its picture, on a canvas; of a tiny object one pixel is left at least.

    Args:
        mask: uint8 (height, width) of 0 and 1, not empty, of the whole picture.
        canvas: (height, width).

    Returns:
        uint8 array (height, width) of 0 and 1: 1 where half of the pixel or more is the object's.
    """
    from PIL import Image

    height, width = fitted_size(mask.shape, canvas)
    if mask.shape != (height, width):
        # Of floats, since 8 bits would round a share of less than a 510th to nothing.
        shares = Image.fromarray(mask.astype("float32")).resize((width, height), Image.Resampling.BILINEAR)
        shares = np.asarray(shares)
        mask = (shares >= min(0.5, shares.max())).astype("uint8")
    return _padded(mask, canvas)


def bounds(mask):
    """The box around a mask that is not empty.

    Args:
        mask: Array (height, width), true or 1 within the object.

    Returns:
        (x1, y1, x2, y2): corners, whole numbers.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def _padded(array, canvas):
    if array.shape[:2] == tuple(canvas):
        return array
    out = np.zeros((*canvas, *array.shape[2:]), array.dtype)
    out[: array.shape[0], : array.shape[1]] = array
    return out
