"""Ask TF Serving, or Zoo's development server, over gRPC: arrays in, arrays out, without importing TensorFlow."""

import re
import time
from numbers import Integral, Real

import grpc
import numpy as np

from zoo.checks import check_kind
from zoo.serving.formats.dtypes import NAMES, SENT
from zoo.serving.formats.protos import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from zoo.serving.formats.signatures import describe_signatures, names_of
from zoo.serving.formats.tensors import fill_proto, to_array
from zoo.serving.formats.values import as_array, as_sent, as_text, check_not_masked

_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "xds:")  # of gRPC
_ADDRESS = re.compile(r"(?P<host>[^/\s]+):(?P<port>[0-9]{1,5})")
_State = get_model_status_pb2.ModelVersionStatus.State


def connect(target, *options):
    """Return a gRPC channel without limits of size, since images are large, and the services of TF Serving on it.

    Args:
        target: "host:port" of gRPC, or one of its other names, such as "dns:///host:port" or "unix:/path".
        *options: More options of the channel, `(name, value)`.

    Returns:
        `(channel, PredictionServiceStub, ModelServiceStub)`; the connection is made at the first request.

    Raises:
        ValueError: `target` is no such name.

    Example:

        channel, predictions, models = connect("localhost:8500")
    """
    if not str(target).startswith(_SCHEMES):
        split_address(target)
    sizes = ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)
    channel = grpc.insecure_channel(target, options=[*sizes, *options])
    predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return channel, predictions, model_service_pb2_grpc.ModelServiceStub(channel)


def split_address(address):
    """Return host and port of a server's address.

    Raises:
        ValueError: It is not of the form host:port.

    Example:

        split_address("localhost:8500")  # ("localhost", 8500)
    """
    match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if not match or int(match["port"]) > 65535:
        raise ValueError(
            f"A server's address is host:port, such as localhost:8500, without http://. Received: {address!r}."
        )
    return match["host"], int(match["port"])


