"""The check of running servers, against a stand-in that answers as TF Serving does and can be told to lie."""

import concurrent.futures
import http.server
import json
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format

from tests.helpers.servers import Server
from zoo.serving import publish
from zoo.serving.checking import protocol, rest
from zoo.serving.checking.answers import (
    error_problems,
    failure_problems,
    metadata_problems,
    prediction_problems,
    status_problems,
)
from zoo.serving.checking.connection import Connection, Failure
from zoo.serving.formats.json_tensors import to_json
from zoo.serving.formats.protos import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    meta_graph_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    saved_model_pb2,
)
from zoo.serving.formats.tensors import fill_proto, to_array
from zoo.serving.formats.warmup import read_warmup
from zoo.serving.loader import isolated

X, TEXT = {"x": tf.TensorSpec((None, 2))}, {"text": tf.TensorSpec((None,), "string"), "scale": tf.TensorSpec((None,))}


class Echo:
    """One output, several outputs with text and bytes, and numbers that JSON cannot carry."""

    def signatures(self):
        return {
            "serving_default": (lambda x: {"y": tf.math.log(x)}, X),
            "text": (
                lambda text, scale: {"upper": tf.strings.upper(text), "raw_bytes": text, "twice": 2 * scale},
                TEXT,
            ),
            "waves": (lambda x: {"wave": tf.complex(x, x)}, X),
        }

    def warmup(self):
        x = np.float32([[0, 1], [-1, 2]])  # log: -infinity, NaN
        text = np.array(["schön", "a"], dtype=object)
        return [("serving_default", {"x": x}), ("text", {"text": text, "scale": np.float32([1, 2])})]


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    return publish(Echo(), tmp_path_factory.mktemp("base"), "echo", card={})


@pytest.fixture(scope="module")
def answers(echo):
    requests = [*read_warmup(echo)]
    _, results = isolated.run_all(echo, requests)
    return {name: result for (name, _), result in zip(requests, results, strict=True)}


