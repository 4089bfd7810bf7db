"""Data sets larger than memory: TFRecord and ArrayRecord files of `tf.train.Example`s, read by row number.

    python -m zoo.data.records SOURCE_NAME_OR_FOLDER OUT --image-size N

writes any set of images as TFRecord files, both splits. Reading needs no shuffle buffer: where each record begins is
found once, by walking over the lengths, and kept as one int64 number; then any row can be read at any time.
"""

import functools
import io
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from zoo.data import progress
from zoo.data.arrayrecord import ArrayRecordFile
from zoo.data.decode import fit_picture, shrink, size_and_kind
from zoo.data.folder import EXTENSIONS
from zoo.data.source import Source
from zoo.data.splits import SPLITS, held_out
from zoo.files import write_text
from zoo.tfrecord import TFRecordFile

IMAGE_KEYS = ("image", "image/encoded")
LABEL_KEYS = ("label", "image/class/label")
LABEL_NAMES = "label.labels.txt"  # as TensorFlow Datasets calls it: one class name per line
_RECORD_FILE = re.compile(r"\.(tfrecords?|array_?records?)([-.].*)?$", re.IGNORECASE)
_SHARD = re.compile(r"-(\d{5,})-of-(\d{5,})")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_MANY = 100_000
_WRITTEN = 2000
_LOOKED_AT = 32


class _Unlike(ValueError):
    """An image that is whole, and not like the others."""


class Records:
    """Pictures in records, read one at a time.

    Args:
        files: List of `TFRecordFile`, or of anything with `path`, `len` and `read(number)`.
        shape: (height, width, channels) that each is brought to.
        rows: int64 array of the records that count, in the order of the files; None for all.
        fixed_size: Whether a picture of another size is an error, instead of being cut and resized.
        only_grey: Whether a picture with colours is an error, instead of being made grey.
    """

    def __init__(self, files, shape, rows=None, fixed_size=False, only_grey=False):
        """Counts the records; reads none."""
        self._files = files
        self._ends = np.cumsum([len(file) for file in files])
        self._rows = rows
        self._fixed_size, self._only_grey = fixed_size, only_grey
        self.shape = (int(self._ends[-1]) if rows is None else len(rows), *shape)

    def __len__(self):
        """Number of records that count."""
        return self.shape[0]

    def read(self, row):
        """The image in row `row`, as a uint8 array (height, width, channels).

        Raises:
            ValueError: If the record is damaged or holds no such image; the message names it.
        """
        place, features = self._features(row)
        check = functools.partial(self._check, place) if self._fixed_size or self._only_grey else None
        with _open_image(place, features) as image:
            if not self._fixed_size:
                shrink(image, self.shape[1:3])
            return _decoded(place, fit_picture, image, self.shape[1:3], self.shape[3], check)

    def look(self, row):
        """((height, width), whether it is grey, label or None) of a row, whose image is decoded to see that it can be.

        Raises:
            ValueError: If the record is damaged or holds no image; the message names it.
        """
        place, features = self._features(row)
        with _open_image(place, features) as image:
            size, grey = _decoded(place, size_and_kind, image)
            _decoded(place, image.load)
        return size, grey, _label(place, features)

    def labels(self, rows):
        """Labels of some rows, with a line of progress where they are many.

        Args:
            rows: Whole numbers (n,).

        Returns:
            int64 array (n,).

        Raises:
            ValueError: If a record is damaged or has no label; the message names it.
        """
        labels = np.empty(len(rows), np.int64)
        for done, row in enumerate(rows):
            place, features = self._features(row)
            label = _label(place, features)
            if label is None:
                raise ValueError(
                    f"{_name(place)} has no label, and others have one. Expected a whole number under "
                    f"{' or '.join(map(repr, LABEL_KEYS))}. Received: {_names(features)}."
                )
            labels[done] = label
            if (done + 1) % _MANY == 0:
                progress.show(f"Read {done + 1} of {len(rows)} labels", last=done + 1 == len(rows))
        return labels

    def _check(self, place, size, is_grey):
        """Raises if an image does not fit those that were looked at."""
        expected = self.shape[1:3]
        if self._fixed_size and size != expected:
            raise _Unlike(
                f"The images of {place[0].path.parent} differ in size: most have {expected[0]} x {expected[1]} pixels "
                f"(height x width), {_name(place)} has {size[0]} x {size[1]}. "
                "Give `image_size` to bring them all to one size."
            )
        if self._only_grey and not is_grey:
            raise _Unlike(
                f"The images of {place[0].path.parent} seemed to be grey, and {_name(place)} has colours. "
                "Give `channels`: 3 for colours, 1 to make all of them grey."
            )

    def _features(self, row):
        """(file, number of the record in it) of a row, and what is stored there under which name."""
        import tensorflow as tf
        from google.protobuf.message import DecodeError

        number = int(row if self._rows is None else self._rows[row])
        index = int(np.searchsorted(self._ends, number, side="right"))
        file = self._files[index]
        place = file, number - int(self._ends[index]) + len(file)
        try:
            data = file.read(place[1])
        except OSError as error:
            raise ValueError(f"The file {file.path} could be read before and now cannot be: {error}.") from error
        try:
            return place, tf.train.Example.FromString(data).features.feature
        except DecodeError as error:
            raise ValueError(
                f"{_name(place)} is no `tf.train.Example`: {error}. Expected examples with an image in each."
            ) from error


