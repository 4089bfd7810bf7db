"""Sinkhorn against POT's plans, closed forms, its own log domain, and finite differences."""

import importlib

import numpy as np
import ot as pot
import pytest
import tensorflow as tf

from zoo import ot

solvers = importlib.import_module("zoo.ot.solvers")


def problem(batch=3, n=12, m=9, seed=0):
    """Costs between Gaussian points in the plane, and random weights, in float64."""
    numbers = np.random.default_rng(seed)
    x, y = numbers.normal(size=(batch, n, 2)), numbers.normal(0.5, size=(batch, m, 2))
    cost = np.square(x[:, :, None] - y[:, None]).sum(-1)
    return cost, numbers.dirichlet(np.ones(n), batch), numbers.dirichlet(np.ones(m), batch)


COST, A, B = problem()
EPSILON = np.array([0.1, 0.5, 2.0])


def solve(cost=COST, epsilon=EPSILON, a=A, b=B, **options):
    """Sinkhorn operation by operation, which spares small problems the seconds of compilation."""
    return ot.sinkhorn(cost, epsilon, a, b, **{"tolerance": 1e-12, "jit_compile": False, **options})


def kl(p, q):
    return np.sum(p * np.log(p / q)) - p.sum() + q.sum()


def directional(function, at, direction, step=1e-5):
    """The central difference of a function of an array along a direction."""
    return (function(at + step * direction) - function(at - step * direction)) / (2 * step)


@pytest.mark.parametrize(("method", "jit_compile"), [("auto", True), ("auto", False), ("log", False)])
def test_plan_equals_pot(method, jit_compile):
    result = solve(method=method, jit_compile=jit_compile, return_plan=True)
    for cost, epsilon, a, b, plan in zip(COST, EPSILON, A, B, result.plan, strict=True):
        expected = pot.sinkhorn(a, b, cost, epsilon, method="sinkhorn_log", numItermax=20000, stopThr=1e-13)
        np.testing.assert_allclose(plan, expected, atol=1e-10)
    assert np.all(result.converged) and np.all(np.array(result.marginal_error) < 1e-11)


def test_three_values_are_those_of_the_plan():
    result = solve(return_plan=True)
    for index, plan in enumerate(np.array(result.plan)):
        transport = np.sum(plan * COST[index])
        product = np.outer(A[index], B[index])
        np.testing.assert_allclose(result.transport_cost[index], transport)
        np.testing.assert_allclose(result.regularized_cost[index], transport + EPSILON[index] * kl(plan, product))
        entropy = -np.sum(plan * np.log(plan))
        np.testing.assert_allclose(result.entropic_cost[index], transport - EPSILON[index] * entropy)
        f, g = result.source_potential[index], result.target_potential[index]
        rebuilt = product * np.exp((f[:, None] + g[None] - COST[index]) / EPSILON[index])
        np.testing.assert_allclose(plan, rebuilt, rtol=1e-9)


def test_gaussians_have_a_closed_form():
    # Janati et al. 2020, theorem 1, in one dimension with epsilon = 2 sigma^2; the measures on a fine grid.
    mean, s, t, sigma = 1.0, 0.8, 1.3, 0.6
    points = np.linspace(-9, 10, 400)
    a, b = (np.exp(-0.5 * ((points - m) / d) ** 2) for m, d in ((0.0, s), (mean, t)))
    cost = ot.squared_euclidean(points[:, None], points[:, None])
    result = solve(cost, 2 * sigma**2, a / a.sum(), b / b.sum(), tolerance=1e-10)
    D = np.sqrt(4 * s**2 * t**2 + sigma**4)
    expected = mean**2 + s**2 + t**2 - D + sigma**2 * (1 - np.log(2 * sigma**2)) + sigma**2 * np.log(D + sigma**2)
    np.testing.assert_allclose(result.regularized_cost, expected, rtol=1e-6)


def test_limits_in_epsilon():
    # A large epsilon gives the product plan, a small one the linear program.
    cost, a, b = COST[0], A[0], B[0]
    np.testing.assert_allclose(solve(cost, 1e6, a, b, return_plan=True).plan, np.outer(a, b), rtol=1e-4)
    exact = pot.emd2(a, b, cost)
    small = solve(cost, 0.01, a, b, tolerance=1e-6, epsilon_scaling=True)
    assert exact - 1e-6 < float(small.transport_cost) < exact * 1.01


