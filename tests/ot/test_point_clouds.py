"""The block path equals the dense one, in values and gradients, whatever the blocks."""

import numpy as np
import pytest
import tensorflow as tf

from zoo import ot

NUMBERS = np.random.default_rng(0)
X, Y = NUMBERS.normal(size=(23, 6)), NUMBERS.normal(0.3, size=(17, 6))
A, B = NUMBERS.dirichlet(np.ones(23)), NUMBERS.dirichlet(np.ones(17))
VALUES = "transport_cost", "regularized_cost", "entropic_cost"


@pytest.mark.parametrize(
    ("cost", "columns", "jit_compile"),
    [
        pytest.param("squared_euclidean", 6, True, marks=pytest.mark.exhaustive),
        pytest.param("squared_euclidean", 2, False, marks=pytest.mark.exhaustive),
        pytest.param("euclidean", 6, False, marks=pytest.mark.exhaustive),
        ("cosine", 6, False),
    ],
)
def test_equals_the_dense_path(cost, columns, jit_compile):
    arrays = [tf.constant(array) for array in (X[:, :columns], Y[:, :columns], A, B)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(arrays)
        x, y, a, b = arrays
        dense = ot.sinkhorn(ot.cost_matrix(x, y, cost), 1.0, a, b, tolerance=1e-12, jit_compile=False)
        options = {"tolerance": 1e-12, "jit_compile": jit_compile}
        blocks = ot.point_cloud_sinkhorn(x, y, 1.0, a, b, cost=cost, block_size=9, **options)
    for name in VALUES:
        np.testing.assert_allclose(getattr(blocks, name), getattr(dense, name), rtol=1e-9, err_msg=name)
        of_dense, of_blocks = (tape.gradient(getattr(result, name), arrays) for result in (dense, blocks))
        for expected, found in zip(of_dense[:2], of_blocks[:2], strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-9, err_msg=f"gradient of {name}")
        if name != "transport_cost":
            for expected, found in zip(of_dense[2:], of_blocks[2:], strict=True):
                # Weights keep their sum, so that their gradients matter up to a constant.
                np.testing.assert_allclose(found - np.mean(found), expected - np.mean(expected), atol=1e-8)
    assert bool(blocks.converged) and float(blocks.marginal_error) < 1e-11


def test_blocks_do_not_change_the_result():
    results = [
        ot.point_cloud_sinkhorn(X, Y, 0.5, tolerance=0.0, max_iterations=8, block_size=size, jit_compile=False)
        for size in (1, 7, 100, None)
    ]
    for result in results[1:]:
        np.testing.assert_allclose(result.source_potential, results[0].source_potential, atol=1e-12)
        assert int(result.num_iterations) == 8


def test_points_without_weight_and_coinciding_points():
    a = np.where(np.arange(23) < 10, 0.0, 1 / 13)
    options = {"cost": "euclidean", "tolerance": 1e-10, "jit_compile": False}
    points = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(points)
        result = ot.point_cloud_sinkhorn(points, X[10:], 1.0, a, **options)
    expected = ot.sinkhorn(ot.euclidean(X[10:], X[10:]), 1.0, tolerance=1e-10, jit_compile=False)
    np.testing.assert_allclose(result.regularized_cost, expected.regularized_cost, rtol=1e-7)
    gradient = tape.gradient(result.regularized_cost, points)
    assert np.all(np.isfinite(gradient)) and np.all(gradient[:10] == 0)
