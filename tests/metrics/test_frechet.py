"""The Frechet distance against closed forms, scipy's matrix root and its known bias."""

import numpy as np
import pytest

from zoo.metrics import MetricWarning, frechet_distance, gaussian_frechet_distance


def draw(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def random_covariance(d, seed):
    factor = draw(3 * d, d, seed)
    return factor.T @ factor / (3 * d)


def test_scaled_identity():
    # Closed form: |mean difference|^2 = 8, plus 8 (1 - 2)^2 = 8.
    value = gaussian_frechet_distance(np.zeros(8), np.eye(8), np.ones(8), 4 * np.eye(8))
    assert value == pytest.approx(16, abs=1e-12)


def test_diagonal():
    # Closed form for commuting covariances: sum of (difference of standard deviations)^2.
    s1, s2 = np.array([1.0, 2.0, 0.0]), np.array([3.0, 2.0, 5.0])
    value = gaussian_frechet_distance(np.zeros(3), np.diag(s1**2), np.zeros(3), np.diag(s2**2))
    assert value == pytest.approx(4 + 0 + 25, abs=1e-12)


@pytest.mark.parametrize("d", [2, 5, 16])
def test_scipy_matrix_root(d):
    from scipy.linalg import sqrtm

    s1, s2, m1, m2 = (
        random_covariance(d, 1),
        random_covariance(d, 2),
        draw(d, 1, 3)[:, 0],
        draw(d, 1, 4)[:, 0],
    )
    expected = np.sum((m1 - m2) ** 2) + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    assert gaussian_frechet_distance(m1, s1, m2, s2) == pytest.approx(expected, rel=1e-10)


def test_moments_are_those_of_numpy():
    x, y = draw(50, 4), 2 * draw(60, 4, seed=1) + 1
    moments = (x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False))
    assert frechet_distance(x, y) == pytest.approx(gaussian_frechet_distance(*moments), rel=1e-12)


# Design notes, computed for D = 64: 21.4, 2.23 and 0.216. Tolerance: the spread over seeds, about 3 %.
@pytest.mark.parametrize(("n", "bias"), [(100, 21.4), (1_000, 2.23), (10_000, 0.216)])
def test_bias_of_one_distribution(n, bias):
    values = [frechet_distance(draw(n, 64, 2 * seed), draw(n, 64, 2 * seed + 1)) for seed in range(5)]
    assert np.mean(values) == pytest.approx(bias, rel=0.05)


def test_identity_symmetry_rotation():
    x, y = draw(200, 6) * np.arange(1, 7), draw(150, 6, seed=1) + 0.5
    value = frechet_distance(x, y)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(y, x) == pytest.approx(value, rel=1e-10)
    rotation = np.linalg.qr(draw(6, 6, seed=2))[0]
    assert frechet_distance(x @ rotation, y @ rotation) == pytest.approx(value, rel=1e-10)


def test_float32_features_far_from_zero_keep_their_digits():
    # Oracle: translation invariance; float64 moments of integers stored exactly in float32.
    x, y = np.round(100 * draw(500, 3)), np.round(100 * draw(500, 3, seed=1))
    shifted = [(array + 2.0**20).astype(np.float32) for array in (x, y)]
    assert frechet_distance(*shifted) == pytest.approx(frechet_distance(x, y), rel=1e-9)


def test_rank_deficient_is_real_finite_and_warned():
    x, y = draw(20, 64), draw(30, 64, seed=1)
    with pytest.warns(MetricWarning, match="rank deficient") as caught:
        assert 0 < frechet_distance(x, y) < np.inf
    assert [str(warning.message).split()[0] for warning in caught] == ["`x_features`", "`y_features`"]
    assert all(warning.filename == __file__ for warning in caught)
    with pytest.warns(MetricWarning):
        assert frechet_distance(x, x) == pytest.approx(0, abs=1e-5)


def test_constant_features():
    # Two points of mass: only the means differ, 3 features by 1.
    assert frechet_distance(np.zeros((5, 3)), np.ones((5, 3))) == 3


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros(9), np.zeros((9, 1)), r"`x_features` must have shape \(n, d\)"),
        (np.zeros((9, 2, 2, 3)), np.zeros((9, 3)), "`x_features` must have shape.*reshape"),
        (np.zeros((9, 2)), np.zeros((9, 3)), r"the same dimension d.*\(9, 2\) and \(9, 3\)"),
        (np.zeros((9, 1)), np.zeros((1, 1)), "`y_features` must hold at least 2 samples"),
        (np.zeros((9, 1)), np.full((3, 1), np.inf), "`y_features` must be finite. Received: 3 of 3"),
    ],
)
def test_bad_features(x, y, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(x, y)


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        (np.zeros(3), np.eye(2), r"`mean1` and `mean2` must both have shape \(d,\)"),
        (np.zeros((2, 1)), np.eye(2), r"`mean1` and `mean2` must both have shape \(d,\)"),
        (np.zeros(2), np.ones(2), r"`covariance2` must have shape \(2, 2\)"),
        (np.zeros(2), [[1.0, 0.5], [0.0, 1.0]], "`covariance2` must be symmetric.*0.5"),
        (np.zeros(2), [[1.0, 2.0], [2.0, 1.0]], "`covariance2` must be positive semidefinite.*eigenvalue -1"),
        (np.zeros(2), np.full((2, 2), np.nan), "`covariance2` must be finite. Received: 4 of 4"),
    ],
)
def test_bad_moments(mean, covariance, message):
    with pytest.raises(ValueError, match=message):
        gaussian_frechet_distance(np.zeros(2), np.eye(2), mean, covariance)
