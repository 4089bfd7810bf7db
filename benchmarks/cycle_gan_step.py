"""Time of one training step of CycleGAN on 64x64x3 images: ours, a hand-written Keras model, and PyTorch.

    python -m benchmarks.cycle_gan_step
    python -m benchmarks.cycle_gan_step --batch-sizes 1 --contestants keras --rounds 3 --json cycle_gan_step.json

Generators with 64 filters and 6 residual blocks, discriminators with patches of 34 x 34 pixels, least-squares losses,
lambda 10, identity weight 0.5, Adam(2e-4, 0.5). The contestants, each in a process of its own:

- zoo             `CycleGAN.compile()` and `fit`, as a user writes it, with its pools of earlier images.
- zoo-jit         the same with `compile(jit_compile=True)`.
- recomputed      `CycleGAN` whose discriminators' loss computes the generated images again, instead of taking over
                  those of the generators' loss: what sharing them saves.
- keras           a `keras.Model` in the style of Keras's example: one persistent tape, four losses, four optimizers, in
                  stock `fit`; both cycle terms reach both generators, as in the paper, and there is no pool.
- torch           PyTorch, eager, in the order of the authors' code, without a pool; nothing is logged.
- torch-compiled  the same with `torch.compile` of the four networks.

First all of them evaluate every term, and the norms of the gradients that generators and discriminators get, on the
same weights and images, and must agree.
"""

import argparse
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

IMAGE_SHAPE = (64, 64, 3)
FILTERS, NUM_BLOCKS, NUM_LEVELS = 64, 6, 2
CYCLE_WEIGHT, IDENTITY_WEIGHT = 10.0, 0.5
TERMS = ("adversarial_xy", "adversarial_yx", "cycle_x", "cycle_y", "identity_x", "identity_y")
JUDGED = ("discriminator_x_loss", "discriminator_y_loss")
TOLERANCE = 1e-3
NETWORKS = ("generator_xy", "generator_yx", "discriminator_x", "discriminator_y")
# What each needs beside Zoo itself.
PACKAGES = {
    **dict.fromkeys(("zoo", "zoo-jit", "recomputed", "keras"), ()),
    **dict.fromkeys(("torch", "torch-compiled"), ("torch",)),
}


def make(name, threads):
    """The contestant of a name."""
    return (Torch if name.startswith("torch") else TensorFlow)(name, threads)


def problem(batch_size):
    """Images of both sets, 8 batches of each, that all contestants share."""
    numbers = np.random.default_rng(0)
    return [numbers.uniform(-1, 1, (8 * batch_size, *IMAGE_SHAPE)).astype("float32") for _ in range(2)]


def weights_of(shapes):
    """Weights of given shapes that all contestants share."""
    numbers = np.random.default_rng(1)
    return [numbers.normal(0, 0.05, shape).astype("float32") for shape in shapes]


class TensorFlow:
    """`CycleGAN` as its users compile and fit it, or a model in its place."""

    def __init__(self, name, threads):
        import tensorflow as tf

        from zoo import CycleGAN, patch_discriminator, resnet_generator

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        generators = [resnet_generator(IMAGE_SHAPE, FILTERS, NUM_BLOCKS) for _ in range(2)]
        judges = [patch_discriminator(IMAGE_SHAPE, FILTERS, NUM_LEVELS) for _ in range(2)]
        self.players = [[weight for one in pair for weight in one.trainable_weights] for pair in (generators, judges)]
        variables = [*self.players[0], *self.players[1]]
        for variable, weight in zip(variables, weights_of(variable.shape for variable in variables), strict=True):
            variable.assign(weight)
        if name == "keras":
            self.model = plain_keras()(*generators, *judges)
            self.model.compile(jit_compile=False)
        else:
            kind = recomputed() if name == "recomputed" else CycleGAN
            self.model = kind(*generators, *judges, cycle_weight=CYCLE_WEIGHT, identity_weight=IDENTITY_WEIGHT)
            self.model.compile(jit_compile=name == "zoo-jit")

    def load(self, batch_size):
        """Takes up images in batches, in memory and prefetched: reading them is no part of the comparison."""
        import tensorflow as tf

        x, y = problem(batch_size)
        self.example = tf.constant(x[:batch_size]), tf.constant(y[:batch_size])
        self.images = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size, drop_remainder=True)
        self.images = self.images.cache().repeat().prefetch(2)

    def shapes(self):
        """Shapes of the weights of all networks, in order."""
        return [tuple(variable.shape) for player in self.players for variable in player]

    def check(self):
        """Every term, and the norms of the gradients of generators and of discriminators."""
        import tensorflow as tf

        x, y = self.example

        @tf.function(jit_compile=self.model.jit_compile)
        def values(x, y):
            with tf.GradientTape() as tape:
                made = self.model.generator_objective(x, y)
                terms = [tf.reduce_mean(made[name]) for name in TERMS]
                total = sum(terms)
            of_generators = tape.gradient(total, self.players[0])
            with tf.GradientTape() as tape:
                judged = self.model.discriminator_objective(x, made["fake_x"], y, made["fake_y"])
                losses = [tf.reduce_mean(judged[name]) for name in JUDGED]
                total = sum(losses)
            of_judges = tape.gradient(total, self.players[1])
            return *terms, *losses, tf.linalg.global_norm(of_generators), tf.linalg.global_norm(of_judges)

        return [float(value) for value in values(x, y)]

    def steps(self, count):
        """Seconds per step over `count` steps of one `fit` call, after one that is not counted."""
        import keras

        times = []
        clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: times.append(time.perf_counter()))
        self.model.fit(self.images, steps_per_epoch=count + 1, shuffle=False, verbose=0, callbacks=[clock])
        return (times[-1] - times[0]) / count


