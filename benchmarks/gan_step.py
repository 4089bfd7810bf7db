"""Time of one WGAN-GP training step on 28x28x1 images: ours, a hand-written Keras model, and PyTorch.

    python -m benchmarks.gan_step
    python -m benchmarks.gan_step --jit --rounds 5 --steps 3 --json gan_step.json

One step is `CRITIC_STEPS` critic updates with gradient penalty and one generator update, with DCGAN networks, layer
normalisation and Adam(1e-4, 0, 0.9). The contestants:

- zoo           `WGANGP.compile()` and `fit`, as a user writes it.
- zoo-jit       the same with `compile(jit_compile=True)`; only with `--jit`.
- keras         a `keras.Model` subclass with its own loop, tapes and `apply_gradients`, in stock `fit`; same networks.
- torch         PyTorch, eager, the penalty by `torch.autograd.grad(create_graph=True)`.
- torch-parts   `torch.compile` of what a user can wrap without a rewrite: the generator, and the critic where no
                penalty is taken. The penalty stays eager, since a compiled backward cannot be differentiated again.
- torch-whole   `torch.compile` of each whole objective. The inner gradient is `torch.func.grad`, which the compiler
                traces as a part of the forward pass, so that the backward pass is the only one it has to derive.

Each contestant has a process of its own, kept alive over a pipe, and only one works at a time. They take turns round
by round, so that a busy machine slows all of them, and ratios count. First all of them evaluate the critic's
objective on the same weights, images, latents and mixing weights, and must agree.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path

IMAGE_SHAPE = (28, 28, 1)
LATENT_DIM = 128
CRITIC_STEPS = 5
PENALTY_WEIGHT = 10.0
TOLERANCE = 1e-4
CONTESTANTS = ("zoo", "zoo-jit", "keras", "torch", "torch-parts", "torch-whole")


class Zoo:
    """`WGANGP`, compiled with its defaults."""

    def __init__(self, threads, jit_compile="auto"):
        self.generator, self.critic = _zoo_networks(threads)
        self.model = self._build(jit_compile)

    def _build(self, jit_compile):
        from zoo import WGANGP

        model = WGANGP(self.generator, self.critic, critic_steps=CRITIC_STEPS, gradient_penalty_weight=PENALTY_WEIGHT)
        model.compile(jit_compile=jit_compile)
        return model

    def num_parameters(self):
        """Trainable parameters of generator and critic."""
        return self.generator.count_params(), self.critic.count_params()

    def weights(self):
        """Shapes of all weights, the generator's first."""
        return [weight.shape for weight in (*self.generator.weights, *self.critic.weights)]

    def load(self, weights, images, batch_size):
        """Takes over the shared weights and images."""
        import tensorflow as tf

        split = len(self.generator.weights)
        self.generator.set_weights(weights[:split])
        self.critic.set_weights(weights[split:])
        # In memory and prefetched: reading images is no part of the comparison.
        self.images = tf.data.Dataset.from_tensor_slices(images).batch(batch_size, drop_remainder=True)
        self.images = self.images.cache().repeat().prefetch(2)

    def check(self, images, latents, mix):
        """Critic loss, weighted penalty, and the norm of their gradient in the critic's weights."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            critic_loss, penalty = self._critic_terms(images, latents, mix)
            loss = critic_loss + penalty
        gradients = tape.gradient(loss, self.critic.trainable_weights)
        return float(critic_loss), float(penalty), float(tf.linalg.global_norm(gradients))

    def _critic_terms(self, images, latents, mix):
        import tensorflow as tf

        terms = self.model.critic_objective(images, latents, mix)
        return tf.reduce_mean(terms["critic_loss"]), tf.reduce_mean(terms["gradient_penalty"])

    def steps(self, count):
        """Seconds per step over `count` steps of one `fit` call, after a step that is not counted."""
        import keras

        times = []
        clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: times.append(time.perf_counter()))
        self.model.fit(self.images, steps_per_epoch=count + 1, shuffle=False, verbose=0, callbacks=[clock])
        return (times[-1] - times[0]) / count

    def first_step(self):
        """Seconds of a `fit` call of one step, tracing and compiling included."""
        start = time.perf_counter()
        self.model.fit(self.images, steps_per_epoch=1, shuffle=False, verbose=0)
        return time.perf_counter() - start


class PlainKeras(Zoo):
    """The same networks in a `keras.Model` as one writes it by hand."""

    def _build(self, jit_compile):
        import keras

        model = _hand_written_model()(self.generator, self.critic)
        model.compile(
            keras.optimizers.Adam(1e-4, beta_1=0.0, beta_2=0.9), keras.optimizers.Adam(1e-4, beta_1=0.0, beta_2=0.9)
        )
        return model

    def _critic_terms(self, images, latents, mix):
        import tensorflow as tf

        fake = self.generator(latents, training=True)
        critic_loss = tf.reduce_mean(self.critic(fake)) - tf.reduce_mean(self.critic(images))
        mix = tf.reshape(mix, (-1, 1, 1, 1))
        return critic_loss, PENALTY_WEIGHT * self.model.gradient_penalty(images, fake, mix)


class Torch:
    """The same architecture and schedule in PyTorch; `compiled` is None, "parts" or "whole"."""

    def __init__(self, threads, compiled=None):
        import torch

        torch.set_num_threads(threads)
        self.generator, self.critic = _torch_networks()
        adam = {"lr": 1e-4, "betas": (0.0, 0.9), "eps": 1e-7}
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), **adam)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), **adam)
        self.penalty = self.functional_penalty if compiled == "whole" else self.eager_penalty
        self.call_generator, self.call_critic = self.generator, self.critic
        self.critic_terms, self.generator_loss = self._critic_terms, self._generator_loss
        if compiled == "parts":
            self.call_generator, self.call_critic = torch.compile(self.generator), torch.compile(self.critic)
        if compiled == "whole":
            self.critic_terms = torch.compile(self._critic_terms)
            self.generator_loss = torch.compile(self._generator_loss)

    def num_parameters(self):
        """Trainable parameters of generator and critic."""
        return tuple(
            sum(weight.numel() for weight in network.parameters()) for network in (self.generator, self.critic)
        )

    def load(self, weights, images, batch_size):
        """Takes over the shared weights and images."""
        import torch

        parameters = [*self.generator.parameters(), *self.critic.parameters()]
        with torch.no_grad():
            for parameter, weight in zip(parameters, weights, strict=True):
                parameter.copy_(torch.from_numpy(_to_torch(weight)))
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().split(batch_size)
        self.latents_shape = (batch_size, LATENT_DIM)
        self.num_steps = 0

    def check(self, images, latents, mix):
        """Critic loss, weighted penalty, and the norm of their gradient in the critic's weights."""
        import torch

        images, latents = torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(latents)
        critic_loss, penalty = self.critic_terms(images, latents, torch.from_numpy(mix).reshape(-1, 1, 1, 1))
        gradients = torch.autograd.grad(critic_loss + penalty, list(self.critic.parameters()))
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        return critic_loss.item(), penalty.item(), norm.item()

    def eager_penalty(self, between):
        """The penalty by a backward pass that is recorded."""
        import torch

        between.requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        return ((gradient.flatten(1).norm(dim=1) - 1.0) ** 2).mean()

    def functional_penalty(self, between):
        """The penalty by a gradient that `torch.compile` can trace."""
        import torch

        gradient = torch.func.grad(lambda images: self.critic(images).sum())(between)
        return ((gradient.flatten(1).norm(dim=1) - 1.0) ** 2).mean()

    def _critic_terms(self, images, latents, mix):
        import torch

        with torch.no_grad():
            fake = self.call_generator(latents)
            between = fake + mix * (images - fake)
        critic_loss = self.call_critic(fake).mean() - self.call_critic(images).mean()
        return critic_loss, PENALTY_WEIGHT * self.penalty(between)

    def _generator_loss(self, latents):
        return -self.call_critic(self.call_generator(latents)).mean()

    def step(self):
        """`CRITIC_STEPS` critic updates, then one of the generator."""
        import torch

        images = self.images[self.num_steps % len(self.images)]
        self.num_steps += 1
        for _ in range(CRITIC_STEPS):
            latents, mix = torch.randn(self.latents_shape), torch.rand(len(images), 1, 1, 1)
            self.critic_optimizer.zero_grad()
            critic_loss, penalty = self.critic_terms(images, latents, mix)
            (critic_loss + penalty).backward()
            self.critic_optimizer.step()
        # The generator's update needs no gradients of the critic's weights; ours leaves them out as well.
        self.critic.requires_grad_(False)
        self.generator_optimizer.zero_grad()
        self.generator_loss(torch.randn(self.latents_shape)).backward()
        self.generator_optimizer.step()
        self.critic.requires_grad_(True)

    def steps(self, count):
        """Seconds per step over `count` steps, after a step that is not counted."""
        self.step()
        start = time.perf_counter()
        for _ in range(count):
            self.step()
        return (time.perf_counter() - start) / count

    def first_step(self):
        """Seconds of one step, compiling included."""
        start = time.perf_counter()
        self.step()
        return time.perf_counter() - start


