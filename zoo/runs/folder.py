"""The run folder: what stands in it, and how its files are written.

config.json  versions.json  baselines.json  history.jsonl  metrics.json  model.keras
checkpoints/  logs/ (TensorBoard)  samples/  figures/
"""

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

from zoo.files import write_text
from zoo.runs.config import flag_of, free_options, judging_options


def open_folder(name, config):
    """The run folder, made if need be, as the folder to export to.

    Args:
        name: Name of the recipe.
        config: `RunConfig`.

    Returns:
        `pathlib.Path`.

    Raises:
        ValueError: If a folder cannot be made, or holds a run whose configuration differs in what shapes the result.
    """
    folder = home_of(name, config)
    make_folder("--out", folder)
    if config.exports:
        make_folder("--exports", Path(config.exports))
    stored = read_json(folder / "config.json")
    if stored:
        check_same_run(folder, stored, name, config)
    return folder


def check_same_run(folder, stored, name, config):
    """Refuses to continue a run of another recipe, of other options, or with options that this version has not.

    Args:
        folder: Run folder, for the message.
        stored: Content of its config.json.
        name: Name of the recipe.
        config: `RunConfig`.

    Raises:
        ValueError: If it is another run.
    """
    wanted, start = described(name, config), f"The run folder {folder} holds a run of another"
    # Options that are newer than the run stood where they stand when nothing is said.
    stored = {**described(name, type(config)()), **stored}
    if stored["recipe"] != name:
        raise ValueError(
            f"{start} recipe, which this command would mix up. Different: recipe: {stored['recipe']!r} there, "
            f"{name!r} now. Give another `--out`."
        )
    unknown = [key for key in sorted({*stored} - {*wanted}) if stored[key] is not None]
    if unknown:
        listed = ", ".join(f"`{flag_of(key)}` ({stored[key]!r} there)" for key in unknown)
        raise ValueError(
            f"{start} version of Zoo, with options that this one does not have: {listed}. Go on with that "
            "version, of which versions.json tells, or give another `--out`."
        )
    differing = [
        f"`{flag_of(key)}`: {stored[key]!r} there, {wanted[key]!r} now"
        for key in sorted({*wanted} - free_options(type(config)))
        if stored[key] != wanted[key]
    ]
    if differing:
        raise ValueError(
            f"{start} configuration, which this command would mix up. Different: {'; '.join(differing)}. "
            "Give another `--out`, or the stored options."
        )


def judging_of(config, stored=None):
    """How a run is judged, {option as typed: value}: the options that shape what evaluations measure.

    Args:
        config: `RunConfig`.
        stored: Content of a config.json, whose values are taken; None for those of `config`.
    """
    values = described("", config) if stored is None else {**described("", type(config)()), **stored}
    return {flag_of(name): values[name] for name in sorted(judging_options(type(config)))}


def describe(folder, name, config):
    """Writes down what runs in a folder, and with which versions."""
    write_json(folder / "config.json", described(name, config))
    write_json(folder / "versions.json", versions())


def described(name, config):
    """The content of config.json."""
    return {"recipe": name, **json.loads(json.dumps(asdict(config), default=str))}


def make_folder(option, path):
    """Makes a folder now, so that a wrong path is found before hours of training.

    Args:
        option: What the message calls it, such as "--out".
        path: `pathlib.Path`.

    Raises:
        ValueError: If it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(path, os.W_OK) else "it cannot be written to"
    except OSError as error:
        reason = error.strerror
    if reason:
        raise ValueError(f"`{option}` must be a folder that can be made and written to. Received: {path} ({reason}).")


def home_of(name, config):
    """Where the run lives: `out`, or runs/<recipe>-<data>."""
    sets = [config.data] if isinstance(config.data, str) else config.data
    return Path(config.out or Path("runs") / "-".join([name, *(Path(one).name for one in sets)]))


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
    """The content of a JSON file with an object, or an empty dict where there is no file.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        content, reason = json.loads(path.read_text()) if path.exists() else {}, None
    except (ValueError, RecursionError) as error:
        content, reason = None, error
    if not isinstance(content, dict):
        reason = reason or f"it must hold an object, {{...}}. Received: {repr(content)[:40]}"
        raise ValueError(f"{path} is damaged: {reason}. Restore it, or give another `--out`.")
    return content


def read_baselines(folder):
    """The content of baselines.json, {who: {metric: number}}.

    Raises:
        ValueError: If it is damaged.
    """
    path = folder / "baselines.json"
    found = read_json(path)
    wrong = [name for name, metrics in found.items() if not isinstance(metrics, dict)]
    if wrong:
        raise ValueError(f"{path} is damaged: {wrong[0]!r} must be an object, {{...}}. Remove it: it is made again.")
    return found
