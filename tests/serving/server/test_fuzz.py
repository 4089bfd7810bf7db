"""Thousands of malformed requests: each is answered with the documented error, and the server lives on."""

import json
import random

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from tests.helpers.servers import Server, tiny
from zoo.serving import Client, publish

GOOD = [
    {"inputs": [[1.0, 2.0, 3.0]]},
    {"instances": [{"x": [1.0, 2.0, 3.0]}, {"x": [4, 5, 6]}]},
    {"signature_name": "two", "inputs": {"a": [1], "b": [2.5]}},
    {"signature_name": "text", "instances": [{"line": "abc", "photo": {"b64": "AAEC"}}]},
    {"signature_name": "sample", "instances": [1, 2, 3]},
]
VALUES = [None, True, 0, -1, 2**31, 2**63, 2**64, 10**400, 0.1, 1e300, "", "x", "\ud800", [], {}, [[]], {"b64": 1}]
STATUSES = {200, 400, 404, 413}
CODES = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "INTERNAL",
    "UNIMPLEMENTED",
    "RESOURCE_EXHAUSTED",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("exports")
    publish(tiny(), base, "tiny", card={})
    with Server(base, max_request_mb=1) as server:
        yield server
        assert server.process.poll() is None
        assert server.predict(GOOD[0]) == (200, {"outputs": GOOD[0]["inputs"]})
        assert not [event for event in server.log if "fault" in event["event"] or "Traceback" in event["event"]]
        assert server.stop() == 0


def spoil(value, chance):
    """Replace parts of a JSON value."""
    if chance.random() < 0.2:
        return chance.choice([*VALUES, value, [value], {"x": value}])
    if isinstance(value, dict):
        return {(k if chance.random() < 0.9 else chance.choice("xab")): spoil(v, chance) for k, v in value.items()}
    if isinstance(value, list):
        return [spoil(item, chance) for item in value for _ in range(chance.choice([1, 1, 1, 0, 2]))]
    return value


def spoil_bytes(data, chance):
    data = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(3):
            case 0:
                data[place:place] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 4)))
            case 1:
                del data[place : place + chance.randint(1, 6)]
            case 2:
                data[place : place + 1] = bytes([chance.randrange(256)])
    return bytes(data)


def body(chance):
    document = json.loads(json.dumps(chance.choice(GOOD)))
    match chance.randrange(4):
        case 0:
            return json.dumps(spoil(document, chance)).encode()
        case 1:
            return spoil_bytes(json.dumps(document).encode(), chance)
        case 2:
            deep = "[" * chance.choice([60, 70, 1000, 100_000])
            return f'{{"inputs": {deep}{chance.choice(["", "1"])}'.encode() + b"]" * len(deep) + b"}"
        case _:
            return bytes(chance.randrange(256) for _ in range(chance.randrange(200)))


def path(chance):
    good = "/v1/models/tiny:predict"
    others = ["/v1/models/tiny", "/v1/models/tiny/metadata", "/", "/v1/models/%2e%2e%2fx:predict", "/page/../run.py"]
    return good if chance.random() < 0.7 else chance.choice([*others, "/" + good[chance.randrange(20) :]])


def message(chance):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = chance.choice(["tiny"] * 6 + ["", "x" * 1000])
    request.model_spec.signature_name = chance.choice(["", "two", "text", "sample", "lengths", "?"])
    for name in chance.sample(["x", "a", "b", "seed", "line", "photo", "ids"], chance.randint(0, 3)):
        value = chance.choice([np.zeros((1, 3), "float32"), np.int64([1]), np.array([b"a"], object), np.float16(1)])
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        tensor = request.inputs[name]
        if chance.random() < 0.5:
            tensor.dtype = chance.randrange(130)
        if chance.random() < 0.5:
            tensor.tensor_shape.dim.add().size = chance.choice([-1, 0, 2, 2**40, 2**62])
        if chance.random() < 0.2:
            tensor.tensor_shape.unknown_rank = True
        if chance.random() < 0.2:
            tensor.tensor_content = bytes(chance.randrange(20))
    data = request.SerializeToString()
    return spoil_bytes(data, chance) if chance.random() < 0.5 else data


COUNTS = [pytest.param(500), pytest.param(10_000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
def test_rest(server, count):
    chance, seen = random.Random(count), {}
    for _ in range(count):
        where, what = path(chance), body(chance)
        status, answer = server.ask(where, what, method=chance.choice(["POST"] * 9 + ["GET", "PUT", "DELETE"]))
        assert status in STATUSES | ({405} if not where.startswith("/v1") else set()), (where, what, answer)
        if status >= 400:
            assert list(answer) == ["error"] and isinstance(answer["error"], str) and answer["error"], (where, what)
        seen[status] = seen.get(status, 0) + 1
    assert seen[400] > count / 3 and seen[200] > 0  # most were refused, and some were still good


@pytest.mark.parametrize("count", COUNTS)
def test_grpc(server, count):
    chance, seen = random.Random(count), {}
    methods = ["Predict"] * 12 + ["GetModelMetadata", "Classify", "Nothing"]
    with grpc.insecure_channel(server.grpc) as channel:
        for _ in range(count):
            data, method = message(chance), chance.choice(methods)
            try:
                channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")(data, timeout=30)
                code, details = "OK", "-"
            except grpc.RpcError as error:
                code, details = error.code().name, error.details()
            assert code in CODES and details, (method, data, details)
            seen[code] = seen.get(code, 0) + 1
    assert {"INVALID_ARGUMENT", "INTERNAL", "UNIMPLEMENTED"} <= seen.keys()
    with Client(server.grpc) as client:
        assert client.predict("tiny", x=[[1, 2, 3]])["y"].tolist() == [[1, 2, 3]]
