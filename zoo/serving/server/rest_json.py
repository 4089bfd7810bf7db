"""The REST API's JSON: requests in row or columnar format to arrays, and back.

The rules are those of https://www.tensorflow.org/tfx/serving/api_rest: a request has exactly one of `instances` (row
by row) and `inputs` (tensor by tensor); bytes are `{"b64": text}`; NaN, Infinity and -Infinity stand bare.
"""

import itertools
import json

import numpy as np
import orjson
from grpc import StatusCode

from zoo.serving.formats import json_tensors
from zoo.serving.formats.dtypes import object_array
from zoo.serving.server import json_text
from zoo.serving.server.errors import ServingError, invalid

# The dtypes of numbers that TF Serving reads from JSON, and writes.
_DTYPES = frozenset("float32 float64 int8 int16 int32 int64 uint8 uint32 uint64 bool".split())
_KINDS = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}
_SHOWN = 200  # characters of a faulty value that a message repeats
_PART = 2**16  # numbers that are written at a time, so that other threads have their turn


def parse(body):
    """Read the body of a predict request, as far as that goes without the signature.

    Args:
        body: Bytes.

    Returns:
        `(signature name, document)`; "" where it names none.

    Raises:
        ServingError: It is no such request.

    Example:

        parse(b'{"signature_name": "sample", "inputs": [0, 1]}')[0]  # "sample"
    """
    document = json_text.load(body)
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_show(document)} Is not object")
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid(
            f"JSON Value: {_show(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return signature, document


def to_arrays(document, specs):
    """Turn a request into arrays.

    Args:
        document: What `parse` gave, with "instances" or "inputs".
        specs: `{input name: (dtype, shape)}` of the signature.

    Returns:
        `{input name: array}`.

    Raises:
        ServingError: Names, nesting or types do not fit.

    Example:

        to_arrays({"instances": [{"seed": 0}, {"seed": 1}]}, {"seed": ("int64", (None,))})  # {"seed": array([0, 1])}
    """
    given = [key for key in ("instances", "inputs") if key in document]
    if not specs:
        raise invalid("Failed to get input map for signature: it has no inputs, so it cannot be asked over REST")
    if not given:
        raise invalid("Missing 'inputs' or 'instances' key")
    if len(given) > 1:
        raise invalid(
            f"JSON Value: {_show(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    by_row = given == ["instances"]
    columns = (_split_rows if by_row else _split_columns)(document[given[0]], specs)
    return {name: _to_array(columns[name], specs[name][0], by_row) for name in specs}


def to_json(by_row, outputs):
    """Write an answer.

    Args:
        by_row: Whether the request had `instances`: then it has `predictions`, else `outputs`.
        outputs: `{output name: array}`; names of strings that are bytes end in `_bytes`.

    Returns:
        Bytes.

    Raises:
        ServingError: An output cannot be written so.

    Example:

        to_json(False, {"images": images})
    """
    if by_row:
        _check_rows(outputs)
    values = {name: _ready(name, array) for name, array in outputs.items()}
    if len(values) == 1:
        (value,) = values.values()
        text = _write(value)
    elif by_row:
        text = _in_brackets(b"[]", _write_rows(values))
    else:
        text = _write_object(values, values.values())
    return b'{"predictions":%b}' % text if by_row else b'{"outputs":%b}' % text


def error_json(message):
    """Return the body of an answer that is an error."""
    return json.dumps({"error": message}).encode()  # orjson refuses half a surrogate pair, which a message may repeat


def _split_rows(rows, specs):
    if not isinstance(rows, list):
        raise invalid(f"JSON Value: {_show(rows)} Excepting 'instances' to be an list/array")
    if not rows:
        raise invalid("JSON Value: [] No values in 'instances' array")
    objects = [_is_object(row) for row in rows]
    if not any(objects):
        return _only_input(rows, specs, "instances is a plain list, but expecting list of objects")
    if not all(objects):
        if objects[0]:
            raise invalid(f"Expecting object but got list at item {objects.index(False)} of input list")
        raise invalid(f"Expecting value/list but got object at item {objects.index(True)} of input list")
    for number, row in enumerate(rows):
        if row.keys() != specs.keys():
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: {_show(row)} keys must be "
                f"equal to: {','.join(sorted(specs))}"
            )
    return {name: [row[name] for row in rows] for name in specs}


def _split_columns(value, specs):
    if not _is_object(value):
        return _only_input(value, specs, "inputs is a plain value/list, but expecting an object")
    for name in specs:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return value


def _only_input(value, specs, problem):
    """What stands without a name is the one input that there is."""
    if len(specs) > 1:
        raise invalid(f"{problem} as multiple input tensors required as per tensorinfo_map")
    return {next(iter(specs)): value}


def _is_object(value):
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value):
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _to_array(value, dtype, by_row):
    try:
        shape, leaves = _flatten(value)
    except ServingError:
        if by_row:
            _check_alike(value)
        raise
    if dtype == "string":
        return object_array([_to_bytes(leaf) for leaf in leaves], shape)
    if dtype not in _DTYPES:
        message = f"Conversion of JSON Value: {_show(value)} to type: {dtype}"
        raise ServingError(StatusCode.UNIMPLEMENTED, message)
    kind = np.dtype(dtype).kind
    if not set(map(type, leaves)) <= _KINDS[kind]:
        wrong = next(leaf for leaf in leaves if type(leaf) not in _KINDS[kind])
        raise invalid(f"JSON Value: {_show(wrong)} Type: {_type(wrong)} is not of expected type: {dtype}")
    try:
        with np.errstate(over="ignore"):  # what is beyond float32 is infinite
            return np.array(leaves, dtype).reshape(shape)
    except OverflowError:
        raise invalid(f"Cannot convert JSON value: {_show(value)} to {dtype} without loss of precision.") from None


