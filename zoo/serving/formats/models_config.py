"""The `models.config` of a model base directory, which lists its models for TF Serving."""

import os
from pathlib import Path

from google.protobuf import text_format

from zoo.files import locked, write_text
from zoo.serving.formats.folders import CONFIG_FILE, is_served, model_folders
from zoo.serving.formats.protos import model_server_config_pb2

MOUNT = "/models"  # where the server sees the base directory
_HEADER = "# Kept up to date by zoo.serving.publish: policies, labels and other base paths stay, comments do not.\n"


def read_config(path):
    """Read a `models.config`.

    Args:
        path: `Path` of the file.

    Returns:
        A `ModelServerConfig`; empty if there is no such file.

    Raises:
        ValueError: The file is no `ModelServerConfig` with a `model_config_list`.

    Example:

        [model.name for model in read_config(Path("exports/models.config")).model_config_list.config]
    """
    config = model_server_config_pb2.ModelServerConfig()
    if not path.is_file():
        return config
    try:
        text_format.Parse(path.read_text(encoding="utf-8-sig"), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"`{path}` does not parse as the ModelServerConfig of TF Serving: {error}. Correct it, or remove it to "
            "have it written anew."
        ) from None
    if config.WhichOneof("config") == "custom_model_config":
        raise ValueError(f"`{path}` holds a custom_model_config. Expected: a model_config_list.")
    return config


def write_config(base):
    """Bring `models.config` of a base directory up to date: every model folder that holds a version.

    Entries that are there already stay as they are, with their version policies, labels and base paths. A model of
    this base directory without a version is left out, because TF Serving waits for it before it answers anything.

    Args:
        base: Model base directory, such as `exports`; it is mounted at /models.

    Returns:
        The path of the file, which is not touched if nothing changes.

    Raises:
        ValueError: The file that is there does not parse; it is left as it is.
        OSError: The file cannot be written.

    Example:

        write_config("exports")
    """
    base = Path(base)
    path = base / CONFIG_FILE
    with locked(base):
        old = read_config(path)
        config = model_server_config_pb2.ModelServerConfig()
        config.CopyFrom(old)
        models = config.model_config_list.config
        kept = [model for model in models if is_elsewhere(base, model) or is_served(folder_of(base, model))]
        taken = {model.name for model in kept} | {folder_of(base, model) for model in kept}
        new = [folder for folder in model_folders(base) if not {folder.resolve(), folder.name} & taken]
        new = [
            model_server_config_pb2.ModelConfig(
                name=folder.name, base_path=f"{MOUNT}/{folder.name}", model_platform="tensorflow"
            )
            for folder in new
        ]
        config.model_config_list.SetInParent()
        del models[:]
        models.extend([*kept, *new])
        if config != old or not path.is_file():
            _replace(path, _HEADER + text_format.MessageToString(config))
    return path


def folder_of(base, model):
    """Return the folder on this machine of an entry of `models.config`.

    Example:

        folder_of(Path("/home/me/exports"), model)  # /home/me/exports/wgan_gp, for the base path /models/wgan_gp
    """
    path = Path(os.path.normpath(model.base_path))  # `..` leaves /models too
    return base.resolve() / path.relative_to(MOUNT) if path.is_relative_to(MOUNT) else path


def is_elsewhere(base, model):
    """Return whether an entry of `models.config` lies outside the base directory, which is mounted at /models.

    Example:

        is_elsewhere(Path("exports"), model)
    """
    return not folder_of(base, model).is_relative_to(base.resolve())


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


def _replace(path, text):
    try:
        write_text(path, text)
    except OSError as error:
        raise OSError(
            error.errno, f"Cannot write `{path}` ({error.strerror}), so TF Serving hears of no new models"
        ) from None
