"""Transport on the line against SciPy, POT, a linear program and finite differences."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tests.helpers.transport import draw, finite_differences, gradients, program, weigh
from zoo.ot.one_dimension import wasserstein_1d


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize(("n", "m"), [(6, 6), (7, 4), (1, 5)])
def test_linear_program(n, m, p):
    x, y = draw(2, n), 2 * draw(2, m, seed=1) + 0.5
    a, b, uniform = weigh(2, n), weigh(2, m, seed=1), (np.full(n, 1 / n), np.full(m, 1 / m))
    cost = np.abs(x[:, :, None] - y[:, None, :]) ** p
    expected = [program(*each) for each in zip(cost, a, b, strict=True)]
    np.testing.assert_allclose(wasserstein_1d(x, y, a, b, p=p), expected, rtol=1e-9)
    # Without weights, alone, and weighted on one side only.
    assert float(wasserstein_1d(x, y, p=p)[0]) == pytest.approx(program(cost[0], *uniform), rel=1e-9)
    found = float(wasserstein_1d(x[0], y[0], None, b[0], p=p))
    assert found == pytest.approx(program(cost[0], uniform[0], b[0]), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(300, 300), (300, 200)])
def test_scipy(n, m):
    x, y, a, b = draw(n), draw(m, seed=1) + 1, weigh(n), weigh(m, seed=1)
    assert float(wasserstein_1d(x, y)) == pytest.approx(scipy.stats.wasserstein_distance(x, y), rel=1e-10)
    assert float(wasserstein_1d(x, y, a, b)) == pytest.approx(scipy.stats.wasserstein_distance(x, y, a, b), rel=1e-10)


@pytest.mark.parametrize("p", [1, 1.5, 3])
def test_pot(p):
    ot = pytest.importorskip("ot")
    x, y, a, b = draw(60), draw(45, seed=1) + 1, weigh(60), weigh(45, seed=1)
    found = float(wasserstein_1d(x, y, a, b, p=p))
    assert found == pytest.approx(ot.wasserstein_1d(x, y, a, b, p=p), rel=1e-10)
    assert found == pytest.approx(ot.emd2_1d(x, y, a, b, metric="minkowski", p=p), rel=1e-10)


def test_power_of_the_distance_is_returned():
    # A shift by t costs |t|^p: 3^2 = 9, not 3. Uniform samples take the short path, weighted ones the merged levels.
    x = draw(10)
    for weights in (None, np.full(10, 0.1)):
        assert float(wasserstein_1d(x, x[::-1] - 3.0, weights, weights, p=2)) == pytest.approx(9, rel=1e-12)
        assert float(wasserstein_1d(x, x[::-1], weights, weights)) == pytest.approx(0, abs=1e-15)


def test_ties_zero_weights_and_repeated_samples():
    # Two copies of a sample are one of double weight; a sample of weight 0 is not there.
    x, y = np.array([1.0, 0.0, 1.0, 5.0]), np.array([0.5, 2.0])
    merged = wasserstein_1d(np.array([0.0, 1.0]), y, np.array([0.25, 0.75]), np.array([0.5, 0.5]), p=3)
    found = wasserstein_1d(x, y, np.array([0.5, 0.25, 0.25, 0.0]), p=3)
    assert float(found) == pytest.approx(float(merged), rel=1e-12)


@pytest.mark.parametrize("p", [1, 2.5])
def test_gradient_is_that_of_finite_differences(p):
    x, y, a, b = draw(5), draw(4, seed=1), weigh(5), weigh(4, seed=1)

    def cost(x, y, a=None, b=None):
        return wasserstein_1d(x, y, a, b, p=p)

    for arguments in ((x, y, a, b), (x, y), (x, draw(5, seed=2))):
        for found, expected in zip(gradients(cost, *arguments), finite_differences(cost, *arguments), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("p", [1, 1.5, 2])
def test_gradient_is_zero_where_samples_meet(p):
    x, a = draw(5), weigh(5)
    np.testing.assert_array_equal(gradients(lambda x, y: wasserstein_1d(x, y, p=p), x, x), np.zeros((2, 5)))
    found = gradients(lambda x, y, a: wasserstein_1d(x, y, a, a, p=p), x, x, a)
    np.testing.assert_allclose(found, np.zeros((3, 5)), atol=1e-15)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_as_eager(jit_compile):
    # Free axes in the graph; XLA fixes them when it is called.
    compiled = tf.function(
        lambda x, y, a: wasserstein_1d(x, y, a, p=2),
        input_signature=[tf.TensorSpec((None, None), "float64")] * 3,
        jit_compile=jit_compile,
        autograph=False,
    )
    x, y, a = draw(3, 5), draw(3, 4, seed=1), weigh(3, 5)
    np.testing.assert_allclose(compiled(x, y, a), wasserstein_1d(x, y, a, p=2), rtol=1e-12)


def test_types():
    # Half precision is computed in float32; many samples, against float64.
    x, y = draw(4000).astype("float16"), (draw(3000, seed=1) + 1).astype("float16")
    found = wasserstein_1d(x, y)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    assert float(found) == pytest.approx(float(wasserstein_1d(x.astype("float64"), y)), rel=1e-4)


@pytest.mark.parametrize("p", [1, 2])
def test_many_weighted_samples_in_float32(p):
    # Against float64: of 200,000 levels, float32 would keep two digits of each difference.
    x, y, a, b = draw(200_000), draw(100_000, seed=1) + 0.1, weigh(200_000), weigh(100_000, seed=1)
    singles = [array.astype("float32") for array in (x, y, a, b)]
    found, expected = (float(wasserstein_1d(*each, p=p)) for each in (singles, [np.float64(each) for each in singles]))
    assert found == pytest.approx(expected, rel=5e-7)


X, Y = np.zeros(3), np.ones(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wasserstein_1d(X, Y, p=0.5), "`p` must be a finite number of at least 1.*Received: 0.5"),
        (lambda: wasserstein_1d(X, Y, p=float("inf")), "`p` must be a finite number.*Received: inf"),
        (lambda: wasserstein_1d(X, Y, p="2"), "`p` must be a finite number.*Received: '2'"),
        (lambda: wasserstein_1d(X, Y[None]), r"do not fit together.*Received: \(3,\) and \(1, 2\)"),
        (lambda: wasserstein_1d(np.zeros((2, 3)), np.zeros((4, 3))), r"do not fit.*\(2, 3\) and \(4, 3\)"),
        (lambda: wasserstein_1d(np.zeros((1, 1, 3)), np.zeros((1, 1, 3))), "do not fit together"),
        (lambda: wasserstein_1d(np.zeros(0), Y), r"`source` is empty: shape \(0,\)"),
        (lambda: wasserstein_1d(X, np.array([1.0, np.nan])), "`target` holds 1 values that are NaN or inf.*of 2"),
        (lambda: wasserstein_1d(np.array([np.inf]), Y), "`source` holds 1 values"),
        (
            lambda: wasserstein_1d(X, Y, Y / 2),
            r"`source_weights` must have shape \(3,\). Received: shape \(2,\)",
        ),
        (lambda: wasserstein_1d(X[None], Y[None], None, X), r"`target_weights` must have shape.*\(1, 2\).*\(3,\)"),
        (
            lambda: wasserstein_1d(X, Y, np.array([0.5, 0.7, -0.2])),
            "`source_weights` must be finite and at least 0. Received: minimum -0.2",
        ),
        (lambda: wasserstein_1d(X, Y, None, np.array([1.0, np.nan])), "`target_weights` must be finite"),
        (
            lambda: wasserstein_1d(X, Y, np.full(3, 1 / 3), np.ones(2)),
            "Weights must sum to 1 within 0.0001. Received: target_weights sum to 2 ... 2. Divide them",
        ),
    ],
)
def test_bad_inputs(call, message):
    with pytest.raises(ValueError, match=message):
        call()
