"""Adversarial losses against closed forms and NumPy in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.losses import adversarial

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(size=(2, 6, 1)).astype("float32") * 3


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, "float64")))


def test_discriminator_cross_entropy_is_goodfellows_value_function():
    expected = -np.log(sigmoid(REAL)) - np.log(1 - sigmoid(FAKE))
    np.testing.assert_allclose(adversarial.discriminator_cross_entropy(REAL, FAKE), expected[:, 0], rtol=1e-5)
    undecided = adversarial.discriminator_cross_entropy(np.zeros((1, 1)), np.zeros((1, 1)))
    np.testing.assert_allclose(undecided, [2 * np.log(2)], rtol=1e-6)


def test_generator_losses_and_their_gradients():
    """d/dx -log s(x) = s(x) - 1 does not vanish where the discriminator wins; d/dx log(1 - s(x)) = -s(x) does."""
    np.testing.assert_allclose(adversarial.non_saturating_generator(FAKE), -np.log(sigmoid(FAKE))[:, 0], rtol=1e-5)
    np.testing.assert_allclose(adversarial.minimax_generator(FAKE), np.log(1 - sigmoid(FAKE))[:, 0], rtol=1e-5)
    logits = tf.constant([[-20.0], [1.0]])
    for loss, gradient in (
        (adversarial.non_saturating_generator, sigmoid(logits) - 1),
        (adversarial.minimax_generator, -sigmoid(logits)),
    ):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            values = loss(logits)
        np.testing.assert_allclose(tape.gradient(values, logits), gradient, rtol=1e-4, atol=1e-12)


def test_extreme_logits_stay_finite():
    huge = np.array([[1e6], [-1e6]], "float32")
    for values in (
        adversarial.discriminator_cross_entropy(huge, huge),
        adversarial.non_saturating_generator(huge),
        adversarial.minimax_generator(huge),
    ):
        assert np.isfinite(values).all()


def test_wasserstein_terms():
    np.testing.assert_allclose(adversarial.wasserstein_critic(REAL, FAKE), (FAKE - REAL)[:, 0], rtol=1e-6)
    np.testing.assert_allclose(adversarial.wasserstein_generator(FAKE), -FAKE[:, 0])


def test_patches_are_averaged_and_half_precision_ends_in_float32():
    patches = RNG.normal(size=(4, 3, 3, 1)).astype("float32")
    result = adversarial.wasserstein_generator(patches)
    np.testing.assert_allclose(result, -patches.mean((1, 2, 3)), rtol=1e-5)
    assert adversarial.non_saturating_generator(tf.cast(FAKE, tf.float16)).dtype == tf.float32


@pytest.mark.parametrize("slope", [0.0, 0.25, 1.0, 3.0])
def test_gradient_penalty_of_a_linear_critic(slope):
    """f(x) = slope * u.x with |u| = 1 has the penalty (slope - 1)^2 everywhere."""
    direction = np.full((4, 1), 0.5, "float32")
    real, fake = RNG.normal(size=(2, 5, 4)).astype("float32")
    penalty = adversarial.gradient_penalty(
        lambda x: slope * keras.ops.matmul(x, direction), tf.constant(real), tf.constant(fake), tf.zeros((5,))
    )
    np.testing.assert_allclose(penalty, np.full(5, (slope - 1) ** 2), atol=1e-5)


def test_gradient_penalty_is_taken_between_real_and_generated():
    """f(x) = x^2 / 2 has the slope x, so the penalty tells where it was taken; mix is the weight of the real side."""
    penalty = adversarial.gradient_penalty(
        lambda x: x**2 / 2, tf.constant([[3.0]] * 3), tf.constant([[7.0]] * 3), tf.constant([1.0, 0.0, 0.25])
    )
    np.testing.assert_allclose(penalty, [(3 - 1) ** 2, (7 - 1) ** 2, (6 - 1) ** 2], rtol=1e-5)


def test_gradient_penalty_has_a_zero_gradient_where_the_critic_is_flat():
    """A bare square root gives NaN here."""
    weight = tf.Variable([[0.0], [0.0]])
    with tf.GradientTape() as tape:
        penalty = adversarial.gradient_penalty(
            lambda x: keras.ops.matmul(x, weight), tf.ones((2, 2)), tf.zeros((2, 2)), tf.ones((2,))
        )
    np.testing.assert_allclose(penalty, [1.0, 1.0], atol=1e-5)
    np.testing.assert_array_equal(tape.gradient(penalty, weight), np.zeros((2, 1)))


def test_gradient_penalty_against_finite_differences():
    """Central differences of the penalty in the critic's weights, steps of 1e-2, to 1 %."""
    weights = RNG.normal(size=(3, 1)).astype("float32")
    real, fake = (tf.constant(x) for x in RNG.normal(size=(2, 4, 3)).astype("float32"))
    mix = tf.constant(RNG.uniform(size=4).astype("float32"))

    def total(value):
        critic = lambda x: keras.ops.tanh(keras.ops.matmul(x, value))  # noqa: E731
        return keras.ops.sum(adversarial.gradient_penalty(critic, real, fake, mix))

    variable = tf.Variable(weights)
    with tf.GradientTape() as tape:
        loss = total(variable)
    gradient = tape.gradient(loss, variable)
    for index in range(3):
        step = np.zeros_like(weights)
        step[index] = 1e-2
        numeric = (float(total(weights + step)) - float(total(weights - step))) / 2e-2
        assert abs(numeric - float(gradient[index, 0])) < 1e-2 * max(1, abs(numeric))


