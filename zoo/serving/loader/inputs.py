"""Check the inputs of a signature and turn them into arrays of its dtypes."""

import numpy as np

from zoo.serving.formats.dtypes import CODES, NAMES
from zoo.serving.formats.signatures import names_of
from zoo.serving.formats.values import as_array


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
    what = f"Input `{name}` of `{signature}`"
    if dtype not in CODES or dtype == "bfloat16":
        raise ValueError(f"{what} is {dtype}, which NumPy cannot hold. Export it as float32.")
    if dtype == "string" or not isinstance(value, np.ndarray | np.generic):
        array = as_array(what, value, dtype)
    elif NAMES.get(value.dtype) != dtype:
        raise ValueError(f"{what} must be {dtype}. Received: {value.dtype}. Convert it with .astype({dtype!r}).")
    else:
        array = value
    fits = shape is None or (
        len(shape) == array.ndim and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    )
    if not fits:
        raise ValueError(f"{what} must have shape {shape}, where None is any size. Received: shape {array.shape}.")
    return array
