"""Pictures read row by row, as batches in a known order; and what the pipelines of all kinds of data share."""

import numpy as np

from zoo.checks import check_kind
from zoo.data.canvas import put_image
from zoo.data.decode import rgb, shrink
from zoo.data.geometry import FlipAndScale
from zoo.data.order import as_written, rows_in_order, steps_of

_READ_AT_ONCE = 32


def batches_of_pictures(
    name,
    shape,
    kinds,
    read,
    at_once,
    batch_size,
    *,
    seed,
    first_epoch,
    group,
    shuffle,
    first_step,
    replicas,
    augment,
):
    """Batches of pictures and their targets without end, in the order in which `zoo.data.Source.batches` has them.

    Args:
        name: What the set is called.
        shape: (number of pictures, height, width, 3).
        kinds: {name of a target: (dtype, shape of that of one picture)}.
        read: Function of a row: a uint8 array (height, width, 3) and a dict of targets as in `kinds`.
        at_once: Rows that one call of Python reads, as `rows_at_once` says.
        batch_size, seed, first_epoch, group, shuffle, first_step, replicas: As of `zoo.data.Source.batches`.
        augment: What `zoo.data.detection.flip_and_scale` returns, or None.

    Returns:
        `tf.data.Dataset` of uint8 images (batch_size, height, width, 3) and the dict of their targets; or (batch_size,
        group, ...). With `replicas`, parts of them.

    Raises:
        ValueError: If a batch is larger than the data, or an argument is out of range.
    """
    import tensorflow as tf

    size, *of_one = shape
    steps = steps_of(name, size, batch_size, group)
    if augment is not None:
        check_kind("augment", augment, FlipAndScale, "what zoo.data.detection.flip_and_scale returns, or None")
    with_keys = augment is not None
    rows, sizes = rows_in_order(
        size, steps, batch_size, seed, first_epoch, first_step, group, shuffle, replicas, with_keys=with_keys
    )
    at_once = min(at_once, sum(sizes))
    sizes = sizes[0] if len(set(sizes)) == 1 else sizes
    dtypes, shapes = zip(("uint8", of_one), *kinds.values(), strict=True)

    def read_several(numbers):
        images, targets = stacked([read(row) for row in numbers.tolist()])
        return images, *targets.values()

    def read_rows(numbers, *keys):
        found = tf.numpy_function(read_several, [numbers], [tf.as_dtype(dtype) for dtype in dtypes], stateful=False)
        images, *targets = (
            tf.ensure_shape(values, (numbers.shape[0], *shape)) for values, shape in zip(found, shapes, strict=True)
        )
        return images, dict(zip(kinds, targets, strict=True)), *keys

    def finish(images, targets, *keys):
        if augment is not None:
            images, targets = augment(images, targets, *keys)
        return tf.nest.map_structure(lambda values: in_groups(values, group), (images, targets))

    batches = rows.rebatch(at_once, drop_remainder=False)
    batches = batches.map(as_written(read_rows), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = batches.rebatch(sizes, drop_remainder=True)
    batches = batches.map(as_written(finish), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return without_end(divided_by_rows(batches).prefetch(tf.data.AUTOTUNE), steps)


def rows_at_once(bytes_of_one, most_bytes):
    """Rows that one call of Python reads: many of small pictures, few of large ones, which would fill the memory.

    Args:
        bytes_of_one: Bytes of a picture and its targets.
        most_bytes: Bytes to be read at once, at most, if that is one picture or more.

    Returns:
        Number of rows, at least 1.
    """
    return max(1, min(_READ_AT_ONCE, most_bytes // bytes_of_one))


def divided_by_rows(batches):
    """A `tf.data.Dataset` of which several workers each take their part of every batch: no files to divide instead."""
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.with_options(options)


def without_end(batches, steps):
    """Batches that are known to have no end, and of which `steps_per_epoch`, an attribute, make one pass.

    Args:
        batches: `tf.data.Dataset`.
        steps: Number of batches of one pass.

    Returns:
        `tf.data.Dataset`.
    """
    import tensorflow as tf

    batches = batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    batches.steps_per_epoch = steps
    return batches


def in_groups(values, group):
    """A tensor (rows, ...) as (rows / group, group, ...); as it is where `group` is None."""
    import tensorflow as tf

    if group is None:
        return values
    size = -1 if values.shape[0] is None else values.shape[0] // group
    return tf.reshape(values, (size, group, *values.shape[1:]))


def stacked(examples):
    """Several (image, dict of targets) as one, each array with one more axis in front."""
    images, targets = zip(*examples, strict=True)
    return np.stack(images), {name: np.stack([one[name] for one in targets]) for name in targets[0]}


def read_picture_on(canvas, path, size, is_turned):
    """A picture in a file on its canvas.

    Args:
        canvas: (height, width).
        path: `Path` of the file.
        size: (height, width) of the picture.
        is_turned: Whether it has to be turned as its EXIF data say to have that size.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        ValueError: If the file can no longer be read; the message names it.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            shrink(image, canvas)
            if is_turned:
                ImageOps.exif_transpose(image, in_place=True)
            return put_image(rgb(image), size, canvas)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"The image {path} could be read before and now cannot be: {error}.") from error
