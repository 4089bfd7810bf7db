"""TF Serving's gRPC interface: PredictionService and ModelService, on the official stubs."""

import logging
import time

import grpc
from google.protobuf import message_factory
from google.protobuf.message import DecodeError

from zoo.serving.formats.protos import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
)
from zoo.serving.formats.tensors import fill_proto, to_array
from zoo.serving.server.core import DEFAULT_SIGNATURE
from zoo.serving.server.errors import ServingError, invalid

_log = logging.getLogger("zoo.serve")


def make_server(core, max_bytes, log):
    """Return a `grpc.aio` server without a port.

    Args:
        core: `zoo.serving.server.core.Core`.
        max_bytes: Longest message received.
        log: Called with name, status and seconds of each request, and "GRPC".
    """
    options = [
        ("grpc.max_receive_message_length", max_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # else a second server would take half of the requests to the same port
    ]
    server = grpc.aio.server(options=options)
    prediction, model = PredictionService(core, max_bytes, log), ModelService(core)
    services = prediction_service_pb2.DESCRIPTOR, model_service_pb2.DESCRIPTOR
    (prediction_descriptor,), (model_descriptor,) = (file.services_by_name.values() for file in services)
    server.add_generic_rpc_handlers([_handlers(prediction_descriptor, prediction), _handlers(model_descriptor, model)])
    return server


class PredictionService:
    """Predict and GetModelMetadata; Classify, Regress and MultiInference answer UNIMPLEMENTED."""

    def __init__(self, core, max_bytes, log):
        self._core, self._max_bytes, self._log = core, max_bytes, log

    async def Predict(self, request, context):
        """Run a signature."""
        spec, started, status = request.model_spec, time.perf_counter(), "OK"
        try:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            version, outputs = await self._core.predict(
                *_which(spec),
                signature=spec.signature_name,
                inputs=self._read(request),
                outputs=request.output_filter,
                seconds=context.time_remaining(),
            )
            return _response(version, spec.signature_name, outputs)
        except ServingError as error:
            status = error.code.name
            raise
        finally:
            self._log(spec.name, status, time.perf_counter() - started, "GRPC")

    async def GetModelMetadata(self, request, context):
        """Describe the signatures of a version."""
        return metadata(self._core.models, request)

    def _read(self, request):
        try:
            return {name: to_array(proto, self._max_bytes) for name, proto in request.inputs.items()}
        except ValueError as error:
            raise invalid(str(error)) from None


class ModelService:
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, core):
        self._core = core

    async def GetModelStatus(self, request, context):
        """Tell which versions of a model there are, and in which state."""
        return model_status(self._core.models, request)

    async def HandleReloadConfigRequest(self, request, context):
        """Serve other models, versions or labels from now on."""
        await self._core.models.configure(request.config)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response


def metadata(models, request):
    """Answer a `GetModelMetadataRequest`.

    Raises:
        ServingError: There is no such version, or another field than `signature_def` is asked for.
    """
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != "signature_def":
            raise invalid(f"Metadata field {field} is not supported")
    version = models.find(*_which(request.model_spec))
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = version.name
    response.model_spec.version.value = version.number
    response.metadata["signature_def"].Pack(version.model.signature_defs)
    return response


def model_status(models, request):
    """Answer a `GetModelStatusRequest`.

    Raises:
        ServingError: There is no such model or version.
    """
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in models.status(*_which(request.model_spec)):
        item = response.model_version_status.add(version=version.number, state=version.state)
        item.status.SetInParent()
        if version.error:
            item.status.error_code = version.error.code.value[0]
            item.status.error_message = version.error.message
    return response


def _handlers(service, servicer):
    """Official methods of a service; those that the servicer has not are answered UNIMPLEMENTED."""
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _answering(getattr(servicer, method.name), message_factory.GetMessageClass(method.input_type)),
            response_serializer=lambda response: response.SerializeToString(),
        )
        for method in service.methods
        if hasattr(servicer, method.name)
    }
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _answering(method, message):
    """A handler of serialized requests, whose errors are answered as TF Serving does.

    grpc.aio would answer UNKNOWN, and log a traceback, for a message that it cannot parse; C++ answers INTERNAL.
    """

    async def answer(data, context):
        try:
            request = message.FromString(data)
        except DecodeError:
            await context.abort(grpc.StatusCode.INTERNAL, f"This is no {message.DESCRIPTOR.full_name}")
        try:
            return await method(request, context)
        except ServingError as error:
            await context.abort(error.code, error.message)
        except Exception:
            _log.exception("a fault of the server", extra={"method": method.__name__})
            await context.abort(grpc.StatusCode.INTERNAL, "Internal error; the server's log says more")

    return answer


def _which(spec):
    number = spec.version.value if spec.HasField("version") else None
    return spec.name, number, spec.version_label


def _response(version, signature, outputs):
    response = predict_pb2.PredictResponse()
    response.model_spec.name = version.name
    response.model_spec.version.value = version.number
    response.model_spec.signature_name = signature or DEFAULT_SIGNATURE
    for name, array in outputs.items():
        fill_proto(response.outputs[name], array)
    return response
