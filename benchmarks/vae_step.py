"""Time of one training step of a VAE on 28x28x1 binary images: ours, a hand-written Keras model, and PyTorch.

    python -m benchmarks.vae_step
    python -m benchmarks.vae_step --contestants by-hand keras --rounds 3 --steps 50 --json vae_step.json

Perceptrons 784-200-200-(2 x 50) and 50-200-200-784 with ReLU, as the recipe has them, Bernoulli likelihood, one sample
of the latents, the KL in closed form, Adam at 1e-3. The contestants, each in a process of its own:

- zoo             `VAE.compile()` and `fit`, as a user writes it.
- zoo-jit         the same with `compile(jit_compile=True)`.
- zoo-fast        the same with `compile(jit_compile=True, steps_per_execution=10)`.
- by-hand         `VAE` with its objective in bare TensorFlow: what TensorFlow Probability costs in the step.
- keras           a `keras.Model` with a sampling layer and its own tape, in stock `compile` and `fit`; same networks.
- torch           PyTorch, eager; nothing is logged.
- torch-fused     the same with Adam's fused kernel, which is not PyTorch's default on CPUs.
- torch-compiled  the first with `torch.compile` of networks and objective as one module; the optimizer stays eager.

First all of them evaluate both terms and the gradient's norm on the same weights, images and noise, each compiled as
it trains, and must agree.
"""

import argparse
import itertools
import statistics
import time

import numpy as np

from benchmarks.gan_step.contestants import environment
from benchmarks.side_by_side import (
    Processes,
    add_json,
    installed,
    measure,
    positive,
    print_table,
    ratios,
    spread,
    write_json,
)

IMAGE_SHAPE = (28, 28, 1)
LATENT_DIM = 50
HIDDEN = (200, 200)
ENCODER, DECODER = (784, *HIDDEN, 2 * LATENT_DIM), (LATENT_DIM, *HIDDEN, 784)
TERMS = ("reconstruction_loss", "kl_divergence")
TOLERANCE = 1e-4
# What each needs beside Zoo itself.
PACKAGES = {
    **dict.fromkeys(("zoo", "zoo-jit", "zoo-fast", "by-hand", "keras"), ()),
    **dict.fromkeys(("torch", "torch-fused", "torch-compiled"), ("torch",)),
}
# Steps between two looks at the clock, where an execution takes several.
STEPS_PER_EXECUTION = 10


def make(name, batch_size, threads):
    """The contestant of a name."""
    return (Torch if name.startswith("torch") else TensorFlow)(name, batch_size, threads)


def problem(batch_size):
    """Weights, 16 batches of images and the noise of one batch, on which all agree."""
    numbers = np.random.default_rng(0)
    weights = []
    for inputs, outputs in (*itertools.pairwise(ENCODER), *itertools.pairwise(DECODER)):
        # Biases away from their start, so that mix-ups show.
        weights += [numbers.normal(0, inputs**-0.5, (inputs, outputs)), numbers.normal(0, 0.1, outputs)]
    images = numbers.choice([-1.0, 1.0], (16 * batch_size, *IMAGE_SHAPE))
    noise = numbers.standard_normal((batch_size, LATENT_DIM))
    return [weight.astype("float32") for weight in weights], images.astype("float32"), noise.astype("float32")


