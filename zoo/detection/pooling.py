"""Features of regions: RoIAlign (He et al. 2017, section 3), and the RoIPool that it replaced (Girshick 2015)."""

import math

import tensorflow as tf

# Where a region is of this side, it is read from this level (Lin et al. 2017, equation 1).
_CANONICAL_SIDE, _CANONICAL_LEVEL = 224, 4


def levels_of(boxes, first, last):
    """The level of the pyramid that each box (n, 4) is read from: floor(4 + log2(sqrt(w h) / 224)), int32 (n,)."""
    sides = tf.sqrt(tf.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 0.0))
    level = tf.floor(_CANONICAL_LEVEL + tf.math.log(sides / _CANONICAL_SIDE + 1e-12) / math.log(2) + 1e-6)
    return tf.cast(tf.clip_by_value(level, first, last), tf.int32)


def pool_regions(features, boxes, images, size, *, method="align", samples=2, aligned=False, compiled=False):
    """Features of regions of any size, each brought to `size` x `size` cells, from the level that fits its size.

    Args:
        features: {level: (batch, height, width, channels)}; level k has a stride of 2^k pixels.
        boxes: float32 (n, 4) in pixels, within the images.
        images: int32 (n,), which image of the batch each region is of.
        size: Cells of a side.
        method: "align" for the mean of bilinear samples, "pool" for the largest feature of a cell of whole places.
        samples: Samples per side of a cell.
        aligned: Whether regions are moved by half a place, so that samples lie where features are centred. The Mask
            R-CNN of torchvision was trained without.
        compiled: Whether XLA compiles it: all regions are then read by one gather, instead of in one kernel per level.

    Returns:
        float32 (n, size, size, channels).
    """
    first, last = min(features), max(features)
    levels = levels_of(boxes, first, last)
    scaled = boxes / tf.cast(2**levels, tf.float32)[:, None]
    features = {level: tf.cast(one, tf.float32) for level, one in features.items()}
    if method == "pool":
        return _pool(features, levels, scaled, images, size, compiled)
    offset = 0.5 if aligned else 0.0
    starts, sides = scaled[:, :2] - offset, scaled[:, 2:] - scaled[:, :2]
    sides = sides if aligned else tf.maximum(sides, 1.0)
    steps = sides / (size * samples)
    if compiled:
        return _align_by_gather(features, levels, starts, steps, images, size, samples)
    parts, order = [], []
    for level, one in features.items():
        rows = tf.where(levels == level)[:, 0]
        given = (tf.gather(tensor, rows) for tensor in (starts, steps, images))
        parts.append(_align(one, *given, size, samples))
        order.append(rows)
    return tf.gather(tf.concat(parts, 0), tf.math.invert_permutation(tf.concat(order, 0)))


def _align(features, starts, steps, images, size, samples):
    """RoIAlign from one level: TensorFlow's bilinear crops of features that go on over their border.

    The gradient is our own: that of the crops lets threads write to one place at once, and loses some of it by chance.
    """
    side = size * samples

    def crops_of(features):
        # Up to one place outside, a sample is worth what the border is; beyond, nothing.
        padded = tf.pad(features, ((0, 0), (1, 1), (1, 1), (0, 0)), "SYMMETRIC")
        most = tf.cast(tf.shape(padded)[1:3] - 1, tf.float32)[::-1]
        corners = tf.concat([starts + 0.5 * steps + 1, starts + (side - 0.5) * steps + 1], 1)
        x1, y1, x2, y2 = tf.unstack(corners / tf.tile(most, [2]), axis=1)
        crops = tf.image.crop_and_resize(padded, tf.stack([y1, x1, y2, x2], 1), images, (side, side))
        return crops if samples == 1 else tf.nn.avg_pool2d(crops, samples, samples, "VALID")

    @tf.custom_gradient
    def aligned(features):
        def gradient(upstream):
            shape = tf.shape(features)
            height, width = shape[1], shape[2]
            of_samples = tf.repeat(tf.repeat(tf.convert_to_tensor(upstream) / samples**2, samples, 1), samples, 2)
            rows, columns = _corners(starts, steps, side, tf.stack([height, width]))
            total = 0.0
            for row, row_share in rows:
                for column, column_share in columns:
                    where = (images[:, None, None] * height + row[:, :, None]) * width + column[:, None]
                    shares = (row_share[:, :, None] * column_share[:, None])[..., None] * of_samples
                    total += tf.math.unsorted_segment_sum(shares, where, shape[0] * height * width)
            return tf.reshape(total, shape)

        return crops_of(features), gradient

    return aligned(features)


