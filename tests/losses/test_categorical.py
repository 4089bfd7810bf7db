"""Cross-entropy: its formula and gradient in NumPy, extreme scores, TensorFlow's own."""

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.transport import draw
from zoo.losses.categorical import cross_entropy


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_cross_entropy_is_its_formula(smoothing):
    labels, logits = np.random.default_rng(0).integers(0, 7, (2, 5)), 3 * draw(2, 5, 7)
    share = (1 - smoothing) * np.eye(7)[labels] + smoothing / 7
    expected = -(share * np.log(softmax(logits))).sum(-1)
    found = cross_entropy(labels, tf.constant(logits, tf.float32), smoothing)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with tf.GradientTape() as tape:
        given = tf.constant(logits)
        tape.watch(given)
        total = tf.reduce_sum(cross_entropy(labels, given, smoothing))
    # In closed form: p - q.
    np.testing.assert_allclose(tape.gradient(total, given), softmax(logits) - share, atol=1e-12)


def test_smoothing_is_least_at_the_smoothed_label():
    """Cross-entropy is at least the entropy of q, and that where p = q."""
    share = np.array([0.025, 0.925, 0.025, 0.025])
    found = cross_entropy([[1]], tf.constant(np.log(share)[None, None], tf.float32), 0.1)
    np.testing.assert_allclose(found, [[-(share * np.log(share)).sum()]], rtol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_it_is_that_of_tensorflow_for_extreme_scores_and_any_rank(compiled):
    """Where a naive exponential would overflow, or all classes but one vanish."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, (2, 3, 4))
    logits = (rng.normal(size=(2, 3, 4, 5)) * 10.0 ** rng.integers(-3, 5, (2, 3, 4, 1))).astype("float32")
    weights = rng.normal(size=(2, 3, 4)).astype("float32")

    @tf.function(jit_compile=compiled)
    def both(logits):
        found = []
        for function in (cross_entropy, tf.nn.sparse_softmax_cross_entropy_with_logits):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                nats = function(labels, logits)
                total = tf.reduce_sum(weights * nats)
            found.append((nats, tape.gradient(total, logits)))
        return found

    (nats, slope), (expected, expected_slope) = both(tf.constant(logits))
    np.testing.assert_allclose(nats, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope, expected_slope, atol=1e-6)
    flat = cross_entropy(labels.ravel(), tf.constant(logits.reshape(-1, 5)))
    np.testing.assert_allclose(flat, np.ravel(nats), rtol=1e-6)
