"""Pictures of objects in images: boxes, names, scores and masks, drawn by Pillow."""

import colorsys
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_LEGIBLE = 256  # pixels of the longer side of a picture, at least
_OPACITY = 0.45
_GAP = 4  # pixels between two pictures
_ROW = 1100  # pixels of pictures side by side, at most, unless two are larger


def draw_detections(image, boxes, classes, scores=None, masks=None, names=None, *, threshold=0.0):
    """An image with its objects: boxes, names and scores, and translucent masks with an outline; small ones enlarged.

    Args:
        image: (height, width, 3) in [0, 255].
        boxes: (n, 4), corners x1, y1, x2, y2 in pixels.
        classes: Whole numbers (n,); what is below 0 is not drawn.
        scores: (n,) in [0, 1], or None. The highest lies on top.
        masks: Probabilities within the boxes (n, M, M), or masks of the whole image (n, height, width), from 0 to 1; or
            None.
        names: Name of each class, or None for their numbers.
        threshold: Lowest score that is drawn.

    Returns:
        uint8 array (height, width, 3), both sides multiplied by the same whole number.

    Raises:
        ValueError: If shapes do not fit, or a box or mask is not finite.

    Example:
        found = model.detect(photo[None])
        one = {name: found[name][0] for name in ("boxes", "classes", "scores", "masks")}
        save(draw_detections(photo, **one, threshold=0.5), "found.png")
    """
    image, boxes, classes = np.asarray(image), np.asarray(boxes, "float64"), np.asarray(classes)
    scores, masks = (None if one is None else np.asarray(one) for one in (scores, masks))
    _check(image, boxes, classes, scores, masks)
    pixels, scale = enlarged(image)
    shown = np.flatnonzero((classes >= 0) & (True if scores is None else scores >= threshold))
    if scores is not None:
        shown = shown[np.argsort(scores[shown], kind="stable")]
    if masks is not None:
        is_whole = masks.shape[1:] == image.shape[:2]
        for one in shown:
            mask = masks[one].astype("float32")
            where = (0, 0, *image.shape[1::-1]) if is_whole else boxes[one]
            _lay(pixels, mask, scale * np.asarray(where), colour_of(classes[one]))
    picture = Image.fromarray(pixels)
    width = max(1, round(max(picture.size) / 250))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(max(11, round(max(picture.size) / 45)))
    for one in shown:
        left, top, right, bottom = np.rint(scale * np.clip(boxes[one], 0, [*image.shape[1::-1]] * 2)).astype(int)
        pen.rectangle(
            (left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour_of(classes[one]), width=width
        )
    # Names over all boxes, so that none is crossed out.
    for one in shown:
        text = name_of(classes[one], names) + ("" if scores is None else f": {scores[one]:.2f}")
        _write(pen, font, text, scale * boxes[one], colour_of(classes[one]))
    return np.asarray(picture)


def side_by_side(images, truth, found, names=None, *, threshold=0.5):
    """Scenes in rows, each twice: as it is annotated, and as a model sees it.

    Args:
        images: (n, height, width, 3) in [0, 255].
        truth: {"boxes": (n, N, 4), "classes": (n, N), "masks": (n, N, height, width)}, class -1 for padding.
        found: {"boxes": (n, D, 4), "classes": (n, D), "scores": (n, D), "masks": (n, D, M, M)}, as `detect` returns.
        names: Name of each class, or None for their numbers.
        threshold: Lowest score that is drawn.

    Returns:
        uint8 array (height, width, 3).
    """
    used = ("boxes", "classes", "masks")
    kinds = ((truth, used), (found, (*used, "scores")))
    options = {"names": names, "threshold": threshold}
    pairs = [
        [draw_detections(image, **{name: kind[name][row] for name in used}, **options) for kind, used in kinds]
        for row, image in enumerate(images)
    ]
    height, width = pairs[0][0].shape[:2]
    columns = min(len(pairs), max(1, _ROW // (2 * width)))
    rows = math.ceil(len(pairs) / columns)
    font, head = ImageFont.load_default(14), 14 + 2 * _GAP
    step = (2 * width + 4 * _GAP, height + _GAP)
    canvas = Image.new("RGB", (columns * step[0] - 2 * _GAP, head + rows * step[1] - _GAP), "white")
    pen = ImageDraw.Draw(canvas)
    for column in range(columns):
        for side, word in enumerate(("truth", "prediction")):
            pen.text((column * step[0] + side * (width + _GAP) + 2, _GAP), word, "black", font)
    for number, pair in enumerate(pairs):
        left, top = number % columns * step[0], head + number // columns * step[1]
        for side, one in enumerate(pair):
            canvas.paste(Image.fromarray(one), (left + side * (width + _GAP), top))
    return np.asarray(canvas)


def colour_of(number):
    """The colour of a class: hues far apart for numbers side by side, light and dark by turns; (red, green, blue)."""
    number = int(number)
    hue, value = (0.02 + number * (math.sqrt(5) - 1) / 2) % 1, (1.0, 0.78)[number % 2]
    return tuple(round(255 * one) for one in colorsys.hsv_to_rgb(hue, 0.9, value))


def enlarged(image):
    """An image (height, width, 3) in [0, 255] as uint8, each pixel repeated until it is legible; and how often."""
    scale = max(1, round(_LEGIBLE / max(image.shape[:2])))
    return np.clip(np.rint(image), 0, 255).astype("uint8").repeat(scale, 0).repeat(scale, 1), scale


def check_image(image):
    """Raises ValueError unless an array is an RGB image."""
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(f"An image must be RGB, (height, width, 3). Received: shape {image.shape}.")


def _lay(pixels, mask, box, colour):
    """Blends a mask (M, K) that fills a box over pixels, in place, and draws its outline."""
    (x1, y1, x2, y2), (height, width) = box, pixels.shape[:2]
    left, top = max(0, round(x1)), max(0, round(y1))
    right, bottom = min(width, round(x2)), min(height, round(y2))
    if right <= left or bottom <= top:
        return
    rows, columns = mask.shape
    across, down = columns / (x2 - x1), rows / (y2 - y1)
    # Only what can be seen is made, however large the box is.
    part = ((left - x1) * across, (top - y1) * down, (right - x1) * across, (bottom - y1) * down)
    part = np.clip(part, 0, [columns, rows] * 2)
    size = (right - left, bottom - top)
    inside = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR, box=tuple(part))) >= 0.5
    around = np.pad(inside, 1)
    edge = inside & ~(around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:])
    view = pixels[top:bottom, left:right]
    view[inside] = np.rint((1 - _OPACITY) * view[inside] + _OPACITY * np.array(colour)).astype("uint8")
    view[edge] = colour


