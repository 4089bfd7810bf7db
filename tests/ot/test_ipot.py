"""IPOT against the linear program, itself without padding, and finite differences."""

import importlib

import numpy as np
import ot as pot
import pytest
import tensorflow as tf

from zoo import ot
from zoo.ot.inputs import prepare

NUMBERS = np.random.default_rng(0)
FEATURES = NUMBERS.normal(size=(2, 8, 32, 16))
COST = np.array(ot.cosine(*FEATURES))


def test_approaches_the_linear_program():
    # Relative distances from POT's exact cost, as measured for random cosine costs in R^16: 0.4 % and 2e-5.
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


@pytest.mark.parametrize(("dtype", "beta", "iterations"), [("float32", 0.0125, 500), ("float64", 0.0015, 5000)])
def test_numbers_out_of_range_are_done_in_the_log_domain(dtype, beta, iterations):
    # Products give NaN here: rows of the plan times exp(-C / beta) fall below the smallest number. POT's exact cost.
    cost = np.random.default_rng(1).random((30, 40)).astype(dtype)
    result = ot.ipot(cost, beta, num_iterations=iterations)
    np.testing.assert_allclose(result.transport_cost, pot.emd2([], [], np.float64(cost)), rtol=1e-3)


def test_products_and_logarithms_are_the_same_iterates():
    ipot = importlib.import_module("zoo.ot.ipot")
    a, b = NUMBERS.dirichlet(np.ones(32), 8), NUMBERS.dirichlet(np.ones(32), 8)
    mask = np.arange(32) < np.array([32, 20, 8, 0, 9, 9, 30, 1])[:, None]
    a, b = (
        np.where(mask, weights, 0) / np.maximum((mask * weights).sum(-1, keepdims=True), 1e-9) for weights in (a, b)
    )
    problem = prepare(COST, 0.5, a, b, mask, mask)
    for inner in (1, 2):
        products, logarithms = (solver(problem, 15, inner) for solver in (ipot.by_products, ipot.by_logarithms))
        np.testing.assert_allclose(products, logarithms, atol=1e-12)
        assert np.all(np.array(products)[3] == 0)


def test_a_problem_out_of_range_has_an_unrolled_gradient():
    cost = tf.constant(np.random.default_rng(1).random((6, 7)))
    direction = np.random.default_rng(2).normal(size=(6, 7))
    options = {"gradient": "unrolled", "num_iterations": 20}
    with tf.GradientTape() as tape:
        tape.watch(cost)
        value = ot.ipot(cost, 0.0015, **options).transport_cost
    found = np.sum(tape.gradient(value, cost) * direction)
    upper, lower = (ot.ipot(cost + step * direction, 0.0015, **options).transport_cost for step in (1e-6, -1e-6))
    np.testing.assert_allclose(found, (upper - lower) / 2e-6, rtol=1e-4)


@pytest.mark.parametrize("batch", [(), pytest.param((2,), marks=pytest.mark.exhaustive)])
def test_entries_that_fall_to_0_do_not_keep_mass_for_ever(batch):
    # 0.04 of the mass has to cross, at cost 1. The other problem of the batch has nothing to exchange, and costs 0.
    a, b = np.float32([[0.5, 0.5], [0.52, 0.48]]), np.float32([[0.5, 0.5], [0.48, 0.52]])
    expected = np.array([0, 0.04])
    if not batch:
        a, b, expected = a[1], b[1], expected[1]
    cost = np.broadcast_to(np.float32([[0, 1], [1, 0]]), (*batch, 2, 2))
    result = ot.ipot(cost, 0.1, a, b, num_iterations=500, jit_compile=False)
    np.testing.assert_allclose(result.transport_cost, expected, atol=1e-4)
    assert np.all(np.array(result.marginal_error) < 1e-3) and np.all(result.converged)


def groups():
    """Two opposite directions, 16 and 15 times against 15 and 16 times: 1 / 31 has to cross at cosine cost 2."""
    direction = np.array([1.0, 0.0])
    x = np.array([direction] * 16 + [-direction] * 15)
    return ot.cosine(x, -x)


def test_mass_that_has_not_crossed_is_warned_of():
    with pytest.warns(
        ot.ConvergenceWarning, match="`ipot` stopped after 50 iterations.*error 0.06.*`beta` where groups"
    ):
        result = ot.ipot(groups(), jit_compile=False)
    assert not result.converged
    np.testing.assert_allclose(result.marginal_error, 2 / 31, rtol=1e-3)
    result = ot.ipot(groups(), 2.0, num_iterations=200, jit_compile=False)
    np.testing.assert_allclose(result.transport_cost, 2 / 31, rtol=1e-4)


def test_neither_graphs_nor_unrolled_iterations_nor_ordinary_costs_warn():
    # Warnings are errors here. What is ordinary: the defaults, with features at random.
    assert not tf.function(lambda cost: ot.ipot(cost, jit_compile=False).converged)(groups())
    assert not ot.ipot(groups(), gradient="unrolled").converged
    out_of_range = importlib.import_module("zoo.ot.ipot").out_of_range
    for dimensions in (2, 4, 64):
        cost = np.float32(ot.cosine(*np.random.default_rng(0).normal(size=(2, 8, 32, dimensions))))
        result = ot.ipot(cost, jit_compile=False)
        assert np.all(result.converged)
        # Nor are they done again in the log domain.
        assert not out_of_range(prepare(cost, 0.5, None, None, None, None), result.plan)
