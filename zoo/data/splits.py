"""Which examples are for training and which for tests, where a set does not say so itself."""

import numpy as np

SPLITS = ("train", "test")
# Other names of validation, which come last wherever there are several.
LATE_NAMES = ("eval", "evaluation", "dev")
# What folders and files of the splits are called, in any case. Where there are both, tests go before validation.
SPLIT_NAMES = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation", *LATE_NAMES)}
_SEED = 20240


def names_of(split, validation_first=False):
    """What a split may be called, in lower case, first what goes before others where there are several.

    Args:
        split: "train" or "test".
        validation_first: Whether that called validation goes before that called test.

    Returns:
        Tuple of str.
    """
    return tuple(
        sorted(SPLIT_NAMES[split], key=lambda name: (name in LATE_NAMES, name.startswith("val") != validation_first))
    )


def folders_in(path):
    """{name in lower case, without spaces around it: `Path`} of the folders in a folder; of several, that so."""
    folders = sorted(path.iterdir(), key=lambda one: (one.name == one.name.strip(), one.name))
    return {one.name.strip().lower(): one for one in folders if one.is_dir()}


def split_folders(path, ending="", validation_first=False):
    """The folders in a folder that are the splits of a set.

    Args:
        path: `Path` of the folder.
        ending: What follows the name of the split in theirs, in lower case, such as "a".
        validation_first: As of `names_of`.

    Returns:
        {"train": `Path`, "test": `Path`}, without those that are not there.
    """
    there, found = folders_in(path), {}
    for part in SPLITS:
        for name in names_of(part, validation_first):
            if f"{name}{ending}" in there:
                found.setdefault(part, there[f"{name}{ending}"])
    return found


def held_out(size):
    """A mask of the fixed tenth of `size` examples that is held out for tests.

    Args:
        size: Number of examples, at least 2.

    Returns:
        Boolean array (size,), true for at least one example and at most half of them.

    Raises:
        ValueError: If there are too few examples to split.
    """
    if size < 2:
        raise ValueError(
            "At least one example is held out for tests, so a set needs 2 or more. "
            f"Received: {size}. Add examples, or give the set a test split of its own."
        )
    mask = np.zeros(size, dtype=bool)
    # RandomState, because NumPy promises that its streams never change; those of Generator may.
    mask[np.random.RandomState(_SEED).permutation(size)[: max(1, size // 10)]] = True
    return mask


def split_of(split, *arrays):
    """The rows of arrays that belong to a split, in their order.

    Args:
        split: "train" or "test".
        *arrays: Arrays (size, ...), or None, which stays None.

    Returns:
        List of arrays.
    """
    mask = held_out(len(arrays[0]))
    rows = mask if split == "test" else ~mask
    return [None if array is None else array[rows] for array in arrays]
