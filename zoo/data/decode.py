"""From a compressed image to pixels."""

import numpy as np

from zoo.data import progress

_DARK = 4096  # 1/16 of what 16 bits hold
_ORIENTATION = 0x0112
_UNKNOWN_RANGE = {"F": "floating point numbers", "LAB": "of mode LAB"}
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap height and width


def read_picture(file, size, channels):
    """One image, turned as its EXIF data say, cut to the aspect ratio of `size` and resized to it.

    Args:
        file: Path of an image file, or an open file of bytes.
        size: (height, width).
        channels: 1 or 3.

    Returns:
        uint8 array (height, width, channels).
    """
    from PIL import Image

    with Image.open(file) as image:
        shrink(image, size)
        return fit_picture(image, size, channels)


def shrink(image, size):
    """Has a JPEG that is far too large decoded at a fraction of its size, at least four times the wanted.

    Args:
        image: `PIL.Image.Image`, whose pixels are not loaded yet.
        size: (height, width).
    """
    image.draft(None, (4 * max(size), 4 * max(size)))


def fit_picture(image, size, channels, check=None):
    """As `read_picture`, of an image that is open already.

    Args:
        image: `PIL.Image.Image`, whose pixels need not be loaded yet.
        size: (height, width).
        channels: 1 or 3.
        check: Function of what `size_and_kind` gives, called before the image is cut; or None.

    Returns:
        uint8 array (height, width, channels).
    """
    from PIL import Image, ImageOps

    height, width = size
    ImageOps.exif_transpose(image, in_place=True)
    if check is not None:
        check((image.height, image.width), _is_grey(image))
    image = _opaque(image)
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    if image.size != (width, height):
        box = centre_box((image.height, image.width), size)
        image = image.crop(box).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)


def size_and_kind(image):
    """What an image will be without being cut: read from its header, turned as its EXIF data say.

    Args:
        image: `PIL.Image.Image`, whose pixels need not be loaded yet.

    Returns:
        ((height, width), whether it is grey).

    Raises:
        ValueError: If its pixels do not say by themselves what is black and what is white.
    """
    if image.mode in _UNKNOWN_RANGE:
        raise ValueError(f"its pixels are {_UNKNOWN_RANGE[image.mode]}; convert it to 8 or 16 bits of grey or RGB")
    width, height = image.size
    if image.getexif().get(_ORIENTATION) in _SIDEWAYS:
        width, height = height, width
    return (height, width), _is_grey(image)


def peak_of_16_bits(image):
    """The largest value of an image of 16 bits, of which the upper 8 are kept; None of others.

    Args:
        image: `PIL.Image.Image`, whose pixels are not loaded yet; if it has 16 bits, they are then.

    Returns:
        0 to 65535; of colours, of which Pillow gives the upper 8 bits alone, the largest that may have been.

    Raises:
        ValueError: If it has values beyond those of 16 bits.
    """
    if image.mode.startswith("I"):
        low, high = map(int, image.getextrema())
        if low < 0 or high > 65535:
            raise ValueError(f"its values are {low} to {high}, beyond 16 bits; convert it to 8 or 16 bits of grey")
        return high
    if not image.tile or ";16" not in str(image.tile[0][3]):
        return None
    bands = [high for _, high in image.getextrema()]
    return 256 * max(bands[:3] if len(bands) > 2 else bands[:1]) + 255


def note_dark(place, peaks):
    """Says on stderr, once, that pictures of 16 bits come out dark, as those of cameras of 12 bits do.

    Args:
        place: What the line calls the set.
        peaks: What `peak_of_16_bits` gives, of all its pictures.
    """
    peaks = [peak for peak in peaks if peak is not None]
    peak = max(peaks, default=0)
    if 0 < peak < _DARK:
        progress.note(
            f"The {len(peaks)} images of 16 bits in {place} have values of at most {peak}, where 65535 is white, "
            f"and come out nearly black: the upper 8 bits are kept. If they have {peak.bit_length()} bits, write them "
            f"anew, times {2 ** (16 - peak.bit_length())}."
        )


def centre_box(size, wanted):
    """The largest box around the centre of an image with the aspect ratio of another size.

    Args:
        size: (height, width) of the image.
        wanted: (height, width) whose ratio counts.

    Returns:
        (left, top, right, bottom) in whole pixels.
    """
    scale = min(size[0] / wanted[0], size[1] / wanted[1])
    height, width = (max(1, round(scale * side)) for side in wanted)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return left, top, left + width, top + height


def rgb(image):
    """All of an image, over white where it is transparent.

    Args:
        image: `PIL.Image.Image`.

    Returns:
        `PIL.Image.Image` of mode RGB.
    """
    image = _opaque(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_grey(image):
    return image.mode in ("1", "L", "LA") or image.mode.startswith("I")


def _opaque(image):
    """An image over white where it is transparent, and with 8 bits where it has 16."""
    from PIL import Image

    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype("uint8"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image
