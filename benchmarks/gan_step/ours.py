"""`WGANGP` as its users compile and fit it."""

import time

import keras
import tensorflow as tf

from benchmarks.gan_step.problem import CRITIC_STEPS, IMAGE_SHAPE, LATENT_DIM, PENALTY_WEIGHT, read_problem
from zoo import WGANGP, dcgan_critic, dcgan_generator


class Zoo:
    """`WGANGP`, compiled with its defaults."""

    def __init__(self, threads, jit_compile=False):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self.generator = dcgan_generator(IMAGE_SHAPE, latent_dim=LATENT_DIM, norm="layer")
        self.critic = dcgan_critic(IMAGE_SHAPE)
        self.model = self._build(jit_compile)

    def _build(self, jit_compile):
        model = WGANGP(self.generator, self.critic, critic_steps=CRITIC_STEPS, gradient_penalty_weight=PENALTY_WEIGHT)
        model.compile(jit_compile=jit_compile)
        return model

    def num_parameters(self):
        """Trainable parameters of generator and critic."""
        return self.generator.count_params(), self.critic.count_params()

    def weights(self):
        """Shapes of all weights, the generator's first."""
        return [weight.shape for weight in (*self.generator.weights, *self.critic.weights)]

    def load(self, problem, batch_size):
        """Takes over the shared weights and images."""
        weights, images, self.example = read_problem(problem, batch_size)
        split = len(self.generator.weights)
        self.generator.set_weights(weights[:split])
        self.critic.set_weights(weights[split:])
        # In memory and prefetched: reading images is no part of the comparison.
        self.images = tf.data.Dataset.from_tensor_slices(images).batch(batch_size, drop_remainder=True)
        self.images = self.images.cache().repeat().prefetch(2)

    def check(self):
        """Critic loss, weighted penalty, and the norm of their gradient in the critic's weights."""
        with tf.GradientTape() as tape:
            critic_loss, penalty = self._critic_terms(*self.example)
            loss = critic_loss + penalty
        gradients = tape.gradient(loss, self.critic.trainable_weights)
        return float(critic_loss), float(penalty), float(tf.linalg.global_norm(gradients))

    def _critic_terms(self, images, latents, mix):
        terms = self.model.critic_objective(images, latents, mix)
        return tf.reduce_mean(terms["critic_loss"]), tf.reduce_mean(terms["gradient_penalty"])

    def steps(self, count):
        """Seconds per step over `count` steps of one `fit` call, after a step that is not counted."""
        times = []
        clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: times.append(time.perf_counter()))
        self.model.fit(self.images, steps_per_epoch=count + 1, shuffle=False, verbose=0, callbacks=[clock])
        return (times[-1] - times[0]) / count

    def first_step(self):
        """Seconds of a `fit` call of one step, tracing and compiling included."""
        start = time.perf_counter()
        self.model.fit(self.images, steps_per_epoch=1, shuffle=False, verbose=0)
        return time.perf_counter() - start
