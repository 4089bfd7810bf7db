"""Draw generated samples with Pillow: image grids and scatter plots. Imports nothing of zoo, Keras or TensorFlow."""

import math

import numpy as np
from PIL import Image, ImageDraw

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def draw(samples):
    """Draw a batch of images as a grid, or a batch of points in the plane as a scatter plot.

    Args:
        samples: Images (n, height, width, channels) in [-1, 1] with 1, 3 or 4 channels, or points (n, 2).

    Returns:
        A `PIL.Image.Image`.

    Raises:
        ValueError: The shape is neither, or a value is not finite.

    Example:

        draw(np.random.uniform(-1, 1, (64, 28, 28, 1))).save("samples.png")
    """
    samples = np.asarray(samples)
    if not np.isfinite(samples).all():
        raise ValueError("Samples must be finite. Received NaN or infinity; the model has diverged.")
    if samples.ndim == 2 and samples.shape[1] == 2 and len(samples):
        return _scatter(samples)
    if samples.ndim == 4 and samples.shape[-1] in _MODES and samples.size:
        return _grid(samples)
    raise ValueError(
        "Samples must be images (n, height, width, channels) with 1, 3 or 4 channels, or points (n, 2). "
        f"Received: shape {samples.shape}."
    )


def _grid(images, gap=2, legible=84):
    number, height, width, channels = images.shape
    scale = max(1, round(legible / max(height, width)))
    columns = max(1, round(math.sqrt(number * height / width)))
    rows = math.ceil(number / columns)
    pixels = np.rint(127.5 * (np.clip(images, -1, 1) + 1)).astype(np.uint8)
    step = (scale * width + gap, scale * height + gap)
    canvas = Image.new(_MODES[channels], (columns * step[0] + gap, rows * step[1] + gap), _white(channels))
    for index, image in enumerate(pixels):
        tile = Image.fromarray(image[..., 0] if channels == 1 else image)
        tile = tile.resize((scale * width, scale * height), Image.Resampling.NEAREST)
        canvas.paste(tile, (gap + index % columns * step[0], gap + index // columns * step[1]))
    return canvas


def _scatter(points, size=512, margin=32, radius=2):
    canvas = Image.new("RGB", (size, size), "white")
    pen = ImageDraw.Draw(canvas)
    center = (points.max(0) + points.min(0)) / 2
    reach = float(np.ptp(points, axis=0).max()) / 2 or 1.0  # one scale for both axes: circles stay round
    pen.rectangle((margin, margin, size - margin, size - margin), outline="gray")
    scale = (size / 2 - margin - 4 * radius) / reach
    for x, y in (points - center) * scale * [1, -1] + size / 2:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(31, 119, 180))
    edge = (size / 2 - margin) / scale
    pen.text((margin, size - margin + 8), f"x {center[0] - edge:.3g} to {center[0] + edge:.3g}", fill="black")
    pen.text((margin, 10), f"y {center[1] - edge:.3g} to {center[1] + edge:.3g}", fill="black")
    return canvas


def _white(channels):
    return (255,) * channels if channels > 1 else 255
