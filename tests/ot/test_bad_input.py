"""Every mistake gets an error that says what was expected and what was received."""

import numpy as np
import pytest
import tensorflow as tf

from zoo import ot

COST = np.random.default_rng(0).uniform(size=(2, 4, 3)).astype("float32")
UNIFORM = np.full(4, 0.25, "float32")
BAD = {
    "cost of rank 1": (
        (COST[0, 0], 0.1),
        {},
        r"`cost` must have shape \(n, m\) or \(batch, n, m\). Received: shape \(3,\)",
    ),
    "empty set": ((COST[:, :0], 0.1), {}, "`cost` is empty"),
    "NaN": ((np.where(COST == COST.max(), np.nan, COST), 0.1), {}, "holds 1 values that are NaN or infinite, of 24"),
    "infinite": ((np.where(COST == COST.max(), np.inf, COST), 0.1), {}, "holds 1 values that are NaN or infinite"),
    "epsilon 0": ((COST, 0.0), {}, "`epsilon` must be above 0. Received: 0"),
    "epsilon negative": ((COST, [0.1, -1.0]), {}, "`epsilon` must be above 0. Received: -1"),
    "epsilon NaN": ((COST, np.nan), {}, "`epsilon` must be above 0. Received: nan"),
    "epsilon infinite": ((COST, [0.1, np.inf]), {}, "`epsilon` must be finite and above 0. Received: inf"),
    "epsilon a text": ((COST, "0.1"), {"jit_compile": True}, "`epsilon` must be a number above 0. Received: '0.1'"),
    "epsilon None": ((COST, None), {}, "`epsilon` must be a number above 0. Received: None"),
    "complex": ((COST + 1j, 0.1), {}, "must be real numbers. Received: complex64. Take their real part"),
    "points": ((COST[0], COST[0], 0.1), {}, r"takes a cost: `sinkhorn\(ot.squared_euclidean\(x, y\), 0.1\)`"),
    "weights first": ((UNIFORM, UNIFORM, COST, 0.1), {}, "`cost` must have shape .* It takes a cost: "),
    "weights as a mask": (
        (COST, 0.1),
        {"source_mask": UNIFORM},
        "`source_mask` must be boolean or whole.* Received: float32. Were these weights. Pass `source_weights`",
    ),
    "epsilon of a batch": ((COST, [0.1, 0.1, 0.1]), {}, r"`epsilon` must be a number, or have shape \(batch,\)"),
    "weights of another length": ((COST, 0.1, np.ones(5) / 5), {}, r"`source_weights` must have shape \(4,\)"),
    "negative weights": ((COST, 0.1, [0.5, 0.7, -0.2, 0.0]), {}, "`source_weights` must be .* at least 0. .* -0.2"),
    "unnormalised": ((COST, 0.1, None, [1.0, 1.0, 1.0]), {}, "must sum to 1 .* target_weights sum to 3 .* Divide them"),
    "no mass": ((COST, 0.1, np.zeros(4)), {}, "have no mass. .* source_weights sum to 0"),
    "mask of another length": ((COST, 0.1), {"target_mask": [True]}, r"`target_mask` must have shape \(3,\)"),
    "too small": (
        (COST, 1e-7),
        {},
        "`epsilon` is too small for float32: 1e-07 .* smallest usable epsilon .* is 9.*e-06",
    ),
    "method": ((COST, 0.1), {"method": "scaling"}, "`method` must be one of 'auto', 'log', 'symmetric'"),
    "gradient": ((COST, 0.1), {"gradient": "implicit"}, "`gradient` must be one of"),
    "iterations": ((COST, 0.1), {"max_iterations": 0}, "`max_iterations` must be a whole number of at least 1"),
    "penalty": ((COST, 0.1), {"marginal_penalty": -1.0}, "`marginal_penalty` must be above 0"),
    "penalty of two": (
        (COST, 0.1),
        {"marginal_penalty": (1.0, 2.0)},
        r"`marginal_penalty` must be above 0, one number. Received: \(1.0, 2.0\). It holds for both sides",
    ),
    "penalty an array": ((COST, 0.1), {"marginal_penalty": np.ones(2)}, r"Received: an array of shape \(2,\)"),
    "tolerance": ((COST, 0.1), {"tolerance": -1e-3}, "`tolerance` must be at least 0"),
    "tolerance None": ((COST, 0.1), {"tolerance": None}, "`tolerance` must be at least 0, one number. Received: None"),
    "tolerance NaN": ((COST, 0.1), {"tolerance": np.nan}, "`tolerance` must be at least 0.* Received: nan"),
    "tolerance an array": ((COST, 0.1), {"tolerance": np.ones(2)}, r"`tolerance` must be .* an array of shape \(2,\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_sinkhorn_explains(name):
    arguments, options, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        ot.sinkhorn(*arguments, **{"jit_compile": False, **options})


@pytest.mark.parametrize("name", ["epsilon 0", "epsilon negative", "epsilon NaN", "infinite", "NaN", "no mass"])
def test_epsilon_scaling_ends_on_bad_input_too(name):
    arguments, _, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        ot.sinkhorn(*arguments, epsilon_scaling=True, jit_compile=False)


def test_a_bad_point_cloud_is_not_tried():
    # A hundred million iterations would outlast the test.
    with pytest.raises(ValueError, match="`epsilon` must be above 0"):
        ot.point_cloud_sinkhorn(np.ones((4, 2)), np.eye(4, 2), 0.0, max_iterations=100_000_000, jit_compile=False)


def test_the_smallest_usable_epsilon_is_usable():
    result = ot.sinkhorn(COST, 1.0001e-5 * float(COST.max()), tolerance=0.0, max_iterations=100, jit_compile=False)
    assert np.all(np.isfinite(result.transport_cost)) and np.all(np.isfinite(result.source_potential))


def test_ipot_names_the_smallest_usable_beta():
    with pytest.raises(ValueError, match="`beta` is too small for float32: 0.5 .* smallest usable beta .* 1.2"):
        ot.ipot(1e6 * COST / COST.max())


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (np.ones((4, 2)), np.ones((3, 5)), r"do not fit together. .* \(4, 2\) and \(3, 5\)"),
        (np.ones((2, 4, 2)), np.ones((3, 2)), "do not fit together"),
        (np.ones((2, 4, 2)), np.ones((3, 3, 2)), "do not fit together"),
        (np.ones((4, 28, 28, 1)), np.ones((4, 28, 28, 1)), "Flatten each point"),
        (np.ones((0, 2)), np.ones((3, 2)), "`source` is empty"),
    ],
)
def test_points_that_do_not_fit(source, target, message):
    with pytest.raises(ValueError, match=message):
        ot.squared_euclidean(source, target)


