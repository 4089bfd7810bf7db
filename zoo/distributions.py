"""Posteriors, priors and likelihoods: TensorFlow Probability distributions made of what networks put out."""

import math
from typing import NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from zoo.checks import check_choice

tfd = tfp.distributions

# The least scale of a likelihood, an eighth of one of 256 levels in [-1, 1]: a density has no upper bound where
# pixels never change.
_LEAST_SCALE = 1e-3


class Likelihood(NamedTuple):
    """How likely an example is, given what a decoder puts out.

    Attributes:
        distribution: Function of parameters (..., *output_shape) that returns a `tfd.Distribution` over one example.
        values: Function from examples to what the distribution is over, as pixels in [0, 1] for those in [-1, 1].
        examples: Function from a distribution to its mean, as examples.
        support: "black_and_white" if an example's values must be -1 or 1, "bounded" if in [-1, 1], None if any.

    Example:
        >>> likelihood = likelihood_of("bernoulli", (28, 28, 1), (28, 28, 1))
        >>> distribution = likelihood.distribution(tf.zeros((1, 28, 28, 1)))
        >>> likelihood.support, float(likelihood.examples(distribution)[0, 0, 0, 0])  # halfway from black to white
        ('black_and_white', 0.0)
    """

    distribution: callable
    values: callable
    examples: callable
    support: str | None = None


class Bernoulli(tfd.Bernoulli):
    """TFP's, with half of its work: log p(x) = x logit - softplus(logit), where TFP takes a softplus for either x.

    Example:
        >>> np.round(Bernoulli(logits=[0.0]).log_prob([1.0]), 3)  # -log 2
        array([-0.693], dtype=float32)
    """

    def _log_prob(self, event):
        return event * self.logits - tf.math.softplus(self.logits)


def diagonal_normal(parameters):
    """Normal distribution with a diagonal covariance.

    Args:
        parameters: (..., 2 dim): means, then raw scales, of which the softplus is taken.

    Returns:
        `tfd.MultivariateNormalDiag` over vectors (dim,).

    Example:
        >>> posterior = diagonal_normal(tf.zeros((3, 4)))
        >>> posterior.event_shape, round(float(posterior.stddev()[0, 0]), 3)  # the softplus of 0
        (TensorShape([2]), 0.693)
    """
    loc, raw = tf.split(parameters, 2, axis=-1)
    return tfd.MultivariateNormalDiag(loc, tf.math.softplus(raw) + 1e-6)


def full_normal(parameters):
    """Normal distribution with a full covariance.

    Args:
        parameters: (..., dim + dim (dim + 1) / 2): means, then the entries of the covariance's Cholesky factor in the
            order of `tfp.math.fill_triangular`; the softplus of those on the diagonal is taken.

    Returns:
        `tfd.MultivariateNormalTriL` over vectors (dim,).

    Example:
        >>> posterior = full_normal(tf.zeros((3, 5)))
        >>> np.round(posterior.covariance()[0], 2)  # the square of the softplus of 0, log 2
        array([[0.48, 0.  ],
               [0.  , 0.48]], dtype=float32)
    """
    size = parameters.shape[-1]
    dim = (math.isqrt(9 + 8 * size) - 3) // 2
    factor = tfp.math.fill_triangular(parameters[..., dim:])
    # Not `tfb.FillScaleTriL`, whose gradient XLA cannot compile for a number of rows that is not known.
    factor = tf.where(tf.eye(dim, dtype=tf.bool), tf.math.softplus(factor) + 1e-6, factor)
    return tfd.MultivariateNormalTriL(parameters[..., :dim], factor)