class TensorFlow:
    """`VAE` as its users compile and fit it, or a model in its place."""

    def __init__(self, name, batch_size, threads):
        import keras
        import tensorflow as tf

        from zoo import VAE, mlp_decoder, mlp_encoder

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        encoder = mlp_encoder(IMAGE_SHAPE, 2 * LATENT_DIM, HIDDEN)
        decoder = mlp_decoder(IMAGE_SHAPE, LATENT_DIM, HIDDEN)
        weights, images, noise = problem(batch_size)
        self.variables = encoder.trainable_weights + decoder.trainable_weights
        for variable, weight in zip(self.variables, weights, strict=True):
            variable.assign(weight)
        if name == "keras":
            self.model = plain_keras()(encoder, decoder)
            self.model.compile(optimizer=keras.optimizers.Adam(1e-3))
            self.example = images[:batch_size], noise
        else:
            self.model = (by_hand() if name == "by-hand" else VAE)(encoder, decoder)
            several = STEPS_PER_EXECUTION if name == "zoo-fast" else 1
            self.model.compile(jit_compile=name in ("zoo-jit", "zoo-fast"), steps_per_execution=several)
            self.example = images[:batch_size], noise[:, None], 1.0
        # In memory and prefetched: reading images is no part of the comparison.
        self.images = tf.data.Dataset.from_tensor_slices(images).batch(batch_size, drop_remainder=True)
        self.images = self.images.cache().repeat().prefetch(2)

    def check(self):
        """Reconstruction loss, KL divergence, and the norm of the gradient of their sum in all weights."""
        import tensorflow as tf

        @tf.function(jit_compile=self.model.jit_compile)
        def values(*example):
            with tf.GradientTape() as tape:
                terms = self.model.objective(*example)
                terms = [tf.reduce_mean(terms[name]) for name in TERMS]
                loss = sum(terms)
            return *terms, tf.linalg.global_norm(tape.gradient(loss, self.variables))

        return [float(value) for value in values(*map(tf.constant, self.example))]

    def steps(self, count):
        """Seconds per step over `count` steps of one `fit` call, after an execution that is not counted."""
        import keras

        times = []
        clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: times.append(time.perf_counter()))
        steps = count + self.model.steps_per_execution
        self.model.fit(self.images, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[clock])
        return (times[-1] - times[0]) / count


def by_hand():
    """The class `VAE` with an objective that makes no distributions."""
    import tensorflow as tf

    from zoo import VAE

    class ByHand(VAE):
        def objective(self, examples, noise, kl_weight, training=True):
            loc, raw = tf.split(self.encoder(examples, training=training), 2, axis=-1)
            scale = tf.math.softplus(raw) + 1e-6
            logits = self.decoder(loc + scale * noise[:, 0], training=training)
            losses = tf.math.softplus(logits) - 0.5 * (examples + 1.0) * logits
            kl = 0.5 * (tf.square(loc) + tf.square(scale) - 1.0) - tf.math.log(scale)
            rows = tf.reduce_sum(losses, [1, 2, 3]), kl_weight * tf.reduce_sum(kl, 1)
            return dict(zip(TERMS, rows, strict=True))

    return ByHand


