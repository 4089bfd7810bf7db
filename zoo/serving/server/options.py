"""Options of `zoo serve`; those that TF Serving has too carry its names."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

# Smallest and largest value; requests end where Protocol Buffers do, times at a day.
_RANGES = {
    "port": (0, 65535),
    "rest_api_port": (0, 65535),
    "max_request_mb": (1, 2047),
    "rest_api_timeout_in_ms": (1, 86_400_000),
    "grace_seconds": (0, 86_400),
    "idle_seconds": (0.1, 86_400),
    "max_num_load_retries": (0, 1_000_000),
    "load_retry_interval_micros": (0, 86_400_000_000),
    "file_system_poll_wait_seconds": (0, 86_400),
}


@dataclass(frozen=True)
class Options:
    """Serve a base directory of models on this machine, with TF Serving's gRPC and REST interface.

    A development server on TensorFlow's C++ loader, not TF Serving. It offers Predict, GetModelMetadata, GetModelStatus
    and, if allowed, HandleReloadConfigRequest: no Classify, Regress, sessions, other platforms, TLS or passwords.
    Requests of different shapes never share a batch, input errors have words of their own, labels may be given from the
    start, and a version that failed to load is tried again as soon as its files change, too. It listens on this machine
    only. A SavedModel is a program, which can read and write your files: serve those that you trust.
    """

    exports: tyro.conf.Positional[Path] = Path("exports")
    """Base directory: `<name>/<version>/saved_model.pb`."""
    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 opens it to the network, where anybody may then use it."""
    port: int = 8500
    """gRPC; 0 takes a free one."""
    rest_api_port: int = 8501
    """REST, the page at / and metrics; 0 takes a free one."""
    model_config_file: Path | None = None
    """Which models, versions and labels; default: models.config of the base directory, or else all it holds."""
    enable_batching: bool = True
    """Run requests together that wait at the same time."""
    batching_parameters_file: Path | None = None
    """How; default: batching.config of the base directory, or else TF Serving's defaults."""
    allow_reload_config: bool = False
    """Let clients say over gRPC which models of the base directory are served, with which versions and labels."""
    allowed_hosts: tuple[str, ...] = ()
    """Names, beside localhost, under which browsers may reach this machine's own address, such as that of a proxy."""
    max_num_load_retries: int = 5
    """How often to try again to load a version that failed, while its files stay as they are."""
    load_retry_interval_micros: int = 60_000_000
    """Least time between two such tries, in microseconds."""
    file_system_poll_wait_seconds: float = 1.0
    """How often to look for new versions and for changes of the model config; 0 looks once, at the start."""
    rest_api_timeout_in_ms: int = 30_000
    """Longest time for a request, gRPC too: where a client gives a shorter one, that holds."""
    max_request_mb: int = 64
    """Largest request, in MiB, also once it is unpacked; JSON may take 8 times as much memory while it is read."""
    idle_seconds: float = 30.0
    """How long an HTTP connection may stay open without a whole request."""
    grace_seconds: float = 10.0
    """How long requests may go on after SIGTERM or Ctrl-C; a second signal stops at once."""
    log_format: Literal["text", "json"] = "text"
    """One line per event on standard error."""
    log_requests: bool = False
    """Log every request, not only the failed ones."""

    def check(self):
        """Check the values, before anything is loaded.

        Raises:
            ValueError: A number is out of its range, both ports are one, or the host is not this machine.
        """
        for name, (low, high) in _RANGES.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise ValueError(f"`--{name.replace('_', '-')}` must be {low} to {high}. Received: {value}.")
        if self.port and self.port == self.rest_api_port:
            raise ValueError(f"`--port` and `--rest-api-port` must differ. Received: {self.port} twice.")
        try:
            family, kind, _, _, address = socket.getaddrinfo(self.host, 0, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as free:
                free.bind(address)
        except (OSError, UnicodeError):
            raise ValueError(f"`--host` must be an address of this machine. Received: {self.host}.") from None
