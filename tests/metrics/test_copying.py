"""The statistic of copying against SciPy's, and against what it must be."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu

from zoo.metrics import nearer_to_training

RNG = np.random.default_rng(0)
TRAINING = RNG.normal(size=(80, 3))


def test_it_is_the_statistic_of_mann_and_whitney():
    """SciPy's U over the number of pairs, of distances by SciPy; some points are training points, and ties count."""
    generated = np.concatenate([RNG.normal(size=(30, 3)), TRAINING[:5]])
    held_out = np.concatenate([RNG.normal(size=(20, 3)), TRAINING[5:9]])
    distances = [cdist(one, TRAINING).min(1) for one in (held_out, generated)]
    expected = mannwhitneyu(*distances).statistic / (len(generated) * len(held_out))
    assert nearer_to_training(generated, held_out, TRAINING) == pytest.approx(expected, abs=1e-12)


def test_copies_new_examples_and_others():
    """4 standard deviations of sqrt((n + m + 1) / 12 n m)."""
    new, held_out = RNG.normal(size=(2, 500, 3))
    assert nearer_to_training(TRAINING, held_out, TRAINING) == 1.0
    assert nearer_to_training(new + 100, held_out, TRAINING) == 0.0
    assert nearer_to_training(new, held_out, TRAINING) == pytest.approx(0.5, abs=4 * (1001 / (12 * 500**2)) ** 0.5)


def test_bad_features_are_refused():
    with pytest.raises(ValueError, match="`generated`.*`training`|features"):
        nearer_to_training(TRAINING[:, :2], TRAINING, TRAINING)
    with pytest.raises(ValueError, match="held_out"):
        nearer_to_training(TRAINING, TRAINING * np.nan, TRAINING)
