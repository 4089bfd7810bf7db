"""The run folder: what stands in it, and how its files are written.

config.json  versions.json  baselines.json  history.jsonl  metrics.json  model.keras
checkpoints/  logs/ (TensorBoard)  samples/  figures/
"""

import json
import platform
from dataclasses import asdict
from pathlib import Path

from zoo.files import write_text
from zoo.runs.config import FREE_OPTIONS


def open_folder(name, config):
    """The run folder, made if need be.

    Args:
        name: Name of the recipe.
        config: `RunConfig`.

    Returns:
        `pathlib.Path`.

    Raises:
        ValueError: If the folder holds a run whose configuration differs in what shapes the result.
    """
    folder = home_of(name, config)
    wanted = {"recipe": name, **json.loads(json.dumps(asdict(config), default=str))}
    path = folder / "config.json"
    if path.exists():
        stored = json.loads(path.read_text())
        differing = [
            f"{key}: {stored.get(key)!r} there, {wanted.get(key)!r} now"
            for key in sorted({*stored, *wanted} - FREE_OPTIONS)
            if stored.get(key) != wanted.get(key)
        ]
        if differing:
            raise ValueError(
                f"The run folder {folder} holds a run of another configuration, which this command would mix up. "
                f"Different: {'; '.join(differing)}. Give another `--out`, or the stored options."
            )
    write_json(path, wanted)
    write_json(folder / "versions.json", versions())
    return folder


def home_of(name, config):
    """Where the run lives: `out`, or runs/<recipe>-<data>."""
    return config.out or Path("runs") / f"{name}-{Path(config.data).name}"


def versions():
    """Versions of what a result depends on."""
    import keras
    import numpy
    import tensorflow

    import zoo

    packages = {module.__name__: module.__version__ for module in (zoo, tensorflow, keras, numpy)}
    return {"python": platform.python_version(), **packages}


def restore(model, checkpoint):
    """Loads weights, slots and step count into `model`.

    Raises:
        ValueError: If the file is damaged or of other networks.
    """
    try:
        model.load_weights(checkpoint)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"The checkpoint {checkpoint} cannot be loaded into this model: {error}. It is kept as it is. "
            "Give another `--out` to start anew, or restore the file."
        ) from error


def write_json(path, content):
    """Writes a JSON file beside an older one, then in its place; its folder is made."""
    write_text(path, json.dumps(content, indent=2, default=str) + "\n")


def read_json(path):
    """The content of a JSON file, or an empty dict where there is none."""
    return json.loads(path.read_text()) if path.exists() else {}
