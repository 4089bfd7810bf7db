"""Time of one training step of a Transformer that translates: ours, PyTorch, and what transport terms add to it.

    python -m benchmarks.seq2seq_step
    python -m benchmarks.seq2seq_step --parts torch --sizes small --dropouts 0 --rounds 3 --json seq2seq_step.json
    python -m benchmarks.seq2seq_step --parts transport --sizes small --seconds 1

Random ids in batches of 64, padded to the longest; normalisation first, embeddings tied, label smoothing 0.1, Adam.
Sizes, as (width, layers, heads, hidden, vocabulary, longest sentence): small (128, 2, 4, 512, 4000, 16), medium (256,
3, 4, 1024, 8000, 24), base (512, 3, 8, 2048, 8000, 24), which is half as deep as the paper's. The contestants, each in
a process of its own:

torch: cross-entropy alone, without dropout and with 0.1, by default small and medium.

- zoo-jit         `Seq2Seq.compile(jit_compile=True)` and `fit`, as the recipe trains; the others are divided by it.
- zoo             the same without `jit_compile`.
- torch           PyTorch, eager, the same layers of `nn.Linear`, `nn.LayerNorm` and `scaled_dot_product_attention`,
                  with dropout at the same places, and Adam's fused kernel; nothing is logged, not even accuracy.
- torch-compiled  the same with `torch.compile` of network and loss as one module; the optimizer stays eager.
- torch-nn        `nn.Transformer` instead of these layers. It has biases in attention, and its dropout is also within
                  attention and feed-forward blocks, so it is not checked.

First all but the last evaluate the loss and the gradient's norm on the same weights and ids, and must agree.

transport: what the terms of optimal transport add to zoo-jit's step with dropout 0.1, by default small and base.

- mle                      cross-entropy alone; the others are divided by it.
- sequence                 and transport to the target, 50 iterations of IPOT with the envelope's gradient.
- copy-sequence            and transport to the source.
- sequence-unrolled, copy-sequence-unrolled   the same with a gradient through all iterations, as in the paper's code.
"""

import argparse
import statistics
import time
from typing import NamedTuple

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


class Size(NamedTuple):
    """A Transformer, and the longest sentence that it is given, its end included."""

    width: int
    num_layers: int
    num_heads: int
    hidden: int
    vocabulary: int
    length: int


SIZES = {
    "small": Size(128, 2, 4, 512, 4000, 16),
    "medium": Size(256, 3, 4, 1024, 8000, 24),
    "base": Size(512, 3, 8, 2048, 8000, 24),
}
PARTS = {"torch": ("small", "medium"), "transport": ("small", "base")}
# What each needs beside Zoo itself.
PACKAGES = {"zoo-jit": (), "zoo": (), **dict.fromkeys(("torch", "torch-compiled", "torch-nn"), ("torch",))}
SEQUENCE, COPY, UNROLLED = {"sequence_weight": 0.1}, {"copy_weight": 0.1}, {"transport_gradient": "unrolled"}
TRANSPORTS = {
    "mle": {},
    "sequence": SEQUENCE,
    "copy-sequence": SEQUENCE | COPY,
    "sequence-unrolled": SEQUENCE | UNROLLED,
    "copy-sequence-unrolled": SEQUENCE | COPY | UNROLLED,
}
ADAM = (1e-3, 0.9, 0.98, 1e-9)
LABEL_SMOOTHING = 0.1
TOLERANCE = 1e-3
FEWEST_STEPS = 2


def make(name, threads):
    """The contestant of a name."""
    return (Torch if name.startswith("torch") else Zoo)(name, threads)


