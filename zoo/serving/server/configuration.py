"""What there is to serve: models without a models.config, and what a config may say."""

import os

from zoo.serving.formats.folders import NAME, find_all, find_versions, is_a_model
from zoo.serving.formats.models_config import folder_of
from zoo.serving.formats.protos import model_server_config_pb2
from zoo.serving.server.errors import invalid


def discover_models(base):
    """Return a `ModelServerConfig` of every folder in a base directory that holds a version.

    Example:

        discover_models(Path("exports"))
    """
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.SetInParent()
    # Any name, and versions that may fail: TF Serving takes both. `model_folders` is stricter, because TF Serving
    # answers nothing before all of models.config is loaded.
    for folder in sorted(base.iterdir()):
        if folder.is_dir() and not folder.name.startswith(".") and find_versions(folder):
            config.model_config_list.config.add(name=folder.name, base_path=str(folder), model_platform="tensorflow")
    return config


def describe_empty(base):
    """Say why a base directory has nothing to serve.

    Returns:
        A warning, if a model may yet be published in it; None if it has versions, of which the log says more.

    Raises:
        ValueError: It is the folder of a model or of a version, where no server will ever find one.

    Example:

        describe_empty(Path("exports"))
    """
    is_a_version = (base / "saved_model.pb").is_file()
    if is_a_version or is_a_model(base):
        kind, around = ("version", base / ".." / "..") if is_a_version else ("model", base / "..")
        raise ValueError(
            f"`{base}` is the folder of one {kind}. Expected the base directory around it: "
            f"`zoo serve {os.path.normpath(around)}`."
        )
    return None if find_all(base) else f"no model found in `{base}`; publish one as {base}/<name>/<version>/"


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
        if "\0" in model.base_path:
            raise invalid(f"The base_path of model {model.name} holds a NUL. Received: {model.base_path!r}")
        if model.model_platform not in ("tensorflow", ""):
            raise invalid(f"Model {model.name} requests unsupported platform {model.model_platform}")
        if model.name in names:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
        for label in model.version_labels:
            if not NAME.fullmatch(label):
                raise invalid(f"Version label {label!r} of model {model.name} must be made of letters, digits and _")


def check_below(config, base):
    """Refuse a `ModelServerConfig` from elsewhere that names folders outside the base directory.

    A SavedModel is a program, which can read and write the files of whoever serves it. Those of the base directory
    were put there by its owner.

    Args:
        config: A `ModelServerConfig` that `check_models` has passed.
        base: Base directory.

    Raises:
        ServingError: A base_path is relative, or leads out of `base`, be it by `..` or by a symbolic link.
    """
    inside = base.resolve()
    for model in config.model_config_list.config:
        if not os.path.isabs(model.base_path):
            path = repr(model.base_path)
            raise invalid(f"Expected model {model.name} to have an absolute path or URI; got base_path()={path}")
        try:
            found = folder_of(base, model).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, links in a circle
            raise invalid(f"The base_path of model {model.name} cannot be followed: {error}") from None
        if not found.is_relative_to(inside):
            raise invalid(
                f"The base_path of model {model.name} must lie in the base directory {inside}, or in /models, which "
                f"stands for it. Received: {model.base_path!r}"
            )
