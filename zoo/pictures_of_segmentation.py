"""Pictures of images whose pixels have classes, drawn by Pillow."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zoo.checks import VOID
from zoo.pictures_of_detections import check_image, colour_of, enlarged, name_of

_OPACITY = 0.45
_GAP = 4  # pixels between two pictures
_PLAIN = "background"  # the name of a class that is left as it is, or all else would be seen through its colour
_COLUMNS = ("picture", "truth", "prediction")


def draw_labels(image, labels, names=None, *, size=None, legend=True):
    """An image under the translucent colours of its classes, with solid borders; small ones enlarged.

    Void pixels, and those of a class named "background", are left as they are.

    Args:
        image: (height, width, 3) in [0, 255].
        labels: Whole numbers (height, width): the class of each pixel, from 0 on, or 255 (void).
        names: Name of each class, or None for their numbers.
        size: (height, width) of the image within the labels, at their top left, where they are of a canvas that it was
            fitted into, as by the signature `from_bytes`; each of its pixels then has the nearest label. None where
            labels are of its pixels.
        legend: Whether the colours of the classes that occur are explained below.

    Returns:
        uint8 array (height, width, 3), both sides multiplied by the same whole number; with a legend, it is higher.

    Raises:
        ValueError: If shapes do not fit, or a label is no whole number from 0 to 255.

    Example:
        save(draw_labels(photo, model.segment(photo[None])[0], names=source.class_names), "classes.png")
    """
    image, labels = np.asarray(image), np.asarray(labels)
    if size is not None:
        labels = _fitted(labels, size, image.shape)
    picture = _overlay(image, labels, names)
    if not legend:
        return picture
    found = _drawn(labels, names)
    return np.concatenate([picture, _legend(found, names, picture.shape[1], max(picture.shape))]) if found else picture


def side_by_side(images, truth, found, names=None):
    """Rows of a picture as it is, as it is labelled, and as a model labels it, with a legend below all.

    Args:
        images: (n, height, width, 3) in [0, 255].
        truth: Whole numbers (n, height, width): the class of each pixel, from 0 on, or 255 (void).
        found: The same, as `segment` returns it.
        names: Name of each class, or None for their numbers.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        ValueError: As in `draw_labels`.
    """
    images, truth, found = np.asarray(images), np.asarray(truth), np.asarray(found)
    rows = [
        [_overlay(image, labels, names) for labels in (np.full_like(true, VOID, "uint8"), true, guess)]
        for image, true, guess in zip(images, truth, found, strict=True)
    ]
    height, width = rows[0][0].shape[:2]
    font, head = ImageFont.load_default(14), 14 + 2 * _GAP
    size = (len(_COLUMNS) * (width + _GAP) - _GAP, head + len(rows) * (height + _GAP))
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    for column, word in enumerate(_COLUMNS):
        left = column * (width + _GAP)
        pen.text((left + 2, _GAP), word, "black", font)
        for row, pictures in enumerate(rows):
            canvas.paste(Image.fromarray(pictures[column]), (left, head + row * (height + _GAP)))
    classes = sorted({*_drawn(truth, names), *_drawn(found, names)})
    pixels = np.asarray(canvas)
    return np.concatenate([pixels, _legend(classes, names, size[0], 0)]) if classes else pixels


def names_in(labels, names=None):
    """The classes that occur, in words.

    Args:
        labels: Array of whole numbers from 0 on; 255 (void) is none.
        names: Name of each class, or None for their numbers.

    Returns:
        List of text, in the order of the classes.
    """
    return [name_of(one, names) for one in np.unique(labels).tolist() if one != VOID]


def _drawn(labels, names):
    """The classes that have a colour."""
    return [one for one in np.unique(labels).tolist() if one != VOID and name_of(one, names) != _PLAIN]


def _fitted(labels, size, shape):
    """Of the labels of a canvas, the nearest one of each pixel of the image that is `size` large on it."""
    if labels.ndim != 2 or not all(1 <= side <= whole for side, whole in zip(size, labels.shape, strict=True)):
        raise ValueError(
            "The `size` of an image must lie within its labels, (height, width). Received: "
            f"{tuple(map(int, size))}, and labels of shape {labels.shape}."
        )
    # By the middles of pixels: there is no class between two classes.
    places = [(2 * np.arange(side) + 1) * part // (2 * side) for part, side in zip(map(int, size), shape, strict=False)]
    return labels[np.ix_(*places)]


def _overlay(image, labels, names):
    _check(image, labels)
    pixels, scale = enlarged(image)
    labels = labels.repeat(scale, 0).repeat(scale, 1)
    colours, is_drawn = np.zeros((VOID + 1, 3), "uint8"), np.zeros(VOID + 1, bool)
    # What each value of a channel becomes under each class: large photos would take much memory as floats.
    levels = np.tile(np.arange(256, dtype="uint8"), (3, VOID + 1, 1))
    for one in _drawn(labels, names):
        colours[one], is_drawn[one] = colour_of(one), True
        levels[:, one] = np.rint((1 - _OPACITY) * levels[:, one] + _OPACITY * colours[one][:, None])
    for channel in range(3):
        pixels[..., channel] = levels[channel][labels, pixels[..., channel]]
    edge = is_drawn[labels] & _borders(labels)
    pixels[edge] = colours[labels[edge]]
    return pixels


def _borders(labels):
    """Where a pixel beside, above or below is of another class."""
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    borders = np.zeros(labels.shape, bool)
    borders[:, 1:] |= across
    borders[:, :-1] |= across
    borders[1:] |= down
    borders[:-1] |= down
    return borders


def _legend(classes, names, width, side):
    """A strip (height, width, 3) with the colour and the name of each class, for pictures of so many pixels a side."""
    size = max(12, round(side / 45))
    font = ImageFont.load_default(size)
    places, left, top, line = [], _GAP, _GAP, size + 2 * _GAP
    for one in classes:
        wide = size + _GAP + math.ceil(font.getlength(name_of(one, names)))
        if left > _GAP and left + wide + _GAP > width:
            left, top = _GAP, top + line
        places.append((left, top))
        left += wide + 3 * _GAP
    strip = Image.new("RGB", (width, top + line), "white")
    pen = ImageDraw.Draw(strip)
    for one, (left, top) in zip(classes, places, strict=True):
        pen.rectangle((left, top, left + size - 1, top + size - 1), fill=colour_of(one))
        pen.text((left + size + _GAP, top + size // 2), name_of(one, names), "black", font, anchor="lm")
    return np.asarray(strip)


def _check(image, labels):
    check_image(image)
    if labels.shape != image.shape[:2]:
        raise ValueError(
            f"Labels must be of the pixels of the image, {image.shape[:2]}. Received: shape {labels.shape}."
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > VOID:
        extremes = f"{labels.dtype} values from {labels.min()} to {labels.max()}"
        raise ValueError(f"Labels must be whole numbers, 0 to {VOID}. Received: {extremes}.")
