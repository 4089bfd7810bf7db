"""What a user gives for an input, as an array of the signature's dtype; nothing is rounded, nothing guessed."""

import reprlib

import numpy as np

from zoo.serving.formats.dtypes import SENT, to_bytes
from zoo.serving.formats.signatures import names_of

# By kind of dtype: kinds that it takes, and what to give.
_TAKES = {
    "b": ("b", "True and False"),
    "i": ("iub", "whole numbers, such as [0, 1]"),
    "u": ("iub", "whole numbers from 0, such as [0, 1]"),
    "f": ("fiub", "numbers, such as [0.5, 1]"),
    "c": ("cfiub", "numbers, such as [0.5, 1]"),
}


def as_array(what, value, dtype):
    """Return a value or nested lists, which have no dtype of their own, as an array.

    Args:
        what: What messages call it, such as "Input `seed`".
        value: Number, str, bytes, nested lists of them, or what NumPy takes for an array.
        dtype: Name of the dtype, such as `"float32"` or `"string"`; None to leave it to NumPy.

    Returns:
        Array; strings as an object array of bytes.

    Raises:
        ValueError: It is text for numbers, a fraction for whole numbers, beyond the range, or lists of unequal length.

    Example:

        as_array("Input `seed`", [0, 1], "int64")
    """
    check_not_masked(what, value)
    if dtype == "string":
        return as_text(what, value)
    kinds, advice = ("OUSbiufc", "values") if dtype is None else _TAKES[np.dtype(dtype).kind]
    received = reprlib.repr(value)
    try:
        array = np.asarray(value)
        if array.dtype.kind in kinds or _holds(dtype, array.dtype):
            return as_text(what, value) if array.dtype.kind in "OUS" else np.asarray(value, dtype)
        received = f"{array.dtype} {received}" if array.dtype.kind in "biufc" else received
    except (ValueError, OverflowError):
        pass  # lists of unequal length; a number beyond the range
    raise ValueError(f"{what} must be {dtype or 'an array'}. Received: {received}. Give {advice}; lists of one length.")


def as_sent(what, array, dtype):
    """Return an array of a dtype that cannot be sent, such as float16, in one that can and holds all of its values.

    Args:
        what: What messages call it, such as "Input `x`".
        array: Array.
        dtype: Name of the dtype that is asked for, or None.

    Returns:
        Array of `dtype`.

    Raises:
        ValueError: `dtype` does not hold them.

    Example:

        as_sent("Input `x`", np.zeros(3, "float16"), "float32")
    """
    if _holds(dtype, array.dtype):
        return np.asarray(array).astype(dtype)
    to = dtype if dtype in SENT - {"string"} else "float32"
    raise ValueError(
        f"{what} must be {dtype or 'of a dtype that can be sent'}. Received: {array.dtype}, which cannot be sent as it "
        f"is. Convert it, such as with .astype({to!r})."
    )


def as_text(what, value):
    """Return text as an object array of bytes.

    Raises:
        ValueError: An item is neither str nor bytes.

    Example:

        as_text("Input `text`", ["a", b"b"])  # array([b'a', b'b'], dtype=object)
    """
    known = isinstance(value, np.ndarray | np.generic) and value.dtype.kind != "T"
    array = np.asarray(value, dtype=None if known else object)
    check_not_masked(what, value)
    kinds = {type(item) for item in array.ravel().tolist()}
    if not all(issubclass(kind, str | bytes) for kind in kinds):
        raise ValueError(f"{what} must hold str or bytes. Received: {names_of(kind.__name__ for kind in kinds)}.")
    try:
        return to_bytes(array)
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} must hold text that UTF-8 can write. Received: {error.object[:100]!r}.") from None


def check_not_masked(what, value):
    """Check that no value is masked, since a mask cannot be sent and what lies under it has no meaning.

    Raises:
        ValueError: An array, or one in a list, has masked values.

    Example:

        check_not_masked("Input `x`", np.ma.masked_less([1, -1], 0))  # ValueError
    """
    masked = np.ma.MaskedArray
    items = (
        value if isinstance(value, list | tuple) and any(issubclass(k, masked) for k in set(map(type, value))) else ()
    )
    if any(np.ma.is_masked(item) for item in (value, *items)):
        raise ValueError(f"{what} has masked values, whose mask cannot be sent. Fill them, such as with .filled(0).")


def _holds(dtype, other):
    """Whether numbers of another dtype are numbers of this one, all of them; bfloat16 is of no kind of NumPy's own."""
    number = other.kind in "biufc" or (other.kind == "V" and other.names is None and other.subdtype is None)
    return number and dtype in SENT - {"string"} and other.name[:4] != "void" and np.can_cast(other, dtype)