class StandIn:
    """Answers as TF Serving does; `lies` are functions that change what it is about to answer."""

    def __init__(self, folder, answers, **lies):
        saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        self.definitions = saved_model.meta_graphs[0].signature_def
        self.answers, self.lies, self.calls = answers, lies, 0

    def call(self, method, request):
        self.calls += 1
        return self.lies.get(method, lambda answer, number: answer)(getattr(self, method)(request), self.calls)

    def GetModelStatus(self, request):
        answer = get_model_status_pb2.GetModelStatusResponse()
        answer.model_version_status.add(version=request.model_spec.version.value, state="AVAILABLE")
        return answer

    def GetModelMetadata(self, request):
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.CopyFrom(request.model_spec)
        definitions = get_model_metadata_pb2.SignatureDefMap(signature_def=dict(self.definitions))
        answer.metadata["signature_def"].Pack(definitions)
        return answer

    def Predict(self, request):
        if request.model_spec.name != "echo":
            return Failure("NOT_FOUND", f"Servable not found for request: Latest({request.model_spec.name})")
        name = request.model_spec.signature_name
        if name not in self.answers:
            return Failure("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
        answer = predict_pb2.PredictResponse()
        for key, array in self.answers[name].items():
            fill_proto(answer.outputs[key], array)
        return answer

    def send(self, method, path, body=None):
        status, answer = self._send(method, path, body)
        status, answer = self.lies.get("rest", lambda path, *answer: answer)(path, status, answer)
        return status, answer if isinstance(answer, str) else json.dumps(answer)

    def _send(self, method, path, body):
        if path == "/v1/models/echo/versions/1":
            return 200, {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}
        if path == "/v1/models/echo/versions/1/metadata":
            definitions = get_model_metadata_pb2.SignatureDefMap(signature_def=dict(self.definitions))
            definitions = json_format.MessageToDict(definitions, preserving_proto_field_name=True)
            return 200, {"model_spec": {"name": "echo", "version": "1"}, "metadata": {"signature_def": definitions}}
        if path == "/v1/models/echo/versions/1:predict":
            return self._predict(body)
        if "/v1/models/no_such_name" in path:
            return 404, {"error": "Servable not found for request: Latest(no_such_name)"}
        return 400, {"error": f"Malformed request: {method} {path}"}

    def _predict(self, body):
        try:
            request = json.loads(body)
        except ValueError:
            return 400, {"error": "JSON Parse error: Invalid value. at offset: 0"}
        name = request.get("signature_name", "serving_default")
        if name not in self.answers:
            return 400, {"error": f'Serving signature name: "{name}" not found in signature def'}
        if ("instances" in request) == ("inputs" in request):
            return 400, {"error": "Not formatted correctly expecting only one of 'inputs' or 'instances'"}
        outputs = {key: to_json(array, key.endswith("_bytes")) for key, array in self.answers[name].items()}
        rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
        if len(outputs) == 1:
            ((key, outputs),) = outputs.items()
            rows = [row[key] for row in rows]
        return 200, {"outputs": outputs} if "inputs" in request else {"predictions": rows}


def test_a_faithful_server_has_no_faults(echo, answers):
    assert protocol.check_version(StandIn(echo, answers), "echo", echo) == []


def test_the_development_server_has_no_faults(echo):
    with Server(echo.parents[1]) as server:
        assert protocol.check_server(echo.parents[1], server.grpc, server.rest) == {echo: []}


def on(part, change):
    """A lie about the answers at the REST paths that end with `part`."""
    return {"rest": lambda path, status, answer: change(status, answer) if path.endswith(part) else (status, answer)}


def add_one(response, number):
    response = predict_pb2.PredictResponse.FromString(response.SerializeToString())
    for key, value in response.outputs.items():
        if key == "y":
            array = to_array(value) + np.float32(1)
            value.Clear()
            fill_proto(value, array)
    return response


def count(response, number):
    """Right when asked first."""
    return response if isinstance(response, Failure) or number % 2 else add_one(response, number)


LIES = {
    "GetModelStatus does not say AVAILABLE of version 1": {
        "GetModelStatus": lambda *_: get_model_status_pb2.GetModelStatusResponse()
    },
    "GetModelMetadata fails: INTERNAL, broken": {"GetModelMetadata": lambda *_: Failure("INTERNAL", "broken")},
    "gRPC Predict of signature `serving_default`: output `y` is not what": {
        "Predict": lambda r, n: r if isinstance(r, Failure) else add_one(r, n)
    },
    "Asked again, gRPC Predict of signature `serving_default`": {"Predict": count},
    "gRPC Predict of an unknown model must fail with NOT_FOUND": {
        "Predict": lambda r, n: Failure("INTERNAL", "oops") if isinstance(r, Failure) else r
    },
    "REST status gives the version 1; TF Serving writes it as a JSON string": on(
        "/versions/1", lambda *_: (200, {"model_version_status": [{"version": 1, "state": "AVAILABLE"}]})
    ),
    "REST metadata has no SignatureDefMap": on("/metadata", lambda *_: (200, {"model_spec": {"version": "1"}})),
    "REST predict of signature `text` with `inputs` must answer 200": on(
        ":predict", lambda status, answer: (500, {"error": "no text"}) if "upper" in str(answer) else (status, answer)
    ),
    "with `instances` must answer {'predictions': ...}": on(
        ":predict", lambda status, answer: (status, {"outputs": answer.pop("predictions", answer)})
    ),
    "with `instances` gives predictions that cannot be read": on(
        ":predict", lambda status, answer: (status, answer | ({"predictions": [{}]} if "predictions" in answer else {}))
    ),
    'REST predict of what is no JSON must answer {"error": message}': on(
        ":predict", lambda status, answer: (status, "no JSON" if status == 400 else answer)
    ),
    "A REST path that does not exist must say": on("no_such_name", lambda status, _: (status, {"error": "gone"})),
    "REST predict of an unknown signature must answer 400. Received: 404": on(
        "1:predict", lambda status, answer: (404 if status == 400 else status, answer)
    ),
}


@pytest.mark.parametrize("words", LIES)
def test_each_lie_is_noticed(echo, answers, words, monkeypatch):
    monkeypatch.setattr(isolated, "run_all", lambda _, requests: ({}, [answers[name] for name, _ in requests]))
    problems = protocol.check_version(StandIn(echo, answers, **LIES[words]), "echo", echo)
    assert any(words in problem for problem in problems), problems


def test_judges_of_status_and_metadata():
    (problem,) = status_problems(2, {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]})
    assert problem == "REST status does not say AVAILABLE of version 2. Received: {'1': 'AVAILABLE'}."
    assert "has no list" in status_problems(2, {"version": "2"})[0]
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    assert metadata_problems("m", 1, response, {}) == [
        "GetModelMetadata has no SignatureDefMap under the key `signature_def`."
    ]
    definition = meta_graph_pb2.SignatureDef()
    definition.inputs["x"].dtype = 1
    definitions = get_model_metadata_pb2.SignatureDefMap(signature_def={"s": definition})
    response.metadata["signature_def"].Pack(definitions)
    expected = {"s": {"inputs": {"x": ("int64", ())}, "outputs": {}}}
    answer, dtype, card = metadata_problems("m", 1, response, expected, {"signatures": {}})
    assert "answers for  version 0. Expected: m version 1" in answer
    assert "The export says int64 [] of input `x` of signature `s`, but the server's GetModelMetadata has" in dtype
    assert card.startswith("The model card says nothing of input `x`")


