"""Learning rates against their formulas."""

import keras
import numpy as np
import pytest

from zoo import ConstantThenLinear, WarmUpThenInverseRoot


def test_constant_then_linear():
    """Zhu et al. 2017, section 4: the same rate for the first half, then linearly to zero over the second."""
    schedule = ConstantThenLinear(2e-4, 100, 50)
    found = [float(schedule(step)) for step in (0, 99, 100, 101, 125, 149, 150, 10_000)]
    np.testing.assert_allclose(found, 2e-4 * np.array([1, 1, 1, 0.98, 0.5, 0.02, 0, 0]), rtol=1e-6, atol=1e-12)


def test_warm_up_then_inverse_root():
    """Vaswani et al. 2017, equation 3, whose steps count from 1; 7e-4 is the highest rate of the base model."""
    schedule = WarmUpThenInverseRoot(512)
    numbers = np.array([1, 2, 3999, 4000, 4001, 100_000, 2**24 + 4])
    expected = 512**-0.5 * np.minimum(numbers**-0.5, numbers * 4000**-1.5)
    np.testing.assert_allclose([float(schedule(number - 1)) for number in numbers], expected, rtol=1e-6)
    assert float(schedule(3999)) == pytest.approx(7e-4, rel=2e-3)
    assert max(float(schedule(step)) for step in range(3990, 4010)) == float(schedule(3999))
    scaled = WarmUpThenInverseRoot(512, 10, scale=3.0)
    assert float(scaled(9)) == pytest.approx(3 * (512 * 10) ** -0.5)


@pytest.mark.parametrize("schedule", [ConstantThenLinear(0.1, 3, 4), WarmUpThenInverseRoot(8, 5, 2.0)])
def test_it_is_kept_with_an_optimizer(schedule):
    optimizer = keras.optimizers.Adam(schedule)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert copy.get_config() == optimizer.get_config()


def test_whole_numbers_beyond_float32_count():
    """2^24 + 1 is no float32."""
    schedule = ConstantThenLinear(1.0, 2**24, 4)
    np.testing.assert_allclose([float(schedule(2**24 + step)) for step in range(5)], [1, 0.75, 0.5, 0.25, 0])


@pytest.mark.parametrize("arguments", [(-1, 1, 1), (0.1, 1.5, 1), (0.1, 1, 0), (float("nan"), 1, 1)])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="Received"):
        ConstantThenLinear(*arguments)


@pytest.mark.parametrize("arguments", [(0,), (1.5,), (8, 0), (8, 4000, -1), (8, 4000, float("nan"))])
def test_bad_arguments_of_a_warm_up_are_refused(arguments):
    with pytest.raises(ValueError, match="Received"):
        WarmUpThenInverseRoot(*arguments)
