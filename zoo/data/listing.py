"""What a folder holds: every file in it and below, through links as well; and a line about what is not used."""

import os
from pathlib import Path
from typing import NamedTuple

from zoo.data import progress

# Of what Pillow lists: programs that it would start, kinds of data that others would have to decode, and films.
_NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}


class Listing(NamedTuple):
    """What is in a folder and below.

    Attributes:
        files: Every file that is not hidden, a list of `Path` in the order of their names.
        passed_over: What is not gone into, a list of words: hidden files and folders, and links to where it has been.
    """

    files: list
    passed_over: list


def picture_endings():
    """The endings of the names of picture files: those that Pillow reads, also by plugins that were registered.

    Returns:
        Sorted tuple of str, such as ".png", in lower case.
    """
    from PIL import Image

    kinds = Image.registered_extensions()
    return tuple(sorted(end for end, kind in kinds.items() if kind in Image.OPEN and kind not in _NO_PICTURES))


def walk(folder):
    """Lists a folder and all below it, each real folder once, however many links lead there.

    Links to files and to folders are followed. A link to a folder that it lies in, or to one that was listed already,
    is not, and is among what was passed over.

    Args:
        folder: `Path`.

    Returns:
        `Listing`, whose files are sorted by their paths in the folder.

    Raises:
        PermissionError: If a folder cannot be read.
    """

    def shown(parent, name, why=""):
        return Path(parent, name).relative_to(folder).as_posix() + why

    files, passed_over, seen, starts = [], [], set(), [str(folder)]
    # Real folders first: a picture then has the path without links, if there is one.
    for start in starts:
        if os.path.realpath(start) in seen:
            passed_over.append(shown(start, "", "/ (a link to what is read already)"))
            continue
        for parent, folders, names in os.walk(start, onerror=_refuse):
            place = os.path.realpath(parent)
            if place in seen:
                passed_over.append(shown(parent, "", "/ (read already through a link)"))
                folders.clear()
                continue
            seen.add(place)
            links = [
                name for name in folders if not name.startswith(".") and os.path.islink(os.path.join(parent, name))
            ]
            for name in sorted(links):
                if _is_within(place, os.path.realpath(os.path.join(parent, name))):
                    passed_over.append(shown(parent, name, "/ (a link to a folder around it)"))
                else:
                    starts.append(os.path.join(parent, name))
            passed_over += [shown(parent, name, "/") for name in sorted(folders) if name.startswith(".")]
            passed_over += [shown(parent, name) for name in sorted(names) if name.startswith(".")]
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in links)
            files += [Path(parent, name) for name in names if not name.startswith(".")]
    return Listing(sorted(files, key=lambda path: path.relative_to(folder).as_posix()), passed_over)


def others_in(folder, used):
    """What lies in a folder itself beside what is used.

    Args:
        folder: `Path`.
        used: Names of the files and folders in it that are used.

    Returns:
        Sorted list of str, folders with a slash.

    Raises:
        PermissionError: If the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name + "/" * _is_folder(entry) for entry in entries if entry.name not in used)
    except PermissionError as error:
        _refuse(error)


def report(folder, passed_over, expected):
    """Says on stderr, in one line, what a folder holds and is not used; nothing if there is none.

    Args:
        folder: `Path` or what else the place is called.
        passed_over: List of str.
        expected: What would have been used, in words.
    """
    if passed_over:
        count = f"{len(passed_over)} files or folders" if len(passed_over) > 1 else "1 file or folder"
        progress.note(f"Passed over {count} in {folder}: {first_five(passed_over)}. Used: {expected}.")


def first_five(items):
    """The first items of a list in words, and how many more there are."""
    more = f"; and {len(items) - 5} more" if len(items) > 5 else ""
    return "; ".join(map(str, items[:5])) + more


def check_apart(place, parts):
    """Checks that no file is in two splits, under the same name or, by links, under another.

    Args:
        place: What the message calls the set.
        parts: {split: `Path`s}; of those that do not exist, the path counts.

    Raises:
        ValueError: If one is; the message names both paths.
    """
    if len(parts) < 2:
        return
    train, test = ({_identity(path): path for path in paths} for paths in parts.values())
    both = [f"{path} and {test[one]}" if path != test[one] else path for one, path in train.items() if one in test]
    if both:
        raise ValueError(
            f"{len(both)} pictures of {place} are in both splits, which must have none in common: {first_five(both)}. "
            "Take them out of one."
        )


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _refuse(error):
    raise PermissionError(
        f"The folder {error.filename} cannot be read: {error.strerror}. Change its permissions."
    ) from error


def _identity(path):
    try:
        status = os.stat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _is_within(path, folder):
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