def _write(pen, font, text, box, colour):
    """Writes on a patch of the colour above a box, or inside where there is no room, and within the picture."""
    width, height = pen.im.size
    x1, y1, x2, y2 = pen.textbbox((0, 0), text, font)
    wide, high = math.ceil(x2 - x1) + 4, math.ceil(y2 - y1) + 4
    left = min(max(0, round(box[0])), max(0, width - wide))
    top = round(box[1]) - high
    top = min(max(0, round(box[1])), height - high) if top < 0 else min(top, height - high)
    pen.rectangle((left, top, left + wide - 1, top + high - 1), fill=colour)
    red, green, blue = colour
    # Black or white, whichever stands out from the brightness that eyes see.
    ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else "white"
    pen.text((left + 2 - x1, top + 2 - y1), text, ink, font)


def name_of(number, names):
    """What a class is called: its name, or its number where it has none."""
    return str(names[number]) if names is not None and number < len(names) else str(number)


def _check(image, boxes, classes, scores, masks):
    check_image(image)
    number = len(classes)
    shapes = {"boxes": boxes.shape == (number, 4), "scores": scores is None or scores.shape == (number,)}
    shapes["masks"] = masks is None or (masks.ndim == 3 and len(masks) == number)
    for name, is_right in shapes.items():
        if not is_right:
            expected = {"boxes": "(n, 4)", "scores": "(n,)", "masks": "(n, M, M) or (n, height, width)"}[name]
            received = {"boxes": boxes, "scores": scores, "masks": masks}[name].shape
            raise ValueError(f"The {name} of {number} objects must be {expected}. Received: shape {received}.")
    there = classes >= 0
    if not np.isfinite(boxes[there]).all() or (masks is not None and not np.isfinite(masks[there]).all()):
        raise ValueError("Boxes and masks must be finite. Received: NaN or infinity; the model has diverged.")
