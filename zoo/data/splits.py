"""Which examples are for training and which for tests, where a set does not say so itself."""

import numpy as np

SPLITS = ("train", "test")
_SEED = 20240


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
