"""Pictures with a label for each pixel in files of their own: checking pairs of files, and reading them."""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.checks import VOID
from zoo.data import progress
from zoo.data.canvas import fitted_size
from zoo.data.folder import inspect_all
from zoo.data.listing import first_five
from zoo.data.reading import read_picture_on

_MULTIPLE = 32
# Pillow stretches grey of 2 and 4 bits to 0 to 255: the step from one value to the next.
_STEPS = {"L;2": 85, "L;4": 17}
# Kinds of files, and of compression in TIFF, that give other values than were written.
_LOSSY = {"AVIF", "JPEG", "JPEG2000", "MPO", "WEBP"}
_LOSSY_WITHIN = {"jpeg", "tiff_jpeg", "webp"}


class Labelled(NamedTuple):
    """A picture on its canvas, and the class of each pixel.

    Attributes:
        image: uint8 (height, width, 3).
        labels: uint8 (height, width): classes, or `zoo.checks.VOID`.
        size: (height, width) of the picture within the canvas.
    """

    image: np.ndarray
    labels: np.ndarray
    size: tuple


class Pair(NamedTuple):
    """A picture and its labels, which may be missing or damaged.

    Attributes:
        picture: `Path` of the picture.
        labels: `Path` of the PNG file of its labels; None where annotations name none that is there.
        classes: uint8 (256,), the class of each label; or {segment: class} where colours number segments.
        known: Labels that may occur; None for any.
        size: (height, width) that annotations give, or None.
        fault: What is wrong with its annotations, (reason, text), or None.
    """

    picture: Path
    labels: Path
    classes: object = None
    known: frozenset | None = None
    size: tuple | None = None
    fault: tuple | None = None


class Inspected(NamedTuple):
    """What is known of a file of labels.

    Attributes:
        size: (height, width), or None if it is damaged.
        channels: 1, or more for colours.
        values: Sorted tuple of the labels that occur; empty for colours.
        error: What is wrong with it, or None.
    """

    size: tuple | None
    channels: int = 1
    values: tuple = ()
    error: str | None = None


class LabelledFiles:
    """Pictures of one split with a label for each pixel, read one at a time.

    Args:
        pairs: List of `Pair`s that were checked, each with its size.
        turned: Whether each picture has to be turned as its EXIF data say.
        class_names: Name of each class.
        canvas: (height, width).
        dropped: {reason: count} of what was left out.

    Attributes:
        shape: (number of pictures, height, width, 3).
        class_names: As given.
        dropped: As given.
    """

    def __init__(self, pairs, turned, class_names, canvas, dropped):
        """Keeps what is known; reads no pixels yet."""
        self._pairs, self._turned = pairs, turned
        self.class_names, self.dropped = tuple(class_names), dropped
        self.shape = (len(pairs), *canvas, 3)

    def __len__(self):
        """Number of pictures."""
        return len(self._pairs)

    def original_size(self, row):
        """(height, width) of a picture in its file."""
        return self._pairs[row].size

    def read(self, row):
        """The picture in a row, `Labelled`.

        Raises:
            ValueError: If a file can no longer be read; the message names it.
        """
        pair, canvas = self._pairs[row], self.shape[1:3]
        image = read_picture_on(canvas, pair.picture, pair.size, self._turned[row])
        try:
            labels = put_labels(read_labels(pair.labels), pair.classes, canvas)
        except (OSError, SyntaxError, ValueError, IndexError) as error:
            raise ValueError(f"The labels {pair.labels} could be read before and now cannot be: {error}.") from error
        return Labelled(image, labels, fitted_size(pair.size, canvas))


def read_labels(path):
    """What a file of labels holds.

    Args:
        path: `Path` of a file, PNG as a rule.

    Returns:
        Array (height, width) of labels, of a palette or grey; or (height, width, channels), if it is in colour.

    Raises:
        ValueError: If it is of a kind whose compression changes values, such as JPEG, whatever its name says.
    """
    from PIL import Image

    with Image.open(path) as image:
        if image.format in _LOSSY or image.info.get("compression") in _LOSSY_WITHIN:
            raise ValueError(
                f"it is {image.format}, whatever its name says, whose compression changes labels; make the PNG anew "
                "from what the labels were drawn in, since they cannot be had back from it"
            )
        raw_mode = image.tile[0][3] if image.tile else None
        step = _STEPS.get(raw_mode[0] if isinstance(raw_mode, tuple) else raw_mode, 1)
        pixels = np.asarray(image)
    return pixels.astype("uint8") if pixels.dtype == bool else pixels // step


def put_labels(pixels, classes, canvas):
    """Labels as classes, resized like their picture but by nearest neighbour, on a canvas of void.

    Args:
        pixels: What `read_labels` gives.
        classes: uint8 (256,), the class of each label; or {segment: class}, where a pixel of colour (r, g, b) is of
            segment r + 256 g + 65536 b, and others are void.
        canvas: (height, width).

    Returns:
        uint8 array (height, width).
    """
    size = fitted_size(pixels.shape[:2], canvas)
    # In whole numbers, as in zoo.data.geometry: the middle of pixel i lies at (2 i + 1) before / (2 after).
    rows, columns = (
        (2 * np.arange(after) + 1) * before // (2 * after) for before, after in zip(pixels.shape[:2], size, strict=True)
    )
    pixels = pixels[rows[:, None], columns]
    labels = np.full(canvas, VOID, "uint8")
    labels[: size[0], : size[1]] = _of_segments(pixels, classes) if isinstance(classes, dict) else classes[pixels]
    return labels


