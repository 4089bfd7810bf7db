"""The barycentric map against permutations, least squares, POT and finite differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.ot.plans import barycentric_map


def draw(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def test_permutation_plan_maps_each_point_to_its_partner():
    order, y = [2, 0, 1], draw(3, 2)
    np.testing.assert_allclose(barycentric_map(np.eye(3)[order] / 3, y), y[order], rtol=1e-15)


def test_product_plan_maps_all_points_to_the_mean():
    a, b, y = draw(4), draw(5), draw(5, 2)
    expected = np.tile(np.average(y, axis=0, weights=b), (4, 1))
    np.testing.assert_allclose(barycentric_map(np.outer(a, b), y), expected, rtol=1e-12)


def test_least_squares():
    # T(x_i) is the point from which the weighted squared distance to the targets is least: NumPy's lstsq, row by row.
    plan, y = draw(2, 4, 5), draw(2, 5, 3, seed=1)
    found = barycentric_map(plan, y)
    for k, i in np.ndindex(2, 4):
        roots = np.sqrt(plan[k, i])[:, None]
        np.testing.assert_allclose(found[k, i], np.linalg.lstsq(roots, roots * y[k])[0][0], rtol=1e-12)


def test_pot():
    da = pytest.importorskip("ot.da")
    x, y = draw(6, 2), draw(5, 2, seed=1) + 1
    transport = da.SinkhornTransport(reg_e=0.5)
    expected = transport.fit(Xs=x, Xt=y).transform(Xs=x)
    np.testing.assert_allclose(barycentric_map(transport.coupling_, y), expected, rtol=1e-12)


def test_rows_without_mass_map_to_zero_with_no_gradient():
    plan, y = draw(3, 4), draw(4, 2, seed=1)
    plan[1] = 0
    plan, y = tf.constant(plan), tf.constant(y)
    with tf.GradientTape() as tape:
        tape.watch([plan, y])
        found = barycentric_map(plan, y)
        value = tf.reduce_sum(found**2)
    np.testing.assert_array_equal(found[1], [0, 0])
    slopes = tape.gradient(value, [plan, y])
    assert all(np.isfinite(slope).all() for slope in slopes)
    np.testing.assert_array_equal(slopes[0][1], np.zeros(4))


def test_gradient_is_that_of_finite_differences():
    arguments, step = [draw(3, 4), draw(4, 2, seed=1)], 1e-6
    tensors = [tf.constant(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = tf.reduce_sum(barycentric_map(*tensors) ** 2)
    for place, slopes in enumerate(tape.gradient(value, tensors)):
        for index in np.ndindex(arguments[place].shape):
            values = []
            for sign in (1, -1):
                moved = [argument.copy() for argument in arguments]
                moved[place][index] += sign * step
                values.append(np.sum(np.square(barycentric_map(*moved))))
            assert float(slopes[index]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6, abs=1e-9)


def test_compiled_as_eager_and_types():
    plan, y = draw(2, 3, 4).astype("float32"), draw(2, 4, 5, seed=1).astype("float16")
    free = [tf.TensorSpec((None, None, None), "float32"), tf.TensorSpec((None, None, None), "float16")]
    compiled = tf.function(barycentric_map, input_signature=free, jit_compile=True, autograph=False)
    found = compiled(plan, y)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(found, barycentric_map(plan, y), rtol=1e-6)


@pytest.mark.parametrize(
    ("plan", "target", "message"),
    [
        ((3, 4), (3, 2), r"The plan does not fit the points.*Received: \(3, 4\) and \(3, 2\).*transpose"),
        ((3, 4), (4,), r"does not fit.*Received: \(3, 4\) and \(4,\)"),
        ((2, 3, 4), (4, 2), r"does not fit.*\(2, 3, 4\) and \(4, 2\)"),
        ((2, 3, 4), (5, 4, 2), r"does not fit.*\(2, 3, 4\) and \(5, 4, 2\)"),
        ((3, 0), (0, 2), r"`plan` is empty: shape \(3, 0\)"),
    ],
)
def test_bad_inputs(plan, target, message):
    with pytest.raises(ValueError, match=message):
        barycentric_map(np.zeros(plan), np.zeros(target))
