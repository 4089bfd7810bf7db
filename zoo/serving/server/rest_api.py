"""TF Serving's REST interface, version 1, the metrics, and a page to try models by hand."""

import asyncio
import functools
import json
import logging
import re
import time
from pathlib import Path
from urllib.parse import unquote_to_bytes

from aiohttp import web
from google.protobuf.json_format import MessageToDict

from zoo.serving.formats.model_card import read_card
from zoo.serving.formats.protos import get_model_metadata_pb2, get_model_status_pb2
from zoo.serving.server import grpc_api, metrics, rest_json
from zoo.serving.server.errors import ServingError, invalid

PAGE = Path(__file__).with_name("page")
_log = logging.getLogger("zoo.serve")
_LARGE = 100_000  # bytes of JSON beyond which other requests should not wait for it
_WHICH = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(rf"(?i)/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<method>classify|regress|predict)")
_STATUS = re.compile(rf"(?i)/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?P<metadata>/metadata)?")


def make_app(core, max_bytes, log):
    """Return the web application.

    Args:
        core: `zoo.serving.server.core.Core`.
        max_bytes: Longest body.
        log: Called with name, status and seconds of each predict request, and "REST".
    """
    app = web.Application(client_max_size=max_bytes, middlewares=[_answer_errors])
    api = _Api(core, log)
    app.router.add_get("/", lambda request: web.FileResponse(PAGE / "index.html"))
    app.router.add_get("/page/models", api.models)
    app.router.add_static("/page/", PAGE)
    app.router.add_get(metrics.PATH, api.metrics)
    app.router.add_route("*", "/{path:.*}", api.answer)
    app.on_response_prepare.append(_ask_again)
    return app


class _Api:
    def __init__(self, core, log):
        self._core, self._log = core, log

    async def answer(self, request):
        path = request.rel_url.raw_path
        if request.method == "POST" and (match := _PREDICT.fullmatch(path)):
            return await self._predict(request, match)
        if request.method == "GET" and (match := _STATUS.fullmatch(path)):
            return self._status(match)
        raise invalid(f"Malformed request: {request.method} {path}")

    async def _predict(self, request, match):
        name, number, label = _which(match)
        started, status = time.perf_counter(), "OK"
        try:
            if match["method"].lower() != "predict":
                raise invalid(f"{match['method']} is not offered by the development server; use predict")
            body = await request.read()
            thread = asyncio.to_thread if len(body) > _LARGE else _here
            signature, layout, value = await thread(rest_json.parse, body)
            read = functools.partial(thread, rest_json.to_arrays, layout, value)
            _, outputs = await self._core.predict(name, number, label, signature=signature, inputs=read)
            large = sum(array.nbytes for array in outputs.values()) > _LARGE
            text = await (asyncio.to_thread if large else _here)(rest_json.to_json, layout, outputs)
            return _json(text)
        except ServingError as error:
            status = error.code.name
            raise
        except web.HTTPRequestEntityTooLarge:
            status = "RESOURCE_EXHAUSTED"
            raise
        finally:
            self._log(name, status, time.perf_counter() - started, "REST")

    def _status(self, match):
        name, number, label = _which(match)
        if not name:
            raise invalid("Missing model name in request.")
        kind = get_model_metadata_pb2.GetModelMetadataRequest if match["metadata"] else None
        query = (kind or get_model_status_pb2.GetModelStatusRequest)()
        query.model_spec.name = name
        if number is not None:
            query.model_spec.version.value = number
        if label:
            query.model_spec.version_label = label
        if not kind:
            return _json(json.dumps(_as_json(grpc_api.model_status(self._core.models, query)), indent=1))
        query.metadata_field.append("signature_def")
        answer = grpc_api.metadata(self._core.models, query)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        document = {
            "model_spec": _as_json(answer.model_spec),
            "metadata": {"signature_def": _as_json(signatures)},
        }
        return _json(json.dumps(document, indent=1))

    async def models(self, request):
        """What the page shows; no part of TF Serving's interface."""
        models = []
        for name in self._core.models.names():
            version = self._core.models.find(name)
            models.append(
                {
                    "name": name,
                    "version": version.number,
                    "signatures": version.model.signatures,
                    "card": read_card(version.path),
                }
            )
        return _json(json.dumps(models))

    async def metrics(self, request):
        return web.Response(body=self._core.metrics.page(), headers={"Content-Type": "text/plain; charset=utf-8"})


@web.middleware
async def _answer_errors(request, handler):
    try:
        return await handler(request)
    except ServingError as error:
        return _json(rest_json.error_json(error.message), error.http_status)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _json(rest_json.error_json(error.text or error.reason), error.status)
    except Exception:
        _log.exception("a fault of the server", extra={"path": request.path[:200]})
        return _json(rest_json.error_json("Internal error; the server's log says more"), 500)


async def _ask_again(request, response):
    """Let browsers ask whether a file of the page is still the same, which it is not after an upgrade of Zoo."""
    if request.path == "/" or request.path.startswith("/page/"):
        response.headers["Cache-Control"] = "no-cache"


async def _here(function, *arguments):
    return function(*arguments)


def _which(match):
    try:
        name, label = (unquote_to_bytes(match[key] or "").decode() for key in ("name", "label"))
    except UnicodeDecodeError:
        raise invalid(f"Failed to decode model name: {match['name']}") from None
    number = int(match["version"]) if match["version"] else None
    if number is not None and number >= 2**63:
        raise invalid(f"Failed to convert version: {number} to numeric.")
    return name, number, label


def _as_json(message):
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _json(body, status=200):
    body = body if isinstance(body, bytes) else body.encode()
    return web.Response(body=body, status=status, content_type="application/json")
