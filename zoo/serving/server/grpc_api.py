"""TF Serving's gRPC interface: PredictionService and ModelService, on the official stubs."""

import asyncio
import functools
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
from zoo.serving.formats.tensors import fill_proto, measure, to_array
from zoo.serving.loader.inputs import check_kind_of_tensor, check_names
from zoo.serving.server.core import DEFAULT_SIGNATURE
from zoo.serving.server.errors import ServingError, invalid
from zoo.serving.server.wire import count_fields

_log = logging.getLogger("zoo.serve")
_IDLE_MS = 300_000  # after which a connection without requests is closed; clients open it again by themselves
_HANDSHAKE_MS = 10_000  # within which a connection must have said that it speaks gRPC
_FIELDS = 2**18  # of a message, each of which takes up to some hundred bytes of memory
_LARGE = 2**20  # bytes of tensors beyond which other requests should not wait for their conversion


def make_server(core, max_bytes, log, allow_reload_config=False):
    """Return a `grpc.aio` server without a port.

    Args:
        core: `zoo.serving.server.core.Core`.
        max_bytes: Longest message received.
        log: Called with name, status and seconds of each request, and "GRPC".
        allow_reload_config: Whether a client may say what is served.
    """
    options = [
        ("grpc.max_receive_message_length", max_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_connection_idle_ms", _IDLE_MS),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.so_reuseport", 0),  # else a second server would take half of the requests to the same port
    ]
    server = grpc.aio.server(options=options)
    prediction, model = PredictionService(core, max_bytes, log), ModelService(core, allow_reload_config)
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
        spec, started, status = request.model_spec, time.perf_counter(), "INTERNAL"
        try:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            version, outputs = await self._core.predict(
                *_which(spec),
                signature=spec.signature_name,
                inputs=functools.partial(self._read, request.inputs),
                outputs=request.output_filter,
                seconds=context.time_remaining(),
            )
            large = sum(array.nbytes for array in outputs.values()) > _LARGE
            answer = version.name, version.number, spec.signature_name, outputs
            response = await asyncio.to_thread(_response, *answer) if large else _response(*answer)
            status = "OK"
            return response
        except ServingError as error:
            status = error.code.name
            raise
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        finally:
            self._log(spec.name, status, time.perf_counter() - started, "GRPC")

    async def GetModelMetadata(self, request, context):
        """Describe the signatures of a version."""
        return metadata(self._core.models, request)

    async def _read(self, protos, signature, specs):
        size = check_tensors(signature, protos, specs, self._max_bytes)
        return await asyncio.to_thread(_arrays, protos) if size > _LARGE else _arrays(protos)


class ModelService:
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, core, allow_reload_config=False):
        self._core, self._allow_reload_config = core, allow_reload_config

    async def GetModelStatus(self, request, context):
        """Tell which versions of a model there are, and in which state."""
        return model_status(self._core.models, request)

    async def HandleReloadConfigRequest(self, request, context):
        """Serve other models, versions or labels of the base directory from now on, if clients may ask for it."""
        if not self._allow_reload_config:
            raise ServingError(
                grpc.StatusCode.PERMISSION_DENIED,
                "HandleReloadConfigRequest is off: whoever connects could load what can read and write files. "
                "Start the server with --allow-reload-config, or edit its models.config, which it follows.",
            )
        await self._core.models.reload(request.config)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response


def check_tensors(signature, protos, specs, max_bytes):
    """Check the tensors of a request before any of them is made, since a few bytes can ask for any shape.

    Args:
        signature: Name of the signature, for the errors.
        protos: `{input name: TensorProto}`.
        specs: Inputs of the signature, `{name: (dtype, shape)}`.
        max_bytes: Most memory that they may take together.

    Returns:
        How much they take, in bytes.

    Raises:
        ValueError: Names, dtypes, shapes or values are not those of the signature, or they take too much.

    Example:

        check_tensors("sample", request.inputs, {"seed": ("int64", (None,))}, 2**26)
    """
    check_names(signature, set(protos), specs)
    total = 0
    for name, spec in specs.items():
        dtype, shape, size = measure(protos[name], max_bytes)
        check_kind_of_tensor(signature, name, (dtype, shape), spec)
        total += size
        if total > max_bytes:
            raise ValueError(
                f"The inputs of `{signature}` take {total} bytes or more as tensors, with `{name}` of shape {shape}. "
                f"Expected at most {max_bytes}. Send fewer rows at a time, or start the server with --max-request-mb."
            )
    return total


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
        if len(data) > _LARGE:
            count = await asyncio.to_thread(count_fields, data, message.DESCRIPTOR, _FIELDS)
            if count > _FIELDS:
                what = (
                    f"A message may have {_FIELDS} fields, with those of its tensors and strings. Send fewer at a time"
                )
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, what)
        try:
            request = message.FromString(data)
        except DecodeError:
            await context.abort(grpc.StatusCode.INTERNAL, f"This is no {message.DESCRIPTOR.full_name}")
        try:
            response = await method(request, context)
            return response if isinstance(response, bytes) else response.SerializeToString()
        except ServingError as error:
            await context.abort(error.code, error.message)
        except Exception:
            _log.exception("a fault of the server", extra={"method": method.__name__})
            await context.abort(grpc.StatusCode.INTERNAL, "Internal error; the server's log says more")

    return answer


def _which(spec):
    number = spec.version.value if spec.HasField("version") else None
    return spec.name, number, spec.version_label


def _arrays(protos):
    return {name: to_array(proto) for name, proto in protos.items()}


def _response(name, number, signature, outputs):
    """A `PredictResponse`, serialized: a large one takes its time, which the event loop has not."""
    response = predict_pb2.PredictResponse()
    response.model_spec.name = name
    response.model_spec.version.value = number
    response.model_spec.signature_name = signature or DEFAULT_SIGNATURE
    for key, array in outputs.items():
        try:
            fill_proto(response.outputs[key], array)
        except ValueError as error:
            raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"Output `{key}`: {error}") from None
    return response.SerializeToString()
