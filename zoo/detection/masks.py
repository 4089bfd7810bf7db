"""Masks of objects: from images into boxes, to be learnt, and from boxes into images, to be shown."""

import tensorflow as tf


def crop_masks(masks, boxes, size, aligned=True):
    """What of each mask lies in a box, as shares (RoIAlign of the mask with as many samples as a cell has pixels).

    Args:
        masks: (n, height, width), 0 or 1.
        boxes: float32 (n, 4).
        size: Cells M of a side of the result.
        aligned: Whether a pixel's centre is half a pixel from its corner, as in boxes and in `paste_masks`. Torchvision
            learns without, which moves masks by half a pixel; of small objects that is much.

    Returns:
        float32 (n, M, M) in [0, 1].
    """
    height, width = (masks.shape[axis] or tf.shape(masks)[axis] for axis in (1, 2))
    down = _sampling(boxes[:, 1], boxes[:, 3], size, height, aligned)
    across = _sampling(boxes[:, 0], boxes[:, 2], size, width, aligned)
    rows = tf.einsum("nhw,nmw->nhm", tf.cast(masks, tf.float32), across)
    return tf.einsum("nkh,nhm->nkm", down, rows)


def paste_masks(masks, boxes, height, width, whole_pixels=False):
    """Masks of boxes as masks of the image, by bilinear interpolation between the centres of cells.

    Args:
        masks: float32 (n, M, M), probabilities.
        boxes: float32 (n, 4).
        height: Height of the image; int or scalar tensor.
        width: Its width.
        whole_pixels: Whether boxes are first cut to whole pixels, as torchvision does, which moves masks by up to half
            a pixel.

    Returns:
        float32 (n, height, width), probabilities, 0 outside of the box. Memory is n * height * width * 4 bytes.
    """
    weights = _of_whole_pixels if whole_pixels else _interpolation
    down = weights(boxes[:, 1], boxes[:, 3], masks.shape[1], height)
    across = weights(boxes[:, 0], boxes[:, 2], masks.shape[1], width)
    return tf.einsum("nhk,nwk->nhw", tf.einsum("nhm,nmk->nhk", down, masks), across)


def _sampling(start, end, size, pixels, aligned):
    """(n, size, pixels): the mean over the samples of a cell of how much each pixel counts in a sample."""
    most = -(-pixels // size)
    side = end - start if aligned else tf.maximum(end - start, 1.0)
    start = start - 0.5 if aligned else start
    number = tf.maximum(tf.math.ceil(side / size), 1.0)
    sample = tf.range(tf.cast(most, tf.float32))
    within = (sample + 0.5) / number[:, None]
    places = start[:, None, None] + (tf.range(size, dtype=tf.float32)[:, None] + within[:, None]) * (
        side[:, None, None] / size
    )
    last = tf.cast(pixels - 1, tf.float32)
    counts = (sample < number[:, None])[:, None] & (places >= -1) & (places <= last + 1)
    share = tf.cast(counts, tf.float32) / number[:, None, None]
    places = tf.clip_by_value(places, 0.0, last)
    low = tf.minimum(tf.floor(places), tf.maximum(last - 1, 0.0))
    high_share = share * (places - low)
    n = tf.shape(start)[0]
    cells = tf.range(n * size)[:, None]
    low = tf.reshape(tf.cast(low, tf.int32), (n * size, -1))
    shape = tf.stack([n * size * pixels])

    def spread(columns, shares):
        places = tf.reshape(cells * pixels + columns, (-1, 1))
        return tf.scatter_nd(places, tf.reshape(shares, (-1,)), shape)

    # An image of one pixel has no second to share with.
    spreads = spread(low, share - high_share) + spread(tf.minimum(low + 1, pixels - 1), high_share)
    return tf.reshape(spreads, (n, size, pixels))


def _interpolation(start, end, cells, pixels):
    """(n, pixels, cells): how much each cell of a mask counts in each pixel, and less and less half a cell outside."""
    length = tf.maximum(end - start, 1e-6)[:, None]
    centres = tf.cast(tf.range(pixels), tf.float32) + 0.5
    return _shares((centres - start[:, None]) * (cells / length) - 0.5, cells)


def _of_whole_pixels(start, end, cells, pixels):
    """The same of a mask with a border of zeros, in a box of whole pixels."""
    half = (end - start) / 2 * ((cells + 2) / cells)
    centre = (start + end) / 2
    # Towards zero, as a cast to whole numbers does.
    first, last = (tf.cast(tf.cast(one, tf.int32), tf.float32)[:, None] for one in (centre - half, centre + half))
    length = tf.maximum(last - first + 1, 1.0)
    pixel = tf.cast(tf.range(pixels), tf.float32)
    source = tf.clip_by_value((pixel - first + 0.5) * ((cells + 2) / length) - 0.5, 0.0, cells + 1.0)
    inside = tf.cast((pixel >= first) & (pixel < first + length), tf.float32)
    return _shares(source - 1, cells) * inside[..., None]


def _shares(places, cells):
    """How much each of some cells counts at places (n, pixels) between them: (n, pixels, cells)."""
    return tf.maximum(0.0, 1.0 - tf.abs(places[..., None] - tf.range(cells, dtype=tf.float32)))
