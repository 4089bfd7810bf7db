"""VAE: exact likelihoods of linear models, bounds, gradients, and what its users ask of it."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from zoo import VAE, mlp_decoder, mlp_encoder
from zoo.training import GlobalBatch

SHAPE = (4, 4, 1)


def grey(count=16, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *SHAPE)).astype("float32")


def black_and_white(count=16, seed=0):
    return np.sign(grey(count, seed))


def small(latent_dim=3, num_outputs=None, scale=None, **options):
    encoder = mlp_encoder(SHAPE, num_outputs or 2 * latent_dim, (8,), "tanh")
    return VAE(encoder, mlp_decoder(SHAPE, latent_dim, (8,), "tanh", scale), **options)


def digits():
    return (load_digits().images.reshape(-1, 64) / 8 - 1).astype("float32")


def linear(latent_dim):
    encoder = mlp_encoder((64,), 2 * latent_dim, ())
    return VAE(encoder, mlp_decoder((64,), latent_dim, (), scale="shared"), likelihood="normal")


@pytest.mark.exhaustive
def test_linear_vae_reaches_the_likelihood_of_probabilistic_pca():
    """Lucas et al. 2019: a linear VAE's best bound is pPCA's log-likelihood, which `PCA.score` has in closed form."""
    x = digits()
    expected = PCA(4).fit(x.astype("float64")).score(x.astype("float64"))
    model = linear(4)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, 500)))
    model.fit(tf.data.Dataset.from_tensors(x).cache().repeat(), steps_per_epoch=500, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.elbo(x)["elbo"].mean(), expected, rtol=5e-3)
    np.testing.assert_allclose(model.log_likelihood(x, 20).mean(), expected, rtol=5e-3)


def test_importance_weighted_estimate_bounds_the_exact_likelihood_and_tightens_with_k():
    """A linear decoder makes x normal with mean b and covariance W W^T + s^2, which SciPy evaluates."""
    x = digits()[:100]
    model = linear(2)
    kernel, bias, _ = model.decoder.get_weights()
    # A posterior wider than the prior, whatever x is, so that no weight is large.
    model.encoder.set_weights([np.zeros((64, 4)), np.float32([0, 0, 1, 1])])
    kernel, raw = 0.3 * kernel, np.float32(0)
    model.decoder.set_weights([kernel, bias, raw])
    scale = np.log1p(np.exp(raw)) + 1e-3
    covariance = kernel.T.astype("float64") @ kernel + scale**2 * np.eye(64)
    exact = multivariate_normal(bias, covariance).logpdf(x)
    bounds = [model.log_likelihood(x, count).mean() for count in (1, 10, 100, 3000)]
    assert bounds[0] < bounds[1] < bounds[2] < bounds[3] < exact.mean() + 0.02
    assert exact.mean() - bounds[0] > 0.3
    found = model.log_likelihood(x, 10_000)
    np.testing.assert_allclose(found, exact, atol=0.1)
    np.testing.assert_allclose(found.mean(), exact.mean(), atol=0.01)


def test_gradient_of_the_reparameterised_bound_is_that_of_the_score_function_on_average():
    """grad E f(z) = E f(z) grad log q(z): the likelihood's part, of one image, over 200,000 samples, in the means."""
    model, count = small(latent_dim=2), 200_000
    image = tf.constant(black_and_white(1))
    noise = tf.constant(np.random.default_rng(0).normal(size=(count, 1, 2)).astype("float32"))
    parameters = model.encoder(image)
    values = model._likelihood.values(image)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(parameters)
        posterior = model._posterior_of(parameters)
        latents = posterior.bijector.forward(noise)
        pathwise = tf.reduce_mean(model.likelihood_of(latents).log_prob(values))
        fixed = tf.stop_gradient(latents)
        rewards = tf.stop_gradient(model.likelihood_of(fixed).log_prob(values))
        score = tf.reduce_mean((rewards - tf.reduce_mean(rewards)) * posterior.log_prob(tf.identity(fixed)))
    expected, found = tape.gradient(pathwise, parameters), tape.gradient(score, parameters)
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_objective_adds_up_to_the_elbo_and_is_what_is_logged():
    model, images = small(kl_weight=0.5), black_and_white()
    model.compile(keras.optimizers.SGD(0.0))
    logs = model.fit(images, batch_size=16, shuffle=False, verbose=0).history
    noise = GlobalBatch(16, 0, 0).normal("posterior", (1, 3))
    log_likelihood, posterior, _ = model.terms_of(tf.constant(images), noise)
    np.testing.assert_allclose(logs["reconstruction_loss"], [-np.mean(log_likelihood)], rtol=1e-5)
    mean, std = posterior.mean().numpy(), posterior.stddev().numpy()
    kl = 0.5 * (mean**2 + std**2 - 1 - 2 * np.log(std)).sum(1)
    np.testing.assert_allclose(logs["kl_divergence"], [0.5 * kl.mean()], rtol=1e-5)
    parts = model.elbo(images)
    np.testing.assert_allclose(parts["kl_divergence"], kl, rtol=1e-5)
    np.testing.assert_allclose(parts["elbo"], parts["reconstruction"] - kl, rtol=1e-5)