def problem(size, batch_size):
    """Sources and targets of 8 batches: tokens, of which 2 is the end, and padding, 0."""
    numbers = np.random.default_rng(0)

    def sentences():
        lengths = numbers.integers(size.length // 4, size.length + 1, (8 * batch_size, 1))
        ids = numbers.integers(4, size.vocabulary, (8 * batch_size, size.length), "int32")
        places = np.arange(size.length)
        return np.where(places < lengths - 1, ids, np.where(places == lengths - 1, 2, 0)).astype("int32")

    return sentences(), sentences()


def weights_of(shapes):
    """Weights of given shapes, as Keras has them, that all contestants share."""
    numbers = np.random.default_rng(1)
    return [
        (numbers.normal(0, min(shape) ** -0.5, shape) if len(shape) == 2 else numbers.uniform(0.5, 1, shape)).astype(
            "float32"
        )
        for shape in shapes
    ]


class Zoo:
    """`Seq2Seq` as its users compile and fit it."""

    def __init__(self, name, threads):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self.options, self.jit_compile = TRANSPORTS.get(name, {}), name != "zoo"

    def load(self, size, batch_size, dropout):
        """Takes up a new model, and data in memory and prefetched: reading is no part of the comparison."""
        import keras
        import tensorflow as tf

        from zoo import Seq2Seq, Transformer
        from zoo.vocabulary import SPECIALS, Vocabulary

        keras.backend.clear_session()
        words = Vocabulary([*SPECIALS, *map(str, range(size.vocabulary - len(SPECIALS)))])
        *options, _, self.length = size
        names = ("width", "num_layers", "num_heads", "hidden")
        options = dict(zip(names, options, strict=True))
        self.network = Transformer(len(words), **options, dropout=dropout, norm_first=True)
        for variable, weight in zip(self.weights(), weights_of(self.shapes()), strict=True):
            variable.assign(weight)
        self.model = Seq2Seq(self.network, words, label_smoothing=LABEL_SMOOTHING, **self.options)
        self.model.compile(keras.optimizers.Adam(*ADAM), jit_compile=self.jit_compile)
        pairs = problem(size, batch_size)
        self.example = [tf.constant(side[:batch_size]) for side in pairs]
        self.pairs = tf.data.Dataset.from_tensor_slices(pairs).batch(batch_size, drop_remainder=True)
        self.pairs = self.pairs.cache().repeat().prefetch(2)

    def weights(self):
        """The network's weights, in the order of `torch_transformer`."""
        network = self.network
        found = [network.target_embedding.embeddings]
        for block in (*network.encoder, *network.decoder):
            attentions = [one for one in (block.first, block.second) if one is not None]
            layers = [layer for one in attentions for layer in (one.query, one.key_value, one.output_layer)]
            found += [weight for layer in (*layers, block.inner, block.outer, *block.norms) for weight in layer.weights]
        return found + [weight for norm in network.final_norms for weight in norm.weights]

    def shapes(self):
        """Shapes of the weights, in order."""
        return [tuple(variable.shape) for variable in self.weights()]

    def check(self):
        """Cross-entropy per token, and the norm of its gradient."""
        import tensorflow as tf

        @tf.function(jit_compile=self.jit_compile)
        def values(sources, targets):
            rows = tf.shape(targets)[0]
            scale = tf.fill((rows,), tf.cast(rows, tf.float32) / tf.reduce_sum(tf.cast(targets != 0, tf.float32)))
            variables = [variable.value for variable in self.weights()]
            with tf.GradientTape() as tape:
                terms = self.model.objective(sources, targets, targets, None, scale)
                loss = tf.reduce_mean(terms["cross_entropy"])
            gradients = [tf.convert_to_tensor(one) for one in tape.gradient(loss, variables)]
            return loss, tf.linalg.global_norm(gradients)

        return [float(value) for value in values(*self.example)]

    def steps(self, count):
        """Seconds per step over `count` steps of one `fit` call, after one that is not counted."""
        import keras

        times = []
        clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: times.append(time.perf_counter()))
        self.model.fit(self.pairs, steps_per_epoch=count + 1, shuffle=False, verbose=0, callbacks=[clock])
        return (times[-1] - times[0]) / count