def test_judges_of_predictions_and_errors():
    ones = np.ones(2, "float32")
    assert prediction_problems("It", {"y": ones}, {"y": ones}) == []
    assert "gives the outputs ['z']" in prediction_problems("It", {"y": ones}, {"z": ones})[0]
    assert (
        "Expected dtype float32. Received: int64" in prediction_problems("It", {"y": ones}, {"y": np.ones(2, int)})[0]
    )
    assert failure_problems("It", Failure("NOT_FOUND", "no x"), "NOT_FOUND", "no") == []
    assert "Received: an answer" in failure_problems("It", None, "NOT_FOUND")[0]
    assert error_problems("It", 400, '{"error": "x"}', 400, "x") == []
    assert error_problems("It", 400, '{"error": 1}', 400) and error_problems("It", 400, '["error"]', 400)


def test_json_of_tensors():
    array = np.array([[b"a", b"\xff"]], dtype=object)
    assert rest.to_array(to_json(array), "string").tolist() == array.tolist()
    assert to_json(array[:, :1], encode=False) == [["a"]]
    np.testing.assert_array_equal(rest.from_rows([1.5, float("nan")], {"y": "float32"})["y"], np.float32([1.5, np.nan]))
    for wrong in ([[1], [1, 2]], {"b65": "YQ=="}, {"b64": "?"}):
        with pytest.raises(ValueError):
            rest.to_array(wrong, "string" if isinstance(wrong, dict) else "float32")
    with pytest.raises(ValueError, match="Expected an object with y, z"):
        rest.from_columns([1], {"y": "float32", "z": "float32"})


def test_client_returns_failures():
    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_error(404, "gone")

        def log_message(self, *_):
            pass

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        with Connection(f"127.0.0.1:{port}", f"127.0.0.1:{web.server_port}") as connection:
            failure = connection.call("Predict", predict_pb2.PredictRequest())
            status, _ = connection.send("POST", "/v1/models/x:predict", "{}")
        web.shutdown()
        thread.join()
    server.stop(None)
    assert failure == Failure("NOT_FOUND", "Servable not found") and status == 404


def test_no_server(echo):
    with pytest.raises(ConnectionError, match="No gRPC server answers at 127.0.0.1:1 "):
        protocol.check_server(echo, "127.0.0.1:1")
    with (
        Connection("127.0.0.1:1") as connection,
        pytest.raises(ConnectionError, match="No REST server answers at 127.0.0.1:2 "),
    ):
        connection.send("GET", "/v1/models/x")
    with pytest.raises(ValueError, match="host:port"):
        Connection("localhost")
