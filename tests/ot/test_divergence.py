"""Losses made of transport problems: known limits, POT, and finite differences."""

import numpy as np
import ot as pot
import pytest
import tensorflow as tf

from zoo import ot

NUMBERS = np.random.default_rng(0)
X, Y = NUMBERS.normal(size=(12, 3)), NUMBERS.normal(0.5, size=(9, 3))
FAST = {"jit_compile": False, "tolerance": 1e-11}


def regularized(x, y, epsilon):
    """<P, C> + eps KL(P | a b^T) from POT's plan."""
    a, b, cost = pot.unif(len(x)), pot.unif(len(y)), pot.dist(x, y)
    plan = pot.sinkhorn(a, b, cost, epsilon, method="sinkhorn_log", numItermax=9999, stopThr=1e-10, warn=False)
    return np.sum(plan * cost) + epsilon * np.sum(plan * np.log(plan / np.outer(a, b)))


def test_divergence_equals_its_three_terms_from_pot():
    found = ot.sinkhorn_divergence(X, Y, 1.0, **FAST)
    expected = regularized(X, Y, 1.0) - 0.5 * (regularized(X, X, 1.0) + regularized(Y, Y, 1.0))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_divergence_of_a_measure_from_itself_is_zero():
    np.testing.assert_allclose(ot.sinkhorn_divergence(X, X[::-1], 2.0, **FAST), 0.0, atol=1e-10)
    assert float(ot.sinkhorn_divergence(X, X + 0.01, 2.0, **FAST)) > 1e-5


def test_large_epsilon_is_half_a_squared_mean_discrepancy():
    # Feydy et al. 2019, equation 4: the limit is half the MMD^2 of the kernel -C; for squared distances that is
    # the squared distance of the means.
    found = ot.sinkhorn_divergence(X, Y, 1e5, **FAST)
    np.testing.assert_allclose(found, np.sum(np.square(X.mean(0) - Y.mean(0))), rtol=1e-3)


def test_small_epsilon_is_transport():
    found = ot.sinkhorn_divergence(X, Y, 0.05, tolerance=1e-4, jit_compile=False)
    np.testing.assert_allclose(found, pot.emd2([], [], pot.dist(X, Y)), rtol=0.05)


@pytest.mark.parametrize("cost", ["squared_euclidean", "euclidean", "cosine", lambda x, y: ot.euclidean(2 * x, 2 * y)])
def test_divergence_gradient_equals_finite_differences(cost):
    """All costs share what is compiled for problems of 12 and 9 points."""
    options = {"cost": cost, "tolerance": FAST["tolerance"]}
    points, direction = tf.constant(X), NUMBERS.normal(size=X.shape)
    with tf.GradientTape() as tape:
        tape.watch(points)
        value = ot.sinkhorn_divergence(points, Y, 0.3, **options)
    found = np.sum(tape.gradient(value, points) * direction)
    upper, lower = (ot.sinkhorn_divergence(X + step * direction, Y, 0.3, **options) for step in (1e-5, -1e-5))
    np.testing.assert_allclose(found, (upper - lower) / 2e-5, rtol=1e-5)


def test_divergence_of_padded_batches():
    mask = np.array([[True] * 7 + [False] * 5, [False] * 12, [True] * 12])
    batch = np.stack([np.where(mask[0][:, None], X, 0.0), np.zeros_like(X), X])
    found = ot.sinkhorn_divergence(batch, np.stack([Y] * 3), 0.5, source_mask=mask, **FAST)
    expected = [ot.sinkhorn_divergence(X[:7], Y, 0.5, **FAST), 0.0, ot.sinkhorn_divergence(X, Y, 0.5, **FAST)]
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_energy_distance_equals_its_six_terms():
    x, x2, y, y2 = NUMBERS.normal(size=(4, 10, 5))
    a = pot.unif(10)

    def transport(x, y):
        cost = 1 - (x / np.linalg.norm(x, axis=1)[:, None]) @ (y / np.linalg.norm(y, axis=1)[:, None]).T
        return np.sum(
            cost * pot.sinkhorn(a, a, cost, 0.2, method="sinkhorn_log", numItermax=9999, stopThr=1e-12, warn=False)
        )

    expected = transport(x, y) + transport(x, y2) + transport(x2, y) + transport(x2, y2)
    expected -= 2 * (transport(x, x2) + transport(y, y2))
    options = {"max_iterations": 9999, **FAST}
    np.testing.assert_allclose(ot.minibatch_energy_distance(x, x2, y, y2, 0.2, **options), expected, rtol=1e-7)
    batch = ot.minibatch_energy_distance(*(np.stack([z, z]) for z in (x, x2, y, y2)), [0.2, 0.2], **options)
    np.testing.assert_allclose(batch, [expected] * 2, rtol=1e-7)


def test_energy_distance_sees_a_difference():
    # Of four seeds, alike are 0.09 at most and different 1.1 at least.
    numbers = np.random.default_rng(0)
    x, x2, y, y2 = numbers.normal(size=(4, 32, 5)) + np.array([0, 0, 1, 1])[:, None, None]
    different = ot.minibatch_energy_distance(x, x2, y, y2, tolerance=1e-3, jit_compile=False)
    alike = ot.minibatch_energy_distance(x, y2 - 1, x2, y - 1, tolerance=1e-3, jit_compile=False)
    assert float(different) > 0.1 > abs(float(alike))
