"""Histogram distances against the WGAN paper's parallel lines, SciPy, scikit-learn and finite differences."""

import keras
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import tensorflow as tf
from keras import ops
from sklearn.metrics.pairwise import additive_chi2_kernel

from tests.helpers.transport import finite_differences, gradients, weigh
from zoo import ot

BINS = 7
POSITIONS = np.cumsum(np.random.default_rng(9).random(BINS))
# exp(-distance) is positive definite on the line.
SIMILARITY = np.exp(-np.abs(POSITIONS[:, None] - POSITIONS))
FUNCTIONS = {
    "total_variation": ot.total_variation,
    "kl_divergence": ot.kl_divergence,
    "js_divergence": ot.js_divergence,
    "earth_mover": ot.earth_mover,
    "earth_mover_at": lambda p, q: ot.earth_mover(p, q, POSITIONS),
    "minkowski_1": lambda p, q: ot.minkowski(p, q, order=1),
    "minkowski_2": ot.minkowski,
    "minkowski_3.5": lambda p, q: ot.minkowski(p, q, order=3.5),
    "minkowski_inf": lambda p, q: ot.minkowski(p, q, order=float("inf")),
    "chi_squared": ot.chi_squared,
    "histogram_intersection": ot.histogram_intersection,
    "quadratic_form": lambda p, q: ot.quadratic_form(p, q, SIMILARITY),
}
FLAT_AT_EQUAL = set(FUNCTIONS) - {"kl_divergence", "histogram_intersection"}


def draw(*shape, seed=0):
    """Histograms (..., BINS) that sum to 1."""
    return weigh(*shape, BINS, seed=seed)


@pytest.mark.parametrize("theta", [-0.75, 0.0, 0.25, 1.0])
def test_parallel_lines(theta):
    # Arjovsky et al. 2017, example 1: the uniform distributions on (0, Z) and (theta, Z), Z in [0, 1]. All mass moves
    # along the first axis, of which the grid holds 9 places; each line has the same mass at 5 heights.
    places, heights = np.linspace(-1, 1, 9), 5

    def line_at(place):
        grid = np.zeros((9, heights))
        grid[np.searchsorted(places, place)] = 1 / heights
        return grid

    p, q = line_at(0.0), line_at(theta)
    apart = float(theta != 0)
    assert ops.all(ot.total_variation(p.ravel(), q.ravel()) == apart)
    assert float(ot.js_divergence(p.ravel(), q.ravel())) == pytest.approx(apart * np.log(2), rel=1e-12)
    for pair in ((p, q), (q, p)):
        assert float(ot.kl_divergence(*(grid.ravel() for grid in pair))) == (np.inf if apart else 0)
    # W = |theta|: height by height, since no mass has a reason to change its height.
    moved = ops.sum(ot.earth_mover(p.T * heights, q.T * heights, places)) / heights
    assert float(moved) == pytest.approx(abs(theta), rel=1e-12)


def test_only_the_earth_mover_has_a_gradient_between_parallel_lines():
    # The same example, theta as a parameter: dW/dtheta = sign(theta).
    p, q = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    theta = tf.Variable(0.3, dtype="float64")
    with tf.GradientTape() as tape:
        value = ot.earth_mover(p, q, ops.stack([ops.zeros_like(theta), theta]))
    assert tape.gradient(value, theta).numpy() == 1.0


