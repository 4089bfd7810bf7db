"""JSON as TF Serving's parser, RapidJSON, reads it: what stands bare, which of two keys counts, what base64 is.

It takes NaN, Inf and Infinity; the first of several values of one key; numbers that a double holds, no larger ones; and
it stops where the document ends, whatever follows. Unlike there, documents are nested 1,000 levels deep at most, and
their text must be UTF-8.
"""

import base64
import contextlib
import gc
import json
import math
import re

import orjson

from zoo.serving.server.errors import invalid

_BOM = b"\xef\xbb\xbf"
_BARE = re.compile(r'"(?:[^"\\]|\\.)*"?|-NaN|Inf(?!inity)', re.DOTALL)  # or a string, in which neither means anything
_PLAIN = {"-NaN": "NaN", "Inf": "Infinity"}
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # of a surrogate pair, perhaps without the other half
_BASE64 = re.compile(r"([A-Za-z0-9+/ \t-\r]*)([=. \t-\r]*)")
_DIGITS = 20  # of the largest integer of 64 bits
# Bytes of memory that Python takes at most for a value, and beside that for a list or an object.
_VALUE, _CONTAINER = 32, 96


def count_bytes(body):
    """Return how much memory the values of a JSON text take at most, beside its strings, without reading it.

    Example:

        count_bytes(b"[1, 2]")  # 192
    """
    containers = body.count(b"[") + body.count(b"{")
    return _VALUE * (containers + body.count(b",") + 1) + _CONTAINER * containers


def load(body):
    """Read JSON.

    Args:
        body: Bytes.

    Returns:
        dicts, lists, str, int within 64 bits, float, bool and None.

    Raises:
        ServingError: It is no JSON, even to TF Serving, or nested too deeply.

    Example:

        load(b'{"inputs": [NaN, Inf]} and more')  # {"inputs": [nan, inf]}
    """
    body = body.removeprefix(_BOM)
    if not body.strip():
        raise invalid("JSON Parse error: The document is empty")
    try:
        with _without_collection():
            document = orjson.loads(body)
        if body.count(b":") == _count_keys(document):
            return document
    except (orjson.JSONDecodeError, RecursionError):
        pass  # perhaps only for what is not JSON but allowed here
    return _load_carefully(body)


def from_base64(text):
    """Decode base64 with all of its padding or none, and white space anywhere.

    Raises:
        ValueError: It is no base64.

    Example:

        from_base64("aGVsbG8")  # b"hello"
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        match = _BASE64.fullmatch(text)
    digits, padding = ("".join(part.split()) for part in match.groups()) if match else ("A", "")
    lacking = -len(digits) % 4
    if lacking == 3 or len(padding) not in (0, lacking):
        raise ValueError("no base64")
    return base64.b64decode(digits + lacking * "=")


@contextlib.contextmanager
def _without_collection():
    """Let Python not look for garbage among new lists, which takes longer than to make them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _count_keys(value):
    """How many keys objects have, if those of a list are as the first; lists of lists are not looked into.

    Where it is the number of colons, no key is there twice, or its list has an object that lacks one and is refused.
    """
    if isinstance(value, dict):
        return len(value) + sum(map(_count_keys, value.values()))
    return len(value) * _count_keys(value[0]) if isinstance(value, list) and value and isinstance(value[0], dict) else 0


def _load_carefully(body):
    try:
        text = body.decode().lstrip(" \t\r\n")
        if "Inf" in text or "-NaN" in text:
            text = _BARE.sub(lambda match: _PLAIN.get(match[0], match[0]), text)
        document, _ = _DECODER.raw_decode(text)
        if _HALF.search(text):
            json.dumps(document, ensure_ascii=False).encode()
        return document
    except RecursionError:
        problem = "nested too deeply"
    except UnicodeEncodeError:
        problem = "The surrogate pair in string is invalid."
    except UnicodeDecodeError:
        problem = "Invalid encoding in string."
    except ValueError as error:
        problem = f"Invalid value. {error}"
    raise invalid(f"JSON Parse error: {problem}")


def _first(pairs):
    """An object of which a key has the first of its values."""
    return dict(reversed(pairs))


def _number(text):
    value = float(text)
    if math.isinf(value):
        raise ValueError("Number too big to be stored in double")
    return value


def _integer(text):
    value = int(text) if len(text) <= _DIGITS else None
    return _number(text) if value is None or not -(2**63) <= value < 2**64 else value


_DECODER = json.JSONDecoder(object_pairs_hook=_first, parse_float=_number, parse_int=_integer)
