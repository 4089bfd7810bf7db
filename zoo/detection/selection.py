"""The boxes that are kept: the likeliest proposals, and the best detections of each class."""

import tensorflow as tf

from zoo.detection.boxes import NOT_THERE, clip, decode, fewest, length, non_maximum_suppression

PROPOSAL_OVERLAP = 0.7
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
# Of the classes of all proposals, so many of the highest scores are looked at for each image.
_CANDIDATES = 4000
# Sides in pixels that a proposal and a detection have to be longer than.
_SHORTEST_PROPOSAL, _SHORTEST = 1e-3, 1e-2


def propose(logits, deltas, anchors, sizes, count):
    """The likeliest objects among all anchors (Ren et al. 2015, section 3.3; each level by itself, Lin et al. 2017).

    Args:
        logits: Of each level, float32 (batch, n).
        deltas: Of each level, how anchors have to move, float32 (batch, n, 4).
        anchors: Of each level, float32 (n, 4).
        sizes: Height and width of the images, int32 (batch, 2).
        count: Most proposals of a level, and of all together.

    Returns:
        Tuple of boxes, float32 (batch, count, 4), likeliest first, and whether they are there, bool (batch, count).
    """
    # Levels with fewer anchors are filled up to as many.
    scores, moves, bases = [], [], []
    for one, deltas_of_one, base in zip(logits, deltas, anchors, strict=True):
        highest, rows = tf.math.top_k(one, fewest(count, length(one)))
        missing = [[0, 0], [0, count - length(highest)]]
        scores.append(tf.pad(highest, missing, constant_values=NOT_THERE))
        moves.append(tf.pad(tf.gather(deltas_of_one, rows, batch_dims=1), [*missing, [0, 0]]))
        bases.append(tf.pad(tf.gather(base, rows), [*missing, [0, 0]]))
    images, levels = tf.shape(logits[0])[0], len(logits)
    scores, moves, bases = (tf.stack(one, 1) for one in (scores, moves, bases))
    boxes = clip(tf.reshape(decode(moves, bases), (images, -1, 4)), sizes)
    scores = tf.where(_is_longer(boxes, _SHORTEST_PROPOSAL), tf.reshape(scores, (images, -1)), NOT_THERE)
    # Each level of an image by itself, all at once.
    boxes, scores = tf.reshape(boxes, (-1, count, 4)), tf.reshape(scores, (-1, count))
    rows, there = non_maximum_suppression(boxes, scores, PROPOSAL_OVERLAP, count)
    boxes = tf.reshape(tf.gather(boxes, rows, batch_dims=1), (images, levels * count, 4))
    scores = tf.reshape(tf.where(there, tf.gather(scores, rows, batch_dims=1), NOT_THERE), (images, levels * count))
    scores, rows = tf.math.top_k(scores, count)
    return tf.gather(boxes, rows, batch_dims=1), scores > NOT_THERE / 2


def best_boxes(proposals, probabilities, deltas, sizes, *, score_threshold, overlap, count):
    """The best boxes of each class, that do not overlap a better one of the same class.

    Of all scores of an image, of each proposal for each class, the 4,000 highest are looked at; the paper's code, and
    torchvision, look at all above the threshold. A difference needs more than 4,000 scores above it.

    Args:
        proposals: float32 (batch, n, 4).
        probabilities: Of the classes, float32 (batch, n, classes); 0 where there is no proposal.
        deltas: How a proposal has to move for each class, float32 (batch, n, classes, 4).
        sizes: Height and width of the images, int32 (batch, 2).
        score_threshold: Probability that a detection has to exceed, in [0, 1).
        overlap: Overlap above which the worse of two boxes is left out.
        count: Most detections of an image, D.

    Returns:
        Tuple of boxes, float32 (batch, D, 4), best first; classes, int32 (batch, D); scores, float32 (batch, D); and
        whether they are there, bool (batch, D).
    """
    num_classes = probabilities.shape[-1]
    rows_of_batch = tf.shape(proposals)[0]
    scores = tf.reshape(probabilities, (rows_of_batch, -1))
    scores, rows = tf.math.top_k(scores, fewest(_CANDIDATES, length(scores)))
    classes = rows % num_classes
    moves = tf.gather(tf.reshape(deltas, (rows_of_batch, -1, 4)), rows, batch_dims=1)
    boxes = clip(decode(moves, tf.gather(proposals, rows // num_classes, batch_dims=1), BOX_WEIGHTS), sizes)
    scores = tf.where((scores > score_threshold) & _is_longer(boxes, _SHORTEST), scores, NOT_THERE)
    # Where each class has a place of its own, boxes of different classes do not overlap.
    apart = tf.cast(classes, tf.float32) * (tf.cast(tf.reduce_max(sizes), tf.float32) + 1)
    kept, there = non_maximum_suppression(boxes + apart[..., None], scores, overlap, count)
    boxes, classes, scores = (tf.gather(one, kept, batch_dims=1) for one in (boxes, classes, scores))
    return (
        tf.where(there[..., None], boxes, 0.0),
        tf.where(there, classes, -1),
        tf.where(there, scores, 0.0),
        there,
    )


def _is_longer(boxes, side):
    sides = boxes[..., 2:] - boxes[..., :2]
    return (sides[..., 0] >= side) & (sides[..., 1] >= side)