def find(folder):
    """The files of records in a folder and below.

    Args:
        folder: `Path`.

    Returns:
        Sorted list of `Path`; empty if there are none.

    Raises:
        ValueError: If there are image files as well.
    """
    found, image = [], None
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith((".", "writing-")) and _RECORD_FILE.search(name):
                found.append(Path(parent, name))
            elif name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                image = image or Path(parent, name)
    if found and image:
        raise ValueError(
            f"The folder {folder} holds files of records, such as {found[0].relative_to(folder)}, and image files, "
            f"such as {image.relative_to(folder)}. Expected one kind. Move the others away, or give a sub-folder."
        )
    return sorted(found)


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
    parts, note = _splits(path, files or find(path))
    opener = _Opener(path, sum(len(files) for files in parts.values()))
    opened = {name: [opener.open(file) for file in files] for name, files in parts.items()}
    for name, files in opened.items():
        if not sum(map(len, files)):
            raise ValueError(f"The files of records in {path} ({name}) hold no records. Received: {files[0].path}.")
    looked = {name: _look(Records(files, (0, 0, 0))) for name, files in opened.items()}
    sizes = sorted({size for found in looked.values() for size, _, _ in found})
    if image_size is None and len(sizes) > 1:
        raise ValueError(
            f"The images in {path} differ in size: some have {sizes[0][0]} x {sizes[0][1]} pixels (height x width), "
            f"some {sizes[-1][0]} x {sizes[-1][1]}. Give `image_size` to bring them all to one size."
        )
    only_grey = channels is None and all(grey for found in looked.values() for _, grey, _ in found)
    shape = (*(image_size or sizes[0]), channels or (1 if only_grey else 3))
    rows = None
    if "all" in opened:
        rows = np.flatnonzero(held_out(sum(map(len, opened["all"]))) == (split == "test"))
    part = "all" if "all" in opened else split
    pictures = Records(opened[part], shape, rows, image_size is None, only_grey)
    # TensorFlow Datasets marks what has no label with -1.
    is_labelled = all(label is not None and label >= 0 for _, _, label in looked[part])
    class_names = _class_names(path, opened[part][0].path.parent) if is_labelled else None
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


