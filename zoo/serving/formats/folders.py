"""Folders of exports: what counts as a version, as a model and as a base directory of models."""

import re
from pathlib import Path

CONFIG_FILE = "models.config"
NAME = re.compile(r"[A-Za-z0-9_]+")  # of a model


def is_version(name):
    """Return whether TF Serving takes a name for a version: an integer of 64 bits.

    Example:

        is_version("3"), is_version("latest")  # (True, False)
    """
    return re.fullmatch(r"[0-9]+", name) is not None and int(name) < 2**63


def versions(folder):
    """Return the numbers taken in a model's folder, in order.

    Example:

        versions(Path("exports/wgan_gp"))  # [1, 2, 3]
    """
    return sorted(int(path.name) for path in folder.iterdir() if is_version(path.name))


def find_versions(folder):
    """Return the version folders of a model, in order.

    Example:

        find_versions(Path("exports/wgan_gp"))  # [PosixPath("exports/wgan_gp/1")]
    """
    found = [path for path in folder.iterdir() if is_version(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: (int(path.name), path.name))


def is_served(folder):
    """Return whether a folder holds a version.

    Example:

        is_served(Path("exports/wgan_gp"))
    """
    return folder.is_dir() and any(is_version(p.parent.name) for p in folder.glob("*/saved_model.pb"))


def model_folders(base):
    """Return the folders of a base directory that hold a version and have a name TF Serving's paths can carry.

    Example:

        model_folders(Path("exports"))  # [PosixPath("exports/wgan_gp")]
    """
    return [folder for folder in sorted(base.iterdir()) if NAME.fullmatch(folder.name) and is_served(folder)]


def find_models(base):
    """Return the folders of a base directory that were meant as models: those with a graph, one or two levels down.

    Example:

        find_models(Path("exports"))  # [PosixPath("exports/wgan_gp")]
    """
    graphs = [*base.glob("*/saved_model.pb"), *base.glob("*/*/saved_model.pb")]
    parts = [graph.relative_to(base).parts for graph in graphs]
    names = {names[0] for names in parts if not any(name.startswith(".") for name in names)}
    return [base / name for name in sorted(names)]


def is_a_version(path):
    """Return whether a folder is a version, or is named as one and holds none.

    Example:

        is_a_version(Path("exports/wgan_gp/1"))
    """
    named = is_version(path.resolve().name) and path.is_dir() and not find_versions(path)
    return named or (path / "saved_model.pb").is_file()


def is_a_model(path):
    """Return whether a folder is a model's: it holds versions, or nothing but graphs in folders of other names.

    Example:

        is_a_model(Path("exports/wgan_gp"))
    """
    if any(is_a_version(version) for version in find_versions(path)):
        return True
    deeper = any(path.glob("*/*/saved_model.pb")) or (path / CONFIG_FILE).is_file()
    return any(path.glob("*/saved_model.pb")) and not deeper


def find_all(path):
    """Return the version folders below a base directory or a model's folder, or the version itself.

    Example:

        find_all("exports")  # [PosixPath("exports/wgan_gp/1"), PosixPath("exports/wgan_gp/2")]
    """
    path = Path(path)
    if is_a_version(path):
        return [path]
    models = [path] if is_a_model(path) else find_models(path)
    return [version for model in models for version in find_versions(model)]
