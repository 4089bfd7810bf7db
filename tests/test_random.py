"""Numbers of keys: uniform, independent of their neighbours, the same wherever they are computed."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.random import bits, bits_of_keys, mixed_keys, uniform_of_keys

ROWS, COUNT = 400, 500
# Drawn keys, and keys one after the other, which a weak hash would not part.
KEYS = {"drawn": bits((ROWS,), [0, 1]), "counted": tf.range(ROWS, dtype=tf.int64)}


@pytest.fixture(params=KEYS)
def keys(request):
    return KEYS[request.param]


def test_they_are_uniform(keys):
    """Of n uniform numbers the mean is 1/2 with standard deviation sqrt(1 / 12 n), and the variance 1/12 with
    sqrt(1 / 180 n); Pearson's statistic of 256 equal parts has mean 255 and standard deviation sqrt(510). Five of
    each are allowed."""
    values = uniform_of_keys(keys, COUNT).numpy().astype("float64")
    assert values.shape == (ROWS, COUNT) and 0 < values.min() and values.max() < 1
    assert values.mean() == pytest.approx(1 / 2, abs=5 * (12 * values.size) ** -0.5)
    assert values.var() == pytest.approx(1 / 12, abs=5 * (180 * values.size) ** -0.5)
    counts = np.histogram(values, 256, (0, 1))[0]
    expected = values.size / 256
    assert ((counts - expected) ** 2 / expected).sum() == pytest.approx(255, abs=5 * 510**0.5)
    # Rows and positions each for themselves: the largest of some hundred means is within 5 standard deviations.
    for axis, size in ((0, ROWS), (1, COUNT)):
        assert np.abs(values.mean(axis) - 0.5).max() < 5 * (12 * size) ** -0.5


def test_each_bit_is_set_half_of_the_time(keys):
    drawn = bits_of_keys(keys, COUNT).numpy()
    assert drawn.dtype == np.uint32
    shares = [(drawn >> bit & 1).mean() for bit in range(32)]
    np.testing.assert_allclose(shares, 0.5, atol=5 * 0.5 / drawn.size**0.5)


def test_neighbours_are_not_correlated(keys):
    """The correlation of n independent pairs has standard deviation 1 / sqrt(n)."""
    first, second = (uniform_of_keys(keys, COUNT, stream).numpy().astype("float64") for stream in (0, 1))
    pairs = {
        "rows": (first[1:], first[:-1]),
        "positions": (first[:, 1:], first[:, :-1]),
        "streams": (first, second),
        "streams, one position on": (first[:, 1:], second[:, :-1]),
        "streams, one row on": (first[1:], second[:-1]),
    }
    for name, (one, other) in pairs.items():
        found = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(found) < 5 * one.size**-0.5, name


def test_no_two_rows_or_streams_are_alike(keys):
    """The keys of one row with another stream are no other row: of 1,200 rows all are different."""
    rows = np.concatenate([bits_of_keys(keys, 4, stream) for stream in (0, 1, 2**31)])
    assert len(np.unique(rows, axis=0)) == 3 * ROWS


def test_they_depend_on_the_key_alone_and_are_the_same_compiled(keys):
    expected = bits_of_keys(keys, COUNT, 3).numpy()
    np.testing.assert_array_equal(bits_of_keys(keys[7:9], COUNT, 3), expected[7:9])
    np.testing.assert_array_equal(bits_of_keys(keys, 20, 3), expected[:, :20])
    for jit_compile in (False, True):
        draw = tf.function(lambda keys, stream: bits_of_keys(keys, COUNT, stream), jit_compile=jit_compile)
        np.testing.assert_array_equal(draw(keys, tf.constant(3)), expected)


def test_large_keys_count():
    """Keys that differ in the highest of their 32 bits alone."""
    one, other = bits_of_keys(tf.constant([5, 5 + 2**31], tf.int64), 1000).numpy()
    assert (one == other).sum() == 0


def dependence(first, second, parts=16):
    """By how many standard deviations Pearson's statistic of two sets of 32-bit numbers exceeds that of independent
    uniform ones, in a table of 16 x 16 equal parts: its mean is 255, its standard deviation sqrt(510)."""
    places = [(one.astype("uint64") * parts >> np.uint64(32)).astype("int64").ravel() for one in (first, second)]
    counts = np.bincount(places[0] * parts + places[1], minlength=parts**2)
    expected = counts.sum() / parts**2
    return (((counts - expected) ** 2 / expected).sum() - (parts**2 - 1)) / (2 * (parts**2 - 1)) ** 0.5


@pytest.mark.parametrize("first", [0, 1000, 2**20])
def test_rows_of_mixed_keys_that_follow_each_other_are_independent(first):
    """Of 21 tables of neighbours at some distance; the same keys as they are come to 6 and more."""
    keys = tf.range(first, first + 2**16, dtype=tf.int64)
    mixed = mixed_keys(keys)
    assert len(np.unique(mixed)) == len(keys) and int(tf.reduce_min(mixed)) >= 0 and int(tf.reduce_max(mixed)) < 2**32
    for stream in range(3):
        drawn = bits_of_keys(mixed, 32, stream).numpy()
        for lag in (1, 2, 3, 4, 7, 8, 16):
            assert abs(dependence(drawn[lag:], drawn[:-lag])) < 4