def make(name, threads):
    """The contestant called `name`; imports its framework."""
    if name.startswith("torch"):
        return Torch(threads, compiled=name.partition("-")[2] or None)
    return PlainKeras(threads) if name == "keras" else Zoo(threads, True if name == "zoo-jit" else "auto")


def _zoo_networks(threads):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    from zoo import dcgan_critic, dcgan_generator

    return dcgan_generator(IMAGE_SHAPE, latent_dim=LATENT_DIM, norm="layer"), dcgan_critic(IMAGE_SHAPE)


def _torch_networks():
    from torch import nn

    generator = nn.Sequential(
        nn.Linear(LATENT_DIM, 7 * 7 * 128, bias=False),
        nn.Unflatten(1, (128, 7, 7)),
        nn.GroupNorm(1, 128, eps=1e-5),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1, bias=False),
        nn.GroupNorm(1, 64, eps=1e-5),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 4, stride=2, padding=1),
        nn.Tanh(),
    )
    critic = nn.Sequential(
        nn.Conv2d(1, 64, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, stride=2, padding=1, bias=False),
        nn.GroupNorm(1, 128, eps=1e-5),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 128, 1),
    )
    return generator, critic


def _to_torch(weight):
    """A Keras weight as PyTorch holds it: channels before rows and columns, outputs before inputs."""
    if weight.ndim == 4:
        return weight.transpose(3, 2, 0, 1).copy()
    if weight.shape == (LATENT_DIM, 7 * 7 * 128):
        return weight.reshape(LATENT_DIM, 7, 7, 128).transpose(3, 1, 2, 0).reshape(-1, LATENT_DIM).copy()
    if weight.shape == (7 * 7 * 128, 1):
        return weight.reshape(7, 7, 128).transpose(2, 0, 1).reshape(1, -1).copy()
    return weight


