"""One version of a model on the server: its state, how it is loaded, and how its memory is given back."""

import asyncio
import ctypes
from dataclasses import dataclass, field
from pathlib import Path

from zoo.serving.formats.protos import get_model_status_pb2
from zoo.serving.formats.warmup import MAX_RECORDS, read_warmup
from zoo.serving.loader.native import SavedModel
from zoo.serving.server.errors import ServingError

State = get_model_status_pb2.ModelVersionStatus.State


@dataclass(eq=False)
class Version:
    """One version of a model, in the state that `GetModelStatus` reports.

    Attributes:
        name: Name of the model.
        number: Number of the version.
        path: Its folder.
        stamp: What tells this folder from one that takes its place later.
        state: One of `State`.
        error: `ServingError` that ended it, or None.
        model: `zoo.serving.SavedModel` while it is loaded.
        users: Requests that run on it now.
        tries: How often it was loaded from the files that it has.
        ended: When it last failed to load, on the monotonic clock.
    """

    name: str
    number: int
    path: Path
    stamp: tuple
    state: int = State.START
    error: ServingError | None = None
    model: SavedModel | None = None
    users: int = 0
    tries: int = 1
    ended: float = 0.0
    unused: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def available(self):
        """Whether requests may use it."""
        return self.state == State.AVAILABLE


def load_version(path):
    """Load a version and run its warm-up requests; one that fails fails the load, as in TF Serving.

    Args:
        path: Version folder.

    Returns:
        `zoo.serving.SavedModel`.

    Raises:
        OSError, ValueError: It does not load, or does not warm up.

    Example:

        model = load_version(Path("exports/wgan_gp/1"))
    """
    model = SavedModel(path)
    try:
        requests = read_warmup(path)
        if len(requests) > MAX_RECORDS:
            raise ValueError(
                f"Number of warmup records ({len(requests)}) exceeds the maximum ({MAX_RECORDS}) at {path}"
            )
        for signature, inputs in requests:
            model.predict(signature, inputs)
            first_row = {name: array[:1] for name, array in inputs.items() if array.ndim}
            if len(first_row) == len(inputs):  # the size of most requests, which has kernels of its own
                model.predict(signature, first_row)
                model.predict(signature, first_row)
    except Exception:
        model.close()
        raise
    return model


def free_version(model):
    """Free a model, and give its memory back to the system: glibc keeps what a model of another size left.

    Example:

        free_version(model)
    """
    model.close()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
    if trim:
        trim(ctypes.c_size_t(0))
