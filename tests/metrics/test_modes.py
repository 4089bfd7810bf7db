"""Mode coverage against counts made by hand and closed forms."""

import math

import numpy as np
import pytest

from zoo.metrics import mode_coverage

GRID = np.stack(np.meshgrid(np.arange(-4, 5, 2), np.arange(-4, 5, 2)), axis=-1).reshape(25, 2)


def test_counts_by_hand():
    modes = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    samples = np.array([[0.0, 0.0], [0.02, 0.0], [0.0, 0.029], [1.0, 0.02], [1.0, 0.04], [0.5, 0.5]])
    result = mode_coverage(samples, modes, std=0.01)
    # By hand: three samples within 0.03 of mode 0, one of mode 1; the last two belong to none.
    expected_kl = 0.75 * math.log(3) + 0.25 * math.log(1)
    assert result == {
        "modes_found": 2,
        "num_modes": 4,
        "high_quality": 4 / 6,
        "kl_to_uniform": pytest.approx(expected_kl, abs=1e-12),
        "num_samples": 6,
    }


def test_distance_is_euclidean_not_per_axis():
    # (2.5, 2.5) std is 3.54 std away: outside the disc, inside the square.
    assert mode_coverage([[0.25, 0.25]], [[0.0, 0.0]], std=0.1)["modes_found"] == 0


def test_true_mixture_reaches_the_closed_form():
    rng = np.random.default_rng(0)
    samples = GRID[rng.integers(25, size=200_000)] + 0.05 * rng.normal(size=(200_000, 2))
    result = mode_coverage(samples, GRID, std=0.05)
    assert result["modes_found"] == 25
    # Rayleigh: P(r <= 3) = 1 - exp(-4.5); four standard errors of a share of 200,000 draws are 9.4e-4.
    assert result["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=9.4e-4)
    # The mean of 2 n KL is chi-squared with 24 degrees of freedom: KL about 24 / 400,000.
    assert result["kl_to_uniform"] < 4 * 24 / 400_000


def test_balance_extremes():
    # log K for one mode of K = 25; 0 for one sample at each.
    assert mode_coverage(GRID[:1], GRID, 0.05)["kl_to_uniform"] == pytest.approx(math.log(25), abs=1e-12)
    assert mode_coverage(GRID, GRID, 0.05)["kl_to_uniform"] == pytest.approx(0, abs=1e-12)


def test_no_high_quality_sample():
    result = mode_coverage([[9.0, 9.0]], GRID, 0.05)
    assert (result["modes_found"], result["high_quality"]) == (0, 0.0)
    assert math.isnan(result["kl_to_uniform"])


def test_blocks_do_not_change_the_answer(monkeypatch):
    samples = np.random.default_rng(1).uniform(-5, 5, size=(101, 2))
    whole = mode_coverage(samples, GRID, 0.3)
    monkeypatch.setattr("zoo.metrics.modes.BLOCK_SIZE", 350)
    assert mode_coverage(samples, GRID, 0.3) == whole


def test_far_from_the_origin_nothing_cancels():
    # Oracle: the same arrangement at the origin; float64 resolves 1e-10 at 1e6.
    offset, spread = 1e6, np.array([[1e-4, 0.0], [5e-4, 0.0]])
    assert mode_coverage(spread + offset, [[offset, offset]], std=1e-4)["high_quality"] == 0.5


@pytest.mark.parametrize(
    ("samples", "modes", "std", "message"),
    [
        ([1.0, 2.0], GRID, 1, r"`samples` must have shape \(n, d\).*Received: shape \(2,\)"),
        (np.zeros((0, 2)), GRID, 1, "`samples` must hold at least 1 sample"),
        (np.zeros((3, 3)), GRID, 1, r"`samples` and `modes` must have the same dimension"),
        ([[np.nan, 0.0], [np.inf, 0.0]], GRID, 1, "`samples` must be finite. Received: 2 of 4"),
        (GRID, GRID, 0, "`std` must be one positive number"),
        (GRID, GRID, [1.0, 2.0], "`std` must be one positive number"),
        (GRID, np.concatenate([GRID, GRID[:2]]), 1, "27 modes, 25 of them different"),
    ],
)
def test_bad_inputs(samples, modes, std, message):
    with pytest.raises(ValueError, match=message):
        mode_coverage(samples, modes, std)


def test_text_is_refused():
    with pytest.raises(TypeError, match="`samples` must be an array of real numbers"):
        mode_coverage([["a", "b"]], GRID, 1)
