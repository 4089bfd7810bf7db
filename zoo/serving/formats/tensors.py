"""`TensorProto` to NumPy and back, as TF Serving reads and writes them."""

import math

import numpy as np

from zoo.serving.formats.dtypes import CODES, DTYPES, NAMES, SENT

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
_VARINTS = {"int_val": 7, "int64_val": 10, "uint32_val": 16, "uint64_val": 17}  # the other fields of numbers
_PACKED = 2**18  # integers that are written at a time, so that writing takes little memory beside them
_MAX_RANK = 64  # of NumPy
_STRING_BYTES = 24  # of a string in TensorFlow, beside what it holds


def measure(proto, max_bytes=2**31):
    """Return dtype, shape and bytes of the array that a `TensorProto` stands for, without making it.

    A few bytes can ask for any shape, because the last value is repeated as often as the shape needs.

    Args:
        proto: `TensorProto`.
        max_bytes: Refuse what would take more memory.

    Returns:
        `(name of the dtype, shape, bytes)`.

    Raises:
        ValueError: Dtype, shape and values do not make a tensor, or one that is too large.

    Example:

        measure(request.inputs["seed"])  # ("int64", (4,), 32)
    """
    dtype, axes = DTYPES.get(proto.dtype, f"number {proto.dtype}"), proto.tensor_shape.dim
    if dtype not in _FIELDS:
        raise ValueError(f"A tensor of dtype {dtype} cannot be sent. Expected one of: {', '.join(sorted(_FIELDS))}.")
    if len(axes) > _MAX_RANK:
        raise ValueError(f"A tensor must have at most {_MAX_RANK} dimensions. Received: {len(axes)}.")
    shape = tuple(axis.size for axis in axes)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError("A tensor must have a shape of known, non-negative dimensions.")
    count = math.prod(shape)
    if math.prod(max(1, size) for size in shape) >= 2**60:  # an empty array counts its other dimensions, too
        raise ValueError(
            f"A tensor of shape {shape} has dimensions that are too large. Expected at most {max_bytes} bytes."
        )
    if dtype == "string":
        if proto.tensor_content:
            raise ValueError("A tensor of strings must have them in string_val. Received: tensor_content.")
        lengths = [len(item) for item in proto.string_val]
        repeated = max(0, count - len(lengths)) * (lengths[-1] if lengths else 0)
        size = _STRING_BYTES * count + sum(lengths) + repeated
    else:
        size = count * np.dtype(dtype).itemsize
    if size > max_bytes:
        raise ValueError(f"A tensor of shape {shape} takes {size} bytes. Expected at most {max_bytes}.")
    if proto.tensor_content and len(proto.tensor_content) != size:
        raise ValueError(
            f"A tensor of dtype {dtype} and shape {shape} has {size} bytes of content. "
            f"Received: {len(proto.tensor_content)}."
        )
    return dtype, shape, size


def to_array(proto, max_bytes=2**31):
    """Read a `TensorProto`.

    Values stand in `tensor_content`, or in the field of their dtype, where the last one is repeated as often as the
    shape needs.

    Args:
        proto: `TensorProto`.
        max_bytes: As for `measure`.

    Returns:
        Array; strings as an object array of bytes.

    Raises:
        ValueError: Dtype, shape and values do not make a tensor.

    Example:

        to_array(response.outputs["images"])
    """
    dtype, shape, _ = measure(proto, max_bytes)
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = getattr(proto, _FIELDS[dtype])
    if dtype in _AS_IN_MEMORY and len(values) > _MANY:
        values = _unpack(proto, dtype, len(values))
    return _fill(values, dtype, math.prod(shape)).reshape(shape)


def fill_proto(proto, array):
    """Write an array into an empty `TensorProto`, into the field of its dtype, as TF Serving does.

    Args:
        proto: Empty `TensorProto`.
        array: Array in any byte order; strings as an object array of bytes.

    Raises:
        ValueError: No client of TF Serving can send or read its dtype.

    Example:

        fill_proto(request.inputs["latents"], np.zeros((1, 128), "float32"))
    """
    dtype = "string" if array.dtype == object else NAMES.get(array.dtype.newbyteorder("="))
    if dtype not in _FIELDS:
        raise ValueError(f"An array of dtype {array.dtype} cannot be sent. Expected one of: {', '.join(sorted(SENT))}.")
    array = array if dtype == "string" else array.astype(dtype, copy=False)  # in the byte order of this machine
    proto.dtype = CODES[dtype]
    proto.tensor_shape.SetInParent()  # a scalar has a shape too
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if dtype in _AS_IN_MEMORY:
        data = array.tobytes()
        proto.MergeFromString(_head(_AS_IN_MEMORY[dtype], len(data)) + data if data else b"")
    elif _FIELDS[dtype] in _VARINTS and array.size > _MANY:
        data = _pack(array.ravel())
        proto.MergeFromString(_head(_VARINTS[_FIELDS[dtype]], len(data)) + data)
    else:
        getattr(proto, _FIELDS[dtype]).extend(array.ravel().tolist())


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
    data, head = proto.SerializeToString(), _head(_AS_IN_MEMORY[dtype], size)
    if data[-size - len(head) : -size] != head:
        return getattr(proto, _FIELDS[dtype])
    return np.frombuffer(data, _PARTS.get(dtype, dtype), length, len(data) - size)


def _head(field, size):
    return varint(field << 3 | 2) + varint(size)


def _pack(values):
    """Integers as `varint` writes each, negative ones as 64 bits."""
    return b"".join(_varints(values[start : start + _PACKED]) for start in range(0, len(values), _PACKED))


def _varints(values):
    if values.min() < 0:
        values = values.astype("int64").view("uint64")
    most = int(values.max())
    values = values.astype(np.min_scalar_type(most), copy=False)  # the narrowest, for speed
    if most < 128:
        return values.tobytes()
    places = np.arange(0, max(1, most.bit_length()), 7, dtype=values.dtype)
    shifted = values[:, np.newaxis] >> places  # (integers, bytes): what is left before each byte
    groups = (shifted & 127).astype("uint8") | (shifted > 127).view("uint8") << 7
    written = shifted > 0
    written[:, 0] = True
    return groups[written].tobytes()


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
