"""Options of `zoo serve`; those that TF Serving has too carry its names."""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Options:
    """Serve a base directory of models on this machine, with TF Serving's gRPC and REST interface.

    A development server on TensorFlow's C++ loader, not TF Serving. It offers Predict, GetModelMetadata, GetModelStatus
    and HandleReloadConfigRequest: no Classify, Regress, sessions, other platforms, encryption or passwords. Requests of
    different shapes never share a batch, input errors have words of their own, labels may be given from the start, and
    a version that failed to load is tried again when its folder changes. It listens on this machine only.
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
    file_system_poll_wait_seconds: float = 1.0
    """How often to look for new versions and for changes of the model config."""
    rest_api_timeout_in_ms: int = 30_000
    """Longest time for a request, gRPC too: where a client gives a shorter one, that holds."""
    max_request_mb: int = 64
    """Largest request, in MiB."""
    grace_seconds: float = 10.0
    """How long requests may go on after SIGTERM or Ctrl-C; a second signal stops at once."""
    log_format: str = "text"
    """"text" or "json": one line per event on standard error."""
    log_requests: bool = False
    """Log every request, not only the failed ones."""
