"""Time and memory of a fully convolutional network: ours and PyTorch's, with the same layers and weights.

    python -m benchmarks.fcn
    python -m benchmarks.fcn --parts segment --stride 32 --rounds 3 --json fcn.json
    python -m benchmarks.fcn --parts train --width 1024

FCN-8s on VGG16 with 11 classes, as in the paper: fc6 and fc7 are 4096 wide, with dropout of 0.5. Images are those of
CamVid in size, 180 x 240 pixels, which both pad to 192 x 256. PyTorch's gradient of an fc6 so wide takes more than a
minute on some CPUs; `--width 1024` compares the updates without that. The contestants, each in a process of its own:

segment: one uint8 image to its label map, a NumPy array.

- zoo             `FCN.segment`; the others are divided by it.
- torch           the same in PyTorch, eager, in inference mode.

train: one update on four images; SGD with momentum and weight decay.

- zoo             `FCN.compile()` and `fit`, whose step also counts what is right; the others are divided by it.
- zoo-jit         the same with `jit_compile=True`; only with `--compiled`, since XLA compiles for minutes.
- torch           the same in PyTorch; nothing is logged.

memory: how far one image of 1000 x 1000 pixels raises the memory of the process at its peak; on Linux only.

First both segment the same image, and evaluate the loss without dropout, and must agree.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.gan_step.contestants import environment
from benchmarks.side_by_side import (
    Processes,
    add_json,
    installed,
    positive,
    print_table,
    rows_of,
    show,
    timed,
    turns,
    write_json,
)

NUM_CLASSES = 11
SIZE, LARGE, BATCH_SIZE = (180, 240), (1000, 1000), 4
SGD = {"learning_rate": 1e-4, "momentum": 0.9, "weight_decay": 5e-4}
PACKAGES = {"zoo": (), "torch": ("torch",)}
PARTS = ("segment", "train", "memory")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONVOLUTIONS = [(block, layer) for block in range(1, 6) for layer in range(1, 3 + (block > 2))]


def make(name, threads, stride, width):
    """The contestant of a name."""
    return (Torch if name == "torch" else Zoo)(name, threads, stride, width)


def images(size, count):
    """Parts of scikit-learn's photos, made as large as wanted, uint8 (count, height, width, 3)."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(load_sample_images().images[number % 2]) for number in range(count)]
    return np.stack([np.asarray(photo.resize(size[::-1], Image.Resampling.BICUBIC)) for photo in photos])


