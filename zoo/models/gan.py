"""GAN: generative adversarial network (Goodfellow et al. 2014), with the networks of DCGAN or any others."""

import keras

from zoo.checks import check_choice, check_positive
from zoo.losses.adversarial import discriminator_cross_entropy, minimax_generator, non_saturating_generator
from zoo.training import LatentModel, averaged, check_judge, minimize, shares, with_shapes

GENERATOR_LOSSES = {"non_saturating": non_saturating_generator, "minimax": minimax_generator}


@keras.saving.register_keras_serializable("zoo")
class GAN(LatentModel):
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
        >>> model = GAN(dcgan_generator((28, 28, 1), filters=4), dcgan_discriminator((28, 28, 1), filters=4))
        >>> model.generate(16, seed=0).shape
        (16, 28, 28, 1)

        model = GAN(dcgan_generator((28, 28, 1)), dcgan_discriminator((28, 28, 1)))
        model.compile()
        model.fit(images, epochs=20)
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
        generator, discriminator = with_shapes(generator=generator, discriminator=discriminator)
        check_judge("discriminator", discriminator, generator)
        check_choice("generator_loss", generator_loss, GENERATOR_LOSSES)
        check_positive("discriminator_steps", discriminator_steps)
        self.generator, self.discriminator = generator, discriminator
        self.discriminator_steps = discriminator_steps
        self.generator_loss = generator_loss
        self.generator_ema, self.sampler = generator_ema, averaged(generator, generator_ema)

    def default_optimizer(self):
        """DCGAN's (section 4)."""
        return keras.optimizers.Adam(2e-4, beta_1=0.5)

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
        for update, real in enumerate(shares(examples, self.discriminator_steps, self.example_shape)):
            inputs = (real, self.latents(batch, "discriminator", update))
            discriminator = minimize(
                self.discriminator_objective, inputs, self.discriminator, self.discriminator_optimizer, batch
            )
        inputs = (self.latents(batch, "generator"),)
        generator = minimize(self.generator_objective, inputs, self.generator, self.generator_optimizer, batch)
        self.update_sampler()
        return self.track(batch, **discriminator, **generator)