@pytest.mark.parametrize(("relative", "bound"), [(0.05, 1e-6), (0.005, 1e-5)])
def test_float32_is_as_exact_as_promised(relative, bound):
    cost, a, b = (array.astype("float32") for array in problem(16, 32, 32, seed=1))
    a, b = (weights / weights.sum(axis=1, keepdims=True) for weights in (a, b))
    epsilon = relative * cost.mean(axis=(1, 2))
    options = {"tolerance": 0.0, "max_iterations": 100}
    single = ot.sinkhorn(cost, epsilon, a, b, **options)
    double = solve(*(np.float64(array) for array in (cost, epsilon, a, b)), method="log", **options)
    for value, expected in zip(single[:3], double[:3], strict=True):
        size = np.abs(np.array(double.transport_cost))  # The entropic cost passes 0 for some problem.
        assert np.max(np.abs(np.float64(value) - expected) / np.maximum(np.abs(expected), size)) < bound


@pytest.mark.parametrize("limit", [None, 1e-6])
@pytest.mark.parametrize("penalty", [None, 0.7])
def test_products_and_log_domain_do_the_same_iterates(limit, penalty, monkeypatch):
    # With so low a limit every block of products is thrown away, so that the fallback does all the work.
    if limit:
        monkeypatch.setitem(solvers.LIMIT, "float64", limit)
    options = {"tolerance": 0.0, "max_iterations": 30, "marginal_penalty": penalty}
    auto, log = solve(**options), solve(method="log", **options)
    for name in ("source_potential", "target_potential", "regularized_cost", "num_iterations"):
        np.testing.assert_allclose(getattr(auto, name), getattr(log, name), rtol=1e-10)


def test_small_epsilon_falls_back_and_stays_right():
    # Blocks of products alone would overflow float32 here: the points lie in two clusters far from each other, and
    # the masses of the clusters differ, so that potentials move by thousands of epsilon.
    numbers = np.random.default_rng(3)
    x = np.concatenate([numbers.normal(0, 0.1, 10), numbers.normal(5, 0.1, 20)])[:, None].astype("float32")
    y = np.concatenate([numbers.normal(0, 0.1, 20), numbers.normal(5, 0.1, 10)])[:, None].astype("float32")
    cost = ot.squared_euclidean(x, y)
    result = ot.sinkhorn(cost, 0.005, tolerance=1e-3, max_iterations=20_000)
    assert np.isfinite(result.transport_cost) and bool(result.converged)
    np.testing.assert_allclose(result.transport_cost, pot.emd2([], [], np.float64(cost)), rtol=0.01)


def test_a_batch_solves_each_problem_as_if_alone():
    options = {"tolerance": 1e-6, "max_iterations": 500}
    together = solve(**options)
    for index in range(3):
        alone = solve(COST[index], EPSILON[index], A[index], B[index], **options)
        assert int(alone.num_iterations) == int(together.num_iterations[index])
        np.testing.assert_allclose(alone.source_potential, together.source_potential[index], atol=1e-9)
    assert len(set(np.array(together.num_iterations).tolist())) > 1
    lone = solve(COST[:1], EPSILON[:1], A[:1], B[:1], **options)
    assert lone.transport_cost.shape == (1,)
    np.testing.assert_allclose(lone.transport_cost[0], together.transport_cost[0])


def test_stops_at_the_tolerance_and_says_so():
    loose, never = solve(tolerance=1e-2), solve(tolerance=0.0, max_iterations=25)
    assert np.all(np.array(loose.marginal_error) < 1e-2) and np.all(loose.converged)
    assert not np.any(never.converged) and np.all(np.array(never.num_iterations) == 30)


def test_epsilon_scaling_reaches_the_same_solution_sooner():
    numbers = np.random.default_rng(0)
    x, y = numbers.normal(size=(32, 64)), 0.1 + numbers.normal(size=(32, 64))
    cost = np.square(x[:, None] - y).sum(-1)
    epsilon = 0.002 * cost.mean()
    plain, scaled = (solve(cost, epsilon, None, None, epsilon_scaling=flag, tolerance=1e-4) for flag in (False, True))
    np.testing.assert_allclose(plain.regularized_cost, scaled.regularized_cost, rtol=1e-4)
    assert int(scaled.num_iterations) < int(plain.num_iterations)


