"""WGAN: Wasserstein GAN with weight clipping (Arjovsky, Chintala, Bottou 2017)."""

import keras
from keras import ops

from zoo.checks import check_choice, check_number, check_positive
from zoo.losses.adversarial import wasserstein_critic, wasserstein_generator
from zoo.training import (
    LatentModel,
    TrainFunction,
    averaged,
    check_judge,
    minimize,
    shares,
    update_each,
    whole_number,
    with_shapes,
)


@keras.saving.register_keras_serializable("zoo")
class WGAN(LatentModel):
    """Generator and critic, the critic kept Lipschitz by clipping its weights (Arjovsky et al. 2017, algorithm 1).

    The critic minimises f(G(z)) - f(x), so that -`critic_loss` estimates a multiple of the Wasserstein-1 distance;
    after each update its weights are clipped to [-clip, clip]. The generator minimises -f(G(z)).

    Args:
        generator: `keras.Model` from latents (batch, latent_dim) to examples.
        critic: `keras.Model` from examples to scores (batch, 1), no activation at the end.
        critic_steps: Critic updates per generator update.
        clip: Bound on the absolute value of each weight of the critic, above 0.
        long_critic_phases: As in the authors' code, train the critic 100 times instead of `critic_steps` for each
            of the first 25 generator updates and for every 500th. The steps of such a phase update the critic only.
        generator_ema: Decay of a moving average of the generator, in [0, 1), which is then what `generate` and
            `export` use; None for none.
        seed: Seed of all random draws in training, a whole number.

    Examples to `fit` have shape (batch, *example_shape), images in [-1, 1]; each critic update sees the whole batch
    with fresh latents. With (batch, critic_steps, *example_shape), each sees its own, as in the paper.

    Raises:
        ValueError: If the networks do not fit each other or an argument is out of range.

    Example:
        >>> model = WGAN(mlp_generator((2,)), mlp_critic((2,)))
        >>> model.generate(16, seed=0).shape
        (16, 2)

        model.compile()
        model.fit(points, batch_size=64, epochs=20)
    """

    terms = ("critic_loss", "generator_loss")
    optimizer_networks = {"critic_optimizer": "critic", "generator_optimizer": "generator"}

    def __init__(
        self,
        generator,
        critic,
        *,
        critic_steps=5,
        clip=0.01,
        long_critic_phases=False,
        generator_ema=None,
        seed=0,
        **kwargs,
    ):
        super().__init__(seed=seed, **kwargs)
        generator, critic = with_shapes(generator=generator, critic=critic)
        check_judge("critic", critic, generator)
        check_positive("critic_steps", critic_steps)
        check_number("clip", clip, 0, above=True)
        check_choice("long_critic_phases", long_critic_phases, (True, False))
        self.generator, self.critic = generator, critic
        self.critic_steps = critic_steps
        self.clip = clip
        self.long_critic_phases = long_critic_phases
        self.generator_ema, self.sampler = generator_ema, averaged(generator, generator_ema)

    def default_optimizer(self):
        """The paper's (algorithm 1)."""
        return keras.optimizers.RMSprop(5e-5)

    def compile(self, *optimizers, **options):
        """`TrainStepModel.compile`; `long_critic_phases` need `steps_per_execution=1`."""
        if self.long_critic_phases and options.get("steps_per_execution", 1) != 1:
            raise ValueError(
                "`long_critic_phases` chooses between two train functions step by step and needs "
                f"`steps_per_execution=1`. Received: {options['steps_per_execution']}."
            )
        super().compile(*optimizers, **options)

    def critic_objective(self, examples, latents):
        """f(G(z)) - f(x) per example."""
        real = self.critic(examples, training=True)
        fake = self.critic(self.generator(latents, training=True), training=True)
        return {"critic_loss": wasserstein_critic(real, fake)}

    def generator_objective(self, latents):
        """-f(G(z)) per latent."""
        fake = self.critic(self.generator(latents, training=True), training=True)
        return {"generator_loss": wasserstein_generator(fake)}

    def train_step(self, examples):
        """`critic_steps` critic updates, each followed by clipping, then one of the generator."""
        batch = self.open_batch(examples)
        critic = self.train_critic(examples, batch)
        inputs = (self.latents(batch, "generator"),)
        generator = minimize(self.generator_objective, inputs, self.generator, self.generator_optimizer, batch)
        self.update_sampler()
        return self.track(batch, **critic, **generator)

    def train_critic(self, examples, batch):
        """`critic_steps` critic updates; returns the terms of the last."""
        for update, real in enumerate(shares(examples, self.critic_steps, self.example_shape)):
            inputs = (real, self.latents(batch, "critic", update))
            terms = minimize(self.critic_objective, inputs, self.critic, self.critic_optimizer, batch)
            update_each(lambda weight: ops.clip(weight, -self.clip, self.clip), self.critic.trainable_variables)
        return terms

    def critic_only_step(self, examples):
        """A step of a long critic phase: `critic_steps` critic updates and none of the generator."""
        batch = self.open_batch(examples)
        return self.track(batch, **self.train_critic(examples, batch))

    def make_train_function(self, force=False):
        """With long critic phases one compiled function for each kind of step; the host chooses."""
        if not self.long_critic_phases:
            return super().make_train_function(force)
        if self.train_function is None or force:
            full_step = TrainFunction(self, self.train_step)
            critic_only_step = TrainFunction(self, self.critic_only_step)
            self.train_function = lambda iterator: (full_step if self.generator_is_due() else critic_only_step)(
                iterator
            )
        return self.train_function

    def generator_is_due(self):
        """Whether the next step updates the generator: always, but for all steps but the last of a long phase."""
        generator_updates = whole_number(self.generator_optimizer.iterations)
        steps_of_phase = -(-100 // self.critic_steps)
        phases_before = min(generator_updates, 25) + max(0, (generator_updates - 1) // 500)
        steps_before = generator_updates + phases_before * (steps_of_phase - 1)
        in_phase = generator_updates < 25 or generator_updates % 500 == 0
        return self.steps_taken - steps_before >= (steps_of_phase - 1 if in_phase else 0)
