"""Check a running server of TF Serving's API, the real one included, against the exports it serves."""

import json
from pathlib import Path

import numpy as np

from zoo.serving.checking import behaviour, rest
from zoo.serving.checking.answers import (
    error_problems,
    failure_problems,
    metadata_problems,
    parse,
    prediction_problems,
    status_problems,
)
from zoo.serving.checking.connection import Connection, Failure
from zoo.serving.checking.layout import served_versions
from zoo.serving.formats.json_tensors import to_json
from zoo.serving.formats.model_card import load_card
from zoo.serving.formats.protos import get_model_metadata_pb2, get_model_status_pb2, predict_pb2
from zoo.serving.formats.signatures import read_signatures
from zoo.serving.formats.tensors import fill_proto, to_array
from zoo.serving.formats.warmup import read_warmup
from zoo.serving.loader import isolated

UNKNOWN = "no_such_name"


def check_server(path, target, rest_target=None):
    """Check that a server answers as TF Serving does, for every export that it serves.

    Args:
        path: Base directory, a model's folder or a version, as the server sees it.
        target: `host:port` of the gRPC API.
        rest_target: `host:port` of the REST API; None means the same host, and the port after that of gRPC.

    Returns:
        `{version folder: list of faults, one sentence each}`.

    Raises:
        ConnectionError: No server answers there.
        FileNotFoundError, ValueError: `path` holds no exports.

    Example:

        assert not any(check_server("exports", "localhost:8500").values())
    """
    versions = served_versions(Path(path))
    if not versions:
        raise ValueError(f"There is no version in `{path}` that a server would load.")
    with Connection(target, rest_target) as connection:
        return {folder: check_version(connection, name, folder) for name, folder in versions}


def check_version(connection, name, folder):
    """Check one served version: state, metadata, predictions over gRPC and REST, and errors.

    Args:
        connection: A `Connection`, or what behaves like one.
        name: Name under which the model is served.
        folder: The version's folder.

    Returns:
        List of sentences; empty if all is well.

    Raises:
        ConnectionError: No server answers.

    Example:

        check_version(connection, "wgan_gp", Path("exports/wgan_gp/1"))
    """
    version = int(folder.name)
    try:
        signatures = read_signatures(folder)
        first = behaviour.example_requests(signatures, read_warmup(folder))
        _, results = isolated.run_all(folder, list(first.items()))
    except (ValueError, RuntimeError) as error:
        return [f"`{folder}` cannot be run here, so nothing can be compared: {error}"]
    expected = dict(zip(first, results, strict=True))
    url = f"/v1/models/{name}/versions/{version}"
    problems = _status_part(connection, name, version, url)
    problems += _metadata_part(connection, name, version, url, signatures, folder)
    for signature, inputs in first.items():
        outputs = expected[signature]
        if isinstance(outputs, Exception):
            problems.append(f"Signature `{signature}` fails here too, so it cannot be compared: {outputs}")
            continue
        problems += _predict_part(connection, name, version, url, signature, inputs, outputs)
    return problems + _error_part(connection, name, version, url)


def _status_part(connection, name, version, url):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name, request.model_spec.version.value = name, version
    problems = _judge_call(
        "GetModelStatus", connection.call("GetModelStatus", request), lambda r: status_problems(version, r)
    )
    return problems + _judge_json(
        "REST status", connection.send("GET", url), lambda value: status_problems(version, value)
    )


def _metadata_part(connection, name, version, url, signatures, folder):
    try:
        card = load_card(folder)
    except ValueError:
        card = None  # said by zoo.serving.check

    def judge(response):
        return metadata_problems(name, version, response, signatures, card)

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name, request.model_spec.version.value = name, version
    problems = _judge_call("GetModelMetadata", connection.call("GetModelMetadata", request), judge)
    return problems + _judge_json("REST metadata", connection.send("GET", f"{url}/metadata"), judge)


