"""TF Serving's REST interface, version 1, the metrics, and a page to try models by hand."""

import asyncio
import contextlib
import functools
import json
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote_to_bytes

from aiohttp import web
from google.protobuf.json_format import MessageToDict

from zoo.serving.formats.model_card import read_card
from zoo.serving.formats.protos import get_model_metadata_pb2, get_model_status_pb2
from zoo.serving.server import bodies, grpc_api, json_text, metrics, origins, rest_json
from zoo.serving.server.errors import ServingError, invalid, late

PAGE = Path(__file__).with_name("page")
_log = logging.getLogger("zoo.serve")
_LARGE = 100_000  # bytes of JSON beyond which other requests should not wait for it
_HUGE = 2**20  # bytes of a body beyond which only a few are parsed
_HELD = 4  # at the same time, until there are arrays of them; and so many of the longest bodies are held unparsed
_MEMORY = 8  # most bytes of Python's objects that JSON may turn into, per byte that a request may have
_STATUSES = {408: "DEADLINE_EXCEEDED", 413: "RESOURCE_EXHAUSTED"}
_DIGITS = 19  # of the largest version
_WHICH = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(rf"(?i)/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<method>classify|regress|predict)")
_STATUS = re.compile(rf"(?i)/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?P<metadata>/metadata)?")


def make_app(core, max_bytes, log, allowed_hosts=()):
    """Return the web application.

    Args:
        core: `zoo.serving.server.core.Core`.
        max_bytes: Longest body.
        log: Called with name, status and seconds of each predict request, and "REST".
        allowed_hosts: Names, beside localhost, under which browsers may reach the loopback address.
    """
    app = web.Application(client_max_size=max_bytes, middlewares=[_answer_errors, _refuse_strangers(allowed_hosts)])
    api = _Api(core, max_bytes, log)
    app.router.add_get("/", lambda request: web.FileResponse(PAGE / "index.html"))
    app.router.add_get("/page/models", api.models)
    app.router.add_static("/page/", PAGE)
    app.router.add_get(metrics.PATH, api.metrics)
    app.router.add_route("*", "/{path:.*}", api.answer)
    app.on_response_prepare.append(_ask_again)
    app.on_cleanup.append(api.close)
    return app


class _Api:
    def __init__(self, core, max_bytes, log):
        self._core, self._max_bytes, self._log = core, max_bytes, log
        self._parsers, self._room = asyncio.Semaphore(_HELD), bodies.Room(_HELD * max_bytes, _LARGE)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="json")

    async def close(self, app):
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def answer(self, request):
        path = request.rel_url.raw_path
        if not path.lower().startswith("/v1/"):
            raise web.HTTPNotFound(text=f"Not found: {request.method} {path[:200]}")
        if request.method == "POST" and (match := _PREDICT.fullmatch(path)):
            return await self._predict(request, match)
        if request.method == "GET" and (match := _STATUS.fullmatch(path)):
            return self._status(match)
        raise invalid(f"Malformed request: {request.method} {path}")

    async def _predict(self, request, match):
        name, number, label = _which(match)
        started, status, held = time.perf_counter(), "INTERNAL", contextlib.ExitStack()
        try:
            if match["method"].lower() != "predict":
                raise invalid(f"{match['method']} is not offered by the development server; use predict")
            body = await self._read(request, held)
            thread = self._aside if len(body) > _LARGE else _here
            signature, document = await thread(self._parse, body)
            del body
            by_row = "instances" in document
            read = functools.partial(self._to_arrays, held, thread, [document])
            del document
            spent = time.perf_counter() - started
            _, outputs = await self._core.predict(
                name, number, label, signature=signature, inputs=read, spent=spent, rest=True
            )
            large = sum(array.nbytes for array in outputs.values()) > _LARGE
            text = await (self._aside if large else _here)(rest_json.to_json, by_row, outputs)
            status = "OK"
            return _json(text)
        except ServingError as error:
            status = error.code.name
            raise
        except web.HTTPException as error:
            status = _STATUSES.get(error.status, "INVALID_ARGUMENT")
            raise
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        finally:
            held.close()
            self._log(name, status, time.perf_counter() - started, "REST")

    async def _read(self, request, held):
        """The body, unpacked, once it is its turn to be parsed; all within the time of the request."""
        seconds, encoding = self._core.seconds, bodies.encoding_of(request)
        deadline = asyncio.get_running_loop().time() + seconds
        body = await bodies.read_body(request, self._max_bytes, deadline, self._room, held)
        if len(body) >= _HUGE or encoding:  # which may become large
            try:
                async with asyncio.timeout_at(deadline):
                    await self._parsers.acquire()
            except TimeoutError:
                raise late(seconds) from None
            held.callback(self._parsers.release)
        return await asyncio.to_thread(bodies.unpack, body, encoding, self._max_bytes) if encoding else body

    def _parse(self, body):
        memory, most = json_text.count_bytes(body) if len(body) > _LARGE else 0, _MEMORY * self._max_bytes
        if memory > most:
            text = (
                f"This JSON may take {memory} bytes of memory. Expected at most {most}: send fewer values, or use gRPC"
            )
            raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=memory, text=text)
        return rest_json.parse(body)

    async def _to_arrays(self, held, thread, documents, signature, specs):
        """The arrays of a request, whose JSON is let go for the next one."""
        arrays = await thread(rest_json.to_arrays, documents.pop(), specs)
        held.close()
        return arrays

    def _aside(self, function, *arguments):
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

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


def _refuse_strangers(allowed_hosts):
    names = frozenset(allowed_hosts)

    @web.middleware
    async def refuse(request, handler):
        origins.check_request(request, names)
        return await handler(request)

    return refuse


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
    digits = (match["version"] or "").lstrip("0")
    if len(digits) > _DIGITS or int(digits or 0) >= 2**63:
        raise invalid(f"Failed to convert version: {digits[:100]} to numeric.")
    return name, int(digits or 0) if match["version"] else None, label


def _as_json(message):
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _json(body, status=200):
    body = body if isinstance(body, bytes) else body.encode()
    return web.Response(body=body, status=status, content_type="application/json")
