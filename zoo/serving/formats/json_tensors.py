"""Arrays as the nested lists of JSON, as TF Serving's REST API writes and reads them."""

import base64
import reprlib

from zoo.serving.formats.dtypes import object_array


def to_json(array, encode=True):
    """Turn an array into nested lists of JSON values.

    Args:
        array: Array; strings as an object array of bytes.
        encode: Write strings as `{"b64": ...}`, which is right for any bytes; else as text.

    Returns:
        Nested lists, or one value for a scalar.

    Raises:
        UnicodeDecodeError: A string is no UTF-8 and `encode` is off.

    Example:

        to_json(np.array([b"a"], dtype=object))  # [{"b64": "YQ=="}]
    """
    if array.dtype != object:
        return array.tolist()
    write = _to_base64 if encode else bytes.decode
    return object_array([write(item) for item in array.ravel().tolist()], array.shape).tolist()


def from_json(value):
    """Turn `{"b64": ...}` anywhere in nested lists into bytes, and leave the rest.

    Args:
        value: Nested lists of JSON values.

    Returns:
        The same with bytes.

    Raises:
        ValueError: An object is not of that form, or no base64.

    Example:

        from_json([{"b64": "YQ=="}, "text"])  # [b"a", "text"]
    """
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) != ["b64"]:
        raise ValueError(f"An object among values must be {{'b64': ...}}. Received the keys: {', '.join(value)}.")
    text = value["b64"]
    if not isinstance(text, str):
        raise ValueError(f"The value of 'b64' must be text in base64. Received: {reprlib.repr(text)}.")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(
            f"The value of 'b64' must be text in base64. Received: {reprlib.repr(text)} ({error})."
        ) from None


def _to_base64(item):
    return {"b64": base64.b64encode(item).decode()}