def _predict_part(connection, name, version, url, signature, inputs, expected):
    source = f"gRPC Predict of signature `{signature}`"
    request = _predict_request(name, version, signature, inputs)
    answers = []

    def judge(response):
        answers.append({key: to_array(value) for key, value in response.outputs.items()})
        return prediction_problems(source, expected, answers[-1])

    problems = _judge_call(source, connection.call("Predict", request), judge)
    if not problems:
        again = _judge_call(source, connection.call("Predict", request), judge)
        repeat = again or prediction_problems(source, *answers)
        problems += [f"Asked again, {problem}" for problem in repeat]
    dtypes = _dtypes(expected)
    if not {*dtypes.values(), *_dtypes(inputs).values()} <= rest.DTYPES:
        return problems  # TF Serving's JSON cannot carry them either
    columns = {key: to_json(array) for key, array in inputs.items()}
    problems += _rest_predict(connection, url, signature, "inputs", columns, dtypes, expected)
    if len({np.shape(array)[:1] for array in inputs.values()}) == 1 and all(map(np.ndim, inputs.values())):
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        problems += _rest_predict(connection, url, signature, "instances", rows, dtypes, expected)
    return problems


def _rest_predict(connection, url, signature, form, values, dtypes, expected):
    source = f"REST predict of signature `{signature}` with `{form}`"
    key, read = ("outputs", rest.from_columns) if form == "inputs" else ("predictions", rest.from_rows)

    def judge(content):
        if list(content) != [key]:
            return [f"{source} must answer {{{key!r}: ...}}. Received the keys: {list(content)}."]
        try:
            received = read(content[key], dtypes)
        except (ValueError, TypeError, OverflowError) as error:
            return [f"{source} gives {key} that cannot be read: {error}"]
        return prediction_problems(source, expected, received)

    body = json.dumps({"signature_name": signature, form: values})
    return _judge_json(source, connection.send("POST", f"{url}:predict", body), judge)


def _error_part(connection, name, version, url):
    latest = f"Servable not found for request: Latest({UNKNOWN})"
    no_inputs = json.dumps({"instances": [1.0]})
    both = json.dumps({"instances": [1.0], "inputs": [1.0]})
    unknown = json.dumps({"signature_name": UNKNOWN, "instances": [1.0]})
    bad_path = f"/v1/models/{name}:{UNKNOWN}"
    problems = failure_problems(
        "gRPC Predict of an unknown model", connection.call("Predict", _predict_request(UNKNOWN)), "NOT_FOUND", latest
    )
    problems += failure_problems(
        "gRPC Predict of an unknown signature",
        connection.call("Predict", _predict_request(name, version, UNKNOWN)),
        "FAILED_PRECONDITION",
        f'Serving signature key "{UNKNOWN}" not found',
    )
    for source, method, path, body, status, words in (
        ("REST predict of an unknown model", "POST", f"/v1/models/{UNKNOWN}:predict", no_inputs, 404, latest),
        ("REST status of an unknown model", "GET", f"/v1/models/{UNKNOWN}", None, 404, ""),
        ("REST predict of an unknown signature", "POST", f"{url}:predict", unknown, 400, f'"{UNKNOWN}" not found'),
        ("REST predict with `instances` and `inputs`", "POST", f"{url}:predict", both, 400, ""),
        ("REST predict without either", "POST", f"{url}:predict", "{}", 400, ""),
        ("REST predict of what is no JSON", "POST", f"{url}:predict", "no JSON", 400, ""),
        ("A REST path that does not exist", "POST", bad_path, no_inputs, 400, f"Malformed request: POST {bad_path}"),
    ):
        problems += error_problems(source, *connection.send(method, path, body), status, words)
    return problems


def _predict_request(name, version=None, signature="", inputs=None):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if version is not None:
        request.model_spec.version.value = version
    for key, array in (inputs or {}).items():
        fill_proto(request.inputs[key], array)
    return request


def _dtypes(arrays):
    return {key: "string" if array.dtype == object else array.dtype.name for key, array in arrays.items()}


def _judge_call(source, answer, judge):
    if isinstance(answer, Failure):
        return [f"{source} fails: {answer.code}, {answer.details}"]
    try:
        return judge(answer)
    except ValueError as error:
        return [f"{source} gives what cannot be read: {error}"]


def _judge_json(source, answer, judge):
    status, body = answer
    content = parse(body)
    if status != 200 or not isinstance(content, dict):
        return [f"{source} must answer 200 and a JSON object. Received: {status}, {body[:200]!r}."]
    return judge(content)
