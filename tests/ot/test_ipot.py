"""IPOT against the linear program, itself without padding, and finite differences."""

import numpy as np
import ot as pot
import pytest
import tensorflow as tf

from zoo import ot

NUMBERS = np.random.default_rng(0)
FEATURES = NUMBERS.normal(size=(2, 8, 32, 16))
COST = np.array(ot.cosine(*FEATURES))


def test_approaches_the_linear_program():
    # Relative distances from POT's exact cost, as measured for random cosine costs: 0.3 % and 2e-5.
    exact = np.mean([pot.emd2([], [], cost) for cost in COST])
    for iterations, bound in ((50, 5e-3), (1000, 5e-5)):
        result = ot.ipot(COST, num_iterations=iterations)
        assert 0 <= np.mean(result.transport_cost) / exact - 1 < bound
    assert np.all(np.array(result.marginal_error) < 1e-4)


def test_weights_and_inner_iterations():
    a, b = NUMBERS.dirichlet(np.ones(32)), NUMBERS.dirichlet(np.ones(32))
    result = ot.ipot(COST[0], 0.2, a, b, num_iterations=300, inner_iterations=3, jit_compile=False)
    np.testing.assert_allclose(np.sum(result.plan, axis=0), b, atol=1e-12)
    np.testing.assert_allclose(result.transport_cost, pot.emd2(a, b, COST[0]), rtol=1e-3)


def test_padding_changes_nothing_and_has_no_gradient():
    lengths = np.array([32, 20, 8, 0, 9, 9, 30, 1])
    mask = np.arange(32) < lengths[:, None]
    cost = tf.constant(COST, "float32")
    with tf.GradientTape() as tape:
        tape.watch(cost)
        result = ot.ipot(cost, source_mask=mask, target_mask=mask[::-1])
    gradient = tape.gradient(result.transport_cost, cost)
    np.testing.assert_allclose(gradient, result.plan)
    assert np.all(np.array(gradient)[~(mask[:, :, None] & mask[::-1, None])] == 0)
    for index, (n, m) in enumerate(zip(lengths, lengths[::-1], strict=True)):
        if n == 0 or m == 0:
            assert result.transport_cost[index] == 0 and np.all(result.plan[index] == 0)
        else:
            expected = ot.ipot(cost[index, :n, :m], jit_compile=False)
            np.testing.assert_allclose(result.transport_cost[index], expected.transport_cost, rtol=2e-6)


def test_unrolled_gradient_equals_finite_differences():
    direction = NUMBERS.normal(size=COST[0].shape)
    cost = tf.constant(COST[0])
    options = {"gradient": "unrolled", "num_iterations": 10}
    with tf.GradientTape() as tape:
        tape.watch(cost)
        value = ot.ipot(cost, **options).transport_cost
    found = np.sum(tape.gradient(value, cost) * direction)
    upper, lower = (ot.ipot(COST[0] + step * direction, **options).transport_cost for step in (1e-5, -1e-5))
    np.testing.assert_allclose(found, (upper - lower) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("option", ["num_iterations", "inner_iterations"])
def test_iterations_are_whole_numbers(option):
    with pytest.raises(ValueError, match=f"`{option}` must be a whole number of at least 1. Received: 0"):
        ot.ipot(COST, **{option: 0})