def plain_keras():
    """The class of a VAE as one writes it by hand."""
    import keras
    import tensorflow as tf
    from keras import ops

    class Sampling(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(0)

        def call(self, loc, scale, noise=None):
            if noise is None:
                noise = keras.random.normal(ops.shape(loc), seed=self.seed_generator)
            return loc + scale * noise

    class PlainKeras(keras.Model):
        def __init__(self, encoder, decoder):
            super().__init__()
            self.encoder, self.decoder, self.sampling = encoder, decoder, Sampling()
            self.trackers = [keras.metrics.Mean(name=name) for name in TERMS]
            self.built = True

        def objective(self, images, noise=None):
            loc, raw = ops.split(self.encoder(images, training=True), 2, axis=-1)
            scale = ops.softplus(raw) + 1e-6
            logits = self.decoder(self.sampling(loc, scale, noise), training=True)
            losses = keras.losses.binary_crossentropy(0.5 * (images + 1.0), logits, from_logits=True)
            kl = 0.5 * (ops.square(loc) + ops.square(scale) - 1.0) - ops.log(scale)
            return dict(zip(TERMS, (ops.sum(losses, axis=(1, 2)), ops.sum(kl, axis=1)), strict=True))

        def train_step(self, images):
            with tf.GradientTape() as tape:
                terms = {name: ops.mean(rows) for name, rows in self.objective(images).items()}
                loss = sum(terms.values())
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
            for tracker in self.trackers:
                tracker.update_state(terms[tracker.name])
            return {tracker.name: tracker.result() for tracker in self.trackers}

    return PlainKeras


class Torch:
    """The same networks, objective and optimizer in PyTorch."""

    def __init__(self, name, batch_size, threads):
        import torch
        from torch import nn

        def perceptron(widths):
            layers = [layer for pair in itertools.pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
            return nn.Sequential(*layers[:-1])

        class Objective(nn.Module):
            def __init__(self):
                super().__init__()
                self.encoder, self.decoder = perceptron(ENCODER), perceptron(DECODER)

            def forward(self, images, noise):
                loc, raw = self.encoder(images).chunk(2, dim=1)
                scale = nn.functional.softplus(raw) + 1e-6
                logits, pixels = self.decoder(loc + scale * noise), 0.5 * (images + 1.0)
                loss = nn.functional.binary_cross_entropy_with_logits(logits, pixels, reduction="sum")
                kl = (0.5 * (loc.square() + scale.square() - 1.0) - scale.log()).sum()
                return loss / len(images), kl / len(images)

        torch.set_num_threads(threads)
        objective = Objective()
        self.torch, self.parameters = torch, list(objective.parameters())
        self.objective = torch.compile(objective) if name == "torch-compiled" else objective
        weights, images, noise = problem(batch_size)
        with torch.no_grad():
            for parameter, weight in zip(self.parameters, weights, strict=True):
                parameter.copy_(torch.from_numpy(weight.T))
        # `False` would also choose another loop; None is the default.
        fused = True if name == "torch-fused" else None
        self.optimizer = torch.optim.Adam(self.parameters, lr=1e-3, eps=1e-7, fused=fused)
        self.images, self.noise = torch.from_numpy(images).flatten(1).split(batch_size), torch.from_numpy(noise)

    def check(self):
        """As of `TensorFlow`."""
        terms = self.objective(self.images[0], self.noise)
        gradients = self.torch.autograd.grad(sum(terms), self.parameters)
        norm = self.torch.stack([gradient.norm() for gradient in gradients]).norm()
        return [value.item() for value in (*terms, norm)]

    def steps(self, count):
        """Seconds per step over `count` steps, after one that is not counted."""
        times = []
        for images in itertools.islice(itertools.cycle(self.images), count + 1):
            self.optimizer.zero_grad()
            sum(self.objective(images, self.torch.randn(self.noise.shape))).backward()
            self.optimizer.step()
            times.append(time.perf_counter())
        return (times[-1] - times[0]) / count


def check(processes):
    """Prints what each contestant computes of the shared problem; stops if they disagree."""
    expected = processes.ask("zoo", "check")

    def rows():
        for name in processes.running:
            values = processes.ask(name, "check")
            difference = max(abs(a - b) / abs(b) for a, b in zip(values, expected, strict=True))
            yield name, *(f"{value:.4f}" for value in values), f"{difference:.1e}"
            if not difference <= TOLERANCE:
                raise SystemExit(f"{name} differs from zoo by {difference:.1e}, so their times cannot be compared.")

    print_table([("", 16), ("reconstruction", 16), ("KL", 12), ("|gradient|", 14), ("difference", 13)], rows())


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vae_step", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=8, help="turns of each contestant (default: %(default)s)")
    parser.add_argument("--steps", type=positive, default=200, help="measured steps in a turn (default: %(default)s)")
    parser.add_argument("--batch-size", type=positive, default=100, help="default: %(default)s")
    parser.add_argument("--threads", type=positive, default=2, help="threads of each contestant (default: %(default)s)")
    parser.add_argument("--contestants", nargs="+", choices=PACKAGES, help="beside zoo; default: all")
    add_json(parser)
    options = parser.parse_args()

    chosen = {*(options.contestants or PACKAGES), "zoo"}
    names = installed({name: needed for name, needed in PACKAGES.items() if name in chosen})
    variables = environment(options.threads)
    with Processes(make, names, options.batch_size, options.threads, environment=variables) as processes:
        check(processes)
        for name in names:
            processes.ask(name, "steps", options.steps)
        times = measure(names, options.rounds, lambda name: 1e3 * processes.ask(name, "steps", options.steps))
    rows = [
        {"contestant": name, "step_ms": statistics.median(turns), **ratios(turns, times["zoo"]), "rounds_ms": turns}
        for name, turns in times.items()
    ]
    print(
        f"\nBatch {options.batch_size}, {options.threads} threads, median of {options.rounds} rounds of "
        f"{options.steps} steps. Ratio: time / time of zoo, above 1 means zoo is faster."
    )
    print_table(
        [("", 16), ("ms per step", 14), ("ratio", 9), ("min - max", 17)],
        ((row["contestant"], f"{row['step_ms']:.2f}", f"{row['ratio']:.2f}", spread(row)) for row in rows),
    )
    write_json(options, rows)


if __name__ == "__main__":
    main()
