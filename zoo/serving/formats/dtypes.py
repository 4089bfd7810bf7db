"""Dtypes by TensorFlow's numbers and names, and arrays of text."""

import numpy as np

DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
CODES = {name: code for code, name in DTYPES.items()}
NAMES = {np.dtype(name): name for name in DTYPES.values() if name not in ("string", "bfloat16")}
SENT = frozenset(CODES) - {"float16", "bfloat16"}  # those that clients of TF Serving can send and read


def object_array(items, shape):
    """Return an object array of any items, into which NumPy does not look.

    Example:

        object_array([b"a", b"b"], (2, 1))
    """
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)


def to_bytes(array):
    """Return an array of str or bytes as an object array of bytes; other items stay what they are.

    Example:

        to_bytes(np.array(["a", "schön"]))  # array([b'a', b'sch\\xc3\\xb6n'], dtype=object)
    """
    items = array.ravel().tolist()
    return object_array([item.encode() if isinstance(item, str) else item for item in items], array.shape)