class RequestError(RuntimeError):
    """The server answered with an error, or did not answer.

    Attributes:
        code: Name of gRPC's status code, such as "NOT_FOUND", "INVALID_ARGUMENT" or "UNAVAILABLE".
        message: The server's message, and advice.
    """

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Client:
    """A connection to a server of TF Serving's gRPC interface; safe to use from several threads.

    Args:
        target: "host:port" of gRPC.
        seconds: Time limit of each request.

    Example:
        >>> with Client("localhost:1") as client:  # nothing answers there
        ...     try:
        ...         client.status("wgan_gp")
        ...     except RequestError as error:
        ...         print(error.code)
        UNAVAILABLE

        with Client("localhost:8500") as client:
            images = client.predict("wgan_gp", "sample", seed=np.arange(4))["images"]
    """

    def __init__(self, target="localhost:8500", *, seconds=30.0):
        check_kind("seconds", seconds, (Real, type(None)), "a number")
        self._target, self._seconds, self._described = target, seconds, {}
        self._channel, self._predictions, self._models = connect(target)
        self._closed = False

    def predict(self, model, signature="serving_default", /, *, version=None, label=None, outputs=(), **inputs):
        """Run a signature.

        Args:
            model: Name of the model.
            signature: Name of the signature.
            version: Number of a version; default: the latest.
            label: Label of a version, instead of its number.
            outputs: Names of the outputs wanted; none means all.
            **inputs: One array per input, batch first. Lists of numbers take the dtype that the signature asks for, and
                so do arrays that cannot be sent, such as of float16 or bfloat16, where it holds all of their values;
                text may be str or bytes.

        Returns:
            `{output name: array}`; strings as object arrays of bytes.

        Raises:
            RequestError: The server says no, or cannot be reached.
            ValueError: An argument or a list of inputs is not what it must be; nothing was sent.

        Example:

            client.predict("wgan_gp", "sample", seed=[0, 1, 2])["images"].shape
        """
        _check_name("signature", signature)
        check_kind("outputs", outputs or (), (list, tuple), "a list of names")
        for name in outputs or ():
            _check_name("outputs", name)
        request = predict_pb2.PredictRequest(output_filter=outputs)
        _fill_spec(request.model_spec, model, version, label)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            _check_name("name of an input", name)
            fill_proto(request.inputs[name], self._as_array(value, model, version, label, signature, name))
        try:
            response = self._call(self._predictions.Predict, request)
        except RequestError as error:
            raise RequestError(error.code, error.message + self._choice(error, model, version, label)) from None
        return {name: to_array(proto) for name, proto in response.outputs.items()}

    def signatures(self, model, *, version=None, label=None):
        """Return the signatures of a model, as `zoo.serving.SavedModel.signatures`.

        Raises:
            RequestError: There is no such model.

        Example:

            client.signatures("wgan_gp")["sample"]["inputs"]  # {"seed": ("int64", (None,))}
        """
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        _fill_spec(request.model_spec, model, version, label)
        response = self._call(self._predictions.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        return describe_signatures(found)

    def status(self, model):
        """Return the versions of a model and their states.

        Returns:
            `{number: state}`; the state of a version that answers is "AVAILABLE".

        Raises:
            RequestError: There is no such model.

        Example:

            client.status("wgan_gp")  # {1: "END", 2: "AVAILABLE"}
        """
        request = get_model_status_pb2.GetModelStatusRequest()
        _fill_spec(request.model_spec, model)
        response = self._call(self._models.GetModelStatus, request)
        return {item.version: _State.Name(item.state) for item in response.model_version_status}

    def wait(self, model, seconds=60.0):
        """Return the number of the newest available version, as soon as there is one.

        Raises:
            RequestError: There is none after `seconds`.

        Example:

            client.wait("wgan_gp")
        """
        end = time.monotonic() + seconds
        while True:
            try:
                available = [number for number, state in self.status(model).items() if state == "AVAILABLE"]
                reason = "no version is available"
            except RequestError as error:
                available, reason = [], str(error)
            if available:
                return max(available)
            if time.monotonic() > end:
                raise RequestError("DEADLINE_EXCEEDED", f"{model} is not ready after {seconds:g} s; {reason}")
            time.sleep(0.1)

    def close(self):
        """Close the connection; a second call does nothing."""
        self._channel.close()
        self._closed = True

    def __enter__(self):
        """Return the client itself."""
        return self

    def __exit__(self, *_):
        """Close the connection."""
        self.close()

    def _call(self, method, request):
        if self._closed:
            raise RuntimeError(f"The client of {self._target} is closed. Ask inside its `with` block.")
        try:
            return method(request, timeout=self._seconds)
        except grpc.RpcError as error:
            self._described.clear()  # a newer version may have other signatures
            code, message = error.code().name, error.details()
            if "Failed parsing HTTP/2" in message:
                message += " (this looks like the REST port; gRPC is usually 8500)"
            elif code == "UNAVAILABLE":
                message += f" (is a server running at {self._target}?)"
            raise RequestError(code, message) from None

    def _choice(self, error, model, version, label):
        """What there is instead of an unknown version or signature, in words; nothing for other errors."""
        try:
            if error.code == "NOT_FOUND":
                available = [str(number) for number, state in self.status(model).items() if state == "AVAILABLE"]
                return f". `{model}` has the versions {', '.join(available) or 'none'}"
            if error.code == "FAILED_PRECONDITION" and "signature" in error.message:
                return f" `{model}` has {names_of(self.signatures(model, version=version, label=label))}."
        except RequestError:
            pass  # the model itself is unknown
        return ""

    def _as_array(self, value, model, version, label, signature, name):
        """A list has no dtype of its own, and some cannot be sent: it takes the signature's, asked for once."""
        what, is_array = f"Input `{name}`", isinstance(value, np.ndarray | np.generic)
        check_not_masked(what, value)
        if is_array and value.dtype.kind == "O" and not all(isinstance(item, str | bytes) for item in value.flat):
            value, is_array = value.tolist(), False  # Python's numbers, which have no dtype either
        if is_array and value.dtype.kind in "OUST":
            return as_text(what, value)
        if is_array and NAMES.get(value.dtype.newbyteorder("=")) in SENT:
            return np.asarray(value)
        key = model, version, label
        if key not in self._described:
            self._described[key] = self.signatures(model, version=version, label=label)
        dtype, _ = self._described[key].get(signature, {"inputs": {}})["inputs"].get(name, (None, None))
        return (as_sent if is_array else as_array)(what, value, dtype)


def _fill_spec(spec, model, version=None, label=None):
    _check_name("model", model)
    check_kind("version", version, (Integral, type(None)), "a whole number")
    if version is not None and not -(2**63) <= version < 2**63:
        raise ValueError(f"`version` must be a whole number of 64 bits. Received: {version}.")
    if label is not None:
        _check_name("label", label)
    spec.name = model
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label


def _check_name(what, name):
    check_kind(what, name, str, "a name")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"`{what}` must be text that UTF-8 can write. Received: {name[:100]!r}.") from None