class Torch:
    """The same network, loss and optimizer in PyTorch."""

    def __init__(self, name, threads):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.name = torch, name

    def load(self, size, batch_size, dropout):
        """As of `Zoo`."""
        torch = self.torch
        torch.manual_seed(0)
        network = (torch_nn_transformer if self.name == "torch-nn" else torch_transformer)(size, dropout)
        self.parameters = list(network.parameters())
        if self.name != "torch-nn":
            with torch.no_grad():
                for parameter, weight in zip(self.parameters, weights_of(self.shapes()), strict=True):
                    is_kernel = weight.ndim == 2 and parameter is not self.parameters[0]
                    parameter.copy_(torch.from_numpy(weight.T if is_kernel else weight))
        torch.compiler.reset()
        self.loss = torch.compile(network) if self.name == "torch-compiled" else network
        rate, *betas, epsilon = ADAM
        self.optimizer = torch.optim.Adam(self.parameters, rate, betas, epsilon, fused=True)
        sides = [torch.from_numpy(side).long().split(batch_size) for side in problem(size, batch_size)]
        self.pairs, self.num_steps = list(zip(*sides, strict=True)), 0

    def shapes(self):
        """Shapes of the weights, in order, as Keras has them: all but the embeddings have outputs last."""
        embedding, *others = (tuple(parameter.shape) for parameter in self.parameters)
        return [embedding, *(shape[::-1] for shape in others)]

    def check(self):
        """As of `Zoo`."""
        loss = self.loss(*self.pairs[0])
        gradients = self.torch.autograd.grad(loss, self.parameters)
        return [loss.item(), self.torch.stack([gradient.norm() for gradient in gradients]).norm().item()]

    def step(self):
        """One update."""
        pair = self.pairs[self.num_steps % len(self.pairs)]
        self.num_steps += 1
        self.optimizer.zero_grad()
        self.loss(*pair).backward()
        self.optimizer.step()

    def steps(self, count):
        """Seconds per step over `count` steps, after one that is not counted."""
        self.step()
        start = time.perf_counter()
        for _ in range(count):
            self.step()
        return (time.perf_counter() - start) / count


def torch_sinusoids(size):
    """Positions as `Transformer` has them."""
    import torch

    rates = 10000.0 ** -(torch.arange(0, size.width, 2) / size.width)
    angles = torch.arange(size.length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def torch_loss(logits, targets):
    """Cross-entropy per token that is no padding."""
    from torch.nn import functional

    return functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=0, label_smoothing=LABEL_SMOOTHING
    )


def torch_shifted(targets):
    """What comes before each of the targets."""
    import torch

    return torch.cat([torch.ones_like(targets[:, :1]), targets[:, :-1]], 1)


