"""The life of the development server: start, follow the disk, stop."""

import asyncio
import contextlib
import logging
import resource
import signal
import socket
import sys

import uvloop
from aiohttp import web

from zoo.serving.formats.batching_config import BATCHING_FILE, BatchingParameters, read_batching
from zoo.serving.formats.models_config import CONFIG_FILE, read_config
from zoo.serving.server import configuration, logs
from zoo.serving.server.core import Core
from zoo.serving.server.errors import ServingError
from zoo.serving.server.grpc_api import make_server
from zoo.serving.server.metrics import Metrics
from zoo.serving.server.models import Models
from zoo.serving.server.rest_api import make_app

_log = logging.getLogger("zoo.serve")
_FILES = 65_536  # connections and files at a time, if the system allows as many


def main(options):
    """Serve until SIGTERM or Ctrl-C.

    Args:
        options: `zoo.serving.server.options.Options`.

    Raises:
        ValueError: An option has a value that it cannot have.
        SystemExit: With a message: the folder or a file cannot be used, or a port is taken.

    Example:

        main(Options(Path("exports"), port=0, rest_api_port=0))
    """
    options.check()
    logs.configure(options.log_format)
    try:
        uvloop.run(_serve(options))
    except (OSError, ValueError, ServingError) as error:
        sys.exit(f"error: {error}")


async def _serve(options):
    if not options.exports.is_dir():
        raise ValueError(f"There is no folder `{options.exports}`. Expected a base directory: <name>/<version>/.")
    source, batching = _Source(options), _batching(options)
    config = source.read()
    _allow_files()
    with contextlib.ExitStack() as ports:  # kept until both servers have them: models may take long to load
        grpc_port = _keep(ports, options.host, options.port, "--port")
        rest_port = _keep(ports, options.host, options.rest_api_port, "--rest-api-port")
        await _serve_on(options, source, config, batching, ports, grpc_port, rest_port)


async def _serve_on(options, source, config, batching, ports, grpc_port, rest_port):
    models = Models(options.exports, options.max_num_load_retries, options.load_retry_interval_micros / 1e6)
    metrics = Metrics(lambda: len(models.names()))
    core = Core(models, metrics, batching, options.rest_api_timeout_in_ms / 1000)
    max_bytes = options.max_request_mb * 2**20
    log = _request_log(models, metrics, options.log_requests)
    if count := len(config.model_config_list.config):
        _log.info("loading: the ports open once it is done", extra={"models": count, "exports": str(options.exports)})
    await models.configure(config)
    if not models.names() and (warning := configuration.describe_empty(options.exports)):
        _log.warning(warning)
    server = make_server(core, max_bytes, log, options.allow_reload_config)
    _bind(server, options.host, grpc_port)
    hosts = {name.lower().rstrip(".") for name in (*options.allowed_hosts, options.host)}
    app = make_app(core, max_bytes, log, hosts)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=options.grace_seconds,
        keepalive_timeout=options.idle_seconds,
        auto_decompress=False,  # `bodies` does, within limits
    )
    await runner.setup()
    site = web.TCPSite(runner, options.host, rest_port)
    try:
        await site.start()
    except OSError as error:
        raise ValueError(_taken(options.host, rest_port, "--rest-api-port", error.strerror)) from None
    await server.start()
    ports.close()
    _log.info(
        "ready: a development server, not TF Serving",
        extra={
            "grpc": f"{options.host}:{grpc_port}",
            "rest": f"http://{options.host}:{rest_port}",
            "models": models.names(),
        },
    )
    seconds = options.file_system_poll_wait_seconds
    follow = asyncio.create_task(_follow(source, models, seconds) if seconds else asyncio.sleep(0))
    await _signal()
    _log.info("stopping: requests that run may end", extra={"seconds": options.grace_seconds})
    follow.cancel()
    await site.stop()
    await asyncio.gather(server.stop(options.grace_seconds), runner.cleanup())
    core.close()
    await models.close()
    _log.info("stopped")


class _Source:
    """Where the model config comes from, and whether it has changed."""

    def __init__(self, options):
        self._base = options.exports
        self._path = options.model_config_file or options.exports / CONFIG_FILE
        self._needed, self._last = options.model_config_file is not None, None

    def read(self):
        """Return the `ModelServerConfig` of now."""
        there = self._path.exists()
        if self._needed and not there:
            raise ValueError(f"There is no model config `{self._path}`.")
        self._last = read_config(self._path) if there else configuration.discover_models(self._base)
        return self._last

    def read_if_changed(self):
        """Return the `ModelServerConfig` of now, or None if it is as it was."""
        before = self._last
        return None if self.read() == before else self._last


async def _follow(source, models, seconds):
    """Follow the model config and the versions on disk; whatever is wrong with them, go on with what there is."""
    said = None
    while True:
        await asyncio.sleep(seconds)
        try:
            config = await asyncio.to_thread(source.read_if_changed)
            await (models.refresh() if config is None else models.configure(config))
            said = None
        except (OSError, ValueError, ServingError) as error:
            if str(error) != said:
                said = str(error)
                _log.error("the model config was not taken", extra={"error": said})


def _batching(options):
    if not options.enable_batching:
        return None
    path = options.batching_parameters_file or options.exports / BATCHING_FILE
    if options.batching_parameters_file is None and not path.exists():
        return BatchingParameters()
    parameters = read_batching(path)
    if parameters.pad_variable_length_inputs:
        raise ValueError(f"`{path}`: pad_variable_length_inputs is not offered by the development server.")
    return parameters


def _keep(ports, host, port, option):
    """Take a port, 0 for a free one, and keep others from it; return its number.

    Nothing listens on it yet, so that the server that will can take it beside this socket.
    """
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    kept = ports.enter_context(socket.socket(family, kind))
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        kept.bind(address)
    except OSError as error:
        raise ValueError(_taken(host, port, option, error.strerror)) from None
    return kept.getsockname()[1]


def _allow_files():
    """Let connections that do nothing not take all files: 1,024 are usual, and the system allows more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # then it stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _bind(server, host, port):
    try:
        bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError:
        bound = 0
    if not bound:
        raise ValueError(_taken(host, port, "--port", "gRPC gives no reason"))


def _taken(host, port, option, reason):
    return f"Cannot listen on {host}:{port} ({reason}); is the port taken? Choose another with {option}."


def _request_log(models, metrics, log_all):
    def log(name, status, seconds, entrypoint):
        try:
            known = bool(models.status(name))
        except ServingError:
            known = False
        metrics.observe_request(name if known else "", status, seconds, entrypoint)
        if log_all or status != "OK":
            extra = {"model": name[:100], "status": status, "entrypoint": entrypoint, "seconds": round(seconds, 4)}
            _log.log(logging.INFO if status == "OK" else logging.WARNING, "request", extra=extra)

    return log


async def _signal():
    """Wait for SIGTERM or Ctrl-C; the next one ends the process as usual."""
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, arrived.set)
    await arrived.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
