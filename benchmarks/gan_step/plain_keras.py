"""The same networks in a `keras.Model` with a loop written by hand."""

import keras
import tensorflow as tf

from benchmarks.gan_step.ours import Zoo
from benchmarks.gan_step.problem import CRITIC_STEPS, LATENT_DIM, PENALTY_WEIGHT


class PlainKeras(Zoo):
    """The same networks in a `keras.Model` as one writes it by hand."""

    def _build(self, jit_compile):
        model = HandWritten(self.generator, self.critic)
        model.compile(
            keras.optimizers.Adam(1e-4, beta_1=0.0, beta_2=0.9), keras.optimizers.Adam(1e-4, beta_1=0.0, beta_2=0.9)
        )
        return model

    def _critic_terms(self, images, latents, mix):
        fake = self.generator(latents, training=True)
        critic_loss = tf.reduce_mean(self.critic(fake)) - tf.reduce_mean(self.critic(images))
        mix = tf.reshape(mix, (-1, 1, 1, 1))
        return critic_loss, PENALTY_WEIGHT * self.model.gradient_penalty(images, fake, mix)


class HandWritten(keras.Model):
    """A WGAN-GP as tutorials write it."""

    def __init__(self, generator, critic):
        super().__init__()
        self.generator, self.critic = generator, critic
        self.built = True

    def compile(self, generator_optimizer, critic_optimizer):
        """Keeps one optimizer for each network."""
        super().compile()
        self.generator_optimizer, self.critic_optimizer = generator_optimizer, critic_optimizer

    def gradient_penalty(self, real, fake, mix):
        """Mean square of the gradient's norm minus 1, between real and fake images."""
        between = fake + mix * (real - fake)
        with tf.GradientTape() as tape:
            tape.watch(between)
            scores = self.critic(between, training=True)
        gradient = tape.gradient(scores, between)
        norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]))
        return tf.reduce_mean(tf.square(norm - 1.0))

    def train_step(self, real):
        """`CRITIC_STEPS` critic updates, then one of the generator."""
        batch_size = tf.shape(real)[0]
        for _ in range(CRITIC_STEPS):
            latents = tf.random.normal((batch_size, LATENT_DIM))
            mix = tf.random.uniform((batch_size, 1, 1, 1))
            with tf.GradientTape() as tape:
                fake = self.generator(latents, training=True)
                fake_scores = self.critic(fake, training=True)
                real_scores = self.critic(real, training=True)
                critic_loss = tf.reduce_mean(fake_scores) - tf.reduce_mean(real_scores)
                critic_loss += PENALTY_WEIGHT * self.gradient_penalty(real, fake, mix)
            gradients = tape.gradient(critic_loss, self.critic.trainable_variables)
            self.critic_optimizer.apply_gradients(zip(gradients, self.critic.trainable_variables, strict=True))
        latents = tf.random.normal((batch_size, LATENT_DIM))
        with tf.GradientTape() as tape:
            scores = self.critic(self.generator(latents, training=True), training=True)
            generator_loss = -tf.reduce_mean(scores)
        gradients = tape.gradient(generator_loss, self.generator.trainable_variables)
        self.generator_optimizer.apply_gradients(zip(gradients, self.generator.trainable_variables, strict=True))
        return {"critic_loss": critic_loss, "generator_loss": generator_loss}
