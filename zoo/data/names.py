"""What a name that someone typed means: the path of a folder, or else a mistake, with what there is."""

import difflib
import os
from pathlib import Path


def folder_of(name, known, what, expected, ways):
    """The folder that a name, which is none of a set, is the path of.

    Args:
        name: What was given.
        known: Names of sets.
        what: What such a set is called, "set of pictures with labels".
        expected: What a folder has to be like, "of pictures and labels".
        ways: Sentences that say what can be given.

    Returns:
        `Path`.

    Raises:
        FileNotFoundError: If the name looks like a path and there is nothing.
        NotADirectoryError: If it is the path of a file.
        ValueError: If it is neither a path nor a name of a set; the nearest one is named.
    """
    path = existing(name, ways)
    if path is None:
        raise unknown(name, known, what, ways)
    if not path.is_dir():
        raise NotADirectoryError(f"{name} is a file. Expected a folder {expected}. {ways}")
    return path


def existing(name, ways):
    """The file or folder that a name is the path of; None if it is of nothing and does not look like a path.

    Raises:
        FileNotFoundError: If it looks like a path and there is nothing.
    """
    if isinstance(name, os.PathLike) or (isinstance(name, str) and name):
        path = Path(name).expanduser()
        if path.exists():
            return path
        if isinstance(name, os.PathLike) or name.startswith((".", "~")) or os.sep in name:
            raise FileNotFoundError(f"The folder {name} does not exist. {ways} Check the path.")
    return None


def unknown(name, known, what, ways):
    """The error that no set has this name, with the nearest one that there is."""
    spelt = {one.replace("-", "_"): one for one in known}
    closest = difflib.get_close_matches(str(name).lower().replace("-", "_"), spelt, n=1, cutoff=0.5)
    hint = f"Did you mean {spelt[closest[0]]!r}? " if closest else ""
    return ValueError(f"No {what} is called {name!r}. {hint}{ways}")
