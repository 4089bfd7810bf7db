"""The model card: what a version is, kept inside it as JSON, where TF Serving passes over it."""

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

CARD_FILE = "assets.extra/model_card.json"
_OWN_KEYS = ("name", "version", "created", "signatures", "versions")


def check_card(card):
    """Return a copy of the caller's entries as plain JSON.

    Args:
        card: Dict of JSON values; NumPy numbers and arrays, and paths, are converted.

    Returns:
        The dict of plain values.

    Raises:
        ValueError: An entry is no JSON, is not finite, or has a name that the card fills in itself.

    Example:

        check_card({"data": "fashion_mnist", "figures": {"fid": np.float32(21.4)}})
    """
    taken = sorted(set(card) & set(_OWN_KEYS))
    if taken:
        raise ValueError(f"The model card's entries {', '.join(taken)} are filled in by publish. Leave them out.")
    try:
        return json.loads(json.dumps(card, allow_nan=False, default=_plain))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The model card must be JSON: dicts, lists, text and finite numbers. {error}. "
            "Give None for a figure that does not exist."
        ) from None


def fill_card(name, signatures, card):
    """Return a whole card: name, time, signatures and library versions, then the caller's entries.

    Args:
        name: Name of the model.
        signatures: As `zoo.serving.SavedModel.signatures`, read back from what was written.
        card: The caller's entries, checked.

    Returns:
        A dict; its `version` is None until a number is taken.

    Example:

        fill_card("wgan_gp", signatures, {"data": "fashion_mnist"})
    """
    import keras
    import tensorflow as tf

    return {
        "name": name,
        "version": None,  # filled in when the number is taken
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "signatures": as_json(signatures),
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "zoo": getattr(sys.modules.get("zoo"), "__version__", "unknown"),
        },
        **card,
    }


def load_card(path):
    """Read the model card of a version.

    Args:
        path: Version folder.

    Returns:
        The card, a dict.

    Raises:
        ValueError: There is no card, or it is no JSON object.

    Example:

        load_card(Path("exports/wgan_gp/1"))["figures"]
    """
    try:
        card = json.loads((path / CARD_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"There is no model card {CARD_FILE}, so nobody can tell what TF Serving serves here; zoo.serving.publish "
            "writes one."
        ) from None
    except ValueError as error:
        raise ValueError(f"The model card is no JSON: {error}; zoo.serving.publish writes it.") from None
    if not isinstance(card, dict):
        raise ValueError(f"The model card must be a JSON object. Received: {type(card).__name__}.")
    return card


def read_card(path):
    """Return the model card of a version folder, or an empty dict if it has none that can be read.

    Example:

        read_card(Path("exports/wgan_gp/1"))["figures"]
    """
    try:
        return load_card(path)
    except (OSError, ValueError):
        return {}


def card_problems(path, signatures):
    """Compare the model card of a version with its folder and with what GetModelMetadata answers for it.

    Args:
        path: Version folder.
        signatures: As `zoo.serving.SavedModel.signatures`.

    Returns:
        List of sentences; empty if all agree. A version without a card, as `model.export` writes it, is fine.

    Example:

        card_problems(Path("exports/wgan_gp/1"), signatures)
    """
    if not (path / CARD_FILE).exists():
        return []
    try:
        card = load_card(path)
    except ValueError as error:
        return [str(error)]
    folder, problems = path.resolve(), []
    if card.get("name") != folder.parent.name:
        problems.append(
            f"The model card says the name {card.get('name')!r}, but TF Serving finds the version in the folder of "
            f"`{folder.parent.name}`; publish it under that name."
        )
    if str(card.get("version")) != (folder.name.lstrip("0") or "0"):
        problems.append(
            f"The model card says version {card.get('version')!r}, but TF Serving serves it as version {folder.name}; "
            "publish it instead of copying it."
        )
    return problems + signature_differences(card.get("signatures"), signatures, "The model card", "the graph")


def signature_differences(said, signatures, source, other):
    """Compare signatures of a model card with real ones.

    Args:
        said: The card's `signatures`.
        signatures: As `zoo.serving.SavedModel.signatures`.
        source: Who says the former, with a capital.
        other: What has the latter.

    Returns:
        List of sentences, one per tensor.

    Example:

        signature_differences(card["signatures"], signatures, "The model card", "GetModelMetadata")
    """
    said, real = _flat(said), _flat(as_json(signatures))
    if said is None:
        return [f"{source} has no `signatures` of the form {{name: {{inputs: ..., outputs: ...}}}}; publish it again."]
    return [
        f"{source} says {said.get(key, 'nothing')} of {key[1][:-1]} `{key[2]}` of signature `{key[0]}`, but {other} "
        f"has {real.get(key, 'no such tensor')}; publish the version again."
        for key in sorted(said.keys() | real.keys())
        if said.get(key) != real.get(key)
    ]


def as_json(signatures):
    """Return signatures in the form of the card: plain dicts and lists.

    Example:

        as_json({"sample": {"inputs": {"seed": ("int64", (None,))}, "outputs": {}}})
    """
    return {
        key: {
            side: {
                tensor: {"dtype": dtype, "shape": None if shape is None else list(shape)}
                for tensor, (dtype, shape) in tensors.items()
            }
            for side, tensors in sides.items()
        }
        for key, sides in signatures.items()
    }


def _flat(signatures):
    """`{(signature, side, tensor): "dtype shape"}`, or None where the form is another."""
    try:
        return {
            (name, side, tensor): f"{value['dtype']} {value['shape']}"
            for name, sides in signatures.items()
            for side, tensors in sides.items()
            for tensor, value in tensors.items()
        }
    except (AttributeError, KeyError, TypeError):
        return None


def _plain(value):
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"Received: {type(value).__name__}")
