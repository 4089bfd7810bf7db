"""Read what to serve and how: models.config, batching.config, and versions on disk."""

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path

from google.protobuf import text_format

from zoo.serving.batching import batching_parameters
from zoo.serving.protos import model_server_config_pb2
from zoo.serving.server.errors import invalid


@dataclass(frozen=True)
class BatchingParameters:
    """TF Serving's `BatchingParameters`, with its defaults.

    Attributes:
        max_batch_size: Most rows in one run.
        batch_timeout_micros: How long the first request of a batch may wait for company, in microseconds.
        max_enqueued_batches: Longest queue of a signature, in batches; beyond it requests are refused.
        num_batch_threads: Batches that run at the same time.
        allowed_batch_sizes: Sizes that batches are padded to, in increasing order; the last is `max_batch_size`.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple = ()

    def __post_init__(self):
        """Refuse what TF Serving refuses."""
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "batch_timeout_micros" else 1
            if field.name != "allowed_batch_sizes" and value < least:
                raise ValueError(f"{field.name} must be at least {least}. Received: {value}.")
        sizes = self.allowed_batch_sizes
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[-1] != self.max_batch_size):
            raise ValueError(
                f"allowed_batch_sizes must go up and end in max_batch_size, {self.max_batch_size}. "
                f"Received: {list(sizes)}."
            )


def read_batching(path):
    """Read a `BatchingParameters` text protocol buffer.

    Args:
        path: File, such as `exports/batching.config`.

    Returns:
        `BatchingParameters`.

    Raises:
        ValueError: It does not parse, or has values or fields that cannot be used.

    Example:

        read_batching(Path("exports/batching.config")).max_batch_size  # 128
    """
    message = _parse(path, batching_parameters())
    values = {}
    for field, value in message.ListFields():
        if field.name in ("thread_pool_name", "pad_variable_length_inputs"):
            if value is True:
                raise ValueError(f"`{path}`: pad_variable_length_inputs is not offered by the development server.")
        elif field.name == "allowed_batch_sizes":
            values[field.name] = tuple(value)
        else:
            values[field.name] = value.value
    try:
        return BatchingParameters(**values)
    except ValueError as error:
        raise ValueError(f"`{path}`: {error}") from None


def read_models(path):
    """Read a `ModelServerConfig` text protocol buffer.

    Args:
        path: File, such as `exports/models.config`.

    Returns:
        `ModelServerConfig`.

    Raises:
        ValueError: It does not parse.

    Example:

        read_models(Path("exports/models.config")).model_config_list.config[0].name
    """
    return _parse(path, model_server_config_pb2.ModelServerConfig())


def discover_models(base):
    """Return a `ModelServerConfig` of every folder in a base directory that holds a version.

    Example:

        discover_models(Path("exports"))
    """
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.SetInParent()
    for folder in sorted(base.iterdir()):
        if folder.is_dir() and not folder.name.startswith(".") and versions_on_disk(folder):
            config.model_config_list.config.add(name=folder.name, base_path=str(folder), model_platform="tensorflow")
    return config


def check_models(config):
    """Refuse a `ModelServerConfig` that TF Serving would refuse.

    Raises:
        ServingError: It is no list, or has an entry without name or path, of another platform, or named twice, or
            with a label that is no word.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid("ServerModelConfig type not supported. Only ModelConfigList is currently supported")
    names = set()
    for model in config.model_config_list.config:
        if not model.name or not model.base_path:
            raise invalid(f"Illegal model config: it needs a name and a base_path. Received: {str(model)!r}")
        if model.model_platform not in ("tensorflow", ""):
            raise invalid(f"Model {model.name} requests unsupported platform {model.model_platform}")
        if model.name in names:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
        for label in model.version_labels:
            if not re.fullmatch(r"[A-Za-z0-9_]+", label):
                raise invalid(f"Version label {label!r} of model {model.name} must be made of letters, digits and _")


def base_path(model, base):
    """Return the folder of a model's versions: as written if it exists, else that of its name here.

    `models.config` names paths as they are in TF Serving's container, where the base directory is /models.

    Args:
        model: `ModelConfig`.
        base: The base directory on this machine.
    """
    path = Path(model.base_path)
    return path if path.is_absolute() and path.is_dir() else Path(base) / path.name


def versions_on_disk(folder):
    """Return `{number: folder}` of a model's version folders.

    Example:

        versions_on_disk(Path("exports/wgan_gp"))  # {1: Path("exports/wgan_gp/1")}
    """
    with os.scandir(folder) as entries:
        return {int(e.name): Path(e.path) for e in entries if re.fullmatch(r"[0-9]{1,18}", e.name) and e.is_dir()}


def wanted_versions(policy, numbers):
    """Return the versions that a `ServableVersionPolicy` asks for, of those there are.

    Args:
        policy: `FileSystemStoragePathSourceConfig.ServableVersionPolicy`; empty means the latest one.
        numbers: The numbers on disk.

    Returns:
        Set of numbers.

    Example:

        wanted_versions(model.model_version_policy, {1, 2, 3})  # {3}
    """
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return set(numbers)
    if choice == "specific":
        return set(numbers) & set(policy.specific.versions)
    return set(sorted(numbers)[-max(1, policy.latest.num_versions) :])


def _parse(path, message):
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        kind = message.DESCRIPTOR.name
        raise ValueError(f"`{path}` is no text protocol buffer of {kind}: {error}") from None
