"""The images and labels in records."""

import functools
import io

import numpy as np

from zoo.data import progress
from zoo.data.decode import fit_picture, peak_of_16_bits, shrink, size_and_kind

IMAGE_KEYS = ("image", "image/encoded")
LABEL_KEYS = ("label", "image/class/label")


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
        """What is known of a row, whose image is decoded to see that it can be.

        Returns:
            Tuple of (height, width); whether it is grey; its largest value if it has 16 bits, else None; and its label
            or None.

        Raises:
            ValueError: If the record is damaged or holds no image; the message names it.
        """
        place, features = self._features(row)
        with _open_image(place, features) as image:
            peak = _decoded(place, peak_of_16_bits, image)
            size, grey = _decoded(place, size_and_kind, image)
            _decoded(place, image.load)
        return size, grey, peak, _label(place, features)

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
            if (done + 1) % progress.RECORDS == 0:
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
