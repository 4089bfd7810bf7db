"""The development server's answers are TF Serving's, over gRPC and REST; and those of the client that asks it."""

import base64
import json

import grpc
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from tests.helpers.servers import Server, tiny
from zoo.serving import Client, RequestError, publish, run_native

X = [[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]]


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return publish(tiny(1), tmp_path_factory.mktemp("exports"), "tiny", card={"data": "none"})


@pytest.fixture(scope="module")
def server(version):
    with Server(version.parents[1], max_request_mb=1) as server:
        yield server
        assert server.stop() == 0, server.log


@pytest.fixture(scope="module")
def client(server):
    with Client(server.grpc) as client:
        yield client


# gRPC


def test_it_says_what_it_is(server):
    assert "not TF Serving" in server.log[-1]["event"]
    assert server.grpc.startswith("127.0.0.1:") and server.rest.startswith("127.0.0.1:")
    assert {event["event"] for event in server.log} >= {"version loaded"}


def test_grpc_gives_what_the_export_gives(server, client, version):
    for signature, inputs in {
        "serving_default": {"x": np.float32(X)},
        "two": {"a": np.int32([1, 2]), "b": np.float32([0.5, 1.5])},
        "text": {"line": np.array([b"hi"], object), "photo": np.array([b"\xff\x00"], object)},
        "sample": {"seed": np.arange(5)},
    }.items():
        expected = run_native(version, signature, inputs)
        received = client.predict("tiny", signature, **inputs)
        assert received.keys() == expected.keys()
        for name in expected:
            assert received[name].dtype == expected[name].dtype
            np.testing.assert_array_equal(received[name], expected[name])


def test_the_client_takes_lists_and_text(client):
    assert client.predict("tiny", "sample", seed=[1, 2])["points"].shape == (2, 2)
    assert client.predict("tiny", "text", line=["häh"], photo=["x"])["shout"].tolist() == ["HäH".encode()]
    assert list(client.predict("tiny", "two", a=[1], b=[2], outputs=["sum"])) == ["sum"]
    assert client.signatures("tiny")["sample"]["inputs"] == {"seed": ("int64", (None,))}
    assert client.status("tiny") == {1: "AVAILABLE"} and client.wait("tiny") == 1


def test_the_client_without_a_server():
    with Client("127.0.0.1:9", seconds=2) as client, pytest.raises(RequestError, match="is a server running"):
        client.status("tiny")


@pytest.mark.parametrize("target", [8500, None, "localhost", "http://localhost:8500", "localhost:99999", ":8500"])
def test_the_client_takes_an_address(target):
    with pytest.raises(ValueError, match="A server's address is host:port, .* without http://. Received: "):
        Client(target)
    Client("dns:///localhost:8500").close()


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (
            r"Input `seed` must be int64. Received: float64 \[0.7\]. Give whole numbers, such as",
            {"seed": [0.7]},
        ),
        (r"Input `seed` must be int64. Received: \['3'\]. Give whole numbers", {"seed": ["3"]}),
        ("Input `seed` must be int64. Received: None. Give whole numbers", {"seed": None}),
        (
            r"Input `seed` must be int64. Received: \[\[0\], \[1, 2\]\]. Give .*; lists of one length",
            {"seed": [[0], [1, 2]]},
        ),
        ("Input `seed` must be int64. Received: .* Give whole", {"seed": [2**70]}),
        (r"Input `seed` must be int64. Received: \[None\]. Give whole", {"seed": np.array([None])}),
        ("`version` must be a whole number. Received: '1'", {"version": "1"}),
        ("`label` must be a name. Received: 1", {"label": 1}),
        ("`outputs` must be a list of names. Received: 'points'", {"outputs": "points"}),
    ],
)
def test_the_client_refuses_what_is_no_request(client, words, arguments):
    with pytest.raises(ValueError, match=words):
        client.predict("tiny", "sample", **{"seed": [0], **arguments})


def test_the_client_names_what_it_lacks(server, client):
    with pytest.raises(ValueError, match="`model` must be a name. Received: None"):
        client.status(None)
    with pytest.raises(ValueError, match="`signature` must be a name. Received: 1"):
        client.predict("tiny", 1)
    with pytest.raises(ValueError, match="`seconds` must be a number. Received: '5'"):
        Client(server.grpc, seconds="5")
    with Client(server.rest) as other, pytest.raises(RequestError, match="this looks like the REST port"):
        other.status("tiny")
    with pytest.raises(RuntimeError, match=f"The client of {server.rest} is closed"):
        other.status("tiny")


