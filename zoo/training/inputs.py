"""What methods other than `fit` are given: looked at before a graph sees it, so that an error says what to change."""

import keras
import numpy as np
import tensorflow as tf

from zoo.checks import check_finite
from zoo.training.examples import check_image_values, first_batch, shape_advice
from zoo.vocabulary import as_utf8

# No batch, nor what a batch could be made of.
_NO_ROWS = (str, bytes, dict, set, int, float, complex, type(None))


def array_of(what, rows, expected):
    """Rows of numbers as an array.

    Args:
        what: Name of the method.
        rows: Array, tensor, or sequence of them.
        expected: What it takes, in words.

    Returns:
        NumPy array of numbers.

    Raises:
        ValueError: If they are no numbers, or differ in shape.
    """
    array = None
    if not isinstance(rows, _NO_ROWS):
        try:
            array = np.asarray(rows)
        except (ValueError, TypeError):
            shapes = sorted({str(np.shape(row)) for row in rows if hasattr(row, "shape")})
            received = f"shapes {', '.join(shapes[:3])}" if len(shapes) > 1 else "rows that differ in shape"
            raise ValueError(
                f"`{what}` takes {expected}, all of one shape. Received: {received}. Bring them to one, or call "
                f"`{what}` for each."
            ) from None
    if array is not None and array.dtype.name == "bfloat16":
        array = array.astype("float32")
    if array is None or array.dtype.kind not in "biuf":
        received = f"dtype {array.dtype}" if array is not None and array.shape else _told(rows)
        raise ValueError(f"`{what}` takes {expected}. Received: {received}. Make an array of numbers of it.")
    return array


def rows_of(what, rows, shape):
    """Rows of numbers as a float32 array; images in [-1, 1].

    Args:
        what: Name of the method.
        rows: (n, *shape), an array or what makes one.
        shape: Shape of one row; None for a size that is open. Three axes are an image.

    Returns:
        float32 array (n, *shape).

    Raises:
        ValueError: If they have another shape or type, are not finite, or are images outside [-1, 1].

    Example:
        >>> rows_of("encode", [[1, 2], [3, 4]], (2,))
        array([[1., 2.],
               [3., 4.]], dtype=float32)
    """
    expected = f"rows of shape (batch, {', '.join(map(str, shape))})"
    rows = array_of(what, rows, expected)
    if not fits(rows.shape[1:], shape) or not rows.size:
        advice = "This is one row: add an axis, `x[None]`." if fits(rows.shape, shape) else ""
        if not advice and rows.size and len(shape) == 3:
            advice = shape_advice(rows.shape, tuple(shape))
        raise ValueError(f"`{what}` takes {expected}, at least one. Received: {rows.shape}. {advice}".rstrip())
    if len(shape) == 3:
        check_image_values(rows)
    elif rows.dtype.kind == "f":
        check_finite("The rows hold", rows, "Remove or repair those rows.")
    return rows.astype("float32", copy=False)


def images_by_size(what, images, expected):
    """Images in groups of one size.

    Args:
        what: Name of the method.
        images: Array (n, height, width, channels), or a sequence of n arrays whose sizes may differ.
        expected: What it takes, in words.

    Returns:
        List of (places in the order given, int array (k,); images, array (k, height, width, channels)).

    Raises:
        ValueError: If they are no numbers.

    Example:
        >>> images = [np.zeros((4, 4, 3)), np.zeros((8, 8, 3)), np.ones((4, 4, 3))]
        >>> [(places.tolist(), found.shape) for places, found in images_by_size("segment", images, "images")]
        [([0, 2], (2, 4, 4, 3)), ([1], (1, 8, 8, 3))]
    """
    if isinstance(images, (list, tuple)) and images:
        images = [array_of(what, image, expected) for image in images]
        shapes = [image.shape for image in images]
        if len({*shapes}) > 1 and all(len(shape) == 3 for shape in shapes):
            places = {shape: np.array([row for row, one in enumerate(shapes) if one == shape]) for shape in shapes}
            return [(rows, np.stack([images[row] for row in rows])) for rows in places.values()]
    images = array_of(what, images, expected)
    return [(np.arange(len(images) if images.ndim else 0), images)]


