"""Optimal transport in a training step: what share of the step it takes, and how fast the step is beside GeomLoss.

    python -m benchmarks.transport_step
    python -m benchmarks.transport_step --batch-size 512 --rounds 5 --json transport_step.json

28x28x1 images, DCGAN networks with layer normalisation, Adam. The contestants, each in a process of its own:

- sinkhorn          `SinkhornGAN`, fixed cost: no critic, so that nearly all of the step is the generator.
- sinkhorn-critic   `SinkhornGAN` with a critic of 64 features under a gradient penalty.
- ot-gan            `OTGAN` with a critic of 256 features, 500 iterations, three generator updates per critic update.
- geomloss          the step of `sinkhorn` in PyTorch, with GeomLoss's `SamplesLoss` at the same epsilon.

A turn times some steps, and then transport alone, value and gradient on features of one batch, as often as a step
takes it. The share is the quotient of the two. First `sinkhorn` and `geomloss` must agree on a divergence.
"""

import argparse
import statistics
import time

import numpy as np

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
LATENT_DIM = 128
EPSILON = {"sinkhorn": 1.0, "sinkhorn-critic": 1.0, "ot-gan": 1 / 500, "geomloss": 1.0}
PACKAGES = {"sinkhorn": [], "sinkhorn-critic": [], "ot-gan": [], "geomloss": ["torch", "geomloss"]}


def make(name, batch_size, threads):
    """The contestant of a name."""
    return (Torch if name == "geomloss" else Zoo)(name, batch_size, threads)


def example_points(batch_size):
    """Two batches of images as vectors, on which all agree."""
    numbers = np.random.default_rng(0)
    return (numbers.uniform(-1, 1, (batch_size, 784)).astype("float32") * scale for scale in (0.3, 0.25))


class Zoo:
    """A model of ours, compiled with its defaults."""

    def __init__(self, name, batch_size, threads):
        import tensorflow as tf

        from zoo import OTGAN, SinkhornGAN, dcgan_critic, dcgan_generator

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        generator = dcgan_generator(IMAGE_SHAPE, LATENT_DIM, norm="layer")
        if name == "ot-gan":
            self.model = OTGAN(generator, dcgan_critic(IMAGE_SHAPE, num_features=256), epsilon=EPSILON[name])
            self.transport, self.times_per_step = self.model.distance, 1 + self.model.generator_steps
        else:
            critic = dcgan_critic(IMAGE_SHAPE, num_features=64) if name == "sinkhorn-critic" else None
            self.model = SinkhornGAN(generator, critic, epsilon=EPSILON[name])
            self.transport, self.times_per_step = self.model.divergence, 1 if critic is None else 2
        self.model.compile()
        images = np.random.default_rng(0).uniform(-1, 1, (4 * batch_size, *IMAGE_SHAPE)).astype("float32")
        self.images = tf.data.Dataset.from_tensor_slices(images).batch(batch_size, drop_remainder=True)
        self.images = self.images.cache().repeat().prefetch(2)
        self.batch_size = batch_size

        @tf.function
        def transport(real, fake):
            with tf.GradientTape() as tape:
                tape.watch(fake)
                value = self.transport(real, fake)
            return value, tape.gradient(value, fake)

        self.value_and_gradient = transport

    def check(self):
        """The divergence of the example points."""
        return float(self.model.divergence(*example_points(self.batch_size)))

    def steps(self, count):
        """Seconds per step over `count` steps, after one that is not counted; seconds of transport in a step."""
        import keras

        times = []
        clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: times.append(time.perf_counter()))
        self.model.fit(self.images, steps_per_epoch=count + 1, shuffle=False, verbose=0, callbacks=[clock])
        real, fake = next(iter(self.images)), self.model.generate(self.batch_size)
        features = [np.array(self.features(one)) for one in (real, fake)]
        return (times[-1] - times[0]) / count, self.times_per_step * seconds(
            lambda: self.value_and_gradient(*features)[0].numpy(), count
        )

    def features(self, examples):
        """What transport sees of examples."""
        critic = self.model.critic
        return np.reshape(examples, (len(examples), -1)) if critic is None else critic(examples)


