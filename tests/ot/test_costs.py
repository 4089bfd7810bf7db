"""Ground costs against NumPy's differences in float64: points that are near, far, equal, or at the origin."""

import importlib

import numpy as np
import pytest
import tensorflow as tf

from zoo import ot

costs = importlib.import_module("zoo.ot.costs")
NUMBERS = np.random.default_rng(0)


def clusters(dimension):
    """Two clusters at +-100 in float32, with a pair 0.022 apart and a pair of equal points."""
    points = np.concatenate([NUMBERS.normal(size=(10, dimension)) + center for center in (100, -100)]).astype("float32")
    points[1, :5] = points[0, :5] + np.float32(0.01)
    points[1, 5:], points[3] = points[0, 5:], points[2]
    return points


def differences(x, y):
    return np.linalg.norm(np.float64(x)[..., :, None, :] - np.float64(y)[..., None, :, :], axis=-1)


@pytest.mark.parametrize("dimension", [3, 5, 64])
@pytest.mark.parametrize("batch", [False, True])
def test_near_points_in_far_clusters(dimension, batch):
    points = clusters(dimension)
    points = np.stack([points, points[::-1]]) if batch else points
    expected = differences(points, points)
    # Given twice, and as two arrays that happen to be equal.
    for other in (points, points.copy()):
        found = np.array(ot.euclidean(points, other))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert np.all(np.diagonal(found, axis1=-2, axis2=-1) == 0)
        np.testing.assert_allclose(ot.squared_euclidean(points, other), expected**2, rtol=2e-5)


def test_gradients_of_near_points_equal_the_direction_between_them():
    points = tf.constant(clusters(5))
    with tf.GradientTape() as tape:
        tape.watch(points)
        distance = ot.euclidean(points, points)[0, 1]
    expected = (np.float64(points[0]) - np.float64(points[1])) / 0.0223606
    np.testing.assert_allclose(tape.gradient(distance, points)[0], expected, rtol=2e-3)


def test_far_points_are_computed_in_float32():
    # Nothing is near: the relative error is that of the expansion, and no product is taken in float64.
    x, y = (NUMBERS.normal(size=(40, 64)).astype("float32") for _ in "xy")
    graph = tf.function(ot.squared_euclidean).get_concrete_function(tf.constant(x), tf.constant(y)).graph.as_graph_def()
    assert "MatMul" in {node.op for node in graph.node}
    np.testing.assert_allclose(ot.squared_euclidean(x, y), differences(x, y) ** 2, rtol=1e-5)


def test_float64_says_what_it_cannot_tell_apart():
    # As documented: 1e-7 of the distance from the mean. Two points 1e-3 apart at 100 are 1e-5 of it.
    points = np.zeros((2, 5)) + 100
    points[1, 0] += 1e-3
    both = np.concatenate([points, -points])
    np.testing.assert_allclose(ot.euclidean(both, both.copy()), differences(both, both), rtol=1e-4)


def test_padding_does_not_move_the_center():
    # 1e4 from the origin, where a mean that takes in padding at the origin leaves two digits. The divergence of a shift
    # by 1 in each of 8 coordinates is 8.
    x = NUMBERS.normal(size=(6, 8)).astype("float32") + 1e4
    mask = np.arange(10) < 6
    for content in (0.0, 1e6, np.nan):
        padded = [np.concatenate([points, np.full((4, 8), content, "float32")]) for points in (x, x + 1)]
        found = ot.sinkhorn_divergence(*padded, 0.5, source_mask=mask, target_mask=mask, jit_compile=False)
        np.testing.assert_allclose(found, 8.0, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e25])
def test_cosine_knows_no_lengths(scale):
    x = np.float32([[1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(ot.cosine(np.float32(scale) * x, x), [[0, 1 - 0.5**0.5], [1 - 0.5**0.5, 0]], atol=1e-6)


def test_cosine_is_at_least_zero():
    x = NUMBERS.normal(size=(200, 7)).astype("float32")
    assert np.min(ot.cosine(x, x)) >= 0


def test_the_origin_has_no_direction_and_no_gradient():
    features = tf.constant([[0.0, 0.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(features)
        found = costs.unit(features)
        value = tf.reduce_sum(found)
    np.testing.assert_allclose(found, [[0, 0], [0.6, 0.8]])
    gradient = tape.gradient(value, features)
    np.testing.assert_array_equal(gradient[0], [0, 0])
    # d(x / |x|)/dx = (I - u u^T) / |x|, summed over coordinates.
    np.testing.assert_allclose(gradient[1], (1 - np.array([0.6, 0.8]) * 1.4) / 5, rtol=1e-6)


def test_clouds_take_the_origin_as_the_cost_matrix_does():
    x, y = np.float32([[0.0, 0.0], [1.0, 0.0]]), np.float32([[0.0, 0.0], [0.0, 2.0]])
    found = ot.point_cloud_sinkhorn(x, y, 0.5, cost="cosine", jit_compile=False).transport_cost
    np.testing.assert_allclose(found, ot.sinkhorn(ot.cosine(x, y), 0.5, jit_compile=False).transport_cost, rtol=1e-5)
