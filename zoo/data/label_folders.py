"""Folders of pictures and label PNGs as Pascal VOC, CamVid and ADE20K lay them out: finding what belongs together."""

import os
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.checks import VOID
from zoo.data import located, progress
from zoo.data.label_files import LabelledFiles, Pair, canvas_of, inspect_labels, sizes_of, usable
from zoo.data.listing import check_apart, first_five, others_in, picture_endings, report
from zoo.data.splits import SPLITS, folders_in, held_out, names_of
from zoo.files import read_text

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
_CLASSES_FILE = "classes.txt"
_VOID_LINE = re.compile(r"void\b", re.IGNORECASE)


class _Part(NamedTuple):
    """Where the pictures and the labels of a split are; their names, if a file lists them."""

    pictures: Path
    labels: Path
    listed: Path | None = None


def load(path, split, image_size=None, skip_damaged=False, lines=None, allow_outside=False):
    """The pictures of a folder with their labels, everything checked.

    Args:
        path: `Path` of the folder.
        split: "train" or "test".
        image_size: (height, width) of the canvas; None for that of all pictures of both splits if it is one, else for
            the smallest multiples of 32 that hold the largest.
        skip_damaged: Whether pairs that cannot be used are left out, and counted, instead of being an error.
        lines: What each label in turn means, as lines of classes.txt; None for that file if there is one.
        allow_outside: Whether files that are named by a list may lie outside of the folder.

    Returns:
        Tuple of `LabelledFiles` and where they come from, in words.

    Raises:
        FileNotFoundError: If the folder has no layout that is known.
        ValueError: If the files are damaged, do not fit each other, or hold nothing to learn from.
    """
    layout = _layout(path)
    parts = {part: _pairs(path, where, allow_outside) for part, where in layout.items()}
    check_apart(path, {part: [pair.picture for pair in pairs] for part, pairs in parts.items()})
    report(path, _beside(path, layout, parts), "pictures that Pillow reads, and PNG files of labels of their names")
    note = f"its own {split} split"
    if "all" in parts:
        pairs = parts["all"]
        is_held_out = held_out(len(pairs))
        parts = {part: [pairs[row] for row in np.flatnonzero(is_held_out == (part == "test"))] for part in SPLITS}
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
        _check_several_occur(path, pairs, names, table)
    canvas = image_size
    if canvas is None:
        canvas = canvas_of(set().union(*(sizes_of(path, pairs) for pairs in parts.values())))
    return LabelledFiles(pairs, turned, names, canvas, dropped), f"{path}, {note}"


def _layout(path):
    """{"train": `_Part`, "test": `_Part`}, or {"all": `_Part`}."""
    if (path / "SegmentationClass").is_dir():
        files = _lists(path / "ImageSets" / "Segmentation")
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
        found = _split_parts(pictures, labels, ending) if pictures.is_dir() and labels.is_dir() else {}
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


def _lists(folder):
    """{split: `Path`} of the lists of names of a folder, or where they were looked for."""
    there = {one.name.lower(): one for one in sorted(folder.glob("*"))}
    found = {"train": folder / "train.txt", "test": folder / "val.txt"}
    for part in SPLITS:
        names = [f"{name}.txt" for name in names_of(part, validation_first=True)]
        found[part] = next((there[name] for name in names if name in there), found[part])
    return found


def _split_parts(pictures, labels, ending):
    """{split: `_Part`} of the folders of splits that both of two folders have."""
    there, of_labels, found = folders_in(pictures), folders_in(labels), {}
    for part in SPLITS:
        for name in names_of(part, validation_first=True):
            if name in there and f"{name}{ending}" in of_labels:
                found.setdefault(part, _Part(there[name], of_labels[f"{name}{ending}"]))
    return found


def _pairs(root, part, allow_outside):
    """The `Pair`s of a split, sorted by name, also where one of the two files is missing."""
    endings = picture_endings()
    if part.listed:
        return _listed(root, part, endings, allow_outside)
    pictures, labels = _by_stem(part.pictures, endings), _by_stem(part.labels, (".png",))
    stems = sorted({*pictures, *labels}, key=lambda stem: pictures.get(stem, labels.get(stem)).stem)
    pairs = [
        Pair(pictures.get(stem, part.pictures / f"{stem}.jpg"), labels.get(stem, part.labels / f"{stem}.png"))
        for stem in stems
    ]
    if not pairs:
        raise ValueError(
            f"There are neither pictures in {part.pictures} nor labels in {part.labels}. Expected pictures that end in "
            f".jpg, .png or another of the {len(endings)} endings that Pillow reads, and PNG files of the same names."
        )
    return pairs