def labels(count):
    """Stripes of all classes, and pixels that do not count."""
    rows, columns = np.indices(SIZE)
    stripes = (rows // 16 + columns // 24) % (NUM_CLASSES + 1)
    return np.tile(np.where(stripes == NUM_CLASSES, 255, stripes).astype("uint8"), (count, 1, 1))


def state(stride, width):
    """{layer: [kernel (height, width, in, out), bias]}, the same for all."""
    numbers, found, into = np.random.default_rng(1), {}, 3

    def add(name, size, into, out, gain=2.0):
        kernel = numbers.standard_normal((size, size, into, out), "float32")
        found[name] = [kernel * np.float32((gain / (size * size * into)) ** 0.5), np.zeros(out, "float32")]

    for block, layer in CONVOLUTIONS:
        out = min(512, 32 << block)
        add(f"block{block}_conv{layer}", 3, into, out)
        into = out
    add("fc6", 7, into, width)
    add("fc7", 1, width, width)
    add("score_fr", 1, width, NUM_CLASSES)
    for level, channels in ((4, 512), (3, 256)):
        if stride <= 2**level:
            add(f"score_c{level}", 1, channels, NUM_CLASSES)
            add(f"upscore_to_c{level}", 4, NUM_CLASSES, NUM_CLASSES)
            found[f"upscore_to_c{level}"].pop()
    return found


class Zoo:
    """`FCN` as its users call it."""

    def __init__(self, name, threads, stride, width):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        import keras
        import keras_cv

        from zoo import FCN, fcn_head, fcn_levels

        self.name = name
        # Numbers that are not random are there sooner, and are replaced.
        for kind in (keras.initializers.HeNormal, keras.initializers.GlorotUniform):
            kind.__call__ = lambda self, shape, dtype=None, **_: tf.zeros(shape, dtype)
        backbone = keras_cv.models.VGG16Backbone(
            include_rescaling=False, include_top=False, input_shape=(None, None, 3)
        )
        head = fcn_head((256, 512, 512), NUM_CLASSES, stride, width=width)
        self.model = FCN(fcn_levels(backbone), NUM_CLASSES, stride, head=head)
        for layer, values in state(stride, width).items():
            home = self.model.backbone if layer.startswith("block") else self.model.head
            home.get_layer(layer).set_weights(values)

    def loss(self):
        """The loss of a batch, without dropout."""
        import tensorflow as tf

        given, wanted = tf.constant(images(SIZE, BATCH_SIZE)), tf.constant(labels(BATCH_SIZE))
        keys, scale = tf.zeros(BATCH_SIZE, tf.int64), tf.ones(BATCH_SIZE)
        found = tf.function(self.model.objective)(given, wanted, keys, scale, training=False)
        return float(tf.reduce_sum(found["nats"]) / tf.reduce_sum(found["weights"]))

    def load(self, part):
        """Takes up what it is to work on."""
        import keras
        import tensorflow as tf

        self.image = images(SIZE, 1)
        if part == "train":
            self.model.compile(keras.optimizers.SGD(**SGD), jit_compile=self.name == "zoo-jit")
            pairs = images(SIZE, BATCH_SIZE), labels(BATCH_SIZE)
            self.pairs = tf.data.Dataset.from_tensors(pairs).cache().repeat().prefetch(2)

    def found(self):
        """The label map of the image."""
        return self.model.segment(self.image)[0]

    def segment(self, count):
        """Seconds per image."""
        return timed(self.found, count)

    def train(self, count):
        """Seconds per step over `count` steps of one `fit` call, after one that is not counted."""
        import keras

        times = []
        clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: times.append(time.perf_counter()))
        self.model.fit(self.pairs, steps_per_epoch=count + 1, shuffle=False, verbose=0, callbacks=[clock])
        return (times[-1] - times[0]) / count

    def memory(self):
        """Megabytes by which a large image raises the peak."""
        large = images(LARGE, 1)
        self.model.segment(large[:, :32, :32])
        return raised(lambda: self.model.segment(large))


