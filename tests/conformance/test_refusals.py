"""Every model refuses examples that it cannot learn from, and says what to do."""

import numpy as np
import pytest

from tests.conformance.rows import fit


def test_bad_examples_are_refused_with_advice(row):
    model = row.build()
    good = row.examples(4)
    with pytest.raises(ValueError, match="call `compile"):
        fit(model, good)
    model.compile()
    with pytest.raises(ValueError, match=r"Expected shape \(batch, .*Received: \(4, 3\)"):
        fit(model, np.zeros((4, 3), "float32"))
    bad = good.copy()
    bad[1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        fit(model, bad)
    with pytest.raises(ValueError, match="floating point"):
        fit(model, (good * 0).astype("uint8"))
    with pytest.raises(ValueError, match="examples alone"):
        fit(model, good, y=np.zeros(4))
    if len(row.shape) == 3:
        with pytest.raises(ValueError, match=r"must lie in \[-1, 1\].*Received: min=.*max=.*Divide by 127.5"):
            fit(model, (good + 1) * 127.5)
        with pytest.raises(ValueError, match="channels"):
            fit(model, np.repeat(good, 3, axis=-1))
        with pytest.raises(ValueError, match="missing axis"):
            fit(model, good[..., 0])


def test_a_batch_smaller_than_the_replicas_is_refused(row, two_replicas):
    with two_replicas.scope():
        model = row.build()
        model.compile()
    with pytest.raises(ValueError, match="A batch of 1 examples cannot be split over 2 replicas"):
        fit(model, row.examples(1))