def torch_transformer(size, dropout):
    """A module that computes the loss of (sources, targets), with the layers and the dropout of `Transformer`."""
    from torch import nn
    from torch.nn import functional

    width = size.width

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.key_value = nn.Linear(width, width, bias=False), nn.Linear(width, 2 * width, bias=False)
            self.output = nn.Linear(width, width, bias=False)

        def forward(self, x, other, **masks):
            query, (key, value) = self.query(x), self.key_value(other).chunk(2, -1)
            heads = (one.unflatten(-1, (size.num_heads, -1)).transpose(1, 2) for one in (query, key, value))
            found = functional.scaled_dot_product_attention(*heads, **masks)
            return self.output(found.transpose(1, 2).flatten(2))

    class Block(nn.Module):
        def __init__(self, looks_back):
            super().__init__()
            self.first, self.second = Attention(), Attention() if looks_back else None
            self.inner, self.outer = nn.Linear(width, size.hidden), nn.Linear(size.hidden, width)
            self.norms = nn.ModuleList([nn.LayerNorm(width, eps=1e-6) for _ in range(3 if looks_back else 2)])
            self.dropout = nn.Dropout(dropout)

        def forward(self, x, memory, **masks):
            normed = self.norms[0](x)
            own = {"is_causal": True} if self.second else masks
            x = x + self.dropout(self.first(normed, normed, **own))
            if self.second:
                x = x + self.dropout(self.second(self.norms[1](x), memory, **masks))
            return x + self.dropout(self.outer(self.inner(self.norms[-1](x)).relu()))

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(size.vocabulary, width)
            self.encoder = nn.ModuleList([Block(False) for _ in range(size.num_layers)])
            self.decoder = nn.ModuleList([Block(True) for _ in range(size.num_layers)])
            self.norms = nn.ModuleList([nn.LayerNorm(width, eps=1e-6) for _ in range(2)])
            self.dropout = nn.Dropout(dropout)
            self.register_buffer("places", torch_sinusoids(size))

        def embed(self, tokens):
            return self.dropout(self.embedding(tokens) * width**0.5 + self.places)

        def forward(self, sources, targets):
            mask = (sources != 0)[:, None, None]
            memory, x = self.embed(sources), self.embed(torch_shifted(targets))
            for block in self.encoder:
                memory = block(memory, None, attn_mask=mask)
            memory = self.norms[0](memory)
            for block in self.decoder:
                x = block(x, memory, attn_mask=mask)
            return torch_loss(functional.linear(self.norms[1](x), self.embedding.weight), targets)

    return Transformer()


def torch_nn_transformer(size, dropout):
    """The same with the layers of `nn.Transformer`."""
    from torch import nn

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(size.vocabulary, size.width)
            nn.init.normal_(self.embedding.weight, 0, size.width**-0.5)
            layers = (size.width, size.num_heads, size.num_layers, size.num_layers, size.hidden, dropout)
            self.layers = nn.Transformer(*layers, batch_first=True, norm_first=True)
            self.dropout = nn.Dropout(dropout)
            self.register_buffer("places", torch_sinusoids(size))
            self.register_buffer("causal", nn.Transformer.generate_square_subsequent_mask(size.length))

        def embed(self, tokens):
            return self.dropout(self.embedding(tokens) * size.width**0.5 + self.places)

        def forward(self, sources, targets):
            padding = self.causal.new_zeros(sources.shape).masked_fill_(sources == 0, float("-inf"))
            said = self.layers(
                self.embed(sources),
                self.embed(torch_shifted(targets)),
                tgt_mask=self.causal,
                src_key_padding_mask=padding,
                memory_key_padding_mask=padding,
                tgt_is_causal=True,
            )
            return torch_loss(nn.functional.linear(said, self.embedding.weight), targets)

    return Transformer()


def check(processes):
    """Prints what each contestant computes of the shared problem; stops if they disagree."""
    expected, shapes = processes.ask("zoo-jit", "check"), processes.ask("zoo-jit", "shapes")
    print(f"\n{sum(map(np.prod, shapes)):,} weights, loss and gradient without dropout")

    def rows():
        for name in processes.running:
            if name == "torch-nn":
                continue
            if processes.ask(name, "shapes") != shapes:
                raise SystemExit(f"{name} has other networks than zoo-jit.")
            values = processes.ask(name, "check")
            difference = max(abs(a - b) / abs(b) for a, b in zip(values, expected, strict=True))
            yield name, *(f"{value:.4f}" for value in values), f"{difference:.1e}"
            if not difference <= TOLERANCE:
                raise SystemExit(f"{name} differs from zoo-jit by {difference:.1e}, so times cannot be compared.")

    print_table([("", 16), ("cross-entropy", 15), ("|gradient|", 14), ("difference", 13)], rows())


def turns(processes, options):
    """Milliseconds per step in each round, {name: list}."""
    counts = {}
    for name in processes.running:
        # The first call compiles.
        processes.ask(name, "steps", 1)
        first = processes.ask(name, "steps", FEWEST_STEPS)
        counts[name] = max(FEWEST_STEPS, round(options.seconds / first))
    return measure(counts, options.rounds, lambda name: 1e3 * processes.ask(name, "steps", counts[name]))