def recomputed():
    """The class `CycleGAN` with a discriminators' loss that makes its own images."""
    from zoo import CycleGAN
    from zoo.training import minimize

    class Recomputed(CycleGAN):
        def terms_alone(self, x, y):
            terms = self.generator_objective(x, y)
            return {name: terms[name] for name in TERMS}

        def judges_alone(self, x, y):
            fakes = self.generator_yx(y, training=True), self.generator_xy(x, training=True)
            return self.discriminator_objective(x, fakes[0], y, fakes[1])

        def train_step(self, pairs):
            batch = self.open_batch(pairs[0])
            generators, judges = (self.generator_xy, self.generator_yx), (self.discriminator_x, self.discriminator_y)
            # The judges first, so that the images are those of the same generators.
            judged = minimize(self.judges_alone, pairs, judges, self.discriminator_optimizer, batch)
            made = minimize(self.terms_alone, pairs, generators, self.generator_optimizer, batch)
            return self.track(batch, **made, **judged)

    return Recomputed


def plain_keras():
    """The class of a CycleGAN in the style of Keras's example."""
    import keras
    import tensorflow as tf

    class PlainKeras(keras.Model):
        def __init__(self, *networks):
            super().__init__()
            for name, network in zip(NETWORKS, networks, strict=True):
                setattr(self, name, network)
            self.square, self.absolute = keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()
            self.built = True

        def compile(self, **options):
            super().compile(optimizer=None, **options)
            self.adams = [keras.optimizers.Adam(2e-4, beta_1=0.5) for _ in NETWORKS]

        def generator_objective(self, x, y):
            fake_y, fake_x = self.generator_xy(x, training=True), self.generator_yx(y, training=True)
            cycled_x, cycled_y = self.generator_yx(fake_y, training=True), self.generator_xy(fake_x, training=True)
            same_x, same_y = self.generator_yx(x, training=True), self.generator_xy(y, training=True)
            of_y, of_x = self.discriminator_y(fake_y, training=True), self.discriminator_x(fake_x, training=True)
            identity = CYCLE_WEIGHT * IDENTITY_WEIGHT
            return {
                "adversarial_xy": self.square(tf.ones_like(of_y), of_y),
                "adversarial_yx": self.square(tf.ones_like(of_x), of_x),
                "cycle_x": CYCLE_WEIGHT * self.absolute(x, cycled_x),
                "cycle_y": CYCLE_WEIGHT * self.absolute(y, cycled_y),
                "identity_x": identity * self.absolute(x, same_x),
                "identity_y": identity * self.absolute(y, same_y),
                "fake_x": fake_x,
                "fake_y": fake_y,
            }

        def discriminator_objective(self, x, fake_x, y, fake_y):
            losses = {}
            for name, judge, real, fake in zip(
                JUDGED, (self.discriminator_x, self.discriminator_y), (x, y), (fake_x, fake_y), strict=True
            ):
                of_real, of_fake = judge(real, training=True), judge(fake, training=True)
                both = self.square(tf.ones_like(of_real), of_real) + self.square(tf.zeros_like(of_fake), of_fake)
                losses[name] = 0.5 * both
            return losses

        def train_step(self, pairs):
            x, y = pairs
            with tf.GradientTape(persistent=True) as tape:
                made = self.generator_objective(x, y)
                judged = self.discriminator_objective(x, made["fake_x"], y, made["fake_y"])
                cycles = made["cycle_x"] + made["cycle_y"]
                losses = (
                    made["adversarial_xy"] + cycles + made["identity_y"],
                    made["adversarial_yx"] + cycles + made["identity_x"],
                    *judged.values(),
                )
            networks = [getattr(self, name).trainable_variables for name in NETWORKS]
            gradients = [tape.gradient(loss, weights) for loss, weights in zip(losses, networks, strict=True)]
            for adam, found, weights in zip(self.adams, gradients, networks, strict=True):
                adam.apply_gradients(zip(found, weights, strict=True))
            return dict(zip(("G_loss", "F_loss", *JUDGED), losses, strict=True))

    return PlainKeras