def test_symmetric_needs_tens_of_iterations_where_turns_need_hundreds():
    points, a = np.random.default_rng(6).normal(size=(15, 2)), np.random.default_rng(6).dirichlet(np.ones(15))
    cost = ot.squared_euclidean(points, points)
    fast = solve(cost, 1.0, a, a, method="symmetric", tolerance=1e-9, return_plan=True)
    slow = solve(cost, 1.0, a, a, tolerance=1e-9, return_plan=True)
    np.testing.assert_allclose(fast.plan, slow.plan, atol=1e-7)
    np.testing.assert_allclose(fast.regularized_cost, slow.regularized_cost, rtol=1e-7)
    fast = solve(cost, 0.1, a, a, method="symmetric", tolerance=1e-9)
    with pytest.warns(ot.ConvergenceWarning):
        slow = solve(cost, 0.1, a, a, tolerance=1e-9, max_iterations=100)
    assert int(fast.num_iterations) < 50 < 100 == int(slow.num_iterations)
    with pytest.raises(ValueError, match="with a square cost"):
        solve(method="symmetric")


def test_padding_changes_nothing():
    lengths = [(12, 9), (7, 9), (5, 4)]
    source_mask, target_mask = (
        np.array([np.arange(k) < pair[side] for pair in lengths]) for side, k in ((0, 12), (1, 9))
    )
    cost = np.where(source_mask[:, :, None] & target_mask[:, None], COST, np.nan)
    masks = {"source_mask": source_mask, "target_mask": target_mask}
    result = solve(cost, EPSILON, None, None, return_plan=True, **masks)
    for index, (n, m) in enumerate(lengths):
        expected = solve(COST[index, :n, :m], EPSILON[index], None, None, return_plan=True)
        np.testing.assert_allclose(result.plan[index, :n, :m], expected.plan, atol=1e-12)
        np.testing.assert_allclose(result.regularized_cost[index], expected.regularized_cost)
        assert np.sum(result.plan[index]) == pytest.approx(1.0)
        assert np.all(result.source_potential[index, n:] == 0)


def test_a_problem_that_is_all_padding_is_worth_nothing():
    mask = np.ones((3, 12), bool)
    mask[1] = False
    cost = tf.constant(COST)
    with tf.GradientTape() as tape:
        tape.watch(cost)
        result = solve(cost, EPSILON, None, None, source_mask=mask)
        value = result.transport_cost + result.regularized_cost + result.entropic_cost
    gradient = tape.gradient(value, cost)
    assert value[1] == 0 and np.all(gradient[1] == 0) and bool(result.converged[1])
    assert np.all(np.isfinite(gradient)) and np.any(gradient[0] != 0)


def test_weights_may_be_zero():
    a = np.where(np.arange(12) < 6, 0.0, A)
    a /= a.sum(axis=1, keepdims=True)
    result = solve(a=a, epsilon=1.0)
    expected = solve(COST[:, 6:], a=a[:, 6:], epsilon=1.0)
    np.testing.assert_allclose(result.regularized_cost, expected.regularized_cost)
    assert np.all(np.isfinite(result.source_potential))


@pytest.mark.parametrize("value", ["regularized_cost", "entropic_cost"])
def test_envelope_gradients_equal_finite_differences(value):
    numbers = np.random.default_rng(7)
    cost, a, b = (tf.constant(array) for array in (COST, A, B))
    # Compiled: 14 solutions of problems of one size.
    options = {"epsilon": EPSILON + 0.4, "tolerance": 1e-13, "jit_compile": True}

    def function(cost, a, b):
        return np.sum(getattr(solve(cost, a=a, b=b, **options), value))

    with tf.GradientTape() as tape:
        tape.watch([cost, a, b])
        total = tf.reduce_sum(getattr(solve(cost, a=a, b=b, **options), value))
    gradients = tape.gradient(total, [cost, a, b])
    for index, gradient in enumerate(gradients):
        arguments = [COST, A, B]
        direction = numbers.normal(size=arguments[index].shape)
        if index:  # Along the simplex: weights keep their sum.
            direction = 0.1 * arguments[index] * (direction - np.sum(arguments[index] * direction, 1, keepdims=True))

        def along(at, index=index):
            return function(*(at if place == index else argument for place, argument in enumerate([COST, A, B])))

        expected = directional(along, arguments[index], direction)
        np.testing.assert_allclose(np.sum(gradient * direction), expected, rtol=1e-5)


