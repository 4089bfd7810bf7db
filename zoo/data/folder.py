"""A folder of images: listing, checking and reading the files."""

import functools
from typing import NamedTuple

import numpy as np

from zoo.data import progress
from zoo.data.decode import note_dark, peak_of_16_bits, read_picture, size_and_kind
from zoo.data.listing import check_apart, first_five, others_in, picture_endings, report, walk
from zoo.data.source import Source
from zoo.data.splits import SPLIT_NAMES, SPLITS, folders_in, held_out, split_folders


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


def load(path, split, image_size=None, channels=None, cache=False, skip_damaged=False, *, name=None, own_splits=None):
    """The images of a folder, every file checked.

    Args:
        path: `Path` of the folder.
        split: "train" or "test".
        image_size: (height, width) or None.
        channels: 1, 3 or None.
        cache: Whether to keep each picture that was read; None if they take little memory.
        skip_damaged: Whether damaged files are left out, and named on stderr.
        name: Name of the source; None for that of the folder.
        own_splits: {"train": `Path`, "test": `Path`} of the folders that are the splits; None for those in the folder
            that are called so (`zoo.data.splits.SPLIT_NAMES`) if it has both.

    Returns:
        `Source`.

    Raises:
        NotADirectoryError, PermissionError: If the folder cannot be listed.
        ValueError: If it holds no images, damaged ones, or ones of several sizes and `image_size` is None; or folders
            of tests alone.
    """
    roots, passed_over = (own_splits, []) if own_splits else _roots(path)
    own_splits = set(roots) == set(SPLITS)
    parts = {part: _list(path, root, passed_over) for part, root in roots.items()}
    check_apart(path, parts)
    report(path, passed_over, f"pictures that Pillow reads, in {' and '.join(str(root) for root in roots.values())}")
    found = inspect_all(path, [file for files in parts.values() for file in files])
    damaged = {file: picture.error for file, picture in found.items() if picture.error}
    if damaged:
        _refuse_or_report(path, damaged, len(found), skip_damaged)
        found = {file: picture for file, picture in found.items() if file not in damaged}
        parts = {part: [file for file in files if file in found] for part, files in parts.items()}
        _check_none_is_empty(parts, roots)
    every = list(found)
    if image_size is None:
        image_size = _common_size(path, found)
    if channels is None:
        grey = [file for file, picture in found.items() if picture.grey]
        channels = 1 if len(grey) == len(every) else 3
        if grey and channels == 3:
            line = f"{len(grey)} of {len(every)} images in {path} are grey and are read as RGB: {first_five(grey)}."
            progress.note(f"{line} `channels=1` makes all grey.")
    class_names = _class_names(path, parts, roots)
    if own_splits:
        files, note = parts[split], f"its own {split} split"
    else:
        rows = np.flatnonzero(held_out(len(every)) == (split == "test"))
        files, note = [every[row] for row in rows], f"{split} split, a fixed tenth held out for tests"
    labels = None if class_names is None else [class_names.index(file.parent.name) for file in files]
    return Source(
        name or path.resolve().name,
        Pictures(files, (*image_size, channels)),
        labels=labels,
        num_classes=None if class_names is None else len(class_names),
        class_names=class_names,
        cache=cache,
        origin=f"the image folder {path}, {note}",
    )


class Found(NamedTuple):
    """What is known of a file.

    Attributes:
        size: (height, width), turned as EXIF data say; None if it is damaged.
        grey: Whether it has no colours.
        error: What is wrong with it, or None.
        stored: (height, width) as stored.
        peak: Its largest value if it has 16 bits, else None.
    """

    size: tuple | None
    grey: bool = False
    error: str | None = None
    stored: tuple | None = None
    peak: int | None = None


@functools.cache
def _inspect(path, num_bytes, changed):
    """Size and kind of an image that is decoded once; cached as long as the file stays the same."""
    from PIL import Image

    if num_bytes == 0:
        return Found(None, error="the file is empty")
    try:
        with Image.open(path) as image:
            peak = peak_of_16_bits(image)
            size, grey = size_and_kind(image)
            stored = image.height, image.width
            # All of a JPEG's data are read, at a fraction of the cost of all its pixels.
            image.draft(None, (1, 1))
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return Found(None, error=str(error))
    return Found(size, grey, stored=stored, peak=peak)


def inspect_all(folder, paths):
    """Inspects image files, several at a time; says on stderr how far it is, if they are many, and if 16 bits are dark.

    Args:
        folder: What the lines of progress call the place.
        paths: List of `Path`.

    Returns:
        {`Path`: `Found`} in their order.
    """

    def inspect(path):
        try:
            status = path.stat()
        except OSError as error:
            return Found(None, error=str(error))
        return _inspect(path, status.st_size, status.st_mtime_ns)

    found = progress.check_files(inspect, paths, f"images in {folder}")
    note_dark(folder, [one.peak for one in found.values()])
    return found


def _refuse_or_report(folder, damaged, size, skip):
    """Raises because of damaged files, {`Path`: error}, or says that they are left out."""
    listed = first_five([f"{path} ({error})" for path, error in damaged.items()])
    if not skip:
        raise ValueError(
            f"{len(damaged)} of {size} images cannot be decoded: {listed}. Expected whole files of pictures "
            "that Pillow reads. Replace or remove them; `skip_damaged=True` leaves them out."
        )
    progress.show(f"Left out {len(damaged)} of {size} images in {folder} that cannot be decoded: {listed}.", last=True)


