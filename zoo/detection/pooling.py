"""Features of regions: RoIAlign (He et al. 2017, section 3), and the RoIPool that it replaced (Girshick 2015)."""

import math
from functools import partial

import tensorflow as tf

from zoo.rows import never_empty

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
    align = _align_by_gather if compiled else _align
    return align(features, levels, starts, steps, images, size, samples)


def _align(features, levels, starts, steps, images, size, samples):
    """RoIAlign by TensorFlow's bilinear crops, level by level.

    The gradient is our own: that of the crops lets threads write to one place at once, and loses some of it by chance.
    """
    order = sorted(features)

    @tf.custom_gradient
    def aligned(*given):
        def gradient(upstream):
            given_by_level = dict(zip(order, given, strict=True))
            flat, firsts, sizes = _flat(given_by_level, levels, images)
            spread = _spread(starts, steps, size, samples, firsts, sizes, tf.shape(flat)[0])
            total = tf.sparse.sparse_dense_matmul(spread, tf.reshape(upstream, (-1, upstream.shape[-1])))
            parts = tf.split(total, [tf.reduce_prod(tf.shape(one)[:3]) for one in given])
            return [tf.reshape(part, tf.shape(one)) for part, one in zip(parts, given, strict=True)]

        parts, rows = [], []
        for level, one in zip(order, given, strict=True):
            rows.append(tf.where(levels == level)[:, 0])
            # Of a level without regions OpenVINO would make nothing of all the model.
            crops = never_empty(partial(_crops, one, size=size, samples=samples))
            parts.append(crops(*(tf.gather(each, rows[-1]) for each in (starts, steps, images))))
        return tf.gather(tf.concat(parts, 0), tf.math.invert_permutation(tf.concat(rows, 0))), gradient

    return aligned(*(features[level] for level in order))


def _spread(starts, steps, size, samples, firsts, sizes, number):
    """How much each place counts in each cell of regions, a sparse matrix (number, n size size); cells are in order.

    Sparse, since gradients of samples, of which a cell has four and each lies between four places, would be 16 times as
    many numbers as those of cells.
    """
    found = [(where, shares[..., 0]) for where, shares in _shares(starts, steps, size * samples, firsts, sizes)]
    where, shares = (tf.stack(one) for one in zip(*found, strict=True))
    line, count = tf.range(size * samples) // samples, tf.shape(starts)[0]
    cells = (tf.range(count)[:, None, None] * size + line[:, None]) * size + line
    pairs = tf.stack([where, tf.broadcast_to(cells, tf.shape(where))], -1)
    return tf.SparseTensor(
        tf.cast(tf.reshape(pairs, (-1, 2)), tf.int64),
        tf.reshape(shares, (-1,)) / samples**2,
        tf.cast(tf.stack([number, count * size**2]), tf.int64),
    )


def _crops(features, starts, steps, images, size, samples):
    """Regions of one level, from features that go on over their border."""
    # Up to one place outside, a sample is worth what the border is; beyond, nothing.
    padded = tf.pad(features, ((0, 0), (1, 1), (1, 1), (0, 0)), "SYMMETRIC")
    side, most = size * samples, tf.cast(tf.shape(padded)[1:3] - 1, tf.float32)[::-1]
    corners = tf.concat([starts + 0.5 * steps + 1, starts + (side - 0.5) * steps + 1], 1)
    x1, y1, x2, y2 = tf.unstack(corners / tf.tile(most, [2]), axis=1)
    crops = tf.image.crop_and_resize(padded, tf.stack([y1, x1, y2, x2], 1), images, (side, side))
    return crops if samples == 1 else tf.nn.avg_pool2d(crops, samples, samples, "VALID")


def _align_by_gather(features, levels, starts, steps, images, size, samples):
    flat, firsts, sizes = _flat(features, levels, images)
    total = sum(
        tf.gather(flat, where) * shares for where, shares in _shares(starts, steps, size * samples, firsts, sizes)
    )
    return tf.reduce_mean(tf.reshape(total, (-1, size, samples, size, samples, total.shape[-1])), (2, 4))


def _shares(starts, steps, side, firsts, sizes):
    """The four places that each sample of regions lies between, and how much they count in it.

    Args:
        starts: Upper left corners of n regions, float32 (n, 2), x and y.
        steps: Distances of their samples, float32 (n, 2).
        side: Samples of a side.
        firsts: Row of the first place of each region's image, int32 (n,), in the table of `_flat`.
        sizes: Height and width of each region's level, int32 (n, 2).

    Yields:
        Four times rows in the table, int32 (n, side, side), and shares, float32 (n, side, side, 1).
    """
    places = starts[:, None] + (tf.range(side, dtype=tf.float32)[:, None] + 0.5) * steps[:, None]
    # From x, y to height, width.
    places, last = places[..., ::-1], tf.cast(sizes - 1, tf.float32)[:, None]
    counts = tf.cast((places >= -1) & (places <= last + 1), tf.float32)
    places = tf.clip_by_value(places, 0.0, last)
    low = tf.floor(places)
    share, high = places - low, tf.minimum(low + 1, last)
    ends = ((tf.cast(low, tf.int32), counts * (1 - share)), (tf.cast(high, tf.int32), counts * share))
    for rows, row_shares in ends:
        for columns, column_shares in ends:
            where = firsts[:, None] + rows[..., 0] * sizes[:, 1:]
            shares = row_shares[:, :, None, 0] * column_shares[:, None, :, 1]
            yield where[:, :, None] + columns[:, None, :, 1], shares[..., None]


def _pool(features, levels, boxes, images, size, compiled):
    """The largest of the features whose whole places lie in each cell, 0 where none does."""
    flat, firsts, of_levels = _flat(features, levels, images)
    heights, widths = tf.unstack(of_levels, axis=1)
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
    """All features in one table.

    Returns:
        Tuple of the table (places, channels); and of each region the row of the first place of its image on its level,
        int32 (n,), and height and width of that level, int32 (n, 2).
    """
    tables, sizes, starts, start = [], [], [], 0
    for level in sorted(features):
        one = features[level]
        sizes.append([one.shape[axis] or tf.shape(one)[axis] for axis in (1, 2)])
        tables.append(tf.reshape(one, (-1, one.shape[-1])))
        starts.append(start)
        start = start + tf.shape(tables[-1])[0]
    row = levels - min(features)
    sizes = tf.gather(tf.stack([tf.stack(one) for one in sizes]), row)
    return tf.concat(tables, 0), tf.gather(tf.stack(starts), row) + images * sizes[:, 0] * sizes[:, 1], sizes
