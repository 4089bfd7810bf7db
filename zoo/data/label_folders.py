"""Folders of pictures and label PNGs as Pascal VOC, CamVid and ADE20K lay them out: finding what belongs together."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.checks import VOID
from zoo.data.folder import EXTENSIONS, first_five
from zoo.data.label_files import LabelledFiles, Pair, canvas_of, inspect_labels, sizes_of, usable
from zoo.data.splits import held_out

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
LAYOUTS = (
    "Expected one of: JPEGImages, SegmentationClass and ImageSets/Segmentation with train.txt and val.txt, as Pascal "
    "VOC; train, trainannot, val and valannot, as CamVid; images/training, images/validation, annotations/training and "
    "annotations/validation, as ADE20K; images and annotations; or panoptic_train2017.json and panoptic_val2017.json, "
    "in it or in annotations, as COCO."
)
_SPLIT_NAMES = {"train": ("train", "training"), "test": ("val", "validation", "test")}
_CLASSES_FILE = "classes.txt"
_VOID_LINE = re.compile(r"void\b", re.IGNORECASE)


class _Part(NamedTuple):
    """Where the pictures and the labels of a split are; their names, if a file lists them."""

    pictures: Path
    labels: Path
    listed: Path | None = None


def load(path, split, image_size=None, skip_damaged=False, lines=None):
    """The pictures of a folder with their labels, everything checked.

    Args:
        path: `Path` of the folder.
        split: "train" or "test".
        image_size: (height, width) of the canvas; None for that of all pictures of both splits if it is one, else for
            the smallest multiples of 32 that hold the largest.
        skip_damaged: Whether pairs that cannot be used are left out, and counted, instead of being an error.
        lines: What each label in turn means, as lines of classes.txt; None for that file if there is one.

    Returns:
        Tuple of `LabelledFiles` and where they come from, in words.

    Raises:
        FileNotFoundError: If the folder has no layout that is known.
        ValueError: If the files are damaged, do not fit each other, or hold nothing to learn from.
    """
    layout = _layout(path)
    parts = {part: _pairs(where) for part, where in layout.items()}
    note = f"its own {split} split"
    if "all" in parts:
        pairs = parts["all"]
        is_held_out = held_out(len(pairs))
        parts = {part: [pairs[row] for row in np.flatnonzero(is_held_out == (part == "test"))] for part in _SPLIT_NAMES}
        note = f"{split} split, a fixed tenth held out for tests"
    lines = lines or _lines_of(path / _CLASSES_FILE)
    if lines is None and layout.get("train", layout.get("all")).listed:
        lines = VOC_CLASSES
    if lines is None:
        every = [pair.labels for pairs in parts.values() for pair in pairs if pair.labels.is_file()]
        lines = _numbered(path, inspect_labels(path, every))
    names, table = _classes_of(path, lines)
    known = frozenset([*range(len(lines)), VOID])
    parts = {part: [pair._replace(classes=table, known=known) for pair in pairs] for part, pairs in parts.items()}
    pairs, turned, dropped = usable(f"{path}, {split} split", parts[split], skip_damaged)
    if split == "train":
        _check_some_count(path, pairs, table)
    canvas = image_size
    if canvas is None:
        canvas = canvas_of(set().union(*(sizes_of(path, pairs) for pairs in parts.values())))
    return LabelledFiles(pairs, turned, names, canvas, dropped), f"{path}, {note}"


def _layout(path):
    """{"train": `_Part`, "test": `_Part`}, or {"all": `_Part`}."""
    lists = path / "ImageSets" / "Segmentation"
    if (path / "SegmentationClass").is_dir():
        files = {"train": lists / "train.txt", "test": lists / "val.txt"}
        for file in files.values():
            if not file.is_file():
                raise FileNotFoundError(
                    f"The folder {path} is laid out as Pascal VOC's, and has no {file.relative_to(path)}. Expected the "
                    "names of its pictures there, one a line. Unpack the archive again."
                )
        return {part: _Part(path / "JPEGImages", path / "SegmentationClass", file) for part, file in files.items()}
    places = [(path, path, "annot")]
    places += [(path / "images", path / labels, "") for labels in ("annotations", "labels", "masks")]
    for pictures, labels, ending in places:
        found = {}
        for part, split_names in _SPLIT_NAMES.items():
            options = [_Part(pictures / name, labels / f"{name}{ending}") for name in split_names]
            there = [one for one in options if one.pictures.is_dir() and one.labels.is_dir()]
            found |= {part: there[0]} if there else {}
        if len(found) == 2:
            return found
        if len(found) == 1:
            (part,) = found.values()
            raise FileNotFoundError(
                f"The folder {path} has {part.pictures.relative_to(path)} and {part.labels.relative_to(path)}, and "
                f"neither for the other split. {LAYOUTS}"
            )
        if not ending and pictures.is_dir() and labels.is_dir():
            return {"all": _Part(pictures, labels)}
    raise FileNotFoundError(f"The folder {path} holds no pictures with labels that are laid out as known. {LAYOUTS}")


def _pairs(part):
    """The `Pair`s of a split, sorted by name, also where one of the two files is missing."""
    if part.listed:
        stems = part.listed.read_text().split()
        pairs = [Pair(part.pictures / f"{stem}.jpg", part.labels / f"{stem}.png") for stem in stems]
    else:
        pictures, labels = _by_stem(part.pictures, EXTENSIONS), _by_stem(part.labels, (".png",))
        pairs = [
            Pair(pictures.get(stem, part.pictures / f"{stem}.jpg"), labels.get(stem, part.labels / f"{stem}.png"))
            for stem in sorted({*pictures, *labels})
        ]
    if not pairs:
        raise ValueError(
            f"There are neither pictures in {part.pictures} nor labels in {part.labels}. Expected pictures that end in "
            f"{', '.join(EXTENSIONS)} and PNG files of the same names."
        )
    return pairs


def _by_stem(folder, endings):
    """{name without its ending: `Path`} of the files of a folder that end so."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in endings and not path.name.startswith("."):
            if path.stem in found:
                raise ValueError(
                    f"{found[path.stem]} and {path} have the same name, and labels belong to a picture by its name. "
                    "Move one away."
                )
            found[path.stem] = path
    return found


