"""Pictures of samples and figures of runs: arrays of pixels, written as PNG files in one move."""

import numpy as np

from zoo.files import replacing


def draw(examples, reference=None):
    """A picture of examples: a grid of images, or a scatter of two-dimensional points.

    Args:
        examples: Images (n, height, width, channels) in [-1, 1] with 1 or 3 channels, or points (n, 2).
        reference: Points (m, 2) drawn behind the examples, or None.

    Returns:
        uint8 array (height, width, 3).
    """
    examples = np.asarray(examples)
    if examples.ndim == 4:
        from zoo.serving import drawing

        return np.asarray(drawing.draw(examples).convert("RGB"))
    if examples.ndim == 2 and examples.shape[1] == 2:
        return scatter(examples, reference)
    raise ValueError(f"Can draw images (n, height, width, channels) and points (n, 2). Received: {examples.shape}.")


def scatter(points, reference=None):
    """Generated points over real ones.

    Args:
        points: (n, 2).
        reference: (m, 2), or None.

    Returns:
        uint8 array (height, width, 3).
    """
    figure, axes = _figure(5, 5)
    if reference is not None:
        axes.scatter(*reference.T, s=4, c="#bbbbbb", linewidths=0, label="data")
        low, high = reference.min(0), reference.max(0)
        margin = 0.15 * (high - low).max()
        axes.set_xlim(low[0] - margin, high[0] + margin)
        axes.set_ylim(low[1] - margin, high[1] + margin)
    axes.scatter(*points.T, s=4, c="#d62728", linewidths=0, label="generated")
    axes.set_aspect("equal")
    axes.legend(loc="upper right", markerscale=3)
    return _pixels(figure)


def curves(columns, x_label):
    """One curve per column, each in axes of its own.

    Args:
        columns: {name: sequence of numbers}, equally long.
        x_label: What the positions in the sequences are.

    Returns:
        uint8 array (height, width, 3).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.2 * len(columns)), dpi=100, layout="constrained")
    rows = figure.subplots(len(columns), sharex=True, squeeze=False).flat
    for axes, (name, values) in zip(rows, columns.items(), strict=True):
        axes.plot(np.arange(1, len(values) + 1), values, lw=1.2)
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    axes.set_xlabel(x_label)
    return _pixels(figure)


def save(picture, path):
    """Writes a picture as PNG, beside and then in place of an older one.

    Args:
        picture: uint8 array (height, width, 3).
        path: File to write; its folder is made.
    """
    from PIL import Image

    with replacing(path) as beside:
        Image.fromarray(picture).save(beside, format="PNG")


def _figure(width, height):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    return figure, figure.subplots()


def _pixels(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