@pytest.mark.parametrize("slope", [0.0, 0.25, 3.0])
def test_feature_gradient_penalty_of_a_linear_map(slope):
    """f(x) = slope * Q x with orthonormal Q has the slope in every direction; in one that does not move, 0."""
    turn = np.linalg.qr(RNG.normal(size=(4, 4)))[0].astype("float32")
    real, fake = (tf.constant(x) for x in RNG.normal(size=(2, 5, 4)).astype("float32"))
    mix = tf.constant(RNG.uniform(size=5).astype("float32"))

    def critic(x):
        return slope * keras.ops.matmul(x, turn)

    penalty = adversarial.feature_gradient_penalty(critic, real, fake, (critic(real), critic(fake)), mix)
    np.testing.assert_allclose(penalty, np.full(5, (slope - 1) ** 2), atol=1e-5)


def test_feature_gradient_penalty_of_one_feature_is_the_gradient_penalty():
    weights = tf.constant(RNG.normal(size=(3, 1)).astype("float32"))
    real, fake = (tf.constant(x) for x in RNG.normal(size=(2, 4, 3)).astype("float32"))
    mix = tf.constant(RNG.uniform(size=4).astype("float32"))

    def critic(x):
        return keras.ops.tanh(keras.ops.matmul(x, weights))

    penalty = adversarial.feature_gradient_penalty(critic, real, fake, (critic(real), critic(fake)), mix)
    np.testing.assert_allclose(penalty, adversarial.gradient_penalty(critic, real, fake, mix), rtol=1e-5)


def test_least_squares_losses():
    """Mao et al. 2017, equation 9, in NumPy; at its optimum for equal distributions D is 1/2."""
    expected = np.square(REAL - 1.0) + np.square(FAKE)
    np.testing.assert_allclose(adversarial.least_squares_discriminator(REAL, FAKE), expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(adversarial.least_squares_generator(FAKE), np.square(FAKE - 1.0)[:, 0], rtol=1e-5)
    half = np.full((1, 1), 0.5)
    np.testing.assert_allclose(adversarial.least_squares_discriminator(half, half), [0.5])


def test_mean_absolute_error_is_per_example_and_in_float32():
    examples, others = RNG.normal(size=(2, 3, 4, 5, 1)).astype("float32")
    expected = np.abs(examples - others).mean((1, 2, 3))
    np.testing.assert_allclose(adversarial.mean_absolute_error(examples, others), expected, rtol=1e-5)
    half = adversarial.mean_absolute_error(tf.cast(examples, tf.bfloat16), tf.cast(others, tf.bfloat16))
    assert half.dtype == tf.float32
