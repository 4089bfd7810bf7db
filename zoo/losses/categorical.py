"""Cross-entropy between classes, for tokens and pixels alike."""

import tensorflow as tf


def cross_entropy(labels, logits, label_smoothing=0.0):
    """-sum_k q_k log p_k, with q = (1 - e) onehot(label) + e / K (Szegedy et al. 2016, section 7).

    It has a gradient of its own, since TensorFlow's kernel is slow on a CPU where there are thousands of classes.

    Args:
        labels: int (...), from 0 to K - 1.
        logits: float32 or float64 (..., K), K being known.
        label_smoothing: e, in [0, 1).

    Returns:
        (...), in nats.

    Example:
        >>> np.round(cross_entropy([1], [[0.0, 0.0]]), 3)  # log 2
        array([0.693], dtype=float32)
    """
    labels, logits = tf.convert_to_tensor(labels), tf.convert_to_tensor(logits)
    num_classes = logits.shape[-1]

    @tf.custom_gradient
    def nats_of(logits):
        largest = tf.reduce_max(logits, -1)
        shares = tf.exp(logits - largest[..., None])
        total = tf.reduce_sum(shares, -1)
        right = tf.gather(logits, labels, axis=-1, batch_dims=labels.shape.rank)
        nats = tf.math.log(total) + largest - right
        if label_smoothing:
            # -log p_k = log sum exp(logits) - logit_k, so the mean over k differs from the label's by these two.
            nats += label_smoothing * (right - tf.reduce_mean(logits, -1))

        def gradient(upstream):
            # p - q, in as few passes over all classes as there can be.
            slope = shares * (upstream / total)[..., None]
            if label_smoothing:
                slope -= (label_smoothing / num_classes * upstream)[..., None]
            return (
                slope
                - tf.one_hot(labels, num_classes, dtype=shares.dtype) * ((1 - label_smoothing) * upstream)[..., None]
            )

        return nats, gradient

    return nats_of(logits)