class Torch:
    """The same network in PyTorch."""

    def __init__(self, name, threads, stride, width):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.stride, nn = torch, stride, torch.nn
        layers = {}
        for layer, values in state(stride, width).items():
            kernel, size = values[0], values[0].shape[0]
            if layer.startswith("upscore"):
                layers[layer] = nn.ConvTranspose2d(*kernel.shape[:1:-1], size, 2, 1, bias=False)
                # Keras keeps (height, width, out, in), PyTorch (in, out, height, width).
                kernel = kernel.transpose(3, 2, 0, 1)
            else:
                layers[layer] = nn.Conv2d(*kernel.shape[2:], size, padding=size // 2)
                layers[layer].bias.data = torch.from_numpy(values[1])
                kernel = kernel.transpose(3, 2, 0, 1)
            layers[layer].weight.data = torch.from_numpy(kernel.copy())
        self.model = nn.ModuleDict(layers)

    def scores(self, pixels, training=False):
        """(batch, classes, height, width) of uint8 images (batch, height, width, 3)."""
        torch, layers = self.torch, self.model
        functional = torch.nn.functional
        height, width = pixels.shape[1:3]
        x = pixels.permute(0, 3, 1, 2).float().div(255)
        x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        x = functional.pad(x, (0, -width % 32, 0, -height % 32))
        levels = {}
        for block in range(1, 6):
            for layer in (one for of, one in CONVOLUTIONS if of == block):
                x = functional.relu(layers[f"block{block}_conv{layer}"](x))
            levels[block] = x = functional.max_pool2d(x, 2)
        for name in ("fc6", "fc7"):
            x = functional.dropout(functional.relu(layers[name](x)), 0.5, training)
        x = layers["score_fr"](x)
        for level in (4, 3):
            if self.stride <= 2**level:
                x = layers[f"upscore_to_c{level}"](x) + layers[f"score_c{level}"](levels[level])
        x = functional.interpolate(x, scale_factor=self.stride, mode="bilinear", align_corners=False)
        return x[..., :height, :width]

    def nats(self, training):
        """Mean cross-entropy of the pixels that count."""
        scores = self.scores(self.given, training)
        return self.torch.nn.functional.cross_entropy(scores, self.wanted, ignore_index=255)

    def loss(self):
        """As of `Zoo`."""
        self.load("train")
        with self.torch.no_grad():
            return self.nats(False).item()

    def load(self, part):
        """As of `Zoo`."""
        self.image = images(SIZE, 1)
        if part == "train":
            self.given = self.torch.from_numpy(images(SIZE, BATCH_SIZE))
            self.wanted = self.torch.from_numpy(labels(BATCH_SIZE)).long()
            self.optimizer = self.torch.optim.SGD(
                self.model.parameters(), SGD["learning_rate"], SGD["momentum"], weight_decay=SGD["weight_decay"]
            )

    def found(self, image=None):
        """As of `Zoo`."""
        with self.torch.inference_mode():
            pixels = self.torch.from_numpy(self.image if image is None else image)
            return self.scores(pixels).argmax(1).to(self.torch.uint8).numpy()[0]

    def segment(self, count):
        """Seconds per image."""
        return timed(self.found, count)

    def step(self):
        """One update."""
        self.optimizer.zero_grad()
        self.nats(True).backward()
        self.optimizer.step()

    def train(self, count):
        """Seconds per step."""
        return timed(self.step, count)

    def memory(self):
        """As of `Zoo`."""
        large = images(LARGE, 1)
        self.found(large[:, :32, :32].copy())
        return raised(lambda: self.found(large))


def raised(call):
    """Megabytes by which a call raises this process's memory, at its peak."""
    # Linux forgets the peak so far, which was reached when the weights were made.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    call()
    return peak() - before


def peak():
    """The most memory that this process had, in megabytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def check(processes):
    """Prints how far apart both are; stops if it is too far."""
    ours, theirs = (processes.ask(name, "found") for name in ("zoo", "torch"))
    same = (ours == theirs).mean()
    losses = [processes.ask(name, "loss") for name in ("zoo", "torch")]
    print(f"\n{same:.3%} of the labels are the same; losses {losses[0]:.5f} and {losses[1]:.5f}")
    if same < 0.999 or not np.isclose(*losses, rtol=1e-4):
        raise SystemExit("They differ too much for times to be compared.")


def run(part, processes, names, options):
    """Prints and returns the ratios of a part."""
    if part == "memory":
        found = {name: [processes.ask(name, "memory")] for name in names}
        rows = [
            {"part": part, "contestant": name, "megabytes": each[0], "ratio": each[0] / found["zoo"][0]}
            for name, each in found.items()
        ]
        print("\nPeak of memory for one image of 1000 x 1000 pixels, beyond that of a small one")
        columns = [("", 16), ("megabytes", 12), ("ratio", 9)]
        print_table(columns, ((row["contestant"], f"{row['megabytes']:.0f}", f"{row['ratio']:.2f}") for row in rows))
        return rows
    for name in names:
        processes.ask(name, "load", part)
    if part == "segment" and "torch" in names:
        check(processes)
    times = turns(names, options, lambda name, count: processes.ask(name, part, count))
    rows = rows_of(times, part=part)
    size = f"{SIZE[0]} x {SIZE[1]} pixels"
    show(f"One image of {size}" if part == "segment" else f"One update on {BATCH_SIZE} images of {size}", options, rows)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--compiled", action="store_true", help="also train ours compiled by XLA")
    parser.add_argument("--stride", type=int, choices=(32, 16, 8), default=8, help="default: %(default)s")
    parser.add_argument("--width", type=positive, default=4096, help="channels of fc6 and fc7 (default: %(default)s)")
    parser.add_argument("--rounds", type=positive, default=6, help="turns of each contestant (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="of a turn, two runs at least (default: %(default)s)"
    )
    parser.add_argument("--threads", type=positive, default=2, help="threads of each contestant (default: %(default)s)")
    add_json(parser)
    options = parser.parse_args()
    present, results = installed(PACKAGES), []
    for part in options.parts:
        jit = ["zoo-jit"] if options.compiled and part == "train" else []
        names = [name for name in ("zoo", *jit, "torch") if name.partition("-")[0] in present]
        settings = environment(options.threads)
        arguments = options.threads, options.stride, options.width
        with Processes(make, names, *arguments, environment=settings) as processes:
            results += run(part, processes, names, options)
    write_json(options, results)


if __name__ == "__main__":
    main()
