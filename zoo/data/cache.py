"""Pictures that are decoded once and kept."""

import os
from pathlib import Path

import numpy as np


class Cached:
    """Pictures that keep what was read: one array for all pixels, filled as rows are first asked for.

    Safe in several threads: the worst that two can do is to read the same row and write the same pixels.

    Args:
        pictures: Anything with `shape`, `len` and `read`, such as `zoo.data.folder.Pictures`.

    Raises:
        ValueError: If the array would be larger than the memory that is available.
    """

    def __init__(self, pictures):
        """Reserves the array; the system gives it real memory page by page, as it is filled."""
        needed, available = int(np.prod(pictures.shape, dtype=np.int64)), available_memory()
        if available is not None and needed > available:
            raise ValueError(
                f"`cache=True` keeps all {len(pictures)} decoded images of shape {tuple(pictures.shape[1:])} in "
                f"memory: {needed / 2**30:.2f} GiB. Available: {available / 2**30:.2f} GiB. Leave `cache` out, or "
                "give a smaller `image_size`."
            )
        self.pictures, self.shape = pictures, pictures.shape
        self._pixels = np.empty(pictures.shape, np.uint8)
        self._is_kept = np.zeros(len(pictures), bool)

    def __len__(self):
        """Number of pictures."""
        return len(self.pictures)

    def read(self, row):
        """The image in row `row`, as a uint8 array (height, width, channels).

        Raises:
            ValueError: If it has to be read and cannot be.
        """
        if not self._is_kept[row]:
            self._pixels[row] = self.pictures.read(row)
            # Only now: another thread that sees the mark finds all pixels.
            self._is_kept[row] = True
        return self._pixels[row]


def is_small(shape):
    """Whether uint8 pictures of this shape take at most a quarter of the memory that is available."""
    available = available_memory()
    return available is not None and np.prod(shape, dtype=np.int64) <= available / 4


def available_memory():
    """Bytes that a program can take without swapping, or None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