def in_order(groups):
    """What was made of the images of `images_by_size`, in the order in which they were given.

    Args:
        groups: List of (places, array (k, ...)), as many as there.

    Returns:
        The array where there is one group, otherwise a list of arrays.

    Example:
        >>> in_order([([0, 2], ["a", "c"]), ([1], ["b"])])
        ['a', 'b', 'c']
    """
    if len(groups) == 1:
        return groups[0][1]
    found = {place: one for places, made in groups for place, one in zip(places, made, strict=True)}
    return [found[place] for place in range(len(found))]


def sizes_of(sizes, images):
    """Height and width of the picture within each of some images, int32 (n, 2).

    Args:
        sizes: Array (n, 2), or None for the whole of each image.
        images: Array (n, height, width, 3).

    Raises:
        ValueError: If they are something else, or larger than the images.
    """
    count, *most = images.shape[:3]
    if sizes is None:
        return np.tile(np.array(most, "int32"), (count, 1))
    expected = f"height and width of each of the {count} pictures, whole numbers from 1 to {most[0]} and {most[1]}"
    try:
        sizes = np.asarray(sizes)
    except ValueError:
        sizes = np.array(None)
    if sizes.shape != (count, 2):
        raise ValueError(f"`sizes` must be {expected}. Received: {sizes.shape}.")
    if sizes.dtype.kind not in "iuf" or not ((sizes >= 1) & (sizes <= most) & (sizes == np.round(sizes))).all():
        wrong = "" if sizes.dtype.kind not in "iuf" else f" from {sizes.min():g} to {sizes.max():g}"
        raise ValueError(f"`sizes` must be {expected}. Received: dtype {sizes.dtype}{wrong}. Pixels, not shares.")
    return sizes.astype("int32")


def texts_of(what, texts):
    """Texts as bytes of UTF-8, an object array (n,).

    Half of a pair of surrogates becomes the character U+FFFD.

    Raises:
        ValueError: If it is no list of texts, or an empty one.
    """
    is_list = isinstance(texts, (list, tuple)) or (isinstance(texts, np.ndarray) and texts.ndim == 1)
    if not is_list or not len(texts):
        advice = " Wrap it in a list." if isinstance(texts, (str, bytes)) else ""
        raise ValueError(f"`{what}` takes a list of texts, at least one. Received: {_told(texts)}.{advice}")
    for place, text in enumerate(texts):
        if not isinstance(text, (str, bytes)):
            raise ValueError(
                f"`{what}` takes a list of texts, each a str. Received: {type(text).__name__} at place {place}, "
                f"{_told(text)}. Leave it out, or give an empty text."
            )
    found = np.empty(len(texts), dtype=object)
    found[:] = [text if isinstance(text, bytes) else as_utf8(text) for text in texts]
    return found


def examples_in(what, x, pick):
    """What of the argument of `predict` can be looked at: all of an array, the first batch of a data set.

    Args:
        what: Name of the method.
        x: Argument.
        pick: Function of an array, or of what a data set gives for one, that returns it checked.

    Returns:
        `x`, an array of it where it was no data set.

    Raises:
        ValueError: If it is nothing, or `pick` finds something wrong.
    """
    if isinstance(x, tf.data.Dataset):
        first = first_batch(x)
        # Keras takes the first of (x, y).
        pick(first[0] if isinstance(first, tuple) else first)
        return x
    if hasattr(x, "batches"):
        raise ValueError(
            f"`{what}` takes an array or a data set of batches. Received: a set of `zoo.data`. "
            "`source.examples(100)` gives an array."
        )
    is_walked_through = not isinstance(x, (*_NO_ROWS, list, tuple)) and not hasattr(x, "shape")
    return x if is_walked_through else pick(x)


def is_symbolic(x):
    """Whether a tensor, or one in a tuple or list, stands for numbers that are not there yet."""
    if isinstance(x, (tuple, list)):
        return any(map(is_symbolic, x))
    return isinstance(x, keras.KerasTensor) or (tf.is_tensor(x) and not hasattr(x, "numpy"))


def fits(received, expected):
    """Whether a shape is the expected one, where None stands for any size."""
    return len(received) == len(expected) and all(
        wanted in (size, None) for size, wanted in zip(received, expected, strict=True)
    )


def _told(value):
    """What was received, in a few words."""
    text = repr(value).encode("ascii", "backslashreplace").decode()
    return (
        text
        if isinstance(value, (str, bytes, int, float, list, type(None))) and len(text) < 60
        else (f"{'an' if type(value).__name__[0] in 'aeiouAEIOU' else 'a'} {type(value).__name__}")
    )
