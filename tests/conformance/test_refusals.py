"""Every model refuses examples that it cannot learn from, and says what to do."""

import pytest

from tests.helpers.examples import arguments
from tests.helpers.rows import fit


def test_bad_examples_are_refused_with_advice(row):
    model = row.build()
    with pytest.raises(ValueError, match="call `compile"):
        fit(model, row.examples(4))
    model.compile()
    for examples, message in row.examples.refusals():
        with pytest.raises(ValueError, match=message):
            fit(model, examples)
    assert model.steps_taken == 0


def test_a_batch_smaller_than_the_replicas_is_refused(row, two_replicas):
    with two_replicas.scope():
        model = row.build()
        model.compile()
    with pytest.raises(ValueError, match="A batch of 1 examples cannot be split over 2 replicas"):
        fit(model, arguments(row.examples(1)))