def _hand_written_model():
    """The class of a WGAN-GP as tutorials write it; made in a function because it needs Keras."""
    import keras
    import tensorflow as tf

    class HandWritten(keras.Model):
        def __init__(self, generator, critic):
            super().__init__()
            self.generator, self.critic = generator, critic
            self.built = True

        def compile(self, generator_optimizer, critic_optimizer):
            super().compile()
            self.generator_optimizer, self.critic_optimizer = generator_optimizer, critic_optimizer

        def gradient_penalty(self, real, fake, mix):
            between = fake + mix * (real - fake)
            with tf.GradientTape() as tape:
                tape.watch(between)
                scores = self.critic(between, training=True)
            gradient = tape.gradient(scores, between)
            norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]))
            return tf.reduce_mean(tf.square(norm - 1.0))

        def train_step(self, real):
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

    return HandWritten


def work(name, threads, batch_size, problem, pipe):
    """What a contestant's process does: answer (method, arguments) with the method's result until told to stop."""
    # PyTorch's OpenMP threads spin while they wait: best on an idle machine, several times slower on a busy one.
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "2", "OMP_NUM_THREADS": str(threads)}
    # Compile times of a fresh machine, not of PyTorch's cache on disk.
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
    import numpy as np

    contestant = make(name, threads)
    if name == "zoo":
        write_problem(problem, contestant.weights(), batch_size)
    with np.load(problem) as arrays:
        weights = [arrays[f"weight_{index}"] for index in range(sum("weight" in key for key in arrays))]
        contestant.load(weights, arrays["images"], batch_size)
        example = arrays["images"][:batch_size], arrays["latents"], arrays["mix"]
    pipe.send("ready")
    while (message := pipe.recv()) is not None:
        method, *arguments = message
        pipe.send(getattr(contestant, method)(*(example if method == "check" else arguments)))


def write_problem(path, shapes, batch_size):
    """Writes weights, images, latents and mixing weights that all contestants share."""
    import numpy as np

    numbers = np.random.default_rng(0)
    arrays = {}
    for index, shape in enumerate(shapes):
        # Kernels wide enough for a gradient near 1; gains and biases away from their start, so that mix-ups show.
        scale = 0.05 if len(shape) > 1 else 0.1
        arrays[f"weight_{index}"] = scale * numbers.standard_normal(shape, dtype="float32") + (len(shape) == 1)
    arrays["images"] = numbers.uniform(-1, 1, (16 * batch_size, *IMAGE_SHAPE))
    arrays["latents"] = numbers.standard_normal((batch_size, LATENT_DIM))
    arrays["mix"] = numbers.uniform(0, 1, batch_size)
    np.savez(path, **{name: array.astype("float32") for name, array in arrays.items()})


