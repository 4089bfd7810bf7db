"""Losses of sequences: optimal transport between what is said and what was meant."""

import tensorflow as tf
from keras import ops

from zoo import ot


def soft_embeddings(logits, embeddings, temperature=1.0):
    """softmax(logits / t) E: what tokens are expected to mean (Chen et al. 2019, section 3.1).

    Args:
        logits: (batch, n, K).
        embeddings: E, (K, width).
        temperature: t, above 0; towards 0 it is the embedding of the most likely token.

    Returns:
        Tensor (batch, n, width).

    Example:
        >>> embeddings = ops.array([[1.0, 0.0], [0.0, 1.0]])
        >>> np.array(soft_embeddings(ops.zeros((1, 1, 2)), embeddings))  # halfway between two that are as likely
        array([[[0.5, 0.5]]], dtype=float32)
    """

    @tf.custom_gradient
    def expected(logits, embeddings):
        # As `cross_entropy` begins, so that both are computed once.
        shares = tf.exp(logits - tf.reduce_max(logits, -1)[..., None])
        total = tf.reduce_sum(shares, -1)[..., None]
        # TensorFlow's own product of these shapes is one for each row of the batch, and several times as slow.
        meant = ops.matmul(shares, embeddings) / total

        def gradient(upstream):
            # What the sum over all tokens costs, before it is multiplied by each share: fewer passes over all tokens.
            upstream /= total
            slope = ops.matmul(upstream, ops.transpose(embeddings))
            slope = shares * (slope - tf.reduce_sum(upstream * meant, -1)[..., None])
            return slope, tf.einsum("bnk,bnw->kw", shares, upstream)

        return meant, gradient

    return expected(logits if temperature == 1 else logits / temperature, embeddings)


def sequence_transport(
    said, meant, said_mask, meant_mask, *, method="ipot", strength=0.5, num_iterations=50, **options
):
    """Optimal transport between two sequences of embeddings with cosine costs (Chen et al. 2019, equation 4).

    Args:
        said: Embeddings (batch, n, width).
        meant: Others (batch, m, width).
        said_mask: Whether a place counts, bool (batch, n); padding, beginnings and ends do not.
        meant_mask: The same, (batch, m).
        method: "ipot", as in the paper, or "sinkhorn".
        strength: beta of IPOT, or epsilon of Sinkhorn.
        num_iterations: Iterations of either.
        options: Of `zoo.ot.ipot` or `zoo.ot.sinkhorn`, as `gradient`: with "envelope" the plan is held fixed.

    Returns:
        <P, C>, float32 (batch,), in [0, 2]; 0 where a side has nothing that counts.

    Example:
        >>> words = ops.array([[[1.0, 0.0], [0.0, 1.0]]])
        >>> everywhere = ops.array([[True, True]])
        >>> found = sequence_transport(words, ops.flip(words, 1), everywhere, everywhere)
        >>> abs(round(float(found[0]), 2))  # another order costs nothing
        0.0
    """
    cost = ot.cosine(said, meant)
    masks = {"source_mask": said_mask, "target_mask": meant_mask}
    if method == "ipot":
        return ot.ipot(cost, strength, num_iterations=num_iterations, **masks, **options).transport_cost
    return ot.sinkhorn(cost, strength, max_iterations=num_iterations, **masks, **options).transport_cost
