"""From a folder of records to a `Source`."""

import re

import numpy as np

from zoo.data import progress
from zoo.data.arrayrecord import ArrayRecordFile
from zoo.data.decode import note_dark
from zoo.data.listing import report
from zoo.data.records.files import LABEL_NAMES, find, is_tfrecord, others, splits
from zoo.data.records.pictures import Records
from zoo.data.source import Source
from zoo.data.splits import held_out
from zoo.files import read_text
from zoo.tfrecord import TFRecordFile

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_LOOKED_AT = 32


def load(path, split, image_size=None, channels=None, cache=False, *, files=None):
    """The images in the record files of a folder; all record heads and some records are checked.

    Args:
        path: `Path` of the folder; the files may lie deeper, as in <name>/<version>, but in one folder only, or in
            the folders "train" and "test".
        split: "train" or "test".
        image_size: (height, width), or None: all must have the size of those that are looked at.
        channels: 1, 3, or None for what those that are looked at have.
        cache: Whether to keep each decoded picture; None if they take little memory.
        files: What `find(path)` gives, if it is known.

    Returns:
        `Source`, whose labels are read when they are first asked for.

    Raises:
        ModuleNotFoundError: If there are ArrayRecord files and the package for them is not installed.
        ValueError: If files are missing, damaged or of several sets; or if images differ in size and `image_size` is
            None; the message names them.
    """
    parts, note = splits(path, files or find(path))
    used = [file for files in parts.values() for file in files]
    report(path, others(path, used), f"the {len(used)} files of records of {' and '.join(sorted(parts))}")
    opener = _Opener(path, sum(len(files) for files in parts.values()))
    opened = {name: [opener.open(file) for file in files] for name, files in parts.items()}
    for name, files in opened.items():
        if not sum(map(len, files)):
            raise ValueError(f"The files of records in {path} ({name}) hold no records. Received: {files[0].path}.")
    looked = {name: _look(Records(files, (0, 0, 0))) for name, files in opened.items()}
    note_dark(path, [peak for found in looked.values() for _, _, peak, _ in found])
    sizes = sorted({size for found in looked.values() for size, *_ in found})
    if image_size is None and len(sizes) > 1:
        raise ValueError(
            f"The images in {path} differ in size: some have {sizes[0][0]} x {sizes[0][1]} pixels (height x width), "
            f"some {sizes[-1][0]} x {sizes[-1][1]}. Give `image_size` to bring them all to one size."
        )
    only_grey = channels is None and all(grey for found in looked.values() for _, grey, *_ in found)
    shape = (*(image_size or sizes[0]), channels or (1 if only_grey else 3))
    rows = None
    if "all" in opened:
        rows = np.flatnonzero(held_out(sum(map(len, opened["all"]))) == (split == "test"))
    part = "all" if "all" in opened else split
    pictures = Records(opened[part], shape, rows, image_size is None, only_grey)
    # TensorFlow Datasets marks what has no label with -1.
    is_labelled = all(label is not None and label >= 0 for *_, label in looked[part])
    class_names = _class_names(path, opened[part][0].path.parent) if is_labelled else None
    if class_names is not None and len(class_names) < 2:
        # One class tells nothing apart.
        is_labelled, class_names = False, None
    resolved = path.resolve()
    return Source(
        resolved.parent.name if _VERSION.fullmatch(resolved.name) else resolved.name,
        pictures,
        labels=pictures.labels if is_labelled else None,
        num_classes=None if class_names is None else len(class_names),
        class_names=class_names,
        cache=cache,
        origin=f"the records in {path}, " + note.format(split=split),
    )


class _Opener:
    """Opens files, each once as long as it stays the same, and says how far it is."""

    opened = {}

    def __init__(self, folder, num_files):
        self.folder, self.num_files = folder, num_files
        self.files = self.records = self.shown = 0

    def open(self, path):
        status = path.stat()
        key = path, status.st_size, status.st_mtime_ns
        if key not in self.opened:
            self.opened[key] = TFRecordFile(path, self.report) if is_tfrecord(path) else ArrayRecordFile(path)
        self.files, self.records = self.files + 1, self.records + len(self.opened[key])
        self.report(0)
        return self.opened[key]

    def report(self, more):
        found, last = self.records + more, self.files == self.num_files
        if found - self.shown >= progress.RECORDS or (last and self.shown):
            self.shown = found
            line = f"Indexed {found} records in {self.files} of {self.num_files} files in {self.folder}"
            progress.show(line, last)


def _look(records):
    """What some records all over the files are."""
    rows = np.unique(np.linspace(0, len(records) - 1, _LOOKED_AT).astype(int))
    return [records.look(row) for row in rows]


def _class_names(*places):
    """Names of the classes from label.labels.txt in one of some folders, or None."""
    for place in places:
        if (place / LABEL_NAMES).is_file():
            return read_text(place / LABEL_NAMES).splitlines()
    return None