def _flatten(value):
    """Shape and leaves of a nested list, which must be as even as a tensor."""
    shape, level = [], [value]
    while any(isinstance(item, list) for item in level):
        if not all(isinstance(item, list) for item in level):
            raise invalid(f"JSON Value: {_show(value)} has values and lists side by side at level: {len(shape)}")
        sizes = set(map(len, level))
        if len(sizes) > 1:
            raise invalid(
                f"Encountered list at unexpected size: {max(sizes)} at level: {len(shape)} expected size: {min(sizes)}"
            )
        shape.append(sizes.pop())
        level = list(itertools.chain.from_iterable(level))
        if len(shape) > 64:
            raise invalid(f"Encountered list at unexpected level: {len(shape)} expected < 64")
    return shape, level


def _check_alike(rows):
    """Tell which row is not as the first, where the rows of one input make no tensor."""
    for number, row in enumerate(rows):
        try:
            shape, leaves = _flatten(row)
        except ServingError as error:
            problem = error.message
        else:
            if not number:
                first, count = shape, len(leaves)
            if len(leaves) != count:
                problem = f"Expecting tensor size: {count} but got: {len(leaves)}"
            elif shape != first:
                problem = f"Expecting shape {first} but got: {shape}"
            else:
                continue
        raise invalid(f"Failed to process element: {number} of 'instances' list. Error: {problem}")


def _to_bytes(leaf):
    if isinstance(leaf, str):
        return leaf.encode()
    if not _is_base64(leaf):
        raise invalid(f"JSON Value: {_show(leaf)} Type: {_type(leaf)} is not of expected type: string")
    try:
        return json_text.from_base64(leaf["b64"])
    except ValueError:
        raise invalid("Unable to base64 decode") from None


def _check_rows(outputs):
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
    sizes = {name: len(array) for name, array in outputs.items()}
    first = next(iter(sizes.values()))
    for name, size in sizes.items():
        if size != first:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {size} expecting: {first}")


def _ready(name, array):
    """An array as something that can be dumped."""
    if array.dtype == object:
        try:
            return json_tensors.to_json(array, encode=name.endswith("_bytes"))
        except UnicodeDecodeError:
            message = f"Output {name} is no UTF-8; outputs that are bytes have names that end in _bytes"
            raise invalid(message) from None
    if array.dtype.name not in _DTYPES:
        raise invalid(f"Failed to write JSON value for tensor type: {array.dtype.name}")
    return np.asarray(array, order="C")


def _write_rows(values):
    """Rows as objects: many at a time where there are only numbers, and those are finite."""
    arrays = [value for value in values.values() if isinstance(value, np.ndarray)]
    numbers = sum(array[:1].size for array in arrays) + len(values)
    plain = all(array.dtype.kind != "f" or np.isfinite(array).all() for array in arrays)
    rows = zip(*values.values(), strict=True)
    if not plain or numbers > _PART:
        yield from (_write_object(values, row) for row in rows)
        return
    while some := [dict(zip(values, row, strict=True)) for row in itertools.islice(rows, _PART // numbers)]:
        yield orjson.dumps(some, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def _write_object(names, values):
    pairs = zip(names, values, strict=True)
    return _in_brackets(b"{}", (b"%b:%b" % (orjson.dumps(name), _write(value)) for name, value in pairs))


def _in_brackets(brackets, parts):
    return b"%c%b%c" % (brackets[0], b",".join(parts), brackets[1])


def _write(value):
    """A value of `_ready`, or a row of it, as JSON; a large array in parts, with NaN and Infinity bare."""
    if not isinstance(value, np.ndarray | np.generic):
        return orjson.dumps(value)
    if value.size <= _PART:
        value = value if value.ndim else value[()]
        if value.dtype.kind != "f" or np.isfinite(value).all():
            return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
        return json.dumps(_shortest(value)).encode()  # orjson would write null for them
    if value[0].size > _PART:
        return _in_brackets(b"[]", map(_write, value))
    step = _PART // value[0].size
    parts = (_write(value[start : start + step])[1:-1] for start in range(0, len(value), step))
    return _in_brackets(b"[]", parts)


def _shortest(array):
    """Lists of Python floats that print as the shortest text of a float32 does."""
    return array.astype(str).astype(float).tolist()


def _type(value):
    names = {type(None): "Null", bool: "Bool", dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def _show(value):
    """The beginning of a value as JSON; no more of it is written than is shown."""
    text = ""
    for part in json.JSONEncoder(default=str).iterencode(value):
        text += part
        if len(text) > _SHOWN:
            return text[:_SHOWN] + "…"
    return text
