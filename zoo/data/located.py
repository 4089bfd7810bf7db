"""Files whose names come from a document: found in a folder, and nowhere else unless that is allowed."""

import itertools
import os
import unicodedata
from pathlib import Path

from zoo.data.listing import others_in, walk


def locate(root, folders, names, allow_outside=False):
    """The files that a document means by some names.

    Names may be written with backslashes, as on Windows, and in another normal form of Unicode than that of the file,
    as on macOS. Links within the folder are followed: whoever made the folder made them.

    Args:
        root: `Path` of the folder that the document is of.
        folders: `Path`s in it that names may begin from; the first that has the file counts.
        names: Names in the document, such as "a/1.png".
        allow_outside: Whether they may lead out of `root`, as "../1.png" and "/1.png" do.

    Returns:
        Tuple of {name: `Path`}, and {name: why there is none, in words} of the others.
    """
    folders, found, missing = list(dict.fromkeys(folders)), {}, {}
    for name in names:
        is_outside = False
        for folder, spelt in itertools.product(folders, _spellings(name)):
            path = os.path.join(folder, os.path.normpath(spelt)) if allow_outside else _within(root, folder, spelt)
            if path is None:
                is_outside = True
            elif os.path.isfile(path):
                found[name] = Path(path)
                break
        else:
            reason = f"no such file in {', '.join(map(str, folders))}"
            outside = (
                f"it leads out of {root}, and only files in there are read; `allow_outside=True` reads others, too"
            )
            missing[name] = outside if is_outside else reason
    return found, missing


def beside(root, named, documents):
    """What a folder holds beside the files that its documents name.

    Folders in it without a single one of these files are not gone into.

    Args:
        root: `Path` of the folder.
        named: `Path`s of these files.
        documents: `Path`s of the documents.

    Returns:
        List of words.
    """
    used, found = {*map(str, named), *map(str, documents)}, []
    tops = {Path(path).relative_to(root).parts[0] for path in used if Path(path).is_relative_to(root)}
    for name in others_in(root, ()):
        if not name.endswith("/"):
            found += [name] * (name not in tops)
        elif name[:-1] not in tops:
            found.append(name)
        else:
            listing = walk(root / name[:-1])
            found += [f"{name}{one}" for one in listing.passed_over]
            found += [path.relative_to(root).as_posix() for path in listing.files if str(path) not in used]
    return found


def _spellings(name):
    """The ways in which a file that is meant by a name may be called, that name first."""
    spelt = dict.fromkeys((name, name.replace("\\", "/")))
    if name.isascii():
        return spelt
    return dict.fromkeys([*spelt, *(unicodedata.normalize(form, one) for form in ("NFC", "NFD") for one in spelt)])


def _within(root, folder, name):
    """The path of a name in a folder, a str, if that is in `root`, else None."""
    name = os.path.normpath(name)
    if not name.startswith("..") and not os.path.isabs(name):
        return os.path.join(folder, name)
    path, top = (os.path.abspath(one) for one in (os.path.join(folder, name), root))
    return os.path.join(root, os.path.relpath(path, top)) if path.startswith(top.rstrip(os.sep) + os.sep) else None