def test_warm_up_raises_the_kl_weight_step_by_step():
    model = small(warm_up_steps=4)
    model.compile(keras.optimizers.SGD(0.0))
    weighted = [model.fit(black_and_white(), batch_size=16, verbose=0).history["kl_divergence"][0] for _ in range(6)]
    np.testing.assert_allclose(np.array(weighted) / weighted[-1], [0, 0.25, 0.5, 0.75, 1, 1], rtol=1e-5)


@pytest.mark.exhaustive
def test_more_samples_give_a_tighter_bound_in_training_and_the_same_on_any_execution(two_replicas):
    images, bounds, start = black_and_white(14), {}, None
    for count in (2, 50):
        model = small(num_samples=count)
        start = start or model.get_weights()
        model.set_weights(start)
        model.compile(keras.optimizers.SGD(0.0))
        assert model.terms == ("negative_bound",)
        bounds[count] = model.evaluate(images, batch_size=7, verbose=0)
    elbo = -model.elbo(images)["elbo"].mean()
    exact = -model.log_likelihood(images, 5000).mean()
    assert exact - 0.05 < bounds[50] < bounds[2] < elbo + 0.3
    start, results = None, []
    for scope, options in ((None, {}), (two_replicas, {"jit_compile": True, "gradient_accumulation_steps": 2})):
        with (scope or tf.distribute.get_strategy()).scope():
            model = small(num_samples=3, posterior="full_normal", num_outputs=9)
            start = start or model.get_weights()
            model.set_weights(start)
            model.compile(keras.optimizers.SGD(0.01), **options)
        model.fit(images, batch_size=7, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.exhaustive
def test_evaluate_and_validation_agree_on_any_number_of_replicas_and_move_nothing(two_replicas):
    """22 images in batches of 7 leave one for two replicas."""
    images, start, found = grey(22), None, []
    batches = tf.data.Dataset.from_tensor_slices(images).batch(7)
    for scope in (tf.distribute.get_strategy(), two_replicas):
        with scope.scope():
            model = small(binarize=True)
            start = start or model.get_weights()
            model.set_weights(start)
            model.compile(keras.optimizers.SGD(0.0), steps_per_execution=2)
        logs = model.fit(images[:7], batch_size=7, validation_data=batches, verbose=0).history
        steps = model.steps_taken
        evaluated = model.evaluate(images, batch_size=7, verbose=0, return_dict=True)
        assert model.steps_taken == steps == 1
        found.append([evaluated[name] for name in model.terms])
        np.testing.assert_allclose([logs[f"val_{name}"][0] for name in model.terms], found[-1])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_interpolation_is_the_straight_line_between_two_codes():
    model, images = small(), black_and_white(6)
    lines = model.interpolate(images[:3], images[3:], num_steps=5)
    assert lines.shape == (3, 5, *SHAPE)
    np.testing.assert_allclose(lines[:, 0], model.reconstruct(images[:3]), atol=1e-6)
    np.testing.assert_allclose(lines[:, -1], model.reconstruct(images[3:]), atol=1e-6)
    codes = model.encode(images)
    np.testing.assert_allclose(lines[:, 2], model.decode((codes[:3] + codes[3:]) / 2), atol=1e-6)


def test_estimates_repeat_from_their_seed():
    model, images = small(), black_and_white(5)
    for method in (model.log_likelihood, lambda x, count, seed: model.elbo(x, seed, batch_size=count)["elbo"]):
        np.testing.assert_array_equal(method(images, 3, seed=1), method(images, 3, seed=1))
        assert np.abs(method(images, 3, seed=1) - method(images, 3, seed=2)).max() > 1e-3
    np.testing.assert_allclose(model.elbo(images, batch_size=2)["elbo"], model.elbo(images)["elbo"], rtol=1e-5)
    served = model.signatures()["score"][0](images=images[:1], seed=tf.constant([7], tf.int64))
    np.testing.assert_allclose(served["elbo"], model.elbo(images[:1], seed=7)["elbo"], rtol=1e-5)


@functools.cache
def refusing(binarize=False):
    """One of each for all mistakes, which leave it as it was."""
    return small(binarize=binarize)


def fit(model, examples):
    model.compile()
    return model.fit(examples, verbose=0)


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda: fit(small(), grey()), 'Pixels must be -1 or 1 for likelihood "bernoulli".*`binarize=True`'),
        (lambda: refusing().elbo(grey()), "Pixels must be -1 or 1.*100 % between"),
        (lambda: refusing(binarize=True).log_likelihood(grey(), 2), "Pixels must be -1 or 1"),
        (
            lambda: fit(
                VAE(mlp_encoder((3,), 4), mlp_decoder((3,), 2), likelihood="continuous_bernoulli"),
                np.full((4, 3), 2, "float32"),
            ),
            r"Values must lie in \[-1, 1\] for likelihood 'continuous_bernoulli'. Received: min=2, max=2",
        ),
        (lambda: small(num_samples=0), "`num_samples` must be a whole number of at least 1. Received: 0"),
        (lambda: refusing().log_likelihood(black_and_white(), 0), "`num_samples` must be a whole number of at least 1"),
        (lambda: small(kl_weight=-1), "`kl_weight` must be a finite number of at least 0"),
        (lambda: small(num_outputs=5), "The encoder must put out 6 values for 3 latents"),
        (lambda: small(scale="shared"), "The decoder must put out one logit for each value"),
        (lambda: mlp_decoder(SHAPE, 0), "`latent_dim` must be a whole number of at least 1. Received: 0"),
        (
            lambda: VAE(mlp_encoder(SHAPE, 4), keras.Sequential([keras.Input((0,)), keras.layers.Dense(16)])),
            r"The decoder must take vectors, shape \(batch, dim\) with dim of 1 or more. Received: shape \(None, 0\)",
        ),
        (
            lambda: VAE(mlp_encoder(SHAPE, 4), mlp_decoder((5, 5, 1), 2)),
            r"shape \(batch, 4, 4, 1\). Received: shape \(batch, 5, 5, 1\)",
        ),
        (lambda: VAE(mlp_decoder(SHAPE, 2), mlp_decoder(SHAPE, 2)), "The encoder must put out vectors"),
        (lambda: refusing().encode(np.zeros((2, 3))), r"`encode` takes rows of shape \(batch, 4, 4, 1\)"),
        (lambda: refusing().decode(np.zeros(3)), "This is one row: add an axis"),
        (lambda: refusing().interpolate(grey(2), grey(2), 1), "`num_steps` must be a whole number of at least 2"),
        (lambda: refusing().elbo(np.ones((2, 3))), r"`elbo` takes rows of shape \(batch, 4, 4, 1\)"),
        (lambda: refusing().log_likelihood(np.ones((0, *SHAPE)), 5), "`log_likelihood` takes rows .* at least one"),
        (lambda: refusing().generate(2, seed=0.5), "`seed` must be a whole number"),
        (lambda: refusing().interpolate(grey(2), grey(3)), "As many first as second.*Received: 2 and 3"),
        (lambda: small().evaluate(grey()), "call `compile"),
    ],
)
def test_mistakes_are_answered(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_a_variance_that_is_not_finite_stops_training_with_advice():
    model = small()
    kernel, bias = model.encoder.layers[-1].get_weights()
    model.encoder.layers[-1].set_weights([kernel, np.full_like(bias, np.nan)])
    with pytest.raises(FloatingPointError, match="posterior's variance that is not finite"):
        fit(model, black_and_white())


def test_bits_are_only_counted_of_8_bit_values():
    """Levels lie 1 / 127.5 apart in [-1, 1], and 1 / 255 in [0, 1]; black and white, and points, have none of 256."""
    units = {
        "normal": small(scale="shared", likelihood="normal"),
        "continuous_bernoulli": small(likelihood="continuous_bernoulli"),
        "discretized_logistic": small(scale="shared", likelihood="discretized_logistic"),
        "bernoulli": small(),
    }
    expected = {"normal": 127.5, "continuous_bernoulli": 255, "discretized_logistic": 1, "bernoulli": None}
    assert {name: model.levels_per_unit for name, model in units.items()} == expected
    assert linear(2).levels_per_unit is None