def write(source, folder, split, *, shard_bytes=128 * 2**20):
    """Writes the images of a `Source` as TFRecord files of PNG examples, which `data.load(folder)` reads.

    The files have the names of TensorFlow Datasets, <name>-<split>.tfrecord-00000-of-00001, and get them only when all
    are written. Labels go with the images, names of classes into label.labels.txt.

    Args:
        source: `Source` of images.
        folder: `Path` to write to; made if need be.
        split: "train" or "test"; which split `source` is.
        shard_bytes: Size from which on a new file is begun.

    Returns:
        List of the `Path`s written.

    Raises:
        FileExistsError: If the folder holds records of this split already, or other names of classes.
        ValueError: If the examples are no images, or one cannot be read.

    Example:

        >>> from zoo import data
        >>> from zoo.data import records
        >>> for split in ("train", "test"):
        ...     files = records.write(data.load("digits", split=split), "digits_records", split)
        >>> data.load("./digits_records").shape
        (8, 8, 1)
    """
    folder = Path(folder)
    there = [path for path in find(folder) if _split_of(path) == split]
    if there:
        raise FileExistsError(
            f"The folder {folder} holds records of the {split} split already, such as {there[0].name}. They are kept. "
            "Give another folder, or remove them."
        )
    folder.mkdir(parents=True, exist_ok=True)
    if source.is_labelled:
        _write_names(source.class_names or map(str, range(source.num_classes)), folder / LABEL_NAMES)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", source.name)
    unfinished = []
    try:
        _write_shards(source, folder / f"writing-{name}-{split}", shard_bytes, unfinished)
        count = len(unfinished)
        named = [folder / f"{name}-{split}.tfrecord-{index:05}-of-{count:05}" for index in range(count)]
        for old, new in zip(unfinished, named, strict=True):
            os.replace(old, new)
    finally:
        for path in unfinished:
            path.unlink(missing_ok=True)
    return named


def main(arguments=None):
    """Writes both splits of a set as TFRecord files.

    Args:
        arguments: Command line; None for that of the process.
    """
    import sys

    import tyro

    from zoo.data.loading import load as load_any

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    def convert(
        source: tyro.conf.Positional[str],
        out: tyro.conf.Positional[Path],
        /,
        *,
        image_size: int | None = None,
        channels: int | None = None,
    ):
        """Writes a set of images as TFRecord files, both splits.

        Args:
            source: Name of a set, or folder of images or of records.
            out: Folder to write to.
            image_size: Height and width that images are cut and resized to; None keeps them.
            channels: 1 for grey, 3 for RGB; None keeps what the set has.
        """
        for split in SPLITS:
            write(load_any(source, split=split, image_size=image_size, channels=channels), out, split)

    try:
        tyro.cli(convert, args=arguments, prog="python -m zoo.data.records")
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        raise SystemExit(1) from None


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
            self.opened[key] = TFRecordFile(path, self.report) if _is_tfrecord(path) else ArrayRecordFile(path)
        self.files, self.records = self.files + 1, self.records + len(self.opened[key])
        self.report(0)
        return self.opened[key]

    def report(self, more):
        found, last = self.records + more, self.files == self.num_files
        if found - self.shown >= _MANY or (last and self.shown):
            self.shown = found
            line = f"Indexed {found} records in {self.files} of {self.num_files} files in {self.folder}"
            progress.show(line, last)


def _is_tfrecord(path):
    return "tfrecord" in _RECORD_FILE.search(path.name)[1].lower()


def _splits(folder, paths):
    """({split: files} or {"all": files}, what to say about it)."""
    _check_shards(paths)
    kinds = {_is_tfrecord(path): path.name for path in paths}
    if len(kinds) > 1:
        raise ValueError(
            f"The folder {folder} holds TFRecord files, such as {kinds[True]}, and ArrayRecord files, such as "
            f"{kinds[False]}. Expected one kind. Move the others away."
        )
    places = {path.parent for path in paths}
    if len(places) > 1 and not all(place.parent == folder and place.name in _SPLIT_NAMES for place in places):
        named = sorted(str(place.relative_to(folder)) for place in places)
        raise ValueError(
            f"The folder {folder} holds records in {len(named)} folders: {', '.join(named[:5])}. Expected one set, in "
            "one folder or in the folders train and test. Give the path of one, such as <name>/<version>."
        )
    parts = {}
    for path in paths:
        parts.setdefault(_split_of(path) if len(places) == 1 else _SPLIT_NAMES[path.parent.name], []).append(path)
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