@pytest.mark.parametrize("dtype", [">f4", "<f4", "float16", ">f2", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_the_client_sends_any_numbers_that_the_dtype_holds(client, dtype):
    """0.5, -2 and 3 are numbers of each dtype; NumPy says which dtype holds another: `can_cast`."""
    rows = np.array([[0.5, -2, 3]]).astype(dtype)
    for x in (rows, rows[:, ::-1][:, ::-1], np.asfortranarray(rows)):
        assert client.predict("tiny", x=x)["y"].tolist() == [[0.5, -2, 3]]
    wide = np.arange(3000).reshape(1000, 3).astype(dtype)  # more than are written one by one
    np.testing.assert_array_equal(client.predict("tiny", x=wide)["y"], wide.astype("float32"))


def test_the_client_sends_integers_and_text_of_any_kind(client):
    ids = np.array([[2**31 - 1, -(2**31), 0, 1], [-1, 5, 127, 128]])
    for dtype in (">i4", "<i4"):
        totals = client.predict("tiny", "lengths", ids=ids.astype(dtype))["total"]
        assert totals.tolist() == [0, 259]
    for text in (
        np.array(["hi"]),
        np.array(["hi"], np.dtypes.StringDType()),
        np.array(["hi"], ">U2"),
        np.array([b"hi"]),
    ):
        assert client.predict("tiny", "text", line=text, photo=["x"])["shout"].tolist() == [b"HI"]


@pytest.mark.parametrize(
    ("received", "array"),
    [
        ("float128", np.ones((1, 3), "longdouble")),
        ("complex256", np.ones((1, 3), "clongdouble")),
        ("datetime64", np.zeros((1, 3), "M8[s]")),
        ("timedelta64", np.zeros((1, 3), "m8[s]")),
        (r"\[\('a', '<f4'\)\]", np.zeros((1, 3), [("a", "f4")])),
        (r"\|V4", np.zeros((1, 3), "V4")),
    ],
)
def test_the_client_tells_what_cannot_be_sent(client, received, array):
    words = rf"Input `x` must be float32. Received: {received}.*, which cannot be sent .* with .astype\('float32'\)"
    with pytest.raises(ValueError, match=words):
        client.predict("tiny", x=array)
    with pytest.raises(ValueError, match="must be int64. Received: float16"):  # which it does not hold
        client.predict("tiny", "sample", seed=np.ones(2, "float16"))
    with pytest.raises(ValueError, match="Input `x` must be float32. Received: .* Give numbers"):
        client.predict("tiny", x=np.array([[1.0, None, 2.0]], object))
    with pytest.raises(RequestError, match="must be float32. Received: complex64"):  # which can be sent
        client.predict("tiny", x=np.ones((1, 3), "complex64"))


@pytest.mark.parametrize(
    ("code", "words", "arguments"),
    [
        ("NOT_FOUND", r"Specific\(tiny, 9\). `tiny` has the versions 1$", {"version": 9}),
        ("FAILED_PRECONDITION", "`tiny` has `lengths`, `odd`, `sample`, .*, `two`.$", {"signature": "other"}),
        ("NOT_FOUND", r"Servable not found for request: Latest\(big\)", {"model": "big"}),
        ("NOT_FOUND", r"Servable not found for request: Specific\(tiny, 9\)", {"version": 9}),
        ("INVALID_ARGUMENT", "Unrecognized servable version label: stable", {"label": "stable"}),
        ("FAILED_PRECONDITION", 'Serving signature key "other" not found', {"signature": "other"}),
        ("INVALID_ARGUMENT", "missing: `x`", {"inputs": {"z": np.float32(X)}}),
        ("INVALID_ARGUMENT", "must be float32. Received: float64", {"inputs": {"x": np.array(X)}}),
        ("INVALID_ARGUMENT", r"must have shape \(None, 3\)", {"inputs": {"x": np.zeros((2, 2), "float32")}}),
        ("INVALID_ARGUMENT", "output tensor alias not found in signature: z", {"outputs": ["z"]}),
        ("INVALID_ARGUMENT", "duplicate output tensor alias", {"outputs": ["y", "y"]}),
        ("INVALID_ARGUMENT", "ModelSpec has no name", {"model": ""}),
        (
            "INVALID_ARGUMENT",
            "equal 0th-dimension size",
            {"signature": "two", "inputs": {"a": np.int32([1]), "b": np.float32([1, 2])}},
        ),
        ("RESOURCE_EXHAUSTED", "larger than max", {"inputs": {"x": np.zeros((100_000, 3), "float32")}}),
    ],
)
def test_grpc_errors(client, code, words, arguments):
    options = {"model": "tiny", "signature": "serving_default", "inputs": {"x": np.float32(X)}, **arguments}
    with pytest.raises(RequestError, match=words) as info:
        client.predict(options.pop("model"), options.pop("signature"), **options.pop("inputs"), **options)
    assert info.value.code == code


def test_grpc_without_a_model_spec(server):
    with grpc.insecure_channel(server.grpc) as channel:
        for name, request in {"Predict": b"", "GetModelMetadata": b"", "GetModelStatus": b""}.items():
            service = "ModelService" if name == "GetModelStatus" else "PredictionService"
            with pytest.raises(grpc.RpcError) as info:
                channel.unary_unary(f"/tensorflow.serving.{service}/{name}")(request)
            assert (info.value.code().name, info.value.details()) == ("INVALID_ARGUMENT", "Missing ModelSpec")
        with pytest.raises(grpc.RpcError) as info:
            channel.unary_unary("/tensorflow.serving.PredictionService/Classify")(b"")
        assert info.value.code() == grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.RpcError) as info:
            channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(b"\xff\xff\xff")
        assert info.value.code() == grpc.StatusCode.INTERNAL


def test_the_answer_names_version_and_signature(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tiny"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32(X)))
    with grpc.insecure_channel(server.grpc) as channel:
        data = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(request.SerializeToString())
    response = predict_pb2.PredictResponse.FromString(data)
    assert (response.model_spec.name, response.model_spec.version.value) == ("tiny", 1)
    assert response.model_spec.signature_name == "serving_default"
    assert list(response.outputs["y"].float_val) == np.ravel(X).tolist()  # not tensor_content: TF Serving's default


# REST


def test_rest_row_and_columnar(server):
    assert server.predict({"instances": X}) == (200, {"predictions": X})
    assert server.predict({"instances": [{"x": row} for row in X]}) == (200, {"predictions": X})
    assert server.predict({"inputs": X}) == (200, {"outputs": X})
    assert server.predict({"inputs": {"x": X}}) == (200, {"outputs": X})
    assert server.predict({"signature_name": "two", "instances": [{"a": 1, "b": 2}, {"a": 3, "b": 4.5}]}) == (
        200,
        {"predictions": [{"a": 1, "sum": 3.0}, {"a": 3, "sum": 7.5}]},
    )
    assert server.predict({"signature_name": "two", "inputs": {"a": [1], "b": [2]}}) == (
        200,
        {"outputs": {"a": [1], "sum": [3.0]}},
    )
    for path in ("/v1/models/tiny/versions/1:predict", "/V1/Models/tiny:Predict", "/v1/models/t%69ny:predict"):
        assert server.ask(path, {"inputs": X}) == (200, {"outputs": X})


def test_rest_bytes_go_as_base64(server):
    photo = base64.b64encode(b"\xff\x00JPEG").decode()
    body = {"signature_name": "text", "instances": [{"line": "straße", "photo": {"b64": photo}}]}
    expected = {"shout": "STRAßE", "length": 6, "photo_bytes": {"b64": photo}}
    assert server.predict(body) == (200, {"predictions": [expected]})
    body = {"signature_name": "text", "inputs": {"line": ["x"], "photo": [{"b64": photo}]}}
    assert server.predict(body)[1]["outputs"]["photo_bytes"] == [{"b64": photo}]


def test_rest_what_json_has_no_words_for(server):
    """NaN and Infinity stand bare in both directions; Python's json reads and writes them so."""
    status, answer = server.predict({"signature_name": "odd", "inputs": [1, -2, 0]})
    assert status == 200 and answer["outputs"]["infinite"][:2] == [np.inf, -np.inf]
    assert np.isnan(answer["outputs"]["infinite"][2])
    assert answer["outputs"]["whole"] == [1, -2, 0] and answer["outputs"]["bare"] == [True, False, False]
    status, answer = server.predict(b'{"instances": [[NaN, Infinity, -Infinity]]}')
    assert status == 200 and str(answer["predictions"]) == "[[nan, inf, -inf]]"


def test_rest_floats_are_as_short_as_float32_allows(server):
    _, answer = server.predict({"inputs": [[0.1, 1 / 3, 1e-30]]})
    assert json.dumps(answer["outputs"][0]) == "[0.1, 0.33333334, 1e-30]"


REST_ERRORS = {
    "The document is empty": b" ",
    "JSON Parse error": b'{"inputs": [1, ',
    "Is not object": b"[1, 2]",
    "Missing 'inputs' or 'instances' key": {"signature_name": "two"},
    "only one of 'inputs' or 'instances'": {"inputs": X, "instances": X},
    "'signature_name' key must be a string": {"signature_name": 3, "inputs": X},
    'Serving signature name: \\"other\\" not found in signature def': {"signature_name": "other", "inputs": X},
    "Excepting 'instances' to be an list/array": {"instances": 3},
    "No values in 'instances' array": {"instances": []},
    "keys must be equal to: a,b": {"signature_name": "two", "instances": [{"a": 1}]},
    "instances is a plain list, but expecting list of objects": {"signature_name": "two", "instances": [1, 2]},
    "Expecting object but got list at item 1": {"instances": [{"x": X[0]}, X[0]]},
    "Expecting value/list but got object at item 1": {"instances": [X[0], {"x": X[0]}]},
    "inputs is a plain value/list": {"signature_name": "two", "inputs": [1]},
    "Missing named input: b": {"signature_name": "two", "inputs": {"a": [1]}},
    "Type: String is not of expected type: float32": {"inputs": [["a", "b", "c"]]},
    "Type: Bool is not of expected type: float32": {"inputs": [[1, True, 2]]},
    "Type: Number is not of expected type: int32": {"signature_name": "two", "inputs": {"a": [1.5], "b": [1]}},
    "without loss of precision": {"signature_name": "two", "inputs": {"a": [2**40], "b": [1]}},
    "Encountered list at unexpected size": {"inputs": [[1, 2, 3], [1, 2]]},
    "side by side": {"inputs": [[1, 2, 3], 4]},
    "must have shape (None, 3)": {"inputs": [[1, 2]]},
    "Unable to base64 decode": {"signature_name": "text", "inputs": {"line": ["a"], "photo": [{"b64": "!"}]}},
    "Received: shape ()": {"signature_name": "two", "inputs": {"a": 1, "b": 2}},
    "equal 0th-dimension size": {"signature_name": "two", "inputs": {"a": [1, 2], "b": [2]}},
}


@pytest.mark.parametrize("words", REST_ERRORS)
def test_rest_errors(server, words):
    status, answer = server.predict(REST_ERRORS[words])
    assert status == 400 and list(answer) == ["error"]
    assert words.replace("\\", "") in answer["error"] or words in json.dumps(answer["error"])


def test_rest_paths(server):
    for path, status, words in [
        ("/v1/models/tiny:classify", 400, "use predict"),
        ("/v1/models/other:predict", 404, "Servable not found for request: Latest(other)"),
        ("/v1/models/tiny/versions/9:predict", 404, "Servable not found for request: Specific(tiny, 9)"),
        ("/v1/models/tiny/labels/x:predict", 400, "Unrecognized servable version label: x"),
        ("/v1/models/tiny", 400, "Malformed request: POST /v1/models/tiny"),
        ("/v1/model/tiny:predict", 400, "Malformed request: POST /v1/model/tiny:predict"),
        (f"/v1/models/tiny/versions/{2**70}:predict", 400, "to numeric"),
        ("/v1/models/%ff:predict", 400, "Failed to decode model name"),
    ]:
        assert (answer := server.ask(path, {"inputs": X}))[0] == status, path
        assert words in answer[1]["error"]
    assert server.ask("/v1/models/tiny:predict") == (400, {"error": "Malformed request: GET /v1/models/tiny:predict"})
    assert server.ask("/v1/models") == (400, {"error": "Missing model name in request."})
    assert server.ask("/v1/models/other") == (404, {"error": "Could not find any versions of model other"})
    assert server.ask("/v1/models/tiny/versions/9")[1] == {"error": "Could not find version 9 of model tiny"}
    status, answer = server.predict({"inputs": [[0.123456789] * 3] * 60_000})
    assert status == 413 and "error" in answer


def test_rest_status_and_metadata(server):
    available = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert server.ask("/v1/models/tiny") == (200, {"model_version_status": [available]})
    status, answer = server.ask("/v1/models/tiny/versions/1/metadata")
    assert status == 200 and answer["model_spec"] == {"name": "tiny", "signature_name": "", "version": "1"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["sample"]
    assert signature["inputs"]["seed"]["dtype"] == "DT_INT64"
    assert signature["inputs"]["seed"]["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert signature["method_name"] == "tensorflow/serving/predict"


def test_metrics_have_tf_servings_names(server):
    server.predict({"inputs": X})
    text = server.ask("/monitoring/prometheus/metrics")[1].decode()
    assert ':tensorflow:serving:request_count{model_name="tiny",status="OK"}' in text
    assert ':tensorflow:serving:request_latency_count{API="Predict",entrypoint="REST",model_name="tiny"}' in text
    assert ":tensorflow:serving:batching_session:processed_batch_size_count" in text and "zoo_loaded_versions 1" in text


def test_page_lists_the_models(server):
    status, (model,) = server.ask("/page/models")
    assert (model["name"], model["version"], model["card"]["data"]) == ("tiny", 1, "none")
    assert server.ask("/")[0] == 200
