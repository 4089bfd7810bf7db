"""The REST API's JSON: requests in row or columnar format to arrays, and back.

The rules are those of https://www.tensorflow.org/tfx/serving/api_rest: a request has exactly one of `instances` (row
by row) and `inputs` (tensor by tensor); bytes are `{"b64": text}`; NaN, Infinity and -Infinity stand bare.
"""

import base64
import binascii
import itertools
import json

import numpy as np
import orjson

from zoo.serving.formats import json_tensors
from zoo.serving.formats.dtypes import object_array
from zoo.serving.server.errors import invalid

_KINDS = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}
_SHOWN = 200  # characters of a faulty value that a message repeats


def parse(body):
    """Read the body of a predict request, as far as that goes without the signature.

    Args:
        body: Bytes.

    Returns:
        `(signature name, "instances" or "inputs", value)`.

    Raises:
        ServingError: It is no such request.

    Example:

        parse(b'{"signature_name": "sample", "inputs": {"seed": [0, 1]}}')  # ("sample", "inputs", {"seed": [0, 1]})
    """
    document = _load(body)
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_show(document)} Is not object")
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid(
            f"JSON Value: {_show(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    given = [key for key in ("instances", "inputs") if key in document]
    if not given:
        raise invalid("Missing 'inputs' or 'instances' key")
    if len(given) > 1:
        raise invalid(
            f"JSON Value: {_show(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    return signature, given[0], document[given[0]]


def to_arrays(layout, value, specs):
    """Turn a request into arrays.

    Args:
        layout: "instances" or "inputs".
        value: What stood there.
        specs: `{input name: (dtype, shape)}` of the signature.

    Returns:
        `{input name: array}`.

    Raises:
        ServingError: Names, nesting or types do not fit.

    Example:

        to_arrays("instances", [{"seed": 0}, {"seed": 1}], {"seed": ("int64", (None,))})  # {"seed": array([0, 1])}
    """
    columns = _split_rows(value, specs) if layout == "instances" else _split_columns(value, specs)
    return {name: _to_array(columns[name], specs[name][0]) for name in specs}


def to_json(layout, outputs):
    """Write an answer.

    Args:
        layout: That of the request: "instances" gives `predictions`, "inputs" gives `outputs`.
        outputs: `{output name: array}`; names of strings that are bytes end in `_bytes`.

    Returns:
        Bytes.

    Raises:
        ServingError: An output cannot be written so.

    Example:

        to_json("inputs", {"images": images})
    """
    by_row = layout == "instances"
    if by_row:
        _check_rows(outputs)
    values = {name: _ready(name, array) for name, array in outputs.items()}
    if len(values) == 1:
        (values,) = values.values()
    elif by_row:
        values = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    document = {"predictions" if by_row else "outputs": values}
    if all(np.isfinite(array).all() for array in outputs.values() if array.dtype.kind == "f"):
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(document, default=_shortest).encode()  # orjson would write null for NaN and Infinity


def error_json(message):
    """Return the body of an answer that is an error."""
    return json.dumps({"error": message}).encode()  # orjson refuses half a surrogate pair, which a message may repeat


def _load(body):
    if not body.strip():
        raise invalid("JSON Parse error: The document is empty")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass  # perhaps only for NaN or Infinity, which are not JSON but allowed here
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {str(error) or 'nested too deeply'}") from None


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


def _to_array(value, dtype):
    shape, leaves = _flatten(value)
    if dtype == "string":
        return object_array([_to_bytes(leaf) for leaf in leaves], shape)
    kind = np.dtype(dtype).kind
    if kind not in _KINDS:
        raise invalid(f"Conversion of JSON Value: {_show(value)} to type: {dtype} is not offered")
    if not set(map(type, leaves)) <= _KINDS[kind]:
        wrong = next(leaf for leaf in leaves if type(leaf) not in _KINDS[kind])
        raise invalid(f"JSON Value: {_show(wrong)} Type: {_type(wrong)} is not of expected type: {dtype}")
    try:
        with np.errstate(over="raise"):
            return np.array(leaves, dtype).reshape(shape)
    except (OverflowError, FloatingPointError):
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


def _to_bytes(leaf):
    if isinstance(leaf, str):
        return leaf.encode("utf-8", "surrogatepass")
    if not _is_base64(leaf):
        raise invalid(f"JSON Value: {_show(leaf)} Type: {_type(leaf)} is not of expected type: string")
    try:
        return base64.b64decode(leaf["b64"], validate=True)
    except (binascii.Error, ValueError):
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
    if array.dtype.kind == "c":
        raise invalid(f"Failed to write JSON value for tensor type: {array.dtype.name}")
    return np.ascontiguousarray(array)


def _shortest(array):
    """Lists of Python floats that print as the shortest text of a float32 does."""
    array = np.asarray(array)
    return (array.astype(str).astype(float) if array.dtype.kind == "f" else array).tolist()


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
