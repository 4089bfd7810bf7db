"""Errors, penalties and noise of autoencoders against NumPy, explicit Jacobians and the shares asked for."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit
from scipy.stats import entropy

from zoo.losses import autoencoding, variational

RNG = np.random.default_rng(0)


def test_errors_are_sums_over_an_example():
    x, y = RNG.uniform(-1, 1, (2, 4, 3, 2, 1)).astype("float32")
    np.testing.assert_allclose(autoencoding.squared_error(x, y), np.square(x - y).sum((1, 2, 3)), rtol=1e-5)
    p, q = (x + 1) / 2, expit(y.astype("float64"))
    expected = -(p * np.log(q) + (1 - p) * np.log(1 - q)).sum((1, 2, 3))
    np.testing.assert_allclose(autoencoding.cross_entropy(x, y), expected, rtol=1e-5)
    assert np.isfinite(autoencoding.cross_entropy(x, 1000 * y)).all()


def test_sparsity_penalties():
    codes = RNG.uniform(0.01, 0.99, (6, 4)).astype("float32")
    np.testing.assert_allclose(autoencoding.l1_sparsity(codes - 0.5), np.abs(codes - 0.5).sum(1), rtol=1e-5)
    means = codes.mean(0)
    expected = entropy([np.full(4, 0.2), np.full(4, 0.8)], [means, 1 - means]).sum()
    np.testing.assert_allclose(autoencoding.kl_sparsity(codes, 0.2), expected, rtol=1e-4)
    assert np.isfinite(autoencoding.kl_sparsity(np.zeros((3, 2), "float32"), 0.05))


@pytest.mark.parametrize("activation, hidden", [("sigmoid", ()), ("tanh", (7,))])
def test_contraction_is_the_squared_norm_of_the_explicit_jacobian(activation, hidden):
    """The oracle differentiates one output of one example at a time."""
    layers = [keras.layers.Dense(width, "tanh") for width in hidden]
    encoder = keras.Sequential([keras.Input((5,)), *layers, keras.layers.Dense(3, activation)])
    x = tf.constant(RNG.normal(size=(4, 5)).astype("float32"))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        codes = encoder(x)
        values = [[codes[row, unit] for unit in range(3)] for row in range(4)]
    jacobians = [[tape.gradient(value, x)[row].numpy() for value in of_row] for row, of_row in enumerate(values)]
    expected = np.square(jacobians).sum((1, 2))
    np.testing.assert_allclose(autoencoding.contraction(encoder, x), expected, rtol=1e-5)
    if not hidden:
        kernel = encoder.layers[0].kernel
        np.testing.assert_allclose(autoencoding.sigmoid_contraction(codes, kernel), expected, rtol=1e-5)
    # The estimate is unbiased: 4,000 directions for each example; its standard deviation is at most sqrt(2) |J|^2.
    many = RNG.normal(size=(4000, 4, 3)).astype("float32").reshape(-1, 3)
    estimates = autoencoding.contraction_estimate(encoder, tf.tile(x, (4000, 1)), many).numpy()
    np.testing.assert_allclose(estimates.reshape(4000, 4).mean(0), expected, rtol=4 * np.sqrt(2 / 4000))


def test_noise_touches_the_share_asked_for():
    x = RNG.uniform(-0.9, 0.9, (10, 1000)).astype("float32")
    uniform = RNG.uniform(size=x.shape).astype("float32")
    masked = autoencoding.masking_noise(tf.constant(x), uniform, 0.3, -1.0).numpy()
    assert abs((masked == -1).mean() - 0.3) < 0.02 and ((masked == -1) | (masked == x)).all()
    salted = autoencoding.salt_and_pepper_noise(tf.constant(x), uniform, 0.3).numpy()
    assert abs((salted == -1).mean() - 0.15) < 0.015 and abs((salted == 1).mean() - 0.15) < 0.015
    assert ((np.abs(salted) == 1) | (salted == x)).all()
    for noise in (autoencoding.masking_noise(tf.constant(x), uniform, 0.0, 0.0),):
        np.testing.assert_array_equal(noise, x)


def test_binarised_images_have_the_grey_ones_as_means():
    grey = np.full((50, 40, 1), -0.4, "float32")
    drawn = variational.binarize(tf.constant(grey), RNG.uniform(size=grey.shape).astype("float32")).numpy()
    assert set(np.unique(drawn)) == {-1, 1} and abs(drawn.mean() + 0.4) < 0.05
    np.testing.assert_array_equal(variational.binarize(tf.constant(drawn), RNG.uniform(size=grey.shape)), drawn)


def test_bounds_and_units():
    weights = RNG.uniform(0.1, 2, (6, 3))
    np.testing.assert_allclose(variational.importance_weighted_bound(np.log(weights)), np.log(weights.mean(0)))
    # 255 equally likely levels of each of 12 values take log2(255) bits a value.
    np.testing.assert_allclose(variational.bits_per_dimension(-12 * np.log(255), (2, 2, 3)), np.log2(255))


def test_bits_of_densities_are_those_of_256_levels_whatever_the_unit():
    """A uniform density over 255 distances of levels: 1/2 over [-1, 1], 1 over [0, 1], 1/255 over levels."""
    for density, levels_per_unit in ((1 / 2, 127.5), (1.0, 255.0), (1 / 255, 1.0)):
        found = variational.bits_per_dimension(12 * np.log(density), (2, 2, 3), levels_per_unit)
        np.testing.assert_allclose(found, np.log2(255))
    with pytest.raises(ValueError, match="`levels_per_unit` must be a finite number above 0. Received: 0"):
        variational.bits_per_dimension(-1.0, (2, 2, 3), 0)