def described(options, **what):
    """What a table is about."""
    what = ", ".join(f"{name} {value}" for name, value in what.items())
    return (
        f"\n{what}, batch {options.batch_size}, {options.threads} threads, median of {options.rounds} rounds of "
        f"{options.seconds:g} s."
    )


def beside_torch(options, sizes):
    """Prints the ratios to `zoo-jit`, and returns the rows."""
    chosen = {*(options.contestants or PACKAGES), "zoo-jit"}
    names = installed({name: needed for name, needed in PACKAGES.items() if name in chosen})
    results = []
    with Processes(make, names, options.threads, environment=environment(options.threads)) as processes:
        for size in sizes:
            for name in names:
                processes.ask(name, "load", SIZES[size], options.batch_size, 0.0)
            check(processes)
            for dropout in options.dropouts:
                for name in names:
                    processes.ask(name, "load", SIZES[size], options.batch_size, dropout)
                times = turns(processes, options)
                rows = [
                    {"part": "torch", "size": size, "dropout": dropout, "contestant": name}
                    | {"step_ms": statistics.median(each), **ratios(each, times["zoo-jit"]), "rounds_ms": each}
                    for name, each in times.items()
                ]
                print(described(options, size=size, dropout=dropout))
                print("Ratio: time / time of zoo-jit, above 1 means zoo-jit is faster.")
                print_table(
                    [("", 16), ("ms per step", 14), ("ratio", 9), ("min - max", 17)],
                    ((row["contestant"], f"{row['step_ms']:.1f}", f"{row['ratio']:.2f}", spread(row)) for row in rows),
                )
                results += rows
    return results


def transport(options, sizes):
    """Prints what transport adds to `mle`, and returns the rows."""
    results = []
    with Processes(make, TRANSPORTS, options.threads, environment=environment(options.threads)) as processes:
        for size in sizes:
            for name in TRANSPORTS:
                processes.ask(name, "load", SIZES[size], options.batch_size, 0.1)
            times = turns(processes, options)
            rows = [
                {"part": "transport", "size": size, "contestant": name, "step_ms": statistics.median(each)}
                | {**ratios(each, times["mle"]), "rounds_ms": each}
                for name, each in times.items()
            ]
            print(described(options, size=size, dropout=0.1))
            print("Added: time / time of mle - 1.")
            print_table(
                [("", 24), ("ms per step", 14), ("added", 10), ("min - max", 22)],
                (
                    (row["contestant"], f"{row['step_ms']:.1f}", *_percents(row, "ratio"))
                    + (" - ".join(_percents(row, "ratio_min", "ratio_max")),)
                    for row in rows
                ),
            )
            results += rows
    return results


def _percents(row, *names):
    return [f"{100 * (row[name] - 1):.1f} %" for name in names]


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seq2seq_step", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: both")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, help="default: small medium; of transport: small base")
    parser.add_argument("--dropouts", type=float, nargs="+", default=[0.0, 0.1], help="beside PyTorch; default: 0 0.1")
    parser.add_argument("--rounds", type=positive, default=6, help="turns of each contestant (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help=f"of a turn, {FEWEST_STEPS} steps at least (default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=positive, default=64, help="default: %(default)s")
    parser.add_argument("--threads", type=positive, default=2, help="threads of each contestant (default: %(default)s)")
    parser.add_argument("--contestants", nargs="+", choices=PACKAGES, help="beside zoo-jit; default: all")
    add_json(parser)
    options = parser.parse_args()

    results = []
    for part in options.parts:
        run = beside_torch if part == "torch" else transport
        results += run(options, options.sizes or PARTS[part])
    write_json(options, results)


if __name__ == "__main__":
    main()