def _listed(root, part, endings, allow_outside):
    """The `Pair`s of the names in a list, in its order; names may have the ending of a picture."""
    # Not `splitlines`, which also ends a line at U+0085 and others that names may hold.
    names = [line.strip() for line in read_text(part.listed).split("\n")]
    names = [name for name in names if name]
    if broken := [name for name in names if "\0" in name]:
        raise ValueError(
            f"The list {part.listed} must hold names of pictures, one a line. Received: one with a NUL, "
            f"{broken[0][:40]!r}. Unpack it again."
        )
    if not names:
        raise ValueError(f"The list {part.listed} is empty. Expected names of pictures, one a line. Unpack it again.")
    stems = [name[: name.rindex(".")] if name.lower().endswith(endings) else name for name in names]
    again = sorted({stem for stem, count in Counter(map(_composed, stems)).items() if count > 1})
    if again:
        progress.note(f"Each once, though {part.listed} repeats {len(again)} names: {first_five(again)}.")
    stems = {_composed(stem): (stem, name) for stem, name in zip(stems, names, strict=True)}
    # As VOC has them, else with whatever ending there is.
    options = {stem: dict.fromkeys((f"{stem}.jpg", name)) for stem, name in stems.values()}
    found, missing = located.locate(
        root, [part.pictures], [one for some in options.values() for one in some], allow_outside
    )
    others = {_composed(path.stem): path for path in part.pictures.glob("*") if path.name.lower().endswith(endings)}
    labels, no_labels = located.locate(root, [part.labels], [f"{stem}.png" for stem in options], allow_outside)
    pairs = []
    for stem, some in options.items():
        picture = next((found[one] for one in some if one in found), others.get(_composed(stem)))
        drawn, fault = labels.get(f"{stem}.png"), None
        if picture is None:
            fault = "missing picture", f"{stem} ({missing[f'{stem}.jpg']})"
        elif drawn is None:
            fault = "missing labels", f"{stem} ({no_labels[f'{stem}.png']})"
        pairs.append(Pair(picture or part.pictures / f"{stem}.jpg", drawn, fault=fault))
    return pairs


def _beside(path, layout, parts):
    """What a folder holds beside the pictures and labels of its splits: a list of words."""
    used = {path: {_CLASSES_FILE}}
    files = [one for pairs in parts.values() for pair in pairs for one in (pair.picture, pair.labels) if one]
    files += [one for where in layout.values() for one in where if one]
    within = [Path(os.path.normpath(one.relative_to(path))) for one in files if one.is_relative_to(path)]
    # Names in lists may lead out of the folder, and what lies there is no matter of it.
    for place in (path / one for one in within if one.parts[:1] != ("..",)):
        while place != path:
            used.setdefault(place.parent, set()).add(place.name)
            place = place.parent
    found = []
    for folder, names in sorted(used.items()):
        prefix = "" if folder == path else f"{folder.relative_to(path).as_posix()}/"
        found += [f"{prefix}{name}" for name in others_in(folder, names)] if folder.is_dir() else []
    return found


def _by_stem(folder, endings):
    """{name without its ending, composed: `Path`} of the files of a folder that end so."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in endings and not path.name.startswith(".") and not path.is_dir():
            stem = _composed(path.stem)
            if stem in found:
                raise ValueError(
                    f"{found[stem]} and {path} have the same name, and labels belong to a picture by its name. "
                    "Move one away."
                )
            found[stem] = path
    return found


def _composed(name):
    """A name in the normal form that most systems write; macOS has letters and their accents apart."""
    return unicodedata.normalize("NFC", name)


def _lines_of(file):
    """The lines of a file of classes, or None if there is none."""
    if not file.is_file():
        return None
    return [line.strip() for line in read_text(file, "Write one name of a class a line.").strip().split("\n")]


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
    if len(values) == 1:
        _refuse_one_class(path, found, values.pop())
    _name_gaps(path, values)
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


def _check_several_occur(path, pairs, names, table):
    """Checks that there is something to learn: two classes or more in the pictures of a split."""
    found = inspect_labels(path, [pair.labels for pair in pairs])
    occurring = {int(table[value]) for one in found.values() for value in one.values} - {VOID}
    if not occurring:
        raise ValueError(
            f"All pixels of the {len(pairs)} pictures in the train split of {path} are void. Expected classes to learn "
            "from. Label some."
        )
    if len(occurring) == 1:
        _refuse_one_class(f"{path}, train split", found, names[occurring.pop()])


def _refuse_one_class(place, found, name):
    """Raises since whatever is said of pixels of one class is right: a loss of 0 and a mean IU of 1."""
    void = [file for file, one in found.items() if VOID in one.values]
    received, advice = f"the class {name} alone", "Label pixels of another class"
    if void:
        received += (
            f", and {VOID}, which is void and does not count, in {len(void)} of {len(found)} files, such as {void[0]}"
        )
        advice = (
            f"If {VOID} marks objects, as in masks of 0 and {VOID}, write their class in its place: "
            "Image.fromarray((labels == 255).astype('uint8'))"
        )
    raise ValueError(
        f"Only the class {name} occurs in the labels of {place}, so that there is nothing to tell apart. Expected two "
        f"classes or more, of labels 0 to {VOID - 1}. Received: {received}. {advice}."
    )


def _name_gaps(path, values):
    """Says that most labels never occur where they are numbered with gaps, as in masks of 0, 127 and 254."""
    if 2 * len(values) < max(values) + 1:
        line = f"Only {len(values)} of the labels 0 to {max(values)} occur in {path}: {first_five(sorted(values))}."
        progress.note(f"{line} There is a class for each number; number them without gaps if that is not meant.")
