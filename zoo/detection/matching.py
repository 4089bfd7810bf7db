"""Which objects anchors and proposals stand for, and which of them are learnt from."""

import tensorflow as tf

from zoo.detection.boxes import area, fewest, intersection, intersection_over_union, length

# Share of a box within a crowd from which it is no background (the authors' Detectron).
_CROWD_SHARE = 0.7


def match(boxes, targets, crowds, there, *, positive, negative, match_all=False):
    """Each box's object, if any: the one that it overlaps most.

    Args:
        boxes: float32 (batch, n, 4).
        targets: float32 (batch, m, 4), objects, m at least 1.
        crowds: bool (batch, m), which of them are crowds. A crowd is never an object to be found; what lies in it by
            seven tenths is no background either.
        there: bool (batch, m), which of them are there at all.
        positive: Overlap (intersection over union) from which a box stands for an object.
        negative: Overlap below which it stands for background.
        match_all: Whether an object that no box overlaps enough has those that overlap it most (Ren et al. 2015,
            section 3.1.2).

    Returns:
        Tuple of rows of objects, int32 (batch, n); whether boxes stand for an object, bool (batch, n); and whether for
        background.
    """
    objects = there & ~crowds
    overlaps = tf.where(objects[:, None], intersection_over_union(boxes, targets), -1.0)
    highest = tf.reduce_max(overlaps, 2)
    is_object = highest >= positive
    if match_all:
        best = tf.reduce_max(overlaps, 1, keepdims=True)
        is_object |= tf.reduce_any((overlaps == best) & (best > 0), 2)
    in_crowd = tf.math.divide_no_nan(intersection(boxes, targets), area(boxes)[..., None]) >= _CROWD_SHARE
    in_crowd = tf.reduce_any(in_crowd & (there & crowds)[:, None], 2)
    return tf.argmax(overlaps, 2, tf.int32), is_object, ~is_object & (highest < negative) & ~in_crowd


def sample(drawn, is_object, is_background, count, share):
    """A random choice of boxes, at most a share of them objects, background for the rest.

    Args:
        drawn: Uniform numbers in (0, 1), (batch, n), that decide.
        is_object: bool (batch, n).
        is_background: bool (batch, n).
        count: Boxes to choose for each image; fewer if there are fewer.
        share: Largest share of objects.

    Returns:
        Tuple of rows, int32 (batch, chosen), objects first; whether they stand for objects, bool (batch, chosen); and
        whether there is a box at all. At most the first `int(count * share)` stand for objects.
    """
    count, most = fewest(count, length(drawn)), fewest(int(count * share), length(drawn))
    values, objects = tf.math.top_k(tf.where(is_object, drawn, 0.0), most)
    are_objects = values > 0
    values, others = tf.math.top_k(tf.where(is_background, drawn, 0.0), count)
    left = count - tf.reduce_sum(tf.cast(are_objects, tf.int32), 1, keepdims=True)
    are_others = (values > 0) & (tf.range(count)[None] < left)
    rows = tf.concat([objects, others], 1)
    # A sort that keeps the order puts what is chosen before what is not.
    chosen = tf.concat([2 * tf.cast(are_objects, tf.int32), tf.cast(are_others, tf.int32)], 1)
    order = tf.argsort(chosen, axis=1, direction="DESCENDING", stable=True)[:, :count]
    rows, chosen = (tf.gather(one, order, batch_dims=1) for one in (rows, chosen))
    return rows, chosen == 2, chosen > 0
