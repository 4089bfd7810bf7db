"""Adversarial objectives: one value per example, in float32, whatever the networks compute in.

`real` and `fake` are what a discriminator (logits) or a critic (scores) says of real and of generated examples,
of shape (batch, ...): values beyond the batch axis, as those of a patch critic, are averaged.
"""

import tensorflow as tf
from keras import ops


def _per_example(scores):
    scores = ops.cast(scores, "float32")
    return ops.mean(ops.reshape(scores, (ops.shape(scores)[0], -1)), axis=1)


def discriminator_cross_entropy(real, fake):
    """What the discriminator minimises: -log D(x) - log(1 - D(G(z))).

    Goodfellow et al. 2014, equation 1, with the sign turned round.

    Args:
        real: Logits of real examples, (batch, ...).
        fake: Logits of generated examples, (batch, ...).

    Returns:
        Tensor of shape (batch,), float32, at least 0; 2 log 2 where the discriminator cannot tell.

    Example:
        >>> np.round(discriminator_cross_entropy(ops.zeros((1, 1)), ops.zeros((1, 1))), 3)  # 2 log 2
        array([1.386], dtype=float32)
    """
    return _per_example(ops.softplus(-ops.cast(real, "float32"))) + _per_example(
        ops.softplus(ops.cast(fake, "float32"))
    )


def minimax_generator(fake):
    """What the minimax generator minimises: log(1 - D(G(z))).

    Goodfellow et al. 2014, equation 1. Its gradient vanishes where the discriminator wins.

    Args:
        fake: Logits of generated examples, (batch, ...).

    Returns:
        Tensor of shape (batch,), float32, at most 0.

    Example:
        >>> np.round(minimax_generator(ops.zeros((1, 1))), 3)  # -log 2
        array([-0.693], dtype=float32)
    """
    return -_per_example(ops.softplus(ops.cast(fake, "float32")))


def non_saturating_generator(fake):
    """What the non-saturating generator minimises: -log D(G(z)).

    Goodfellow et al. 2014, section 3: the same fixed point as the minimax loss, with a gradient where it is needed.

    Args:
        fake: Logits of generated examples, (batch, ...).

    Returns:
        Tensor of shape (batch,), float32, at least 0.

    Example:
        >>> np.round(non_saturating_generator(ops.zeros((1, 1))), 3)  # log 2
        array([0.693], dtype=float32)
    """
    return _per_example(ops.softplus(-ops.cast(fake, "float32")))


def wasserstein_critic(real, fake):
    """What the critic minimises: f(G(z)) - f(x), so that its negative estimates the Wasserstein-1 distance.

    Arjovsky et al. 2017, equation 3 and algorithm 1.

    Args:
        real: Scores of real examples, (batch, ...).
        fake: Scores of generated examples, (batch, ...).

    Returns:
        Tensor of shape (batch,), float32.

    Example:
        >>> np.array(wasserstein_critic(real=ops.array([[3.0]]), fake=ops.array([[1.0]])))
        array([-2.], dtype=float32)
    """
    return _per_example(fake) - _per_example(real)


def wasserstein_generator(fake):
    """What the generator minimises: -f(G(z)).

    Arjovsky et al. 2017, algorithm 1.

    Args:
        fake: Scores of generated examples, (batch, ...).

    Returns:
        Tensor of shape (batch,), float32.

    Example:
        >>> np.array(wasserstein_generator(ops.array([[1.0]])))
        array([-1.], dtype=float32)
    """
    return -_per_example(fake)


