"""WGAN-GP: Wasserstein GAN with gradient penalty (Gulrajani et al. 2017)."""

from functools import partial

import keras

from zoo.checks import check_number, check_positive
from zoo.losses.adversarial import gradient_penalty, wasserstein_critic, wasserstein_generator
from zoo.training import LatentModel, averaged, check_judge, check_no_batch_norm, minimize, shares, with_shapes


@keras.saving.register_keras_serializable("zoo")
class WGANGP(LatentModel):
    """Generator and critic, the critic kept Lipschitz by a penalty on its gradient (Gulrajani et al. 2017).

    The critic minimises f(G(z)) - f(x) + lambda (|grad f(x^)| - 1)^2 with x^ uniform on the lines between real and
    generated examples (algorithm 1); the generator minimises -f(G(z)).

    Args:
        generator: `keras.Model` from latents (batch, latent_dim) to examples.
        critic: `keras.Model` from examples to scores (batch, 1), without batch normalisation, which would tie the
            examples of a batch together; layer normalisation takes its place.
        critic_steps: Critic updates per generator update.
        gradient_penalty_weight: Lambda in the paper; its toy examples use 0.1. Slopes are those per unit of the
            examples, for images in [-1, 1] as in the authors' code; in [0, 1] they would be twice as large.
        generator_ema: Decay of a moving average of the generator, in [0, 1), which is then what `generate` and
            `export` use; None for none.
        seed: Seed of all random draws in training, a whole number.

    Examples to `fit` have shape (batch, *example_shape), images in [-1, 1]; each critic update sees the whole batch
    with fresh latents. With (batch, critic_steps, *example_shape), each sees its own, as in the paper.

    Raises:
        ValueError: If the networks do not fit each other, the critic has batch normalisation, or an argument is out
            of range.

    Example:
        >>> model = WGANGP(mlp_generator((2,)), mlp_critic((2,)), gradient_penalty_weight=0.1)
        >>> model.generate(16, seed=0).shape
        (16, 2)

        model = WGANGP(dcgan_generator((28, 28, 1), norm="layer"), dcgan_critic((28, 28, 1)))
        model.compile()
        model.fit(images, batch_size=64, epochs=20)
    """

    terms = ("critic_loss", "gradient_penalty", "generator_loss")
    optimizer_networks = {"critic_optimizer": "critic", "generator_optimizer": "generator"}

    def __init__(
        self,
        generator,
        critic,
        *,
        critic_steps=5,
        gradient_penalty_weight=10.0,
        generator_ema=None,
        seed=0,
        **kwargs,
    ):
        super().__init__(seed=seed, **kwargs)
        generator, critic = with_shapes(generator=generator, critic=critic)
        check_judge("critic", critic, generator)
        check_no_batch_norm(critic)
        check_positive("critic_steps", critic_steps)
        check_number("gradient_penalty_weight", gradient_penalty_weight, 0)
        self.generator, self.critic = generator, critic
        self.critic_steps = critic_steps
        self.gradient_penalty_weight = gradient_penalty_weight
        self.generator_ema, self.sampler = generator_ema, averaged(generator, generator_ema)

    def default_optimizer(self):
        """The paper's (algorithm 1)."""
        return keras.optimizers.Adam(1e-4, beta_1=0.0, beta_2=0.9)

    def critic_objective(self, examples, latents, mix):
        """f(G(z)) - f(x) and the weighted penalty, per example."""
        critic = partial(self.critic, training=True)
        fake = self.generator(latents, training=True)
        penalty = gradient_penalty(critic, examples, fake, mix)
        return {
            "critic_loss": wasserstein_critic(critic(examples), critic(fake)),
            "gradient_penalty": self.gradient_penalty_weight * penalty,
        }

    def generator_objective(self, latents):
        """-f(G(z)) per latent."""
        fake = self.critic(self.generator(latents, training=True), training=True)
        return {"generator_loss": wasserstein_generator(fake)}

    def train_step(self, examples):
        """`critic_steps` critic updates, then one of the generator."""
        batch = self.open_batch(examples)
        for update, real in enumerate(shares(examples, self.critic_steps, self.example_shape)):
            inputs = (real, self.latents(batch, "critic", update), batch.uniform("mix", update=update))
            critic = minimize(self.critic_objective, inputs, self.critic, self.critic_optimizer, batch)
        inputs = (self.latents(batch, "generator"),)
        generator = minimize(self.generator_objective, inputs, self.generator, self.generator_optimizer, batch)
        self.update_sampler()
        return self.track(batch, **critic, **generator)
