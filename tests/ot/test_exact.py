"""The exact solver against HiGHS, permutations, sorting, finite differences and its own duality."""

import itertools
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.transport import draw, program, weigh
from zoo.ot.exact import MAX_ENTRIES, exact

pytest.importorskip("ot")


@pytest.mark.parametrize(("n", "m"), [(6, 6), (7, 4), (1, 5), (5, 1)])
def test_linear_program(n, m):
    # Costs of either sign.
    cost, a, b = draw(3, n, m), weigh(3, n), weigh(3, m, seed=1)
    result = exact(cost, a, b)
    np.testing.assert_allclose(result.transport_cost, [program(*each) for each in zip(cost, a, b, strict=True)], 1e-10)
    # Weights for the whole batch, and uniform ones.
    expected = [program(each, a[0], np.full(m, 1 / m)) for each in cost]
    np.testing.assert_allclose(exact(cost, a[0]).transport_cost, expected, 1e-10)
    # Without a batch axis.
    alone = exact(cost[1], a[1], b[1])
    for member, of_batch in zip(alone, result, strict=True):
        np.testing.assert_allclose(member, of_batch[1], atol=1e-15)


def test_permutations():
    # Birkhoff: with equal uniform weights the optimum is at a permutation. All 720 of them.
    cost = draw(6, 6)
    orders = map(list, itertools.permutations(range(6)))
    best = min(orders, key=lambda order: cost[range(6), order].mean())
    result = exact(cost)
    assert float(result.transport_cost) == pytest.approx(cost[range(6), best].mean(), rel=1e-12)
    np.testing.assert_allclose(result.plan, np.eye(6)[best] / 6, atol=1e-15)


def test_one_dimension_is_sorting():
    x, y = draw(300), 2 * draw(300, seed=1) + 1
    expected = np.mean((np.sort(x) - np.sort(y)) ** 2)
    assert float(exact((x[:, None] - y) ** 2).transport_cost) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_plan_and_potentials_prove_themselves_optimal(scale):
    # Duality: a feasible plan and feasible potentials of the same value are both optimal. Some weights are 0.
    cost, a, b = scale * (draw(8, 5) - 3), weigh(8), weigh(5, seed=1)
    a[[0, 3]] = b[2] = 0
    a, b = a / a.sum(), b / b.sum()
    value, plan, f, g = (member.numpy() for member in exact(cost, a, b))
    assert (plan >= 0).all() and np.count_nonzero(plan) <= 8 + 5 - 1
    np.testing.assert_allclose(plan.sum(axis=1), a, atol=1e-14)
    np.testing.assert_allclose(plan.sum(axis=0), b, atol=1e-14)
    assert (f[:, None] + g <= cost + 1e-12 * scale).all()
    assert f @ a + g @ b == pytest.approx(value, rel=1e-12)


def test_constant_costs():
    result = exact(np.full((3, 4), 7.0))
    assert float(result.transport_cost) == pytest.approx(7, rel=1e-12)
    np.testing.assert_allclose(result.source_potential[:, None] + result.target_potential, np.full((3, 4), 7.0))


def test_types():
    # float32 weights of thirds sum to 1 only nearly; half precision is computed in float32.
    for dtype, found in (("float64", "float64"), ("float32", "float32"), ("float16", "float32")):
        result = exact(draw(3, 7).astype(dtype), np.full(3, 1 / 3, "float32"), weigh(7).astype("float32"))
        assert {keras.backend.standardize_dtype(member.dtype) for member in result} == {found}
        np.testing.assert_allclose(result.plan, exact(draw(3, 7), None, weigh(7)).plan, atol=1e-6)


def test_gradient_in_the_cost_is_the_plan():
    cost, a = draw(2, 4, 3), weigh(2, 4)
    variable = tf.Variable(cost)
    with tf.GradientTape() as tape:
        result = exact(variable, a)
        value = tf.reduce_sum(result.transport_cost)
    gradient = tape.gradient(value, variable)
    np.testing.assert_allclose(gradient, result.plan, atol=1e-15)
    step = 1e-6
    for index in np.ndindex(cost.shape):
        change = np.zeros_like(cost)
        change[index] = step
        slope = np.sum(exact(cost + change, a).transport_cost - exact(cost - change, a).transport_cost) / (2 * step)
        assert slope == pytest.approx(float(gradient[index]), abs=1e-8)


def test_potentials_are_the_slopes_in_the_weights():
    # Moving mass t from the first source to the second changes the value by t (f_2 - f_1).
    cost, a, b = draw(4, 3), weigh(4), weigh(3, seed=1)
    move = 1e-6 * np.array([-1.0, 1.0, 0.0, 0.0])
    f = exact(cost, a, b).source_potential
    slope = (exact(cost, a + move, b).transport_cost - exact(cost, a - move, b).transport_cost) / 2e-6
    assert float(slope) == pytest.approx(float(f[1] - f[0]), abs=1e-7)


def test_without_pot(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r'POT, which is not installed. Run: pip install "zoo-models\[ot\]"'):
        exact(np.zeros((2, 2)))


def test_no_optimum(monkeypatch):
    # One pivot is not enough. `zoo.ot.exact` may name the function; the module stands in sys.modules.
    monkeypatch.setattr(sys.modules["zoo.ot.exact"], "MAX_ITERATIONS", 1)
    with pytest.raises(RuntimeError, match="no optimum for 30 x 20 costs. POT says: numItermax reached.*sinkhorn"):
        exact(draw(30, 20))


def test_refused_in_a_graph():
    with pytest.raises(RuntimeError, match="called while a graph is traced.*eagerly, or use `sinkhorn`"):
        tf.function(exact, autograph=False)(tf.zeros((2, 2)))


def test_too_large_is_refused_before_work():
    with pytest.raises(ValueError, match=f"too large to solve exactly: 2 x 2000001 .*at most {MAX_ENTRIES} .*sinkhorn"):
        exact(np.zeros((2, MAX_ENTRIES // 2 + 1), "float32"))


SQUARE = np.zeros((2, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact(np.zeros(3)), r"`cost` must have shape \(n, m\) or \(batch, n, m\). Received: shape \(3,\)"),
        (lambda: exact(np.zeros((0, 3))), r"`cost` is empty: shape \(0, 3\)"),
        (lambda: exact(np.array([[np.nan, 1.0]])), "The cost holds 1 values that are NaN or infinite, of 2"),
        (lambda: exact(np.array([[np.inf, 1.0]])), "The cost holds 1 values"),
        (lambda: exact(SQUARE, np.ones(3) / 3), r"`source_weights` must have shape \(2,\).*Received: shape \(3,\)"),
        (lambda: exact(SQUARE, None, np.array([1.5, -0.5])), "`target_weights` must be finite and at least 0.*-0.5"),
        (lambda: exact(SQUARE, np.array([np.nan, 1.0])), "`source_weights` must be finite"),
        (lambda: exact(SQUARE, np.zeros(2)), "have no mass"),
        (lambda: exact(SQUARE, np.ones(2)), "Weights must sum to 1 within 0.0001. Received: source_weights sum to 2"),
    ],
)
def test_bad_inputs(call, message):
    with pytest.raises(ValueError, match=message):
        call()