def test_unknown_cost_lists_the_known():
    with pytest.raises(ValueError, match="must be 'squared_euclidean', 'euclidean', 'cosine' or a function"):
        ot.cost_matrix(np.ones((2, 2)), np.ones((2, 2)), "manhattan")


@pytest.mark.parametrize(
    ("source", "target", "options", "message"),
    [
        (np.ones((2, 4, 2)), np.ones((2, 4, 2)), {}, "solves one problem of known size"),
        (np.array([[np.nan, 1.0]]), np.ones((4, 2)), {}, "`source` holds 1 values that are NaN or infinite, of 2"),
        (np.ones((3, 2)), np.eye(3, 2), {"source_weights": [1.0, 1.0, 1.0]}, "must sum to 1"),
        (
            np.ones((3, 2)),
            1e4 * np.eye(3, 2),
            {"epsilon": 1e-9, "jit_compile": False},
            "`epsilon` is too small for float64",
        ),
        (np.ones((3, 2)), np.eye(3, 2), {"cost": "l1"}, "`cost` must be one of"),
        (np.ones((3, 2)), np.eye(3, 2), {"tolerance": -1}, "`tolerance` must be at least 0.* Received: -1"),
        (np.ones((3, 2)), np.eye(3, 2), {"tolerance": None}, "`tolerance` must be at least 0.* Received: None"),
        (np.ones((3, 2)), np.eye(3, 2), {"epsilon": [0.1, 0.1]}, r"`epsilon` must be a number.* shape \(2,\)"),
        (np.ones((3, 2)), np.eye(3, 2), {"block_size": 0}, "`block_size` must be a whole number"),
    ],
)
def test_point_clouds_explain(source, target, options, message):
    with pytest.raises(ValueError, match=message):
        ot.point_cloud_sinkhorn(source, target, **{"epsilon": 0.1, **options})


@tf.function
def traced(cost):
    return ot.sinkhorn(cost, 0.1)


def test_a_traced_graph_cannot_raise_and_turns_to_nan():
    assert np.all(np.isnan(traced(tf.constant(COST) * np.nan).regularized_cost))
    assert np.all(np.isfinite(traced(tf.constant(COST)).regularized_cost))


def test_one_bad_problem_leaves_its_neighbours_alone():
    bad = COST.copy()
    bad[0, 0, 0] = np.nan
    result = traced(tf.constant(bad))
    expected = ot.sinkhorn(COST, 0.1, jit_compile=False)
    assert np.isnan(result.regularized_cost[0]) and not result.converged[0]
    np.testing.assert_allclose(result.regularized_cost[1], expected.regularized_cost[1], rtol=1e-5)


def test_divergence_refuses_a_penalty_and_energy_distance_unequal_halves():
    points = np.ones((4, 2))
    with pytest.raises(ValueError, match="takes no `marginal_penalty`"):
        ot.sinkhorn_divergence(points, points, 0.1, marginal_penalty=1.0)
    with pytest.raises(ValueError, match="must have the same shape"):
        ot.minibatch_energy_distance(points, points, points, points[:3])
    with pytest.raises(ValueError, match="`epsilon` must be a number above 0. Received: None"):
        ot.minibatch_energy_distance(points, points, points, points, None)
