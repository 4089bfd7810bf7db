"""Pictures of samples and figures of runs: arrays of pixels, written as PNG files in one move.

Grids are drawn by Pillow; only scatter plots and curves import matplotlib.
"""

import math

import numpy as np
from PIL import Image

from zoo.files import replacing

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_GAP = 2  # pixels between two images
_LEGIBLE = 84  # pixels of the longer side of an image, about, if it is smaller


def draw(samples, reference=None, columns=None):
    """A picture of samples: a grid of images, or a scatter of two-dimensional points.

    Args:
        samples: Images (n, height, width, channels) in [-1, 1] with 1, 3 or 4 channels, or points (n, 2).
        reference: Points (m, 2) drawn behind the samples, or None.
        columns: Images in a row, or None.

    Returns:
        uint8 array (height, width, 3), or (height, width, 4) for images with transparency.

    Raises:
        ValueError: If the shape is neither, or a value is not finite.

    Example:
        save(draw(np.random.uniform(-1, 1, (64, 28, 28, 1))), "samples.png")
    """
    samples = np.asarray(samples)
    if not np.isfinite(samples).all():
        raise ValueError("Samples must be finite. Received NaN or infinity; the model has diverged.")
    if samples.ndim == 2 and samples.shape[1] == 2 and len(samples):
        return scatter(samples, reference)
    if samples.ndim == 4 and samples.shape[-1] in _MODES and samples.size:
        picture = grid(samples, columns)
        return np.asarray(picture.convert("RGB") if picture.mode == "L" else picture)
    raise ValueError(
        "Can draw images (n, height, width, channels) with 1, 3 or 4 channels, and points (n, 2). "
        f"Received: shape {samples.shape}."
    )


def grid(images, columns=None):
    """Images side by side, small ones enlarged.

    Args:
        images: (n, height, width, channels) in [-1, 1] with 1, 3 or 4 channels; what is outside is clipped.
        columns: Images in a row; None for about as many pixels in a row as in a column.

    Returns:
        A `PIL.Image.Image`, grey for one channel.
    """
    number, height, width, channels = images.shape
    scale = max(1, round(_LEGIBLE / max(height, width)))
    columns = columns or max(1, round(math.sqrt(number * height / width)))
    rows = math.ceil(number / columns)
    pixels = np.rint(127.5 * (np.clip(images, -1, 1) + 1)).astype(np.uint8)
    step = (scale * width + _GAP, scale * height + _GAP)
    white = (255,) * channels if channels > 1 else 255
    canvas = Image.new(_MODES[channels], (columns * step[0] + _GAP, rows * step[1] + _GAP), white)
    for index, image in enumerate(pixels):
        tile = Image.fromarray(image[..., 0] if channels == 1 else image)
        tile = tile.resize((scale * width, scale * height), Image.Resampling.NEAREST)
        canvas.paste(tile, (_GAP + index % columns * step[0], _GAP + index // columns * step[1]))
    return canvas


def scatter(points, reference=None):
    """Generated points over real ones, in one scale for both axes: circles stay round.

    Args:
        points: (n, 2).
        reference: (m, 2), which chooses the part of the plane that is shown, or None.

    Returns:
        uint8 array (height, width, 3).
    """
    figure = _figure(5.12, 5.12)
    axes = figure.subplots()
    if reference is not None:
        axes.scatter(*reference.T, s=4, c="#bbbbbb", linewidths=0, label="data")
        low, high = reference.min(0), reference.max(0)
        margin = 0.15 * (high - low).max()
        axes.set_xlim(low[0] - margin, high[0] + margin)
        axes.set_ylim(low[1] - margin, high[1] + margin)
    axes.scatter(*points.T, s=4, c="#1f77b4", linewidths=0, label="generated")
    axes.set_aspect("equal")
    if reference is not None:
        axes.legend(loc="upper right", markerscale=3)
    return _pixels(figure)


def classes(points, labels, names=None):
    """Points of the plane, in one colour for each class.

    Args:
        points: (n, 2).
        labels: Whole numbers (n,), or None for one colour.
        names: Name of each class, or None for their numbers.

    Returns:
        uint8 array (height, width, 3).
    """
    figure = _figure(6.4, 5.12)
    axes = figure.subplots()
    if labels is None:
        axes.scatter(*points.T, s=4, linewidths=0)
    else:
        for label in np.unique(labels):
            name = names[label] if names else str(label)
            colour = f"C{label % 10}"
            axes.scatter(*points[labels == label].T, s=4, c=colour, linewidths=0, label=name)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=3)
    return _pixels(figure)


def curves(columns, x_label):
    """One curve per column, each in axes of its own.

    Args:
        columns: {name: sequence of numbers}, equally long.
        x_label: What the positions in the sequences are.

    Returns:
        uint8 array (height, width, 3).
    """
    figure = _figure(7, 2.2 * len(columns))
    rows = figure.subplots(len(columns), sharex=True, squeeze=False).flat
    for axes, (name, values) in zip(rows, columns.items(), strict=True):
        axes.plot(np.arange(1, len(values) + 1), values, lw=1.2)
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    axes.set_xlabel(x_label)
    return _pixels(figure)


def heat_maps(maps):
    """Matrices with a word at each row and column, side by side: alignments, plans of transport.

    Args:
        maps: List of (matrix (n, m), n words of the rows, m words of the columns).

    Returns:
        uint8 array (height, width, 3).
    """
    figure = _figure(4.5 * len(maps), 4.5)
    for axes, (matrix, rows, columns) in zip(figure.subplots(1, len(maps), squeeze=False).flat, maps, strict=True):
        axes.imshow(matrix, cmap="Blues", vmin=0)
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7)
        axes.set_yticks(range(len(rows)), rows, fontsize=7)
    return _pixels(figure)


def save(picture, path):
    """Writes a picture as PNG, beside and then in place of an older one.

    Args:
        picture: uint8 array (height, width, 3 or 4).
        path: File to write; its folder is made.
    """
    with replacing(path) as beside:
        Image.fromarray(picture).save(beside, format="PNG")


def _figure(width, height):
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _pixels(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
