"""Versions in a model base directory, and the `models.config` that lists its models for TF Serving."""

import re
from pathlib import Path

from zoo.serving.atomic import locked, write_text

CONFIG_FILE = "models.config"


def write_config(base):
    """Rewrite `models.config` of a base directory: every model folder that holds a version.

    A model without a version is left out, because TF Serving waits for it before it answers anything.

    Args:
        base: Model base directory, such as `exports`; it is mounted at /models.

    Returns:
        The path of the file.

    Example:

        write_config("exports")
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    base = Path(base)
    with locked(base):
        config = model_server_config_pb2.ModelServerConfig()
        config.model_config_list.SetInParent()
        for folder in sorted(base.iterdir()):
            if folder.is_dir() and re.fullmatch(r"[A-Za-z0-9_]+", folder.name) and _is_served(folder):
                config.model_config_list.config.add(
                    name=folder.name, base_path=f"/models/{folder.name}", model_platform="tensorflow"
                )
        write_text(base / CONFIG_FILE, "# Written by zoo.serving.publish.\n" + text_format.MessageToString(config))
    return base / CONFIG_FILE


def versions(folder):
    """Return the numbers taken in a model's folder, in order.

    Example:

        versions(Path("exports/wgan_gp"))  # [1, 2, 3]
    """
    return sorted(int(path.name) for path in folder.iterdir() if re.fullmatch(r"[0-9]+", path.name))


def _is_served(folder):
    return any((folder / path.name / "saved_model.pb").is_file() for path in folder.iterdir() if path.name.isdecimal())
