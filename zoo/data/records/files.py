"""Files of records in a folder: which there are, and which split each belongs to."""

import re

from zoo.data.listing import picture_endings, walk
from zoo.data.splits import LATE_NAMES, SPLIT_NAMES

LABEL_NAMES = "label.labels.txt"  # as TensorFlow Datasets calls it: one class name per line
_BESIDE = ("dataset_info.json", "features.json", "metadata.json")  # as TensorFlow Datasets writes them
_RECORD_FILE = re.compile(r"\.(tfrecords?|array_?records?)([-.].*)?$", re.IGNORECASE)
_SHARD = re.compile(r"-(\d{5,})-of-(\d{5,})")
_SPLIT_NAMES = {name: part for part, names in SPLIT_NAMES.items() for name in names}
_SPLIT_NAMES |= dict.fromkeys(("validation", "valid", "val", *LATE_NAMES), "validation")


def find(folder):
    """The files of records in a folder and below.

    Args:
        folder: `Path`.

    Returns:
        Sorted list of `Path`; empty if there are none.

    Raises:
        ValueError: If there are image files as well.
    """
    files, endings = walk(folder).files if folder.is_dir() else [], picture_endings()
    found = [path for path in files if _is_record_file(path)]
    image = next((path for path in files if path.name.lower().endswith(endings) and path not in found), None)
    if found and image:
        raise ValueError(
            f"The folder {folder} holds files of records, such as {found[0].relative_to(folder)}, and image files, "
            f"such as {image.relative_to(folder)}. Expected one kind. Move the others away, or give a sub-folder."
        )
    return sorted(found)


def others(folder, used):
    """What a folder of records holds beside some files, and beside what belongs to them: a list of words."""
    listing, used = walk(folder), {*used}
    beside = [path for path in listing.files if not (path in used or path.name in _BESIDE or _names_labels(path))]
    return listing.passed_over + [path.relative_to(folder).as_posix() for path in beside]


def is_tfrecord(path):
    """Whether a file of records is a TFRecord file; else it is an ArrayRecord file."""
    return "tfrecord" in _RECORD_FILE.search(path.name)[1].lower()


def splits(folder, paths):
    """({split: files} or {"all": files}, what to say about it)."""
    _check_shards(paths)
    kinds = {is_tfrecord(path): path.name for path in paths}
    if len(kinds) > 1:
        raise ValueError(
            f"The folder {folder} holds TFRecord files, such as {kinds[True]}, and ArrayRecord files, such as "
            f"{kinds[False]}. Expected one kind. Move the others away."
        )
    places = {path.parent for path in paths}
    if len(places) > 1 and not all(place.parent == folder and place.name.lower() in _SPLIT_NAMES for place in places):
        named = sorted(str(place.relative_to(folder)) for place in places)
        raise ValueError(
            f"The folder {folder} holds records in {len(named)} folders: {', '.join(named[:5])}. Expected one set, in "
            "one folder or in the folders train and test. Give the path of one, such as <name>/<version>."
        )
    parts = {}
    for path in paths:
        parts.setdefault(split_of(path) if len(places) == 1 else _SPLIT_NAMES[path.parent.name.lower()], []).append(
            path
        )
    if not set(parts) & set(_SPLIT_NAMES.values()):
        return {"all": paths}, "{split} split, a fixed tenth held out for tests"
    if "train" not in parts:
        raise ValueError(
            f"The folder {folder} holds records of {' and '.join(sorted(filter(None, parts)))}, and none to train "
            "with. Expected 'train' in the name of a file. Add such files, or take the split out of the names."
        )
    test = parts.get("test") or parts.get("validation")
    if not test:
        return {"all": parts["train"]}, "{split} split, a fixed tenth of its train split held out for tests"
    kind = "" if "test" in parts else ", which is called validation there"
    return {"train": parts["train"], "test": test}, "its own {split} split" + kind


def split_of(path):
    """Split that the name of a file ends in, before its extension, or None."""
    stem = _SHARD.sub("", path.name[: _RECORD_FILE.search(path.name).start()]).lower()
    return next((_SPLIT_NAMES[word] for word in reversed(re.split(r"[-_.]", stem)) if word in _SPLIT_NAMES), None)


def _is_record_file(path):
    return not path.name.startswith("writing-") and _RECORD_FILE.search(path.name) is not None


def _names_labels(path):
    return path.name.endswith(".labels.txt")


def _check_shards(paths):
    """Raises if files are missing of those that the names of the others count."""
    series = {}
    for path in paths:
        number = _SHARD.search(path.name)
        if number:
            series.setdefault((path.parent, _SHARD.sub("", path.name), number[2]), set()).add(int(number[1]))
    for (place, name, count), found in series.items():
        missing = sorted(set(range(int(count))) - found)
        if missing:
            raise ValueError(
                f"{len(missing)} of {int(count)} files of {name} are missing in {place}, the first is number "
                f"{missing[0]:05}. Expected all of {count}. Fetch or write them again."
            )