# {name: (function, number of parameters for so many dimensions)}
POSTERIORS = {
    "diagonal_normal": (diagonal_normal, lambda dim: 2 * dim),
    "full_normal": (full_normal, lambda dim: dim * (dim + 3) // 2),
}
# {likelihood: 8-bit levels in one unit of the values it is over}; a "bernoulli" has two levels, not 256.
LEVELS_PER_UNIT = {"continuous_bernoulli": 255.0, "normal": 127.5, "discretized_logistic": 1.0}
LIKELIHOODS = ("bernoulli", "continuous_bernoulli", "normal", "discretized_logistic")


def posterior_of(posterior, num_parameters, latent_dim):
    """The function that makes posteriors of an encoder's outputs.

    Args:
        posterior: Name in `POSTERIORS`, or a function of parameters (..., num_parameters) that returns a
            `tfd.TransformedDistribution` of standard normals over vectors (latent_dim,).
        num_parameters: What the encoder puts out.
        latent_dim: What the decoder takes.

    Returns:
        Function of parameters.

    Raises:
        ValueError: If the numbers do not fit, or it makes something else.

    Example:
        >>> posterior_of("full_normal", 5, 2)(tf.zeros((3, 5))).event_shape
        TensorShape([2])
    """
    if not callable(posterior):
        check_choice("posterior", posterior, POSTERIORS)
        posterior, expected = POSTERIORS[posterior][0], POSTERIORS[posterior][1](latent_dim)
        if num_parameters != expected:
            raise ValueError(
                f"The encoder must put out {expected} values for {latent_dim} latents, which the decoder takes: "
                f"their means, and the scales of a {posterior.__name__} posterior. Received: {num_parameters}. "
                f"Build it with {expected}, as `mlp_encoder(shape, {expected})`."
            )
        return posterior
    made = posterior(tf.zeros((1, num_parameters)))
    if not hasattr(getattr(made, "bijector", None), "forward") or made.event_shape != (latent_dim,):
        raise ValueError(
            "`posterior` must make a `tfd.TransformedDistribution` of standard normals, such as "
            f"`tfd.MultivariateNormalDiag`, over vectors ({latent_dim},). Received: {made}."
        )
    return posterior


def prior_of(prior, latent_dim):
    """The prior distribution of latents.

    Args:
        prior: "standard_normal", or a function of `latent_dim` that returns a `tfd.Distribution`.
        latent_dim: Length of a latent.

    Returns:
        `tfd.Distribution` over vectors (latent_dim,).

    Raises:
        ValueError: If it is something else.

    Example:
        >>> round(float(prior_of("standard_normal", 2).log_prob([0.0, 0.0])), 3)  # -log 2 pi
        -1.838
    """
    if not callable(prior):
        check_choice("prior", prior, ("standard_normal",))
        return tfd.MultivariateNormalDiag(tf.zeros(latent_dim), tf.ones(latent_dim))
    made = prior(latent_dim)
    if getattr(made, "event_shape", None) != (latent_dim,):
        raise ValueError(f"`prior` must make a `tfd.Distribution` over vectors ({latent_dim},). Received: {made}.")
    return made


def likelihood_of(likelihood, output_shape, example_shape):
    """How likely examples are, given what a decoder puts out.

    Args:
        likelihood: Name in `LIKELIHOODS`, or a function of parameters (..., *output_shape) that returns a
            `tfd.Distribution` over examples.
        output_shape: Shape of what the decoder puts out for one example.
        example_shape: Shape of one example.

    Returns:
        `Likelihood`.

    Raises:
        ValueError: If the shapes do not fit, or it makes something else.

    Example:
        >>> likelihood = likelihood_of("normal", (28, 28, 2), (28, 28, 1))
        >>> likelihood.distribution(tf.zeros((3, 28, 28, 2))).event_shape
        TensorShape([28, 28, 1])
    """
    if callable(likelihood):
        made = likelihood(tf.zeros((1, *output_shape)))
        if getattr(made, "event_shape", None) != tuple(example_shape):
            raise ValueError(
                f"`likelihood` must make a `tfd.Distribution` over examples {tuple(example_shape)}, which is what the "
                f"encoder takes. Received: {made}."
            )
        return Likelihood(likelihood, lambda examples: examples, lambda distribution: distribution.mean())
    check_choice("likelihood", likelihood, LIKELIHOODS)
    per_value = 2 if likelihood in ("normal", "discretized_logistic") else 1
    expected = (*example_shape[:-1], per_value * example_shape[-1])
    if tuple(output_shape) != expected:
        what = "a location and a raw scale" if per_value == 2 else "one logit"
        raise ValueError(
            f"The decoder must put out {what} for each value of an example {tuple(example_shape)}, which is what the "
            f"encoder takes: shape (batch, {', '.join(map(str, expected))}). Received: shape (batch, "
            f"{', '.join(map(str, output_shape))}). Build it for likelihood {likelihood!r}"
            + (', with `scale="shared"` or `scale="predicted"`.' if per_value == 2 else ", without `scale`.")
        )
    axes = len(example_shape)

    def independent(distribution):
        return tfd.Independent(distribution, reinterpreted_batch_ndims=axes)

    def loc_and_scale(parameters):
        loc, raw = tf.split(parameters, 2, axis=-1)
        return loc, tf.math.softplus(raw) + _LEAST_SCALE

    if likelihood == "normal":
        return Likelihood(
            lambda parameters: independent(tfd.Normal(*loc_and_scale(parameters))),
            lambda examples: examples,
            lambda distribution: distribution.mean(),
        )
    if likelihood == "discretized_logistic":

        def quantized(parameters):
            loc, scale = loc_and_scale(parameters)
            # Level y stands for all between y - 1/2 and y + 1/2; TFP's is for all between y - 1 and y.
            base = tfd.Logistic(127.5 * (loc + 1.0) - 0.5, 127.5 * scale)
            return independent(tfd.QuantizedDistribution(base, low=0.0, high=255.0))

        def location(distribution):
            return tf.clip_by_value((distribution.distribution.distribution.loc + 0.5) / 127.5 - 1.0, -1.0, 1.0)

        return Likelihood(quantized, lambda examples: tf.round(127.5 * (examples + 1.0)), location, "bounded")
    family = {"bernoulli": Bernoulli, "continuous_bernoulli": tfd.ContinuousBernoulli}[likelihood]
    return Likelihood(
        lambda parameters: independent(family(logits=parameters, dtype=tf.float32)),
        lambda examples: 0.5 * (examples + 1.0),
        lambda distribution: 2.0 * distribution.mean() - 1.0,
        "black_and_white" if likelihood == "bernoulli" else "bounded",
    )


def kl_divergence(posterior, prior, latents):
    """KL(posterior || prior), in closed form where TensorFlow Probability has one, else estimated from samples.

    Args:
        posterior: `tfd.Distribution` of batch shape (rows,).
        prior: `tfd.Distribution` over the same vectors.
        latents: Samples of the posterior, (samples, rows, dim).

    Returns:
        Tensor (rows,), in nats.

    Example:
        >>> posterior = tfd.MultivariateNormalDiag([[3.0, 4.0]], [[1.0, 1.0]])
        >>> np.round(kl_divergence(posterior, prior_of("standard_normal", 2), None), 3)  # |mean|^2 / 2
        array([12.5], dtype=float32)
    """
    try:
        return tfd.kl_divergence(posterior, prior)
    except NotImplementedError:
        return tf.reduce_mean(posterior.log_prob(latents) - prior.log_prob(latents), axis=0)
