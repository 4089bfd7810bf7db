"""Boxes: overlaps, differences between boxes, anchors, and non-maximum suppression."""

import math

import numpy as np
import tensorflow as tf

# Sides grow by at most this factor in one regression (from 16 to 1000 pixels, as in the authors' Detectron).
_LARGEST_GROWTH = math.log(1000 / 16)
# Score of a box that does not take part in a suppression.
NOT_THERE = -1e30


def area(boxes):
    """Areas (...) of boxes (..., 4)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def intersection(boxes, others):
    """Areas (..., n, m) that boxes (..., n, 4) share with others (..., m, 4)."""
    boxes, others = boxes[..., :, None, :], others[..., None, :, :]
    sides = tf.minimum(boxes[..., 2:], others[..., 2:]) - tf.maximum(boxes[..., :2], others[..., :2])
    return tf.maximum(sides[..., 0], 0) * tf.maximum(sides[..., 1], 0)


def intersection_over_union(boxes, others):
    """Shared areas over joint ones, (..., n, m) in [0, 1], of boxes (..., n, 4) and others (..., m, 4)."""
    shared = intersection(boxes, others)
    return tf.math.divide_no_nan(shared, area(boxes)[..., :, None] + area(others)[..., None, :] - shared)


def clip(boxes, sizes):
    """Boxes (batch, n, 4) cut to images of sizes (batch, 2), height and width."""
    sizes = tf.cast(sizes, boxes.dtype)
    most = tf.stack([sizes[:, 1], sizes[:, 0], sizes[:, 1], sizes[:, 0]], -1)[:, None]
    return tf.clip_by_value(boxes, tf.zeros_like(most), most)


def encode(boxes, references, weights=(1.0, 1.0, 1.0, 1.0)):
    """How references become boxes (Girshick et al. 2014, R-CNN, appendix C): ((x - x_r) / w_r, ..., log(h / h_r)).

    Args:
        boxes: (..., 4) with sides above 0.
        references: (..., 4) with sides above 0, such as anchors.
        weights: Factors of the four numbers.

    Returns:
        (..., 4).
    """
    centres, sides = _centres_and_sides(boxes)
    from_centres, from_sides = _centres_and_sides(references)
    moved, grown = (centres - from_centres) / from_sides, tf.math.log(sides / from_sides)
    return tf.concat([moved, grown], -1) * tf.constant(weights, boxes.dtype)


def decode(deltas, references, weights=(1.0, 1.0, 1.0, 1.0)):
    """The boxes (..., 4) that `encode` has made of references: its inverse, but that no side grows 62.5 times."""
    deltas = deltas / tf.constant(weights, deltas.dtype)
    from_centres, from_sides = _centres_and_sides(references)
    centres = from_centres + deltas[..., :2] * from_sides
    sides = from_sides * tf.exp(tf.minimum(deltas[..., 2:], _LARGEST_GROWTH))
    return tf.concat([centres - 0.5 * sides, centres + 0.5 * sides], -1)


def anchors(grid, image_size, anchor_size, aspect_ratios):
    """The boxes that proposals of one level are counted from, around each place of its grid.

    Args:
        grid: (height, width) of the level's features; ints or scalar tensors.
        image_size: (height, width) of the image; ints or scalar tensors.
        anchor_size: Side in pixels of the square with the anchors' area.
        aspect_ratios: Heights over widths, A of them.

    Returns:
        float32 (height * width * A, 4), by rows, then columns, then ratios.
    """
    roots = np.sqrt(np.asarray(aspect_ratios, "float32"))
    widths, heights = anchor_size / roots, anchor_size * roots
    # Corners in whole pixels, as torchvision and Detectron have them.
    around = np.round(np.stack([-widths, -heights, widths, heights], 1) / 2).astype("float32")
    rows, columns = (
        tf.cast(tf.range(places) * (side // places), tf.float32) for places, side in zip(grid, image_size, strict=True)
    )
    y, x = tf.meshgrid(rows, columns, indexing="ij")
    centres = tf.reshape(tf.stack([x, y, x, y], -1), (-1, 1, 4))
    return tf.reshape(centres + around, (-1, 4))


def non_maximum_suppression(boxes, scores, threshold, count):
    """The highest scores whose boxes do not overlap a higher one.

    Args:
        boxes: float32 (batch, n, 4).
        scores: float32 (batch, n); `NOT_THERE` for those that do not take part.
        threshold: Overlap from which the lower score is left out.
        count: Most boxes to keep, an int.

    Returns:
        Tuple of rows, int32 (batch, count), highest scores first, and whether they are there, bool (batch, count).
    """

    def of_one(pair):
        rows, number = tf.raw_ops.NonMaxSuppressionV4(
            boxes=pair[0],
            scores=pair[1],
            max_output_size=count,
            iou_threshold=threshold,
            score_threshold=NOT_THERE / 2,
            pad_to_max_output_size=True,
        )
        return tf.ensure_shape(rows, (count,)), tf.range(count) < number

    signature = (tf.TensorSpec((count,), tf.int32), tf.TensorSpec((count,), tf.bool))
    return tf.map_fn(of_one, (boxes, scores), fn_output_signature=signature)


def fewest(one, other):
    """The smaller of two numbers, as a Python number where both are known."""
    both_known = isinstance(one, int) and isinstance(other, int)
    return min(one, other) if both_known else tf.minimum(one, other)


def length(tensor):
    """Length of the second axis, as a Python number where it is known."""
    return tensor.shape[1] or tf.shape(tensor)[1]


def _centres_and_sides(boxes):
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sides, sides
