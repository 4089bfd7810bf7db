"""Compare a model card with its folder, and with the signatures that TF Serving answers with."""

from zoo.serving.formats.model_card import CARD_FILE, load_card
from zoo.serving.formats.signatures import as_json


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
