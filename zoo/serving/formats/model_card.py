"""The model card: what a version is, kept inside it as JSON, where TF Serving passes over it."""

import json

CARD_FILE = "assets.extra/model_card.json"


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
        card = json.loads((path / CARD_FILE).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ValueError(
            f"There is no model card {CARD_FILE}, so nobody can tell what TF Serving serves here; zoo.serving.publish "
            "writes one."
        ) from None
    except (ValueError, RecursionError) as error:  # text that is no JSON, or lists in lists without end
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
