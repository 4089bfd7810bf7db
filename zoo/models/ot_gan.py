"""OT-GAN: minibatch energy distance in an adversarially learned feature space (Salimans et al. 2018)."""

import keras
from keras import ops

from zoo import ot
from zoo.checks import check_number, check_positive
from zoo.losses.adversarial import feature_gradient_penalty
from zoo.training import LatentModel, averaged, check_features, check_no_batch_norm, minimize, shares, with_shapes


@keras.saving.register_keras_serializable("zoo")
class OTGAN(LatentModel):
    """Generator of least minibatch energy distance, critic of most (Salimans et al. 2018, algorithm 1).

    Each batch of data and each batch generated is split into two independent halves, X, X' and Y, Y':

        D = W(X, Y) + W(X, Y') + W(X', Y) + W(X', Y') - 2 W(X, X') - 2 W(Y, Y')

    with W the entropic transport cost under the cosine cost between the critic's features, plans held fixed for
    gradients (equation 7). Its mean over batches is a distance between distributions, whatever the size of the batch.

    Args:
        generator: `keras.Model` from latents (batch, latent_dim) to examples.
        critic: `keras.Model` from examples to features (batch, num_features), of which only the direction counts.
        generator_steps: Generator updates per critic update; the paper's text has 3, its code 5.
        epsilon: Strength of the regularisation, above 0: 1 / lambda, and the paper's lambda is 500.
        max_iterations: Bound of the Sinkhorn iterations, which stop before where they have converged.
        gradient_penalty_weight: Weight of a penalty on the critic that keeps the slope of its unit features near 1
            between real and generated examples (`feature_gradient_penalty`); 0 for none, as in the paper. Ours: with
            batches of hundreds, where the paper has 8,000, a critic without it sets modes so far apart that no
            gradient leads from one to the other.
        generator_ema: Decay of a moving average of the generator, in [0, 1), which is then what `generate` and
            `export` use; None for none.
        seed: Seed of all random draws in training, a whole number.

    Examples to `fit` have shape (batch, *example_shape), at least two and best hundreds, images in [-1, 1]. Halves are
    those of the whole batch over all replicas; of an odd batch, one example is left out. Each update sees the whole
    batch; with (batch, generator_steps + 1, *example_shape), each sees its own, the critic the first.

    Logs have `marginal_error` beside the terms: by how much of the mass, counted on both sides, the worst plan of a
    step misses its marginals, a mean over steps. Above 0.01 or so gradients are off: raise `max_iterations` or
    `epsilon`.

    Raises:
        ValueError: If the networks do not fit each other or an argument is out of range.

    Example:
        >>> model = OTGAN(mlp_generator((2,)), mlp_critic((2,), num_features=16))
        >>> model.generate(16, seed=0).shape
        (16, 2)

        model = OTGAN(dcgan_generator((28, 28, 1)), dcgan_critic((28, 28, 1), num_features=256))
        model.compile()
        model.fit(images, batch_size=256, epochs=20)
    """

    optimizer_networks = {"critic_optimizer": "critic", "generator_optimizer": "generator"}
    smallest_batch = 2
    gauges = ("marginal_error",)

    def __init__(
        self,
        generator,
        critic,
        *,
        generator_steps=3,
        epsilon=1 / 500,
        max_iterations=500,
        gradient_penalty_weight=0.0,
        generator_ema=0.999,
        seed=0,
        **kwargs,
    ):
        penalty = ["gradient_penalty"] * (gradient_penalty_weight != 0)
        super().__init__(seed=seed, terms=["critic_loss", *penalty, "generator_loss"], **kwargs)
        generator, critic = with_shapes(generator=generator, critic=critic)
        check_features(critic, generator)
        check_positive("generator_steps", generator_steps)
        check_number("gradient_penalty_weight", gradient_penalty_weight, 0)
        if gradient_penalty_weight:
            check_no_batch_norm(critic)
        check_number("epsilon", epsilon, 0, above=True)
        check_positive("max_iterations", max_iterations)
        self.generator, self.critic = generator, critic
        self.generator_steps = generator_steps
        self.gradient_penalty_weight = gradient_penalty_weight
        self.epsilon, self.max_iterations = epsilon, max_iterations
        self.generator_ema, self.sampler = generator_ema, averaged(generator, generator_ema)

    def default_optimizer(self):
        """The paper's (section 5)."""
        return keras.optimizers.Adam(3e-4, beta_1=0.5, beta_2=0.999)

    def distance(self, real, fake):
        """D of features of real and of generated examples, (size, num_features) each; a scalar."""
        return self.solve(real, fake)[0]

    def solve(self, real, fake):
        """`distance`, and {"marginal_error": how far its plans are from solutions}."""
        size = ops.shape(real)[0]
        # A lone example, as the last batch of an epoch may hold, is both halves.
        half = max(size // 2, 1) if isinstance(size, int) else ops.maximum(size // 2, 1)
        halves = real[:half], real[size - half :], fake[:half], fake[size - half :]
        options = {"max_iterations": self.max_iterations, "return_result": True}
        found = ot.minibatch_energy_distance(*halves, self.epsilon, **options)
        return found.value, {"marginal_error": found.marginal_error}

    def negative(self, real, fake):
        """What the critic lowers: -D, and what `solve` tells of it."""
        value, told = self.solve(real, fake)
        return -value, told

    def unit_features(self, examples):
        """The critic's features as the cosine cost sees them, (batch, num_features) of length 1."""
        return ops.normalize(ops.cast(self.critic(examples, training=True), "float32"), axis=-1, epsilon=1e-6)

    def critic_objective(self, examples, latents, mix):
        """Features that -D is made of, and the weighted penalty per example."""
        fake = self.generator(latents, training=True)
        features = self.unit_features(examples), self.unit_features(fake)
        terms = {"critic_loss": features}
        if self.gradient_penalty_weight:
            penalty = feature_gradient_penalty(self.unit_features, examples, fake, features, mix)
            terms["gradient_penalty"] = self.gradient_penalty_weight * penalty
        return terms

    def generator_objective(self, examples, latents):
        """Features that D is made of."""
        return {
            "generator_loss": (self.unit_features(examples), self.unit_features(self.generator(latents, training=True)))
        }

    def train_step(self, examples):
        """One critic update that raises the distance, then `generator_steps` of the generator that lower it."""
        batch = self.open_batch(examples)
        first, *others = shares(examples, 1 + self.generator_steps, self.example_shape)
        inputs = (first, self.latents(batch, "critic"), batch.uniform("mix"))
        moved, joint = (self.critic, self.critic_optimizer), {"critic_loss": self.negative}
        critic = minimize(self.critic_objective, inputs, *moved, batch, joint)
        errors = [critic.pop("marginal_error")]
        moved, joint = (self.generator, self.generator_optimizer), {"generator_loss": self.solve}
        for update, real in enumerate(others):
            inputs = (real, self.latents(batch, "generator", update))
            generator = minimize(self.generator_objective, inputs, *moved, batch, joint)
            errors.append(generator.pop("marginal_error"))
            self.update_sampler()
        return self.track(batch, marginal_error=ops.max(errors), **critic, **generator)