class Torch:
    """The same networks, losses and optimizers in PyTorch."""

    def __init__(self, name, threads):
        import torch

        torch.set_num_threads(threads)
        generators, judges = [torch_generator() for _ in range(2)], [torch_discriminator() for _ in range(2)]
        self.torch = torch
        self.players = [[weight for one in pair for weight in one.parameters()] for pair in (generators, judges)]
        parameters = [*self.players[0], *self.players[1]]
        shapes = [_keras_shape(parameter) for parameter in parameters]
        with torch.no_grad():
            for parameter, weight in zip(parameters, weights_of(shapes), strict=True):
                parameter.copy_(torch.from_numpy(weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight))
        compiled = torch.compile if name == "torch-compiled" else lambda network: network
        self.generators, self.judges = [[compiled(one) for one in pair] for pair in (generators, judges)]
        adam = {"lr": 2e-4, "betas": (0.5, 0.999), "eps": 1e-7}
        self.adams = [torch.optim.Adam(player, **adam) for player in self.players]

    def load(self, batch_size):
        """As of `TensorFlow`."""
        sets = [self.torch.from_numpy(images).permute(0, 3, 1, 2).contiguous() for images in problem(batch_size)]
        self.images = list(zip(*(images.split(batch_size) for images in sets), strict=True))
        self.num_steps = 0

    def shapes(self):
        """Shapes of the weights of all networks, in order, as Keras has them."""
        return [_keras_shape(parameter) for player in self.players for parameter in player]

    def terms(self, x, y):
        """The generators' terms, and the images they were computed from."""
        absolute = self.torch.nn.functional.l1_loss
        (to_y, to_x), (judge_x, judge_y) = self.generators, self.judges
        fake_y, fake_x = to_y(x), to_x(y)
        identity = CYCLE_WEIGHT * IDENTITY_WEIGHT
        terms = [
            (judge_y(fake_y) - 1).square().mean(),
            (judge_x(fake_x) - 1).square().mean(),
            CYCLE_WEIGHT * absolute(to_x(fake_y), x),
            CYCLE_WEIGHT * absolute(to_y(fake_x), y),
            identity * absolute(to_x(x), x),
            identity * absolute(to_y(y), y),
        ]
        return terms, fake_x.detach(), fake_y.detach()

    def judged(self, x, fake_x, y, fake_y):
        """The discriminators' losses."""
        pairs = zip(self.judges, (x, y), (fake_x, fake_y), strict=True)
        return [0.5 * ((judge(real) - 1).square().mean() + judge(fake).square().mean()) for judge, real, fake in pairs]

    def check(self):
        """As of `TensorFlow`."""
        x, y = self.images[0]
        terms, fake_x, fake_y = self.terms(x, y)
        losses = self.judged(x, fake_x, y, fake_y)
        norms = []
        for total, player in zip((sum(terms), sum(losses)), self.players, strict=True):
            gradients = self.torch.autograd.grad(total, player)
            norms.append(self.torch.stack([gradient.norm() for gradient in gradients]).norm())
        return [value.item() for value in (*terms, *losses, *norms)]

    def step(self):
        """The generators' update, for which the discriminators' weights need no gradients; then the discriminators'."""
        x, y = self.images[self.num_steps % len(self.images)]
        self.num_steps += 1
        for weight in self.players[1]:
            weight.requires_grad_(False)
        self.adams[0].zero_grad()
        terms, fake_x, fake_y = self.terms(x, y)
        sum(terms).backward()
        self.adams[0].step()
        for weight in self.players[1]:
            weight.requires_grad_(True)
        self.adams[1].zero_grad()
        sum(self.judged(x, fake_x, y, fake_y)).backward()
        self.adams[1].step()

    def steps(self, count):
        """Seconds per step over `count` steps, after one that is not counted."""
        self.step()
        start = time.perf_counter()
        for _ in range(count):
            self.step()
        return (time.perf_counter() - start) / count