def _corners(starts, steps, side, sizes):
    """Of samples along height, and along width: the two places each lies between, and their shares, (n, side) each."""
    places = starts[:, None] + (tf.range(side, dtype=tf.float32)[:, None] + 0.5) * steps[:, None]
    sides = []
    for axis, number in ((1, sizes[..., 0]), (0, sizes[..., 1])):
        place, last = places[..., axis], tf.cast(number - 1, tf.float32)[..., None]
        counts = tf.cast((place >= -1) & (place <= last + 1), tf.float32)
        place = tf.clip_by_value(place, 0.0, last)
        low = tf.floor(place)
        share, high = place - low, tf.minimum(low + 1, last)
        sides.append(((tf.cast(low, tf.int32), counts * (1 - share)), (tf.cast(high, tf.int32), counts * share)))
    return sides


def _align_by_gather(features, levels, starts, steps, images, size, samples):
    flat, widths, heights, firsts = _flat(features, levels, images)
    side = size * samples
    rows, columns = _corners(starts, steps, side, tf.stack([heights, widths], 1))
    total = 0.0
    for row, row_share in rows:
        for column, column_share in columns:
            where = firsts[:, None, None] + row[:, :, None] * widths[:, None, None] + column[:, None]
            total += tf.gather(flat, where) * (row_share[:, :, None] * column_share[:, None])[..., None]
    shape = (-1, size, samples, size, samples, total.shape[-1])
    return tf.reduce_mean(tf.reshape(total, shape), (2, 4))


def _pool(features, levels, boxes, images, size, compiled):
    """The largest of the features whose whole places lie in each cell, 0 where none does."""
    flat, widths, heights, firsts = _flat(features, levels, images)
    # Halves away from zero, as in the authors' code.
    corners = tf.cast(tf.floor(boxes + 0.5), tf.int32)
    sides = tf.maximum(corners[:, 2:] - corners[:, :2] + 1, 1)
    if compiled:
        # The shapes that XLA needs are those of the largest region there can be.
        largest = max(max(one.shape[1:3]) for one in features.values())
        most = -(-largest // size) + 1
    else:
        most = tf.maximum(tf.reduce_max(-(-sides // size)) + 1, 1)
    cells, ranges = tf.range(size, dtype=tf.float32), []
    for axis, number in ((1, heights), (0, widths)):
        step = tf.cast(sides[:, axis], tf.float32)[:, None] / size
        start, number = corners[:, axis, None], number[:, None]
        low = tf.clip_by_value(start + tf.cast(tf.floor(cells * step), tf.int32), 0, number)
        high = tf.clip_by_value(start + tf.cast(tf.math.ceil((cells + 1) * step), tf.int32), 0, number)
        within = tf.minimum(low[..., None] + tf.range(most), high[..., None] - 1)
        ranges.append((tf.maximum(within, 0), high > low))
    (rows, some_rows), (columns, some_columns) = ranges
    where = firsts[:, None, None, None, None] + (
        rows[:, :, None, :, None] * widths[:, None, None, None, None] + columns[:, None, :, None]
    )
    largest = tf.reduce_max(tf.gather(flat, where), (3, 4))
    return tf.where((some_rows[:, :, None] & some_columns[:, None])[..., None], largest, 0.0)


def _flat(features, levels, images):
    """All features in one table; and of each region width and height of its level, and the row of its first place."""
    first, tables, widths, heights, areas, starts, start = min(features), [], [], [], [], [], 0
    for level in sorted(features):
        one = features[level]
        height, width = (one.shape[axis] or tf.shape(one)[axis] for axis in (1, 2))
        tables.append(tf.reshape(one, (-1, one.shape[-1])))
        widths.append(width)
        heights.append(height)
        areas.append(height * width)
        starts.append(start)
        start = start + tf.shape(tables[-1])[0]
    widths, heights, areas, starts = (
        tf.gather(tf.stack(one), levels - first) for one in (widths, heights, areas, starts)
    )
    return tf.concat(tables, 0), widths, heights, starts + images * areas