class Torch:
    """The step of `SinkhornGAN` without a critic in PyTorch."""

    def __init__(self, name, batch_size, threads):
        import geomloss
        import torch

        from benchmarks.gan_step.pytorch import torch_networks

        torch.set_num_threads(threads)
        self.torch, self.batch_size = torch, batch_size
        self.generator = torch_networks()[0]
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=1e-3)
        # Its cost is |x - y|^2 / 2 and its epsilon is blur^2: half of ours each.
        self.half = geomloss.SamplesLoss("sinkhorn", p=2, blur=(EPSILON[name] / 2) ** 0.5, backend="tensorized")
        images = np.random.default_rng(0).uniform(-1, 1, (batch_size, 784)).astype("float32")
        self.images = torch.from_numpy(images)

    def check(self):
        """The divergence of the example points."""
        return 2 * self.half(*map(self.torch.from_numpy, example_points(self.batch_size))).item()

    def step(self):
        """One update of the generator."""
        fake = self.generator(self.torch.randn(self.batch_size, LATENT_DIM)).flatten(1)
        self.optimizer.zero_grad()
        (2 * self.half(self.images, fake)).backward()
        self.optimizer.step()

    def steps(self, count):
        """Seconds per step over `count` steps, after one that is not counted; seconds of transport in a step."""
        fake = self.generator(self.torch.randn(self.batch_size, LATENT_DIM)).flatten(1).detach().requires_grad_()
        return seconds(self.step, count), seconds(
            lambda: self.torch.autograd.grad(2 * self.half(self.images, fake), fake), count
        )


def seconds(function, count):
    """Seconds per call over `count` calls, after one that is not counted."""
    function()
    start = time.perf_counter()
    for _ in range(count):
        function()
    return (time.perf_counter() - start) / count


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transport_step", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=5, help="turns of each contestant (default: %(default)s)")
    parser.add_argument("--steps", type=positive, default=3, help="measured steps in a turn (default: %(default)s)")
    parser.add_argument("--batch-size", type=positive, default=256, help="default: %(default)s")
    parser.add_argument("--threads", type=positive, default=2, help="threads of each contestant (default: %(default)s)")
    add_json(parser)
    options = parser.parse_args()
    names = installed(PACKAGES)
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(options.threads)}
    with Processes(make, names, options.batch_size, options.threads, environment=environment) as processes:
        values = {name: processes.ask(name, "check") for name in names if name in ("sinkhorn", "geomloss")}
        print("Divergence of the example points:", ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
        if max(values.values()) > 1.01 * min(values.values()):
            raise SystemExit("They differ by more than 1 %, so their times cannot be compared.")
        for name in names:
            processes.ask(name, "steps", 1)
        turns = measure(names, options.rounds, lambda name: processes.ask(name, "steps", options.steps))
    rows = []
    for name, turn in turns.items():
        steps, transports = ([1e3 * one for one in column] for column in zip(*turn, strict=True))
        rows.append(
            {
                "contestant": name,
                "step_ms": statistics.median(steps),
                "transport_ms": statistics.median(transports),
                "share": statistics.median(b / a for a, b in zip(steps, transports, strict=True)),
                **ratios(steps, [1e3 * one for one, _ in turns["sinkhorn"]]),
            }
        )
    print(f"\nBatch {options.batch_size}, {options.threads} threads, median of {options.rounds} rounds.")
    print_table(
        [
            ("", 18),
            ("ms per step", 14),
            ("transport, ms", 16),
            ("share", 9),
            ("step / sinkhorn", 18),
            ("min - max", 16),
        ],
        (
            (
                row["contestant"],
                f"{row['step_ms']:.0f}",
                f"{row['transport_ms']:.1f}",
                f"{100 * row['share']:.1f} %",
                f"{row['ratio']:.2f}",
                spread(row),
            )
            for row in rows
        ),
    )
    write_json(options, rows)


if __name__ == "__main__":
    main()
