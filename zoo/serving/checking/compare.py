"""Say how two arrays differ, within the tolerance that holds for every export."""

import numpy as np

TOLERANCE = 1e-5


def difference(expected, received, tolerance=TOLERANCE):
    """Describe how two arrays differ, or return None if they agree.

    Args:
        expected: Array.
        received: Array.
        tolerance: Largest difference allowed: tolerance * (|expected| + the larger of 1 and max |expected|).

    Returns:
        A sentence, or None.

    Example:

        difference(np.zeros(3), np.ones(3))  # 'The largest difference is 1, allowed is 1e-05.'
    """
    if expected.shape != received.shape:
        return f"Expected shape {expected.shape}. Received: shape {received.shape}."
    if expected.dtype.kind not in "fc":
        changed = int(np.sum(expected != received))
        return f"{changed} of {expected.size} values differ." if changed else None
    finite = np.abs(expected[np.isfinite(expected)])
    scale = tolerance * max(1.0, float(finite.max(initial=0)))
    if np.allclose(received, expected, rtol=tolerance, atol=scale, equal_nan=True):
        return None
    apart = (expected != received) & ~(np.isnan(expected) & np.isnan(received))
    largest = np.abs(expected[apart] - received[apart]).max()
    return f"The largest difference is {largest:.3g}, allowed is {scale:.3g}."
