"""Solvers converge where they should, in few iterations, and say so where they do not."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

from zoo import SinkhornGAN, mlp_generator, ot

NUMBERS = np.random.default_rng(0)
X, Y = NUMBERS.normal(size=(20, 2)), NUMBERS.normal(0.5, size=(15, 2))
COST = np.square(X[:, None] - Y).sum(-1)
# Masses 1.3 and 0.7, of which most cannot be moved.
A, B = 1.3 * NUMBERS.dirichlet(np.ones(20)), 0.7 * NUMBERS.dirichlet(np.ones(15))


def kl(p, q):
    return np.sum(p * np.log(np.where(p > 0, p, 1.0) / q)) - p.sum() + q.sum()


@pytest.mark.exhaustive
@pytest.mark.parametrize("method", ["auto", "log"])
@pytest.mark.parametrize("penalty", [0.01, 1.0, 1e3, 1e4])
def test_any_marginal_penalty_takes_tens_of_iterations(penalty, method):
    """At the optimum alone the dual at the potentials equals the primal at the plan, which is computed in NumPy.

    All penalties share what is compiled, as do all tolerances and numbers of iterations below.
    """
    options = {"marginal_penalty": penalty, "return_plan": True}
    result = ot.sinkhorn(COST, 0.05, A, B, method=method, **options)
    plan = np.array(result.plan)
    primal = np.sum(plan * COST) + 0.05 * kl(plan, np.outer(A, B))
    primal += penalty * (kl(plan.sum(1), A) + kl(plan.sum(0), B))
    assert bool(result.converged) and int(result.num_iterations) <= 120
    np.testing.assert_allclose(result.regularized_cost, primal, rtol=1e-7)
    f, g = np.array(result.source_potential), np.array(result.target_potential)
    np.testing.assert_allclose(plan, np.outer(A, B) * np.exp((f[:, None] + g - COST) / 0.05), rtol=1e-6, atol=1e-12)
    single = ot.sinkhorn(*(np.float32(array) for array in (COST, 0.05, A, B)), method=method, **options)
    assert bool(single.converged)
    np.testing.assert_allclose(single.regularized_cost, primal, rtol=1e-5)


@pytest.mark.parametrize("penalty", [0.3, 10.0, 1e3])
def test_the_entropic_cost_has_its_exact_gradient_under_a_marginal_penalty(penalty):
    """Against central differences in float64, along one direction of each argument; a batch holds all moves."""
    cost, a, b = COST[:7, :6], np.append(A[:6], 0.0), B[:6]
    moves = [NUMBERS.normal(size=cost.shape), a * NUMBERS.normal(size=7), b * NUMBERS.normal(size=6)]
    options = {"marginal_penalty": penalty, "tolerance": 1e-11, "jit_compile": False}
    arguments = [tf.constant(array) for array in (cost, a, b)]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = ot.sinkhorn(arguments[0], 0.3, *arguments[1:], **options).entropic_cost
    found = [np.sum(slope * move) for slope, move in zip(tape.gradient(value, arguments), moves, strict=True)]
    batch = [np.tile(array, (6, *[1] * array.ndim)) for array in (cost, a, b)]
    for place, move in enumerate(moves):
        batch[place][2 * place] += 1e-5 * move
        batch[place][2 * place + 1] -= 1e-5 * move
    values = np.array(ot.sinkhorn(batch[0], 0.3, *batch[1:], **options).entropic_cost)
    np.testing.assert_allclose(found, (values[::2] - values[1::2]) / 2e-5, rtol=1e-5)


def test_over_relaxation_takes_a_fifth_of_the_iterations_to_the_same_solution():
    """Plain iterations need 1,200 here; the value is theirs."""
    x, y = NUMBERS.normal(size=(32, 64)), NUMBERS.normal(0.1, size=(32, 64))
    cost = np.square(x[:, None] - y).sum(-1)
    epsilon = 0.005 * cost.mean()
    result = ot.sinkhorn(cost, epsilon)
    plain = ot.sinkhorn(cost, epsilon, tolerance=0.0, max_iterations=5 * int(result.num_iterations))
    assert bool(result.converged) and float(result.marginal_error) < 1e-4 < float(plain.marginal_error)
    np.testing.assert_allclose(result.regularized_cost, plain.regularized_cost, rtol=1e-4)


def features(count=16, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3)).astype("float32")


POINTS = [features(seed=seed) for seed in range(4)]
SOLVERS = {
    "sinkhorn": lambda **options: ot.sinkhorn(ot.squared_euclidean(*POINTS[:2]), 0.01, **options),
    "point_cloud_sinkhorn": lambda **options: ot.point_cloud_sinkhorn(*POINTS[:2], 0.01, **options),
    "sinkhorn_divergence": lambda **options: ot.sinkhorn_divergence(*POINTS[:2], 0.01, **options),
    "minibatch_energy_distance": lambda **options: ot.minibatch_energy_distance(*POINTS, 0.001, **options),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_who_stops_early_says_so(name):
    """What was reached, what was asked for, and what to do, at the line of the caller."""
    message = rf"`{name}` stopped after 10 iterations.*error 0\.\d+, asked for: below 0.0001.*Raise `max_iterations`"
    with pytest.warns(ot.ConvergenceWarning, match=message) as record:
        SOLVERS[name](max_iterations=10, jit_compile=False)
    assert len(record) == 1 and record[0].filename == __file__


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SOLVERS)
def test_who_was_told_to_stop_does_not_warn(name):
    """Nor does a graph, which cannot. Warnings are errors here."""
    SOLVERS[name](max_iterations=10, tolerance=0.0, jit_compile=False)
    tf.function(lambda: SOLVERS[name](max_iterations=10, jit_compile=False), autograph=False)()
    if name != "point_cloud_sinkhorn":
        SOLVERS[name](max_iterations=10, gradient="unrolled")


@pytest.mark.parametrize("name", ["sinkhorn_divergence", "minibatch_energy_distance"])
def test_a_loss_tells_whether_it_was_solved(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ot.ConvergenceWarning)
        value = SOLVERS[name](max_iterations=10)
    early = SOLVERS[name](max_iterations=10, return_result=True)
    assert isinstance(early, ot.LossResult) and float(early.value) == float(value)
    assert not early.converged and float(early.marginal_error) > 1e-3 and int(early.num_iterations) == 10
    solved = SOLVERS[name](return_result=True)
    assert solved.converged and float(solved.marginal_error) < 3e-4 and 10 < int(solved.num_iterations) < 2000


def test_a_small_epsilon_gives_the_squared_distance_of_a_shift():
    """A set moved by (0.5, 0): the divergence is 0.25, whatever epsilon is, since plans are moved likewise."""
    points = np.random.default_rng(0).normal(size=(200, 2)).astype("float32")
    moved = points + np.float32([0.5, 0])
    result = ot.sinkhorn_divergence(points, moved, 1e-3, return_result=True, max_iterations=500)
    np.testing.assert_allclose(result.value, 0.25, rtol=1e-3)


def sinkhorn_gan(**options):
    return SinkhornGAN(mlp_generator((2,), hidden=(8,)), **options)


def slope(function, points):
    points = tf.constant(points)
    with tf.GradientTape() as tape:
        tape.watch(points)
        value = function(points)
    return tape.gradient(value, points).numpy()


def ring(count, noise, seed):
    numbers = np.random.default_rng(seed)
    angles = numbers.integers(0, 8, count) * np.pi / 4
    return np.stack([np.cos(angles), np.sin(angles)], 1) + noise * numbers.normal(size=(count, 2))


@pytest.mark.exhaustive
@pytest.mark.parametrize("cost", ["squared_euclidean", "euclidean"])
def test_the_default_iterations_hold_a_generators_gradient_right(cost):
    """Within 1 % of float64 to an error of 1e-8, where 100 plain iterations were off by tens."""
    real, fake = ring(64, 0.02, seed=0), ring(64, 0.1, seed=1)
    model = sinkhorn_gan(epsilon=0.01, cost=cost)
    found = slope(lambda fake: model.divergence(np.float32(real), fake), np.float32(fake))
    options = {"cost": cost, "tolerance": 1e-8, "max_iterations": 20_000}
    expected = slope(lambda fake: ot.sinkhorn_divergence(real, fake, 0.01, **options), fake)
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)


@pytest.mark.exhaustive
def test_a_generators_logs_tell_the_marginal_error():
    """On average over steps: of plans that are far from solutions, and of solutions."""
    examples = ring(64, 0.02, seed=0).astype("float32")
    errors = []
    for options in ({"max_iterations": 10}, {}):
        model = sinkhorn_gan(epsilon=0.01, **options)
        model.compile()
        errors.append(model.fit(examples, batch_size=32, verbose=0).history["marginal_error"][0])
    assert errors[0] > 0.01 and errors[1] < 3e-4


def test_transport_unrolled_is_what_the_authors_minimise():
    """<P, C> after 20 iterations from potentials of 0, in NumPy, and its derivative by central differences."""
    real, fake, epsilon = ring(9, 0.1, seed=0), ring(9, 0.3, seed=1), 0.5
    settings = {"value": "transport_cost", "gradient": "unrolled", "debiased": False}
    model = sinkhorn_gan(epsilon=epsilon, max_iterations=20, **settings)

    def transport(fake):
        cost = np.square(real[:, None] - fake).sum(-1)
        K = np.exp(-cost / epsilon)
        v = np.ones(9)
        for _ in range(20):
            u = 9 / (K @ v)
            v = 9 / (K.T @ u)
        return np.sum(u[:, None] * K * v * cost) / 81

    np.testing.assert_allclose(model.divergence(real, fake), transport(fake), rtol=1e-9)
    move = NUMBERS.normal(size=fake.shape)
    expected = (transport(fake + 1e-5 * move) - transport(fake - 1e-5 * move)) / 2e-5
    found = slope(lambda fake: model.divergence(real, fake), fake)
    np.testing.assert_allclose(np.sum(found * move), expected, rtol=1e-6)
    both = sinkhorn_gan(epsilon=epsilon, max_iterations=60, **{**settings, "debiased": True})
    within = sum(float(model.divergence(*pair)) / 2 for pair in ((real, real), (fake, fake)))
    np.testing.assert_allclose(both.divergence(real, fake), transport(fake) - within, atol=2e-3)
    assert (sinkhorn_gan().max_iterations, sinkhorn_gan(gradient="unrolled").max_iterations) == (2000, 100)