def inspect_labels(folder, paths):
    """Reads files of labels, several at a time, with progress on stderr where they are many.

    Args:
        folder: What the lines of progress call the place.
        paths: List of `Path`.

    Returns:
        {`Path`: `Inspected`} in their order.
    """

    def inspect(path):
        status = path.stat()
        return _inspect(path, status.st_size, status.st_mtime_ns)

    return progress.check_files(inspect, paths, f"files of labels in {folder}")


def usable(place, pairs, skip_damaged=False):
    """The pairs that can be used; others are an error that names them, or left out, counted and named on stderr.

    Args:
        place: What messages call the place.
        pairs: List of `Pair`.
        skip_damaged: Whether pairs that cannot be used are left out.

    Returns:
        Tuple of the list of `Pair`s, each with its size; a list of whether each picture is to be turned; and {reason:
        count} of those that were left out.

    Raises:
        ValueError: If a pair cannot be used and is not to be left out, or none can be.
    """
    kept, turned, faults = [], [], []
    for pair, size, is_turned, fault in _examined(place, pairs):
        if fault:
            faults.append(fault)
        else:
            kept.append(pair._replace(size=size))
            turned.append(is_turned)
    if faults and not (skip_damaged and kept):
        raise ValueError(
            f"{len(faults)} of {len(pairs)} pairs of pictures and labels in {place} cannot be used: "
            f"{first_five([text for _, text in faults])}. Expected for each picture a PNG file of its name and size "
            "that holds the class of each pixel. Mend or remove them"
            + ("." if skip_damaged else "; `skip_damaged=True` leaves them out.")
        )
    dropped = {}
    for reason, _ in faults:
        dropped[reason] = dropped.get(reason, 0) + 1
    if faults:
        counts = ", ".join(f"{reason}: {count}" for reason, count in dropped.items())
        progress.show(f"Left out of {place}: {counts}: {first_five([text for _, text in faults])}.", last=True)
    return kept, turned, dropped


def sizes_of(place, pairs):
    """{(height, width)} of the pictures of those pairs that can be used."""
    return {size for _, size, _, fault in _examined(place, pairs) if not fault}


def canvas_of(sizes):
    """(height, width) of a canvas for pictures of these sizes: theirs if all are equal, else multiples of 32."""
    if len(sizes) == 1:
        return next(iter(sizes))
    return tuple(-(-max(sides) // _MULTIPLE) * _MULTIPLE for sides in zip(*sizes, strict=True))


def _examined(place, pairs):
    """For each pair: itself, its size, whether its picture is to be turned, and what is wrong: (reason, text)."""
    pictures = inspect_all(place, [pair.picture for pair in pairs if not pair.fault and pair.picture.is_file()])
    labels = inspect_labels(place, [pair.labels for pair in pairs if not pair.fault and pair.labels.is_file()])
    for pair in pairs:
        picture, of_labels = pictures.get(pair.picture), labels.get(pair.labels)
        fault = _fault(pair, picture, of_labels)
        size = None if fault else of_labels.size
        yield pair, size, not fault and size != picture.stored, fault


def _fault(pair, picture, labels):
    """(reason, text) of what is wrong with a pair, or None."""
    wanted = 3 if isinstance(pair.classes, dict) else 1
    if pair.fault:
        return pair.fault
    if picture is None:
        return "missing picture", f"{pair.labels} (no picture {pair.picture.name} in {pair.picture.parent})"
    if labels is None:
        return "missing labels", f"{pair.picture} (no labels {pair.labels.name} in {pair.labels.parent})"
    if picture.error:
        return "damaged picture", f"{pair.picture} ({picture.error})"
    if labels.error:
        return "damaged labels", f"{pair.labels} ({labels.error})"
    if labels.channels != wanted:
        expected = "3, whose colours number segments" if wanted == 3 else "1 of class numbers, palette or grey"
        return "labels of another kind", f"{pair.labels} ({labels.channels} channels; expected {expected})"
    if labels.size not in (picture.stored, picture.size) or pair.size not in (None, labels.size):
        annotated = f", annotations of {_pixels(pair.size)}" if pair.size else ""
        text = f"{pair.labels} ({_pixels(labels.size)}, its picture of {_pixels(picture.stored)}{annotated})"
        return "labels of another size", text
    unknown = [value for value in labels.values if pair.known is not None and value not in pair.known]
    if unknown:
        most = max(pair.known - {VOID}, default=None)
        text = f"{pair.labels} (label {', '.join(map(str, unknown[:5]))}; expected 0 to {most}, or {VOID} for void)"
        return "label out of range", text
    return None


@functools.cache
def _inspect(path, num_bytes, changed):
    """What is known of a file of labels that is decoded once; cached as long as the file stays the same."""
    from PIL import Image

    if num_bytes == 0:
        return Inspected(None, error="the file is empty")
    try:
        pixels = read_labels(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return Inspected(None, error=str(error))
    if pixels.ndim == 3:
        return Inspected(pixels.shape[:2], pixels.shape[2])
    values = np.flatnonzero(np.bincount(pixels.ravel())) if pixels.dtype == "uint8" else np.unique(pixels)
    return Inspected(pixels.shape, values=tuple(values.tolist()))


def _of_segments(pixels, classes):
    """The class of each pixel whose colour is the number of its segment."""
    numbers = pixels.astype("int32") @ np.array([1, 256, 65536], "int32")
    # A last one, which no colour has, so that there always is one.
    segments = np.array([*sorted(classes), 2**24])
    of_segments = np.array([*(classes[segment] for segment in segments[:-1].tolist()), VOID], "uint8")
    places = np.searchsorted(segments, numbers)
    return np.where(segments[places] == numbers, of_segments[places], np.uint8(VOID))


def _pixels(size):
    return f"{size[0]} x {size[1]} pixels (height x width)"
