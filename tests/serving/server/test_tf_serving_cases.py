"""What TF Serving's own tests expect of its REST interface, as a table of ours.

The cases are those of tensorflow_serving/util/json_tensor_test.cc and model_servers/http_rest_api_handler_test.cc, and
of what they leave to the parser they use, RapidJSON with NaN and Inf allowed, which stops where the document ends.
Classify and Regress, which the development server has not, are left out.
"""

import contextlib
import http.client
import json

import numpy as np
import pytest

from tests.helpers.servers import Server, tiny
from zoo.serving import publish
from zoo.serving.server import rest_json
from zoo.serving.server.errors import ServingError

INT, FLOAT, DOUBLE, TEXT = (
    {"t": ("int32", None)},
    {"t": ("float32", None)},
    {"t": ("float64", None)},
    {"t": ("string", None)},
)
FOUR = {"f": ("float32", None), "d": ("float64", None), "i": ("int32", None), "s": ("string", None)}
TWO = {"i": ("int32", None), "s": ("string", None)}
MOST = 1.7976931348623157e308  # of a double; beyond float32, which has infinity for it


def read(body, specs):
    body = body if isinstance(body, bytes) else body.encode()
    return rest_json.to_arrays(rest_json.parse(body)[1], specs)


# Requests that are read: what is sent, for which inputs, and the one tensor or the tensors that it makes.
READ = {
    "rows": ('{"instances": [[1,2],[3,4],[5,6]]}', INT, np.int32([[1, 2], [3, 4], [5, 6]])),
    "rows of a signature": ('{"signature_name": "a", "instances": [[1,2]]}', INT, np.int32([[1, 2]])),
    "whole numbers among fractions": ('{"instances": [1, 2.0, 5.003, 0.0]}', FLOAT, np.float32([1, 2, 5.003, 0])),
    "the same in double": ('{"instances": [1.0, 2, 0.662, 0]}', DOUBLE, np.float64([1, 2, 0.662, 0])),
    "a whole number that float32 rounds": ('{"instances": [1435774380]}', FLOAT, np.float32([1435774380])),
    "a fraction that float32 rounds": ('{"instances": [1435774380.0]}', FLOAT, np.float32([1435774380])),
    "beyond float32": (f'{{"instances": [{MOST}, -{MOST}]}}', FLOAT, np.float32([np.inf, -np.inf])),
    "below float32": ('{"instances": [2.2e-308, -2.2e-308]}', FLOAT, np.float32([0, -0.0])),
    "beyond 64 bits": ('{"instances": [18446744073709551616]}', DOUBLE, np.float64([2.0**64])),
    "no numbers": ('{"inputs": [NaN, Infinity, -Infinity]}', FLOAT, np.float32([np.nan, np.inf, -np.inf])),
    "short infinity": ('{"inputs": [Inf, -Inf, -NaN]}', DOUBLE, np.float64([np.inf, -np.inf, np.nan])),
    "text of that name": ('{"inputs": ["Inf", "-NaN \\" Inf"]}', TEXT, [b"Inf", b'-NaN " Inf']),
    "base64": ('{"instances": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]}', TEXT, [b"hello", b"world"]),
    "base64 without padding": ('{"instances": [{"b64": "aGVsbG8"}, {"b64": "dGY"}]}', TEXT, [b"hello", b"tf"]),
    "base64 in lines": ('{"inputs": [{"b64": "aGVs\\nbG8="}]}', TEXT, [b"hello"]),
    "base64 in lists": (
        '{"instances": [[{"b64": "aGVsbG8="}], [{"b64": "d29ybGQ="}]]}',
        TEXT,
        [[b"hello"], [b"world"]],
    ),
    "base64 under a name": ('{"instances": [{"t": [[{"b64": "aGVsbG8="}]]}]}', TEXT, [[[b"hello"]]]),
    "a scalar of base64": ('{"inputs": {"b64": "aGVsbG8="}}', TEXT, b"hello"),
    "a scalar": ('{"inputs": 5}', INT, np.int32(5)),
    "columns": ('{"inputs": {"t": [[[1,2],[3,4]]]}}', INT, np.int32([[[1, 2], [3, 4]]])),
    "columns without a name": ('{"inputs": [[[1,2],[3,4]]]}', INT, np.int32([[[1, 2], [3, 4]]])),
    "other names among columns": ('{"inputs": {"t": [1], "other": {"x": 1}}}', INT, np.int32([1])),
    "other keys": ('{"instances": [1], "other": [[[[{}]]]]}', INT, np.int32([1])),
    "the first of two values": ('{"inputs": [1], "inputs": [2]}', INT, np.int32([1])),
    "the first of two columns": ('{"inputs": {"t": [1], "t": [2]}}', INT, np.int32([1])),
    "the first of two, with colons": ('{"inputs": {"t": ["a:b"], "t": ["c"]}}', TEXT, [b"a:b"]),
    "what follows the document": ('{"instances": [1]}X', INT, np.int32([1])),
    "a byte order mark": (b'\xef\xbb\xbf{"instances": [1]}', INT, np.int32([1])),
    "a pair of surrogates": ('{"inputs": ["\\ud83d\\ude00"]}', TEXT, ["😀".encode()]),
    "rows of many names": (
        '{"instances": [{"i": [[1],[2]], "s": ["a"], "f": [1.0, NaN], "d": [NaN]},'
        ' {"i": [[3],[4]], "s": ["b"], "f": [2, Infinity], "d": [2.0]}]}',
        FOUR,
        {
            "i": np.int32([[[1], [2]], [[3], [4]]]),
            "s": [[b"a"], [b"b"]],
            "f": np.float32([[1, np.nan], [2, np.inf]]),
            "d": np.float64([[np.nan], [2]]),
        },
    ),
    "columns of many names": (
        '{"inputs": {"i": [[1,2]], "s": {"b64": "aGVsbG8="}}}',
        TWO,
        {"i": np.int32([[1, 2]]), "s": b"hello"},
    ),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_read(case):
    body, specs, expected = READ[case]
    arrays = read(body, specs)
    expected = expected if isinstance(expected, dict) else {"t": expected}
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        if isinstance(expected[name], np.ndarray | np.generic):
            assert array.dtype == expected[name].dtype and array.shape == expected[name].shape
            np.testing.assert_array_equal(array, expected[name])
            np.testing.assert_array_equal(np.signbit(array), np.signbit(expected[name]))
        else:
            assert array.tolist() == expected[name]


# Requests that are refused with INVALID_ARGUMENT, and some of the words of TF Serving's tests.
REFUSED = {
    "nothing": ("", INT, "document is empty"),
    "no JSON": ("instances = [1, 2]", INT, "JSON Parse error: Invalid value"),
    "no string": ('{"signature_name": 5, "instances": [[1]]}', INT, "must be a string value"),
    "lists for a string": ('{"signature_name": ' + 500 * "[" + 500 * "]" + "}", INT, "must be a string value"),
    "both": ('{"instances": [1], "inputs": [1]}', INT, "Not formatted correctly"),
    "neither": ("{}", INT, "Missing 'inputs' or 'instances' key"),
    "a row of another size": ('{"instances": [[1,2],[3,4],[5,6,7]]}', INT, "Expecting tensor size: 2 but got: 3"),
    "a row of another shape": ('{"instances": [[1,2],[3,4],[[5,6]]]}', INT, "Expecting shape [2] but got: [1, 2]"),
    "a list after a number": ('{"instances": [1, [1]]}', INT, "Expecting shape [] but got: [1]"),
    "text for numbers": ('{"instances": [[1,2],["a","b"]]}', INT, "not of expected type"),
    "text for fractions": ('{"instances": ["x", "y"]}', FLOAT, "not of expected type: float"),
    "a fraction for a whole number": ('{"instances": [1.0]}', INT, "not of expected type"),
    "rows of several shapes": (
        '{"instances": [{"i": [[1],[2]], "s": "a"}, {"i": [[[1],[2]]], "s": "b"}]}',
        TWO,
        "Failed to process element: 1 of 'instances' list. Error: Expecting shape",
    ),
    "rows of several sizes": (
        '{"instances": [{"i": [[1],[2]], "s": "a"}, {"i": [[1]], "s": "b"}]}',
        TWO,
        "Expecting tensor size",
    ),
    "a list among objects": ('{"instances": [{"i": 1, "s": "a"}, [1]]}', TWO, "Expecting object but got list"),
    "an object among lists": ('{"instances": [["a"], {"t": ["b"]}]}', TEXT, "Expecting value/list but got object"),
    "numbers beyond a double": ('{"instances": [1e400]}', DOUBLE, "Number too big to be stored in double"),
    "a little beyond": ('{"instances": [1.8e308]}', FLOAT, "Number too big to be stored in double"),
    "digits beyond a double": ('{"instances": [1' + 400 * "0" + "]}", DOUBLE, "Number too big to be stored in double"),
    "a number beyond a double, beside NaN": ('{"instances": [NaN, 1e400]}', DOUBLE, "Number too big"),
    "half a pair of surrogates": ('{"instances": ["\\ud800"]}', TEXT, "surrogate"),
    "no base64": ('{"instances": [{"b64": "a"}]}', TEXT, "Unable to base64 decode"),
    "padding that does not fit": ('{"instances": [{"b64": "aGVsbG8=="}]}', TEXT, "Unable to base64 decode"),
    "padding in the middle": ('{"instances": [{"b64": "aG=sbG8="}]}', TEXT, "Unable to base64 decode"),
    "base64 for numbers": ('{"instances": [{"b64": "aGVsbG8="}]}', INT, "not of expected type"),
    "a signature without inputs": ('{"instances": [1]}', {}, "Failed to get input map for signature"),
    # Ours alone: TF Serving's parser has no such limit.
    "lists without end": (
        '{"instances": [1], "nested": ' + 500_000 * "[" + 500_000 * "]" + "}",
        INT,
        "nested too deep",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    body, specs, words = REFUSED[case]
    with pytest.raises(ServingError) as info:
        read(body, specs)
    assert info.value.code.name == "INVALID_ARGUMENT" and words in info.value.message


@pytest.mark.parametrize("dtype", ["uint16", "float16", "bfloat16", "complex64"])
def test_dtypes_that_json_does_not_carry(dtype):
    with pytest.raises(ServingError, match=f"Conversion of JSON Value: .* to type: {dtype}") as info:
        read('{"inputs": [1]}', {"t": (dtype, None)})
    assert info.value.code.name == "UNIMPLEMENTED"
    if dtype != "bfloat16":
        with pytest.raises(ServingError, match=f"Failed to write JSON value for tensor type: {dtype}") as info:
            rest_json.to_json(False, {"t": np.zeros(2, dtype)})
        assert info.value.code.name == "INVALID_ARGUMENT"


INTS = np.int32([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
BYTES = np.array([[b"hello", b"world"], [b"tf", b"serving"]], object)
MANY = {
    "d": np.float64([8, 9]),
    "f": np.float32([[1], [2]]),
    "i": INTS,
    "s": np.array([[b"foo", b"bar"], [b"baz", b"bat"]], object),
    "s_bytes": BYTES,
}
B64 = [[{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}], [{"b64": "dGY="}, {"b64": "c2VydmluZw=="}]]
WRITTEN = {
    "one tensor": ({"i": INTS}, INTS.tolist(), INTS.tolist()),
    "one vector": ({"i": np.arange(5)}, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
    "bytes": ({"s_bytes": BYTES}, B64, B64),
    "many": (
        MANY,
        [
            {"d": 8.0, "f": [1.0], "i": [[1, 2], [3, 4]], "s": ["foo", "bar"], "s_bytes": B64[0]},
            {"d": 9.0, "f": [2.0], "i": [[5, 6], [7, 8]], "s": ["baz", "bat"], "s_bytes": B64[1]},
        ],
        {
            "d": [8.0, 9.0],
            "f": [[1.0], [2.0]],
            "i": INTS.tolist(),
            "s": [["foo", "bar"], ["baz", "bat"]],
            "s_bytes": B64,
        },
    ),
    "no row": ({"i": np.zeros((0, 2), "int32")}, [], []),
    "no row of many": ({"a": np.zeros((0, 1), object), "b": np.zeros((0, 3), "float32")}, [], {"a": [], "b": []}),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_what_is_written(case):
    outputs, rows, columns = WRITTEN[case]
    assert json.loads(rest_json.to_json(True, outputs)) == {"predictions": rows}
    assert json.loads(rest_json.to_json(False, outputs)) == {"outputs": columns}


def test_fractions_have_a_point_and_no_more_digits_than_they_need():
    """As strings: whole numbers keep `.0`, float32 is as short as it can be, NaN and Infinity stand bare."""
    for extra in ([], [np.nan, np.inf, -np.inf]):
        text = rest_json.to_json(True, {"f": np.float32([999999, 0.5, 0.0003, 555557.5, 0.2, *extra])}).decode()
        written = "".join(text.split())
        assert written.startswith('{"predictions":[999999.0,0.5,0.0003,555557.5,0.2')
        assert written.endswith(",NaN,Infinity,-Infinity]}" if extra else "0.2]}")


@pytest.mark.parametrize("size", [2**16 - 1, 2**16 + 1, 2**17 + 5])
def test_large_answers_are_the_same_in_parts(size):
    """json.loads reads what is written to the same numbers, wherever it was cut."""
    x = np.random.default_rng(size).standard_normal(size, dtype="float32")
    x[-1] = np.nan
    cube = np.arange(3 * size, dtype="int64").reshape(3, 1, size)
    answer = json.loads(rest_json.to_json(False, {"x": x, "cube": cube}))["outputs"]
    np.testing.assert_array_equal(np.float32(answer["x"]), x)
    assert answer["cube"] == cube.tolist()
    rows = json.loads(rest_json.to_json(True, {"x": cube[0, 0], "y": cube[0, 0] * 0.5}))["predictions"]
    assert rows == [{"x": n, "y": n / 2} for n in range(size)]


@pytest.mark.parametrize(
    ("words", "outputs"),
    [
        ("no shape information", {"i": np.asarray(1)}),
        ("inconsistent batch size", {"i": np.zeros((2, 3)), "s": np.zeros((1, 3))}),
        ("inconsistent batch size", {"i": np.zeros((0, 3)), "s": np.zeros((1, 3))}),
    ],
)
def test_what_is_not_written(words, outputs):
    with pytest.raises(ServingError, match=words) as info:
        rest_json.to_json(True, outputs)
    assert info.value.code.name == "INVALID_ARGUMENT"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("exports")
    version = publish(tiny(), base, "tiny", card={})
    (version / "assets.extra" / "model_card.json").write_text("[" * 100_000)  # as a stranger's export may have it
    with Server(base) as server:
        yield server


ONE = '{"instances": [1]}'
# Method, path, body, status, words.
PATHS = [
    ("GET", "/v1/foo", None, 400, "Malformed request"),
    ("POST", "/v1/foo", "", 400, "Malformed request"),
    ("GET", "/v1/models", None, 400, "Missing model name"),
    ("GET", "/v1/models/debug/model_name", None, 400, "Malformed request"),
    ("POST", "/v1/models", "", 400, "Malformed request"),
    ("GET", "/v1/models/foo:predict", None, 400, "Malformed request"),
    ("GET", "/v1/models/foo/version/50:predict", None, 400, "Malformed request"),
    ("POST", "/v1/models/foo/version/50:predict", "", 400, "Malformed request"),
    ("POST", "/v1/models/foo/versions/HELLO:predict", "", 400, "Malformed request"),
    ("POST", f"/v1/models/foo/versions/{2**64 - 1}:predict", "", 400, "Failed to convert version"),
    ("POST", "/v1/models/foo/metadata", "", 400, "Malformed request"),
    ("POST", "/v1/models/foo/label/some:predict", "", 400, "Malformed request"),
    ("POST", "/v1/models/foo/versions/50/labels/some:predict", "", 400, "Malformed request"),
    ("PUT", "/v1/models/tiny:predict", ONE, 400, "Malformed request"),
    ("GET", "/statuspage", None, 404, ""),
    ("GET", "/index", None, 404, ""),
    ("POST", "/", ONE, 404, ""),
    ("POST", "/v1", ONE, 404, ""),
    ("POST", "/v2/models/tiny:predict", ONE, 404, ""),
    ("POST", "/v1/models/foo:predict", ONE, 404, "Servable not found for request: Latest(foo)"),
    ("POST", "/v1/models/foo:predict", "{}", 404, "Servable not found for request: Latest(foo)"),
    ("POST", "/v1/models/foo/versions/50:predict", ONE, 404, "Specific(foo, 50)"),
    ("POST", "/v1/models/tiny99:predict", ONE, 404, "Latest(tiny99)"),
    ("POST", "/v1/models/foo:predict", "", 400, "JSON Parse error: The document is empty"),
    ("POST", "/v1/models/foo:predict", '{"signature_name": 100}', 400, "must be a string value"),
    ("POST", "/v1/models/tiny:predict", '{"signature_name": "no"}', 400, "not found in signature def"),
    ("POST", "/v1/models/tiny:predict", "{}", 400, "Missing 'inputs' or 'instances' key"),
    ("POST", "/v1/models/tiny:predict", '{"signature_name": 100}', 400, "must be a string value"),
    ("POST", "/v1/models/tiny/labels/none:predict", ONE, 400, "Unrecognized servable version label"),
    ("GET", "/v1/models/foo", None, 404, "Could not find any versions of model foo"),
    ("GET", "/v1/models/foo/metadata", None, 404, "Servable not found"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "words"), PATHS)
def test_paths(server, method, path, body, status, words):
    received, answer = server.ask(path, None if body is None else body.encode(), method)
    assert received == status and list(answer) == ["error"] and words in answer["error"], answer


def test_answers_are_json_by_their_type(server):
    for path, body in (("/v1/models/tiny:predict", b'{"instances": [[1, 2, 3]]}'), ("/v1/models/tiny", None)):
        connection = http.client.HTTPConnection(server.rest, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST" if body else "GET", path, body)
            response = connection.getresponse()
            assert (response.status, response.getheader("Content-Type")) == (200, "application/json")
            json.loads(response.read())


def test_a_model_card_without_end_harms_nobody(server):
    status, (model,) = server.ask("/page/models")
    assert status == 200 and model["card"] == {} and model["name"] == "tiny"
