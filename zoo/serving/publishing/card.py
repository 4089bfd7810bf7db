"""Make the model card of a version: the caller's entries as plain JSON, and what publishing knows itself."""

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo.serving.formats.signatures import as_json

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


def _plain(value):
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"Received: {type(value).__name__}")
