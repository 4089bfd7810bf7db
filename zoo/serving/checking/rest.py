"""Read the answers of TF Serving's REST API: rows or columns of JSON as arrays."""

import numpy as np

from zoo.serving.formats.dtypes import to_bytes
from zoo.serving.formats.json_tensors import from_json

# What TF Serving's JSON can carry; it knows no complex numbers.
DTYPES = frozenset("float32 float64 int8 int16 int32 int64 uint8 uint32 uint64 bool string".split())


def to_array(value, dtype):
    """Turn a JSON value of a response into an array.

    Args:
        value: Nested lists of JSON values.
        dtype: Name of the dtype, such as `"float32"` or `"string"`.

    Returns:
        Array; strings as an object array of bytes.

    Raises:
        ValueError: The lists are ragged, or the values are of another kind.

    Example:

        to_array([[1.0, 2.0]], "float32")
    """
    value = from_json(value)
    if dtype != "string":
        return np.array(value, dtype)
    array = np.array(value, dtype=object)
    for item in array.flat:
        if not isinstance(item, str | bytes):
            raise ValueError(f"Expected text. Received: {type(item).__name__}.")
    return to_bytes(array)


def from_rows(rows, dtypes):
    """Read the `predictions` of a response: bare values for one output, objects for several.

    Args:
        rows: List with a value or an object per row.
        dtypes: `{output name: dtype}`.

    Returns:
        `{output name: array}`.

    Raises:
        ValueError: The rows have another form.

    Example:

        from_rows([[0.5], [1.5]], {"y": "float32"})
    """
    if not isinstance(rows, list):
        raise ValueError(f"Expected a list of rows. Received: {type(rows).__name__}.")
    if len(dtypes) == 1:
        ((name, dtype),) = dtypes.items()
        return {name: to_array(rows, dtype)}
    for row in rows:
        if not isinstance(row, dict) or row.keys() != dtypes.keys():
            raise ValueError(f"Expected rows with the keys {', '.join(sorted(dtypes))}. Received: {str(row)[:80]}.")
    return {name: to_array([row[name] for row in rows], dtype) for name, dtype in dtypes.items()}


def from_columns(columns, dtypes):
    """Read the `outputs` of a response: a bare list for one output, an object for several.

    Args:
        columns: List, or object of lists.
        dtypes: `{output name: dtype}`.

    Returns:
        `{output name: array}`.

    Raises:
        ValueError: The columns have another form.

    Example:

        from_columns({"y": [0.5], "label": [1]}, {"y": "float32", "label": "int64"})
    """
    if len(dtypes) == 1:
        columns = {next(iter(dtypes)): columns}
    if not isinstance(columns, dict) or columns.keys() != dtypes.keys():
        raise ValueError(f"Expected an object with {', '.join(sorted(dtypes))}. Received: {str(columns)[:80]}.")
    return {name: to_array(columns[name], dtype) for name, dtype in dtypes.items()}
