"""A folder of images: listing, checking and reading the files."""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.data import progress
from zoo.data.decode import read_picture, size_and_kind
from zoo.data.source import Source
from zoo.data.splits import SPLITS, held_out

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
_MANY = 2000


class Pictures:
    """Image files of one split, read one at a time.

    Args:
        paths: List of `Path`.
        shape: (height, width, channels) that each is brought to.
    """

    def __init__(self, paths, shape):
        """Keeps the paths; reads nothing yet."""
        self.paths = paths
        self.shape = (len(paths), *shape)

    def __len__(self):
        """Number of files."""
        return len(self.paths)

    def read(self, row):
        """The image in row `row`, as a uint8 array (height, width, channels).

        Raises:
            ValueError: If the file can no longer be read; the message names it.
        """
        path = self.paths[int(row)]
        _, height, width, channels = self.shape
        try:
            return read_picture(path, (height, width), channels)
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"The image {path} could be read before and now cannot be: {error}.") from error


def load(path, split, image_size=None, channels=None, cache=False):
    """The images of a folder, every file checked.

    Args:
        path: `Path` of the folder.
        split: "train" or "test".
        image_size: (height, width) or None.
        channels: 1, 3 or None.
        cache: Whether to keep each picture that was read; None if they take little memory.

    Returns:
        `Source`.

    Raises:
        NotADirectoryError, PermissionError: If the folder cannot be listed.
        ValueError: If it holds no images, damaged ones, or ones of several sizes and `image_size` is None.
    """
    own_splits = all((path / name).is_dir() for name in SPLITS)
    parts = {name: _list(path / name) for name in SPLITS} if own_splits else {"all": _list(path)}
    every = [file for files in parts.values() for file in files]
    found = _check(path, every)
    if image_size is None:
        image_size = _common_size(path, every, found)
    if channels is None:
        channels = 1 if all(picture.grey for picture in found) else 3
    class_names = _class_names(path, parts, own_splits)
    if own_splits:
        files, note = parts[split], f"its own {split} split"
    else:
        rows = np.flatnonzero(held_out(len(every)) == (split == "test"))
        files, note = [every[row] for row in rows], f"{split} split, a fixed tenth held out for tests"
    labels = None if class_names is None else [class_names.index(file.parent.name) for file in files]
    return Source(
        path.resolve().name,
        Pictures(files, (*image_size, channels)),
        labels=labels,
        num_classes=None if class_names is None else len(class_names),
        class_names=class_names,
        cache=cache,
        origin=f"the image folder {path}, {note}",
    )


class _Found(NamedTuple):
    size: tuple | None
    grey: bool = False
    error: str | None = None


@functools.cache
def _inspect(path, num_bytes, changed):
    """Size and kind of an image that is decoded once; cached as long as the file stays the same."""
    from PIL import Image

    if num_bytes == 0:
        return _Found(None, error="the file is empty")
    try:
        with Image.open(path) as image:
            size, grey = size_and_kind(image)
            # All of a JPEG's data are read, at a fraction of the cost of all its pixels.
            image.draft(None, (1, 1))
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return _Found(None, error=str(error))
    return _Found(size, grey)


def _check(folder, paths):
    """Inspects all files, several at a time; raises if any is damaged."""

    def inspect(path):
        try:
            status = path.stat()
        except OSError as error:
            return _Found(None, error=str(error))
        return _inspect(path, status.st_size, status.st_mtime_ns)

    many = len(paths) >= _MANY
    found = []
    with ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 2)) as pool:
        for picture in pool.map(inspect, paths):
            found.append(picture)
            if many and (len(found) % _MANY == 0 or len(found) == len(paths)):
                line = f"Checked {len(found)} of {len(paths)} images in {folder}"
                progress.show(line, last=len(found) == len(paths))
    damaged = [f"{path} ({it.error})" for path, it in zip(paths, found, strict=True) if it.error]
    if damaged:
        more = f"; and {len(damaged) - 5} more" if len(damaged) > 5 else ""
        raise ValueError(
            f"{len(damaged)} of {len(paths)} images cannot be decoded: {'; '.join(damaged[:5])}{more}. "
            "Expected whole JPEG, PNG, BMP or GIF files. Replace or remove them."
        )
    return found


def _common_size(folder, paths, found):
    first = found[0].size
    for path, picture in zip(paths, found, strict=True):
        if picture.size != first:
            raise ValueError(
                f"The images in {folder} differ in size: {paths[0]} has {first[0]} x {first[1]} pixels "
                f"(height x width), {path} has {picture.size[0]} x {picture.size[1]}. "
                "Give `image_size` to bring them all to one size."
            )
    return first


def _list(folder):
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file. Expected a folder: give the one that holds it.")

    def refuse(error):
        raise PermissionError(
            f"The folder {error.filename} cannot be read: {error.strerror}. Change its permissions."
        ) from error

    paths, others = [], 0
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images = [name for name in files if name.lower().endswith(EXTENSIONS) and not name.startswith(".")]
        paths += [Path(parent, name) for name in images]
        others += len(files) - len(images)
    if not paths:
        raise ValueError(
            f"The folder {folder} holds no images. Expected files that end in {', '.join(EXTENSIONS)}, there "
            f"or in folders below. Received: {others} other files. Check the path."
        )
    return sorted(paths, key=lambda path: path.relative_to(folder).as_posix())


def _class_names(folder, parts, own_splits):
    """Sorted names of the sub-folders, if there are several and every file lies exactly one level deep, else None."""
    roots = {name: folder / name if own_splits else folder for name in parts}
    relative = [file.relative_to(roots[name]) for name, files in parts.items() for file in files]
    if any(len(path.parts) != 2 for path in relative):
        return None
    found = sorted({path.parts[0] for path in relative})
    return found if len(found) > 1 else None
