"""Say how two arrays differ, within the tolerance that holds for every export."""

import io

import numpy as np

TOLERANCE = 1e-5
_PNG = b"\x89PNG\r\n\x1a\n"


def difference(expected, received, tolerance=TOLERANCE):
    """Describe how two arrays differ, or return None if they agree.

    Args:
        expected: Array.
        received: Array.
        tolerance: Largest difference allowed: tolerance * (|expected| + the larger of 1 and max |expected|). Whole
            numbers and bytes must be equal; PNG files agree if no pixel differs by more than one of its 256 levels,
            since a number that is the least bit smaller may be rounded down.

    Returns:
        A sentence, or None.

    Example:

        difference(np.zeros(3), np.ones(3))  # 'The largest difference is 1, allowed is 1e-05.'
    """
    if expected.shape != received.shape:
        return f"Expected shape {expected.shape}. Received: shape {received.shape}."
    if expected.dtype.kind not in "fc":
        apart = expected != received
        changed = sum(not _same_picture(*pair) for pair in zip(expected[apart], received[apart], strict=True))
        return f"{changed} of {expected.size} values differ." if changed else None
    finite = np.abs(expected[np.isfinite(expected)])
    scale = tolerance * max(1.0, float(finite.max(initial=0)))
    if np.allclose(received, expected, rtol=tolerance, atol=scale, equal_nan=True):
        return None
    apart = (expected != received) & ~(np.isnan(expected) & np.isnan(received))
    largest = np.abs(expected[apart] - received[apart]).max()
    return f"The largest difference is {largest:.3g}, allowed is {scale:.3g}."


def _same_picture(one, other):
    """Whether two values are PNG files that look the same."""
    if not all(isinstance(file, bytes) and file.startswith(_PNG) for file in (one, other)):
        return False
    from PIL import Image

    with Image.open(io.BytesIO(one)) as first, Image.open(io.BytesIO(other)) as second:
        if (first.mode, first.size) != (second.mode, second.size):
            return False
        levels = np.asarray(first, "int16"), np.asarray(second, "int16")
    return np.abs(levels[0] - levels[1]).max() <= 1
