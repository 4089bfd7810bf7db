"""GAN: generative adversarial network (Goodfellow et al. 2014), with the networks of DCGAN or any others."""

import keras

from zoo.checks import check_choice, check_pair, check_positive
from zoo.losses.adversarial import discriminator_cross_entropy, minimax_generator, non_saturating_generator
from zoo.models import sampling
from zoo.training import TrainStepModel, minimize, update_average

GENERATOR_LOSSES = {"non_saturating": non_saturating_generator, "minimax": minimax_generator}


@keras.saving.register_keras_serializable("zoo")
class GAN(TrainStepModel):
    """Generator and discriminator in a two-player game (Goodfellow et al. 2014, algorithm 1).

    The discriminator maximises log D(x) + log(1 - D(G(z))); the generator minimises -log D(G(z)), or with
    `generator_loss="minimax"` log(1 - D(G(z))). With `dcgan_generator` and `dcgan_discriminator` this is DCGAN
    (Radford et al. 2016).

    Args:
        generator: `keras.Model` from latents (batch, latent_dim) to examples.
        discriminator: `keras.Model` from examples to logits (batch, 1).
        generator_loss: "non_saturating" or "minimax".
        discriminator_steps: Discriminator updates per generator update, k in the paper.
        generator_ema: Decay of a moving average of the generator, in [0, 1), which is then what `generate` and
            `export` use; None for none. A usual value is 0.999.
        seed: Seed of all random draws in training, a whole number.

    Examples to `fit` have shape (batch, *example_shape), images in [-1, 1]; each discriminator update sees the
    whole batch with fresh latents. With (batch, discriminator_steps, *example_shape), each sees its own examples.

    Raises:
        ValueError: If the networks do not fit each other or an argument is out of range.

    Example:
        model = GAN(dcgan_generator((28, 28, 1)), dcgan_discriminator((28, 28, 1)))
        model.compile()
        model.fit(images, epochs=20)
        model.generate(16, seed=0)  # (16, 28, 28, 1)
    """

    terms = ("discriminator_loss", "generator_loss")
    optimizer_networks = {"discriminator_optimizer": "discriminator", "generator_optimizer": "generator"}

    def __init__(
        self,
        generator,
        discriminator,
        *,
        generator_loss="non_saturating",
        discriminator_steps=1,
        generator_ema=None,
        seed=0,
        **kwargs,
    ):
        super().__init__(seed=seed, **kwargs)
        check_pair(generator, discriminator, "discriminator")
        check_choice("generator_loss", generator_loss, GENERATOR_LOSSES)
        check_positive("discriminator_steps", discriminator_steps)
        self.generator, self.discriminator = generator, discriminator
        self.generator_loss = generator_loss
        self.discriminator_steps = discriminator_steps
        self.generator_ema = generator_ema
        self.sampler = sampling.averaged(generator, generator_ema)
        self.example_shape = discriminator.input_shape[1:]

    def compile(self, discriminator_optimizer=None, generator_optimizer=None, **execution):
        """Sets the optimizers; the default for both is DCGAN's Adam(2e-4, beta_1=0.5).

        Args:
            discriminator_optimizer: Keras optimizer or its name.
            generator_optimizer: Keras optimizer or its name.
            **execution: Options of `TrainStepModel.compile_optimizers`: `jit_compile`, `steps_per_execution`,
                `gradient_accumulation_steps`, `run_eagerly`.
        """
        optimizers = {
            "discriminator_optimizer": discriminator_optimizer or keras.optimizers.Adam(2e-4, beta_1=0.5),
            "generator_optimizer": generator_optimizer or keras.optimizers.Adam(2e-4, beta_1=0.5),
        }
        self.compile_optimizers(optimizers, **execution)

    def discriminator_objective(self, examples, latents):
        """-log D(x) - log(1 - D(G(z))) per example."""
        real = self.discriminator(examples, training=True)
        fake = self.discriminator(self.generator(latents, training=True), training=True)
        return {"discriminator_loss": discriminator_cross_entropy(real, fake)}

    def generator_objective(self, latents):
        """-log D(G(z)), or log(1 - D(G(z))), per latent."""
        fake = self.discriminator(self.generator(latents, training=True), training=True)
        return {"generator_loss": GENERATOR_LOSSES[self.generator_loss](fake)}

    def train_step(self, examples):
        """`discriminator_steps` discriminator updates, then one of the generator."""
        batch = self.open_batch(examples)
        latent_shape = self.generator.input_shape[1:]
        for update, real in enumerate(sampling.shares(examples, self.discriminator_steps, self.example_shape)):
            latents = batch.normal("discriminator", latent_shape, update)
            discriminator = minimize(
                self.discriminator_objective,
                (real, latents),
                self.discriminator.trainable_variables,
                self.discriminator_optimizer,
                batch,
            )
        generator = minimize(
            self.generator_objective,
            (batch.normal("generator", latent_shape),),
            self.generator.trainable_variables,
            self.generator_optimizer,
            batch,
        )
        if self.generator_ema is not None:
            update_average(self.sampler, self.generator, self.generator_ema, self.step)
        return self.track(batch, **discriminator, **generator)

    def call(self, latents, training=False):
        """Examples (batch, *example_shape) from latents (batch, latent_dim)."""
        return self.sampler(latents, training=training)

    def generate(self, num_samples, seed=0):
        """Samples as a float32 array (num_samples, *example_shape); the same seed gives the same samples."""
        return sampling.generate(self.sampler, num_samples, seed)

    def signatures(self):
        """What is served: `serving_default` from latents, `sample` from one int64 seed per row."""
        return sampling.signatures(self.sampler)
