"""Write models as SavedModels that TF Serving runs: atomic, checked, numbered, with warm-up and model card."""

import errno
import json
import os
import re
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo.checks import check_kind
from zoo.files import already_exists, partial_folder, rename, write_text
from zoo.serving.checking.compare import TOLERANCE, difference
from zoo.serving.formats import warmup as warming
from zoo.serving.formats.folders import CONFIG_FILE, NAME, versions
from zoo.serving.formats.model_card import CARD_FILE
from zoo.serving.formats.models_config import read_config, write_config
from zoo.serving.loader import isolated
from zoo.serving.publishing.card import check_card, fill_card
from zoo.serving.publishing.runtimes import full_float32
from zoo.serving.publishing.tracing import describe, trace


def write(signatures, path, *, track, warmup=()):
    """Write a SavedModel from functions, completely or not at all.

    Only what the functions use is saved: their variables, not optimizers or networks that training alone needs.

    Args:
        signatures: `{name: (function, {input name: tf.TensorSpec})}` with a `serving_default`. A function takes its
            tensors by keyword and returns a dict of named tensors. Dimension 0 of each is the batch: None.
        path: Folder to make, such as `exports/wgan_gp/1`.
        track: List of the Keras models, layers, lookup tables or other trackables that the functions use.
        warmup: List of `(signature, {input name: array})` to run before the version takes traffic, batch first.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        FileExistsError: `path` exists.
        OSError: The disk is full or the folder cannot be written; nothing is left behind.
        TypeError, ValueError: A signature is not one TF Serving can run; the message lists every reason.

    Example:
        >>> generator = zoo.mlp_generator((2,), latent_dim=8)
        >>> spec = {"latents": tf.TensorSpec((None, 8), "float32")}
        >>> signatures = {"serving_default": (lambda latents: {"points": generator(latents)}, spec)}
        >>> write(signatures, "exports/ring/1", track=[generator]).as_posix()
        'exports/ring/1'
    """
    check_kind("signatures", signatures, dict, "a dict, such as `model.signatures()`")
    check_kind("path", path, (str, Path), "a folder to make, such as 'exports/wgan_gp/1'")
    check_kind("track", track, (list, tuple), "a list of models, layers or variables, such as [model]")
    path = Path(path)
    if path.exists():
        raise already_exists(path)
    functions = trace(signatures)
    requests = warming.complete(warmup, _described(functions)) if warmup else []
    with partial_folder(path.parent, path.name) as folder:
        _save(functions, folder, track)
        if requests:
            # Under the name that it has where TF Serving looks: <name>/<version>.
            warming.write_warmup(folder, path.absolute().parent.name, requests)
        rename(folder, path)
    return path


def publish(model, base, name, *, card, warmup=None, tolerance=TOLERANCE):
    """Publish a model as the next version in a base directory of TF Serving, and list it in `models.config`.

    Before the version appears, every signature runs on the warm-up inputs in TF Serving's C++ loader, and must equal
    the model's own functions. Two publishers at once get two versions.

    Args:
        model: Object whose `signatures()` returns what `write` takes. Its `warmup()`, if it has one, gives the default
            of `warmup`.
        base: Model base directory, such as `exports`.
        name: Name of the model: letters, digits and `_`.
        card: Entries for the model card, as JSON: data, command, figures, whatever a reader should know.
        warmup: List of `(signature, {input name: array})`, batch first. A signature without a request gets 2 rows of
            zeros (seeds: 0, 1).
        tolerance: Largest difference allowed between memory and export, absolute plus relative to each value.

    Returns:
        The path of the new version, `base/name/version`.

    Raises:
        ValueError: A bad name, card, warm-up, signature or models.config, or the export differs from the model.
        OSError: The disk is full or the folder cannot be written. Earlier versions stay as they are.

    Example:
        >>> model = zoo.WGAN(zoo.mlp_generator((2,)), zoo.mlp_critic((2,)))
        >>> publish(model, "exports", "wgan", card={"data": "ring"}).as_posix()
        'exports/wgan/1'

        publish(model, "exports", "wgan_gp", card={"data": "fashion_mnist", "figures": {"fid": 21.4}})
    """
    if not callable(getattr(model, "signatures", None)):
        raise ValueError(f"`model` must have `signatures()`, as Zoo's models have. Received: {type(model).__name__}.")
    check_kind("base", base, (str, Path), "a folder, such as 'exports'")
    check_kind("card", card, dict, "a dict of what a reader should know")
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise ValueError(f"A model's name is made of letters, digits and _, such as wgan_gp. Received: {name!r}.")
    read_config(Path(base) / CONFIG_FILE)  # one that does not parse is found before anything is written
    card = check_card(card)
    functions = trace(signatures := model.signatures())
    if warmup is None:
        warmup = model.warmup() if hasattr(model, "warmup") else []
    requests = warming.complete(warmup, _described(functions))
    parent = Path(base) / name
    with partial_folder(parent, "next") as folder:
        try:
            _save(functions, folder, [model])
            warming.write_warmup(folder, name, requests)
            described = _compare(signatures, folder, requests, tolerance)
            version = _take_version(folder, parent, fill_card(name, described, card))
        except tf.errors.OpError as error:
            raise _disk_error(folder, error) from None
    write_config(base)
    return version


