"""Checks of what a `Source` is made of, and of what it is asked for."""

import numpy as np

from zoo.checks import are_whole, check_finite, check_replicas, check_whole


def checked_examples(name, examples, white):
    """The examples of a set as uint8 images with channels or as float32, else an error that names the set."""
    check_whole("white", white, low=1, high=255)
    examples = _as_array(name, examples)
    if examples.ndim < 2 or examples.size == 0:
        raise ValueError(f"Examples of {name!r} must fill an array (size, ...). Received: {examples.shape}.")
    if examples.dtype == np.uint8:
        if examples.ndim == 3:
            examples = examples[..., None]
        if examples.ndim != 4 or examples.shape[-1] not in (1, 3):
            raise ValueError(
                f"The 8-bit images of {name!r} must have shape (size, height, width), or that and "
                f"1 or 3 channels. Received: {examples.shape}. Points are to be floats."
            )
        if examples.max() > white:
            raise ValueError(f"The images of {name!r} must be at most {white}. Received: {examples.max()}.")
        return examples
    if not np.issubdtype(examples.dtype, np.floating):
        raise ValueError(
            f"The examples of {name!r} must be uint8 images or floats. Received: dtype {examples.dtype}. "
            "Convert them with `astype`."
        )
    check_finite(f"The examples of {name!r} hold", examples, "Remove or repair those rows.")
    if examples.ndim == 3 or (examples.ndim == 4 and examples.shape[-1] not in (1, 3)):
        advice = "Add the axis: `images[..., None]`" if examples.ndim == 3 else "Move the channels to the last axis"
        raise ValueError(
            f"Float images of {name!r} must have shape (size, height, width, 1 or 3). Received: {examples.shape}. "
            f"{advice}. Points are (size, dim)."
        )
    low, high = examples.min(), examples.max()
    if examples.ndim == 4 and (low < -1 or high > 1 or low >= 0):
        raise ValueError(
            f"Images of {name!r} that are floats must lie in [-1, 1] and use both signs. "
            f"Received: min={low:g}, max={high:g}. Keep 8-bit images as uint8, or rescale: "
            "`images * 2 - 1` takes [0, 1] to [-1, 1]."
        )
    return examples.astype("float32", copy=False)


def height_and_width(image_size):
    """`image_size`, one whole number or two, as (height, width); None stays None."""
    if image_size is None:
        return None
    pair = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    if not are_whole(pair) or len(pair) != 2:
        raise ValueError(
            "`image_size` must be a positive whole number, or two of them: (height, width). "
            f"Received: {image_size!r}. Leave it out to keep the size that the images have."
        )
    return int(pair[0]), int(pair[1])


def check_channels(channels):
    """Raises where `channels` is not 1, 3 or None."""
    if channels is not None and (not are_whole([channels]) or channels not in (1, 3)):
        raise ValueError(f"`channels` must be 1 (grey), 3 (RGB) or None (unchanged). Received: {channels!r}.")


def check_images(source):
    """Raises where the examples of a `Source` are no images."""
    if not source.is_images:
        raise ValueError(f"{source.name!r} has no pixels: its examples have shape {source.shape}. Use images.")


def checked_labels(name, labels, size, num_classes):
    """The labels of `size` examples as int64, else an error that names the set."""
    labels = np.asarray(labels)
    if labels.shape != (size,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"The labels of {name!r} must be one whole number per example: ({size},). "
            f"Received: shape {labels.shape}, dtype {labels.dtype}."
        )
    low, high = labels.min(), labels.max()
    if low < 0 or (num_classes is not None and high >= num_classes):
        classes = "0 or more" if num_classes is None else f"0 to {num_classes - 1}"
        raise ValueError(f"The labels of {name!r} must be {classes}. Received: {low} to {high}.")
    return labels.astype("int64")


def _as_array(name, examples):
    """Examples of numbers as an array; what holds no numbers, as names of files, or rows of unequal shapes raises."""
    try:
        array = np.asarray(examples)
        received = f"{type(examples).__name__}, such as {str(examples)[:60]}"
    except ValueError:
        array, received = None, "rows of unequal shapes"
    if array is None or array.dtype.kind in "OSU":
        raise ValueError(
            f"Examples of {name!r} must fill an array (size, ...) of numbers. Received: {received}. "
            "Bring all to one shape. For a folder of images use `zoo.data.load('path')`."
        )
    return array


def parts(batch_size, replicas):
    """First element of a batch that this process feeds, and how many each of its replicas gets."""
    if replicas is None:
        return 0, [batch_size]
    expected = "three whole numbers (first, count, total): this process feeds `count` of `total` replicas"
    if not isinstance(replicas, (tuple, list)) or len(replicas) != 3:
        raise ValueError(f"`replicas` must be {expected}. Received: {replicas!r}.")
    first, count, total = replicas
    for name, number, low in (("first", first, 0), ("count", count, 1), ("total", total, 1)):
        check_whole(f"replicas ({name})", number, low=low, high=2**31 - 1)
    if first + count > total:
        raise ValueError(f"`replicas` must be {expected}, `first + count` at most `total`. Received: {replicas!r}.")
    check_replicas(batch_size, total)
    sizes = [batch_size // total + (replica < batch_size % total) for replica in range(total)]
    return sum(sizes[:first]), sizes[first : first + count]