def start(names, options, folder):
    """{name: pipe to the running contestant}, one after the other: the first writes the shared problem."""
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for name in names:
        pipe, other = context.Pipe()
        arguments = (name, options.threads, options.batch_size, str(Path(folder) / "problem.npz"), other)
        context.Process(target=work, args=arguments, daemon=True).start()
        other.close()
        receive(name, pipe)
        pipes[name] = pipe
    return pipes


def receive(name, pipe):
    """What a contestant sends next; ends the run if it has died."""
    try:
        return pipe.recv()
    except EOFError:
        raise SystemExit(f"The contestant {name} stopped; its own message stands above.") from None


def ask(pipes, name, *message):
    """The answer of a contestant, after it has finished."""
    pipes[name].send(message)
    return receive(name, pipes[name])


def check(pipes):
    """Prints what each contestant computes on the shared problem; stops if they disagree.

    Returns {name: seconds it took}, since PyTorch compiles here what it runs later.
    """
    expected_count = ask(pipes, "zoo", "num_parameters")
    expected = ask(pipes, "zoo", "check")
    print(f"Parameters: generator {expected_count[0]:,}, critic {expected_count[1]:,}")
    print(f"{'':14}{'critic loss':>14}{'penalty':>14}{'|gradient|':>14}{'difference':>14}")
    times = {}
    for name in pipes:
        begin = time.perf_counter()
        values = ask(pipes, name, "check")
        times[name] = time.perf_counter() - begin
        count = ask(pipes, name, "num_parameters")
        difference = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(values, expected, strict=True))
        print(f"{name:14}" + "".join(f"{value:14.6f}" for value in values) + f"{difference:14.1e}")
        if count != expected_count or difference > TOLERANCE:
            raise SystemExit(f"{name} differs from zoo: parameters {count}, values off by {difference:.1e}.")
    return times


def measure(pipes, rounds, steps):
    """{name: (seconds of the first step, milliseconds per step in each round)}."""
    first = {name: ask(pipes, name, "first_step") for name in pipes}
    for name in pipes:
        ask(pipes, name, "steps", steps)
    times = {name: [] for name in pipes}
    names = list(pipes)
    for turn in range(rounds):
        # Another one begins each round, so that nobody always follows the same contestant.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times[name].append(1e3 * ask(pipes, name, "steps", steps))
    return {name: (first[name], times[name]) for name in names}


def table(check_times, results):
    """One row per contestant; ratio = its time / ours of the same round, so above 1 means that ours is faster."""
    ours = results["zoo"][1]
    rows = []
    for name, (first, times) in results.items():
        ratios = [time / base for time, base in zip(times, ours, strict=True)]
        rows.append(
            {
                "contestant": name,
                "step_ms": statistics.median(times),
                "ratio": statistics.median(ratios),
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
                "compile_s": check_times[name] + first,
                "rounds_ms": times,
            }
        )
    return rows


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gan_step", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8, help="turns of each contestant (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=4, help="measured steps in a turn (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="threads of each contestant (default: %(default)s)")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, help="default: all but zoo-jit")
    parser.add_argument("--jit", action="store_true", help="also ours with jit_compile=True")
    parser.add_argument("--json", type=Path, help="file to write the figures of all rounds to")
    options = parser.parse_args()

    chosen = set(options.contestants or CONTESTANTS[:1] + CONTESTANTS[2:]) | {"zoo"}
    if options.jit:
        chosen.add("zoo-jit")
    if importlib.util.find_spec("torch") is None:
        skipped = sorted(name for name in chosen if name.startswith("torch"))
        if skipped:
            print(f"Skipped, because PyTorch is not installed (pip install -e '.[benchmark]'): {', '.join(skipped)}")
        chosen -= set(skipped)
    names = [name for name in CONTESTANTS if name in chosen]

    with tempfile.TemporaryDirectory() as folder:
        pipes = start(names, options, folder)
        check_times = check(pipes)
        rows = table(check_times, measure(pipes, options.rounds, options.steps))
        for pipe in pipes.values():
            pipe.send(None)
    print(
        f"\nBatch {options.batch_size}, {CRITIC_STEPS} critic steps, {options.threads} threads, median of "
        f"{options.rounds} rounds of {options.steps} steps. Ratio: time / time of zoo, above 1 means zoo is faster."
    )
    print(f"{'':14}{'ms per step':>14}{'ratio':>9}{'min - max':>17}{'compile, s':>16}")
    for row in rows:
        spread = f"{row['ratio_min']:.2f} - {row['ratio_max']:.2f}"
        print(f"{row['contestant']:14}{row['step_ms']:14.1f}{row['ratio']:9.2f}{spread:>17}{row['compile_s']:16.1f}")
    if options.json:
        settings = {name: value for name, value in vars(options).items() if name != "json"}
        options.json.write_text(json.dumps({"settings": settings, "results": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
