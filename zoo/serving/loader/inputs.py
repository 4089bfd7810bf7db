"""Check the inputs of a signature and turn them into arrays of its dtypes."""

import numpy as np

from zoo.serving.formats.dtypes import CODES, NAMES
from zoo.serving.formats.signatures import names_of
from zoo.serving.formats.values import as_array, check_not_masked


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
    check_names(signature, inputs.keys(), expected)
    return {name: _check_input(signature, name, inputs[name], *expected[name]) for name in expected}


def check_names(signature, names, expected):
    """Check that the inputs are those of a signature.

    Args:
        signature: Name of the signature, for the error.
        names: Set of names that were given.
        expected: `{input name: (dtype, shape)}`.

    Raises:
        ValueError: Inputs are missing or unexpected; it names ten of them at most, for a stranger may send any number.

    Example:

        check_names("sample", {"seed"}, {"seed": ("int64", (None,))})
    """
    if names != expected.keys():
        raise ValueError(
            f"Signature `{signature}` takes the inputs {names_of(expected)}. Received: {_some(names)} "
            f"(missing: {names_of(expected.keys() - names)}; unexpected: {_some(names - expected.keys())})."
        )


def check_kind_of_tensor(signature, name, found, expected):
    """Check dtype and shape of one input, before there is an array of it.

    Args:
        signature: Name of the signature, for the error.
        name: Name of the input.
        found: `(dtype, shape)` that it has.
        expected: `(dtype, shape)` that the signature asks for; None is any size, or any shape.

    Raises:
        ValueError: They do not fit.

    Example:

        check_kind_of_tensor("sample", "seed", ("int64", (4,)), ("int64", (None,)))
    """
    what, (dtype, shape), (wanted, wanted_shape) = f"Input `{name}` of `{signature}`", found, expected
    if dtype != wanted:
        raise ValueError(f"{what} must be {wanted}. Received: {dtype}. Convert it with .astype({wanted!r}).")
    _check_shape(what, shape, wanted_shape)


def _some(names):
    shown = names_of(name[:100] for name in sorted(names)[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown


def _check_input(signature, name, value, dtype, shape):
    what = f"Input `{name}` of `{signature}`"
    check_not_masked(what, value)
    if dtype not in CODES or dtype == "bfloat16":
        raise ValueError(f"{what} is {dtype}, which NumPy cannot hold. Export it as float32.")
    if dtype == "string" or not isinstance(value, np.ndarray | np.generic):
        array = as_array(what, value, dtype)
    elif NAMES.get(value.dtype) != dtype:
        raise ValueError(f"{what} must be {dtype}. Received: {value.dtype}. Convert it with .astype({dtype!r}).")
    else:
        array = value
    _check_shape(what, array.shape, shape)
    return array


def _check_shape(what, shape, wanted):
    fits = wanted is None or (
        len(wanted) == len(shape) and all(want in (None, have) for want, have in zip(wanted, shape, strict=True))
    )
    if not fits:
        raise ValueError(f"{what} must have shape {wanted}, where None is any size. Received: shape {shape}.")
