"""Ask TF Serving, or Zoo's development server, over gRPC: arrays in, arrays out, without importing TensorFlow."""

import time

import grpc
import numpy as np

from zoo.serving.formats.dtypes import to_bytes
from zoo.serving.formats.protos import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from zoo.serving.formats.signatures import describe_signatures
from zoo.serving.formats.tensors import fill_proto, to_array

_State = get_model_status_pb2.ModelVersionStatus.State


def connect(target, *options):
    """Return a gRPC channel without limits of size, since images are large, and the services of TF Serving on it.

    Args:
        target: "host:port" of gRPC.
        *options: More options of the channel, `(name, value)`.

    Returns:
        `(channel, PredictionServiceStub, ModelServiceStub)`; the connection is made at the first request.

    Example:

        channel, predictions, models = connect("localhost:8500")
    """
    sizes = ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)
    channel = grpc.insecure_channel(target, options=[*sizes, *options])
    predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return channel, predictions, model_service_pb2_grpc.ModelServiceStub(channel)


class RequestError(RuntimeError):
    """The server answered with an error, or did not answer.

    Attributes:
        code: Name of gRPC's status code, such as "NOT_FOUND", "INVALID_ARGUMENT" or "UNAVAILABLE".
    """

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class Client:
    """A connection to a server of TF Serving's gRPC interface; safe to use from several threads.

    Args:
        target: "host:port" of gRPC.
        seconds: Time limit of each request.

    Example:

        with Client("localhost:8500") as client:
            images = client.predict("wgan_gp", "sample", seed=np.arange(4))["images"]
    """

    def __init__(self, target="localhost:8500", *, seconds=30.0):
        self._target, self._seconds, self._described = target, seconds, {}
        self._channel, self._predictions, self._models = connect(target)

    def predict(self, model, signature="serving_default", /, *, version=None, label=None, outputs=(), **inputs):
        """Run a signature.

        Args:
            model: Name of the model.
            signature: Name of the signature.
            version: Number of a version; default: the latest.
            label: Label of a version, instead of its number.
            outputs: Names of the outputs wanted; none means all.
            **inputs: One array per input, batch first. Lists of numbers take the dtype that the signature asks for;
                text may be str or bytes.

        Returns:
            `{output name: array}`; strings as object arrays of bytes.

        Raises:
            RequestError: The server says no, or cannot be reached.

        Example:

            client.predict("wgan_gp", "sample", seed=[0, 1, 2])["images"].shape
        """
        request = predict_pb2.PredictRequest(output_filter=outputs)
        _fill_spec(request.model_spec, model, version, label)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            fill_proto(request.inputs[name], self._as_array(value, model, version, label, signature, name))
        response = self._call(self._predictions.Predict, request)
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
        request.model_spec.name = model
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
        """Close the connection."""
        self._channel.close()

    def __enter__(self):
        """Return the client itself."""
        return self

    def __exit__(self, *_):
        """Close the connection."""
        self.close()

    def _call(self, method, request):
        try:
            return method(request, timeout=self._seconds)
        except grpc.RpcError as error:
            self._described.clear()  # a newer version may have other signatures
            hint = f" (is a server running at {self._target}?)" if error.code().name == "UNAVAILABLE" else ""
            raise RequestError(error.code().name, f"{error.details()}{hint}") from None

    def _as_array(self, value, model, version, label, signature, name):
        """A list has no dtype of its own: it takes that of the signature, which is asked for once."""
        if not isinstance(value, np.ndarray | np.generic):
            key = model, version, label
            if key not in self._described:
                self._described[key] = self.signatures(model, version=version, label=label)
            dtype, _ = self._described[key].get(signature, {"inputs": {}})["inputs"].get(name, (None, None))
            value = np.array(value, dtype=object if dtype == "string" else dtype)
        value = np.asarray(value)
        return to_bytes(value) if value.dtype.kind in "OUS" else value


def _fill_spec(spec, model, version, label):
    spec.name = model
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label
