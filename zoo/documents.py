"""Values of documents as COCO has them, of JSON or of tables made from it: whole numbers, sizes, ids, names."""

import numpy as np

_MOST_PIXELS = 2**31 - 1  # of a picture whose run lengths pycocotools can count
_EXACT = 2**53  # from which on floats do not tell whole numbers from their neighbours
_NUMBERS = (int, float, np.integer, np.floating)


def as_whole(value):
    """A whole number as int, or None: true and false are none, a float is one if it has no fraction.

    Tables write whole numbers as 1.0 where others of their column are missing, as those of pandas do.

    Example:

        >>> as_whole(7), as_whole(7.0), as_whole(7.5), as_whole("7"), as_whole(True)
        (7, 7, None, None, None)
    """
    if isinstance(value, (float, np.floating)):
        return int(value) if abs(value) < _EXACT and float(value).is_integer() else None
    return int(value) if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else None


def as_id(value):
    """What tells images and categories apart, as int or str, or None."""
    return value if isinstance(value, str) else as_whole(value)


def as_size(values):
    """Height and width of a picture, (int, int), or None: whole numbers of at least 1, which fit together."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, (list, tuple)) or len(values) != 2:
        return None
    height, width = map(as_whole, values)
    is_size = None not in (height, width) and min(height, width) >= 1 and height * width <= _MOST_PIXELS
    return (height, width) if is_size else None


def is_name(value):
    """Whether a value can be the name of a file."""
    return isinstance(value, str) and value != "" and "\0" not in value


def finite_numbers(values):
    """A list of finite numbers as a float64 array, or None."""
    if not isinstance(values, (list, tuple)):
        return None
    if not all(isinstance(value, _NUMBERS) and not isinstance(value, bool) for value in values):
        return None
    try:
        array = np.array(values, "float64")
    except OverflowError:  # JSON's whole numbers have any length
        return None
    return array if np.isfinite(array).all() else None