ORACLES = {
    # The largest difference of probability of any event: that of the bins where p > q.
    "total_variation": lambda p, q: np.maximum(p - q, 0).sum(),
    "kl_divergence": scipy.stats.entropy,
    "js_divergence": lambda p, q: scipy.spatial.distance.jensenshannon(p, q) ** 2,
    "earth_mover": lambda p, q: scipy.stats.wasserstein_distance(range(BINS), range(BINS), p, q),
    "earth_mover_at": lambda p, q: scipy.stats.wasserstein_distance(POSITIONS, POSITIONS, p, q),
    "minkowski_1": lambda p, q: scipy.spatial.distance.minkowski(p, q, 1),
    "minkowski_2": lambda p, q: scipy.spatial.distance.minkowski(p, q, 2),
    "minkowski_3.5": lambda p, q: scipy.spatial.distance.minkowski(p, q, 3.5),
    "minkowski_inf": lambda p, q: scipy.spatial.distance.minkowski(p, q, np.inf),
    # scikit-learn's kernel is -sum (p - q)^2 / (p + q).
    "chi_squared": lambda p, q: -additive_chi2_kernel([p], [q])[0, 0] / 2,
    # Between histograms of mass 1 the intersection distance is the total variation (Swain and Ballard 1991, appendix).
    "histogram_intersection": lambda p, q: np.abs(p - q).sum() / 2,
    # With A = L L^T the form is the Euclidean distance of L^T p and L^T q.
    "quadratic_form": lambda p, q: np.linalg.norm(np.linalg.cholesky(SIMILARITY).T @ (p - q)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_oracle(name):
    p, q = draw(4), draw(4, seed=1)
    p[0, :3] = q[0, 2:4] = q[1, 5] = p[1, 5] = 0
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    expected = [ORACLES[name](*pair) for pair in zip(p, q, strict=True)]
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-6)):
        found = FUNCTIONS[name](p.astype(dtype), q.astype(dtype))
        # POSITIONS and SIMILARITY are float64, which is then the type of the result.
        assert keras.backend.standardize_dtype(found.dtype) in (dtype, "float64")
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_leading_axes_broadcast(name):
    p, q = draw(3, 1), draw(4, seed=1)
    found = FUNCTIONS[name](p, q)
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found[2, 1], FUNCTIONS[name](p[2, 0], q[1]), rtol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient_is_that_of_finite_differences(name):
    p, q = draw(), draw(seed=1)
    expected = finite_differences(FUNCTIONS[name], p, q)
    np.testing.assert_allclose(gradients(FUNCTIONS[name], p, q), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient_with_empty_bins_and_equal_histograms(name):
    p, q = draw(), draw(seed=1)
    p[:2] = q[1:3] = 0
    p, q = p / p.sum(), q / q.sum()
    for pair in ((p, q), (q, p), (p, p)):
        assert np.isfinite(gradients(FUNCTIONS[name], *pair)).all()
    assert float(FUNCTIONS[name](p, p)) == pytest.approx(0, abs=1e-15)
    if name in FLAT_AT_EQUAL:
        np.testing.assert_array_equal(gradients(FUNCTIONS[name], p, p), np.zeros((2, BINS)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_as_eager(name):
    # Without static lengths: what a training step or an export with a free batch axis sees.
    compiled = tf.function(
        FUNCTIONS[name], input_signature=[tf.TensorSpec((None, None), "float64")] * 2, autograph=False
    )
    p, q = draw(3), draw(3, seed=1)
    np.testing.assert_allclose(compiled(p, q), FUNCTIONS[name](p, q), rtol=1e-12)


def test_compiled_by_xla():
    # Those with the most parts: logarithms and cumulative sums.
    p, q, functions = draw(3), draw(3, seed=1), (ot.js_divergence, ot.earth_mover)
    compiled = tf.function(lambda p, q: [function(p, q) for function in functions], jit_compile=True)
    expected = [function(p, q) for function in functions]
    np.testing.assert_allclose(compiled(tf.constant(p), tf.constant(q)), expected, rtol=1e-10)


def test_half_precision_is_computed_in_float32():
    # A softmax over 1000 bins in bfloat16 sums to 1 within 0.4 %, not within 1e-4: it must not be refused.
    p = ops.softmax(ops.cast(keras.random.normal((1000,), seed=0), "bfloat16"))
    q = ops.softmax(ops.cast(keras.random.normal((1000,), seed=1), "bfloat16"))
    for function in (
        ot.total_variation,
        ot.kl_divergence,
        ot.js_divergence,
        ot.earth_mover,
        ot.minkowski,
        ot.chi_squared,
    ):
        found = function(p, q)
        assert keras.backend.standardize_dtype(found.dtype) == "float32"
        assert float(found) == float(function(ops.cast(p, "float32") * 1.0, q))


def test_minkowski_neither_overflows_nor_vanishes():
    # (1e30)^2 overflows float32 and (1e-30)^2 vanishes. Homogeneous of degree 1: 3-4-5 triangles.
    for scale in (1e-30, 1e30):
        found = ot.minkowski(np.float32([3 * scale, 0]), np.float32([0, 4 * scale]))
        assert float(found) == pytest.approx(5 * scale, rel=1e-6)
    # Towards infinity the order's power becomes the maximum.
    assert float(ot.minkowski([3.0, 0.0], [0.0, 4.0], order=1000)) == pytest.approx(4, rel=1e-6)


def test_bounds():
    # Disjoint histograms are as far apart as can be, and JS is never negative: 1000 pairs that nearly agree.
    p, q = [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]
    for function in (ot.total_variation, ot.chi_squared, ot.histogram_intersection):
        assert float(function(p, q)) == 1
    p = draw(1000).astype("float32")
    q = p * (1 + 1e-6 * draw(1000, seed=1).astype("float32"))
    assert float(ops.min(ot.js_divergence(p, q))) >= 0


def test_histogram_intersection_is_the_share_not_covered():
    # By hand: q = (1, 3) in p = (2, 1) is covered by 1 + 1 of 4; p in q by 2 of 3.
    assert float(ot.histogram_intersection([2.0, 1.0], [1.0, 3.0])) == pytest.approx(0.5)
    assert float(ot.histogram_intersection([1.0, 3.0], [2.0, 1.0])) == pytest.approx(1 / 3)


def test_quadratic_form_takes_similarity_from_distances():
    # Rubner's A = 1 - d / max d. Unit masses one bin apart of four: sqrt(2 - 2 (1 - 1/3)) by hand; it is not positive
    # semidefinite, but negative in no direction of sum 0.
    distances = np.abs(np.arange(4.0)[:, None] - np.arange(4.0))
    found = ot.quadratic_form([1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], 1 - distances / 3)
    assert float(found) == pytest.approx(np.sqrt(2 / 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ot.total_variation([0.5, 0.5], [1.0]), r"do not fit together.*Received: \(2,\) and \(1,\)"),
        (lambda: ot.total_variation(1.0, 1.0), r"do not fit together.*Received: \(\) and \(\)"),
        (lambda: ot.js_divergence(np.ones((2, 1)), np.ones((3, 1))), r"do not fit.*\(2, 1\) and \(3, 1\)"),
        (lambda: ot.chi_squared(np.ones((2, 0)), np.ones((2, 0))), "have no bins"),
        (
            lambda: ot.kl_divergence([1.5, -0.5], [0.5, 0.5]),
            "`p` must be finite and at least 0. Received: 1 values.*of 2",
        ),
        (
            lambda: ot.minkowski([1.0, 0.5], [np.inf, np.nan]),
            "`q` must be finite.*1 values that are NaN.*1 that are inf",
        ),
        (
            lambda: ot.earth_mover([3.0, 1.0], [0.5, 0.5]),
            "`p` must sum to 1 within 0.0001. Received: sums 4 ... 4. Divide",
        ),
        (lambda: ot.kl_divergence([0.5, 0.5], [0.5, 0.6]), "`q` must sum to 1"),
        (lambda: ot.earth_mover([0.5, 0.5], [0.5, 0.5], [0.0]), r"`positions` must have shape \(bins,\).*shape \(1,\)"),
        (
            lambda: ot.earth_mover([0.5, 0.5], [0.5, 0.5], [1.0, 0.0]),
            "`positions` must be .*ascending. Received: .* -1 ",
        ),
        (lambda: ot.earth_mover([0.5, 0.5], [0.5, 0.5], [0.0, np.nan]), "`positions` must be finite"),
        (lambda: ot.minkowski([0.5, 0.5], [0.5, 0.5], order=0.5), "`order` must be at least 1.*Received: 0.5"),
        (lambda: ot.minkowski([0.5, 0.5], [0.5, 0.5], order=float("nan")), "`order` must be at least 1"),
        (lambda: ot.minkowski([0.5, 0.5], [0.5, 0.5], order=None), "`order` must be at least 1.*Received: None"),
        (lambda: ot.histogram_intersection([0.5, 0.5], [0.0, 0.0]), "`q` has no mass"),
        (lambda: ot.quadratic_form([0.5, 0.5], [1.0, 0.0], np.eye(3)), r"`similarity` must have shape.*\(3, 3\)"),
        (lambda: ot.quadratic_form([0.5, 0.5], [1.0, 0.0], np.ones(2)), r"`similarity` must have shape.*\(2,\)"),
        (lambda: ot.quadratic_form([0.0, 1.0], [1.0, 0.0], -np.eye(2)), "at least 0. Received: a minimum of -2"),
        (lambda: ot.quadratic_form([0.0, 1.0], [1.0, 0.0], np.full((2, 2), np.nan)), "`similarity` must be finite"),
    ],
)
def test_bad_inputs(call, message):
    with pytest.raises(ValueError, match=message):
        call()