def gradient_penalty(critic, real, fake, mix):
    """The two-sided penalty (|grad f(x^)|_2 - 1)^2 at x^ = mix * real + (1 - mix) * fake.

    Gulrajani et al. 2017, equation 3. The norm is taken in float32 over all axes but the first, and is safe at
    zero: there the penalty is 1 and its gradient 0, not NaN. The critic must treat examples one by one, so batch
    normalisation has no place in it.

    Args:
        critic: Function of (batch, ...) examples that returns scores (batch, ...).
        real: Real examples, (batch, ...).
        fake: Generated examples, of the same shape.
        mix: Weights of the real examples, uniform in (0, 1), (batch,).

    Returns:
        Tensor of shape (batch,), float32, at least 0.

    Example:
        >>> np.round(gradient_penalty(lambda x: 3.0 * x, ops.zeros((1, 1)), ops.ones((1, 1)), ops.ones((1,))), 3)
        array([4.], dtype=float32)
    """
    mix = ops.reshape(mix, (-1,) + (1,) * (len(real.shape) - 1))
    between = fake + mix * (real - fake)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(between)
        scores = ops.sum(_per_example(critic(between)))
    gradient = ops.cast(tape.gradient(scores, between), "float32")
    squared = ops.sum(ops.square(gradient), axis=list(range(1, len(gradient.shape))))
    return ops.square(ops.sqrt(ops.maximum(squared, 1e-12)) - 1.0)


def feature_gradient_penalty(critic, real, fake, features, mix):
    """The gradient penalty of a critic with several features, which is that of WGAN-GP for one.

    (|grad <v, f(x^)>|_2 - 1)^2 with v the direction from the features of the generated example to those of the real
    one, held fixed: along the way from one to the other, features move as far as examples do. Our generalisation of
    Gulrajani et al. 2017, equation 3, where v is 1 or -1.

    Args:
        critic: Function of (batch, ...) examples that returns features (batch, num_features).
        real: Real examples, (batch, ...).
        fake: Generated examples, of the same shape.
        features: What the critic says of both, a pair of (batch, num_features).
        mix: Weights of the real examples, uniform in (0, 1), (batch,).

    Returns:
        Tensor of shape (batch,), float32, at least 0.

    Example:
        >>> x, y = ops.zeros((1, 2)), ops.ones((1, 2))
        >>> np.round(feature_gradient_penalty(lambda x: 3.0 * x, x, y, (3.0 * x, 3.0 * y), ops.ones((1,))), 3)
        array([4.], dtype=float32)
    """
    of_real, of_fake = (ops.cast(one, "float32") for one in features)
    direction = ops.stop_gradient(of_real - of_fake)
    direction = direction / ops.maximum(ops.norm(direction, axis=-1, keepdims=True), 1e-6)
    return gradient_penalty(
        lambda between: ops.sum(direction * ops.cast(critic(between), "float32"), axis=-1), real, fake, mix
    )


def least_squares_discriminator(real, fake):
    """What the discriminator of a least-squares GAN minimises: (D(x) - 1)^2 + D(G(z))^2.

    Mao et al. 2017, equation 9 with a = 0 and b = c = 1, without its factor 1/2.

    Args:
        real: Scores of real examples, (batch, ...).
        fake: Scores of generated examples, (batch, ...).

    Returns:
        Tensor of shape (batch,), float32, at least 0; 1/2 where the discriminator cannot tell and says 1/2.

    Example:
        >>> np.array(least_squares_discriminator(ops.full((1, 1), 0.5), ops.full((1, 1), 0.5)))
        array([0.5], dtype=float32)
    """
    return _per_example(ops.square(ops.cast(real, "float32") - 1.0)) + _per_example(
        ops.square(ops.cast(fake, "float32"))
    )


def least_squares_generator(fake):
    """What the generator of a least-squares GAN minimises: (D(G(z)) - 1)^2.

    Mao et al. 2017, equation 9, without its factor 1/2.

    Args:
        fake: Scores of generated examples, (batch, ...).

    Returns:
        Tensor of shape (batch,), float32, at least 0.

    Example:
        >>> np.array(least_squares_generator(ops.full((1, 1), 0.5)))
        array([0.25], dtype=float32)
    """
    return _per_example(ops.square(ops.cast(fake, "float32") - 1.0))


def mean_absolute_error(examples, others):
    """The mean over all values of an example of |x - y|, as CycleGAN compares images (Zhu et al. 2017, equation 2).

    Args:
        examples: (batch, ...).
        others: Of the same shape.

    Returns:
        Tensor of shape (batch,), float32, at least 0.

    Example:
        >>> np.array(mean_absolute_error(ops.zeros((1, 2)), ops.ones((1, 2))))
        array([1.], dtype=float32)
    """
    return _per_example(ops.abs(ops.cast(examples, "float32") - ops.cast(others, "float32")))