def _split_of(path):
    """Split that the name of a file ends in, before its extension, or None."""
    stem = _SHARD.sub("", path.name[: _RECORD_FILE.search(path.name).start()]).lower()
    return next((_SPLIT_NAMES[word] for word in reversed(re.split(r"[-_.]", stem)) if word in _SPLIT_NAMES), None)


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


def _look(records):
    """What some records all over the files are."""
    rows = np.unique(np.linspace(0, len(records) - 1, _LOOKED_AT).astype(int))
    return [records.look(row) for row in rows]


def _class_names(*places):
    """Names of the classes from label.labels.txt in one of some folders, or None."""
    for place in places:
        if (place / LABEL_NAMES).is_file():
            return (place / LABEL_NAMES).read_text(encoding="utf-8").splitlines()
    return None


def _name(place):
    return f"Record {place[1]} of {place[0].path}"


def _names(features):
    return ", ".join(sorted(features)) or "no features"


def _open_image(place, features):
    from PIL import Image

    for key in IMAGE_KEYS:
        content = features[key].bytes_list.value if key in features else ()
        if len(content) == 1:
            return _decoded(place, Image.open, io.BytesIO(content[0]))
    raise ValueError(
        f"{_name(place)} holds no image. Expected the bytes of one PNG or JPEG under "
        f"{' or '.join(map(repr, IMAGE_KEYS))}. Received: {_names(features)}."
    )


def _label(place, features):
    """The label of a record, or None."""
    for key in LABEL_KEYS:
        if key in features:
            values = features[key].int64_list.value
            if len(values) != 1:
                raise ValueError(
                    f"{_name(place)} must have one whole number under {key!r}. Received: {len(values)} whole numbers."
                )
            return values[0]
    return None


def _decoded(place, decode, *arguments):
    """What `decode` gives; what it raises over bad bytes names the record."""
    from PIL import Image

    try:
        return decode(*arguments)
    except _Unlike:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"The image in {_name(place)} cannot be decoded: {error}.") from error


def _write_names(names, path):
    text = "".join(f"{name}\n" for name in names)
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise FileExistsError(f"{path} holds other names of classes, and is kept. Give another folder.")
        return
    write_text(path, text)


def _write_shards(source, prefix, shard_bytes, paths):
    """Writes all images; each file's path is in `paths` from its beginning."""
    import tensorflow as tf

    done, shown, size, writer = 0, 0, shard_bytes, None
    labels = source.labels if source.is_labelled else [None] * source.size
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for pixels in source.pixels():
            for example in pool.map(_example, pixels, labels[done : done + len(pixels)]):
                if size >= shard_bytes:
                    if writer:
                        writer.close()
                    paths.append(prefix.with_name(f"{prefix.name}-{len(paths)}"))
                    writer, size = tf.io.TFRecordWriter(str(paths[-1])), 0
                writer.write(example)
                size += len(example) + 16
            done += len(pixels)
            if done - shown >= _WRITTEN or done == source.size:
                shown = done
                progress.show(f"Wrote {done} of {source.size} images to {prefix.parent}", last=done == source.size)
    finally:
        pool.shutdown(cancel_futures=True)
        if writer:
            writer.close()


def _example(image, label):
    """One image and its label as a serialized `tf.train.Example`, named as TensorFlow Datasets does."""
    import tensorflow as tf
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "png")
    example = tf.train.Example()
    example.features.feature["image"].bytes_list.value.append(file.getvalue())
    if label is not None:
        example.features.feature["label"].int64_list.value.append(int(label))
    return example.SerializeToString()


if __name__ == "__main__":
    main()
