"""VAE: variational autoencoder (Kingma, Welling 2014), with the importance-weighted bound (Burda et al. 2016)."""

import zlib
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from zoo import distributions, random
from zoo.checks import check_choice, check_number, check_positive, check_whole
from zoo.losses.variational import binarize, importance_weighted_bound
from zoo.rows import finite_only
from zoo.training import CodeModel, check_coder, draw_keys, first_draw_keys, latents_of, minimize, rows_of, with_shapes

# Examples, and samples of each, that `log_likelihood` takes at a time.
_ROWS, _SAMPLES = 100, 100


@keras.saving.register_keras_serializable("zoo")
class VAE(CodeModel):
    """Latent variable model p(z) p(x|z), trained with an encoder q(z|x) on a lower bound of log p(x).

    With one sample z the bound is E log p(x|z) - KL(q(z|x) || p(z)) (Kingma, Welling 2014, equation 3), the KL in
    closed form where there is one; with k it is log (1/k) sum_i p(x, z_i) / q(z_i|x) (Burda et al. 2016, equation 8).
    Samples are reparameterised: z is a function of the encoder's outputs and of standard normal noise.

    Args:
        encoder: `keras.Model` from examples to the posterior's parameters, (batch, 2 latent_dim) for a diagonal
            normal: means and raw scales.
        decoder: `keras.Model` from latents (batch, latent_dim) to the likelihood's parameters: for "bernoulli" and
            "continuous_bernoulli" logits (batch, *example_shape); for "normal" and "discretized_logistic" twice as
            many channels, locations and raw scales. Scales are the softplus of what is raw.
        likelihood: "bernoulli", for black and white images; "continuous_bernoulli", for grey ones (Loaiza-Ganem,
            Cunningham 2019); "normal"; "discretized_logistic", over 256 levels (Kingma et al. 2016, appendix A.3; it
            rounds images to them); or a function of parameters (..., *output_shape) that returns a `tfd.Distribution`
            over examples, registered with Keras if the model is to be saved.
        posterior: "diagonal_normal", "full_normal", or a function of parameters that returns a
            `tfd.TransformedDistribution` of standard normals.
        prior: "standard_normal", or a function of `latent_dim` that returns a `tfd.Distribution`.
        num_samples: k, samples of z per example; 1 for the evidence lower bound.
        kl_weight: Weight of log q(z|x) - log p(z), beta of Higgins et al. 2017; 1 for a bound.
        warm_up_steps: Steps in which that weight rises linearly from 0 (Sønderby et al. 2016); 0 for none.
        binarize: Whether grey pixels are probabilities of white, drawn anew at each training step.
        seed: Seed of all random draws in training, a whole number.

    Examples to `fit` have shape (batch, *example_shape), images in [-1, 1]. Log-likelihoods are in nats per example; a
    density counts pixels in [0, 1] for "continuous_bernoulli" and in the examples' own unit for "normal". `evaluate`
    and `validation_data` give the terms of the bound on held-out examples, with a `kl_weight` of 1.

    Raises:
        ValueError: If the networks do not fit each other or the distributions, or an argument is out of range.

    Example:
        >>> encoder = mlp_encoder((28, 28, 1), 2 * 50, hidden=(200, 200))
        >>> model = VAE(encoder, mlp_decoder((28, 28, 1), 50, hidden=(200, 200)), binarize=True)
        >>> model.generate(16, seed=0).shape
        (16, 28, 28, 1)

        model.compile()
        model.fit(images, epochs=20)
        model.log_likelihood(np.where(test_images > 0, 1.0, -1.0))  # nats of each image
    """

    code_name = "latents"
    remedy = (
        "Look for NaN or unscaled values in the data, lower the learning rate, or warm the KL term up; a posterior's "
        "variance that is not finite comes from an encoder whose weights have run away."
    )

    def __init__(
        self,
        encoder,
        decoder,
        *,
        likelihood="bernoulli",
        posterior="diagonal_normal",
        prior="standard_normal",
        num_samples=1,
        kl_weight=1.0,
        warm_up_steps=0,
        binarize=False,
        seed=0,
        **kwargs,
    ):
        check_positive("num_samples", num_samples)
        terms = ["reconstruction_loss", "kl_divergence"] if num_samples == 1 else ["negative_bound"]
        super().__init__(seed=seed, terms=terms, **kwargs)
        encoder, decoder = with_shapes(encoder=encoder, decoder=decoder)
        check_coder(encoder, decoder)
        check_number("kl_weight", kl_weight, 0)
        check_whole("warm_up_steps", warm_up_steps, low=0)
        check_choice("binarize", binarize, (True, False))
        latent_dim = decoder.input_shape[1]
        self._posterior_of = distributions.posterior_of(posterior, encoder.output_shape[1], latent_dim)
        distributions.prior_of(prior, latent_dim)
        self._likelihood = distributions.likelihood_of(likelihood, decoder.output_shape[1:], encoder.input_shape[1:])
        self.likelihood, self.posterior, self.prior = likelihood, posterior, prior
        self.num_samples, self.kl_weight, self.warm_up_steps = num_samples, kl_weight, warm_up_steps
        self.binarize = binarize
        self.encoder, self.decoder = encoder, decoder

    @property
    def levels_per_unit(self):
        """8-bit levels in one unit of the values that the likelihood is over, for `zoo.losses.variational`.

        None where values are no 8-bit levels: of points, of black and white images, or of a likelihood of one's own.
        """
        levels = None if callable(self.likelihood) else distributions.LEVELS_PER_UNIT.get(self.likelihood)
        return levels if len(self.example_shape) == 3 else None

    @property
    def _prior(self):
        return distributions.prior_of(self.prior, self.code_dim)

    def default_optimizer(self):
        """Adam at 1e-3; the paper has Adagrad."""
        return keras.optimizers.Adam(1e-3)

    def posterior_of(self, examples, training=False):
        """q(z|x), a `tfd.Distribution` of batch shape (batch,) over vectors (latent_dim,)."""
        return self._posterior_of(tf.cast(self.encoder(examples, training=training), tf.float32))

    def likelihood_of(self, latents, training=False):
        """p(x|z) of latents (..., latent_dim), a `tfd.Distribution` of that batch shape over one example."""
        parameters = self.decoder(tf.reshape(latents, (-1, self.code_dim)), training=training)
        shape = tf.concat([tf.shape(latents)[:-1], parameters.shape[1:]], 0)
        return self._likelihood.distribution(tf.reshape(tf.cast(parameters, tf.float32), shape))

    def terms_of(self, examples, noise, training=False):
        """log p(x|z) of samples z of the posterior, the posterior, and the samples.

        Args:
            examples: (batch, *example_shape).
            noise: Standard normal numbers (batch, k, latent_dim).
            training: Whether the networks are in training mode.

        Returns:
            log p(x|z), (k, batch); `tfd.Distribution` q(z|x); z, (k, batch, latent_dim).
        """
        posterior = self.posterior_of(examples, training)
        latents = posterior.bijector.forward(tf.transpose(noise, (1, 0, 2)))
        values = self._likelihood.values(tf.cast(examples, tf.float32))
        return self.likelihood_of(latents, training).log_prob(values), posterior, latents

    def objective(self, examples, noise, kl_weight, training=True):
        """-log p(x|z) and the weighted KL of each example, or with several samples the negative bound."""
        log_likelihood, posterior, latents = self.terms_of(examples, noise, training)
        if self.num_samples == 1:
            kl = distributions.kl_divergence(posterior, self._prior, latents)
            return {"reconstruction_loss": -log_likelihood[0], "kl_divergence": kl_weight * kl}
        ratio = posterior.log_prob(latents) - self._prior.log_prob(latents)
        return {"negative_bound": -importance_weighted_bound(log_likelihood - kl_weight * ratio)}

    def train_step(self, examples):
        """One update of encoder and decoder."""
        batch = self.open_batch(examples)
        weight = self.kl_weight
        if self.warm_up_steps:
            weight *= tf.minimum(1.0, tf.cast(batch.step, tf.float32) / self.warm_up_steps)

        objective, inputs = partial(self.objective, kl_weight=weight), self.inputs_of(batch, examples)
        terms = minimize(objective, inputs, (self.encoder, self.decoder), self.optimizer, batch)
        return self.track(batch, **terms)

    def test_step(self, examples):
        """The terms of the bound, with a KL weight of 1."""
        batch = self.open_batch(examples)
        return self.observe(batch, **self.objective(*self.inputs_of(batch, examples), 1.0, training=False))

    def inputs_of(self, batch, examples):
        """Examples, black and white if they are to be, and the noise of their latents."""
        if self.binarize:
            examples = binarize(examples, batch.uniform("pixels", self.example_shape))
        return examples, batch.normal("posterior", (self.num_samples, self.code_dim))

    def codes_of(self, examples):
        """Means of the posteriors, (batch, latent_dim)."""
        return self.posterior_of(examples).mean()

    def examples_from(self, latents):
        """Means of the likelihoods, (batch, *example_shape)."""
        return self._likelihood.examples(self.likelihood_of(latents))

    def check_fit(self, given):
        """Checks what `fit` or `evaluate` is given, and that pixels lie in the likelihood's support."""
        examples = super().check_fit(given)
        if examples is not None:
            self.check_support(examples, grey=self.binarize)
        return examples

    def check_support(self, examples, grey=False):
        """Checks that examples are what the likelihood is over.

        Args:
            examples: Array (n, *example_shape).
            grey: Whether values between -1 and 1 are probabilities.

        Raises:
            ValueError: If a value is outside the support.
        """
        support = self._likelihood.support
        low, high = examples.min(), examples.max()
        if support is not None and (low < -1 - 1e-3 or high > 1 + 1e-3):
            raise ValueError(
                f"Values must lie in [-1, 1] for likelihood {self.likelihood!r}. Received: min={low:g}, max={high:g}. "
                'Scale them, or take likelihood="normal".'
            )
        if support == "black_and_white" and not grey and (np.abs(examples) != 1).any():
            share = np.mean(np.abs(examples) != 1)
            raise ValueError(
                'Pixels must be -1 or 1 for likelihood "bernoulli", which gives no probability to what lies between. '
                f"Received: {100 * share:.0f} % between. Pass `binarize=True`, which draws grey pixels anew at each "
                "training step; or black and white images, `np.where(images > 0, 1.0, -1.0)`; or take "
                'likelihood="continuous_bernoulli".'
            )

    def generate(self, num_samples, seed=0, batch_size=256):
        """Means of p(x|z) for z of the prior, a float32 array (num_samples, *example_shape).

        The same seed gives the same samples, and the first n of a larger draw are those of a draw of n.
        """
        check_positive("num_samples", num_samples)
        latents = self.compiled_once("prior_sample", self.prior_sample)(draw_keys(seed, num_samples))
        return self.decode(latents, batch_size)

    def prior_sample(self, keys):
        """One latent of the prior for each key (rows, 2) of whole numbers: (rows, latent_dim)."""
        if hasattr(self._prior, "bijector"):
            return self._prior.bijector.forward(latents_of(keys, self.code_dim))
        spec = tf.TensorSpec((self.code_dim,), tf.float32)
        return tf.map_fn(lambda key: self._prior.sample(seed=tf.cast(key, tf.int32)), keys, fn_output_signature=spec)

    def elbo(self, examples, seed=0, batch_size=256):
        """The evidence lower bound of each example, and its terms, with one sample of z.

        Args:
            examples: (n, *example_shape).
            seed: Whole number; the same seed gives the same numbers.
            batch_size: Examples at a time.

        Returns:
            {"elbo", "reconstruction", "kl_divergence"}: float32 arrays (n,) in nats; the first is the second less the
            third.

        Raises:
            ValueError: If a value lies outside the likelihood's support.
        """
        examples = rows_of("elbo", examples, self.example_shape)
        self.check_support(examples)
        keys = draw_keys(seed, len(examples))
        return self.in_batches("elbo", self.score, examples, self.example_shape, batch_size, keys)

    def score(self, examples, keys):
        """The evidence lower bound and its terms, tensors (batch,), of noise for keys (batch, 2), whole numbers."""
        log_likelihood, posterior, latents = self.terms_of(examples, latents_of(keys, self.code_dim)[:, None])
        kl = distributions.kl_divergence(posterior, self._prior, latents)
        return {"elbo": log_likelihood[0] - kl, "reconstruction": log_likelihood[0], "kl_divergence": kl}

    def log_likelihood(self, examples, num_samples=5000, seed=0, progress=None):
        """log p(x) of each example, estimated by importance sampling from q(z|x): a lower bound on average.

        Burda et al. 2016, equation 8, with k = `num_samples`.

        Args:
            examples: (n, *example_shape).
            num_samples: k, taken in parts that are added up; 5,000 is the literature's number.
            seed: Whole number; the same seed gives the same numbers.
            progress: Function that is called with the number of examples done, or None.

        Returns:
            float32 array (n,), in nats.

        Raises:
            ValueError: If a value lies outside the likelihood's support, or `num_samples` is below 1.
        """
        check_positive("num_samples", num_samples)
        check_whole("seed", seed, low=-(2**63), high=2**63 - 1)
        examples = rows_of("log_likelihood", examples, self.example_shape)
        self.check_support(examples)
        estimate = self.compiled_once("log_weights", self.summed_weights)
        results = []
        for start in range(0, len(examples), _ROWS):
            rows = tf.constant(examples[start : start + _ROWS])
            total, key = tf.fill([len(rows)], -np.inf), zlib.crc32(f"{seed}/{start}".encode()) & 0x7FFFFFFF
            for part, first in enumerate(range(0, num_samples, _SAMPLES)):
                count = min(_SAMPLES, num_samples - first)
                noise = random.normal((len(rows), count, self.code_dim), tf.constant([key, part]))
                total = estimate(rows, noise, total)
            results.append(total.numpy() - np.log(num_samples))
            if progress:
                progress(start + len(rows))
        return np.concatenate(results).astype("float32")

    def summed_weights(self, examples, noise, total):
        """log of the sum of exp(total) and of p(x, z) / q(z|x) over the samples z of noise (batch, k, latent_dim)."""
        log_likelihood, posterior, latents = self.terms_of(examples, noise)
        log_weights = log_likelihood + self._prior.log_prob(latents) - posterior.log_prob(latents)
        return tf.reduce_logsumexp(tf.concat([total[None], log_weights], 0), axis=0)

    def signatures(self):
        """What is served: besides those of every autoencoder `sample`, and `score`, the evidence lower bound.

        Both take one int64 seed per row.
        """
        base = super().signatures()
        examples = base["encode"][1]
        seeds = {"seed": tf.TensorSpec((None,), tf.int64)}

        def sample(seed):
            return {self.example_name: self.examples_from(self.prior_sample(first_draw_keys(seed)))}

        def score(seed, **given):
            return self.score(*given.values(), first_draw_keys(seed))

        return {**base, "sample": (sample, seeds), "score": (finite_only(score), {**examples, **seeds})}
