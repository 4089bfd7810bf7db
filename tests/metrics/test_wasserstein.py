"""The exact W2 distance against closed forms, brute force and POT."""

import itertools

import numpy as np
import pytest

from zoo.metrics import wasserstein, wasserstein_2


def draw(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_brute_force_over_permutations():
    x, y = draw(6, 3), draw(6, 3, seed=1)
    orders = map(list, itertools.permutations(range(6)))
    best = min(np.mean(np.sum((x - y[order]) ** 2, axis=1)) for order in orders)
    assert wasserstein_2(x, y) == pytest.approx(np.sqrt(best), rel=1e-12)


def test_one_dimension_is_sorting():
    # Closed form on the line: the monotone coupling.
    x, y = draw(300, 1), draw(300, 1, seed=1) * 2 + 1
    expected = np.sqrt(np.mean((np.sort(x[:, 0]) - np.sort(y[:, 0])) ** 2))
    assert wasserstein_2(x, y) == pytest.approx(expected, rel=1e-12)


def test_translation():
    # W2(x, x + t) = |t|: here 5, a 3-4-5 triangle; unequal sizes through the linear program.
    x = draw(40, 2)
    assert wasserstein_2(x, x + np.array([3.0, 4.0])) == pytest.approx(5, rel=1e-12)
    assert wasserstein_2(x, np.repeat(x, 2, axis=0) + np.array([3.0, 4.0])) == pytest.approx(5, rel=1e-9)


def test_identity_and_symmetry():
    x, y = draw(50, 4), draw(50, 4, seed=1)
    assert wasserstein_2(x, x[::-1]) == 0
    assert wasserstein_2(x, y) == pytest.approx(wasserstein_2(y, x), rel=1e-12)
    assert wasserstein_2(np.ones((3, 2)), np.ones((5, 2))) == 0


@pytest.mark.parametrize(("n", "m"), [(80, 80), (80, 50), (1, 20), (700, 10)])
def test_pot(n, m):
    ot = pytest.importorskip("ot")
    x, y = draw(n, 2), 3 * draw(m, 2, seed=1) + 1
    expected = np.sqrt(ot.emd2(np.full(n, 1 / n), np.full(m, 1 / m), ot.dist(x, y)))
    assert wasserstein_2(x, y) == pytest.approx(expected, rel=1e-9)


def test_scale_does_not_matter():
    # W2 is homogeneous of degree 1; both solvers, far from unit scale.
    x, y = draw(20, 2), draw(15, 2, seed=1)
    for scale in (1e-9, 1e9):
        assert wasserstein_2(scale * x, scale * y) == pytest.approx(scale * wasserstein_2(x, y), rel=1e-9)


def test_too_large_is_refused_before_work():
    limit = wasserstein.MAX_ASSIGNMENT_SAMPLES
    with pytest.raises(ValueError, match=f"at most {limit} samples.*time n\\^3.*random subset"):
        wasserstein_2(np.zeros((limit + 1, 2)), np.zeros((limit + 1, 2)))
    with pytest.raises(ValueError, match="n=300, m=301. Pass a random subset of 300 samples"):
        wasserstein_2(np.zeros((300, 2)), np.zeros((301, 2)))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros(3), np.zeros((3, 1)), r"`x` must have shape \(n, d\)"),
        (
            np.zeros((3, 1)),
            np.zeros((3, 2)),
            r"`x` and `y` must have the same dimension d.*\(3, 1\) and \(3, 2\)",
        ),
        (np.zeros((3, 1)), np.zeros((0, 1)), "`y` must hold at least 1 sample"),
        (np.zeros((2, 1)), [[np.nan], [1.0]], "`y` must be finite. Received: 1 of 2 values"),
    ],
)
def test_bad_inputs(x, y, message):
    with pytest.raises(ValueError, match=message):
        wasserstein_2(x, y)
