"""Likelihoods, posteriors and KL terms against SciPy, closed forms and sums over all values."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from scipy.special import expit

from zoo import distributions

tfd = distributions.tfd
RNG = np.random.default_rng(0)
SHAPE = (2, 3, 1)


def softplus(x):
    return np.log1p(np.exp(x))


def log_prob(name, parameters, examples):
    likelihood = distributions.likelihood_of(name, parameters.shape[1:], examples.shape[1:])
    found = likelihood.distribution(tf.constant(parameters)).log_prob(likelihood.values(tf.constant(examples)))
    return likelihood, found.numpy()


def test_bernoulli_is_the_sum_of_logarithms_of_probabilities_also_for_extreme_logits():
    logits = (3 * RNG.normal(size=(4, *SHAPE))).astype("float32")
    images = np.where(RNG.uniform(size=logits.shape) < 0.5, 1, -1).astype("float32")
    likelihood, found = log_prob("bernoulli", logits, images)
    expected = stats.bernoulli.logpmf((images + 1) / 2, expit(logits.astype("float64"))).sum((1, 2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    _, extreme = log_prob("bernoulli", np.full((1, *SHAPE), 200, "float32"), -np.ones((1, *SHAPE), "float32"))
    np.testing.assert_allclose(extreme, -200 * 6)
    mean = likelihood.examples(likelihood.distribution(tf.constant(logits)))
    np.testing.assert_allclose(mean, 2 * expit(logits) - 1, atol=1e-6)


def test_continuous_bernoulli_has_its_normalising_constant():
    """Loaiza-Ganem and Cunningham 2019, equation 8: C(l) = 2 atanh(1 - 2 l) / (1 - 2 l)."""
    logits = RNG.normal(size=(4, *SHAPE)).astype("float32")
    images = RNG.uniform(-1, 1, logits.shape).astype("float32")
    _, found = log_prob("continuous_bernoulli", logits, images)
    lam, x = expit(logits.astype("float64")), (images + 1) / 2
    constant = 2 * np.arctanh(1 - 2 * lam) / (1 - 2 * lam)
    expected = np.log(constant) + x * np.log(lam) + (1 - x) * np.log(1 - lam)
    np.testing.assert_allclose(found, expected.sum((1, 2, 3)), rtol=1e-3, atol=1e-4)


def test_normal_is_scipys():
    parameters = RNG.normal(size=(4, 2, 3, 2)).astype("float32")
    examples = RNG.normal(size=(4, *SHAPE)).astype("float32")
    _, found = log_prob("normal", parameters, examples)
    scale = softplus(parameters[..., 1:].astype("float64")) + 1e-3
    expected = stats.norm.logpdf(examples, parameters[..., :1], scale).sum((1, 2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_discretized_logistic_has_256_levels_that_add_up_to_one():
    """Kingma et al. 2016, appendix A.3: sigma((x + 1/2 - m) / s) - sigma((x - 1/2 - m) / s), open at both ends."""
    levels = np.arange(256)
    images = (levels / 127.5 - 1).astype("float32").reshape(256, 1, 1, 1)
    for loc, raw in ((0.1, -3.0), (-0.98, -1.0), (1.3, 0.5)):
        parameters = np.broadcast_to(np.float32([loc, raw]), (256, 1, 1, 2))
        likelihood, found = log_prob("discretized_logistic", parameters, images)
        mean, scale = 127.5 * (loc + 1), 127.5 * (softplus(raw) + 1e-3)
        upper = np.where(levels == 255, 1.0, expit((levels + 0.5 - mean) / scale))
        lower = np.where(levels == 0, 0.0, expit((levels - 0.5 - mean) / scale))
        np.testing.assert_allclose(np.exp(found), upper - lower, rtol=2e-3, atol=1e-7)
        np.testing.assert_allclose(np.exp(found).sum(), 1, rtol=1e-4)
        drawn = likelihood.examples(likelihood.distribution(tf.constant(parameters[:1])))
        np.testing.assert_allclose(drawn, np.clip(loc, -1, 1), rtol=1e-5)
    # Far from the mean, where the difference of two sigmoids is 0 in float32: the logarithm still is a number.
    far = np.float32([-1.0, -8.0]).reshape(1, 1, 1, 2)
    with tf.GradientTape() as tape:
        far = tf.Variable(far)
        made = distributions.likelihood_of("discretized_logistic", (1, 1, 2), (1, 1, 1)).distribution(far)
        value = made.log_prob([[[127.0]]])
    assert np.isfinite(value).all() and value[0] < -500
    assert np.isfinite(tape.gradient(value, far)).all()


def test_kl_terms_have_their_closed_forms():
    """Kingma and Welling 2014, appendix B; for full covariances (tr S - log det S + m^2 - d) / 2."""
    diagonal = RNG.normal(size=(5, 6)).astype("float32")
    prior = distributions.prior_of("standard_normal", 3)
    found = distributions.kl_divergence(distributions.diagonal_normal(tf.constant(diagonal)), prior, None)
    mean, std = diagonal[:, :3].astype("float64"), softplus(diagonal[:, 3:].astype("float64"))
    np.testing.assert_allclose(found, 0.5 * (mean**2 + std**2 - 1 - 2 * np.log(std)).sum(1), rtol=1e-4)

    full = RNG.normal(size=(5, 9)).astype("float32")
    posterior = distributions.full_normal(tf.constant(full))
    covariance, mean = posterior.covariance().numpy().astype("float64"), full[:, :3]
    assert np.abs(covariance[:, 0, 1]).min() > 1e-3
    expected = 0.5 * (np.trace(covariance, axis1=1, axis2=2) - np.linalg.slogdet(covariance)[1] + (mean**2).sum(1) - 3)
    np.testing.assert_allclose(distributions.kl_divergence(posterior, prior, None), expected, rtol=1e-4)


def mixture(latent_dim):
    loc = tf.stack([tf.fill([latent_dim], -1.0), tf.fill([latent_dim], 1.0)])
    parts = tfd.MultivariateNormalDiag(loc, 0.5 * tf.ones_like(loc))
    return tfd.MixtureSameFamily(tfd.Categorical(probs=[0.5, 0.5]), parts)


def test_kl_without_a_closed_form_is_estimated_from_samples():
    """The oracle is SciPy's numerical integral of q log(q / p) over the line."""
    posterior = distributions.diagonal_normal(tf.constant([[0.3, -0.2]]))
    latents = posterior.bijector.forward(tf.constant(RNG.normal(size=(20_000, 1, 1)).astype("float32")))
    found = distributions.kl_divergence(posterior, mixture(1), latents)
    line = np.linspace(-9, 9, 20_001)
    q = stats.norm.pdf(line, 0.3, softplus(-0.2))
    p = 0.5 * stats.norm.pdf(line, -1, 0.5) + 0.5 * stats.norm.pdf(line, 1, 0.5)
    np.testing.assert_allclose(found, [np.trapezoid(q * np.log(q / p), line)], atol=0.01)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: distributions.posterior_of("diagonal_normal", 7, 4), "must put out 8 values for 4 latents.*: 7."),
        (lambda: distributions.posterior_of("full_normal", 8, 4), "must put out 14 values for 4 latents.*: 8."),
        (lambda: distributions.posterior_of("normal", 8, 4), "`posterior` must be one of 'diagonal_normal', 'full_n"),
        (lambda: distributions.posterior_of(lambda p: tfd.Normal(p, 1.0), 8, 4), "of standard normals.*Received: tfp"),
        (lambda: distributions.prior_of("normal", 4), "`prior` must be one of 'standard_normal'"),
        (lambda: distributions.prior_of(lambda dim: mixture(dim + 1), 4), r"over vectors \(4,\). Received: tfp"),
        (lambda: distributions.likelihood_of("poisson", SHAPE, SHAPE), "`likelihood` must be one of 'bernoulli'"),
        (
            lambda: distributions.likelihood_of("bernoulli", (2, 3, 2), SHAPE),
            r"one logit .* \(batch, 2, 3, 1\). Received: shape \(batch, 2, 3, 2\).*without `scale`",
        ),
        (
            lambda: distributions.likelihood_of("normal", SHAPE, SHAPE),
            r"a location and a raw scale .* \(batch, 2, 3, 2\). Received: .*`scale=\"shared\"`",
        ),
        (
            lambda: distributions.likelihood_of(lambda p: tfd.Normal(p, 1.0), SHAPE, SHAPE),
            r"over examples \(2, 3, 1\).*Received: tfp",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@keras.saving.register_keras_serializable("zoo_tests")
def laplace(parameters):
    return tfd.Independent(tfd.Laplace(parameters, 1.0), 1)


keras.saving.register_keras_serializable("zoo_tests")(mixture)


@pytest.mark.exhaustive
def test_distributions_of_the_users_own_train_sample_and_are_saved(tmp_path):
    from zoo import VAE, mlp_decoder, mlp_encoder

    points = RNG.normal(size=(16, 3)).astype("float32")
    model = VAE(mlp_encoder((3,), 4, (8,)), mlp_decoder((3,), 2, (8,)), likelihood=laplace, prior=mixture)
    model.compile()
    logs = model.fit(points, epochs=1, verbose=0).history
    expected = -stats.laplace.logpdf(points, model.reconstruct(points)).sum(1).mean()
    assert abs(logs["reconstruction_loss"][0] - expected) < 3
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.generate(3, seed=2), model.generate(3, seed=2))
    np.testing.assert_array_equal(model.generate(5, seed=2)[:3], model.generate(3, seed=2))
    model.export(tmp_path / "1")