def _lines_of(file):
    """The lines of a file of classes, or None if there is none."""
    if not file.is_file():
        return None
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").strip().splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(
            f"The file {file} is not a text in UTF-8: {error}. Write one name of a class a line."
        ) from error


def _numbered(path, found):
    """ "0" to the largest label of any file that can be used, 255 aside."""
    values = {value for one in found.values() if one.channels == 1 for value in one.values} - {VOID}
    if not values:
        damaged = [f"{file} ({one.error or f'{one.channels} channels'})" for file, one in found.items()]
        raise ValueError(
            f"No file of labels in {path} has a class for any pixel. Expected PNG files, palette or grey, of class "
            f"numbers from 0 on. Received: {first_five(damaged) or 'no files'}."
        )
    if max(values) > VOID or min(values) < 0:
        extreme = max(values) if max(values) > VOID else min(values)
        file = next(file for file, one in found.items() if extreme in one.values)
        raise ValueError(
            f"Labels must be 0 to {VOID - 1}, or {VOID} for void. Received: {extreme} in {file}. Number the classes "
            f"anew, or name them in {path / _CLASSES_FILE}."
        )
    return [str(label) for label in range(max(values) + 1)]


def _classes_of(path, lines):
    """Names of the classes, and a table from labels to classes, uint8 (256,): lines that say void are none."""
    names = [line for line in lines if not _VOID_LINE.match(line)]
    if not names or not all(lines) or len(lines) > VOID or len({*names}) < len(names):
        raise ValueError(
            f"{path / _CLASSES_FILE} must have 1 to {VOID} lines, each the name of the class of a label, from label 0 "
            f"on, no two the same, or void. Received: {len(lines)} lines, {len({*names} - {''})} names, "
            f"{lines.count('')} empty lines."
        )
    table = np.full(256, VOID, "uint8")
    labels = [label for label, line in enumerate(lines) if not _VOID_LINE.match(line)]
    table[labels] = np.arange(len(labels))
    return names, table


def _check_some_count(path, pairs, table):
    found = inspect_labels(path, [pair.labels for pair in pairs])
    if all(table[value] == VOID for one in found.values() for value in one.values):
        raise ValueError(
            f"All pixels of the {len(pairs)} pictures in the train split of {path} are void. Expected classes to learn "
            "from. Label some."
        )
