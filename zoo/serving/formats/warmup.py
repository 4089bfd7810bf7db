"""Warm-up requests: what TF Serving runs through a version before it takes traffic, so no first request is slow."""

import numpy as np
from google.protobuf.message import DecodeError

from zoo.serving.formats.protos import prediction_log_pb2
from zoo.serving.formats.tensors import fill_proto, to_array
from zoo.serving.formats.values import as_array
from zoo.tfrecord import TFRecordFile, write_records

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000  # TF Serving refuses a version with more
_ROWS = 2


def example_inputs(name, inputs):
    """Make inputs for a signature from its shapes alone: zeros, empty strings, and seeds 0, 1.

    Args:
        name: Name of the signature, for the error.
        inputs: `{input name: (dtype, shape)}`.

    Returns:
        `{input name: array}` with 2 rows.

    Raises:
        ValueError: A dimension other than the batch is dynamic, so nothing can be guessed.

    Example:

        example_inputs("sample", {"seed": ("int64", (None,))})  # {"seed": array([0, 1])}
    """
    arrays = {}
    for key, (dtype, shape) in inputs.items():
        if shape is None or None in shape[1:]:
            raise ValueError(
                f"Warm-up inputs for `{key}` of signature `{name}` cannot be guessed from shape {shape}. "
                "Give them: warmup=[(signature, {input name: array})], or a method `warmup()` of the model."
            )
        if key == "seed":
            arrays[key] = np.arange(_ROWS, dtype=dtype)
        elif dtype == "string":
            arrays[key] = np.full((_ROWS, *shape[1:]), b"", dtype=object)
        else:
            arrays[key] = np.zeros((_ROWS, *shape[1:]), dtype)
    return arrays


def complete(requests, signatures):
    """Check warm-up requests against signatures, and add one for every signature that has none.

    Args:
        requests: List of `(signature, {input name: array})`.
        signatures: `{name: {"inputs": {name: (dtype, shape)}, ...}}`.

    Returns:
        The list, its arrays in the dtypes of the signatures.

    Raises:
        ValueError: A signature or an input is unknown or missing, or there are more than 1,000 requests.

    Example:

        complete([], {"sample": {"inputs": {"seed": ("int64", (None,))}}})
    """
    result = []
    for request in requests:
        if not (isinstance(request, tuple | list) and len(request) == 2 and isinstance(request[1], dict)):
            raise ValueError(f"`warmup` must be a list of (signature, {{input name: array}}). It holds: {request!r}.")
        name, inputs = request
        if name not in signatures:
            raise ValueError(f"Warm-up names the signature `{name}`. Expected one of: {', '.join(sorted(signatures))}.")
        expected = signatures[name]["inputs"]
        if inputs.keys() != expected.keys():
            raise ValueError(
                f"Warm-up for signature `{name}` must give the inputs {', '.join(sorted(expected))}. "
                f"Received: {', '.join(sorted(inputs)) or 'none'}."
            )
        who = f"of the warm-up for `{name}`"
        result.append((name, {key: as_array(f"Input `{key}` {who}", inputs[key], expected[key][0]) for key in inputs}))
    covered = {name for name, _ in result}
    for name in sorted(signatures.keys() - covered):
        result.append((name, example_inputs(name, signatures[name]["inputs"])))
    if len(result) > MAX_RECORDS:
        raise ValueError(f"TF Serving takes at most {MAX_RECORDS} warm-up requests. Received: {len(result)}.")
    return result


def write_warmup(folder, model_name, requests):
    """Write `assets.extra/tf_serving_warmup_requests` of a version.

    Args:
        folder: Version folder.
        model_name: Name under which the model is served.
        requests: List of `(signature, {input name: array})`.

    Example:

        write_warmup(Path("exports/wgan_gp/1"), "wgan_gp", [("sample", {"seed": np.arange(2)})])
    """
    records = []
    for signature, inputs in requests:
        log = prediction_log_pb2.PredictionLog()
        request = log.predict_log.request
        request.model_spec.name = model_name
        request.model_spec.signature_name = signature
        for key, value in inputs.items():
            fill_proto(request.inputs[key], value)
        records.append(log.SerializeToString())
    path = folder / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    write_records(path, records)


def read_warmup(folder):
    """Read the warm-up requests of a version.

    Args:
        folder: Version folder.

    Returns:
        List of `(signature, {input name: array})`; empty if there is no such file.

    Raises:
        ValueError: The file is not a TFRecord of PredictionLog with predict requests.

    Example:

        read_warmup(Path("exports/wgan_gp/1"))
    """
    path = folder / WARMUP_FILE
    if not path.is_file():
        return []
    file = TFRecordFile(path)
    return [_read_request(file.read(number), f"Record {number} of `{path}`") for number in range(len(file))]


def _read_request(record, name):
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError:
        raise ValueError(f"{name} is no PredictionLog.") from None
    request = log.predict_log.request
    if log.WhichOneof("log_type") != "predict_log" or not request.inputs:
        raise ValueError(f"{name} is no predict request with inputs.")
    try:
        inputs = {key: to_array(value) for key, value in request.inputs.items()}
    except ValueError as error:
        raise ValueError(f"{name} cannot be read: {error}") from None
    return request.model_spec.signature_name or "serving_default", inputs
