"""Check the folders and files around the versions: what TF Serving would find, and what it would pass over."""

from collections import Counter
from pathlib import Path

from zoo.serving.formats.batching_config import BATCHING_FILE, read_batching
from zoo.serving.formats.folders import (
    CONFIG_FILE,
    NAME,
    find_models,
    find_versions,
    is_a_model,
    is_a_version,
    is_served,
    is_version,
    versions,
)
from zoo.serving.formats.models_config import folder_of, is_elsewhere, read_config, wanted_versions
from zoo.serving.formats.protos import model_server_config_pb2


def served_versions(path):
    """Return what a server of a base directory would load: by `models.config`, or each model's newest version.

    Args:
        path: Base directory, a folder of a model, or a version, which counts as loaded.

    Returns:
        List of `(name under which it is served, version folder)`.

    Raises:
        FileNotFoundError: `path` is no folder.
        ValueError: `models.config` does not parse.

    Example:

        served_versions(Path("exports"))  # [("wgan_gp", PosixPath("exports/wgan_gp/2"))]
    """
    if not path.is_dir():
        raise FileNotFoundError(f"There is no folder `{path}`. Expected a base directory, a model or a version.")
    path = path.resolve()
    if is_a_version(path):
        names = [name for name, folder, _ in _entries(path.parents[1]) if folder == path.parent]
        return [(name, path) for name in names or [path.parent.name]]
    entries = _entries(path.parent) if is_a_model(path) else _entries(path)
    return [
        (name, version)
        for name, folder, policy in entries
        if folder.is_dir() and (folder == path or not is_a_model(path))
        for version in find_versions(folder)
        if int(version.name) in wanted_versions(policy, versions(folder))
    ]


def model_problems(folder):
    """Check what lies in a model's folder beside its versions.

    Args:
        folder: Model folder, such as `exports/wgan_gp`.

    Returns:
        List of sentences; empty if all is well.

    Example:

        model_problems(Path("exports/wgan_gp"))
    """
    name, problems, parts = folder.resolve().name, [], ()
    if (folder / "saved_model.pb").is_file():
        parts = ("assets", "assets.extra", "variables")
        problems.append(
            f"`{name}` holds a saved_model.pb itself, where TF Serving looks for folders named by an integer; move it "
            f"to `{name}/1`."
        )
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in parts:
            continue  # a publisher's half-written version, or part of the graph here
        if path.is_dir() and not is_version(path.name):
            problems.append(
                f"TF Serving passes over `{path.name}` in silence, because it is not named by an integer; rename or "
                "remove it."
            )
        elif is_version(path.name) and not path.is_dir():
            problems.append(f"TF Serving takes `{path.name}` for a version, but it is a file; rename or remove it.")
    for number, count in Counter(versions(folder)).items():
        if count > 1:
            problems.append(f"Several folders are version {number}, of which TF Serving loads any one; keep one.")
    if not is_served(folder):
        problems.append(f'"No versions of servable {name} found under base path", TF Serving would say; publish one.')
    return problems


def base_problems(base):
    """Check the files of a base directory: `models.config` against the folders, and `batching.config`.

    Args:
        base: Model base directory, such as `exports`.

    Returns:
        List of sentences; empty if all is well.

    Example:

        base_problems(Path("exports"))
    """
    problems = []
    if not find_models(base):
        problems.append(f"There is no model in `{base}`, so TF Serving would have nothing to serve; publish one.")
    if (base / BATCHING_FILE).is_file():
        try:
            read_batching(base / BATCHING_FILE)
        except ValueError as error:
            problems.append(str(error))
    if not (base / CONFIG_FILE).is_file():
        return [
            *problems,
            f"There is no {CONFIG_FILE}, so TF Serving does not start on this folder. `zoo.serving.publish(model, "
            f"{str(base)!r}, name, card={{}})` writes a version and lists it there; `model.export` writes a version "
            f"alone: `zoo check {base / 'name'}` checks one model, and TF Serving's `--model_base_path` serves it.",
        ]
    try:
        models = read_config(base / CONFIG_FILE).model_config_list.config
    except ValueError as error:
        return [*problems, f"TF Serving does not start: {error}"]
    for model in models:
        problems += _entry_problems(base, model)
    for name, count in Counter(model.name for model in models).items():
        if count > 1:
            problems.append(
                f"{CONFIG_FILE} lists the model `{name}` {count} times, which TF Serving refuses; keep one."
            )
    listed = {folder_of(base, model) for model in models}
    for folder in find_models(base):
        if not NAME.fullmatch(folder.name):
            problems.append(
                f"`{folder.name}` cannot be served: a model's name is made of letters, digits and _; rename the folder."
            )
        elif is_served(folder) and folder.resolve() not in listed:
            problems.append(
                f'{CONFIG_FILE} does not list `{folder.name}`: "Servable not found for request: Latest({folder.name})"'
                "; add it, or publish it again."
            )
    return problems


def _entry_problems(base, model):
    """One entry of models.config: its name, its platform, its versions and its labels."""
    entry, folder, problems = f"The entry `{model.name}` of {CONFIG_FILE}", folder_of(base, model), []
    if not NAME.fullmatch(model.name):
        problems.append(f"{entry} has a name that is not made of letters, digits and _; rename it.")
    if model.model_platform != "tensorflow" and not model.model_type:
        problems.append(f'{entry} has the model_platform {model.model_platform!r}; TF Serving needs "tensorflow".')
    if not Path(model.base_path).is_absolute() and "://" not in model.base_path:
        problems.append(
            f'{entry} is refused by TF Serving: "Expected model {model.name} to have an absolute path or URI; got '
            f'base_path()={model.base_path}".'
        )
    for label in model.version_labels:
        if not NAME.fullmatch(label):
            problems.append(f"{entry} has the label {label!r}, which no URL can name; use letters, digits and _.")
    if not folder.is_dir() and is_elsewhere(base, model):
        return problems  # on the server's machine only
    there = set(versions(folder)) if folder.is_dir() else set()
    if not there:
        problems.append(
            f'{entry} has no version: "No versions of servable {model.name} found under base path {model.base_path}"; '
            "publish one or remove the entry."
        )
        return problems
    loaded = wanted_versions(model.model_version_policy, there)
    for number in sorted(set(model.model_version_policy.specific.versions) - there):
        problems.append(
            f"{entry} asks for version {number}, which TF Serving would only warn about: it was not found in the file "
            f"system; there are: {_listed(there)}."
        )
    for label, number in sorted(model.version_labels.items()):
        if number not in loaded:
            problems.append(
                f'{entry} labels version {number} `{label}`, but TF Serving serves {_listed(loaded)}: "Request '
                f"to assign label to version {number} of model {model.name}, which is not currently available for "
                'inference"; move the label or change the policy.'
            )
    return problems


def _entries(base):
    """`(name, folder, version policy)` of each entry of models.config, and of folders where there is none."""
    if not (base / CONFIG_FILE).is_file():
        empty = model_server_config_pb2.ModelConfig().model_version_policy
        return [(folder.name, folder, empty) for folder in find_models(base)]
    models = read_config(base / CONFIG_FILE).model_config_list.config
    return [(model.name, folder_of(base, model), model.model_version_policy) for model in models]


def _listed(numbers):
    return ", ".join(str(number) for number in sorted(numbers)) or "none"
