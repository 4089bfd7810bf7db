"""Judge the answers of a server of TF Serving's API: pure functions that return problems, one sentence each."""

import json

from google.protobuf import json_format

from zoo.serving.checking.card import signature_differences
from zoo.serving.checking.compare import difference
from zoo.serving.checking.connection import Failure
from zoo.serving.formats.protos import get_model_metadata_pb2, get_model_status_pb2
from zoo.serving.formats.signatures import as_json, describe_signatures


def status_problems(version, response):
    """Judge a `GetModelStatusResponse`, or the REST API's JSON for it.

    Example:

        status_problems(1, response)
    """
    if isinstance(response, dict):
        found, source = response.get("model_version_status"), "REST status"
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            return [f"{source} has no list `model_version_status`. Received: {str(response)[:200]}."]
        problems = [
            f"{source} gives the version {item.get('version')!r}; TF Serving writes it as a JSON string."
            for item in found
            if not isinstance(item.get("version"), str)
        ]
        states = {str(item.get("version")): item.get("state") for item in found}
    else:
        problems, source, names = [], "GetModelStatus", get_model_status_pb2.ModelVersionStatus.State.Name
        states = {str(item.version): names(item.state) for item in response.model_version_status}
    if states.get(str(version)) != "AVAILABLE":
        problems.append(f"{source} does not say AVAILABLE of version {version}. Received: {states or 'no version'}.")
    return problems


def metadata_problems(name, version, response, signatures, card=None):
    """Judge a `GetModelMetadataResponse`, or the REST API's JSON for it, against an export and its model card.

    Args:
        name: Name under which the model is served.
        version: Number of the version.
        response: The message, or a dict.
        signatures: Of the export, as `zoo.serving.SavedModel.signatures`.
        card: The model card, or None.

    Returns:
        List of sentences; empty if all is well.

    Example:

        metadata_problems("wgan_gp", 1, response, read_signatures(folder), load_card(folder))
    """
    definitions, problems = get_model_metadata_pb2.SignatureDefMap(), []
    if isinstance(response, dict):
        source, spec = "REST metadata", response.get("model_spec")
        spec = spec if isinstance(spec, dict) else {}
        served = spec.get("name"), spec.get("version")
        if not isinstance(spec.get("version"), str):
            problems.append(f"{source} gives the version {spec.get('version')!r}; TF Serving writes a JSON string.")
        try:
            json_format.ParseDict(response["metadata"]["signature_def"], definitions, ignore_unknown_fields=True)
        except (KeyError, TypeError, json_format.ParseError) as error:
            return [*problems, f"{source} has no SignatureDefMap at metadata.signature_def: {error!r}."]
    else:
        source, served = "GetModelMetadata", (response.model_spec.name, response.model_spec.version.value)
        if not response.metadata["signature_def"].Unpack(definitions):
            return [f"{source} has no SignatureDefMap under the key `signature_def`."]
    if (served[0], str(served[1])) != (name, str(version)):
        problems.append(f"{source} answers for {served[0]} version {served[1]}. Expected: {name} version {version}.")
    real = describe_signatures(definitions)
    problems += signature_differences(as_json(signatures), real, "The export", f"the server's {source}")
    if card is not None:
        problems += signature_differences(card.get("signatures"), real, "The model card", f"the server's {source}")
    return problems


def prediction_problems(source, expected, received):
    """Judge the outputs of a prediction.

    Args:
        source: Who answered, such as "gRPC Predict of signature `sample`".
        expected: `{output name: array}` of the native loader.
        received: `{output name: array}` of the server.

    Returns:
        List of sentences; empty if they agree.

    Example:

        prediction_problems("gRPC Predict of signature `sample`", expected, received)
    """
    if expected.keys() != received.keys():
        return [f"{source} gives the outputs {sorted(received)}. Expected: {sorted(expected)}."]
    problems = []
    for key, array in expected.items():
        if received[key].dtype != array.dtype:
            problem = f"Expected dtype {array.dtype}. Received: {received[key].dtype}."
        else:
            problem = difference(array, received[key])
        if problem:
            problems.append(f"{source}: output `{key}` is not what the native loader gives. {problem}")
    return problems


def failure_problems(source, answer, code, words=""):
    """Judge the answer to a gRPC request that must fail.

    Example:

        failure_problems("gRPC Predict of an unknown model", answer, "NOT_FOUND", "Servable not found")
    """
    if isinstance(answer, Failure) and answer.code == code and words in answer.details:
        return []
    received = f"{answer.code}: {answer.details}" if isinstance(answer, Failure) else "an answer"
    return [f"{source} must fail with {code}{words and f': {words}'}. Received: {received}."]


def error_problems(source, status, body, expected, words=""):
    """Judge the REST API's answer to a request that must fail.

    Args:
        source: What was asked.
        status: HTTP status.
        body: Text of the answer.
        expected: HTTP status of TF Serving.
        words: Part of TF Serving's message.

    Returns:
        List of sentences; empty if all is well.

    Example:

        error_problems("REST predict of an unknown model", 404, '{"error": "..."}', 404)
    """
    if status != expected:
        return [f"{source} must answer {expected}. Received: {status}, {body[:200]!r}."]
    content = parse(body)
    if not isinstance(content, dict) or list(content) != ["error"] or not isinstance(content["error"], str):
        return [f'{source} must answer {{"error": message}}. Received: {body[:200]!r}.']
    if words not in content["error"]:
        return [f"{source} must say {words!r}. Received: {content['error'][:200]!r}."]
    return []


def parse(body):
    """Return the value of a JSON text, or None if it is no JSON; NaN and Infinity stand bare in TF Serving's.

    Example:

        parse('{"outputs": [NaN]}')
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