def _described(functions):
    return {name: describe(function) for name, function in functions.items()}


def _save(functions, folder, track):
    module = tf.Module()
    module.variables_used = _used_variables(functions.values(), track)
    module.resources = _resources(track)
    options = tf.saved_model.SaveOptions(save_debug_info=False, experimental_custom_gradients=False)
    try:
        tf.saved_model.save(module, str(folder), signatures=functions, options=options)
    except (tf.errors.OpError, OSError) as error:
        raise _disk_error(folder, error) from None


def _used_variables(functions, track):
    used = {id(variable): variable for function in functions for variable in function.variables}
    for item in track:  # a variable mirrored over replicas is saved once, as the whole
        for variable in getattr(item, "variables", ()):
            whole = variable.value if isinstance(variable, keras.Variable) else variable
            parts = [id(part) for part in getattr(whole, "values", ())]
            if any(part in used for part in parts):
                used = {key: value for key, value in used.items() if key not in parts} | {id(whole): whole}
    return list(used.values())


def _resources(track):
    """Collect what functions use beside variables: lookup tables, of Keras layers, in a model's `tables`, or alone."""
    found = []
    for item in track:
        if isinstance(item, keras.Layer):
            tables = [getattr(layer, "lookup_table", None) for layer in item._flatten_layers()]
            tables += getattr(item, "tables", ())
            found += [table for table in tables if isinstance(table, tf.__internal__.tracking.Trackable)]
        elif isinstance(item, tf.__internal__.tracking.Trackable) and not isinstance(item, tf.Variable):
            found.append(item)
    return found


def _disk_error(folder, error):
    reason = re.sub(r"\{\{.*?\}\} |\[Op:.*?\]", "", getattr(error, "message", str(error))).strip()
    codes = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EACCES, errno.EROFS)
    code = next((code for code in codes if os.strerror(code) in reason), errno.EIO)
    return OSError(code, f"The export could not be written ({reason}); earlier versions are unchanged", str(folder))


def _compare(signatures, folder, requests, tolerance):
    """Run the requests in memory and in the native loader; return the export's own signatures if they agree."""
    described, results = isolated.run_all(folder, requests)
    for (name, inputs), result in zip(requests, results, strict=True):
        if isinstance(result, Exception):
            raise ValueError(f"Nothing was published: signature `{name}` fails in TF Serving's loader. {result}")
        function, specs = signatures[name]
        with full_float32():
            outputs = function(**{key: tf.constant(value, specs[key].dtype) for key, value in inputs.items()})
        for key, expected in outputs.items():
            problem = difference(np.asarray(expected), result[key], tolerance)
            if problem:
                raise ValueError(
                    f"Nothing was published: output `{key}` of signature `{name}` is not what the model gives in "
                    f"memory. {problem} Draw random numbers with stateless ops keyed on an input."
                )
    return described


def _take_version(folder, parent, card):
    """Rename to the next free number; where another publisher is faster, to the one after."""
    while True:
        card["version"] = max(versions(parent), default=0) + 1
        write_text(folder / CARD_FILE, json.dumps(card, indent=2) + "\n")
        try:
            rename(folder, target := parent / str(card["version"]))
            return target
        except FileExistsError:
            continue