def torch_generator():
    """The layers of `resnet_generator`; TensorFlow pads strided convolutions on the right and below alone."""
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, width):
            super().__init__()
            layers = [[nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=False)] for _ in range(2)]
            norm = nn.InstanceNorm2d(width)
            self.branch = nn.Sequential(*layers[0], norm, nn.ReLU(), *layers[1], nn.InstanceNorm2d(width))

        def forward(self, x):
            return x + self.branch(x)

    class Cut(nn.Module):
        def forward(self, x):
            return x[..., :-1, :-1]

    def normed(width, *layers):
        return [*layers, nn.InstanceNorm2d(width), nn.ReLU()]

    f = FILTERS
    return nn.Sequential(
        *normed(f, nn.ReflectionPad2d(3), nn.Conv2d(3, f, 7, bias=False)),
        *normed(2 * f, nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(f, 2 * f, 3, 2, bias=False)),
        *normed(4 * f, nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(2 * f, 4 * f, 3, 2, bias=False)),
        *(Residual(4 * f) for _ in range(NUM_BLOCKS)),
        *normed(2 * f, nn.ConvTranspose2d(4 * f, 2 * f, 3, 2, bias=False), Cut()),
        *normed(f, nn.ConvTranspose2d(2 * f, f, 3, 2, bias=False), Cut()),
        nn.ReflectionPad2d(3),
        nn.Conv2d(f, 3, 7),
        nn.Tanh(),
    )


def torch_discriminator():
    """The layers of `patch_discriminator`."""
    from torch import nn

    widths = [FILTERS * min(2**level, 8) for level in range(NUM_LEVELS + 1)]
    layers = [nn.ZeroPad2d(1), nn.Conv2d(3, FILTERS, 4, 2), nn.LeakyReLU(0.2)]
    for level in range(1, NUM_LEVELS + 1):
        strides, padding = (2, nn.ZeroPad2d(1)) if level < NUM_LEVELS else (1, nn.ZeroPad2d((1, 2, 1, 2)))
        layers += [padding, nn.Conv2d(widths[level - 1], widths[level], 4, strides, bias=False)]
        layers += [nn.InstanceNorm2d(widths[level]), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(widths[-1], 1, 4))


def _keras_shape(parameter):
    """Rows and columns before channels; both libraries agree on which channels come last."""
    shape = tuple(parameter.shape)
    return (shape[2], shape[3], shape[1], shape[0]) if len(shape) == 4 else shape


def check(processes):
    """Prints what each contestant computes of the shared problem; stops if they disagree."""
    expected, shapes = processes.ask("zoo", "check"), processes.ask("zoo", "shapes")

    def rows():
        for name in processes.running:
            if processes.ask(name, "shapes") != shapes:
                raise SystemExit(f"{name} has other networks than zoo.")
            values = processes.ask(name, "check")
            difference = max(abs(a - b) / abs(b) for a, b in zip(values, expected, strict=True))
            yield (
                name,
                f"{sum(values[:6]):.4f}",
                f"{sum(values[6:8]):.4f}",
                *(f"{value:.4f}" for value in values[8:]),
                f"{difference:.1e}",
            )
            if not difference <= TOLERANCE:
                raise SystemExit(f"{name} differs from zoo by {difference:.1e}, so their times cannot be compared.")

    headings = [("generators", 12), ("judges", 10), ("|gradient|", 12), ("|gradient|", 12), ("difference", 12)]
    print_table([("", 16), *headings], rows())


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cycle_gan_step", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=4, help="turns of each contestant (default: %(default)s)")
    parser.add_argument("--steps", type=positive, default=4, help="measured steps in a turn (default: %(default)s)")
    parser.add_argument("--batch-sizes", type=positive, nargs="+", default=[1, 8], help="default: 1 8")
    parser.add_argument("--threads", type=positive, default=2, help="threads of each contestant (default: %(default)s)")
    parser.add_argument("--contestants", nargs="+", choices=PACKAGES, help="beside zoo; default: all")
    add_json(parser)
    options = parser.parse_args()

    chosen = {*(options.contestants or PACKAGES), "zoo"}
    names = installed({name: needed for name, needed in PACKAGES.items() if name in chosen})
    results = []
    with Processes(make, names, options.threads, environment=environment(options.threads)) as processes:
        for batch_size in options.batch_sizes:
            for name in names:
                processes.ask(name, "load", batch_size)
            if batch_size == options.batch_sizes[0]:
                check(processes)
            for name in names:
                processes.ask(name, "steps", 1)
            times = measure(names, options.rounds, lambda name: 1e3 * processes.ask(name, "steps", options.steps))
            rows = [
                {"batch_size": batch_size, "contestant": name, "step_ms": statistics.median(turns)}
                | {**ratios(turns, times["zoo"]), "rounds_ms": turns}
                for name, turns in times.items()
            ]
            print(
                f"\nBatch {batch_size}, {options.threads} threads, median of {options.rounds} rounds of "
                f"{options.steps} steps. Ratio: time / time of zoo, above 1 means zoo is faster."
            )
            print_table(
                [("", 16), ("ms per step", 14), ("ratio", 9), ("min - max", 17)],
                ((row["contestant"], f"{row['step_ms']:.0f}", f"{row['ratio']:.2f}", spread(row)) for row in rows),
            )
            results += rows
    write_json(options, results)


if __name__ == "__main__":
    main()
