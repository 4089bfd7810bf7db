"""What `fit` is given where a model learns from pairs of sequences of tokens."""

import numpy as np

from zoo.checks import check_replicas
from zoo.training.examples import check_numbers, first_batch
from zoo.training.pairs import only_pairs

_TEXTS = "The {} must be ids of tokens. Received: texts. `model.encode(sources, targets)` makes ids."


def check_sequences(given, sizes, replicas):
    """Checks what `fit` is given, before the first step.

    Args:
        given: {name: value} of the arguments of `keras.Model.fit`.
        sizes: Numbers of tokens of the vocabularies of sources and targets.
        replicas: Number of replicas over which a batch is split.

    Returns:
        The sources that were looked at, an array; None where a look would use up what `x` yields.

    Raises:
        ValueError: If there are texts instead of ids, one side alone, or ids that the networks do not know.
    """
    check_numbers(given)
    for name in ("sample_weight", "class_weight"):
        if given.get(name) is not None:
            raise ValueError(f"Each token counts once, so `fit` takes no `{name}`. Leave it out.")
    x, y = given.get("x"), given.get("y")
    if hasattr(x, "batches") or hasattr(x, "encoded"):
        raise ValueError(
            "`x` must be arrays of ids or a data set of batches (x, y). Received: a set of `zoo.data`. "
            "`pairs.encoded(vocabulary).batches(64)` gives batches of both."
        )
    for name, side in (("sources", x), ("targets", y)):
        if isinstance(side, (list, tuple)) and side and isinstance(side[0], (str, bytes)):
            raise ValueError(_TEXTS.format(name))
    if y is not None:
        x = (x, y)
    first = first_batch(x)
    if first is None:
        return None
    sides = [np.asarray(side) for side in only_pairs(first)]
    is_array = first is x
    check_ids(sides, sizes)
    rows = min(len(sides[0]), given.get("batch_size") or 32) if is_array else len(sides[0])
    check_replicas(rows, replicas)
    return sides[0]


def check_ids(sides, sizes):
    """Checks ids of sources and of targets.

    Args:
        sides: Two arrays (n, length).
        sizes: Numbers of tokens of the two vocabularies.

    Raises:
        ValueError: If they are of different numbers, or no ids of these vocabularies.
    """
    counts = [len(side) if np.ndim(side) else 0 for side in sides]
    if counts[0] != counts[1]:
        raise ValueError(f"Each source needs its target. Received: {counts[0]} of `x` and {counts[1]} of `y`.")
    for name, ids, size in zip(("sources", "targets"), sides, sizes, strict=True):
        _check_ids(name, np.asarray(ids), size)


def _check_ids(name, ids, size):
    if ids.dtype.kind in "OSU":
        raise ValueError(_TEXTS.format(name))
    if ids.ndim != 2 or not ids.size:
        raise ValueError(
            f"The {name} must be ids of shape (batch, length), at least one. Received: {ids.shape}."
            + (" This is one sequence: add an axis, `x[None]`." if ids.ndim == 1 and ids.size else "")
        )
    if ids.dtype.kind not in "iu":
        raise ValueError(f"The {name} must be whole numbers, ids of tokens. Received: dtype {ids.dtype}.")
    if ids.min() < 0 or ids.max() >= size:
        raise ValueError(
            f"The {name} hold ids from {ids.min()} to {ids.max()}, but their vocabulary has {size} tokens, 0 to "
            f"{size - 1}. Encode them with the vocabulary of the model: `model.encode(sources, targets)`."
        )
    if (ids[:, 0] == 0).any():
        raise ValueError(
            f"The {name} begin with padding in row {int(np.argmax(ids[:, 0] == 0))}. Expected tokens, their end (2), "
            "then padding (0). An empty text is its end alone, as `Vocabulary.encode` makes it."
        )
