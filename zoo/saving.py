"""Model files: the classes that they may name, and how one is loaded without naming any.

Keras finds a class of a file by its registered name, which it knows once the module of the class is imported. So a
model class brings with it all that its files may hold besides (`register`), and `load` brings what a file does hold.
"""

import functools
import importlib
import json
import re
import zipfile
import zlib
from pathlib import Path

_PACKAGE = "zoo"
_REGISTERED = rf'^@keras\.saving\.register_keras_serializable\("{_PACKAGE}"\)\n(?:class|def) (\w+)'
# What Keras imports by itself, or finds without importing.
_KNOWN_TO_KERAS = {"keras", "keras_cv", "keras_hub", "keras_nlp", "builtins"}
FILE_OF_A_RUN = "model.keras"


@functools.cache
def homes():
    """{name: module} of all that is registered with Keras, found by reading the files, since importing costs more."""
    folder, found = Path(__file__).parent, {}
    for path in sorted(folder.rglob("*.py")):
        for name in re.findall(_REGISTERED, path.read_text(encoding="utf-8"), re.MULTILINE):
            found[name] = ".".join([_PACKAGE, *path.relative_to(folder).with_suffix("").parts])
    return found


def register():
    """Has Keras know all that the file of a model may hold: layers, networks, optimizers, schedules, vocabularies.

    Model classes are left out, of which a file holds its own, and the VAE's brings TensorFlow Probability.
    """
    for module in sorted({*homes().values()}):
        if not module.startswith(f"{_PACKAGE}.models."):
            importlib.import_module(module)


def load(path, *, custom_objects=None, compile=True, safe_mode=True):
    """A model, or a network, from its `.keras` file; no class has to be imported before.

    Args:
        path: A file that `model.save` wrote, or the folder of a finished run, which holds one.
        custom_objects: {name: class or function} of what the file holds that is neither Keras's nor Zoo's, where the
            module that registers it is not imported.
        compile: Whether it also gets its optimizers, to go on where it stopped.
        safe_mode: False to allow lambdas, which can run any code: only for files that you trust.

    Returns:
        The `keras.Model`.

    Raises:
        FileNotFoundError: If there is no such file, or no model in the folder.
        ValueError: If it is no `.keras` file, is damaged, or names a class or function that is not known here.

    Example:
        >>> model = zoo.WGAN(zoo.mlp_generator((2,)), zoo.mlp_critic((2,)))
        >>> model.save("ring.keras")
        >>> again = load("ring.keras")
        >>> np.array_equal(again.generate(16, seed=0), model.generate(16, seed=0))
        True

        model = zoo.load("runs/wgan_gp")
    """
    path = _file_at(Path(path))
    named, custom_objects = _named_in(_config_of(path)), custom_objects or {}
    for package, _, name in (registered.rpartition(">") for registered in named):
        if package == _PACKAGE and name in homes():
            importlib.import_module(homes()[name])
    import keras

    # Also by the bare name of what is registered in a package, which Keras does not look for.
    bare = {
        name: custom_objects[name.rpartition(">")[2]] for name in named if name.rpartition(">")[2] in custom_objects
    }
    custom_objects = {**bare, **custom_objects}
    unknown = {
        name: module
        for name, module in named.items()
        if keras.saving.get_registered_object(name, custom_objects) is None
    }
    if unknown:
        listed = ", ".join(f"{name!r} of {module}" for name, module in unknown.items())
        advice = (
            "They are of another version of Zoo: load it with that."
            if all(module.partition(".")[0] == _PACKAGE for module in unknown.values())
            else "Import the module that defines and registers it first, or give "
            f"`custom_objects={{{next(iter(unknown))!r}: ...}}`."
        )
        raise ValueError(f"{path} holds what is not known here: {listed}. {advice}")
    return keras.models.load_model(path, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode)


def _file_at(path):
    """The file itself, or the model of a run folder."""
    if not path.exists():
        near = sorted(one.name for one in path.parent.glob("*.keras"))[:5] if path.parent.is_dir() else []
        beside = f" Beside it: {', '.join(near)}." if near else ""
        raise FileNotFoundError(f"There is no {path}. Expected a .keras file, or the folder of a finished run.{beside}")
    if not path.is_dir():
        return path
    file = path / FILE_OF_A_RUN
    if file.is_file():
        return file
    if (path / "saved_model.pb").exists() or any(path.glob("*/saved_model.pb")):
        advice = "It is an export: `zoo.serving.SavedModel` runs it."
    elif (path / "checkpoints").is_dir():
        advice = "It is a run that has not come to its end: give the command that began it again."
    else:
        inside = sorted(str(one.relative_to(path)) for one in path.glob("**/*.keras"))[:5]
        advice = f"Name one of these: {', '.join(inside)}." if inside else "`model.save` writes such a file."
    raise FileNotFoundError(f"The folder {path} holds no {FILE_OF_A_RUN}, which a finished run has. {advice}")


def _config_of(path):
    """What the file says about the model, as a dict."""
    advice = "Give what `model.save` wrote."
    if path.name.endswith(".weights.h5"):
        advice = "It holds weights alone: build the model, call its `compile`, and then `model.load_weights`."
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        damaged = " It is damaged, or was not copied to its end." if path.suffix == ".keras" else ""
        raise ValueError(f"A model is loaded from a .keras file, a zip archive. Received: {path}.{damaged} {advice}")
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    except (KeyError, ValueError, RecursionError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged, or no file of Keras 3: {error}. {advice}") from error


def _named_in(config):
    """{registered name: module} of the classes and functions in a configuration that are not Keras's own."""
    found, left = {}, [config]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            module, name = one.get("module"), one.get("registered_name")
            if one.get("class_name") == "function":
                name = one.get("config")
            if isinstance(module, str) and isinstance(name, str):
                if module.partition(".")[0] not in _KNOWN_TO_KERAS:
                    found.setdefault(name, module)
        left.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
    return found
