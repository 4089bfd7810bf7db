"""`TensorProto` to NumPy and back, as TF Serving reads and writes them."""

import math

import numpy as np

from zoo.serving.formats.dtypes import CODES, DTYPES, NAMES

# Where values stand that are not in `tensor_content`; smaller integers share `int_val`.
_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
    "string": "string_val",
    "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int_val"),
}
_PARTS = {"complex64": "float32", "complex128": "float64"}  # complex numbers are sent as pairs
# Fields whose packed values look on the wire as they do in memory: field number, then length-delimited.
_MANY = 1000  # values; reading them one by one takes longer than writing the whole message again
_AS_IN_MEMORY = {"float32": 5, "float64": 6, "complex64": 9, "bool": 11, "complex128": 12}


def to_array(proto, max_bytes=2**31):
    """Read a `TensorProto`.

    Values stand in `tensor_content`, or in the field of their dtype, where the last one is repeated as often as the
    shape needs.

    Args:
        proto: `TensorProto`.
        max_bytes: Refuse what would take more memory: a few bytes can ask for any shape.

    Returns:
        Array; strings as an object array of bytes.

    Raises:
        ValueError: Dtype, shape and values do not make a tensor.

    Example:

        to_array(response.outputs["images"])
    """
    dtype = DTYPES.get(proto.dtype, f"number {proto.dtype}")
    if dtype not in _FIELDS:
        raise ValueError(f"A tensor of dtype {dtype} cannot be sent. Expected one of: {', '.join(sorted(_FIELDS))}.")
    if proto.tensor_shape.unknown_rank or any(axis.size < 0 for axis in proto.tensor_shape.dim):
        raise ValueError("A tensor must have a shape of known, non-negative dimensions.")
    shape = tuple(axis.size for axis in proto.tensor_shape.dim)
    count, width = math.prod(shape), 24 if dtype == "string" else np.dtype(dtype).itemsize
    if count * width > max_bytes or len(shape) > 64:
        raise ValueError(f"A tensor of shape {shape} takes {count * width} bytes. Expected at most {max_bytes}.")
    if proto.tensor_content and dtype != "string":
        if len(proto.tensor_content) != count * width:
            raise ValueError(
                f"A tensor of dtype {dtype} and shape {shape} has {count * width} bytes of content. "
                f"Received: {len(proto.tensor_content)}."
            )
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = getattr(proto, _FIELDS[dtype])
    if dtype in _AS_IN_MEMORY and len(values) > _MANY:
        values = _unpack(proto, dtype, len(values))
    return _fill(values, dtype, count).reshape(shape)


def fill_proto(proto, array):
    """Write an array into an empty `TensorProto`, into the field of its dtype, as TF Serving does.

    Args:
        proto: Empty `TensorProto`.
        array: Array; strings as an object array of bytes.

    Example:

        fill_proto(request.inputs["latents"], np.zeros((1, 128), "float32"))
    """
    dtype = "string" if array.dtype == object else NAMES[array.dtype]
    proto.dtype = CODES[dtype]
    proto.tensor_shape.SetInParent()  # a scalar has a shape too
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if dtype not in _AS_IN_MEMORY:
        getattr(proto, _FIELDS[dtype]).extend(array.ravel().tolist())
    elif array.size:
        data = np.ascontiguousarray(array).tobytes()
        proto.MergeFromString(_head(dtype, len(data)) + data)


def varint(value):
    """Return a non-negative integer as protocol buffers write it: seven bits a byte, the lowest first.

    Example:

        varint(300)  # b"\\xac\\x02"
    """
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _unpack(proto, dtype, length):
    """The values of a long field as an array, from the message's bytes: it ends in them, if no later field is set."""
    size = length * np.dtype(_PARTS.get(dtype, dtype)).itemsize
    data, head = proto.SerializeToString(), _head(dtype, size)
    if data[-size - len(head) : -size] != head:
        return getattr(proto, _FIELDS[dtype])
    return np.frombuffer(data, _PARTS.get(dtype, dtype), length, len(data) - size)


def _head(dtype, size):
    return bytes([_AS_IN_MEMORY[dtype] << 3 | 2]) + varint(size)


def _fill(values, dtype, count):
    if dtype == "string":
        array = np.full(count, b"", dtype=object)
        array[: len(values)] = list(values)[:count]
    elif dtype in _PARTS:
        parts = np.array(values, _PARTS[dtype])
        values = parts[: len(parts) // 2 * 2].view(dtype)
        array = np.zeros(count, dtype)
        array[: len(values)] = values[:count]
    else:
        given = np.asarray(values)  # in the dtype of its field, which may be wider
        if given.dtype != dtype and given.astype(dtype).astype(given.dtype).tobytes() != given.tobytes():
            raise ValueError(f"A tensor of dtype {dtype} has values beyond its range.")
        if len(given) == count:
            return given.astype(dtype, copy=False)
        array = np.zeros(count, dtype)
        array[: len(given)] = given[:count]
    if 0 < len(values) < count:
        array[len(values) :] = array[len(values) - 1]
    return array
