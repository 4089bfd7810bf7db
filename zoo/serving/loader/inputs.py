"""Check the inputs of a signature and turn them into arrays of its dtypes."""

import numpy as np

from zoo.serving.formats.dtypes import CODES, NAMES, to_bytes
from zoo.serving.formats.signatures import names_of


def check_inputs(signature, inputs, expected):
    """Return the inputs of a signature as arrays of its dtypes.

    Args:
        signature: Name of the signature, for the errors.
        inputs: `{input name: array}`; lists are converted.
        expected: `{input name: (dtype, shape)}`.

    Returns:
        `{input name: array}` in the order of `expected`; strings as object arrays of bytes.

    Raises:
        ValueError: Inputs are missing, unexpected, or of another dtype or shape.

    Example:

        check_inputs("sample", {"seed": [0, 1]}, {"seed": ("int64", (None,))})  # {"seed": array([0, 1])}
    """
    if inputs.keys() != expected.keys():
        raise ValueError(
            f"Signature `{signature}` takes the inputs {names_of(expected)}. Received: {names_of(inputs)} "
            f"(missing: {names_of(expected.keys() - inputs.keys())}; "
            f"unexpected: {names_of(inputs.keys() - expected.keys())})."
        )
    return {name: _check_input(signature, name, inputs[name], *expected[name]) for name in expected}


def _check_input(signature, name, value, dtype, shape):
    if dtype == "string":
        array = _check_text(signature, name, value)
    elif dtype not in CODES or dtype == "bfloat16":
        raise ValueError(f"Input `{name}` of `{signature}` is {dtype}, which NumPy cannot hold. Export it as float32.")
    else:
        array = value if isinstance(value, np.ndarray | np.generic) else np.asarray(value)
        if array is not value and array.dtype != object and np.can_cast(array.dtype, dtype, "same_kind"):
            array = _convert(signature, name, value, dtype)  # a list has no dtype of its own
        if NAMES.get(array.dtype) != dtype:
            raise ValueError(
                f"Input `{name}` of `{signature}` must be {dtype}. Received: {array.dtype}. "
                f"Convert it with .astype({dtype!r})."
            )
    fits = shape is None or (
        len(shape) == array.ndim and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    )
    if not fits:
        raise ValueError(
            f"Input `{name}` of `{signature}` must have shape {shape}, where None is any size. "
            f"Received: shape {array.shape}."
        )
    return array


def _convert(signature, name, value, dtype):
    try:
        return np.asarray(value, dtype)
    except OverflowError as error:
        raise ValueError(f"Input `{name}` of `{signature}` must be {dtype}. Received: {error}.") from None


def _check_text(signature, name, value):
    array = np.asarray(value, dtype=None if isinstance(value, np.ndarray | np.generic) else object)
    kinds = {type(item) for item in array.ravel().tolist()}
    if not all(issubclass(kind, str | bytes) for kind in kinds):
        received = names_of(kind.__name__ for kind in kinds)
        raise ValueError(f"Input `{name}` of `{signature}` must hold str or bytes. Received: {received}.")
    return to_bytes(array)