def _check_none_is_empty(parts, roots):
    for part, files in parts.items():
        if not files:
            raise ValueError(
                f"None of the images in {roots[part]} can be decoded. Expected one or more. Replace them, or check "
                "that the files are of a kind that Pillow reads."
            )


def _common_size(folder, found):
    first_path, first = next((path, picture.size) for path, picture in found.items())
    for path, picture in found.items():
        if picture.size != first:
            raise ValueError(
                f"The images in {folder} differ in size: {first_path} has {first[0]} x {first[1]} pixels "
                f"(height x width), {path} has {picture.size[0]} x {picture.size[1]}. "
                "Give `image_size` to bring them all to one size."
            )
    return first


def _roots(path):
    """{"train": `Path`, "test": `Path`} or {"all": `Path`}, and a list of what lies beside them."""
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is a file. Expected a folder: give the one that holds it.")
    splits = split_folders(path)
    beside = others_in(path, {root.name for root in splits.values()})
    if set(splits) == set(SPLITS):
        return splits, beside
    # A folder of one split alone holds all that there is, and is no class.
    shown = [name.lower() for name in beside if not name.startswith(".")]
    others = [name for name in shown if name.endswith(("/", *picture_endings()))]
    if "train" in splits and not others:
        return {"all": splits["train"]}, beside
    tests = [f"{name}/" for name in SPLIT_NAMES["test"]]
    if "train" not in splits and splits and all(name.strip("/ ") + "/" in tests for name in others):
        names = [folder.name for name, folder in sorted(folders_in(path).items()) if f"{name}/" in tests]
        raise ValueError(
            f"The folder {path} holds pictures for tests alone, and none to train with. Expected a folder train beside "
            f"them. Received: {', '.join(names)}. Add or rename one, or give {splits['test']} itself."
        )
    if splits:
        used = " and ".join(sorted(folder.name for folder in splits.values()))
        progress.note(
            f"No splits in {path}, though it has {used}: {first_five(sorted(others))} lie beside. With a folder of "
            "each split, train and test, they are the splits; what is here is one set, and its folders are classes."
        )
    return {"all": path}, []


def _list(path, folder, passed_over):
    """The pictures in a folder and below; what else there is goes on the list of what is passed over."""
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file. Expected a folder: give the one that holds it.")
    endings, listing = picture_endings(), walk(folder)
    pictures = [file for file in listing.files if file.name.lower().endswith(endings)]
    others = [file for file in listing.files if not file.name.lower().endswith(endings)]
    if not pictures:
        raise ValueError(
            f"The folder {folder} holds no images. Expected files that end in .jpg, .png or another of the "
            f"{len(endings)} endings that Pillow reads, there or in folders below. Received: {len(others)} other "
            f"files{': ' + first_five([file.name for file in others]) if others else ''}. Check the path."
        )
    prefix = "" if folder == path or not folder.is_relative_to(path) else f"{folder.relative_to(path).as_posix()}/"
    passed_over += [f"{prefix}{one}" for one in listing.passed_over]
    passed_over += [f"{prefix}{file.relative_to(folder).as_posix()}" for file in others]
    return pictures


def _class_names(path, parts, roots):
    """Sorted names of the sub-folders, if there are several and every file lies exactly one level deep, else None."""
    of_parts = {part: [file.relative_to(roots[part]) for file in files] for part, files in parts.items()}
    relative = [one for some in of_parts.values() for one in some]
    found = sorted({one.parts[0] for one in relative if len(one.parts) == 2})
    if found:
        _name_empty(of_parts, roots)
    if len(found) < 2:
        folders = sorted({one.parent.as_posix() for one in relative if len(one.parts) > 1})
        if len(folders) > 1:
            progress.note(
                f"No labels in {path}, though pictures lie in {len(folders)} folders: {first_five(folders)}. With each "
                "image in a folder of one level, in the folder itself or in those of the splits, train and test, the "
                "folders are classes."
            )
        return None
    elsewhere = [one.as_posix() for one in relative if len(one.parts) != 2]
    if elsewhere:
        line = f"No labels in {path}, though it has folders such as {found[0]} and {found[1]}: {len(elsewhere)} of"
        line = f"{line} {len(relative)} images lie beside or below them: {first_five(elsewhere)}."
        progress.note(f"{line} With each image in a folder of one level, the folders are classes.")
        return None
    if "train" in of_parts:
        unknown = sorted({one.parts[0] for one in of_parts["test"]} - {one.parts[0] for one in of_parts["train"]})
        if unknown:
            line = f"{len(unknown)} of {len(found)} classes of {path} are in {roots['test'].name} alone, and nothing"
            progress.note(f"{line} to train with: {first_five(unknown)}.")
    return found


def _name_empty(of_parts, roots):
    """Says which folders beside those of classes hold no pictures; links, which may lead to others, aside."""
    for part, relative in of_parts.items():
        used = {one.parts[0] for one in relative}
        folders = sorted(one.name for one in roots[part].iterdir() if one.is_dir() and not one.is_symlink())
        empty = [name for name in folders if name not in used and not name.startswith(".")]
        if empty:
            line = f"{len(empty)} folders of {roots[part]} hold no pictures, and count as no class"
            progress.note(f"{line} there: {first_five(empty)}.")