def test_transport_cost_holds_the_plan_fixed():
    cost = tf.constant(COST)
    with tf.GradientTape() as tape:
        tape.watch(cost)
        result = solve(cost, return_plan=True)
    np.testing.assert_allclose(tape.gradient(result.transport_cost, cost), result.plan, atol=1e-15)


def test_unrolled_gradients_equal_finite_differences():
    numbers = np.random.default_rng(8)
    x, y = numbers.normal(size=(10, 3)), numbers.normal(size=(8, 3))
    direction = numbers.normal(size=x.shape)

    def value(x):
        options = {"gradient": "unrolled", "max_iterations": 20}
        return ot.sinkhorn(ot.squared_euclidean(x, y), 0.5, **options).transport_cost

    point = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(point)
        total = value(point)
    found = np.sum(tape.gradient(total, point) * direction)
    np.testing.assert_allclose(found, directional(lambda x: float(value(x)), x, direction), rtol=1e-6)


def test_relaxed_marginals_equal_pot_and_finite_differences():
    a, b, penalty, epsilon = 2.0 * A[1], 0.7 * B[1], 0.8, 0.3
    weights = tf.constant(a)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        result = solve(COST[1], epsilon, weights, b, marginal_penalty=penalty, tolerance=1e-13, return_plan=True)
    plan = np.array(result.plan)
    expected = pot.unbalanced.sinkhorn_unbalanced(
        a, b, COST[1], epsilon, penalty, reg_type="kl", numItermax=10_000, stopThr=1e-14
    )
    np.testing.assert_allclose(plan, expected, atol=1e-8)
    value = np.sum(plan * COST[1]) + penalty * (kl(plan.sum(1), a) + kl(plan.sum(0), b))
    np.testing.assert_allclose(result.regularized_cost, value + epsilon * kl(plan, np.outer(a, b)))
    np.testing.assert_allclose(result.entropic_cost, value + epsilon * np.sum(plan * np.log(plan)))

    def value_at(a):
        return float(solve(COST[1], epsilon, a, b, marginal_penalty=penalty, tolerance=1e-13).regularized_cost)

    direction = np.random.default_rng(9).normal(size=a.shape) * a
    found = np.sum(tape.gradient(result.regularized_cost, weights) * direction)
    np.testing.assert_allclose(found, directional(value_at, a, direction), rtol=1e-6)


def test_costs_of_a_million():
    cost, a, b = (array.astype("float32") for array in problem())
    small, large = (solve(scale * cost, scale * EPSILON, tolerance=1e-5) for scale in np.float32([1.0, 1e6]))
    np.testing.assert_allclose(1e-6 * np.array(large.regularized_cost), small.regularized_cost, rtol=1e-5)
    assert np.all(large.converged)


def test_far_tails_in_float32():
    # Weights down to 1e-35 at costs of hundreds of epsilon: where products leave the range, the log domain steps in.
    points = np.linspace(-9, 9, 201)
    a, b = (np.exp(-0.5 * (points / width) ** 2) for width in (1.0, 0.7))
    cost = ot.squared_euclidean(points[:, None], points[:, None])
    expected = solve(cost, 0.5, a / a.sum(), b / b.sum(), tolerance=1e-9)
    for method in ("auto", "log"):
        arrays = (np.float32(array) for array in (cost, 0.5, a / a.sum(), b / b.sum()))
        result = solve(*arrays, tolerance=1e-5, method=method)
        assert bool(result.converged)
        np.testing.assert_allclose(result.regularized_cost, expected.regularized_cost, rtol=1e-4)


def test_a_python_number_keeps_its_digits_in_float64():
    options = {"tolerance": 0.0, "max_iterations": 10}
    found, expected = (solve(epsilon=epsilon, **options) for epsilon in (0.1, tf.constant(0.1, "float64")))
    np.testing.assert_array_equal(found.regularized_cost, expected.regularized_cost)
