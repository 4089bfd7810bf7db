"""What reading costs a training step of WGAN-GP: synthetic batches, memory, a folder, records, a cached folder.

    python -m benchmarks.input
    python -m benchmarks.input --rounds 3 --steps 4 --json input.json

One step is 5 critic updates and one of the generator, DCGAN networks, 28x28x1 images, batches of 64: 320 new images.
The contestants:

- synthetic   one batch that is in memory already, again and again: nothing is read. The others are divided by it.
- memory      uint8 images in memory, shuffled, as `data.load("fashion_mnist")` gives them.
- folder      PNG files, one image each.
- records     the same images in TFRecord files, as `python -m zoo.data.records` writes them.
- cached      the folder with `cache=True`, after its first epoch.

They take turns in one process with one model, so that a busy machine slows all of them, and ratios count. Reading and
training share the cores: where a step keeps all of them busy, decoding takes its time from the step, whatever is
prefetched. So two things stand beside: the ratio of processor time, which other programs on the machine hardly change,
and the images per second that each reads alone, without a step.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks.side_by_side import add_json, measure, positive, print_table, ratios, write_json
from zoo import WGANGP, data, dcgan_critic, dcgan_generator
from zoo.data import records

IMAGE_SHAPE = (28, 28, 1)
CRITIC_STEPS = 5


def write_images(folder, count):
    """PNG files of smooth random images: as hard to decompress as photos, unlike digits on black."""
    folder.mkdir()
    numbers = np.random.default_rng(0)
    for index in range(count):
        rough = Image.fromarray(numbers.integers(0, 256, (7, 7), dtype="uint8"))
        rough.resize(IMAGE_SHAPE[1::-1], Image.Resampling.BICUBIC).save(folder / f"{index:06}.png")


def make(folder, count, batch_size):
    """{contestant: data set of endless batches}."""
    write_images(folder / "pictures", count)
    pictures = data.load(folder / "pictures")
    for split in ("train", "test"):
        records.write(data.load(folder / "pictures", split=split), folder / "records", split)
    cached = data.load(folder / "pictures", cache=True)
    memory = data.Source("memory", np.concatenate(list(cached.pixels())))  # fills the cache, too
    sources = {"memory": memory, "folder": pictures, "records": data.load(folder / "records"), "cached": cached}
    batches = {name: source.batches(batch_size, group=CRITIC_STEPS) for name, source in sources.items()}
    first = next(iter(batches["memory"]))
    return {"synthetic": tf.data.Dataset.from_tensors(first).repeat(), **batches}


def images_per_second(batches, count):
    """Images that a pipeline gives when nothing else works, after a batch that is not counted."""
    iterator = iter(batches)
    num_images = int(np.prod(next(iterator).shape[:2]))
    start = time.perf_counter()
    for _ in range(count):
        next(iterator)
    return count * num_images / (time.perf_counter() - start)


def step_seconds(model, iterator, count):
    """(seconds, processor seconds of all threads) per step over `count` steps, after a step that is not counted."""
    model.train_function(iterator)
    start = time.perf_counter(), time.process_time()
    for _ in range(count):
        model.train_function(iterator)
    end = time.perf_counter(), time.process_time()
    return tuple((last - first) / count for first, last in zip(start, end, strict=True))


def step_times(model, contestants, rounds, steps):
    """{name: (seconds, processor seconds) per step in each round}."""
    model.fit(contestants["synthetic"], steps_per_epoch=1, shuffle=False, verbose=0)
    # Kept from turn to turn, with the batches that are prefetched: a new one would fill its buffers in each turn.
    iterators = {name: iter(batches) for name, batches in contestants.items()}
    for iterator in iterators.values():
        step_seconds(model, iterator, 2)
    return measure(contestants, rounds, lambda name: step_seconds(model, iterators[name], steps))


def table(contestants, times):
    """One row per contestant; ratio = its time per step / that of synthetic, by the clock and of the processor."""
    base = list(zip(*times["synthetic"], strict=True))
    rows = []
    for name, batches in contestants.items():
        clocks = list(zip(*times[name], strict=True))
        found = [ratios(*pair) for pair in zip(clocks, base, strict=True)]
        rows.append(
            {
                "contestant": name,
                "step_ms": 1e3 * statistics.median(clocks[0]),
                **{key: [ratio[key] for ratio in found] for key in found[0]},
                "images_per_second": images_per_second(batches, 20),
                "rounds_ms": (1e3 * np.array(times[name])).tolist(),
            }
        )
    return rows


def cells(row):
    """A row of the table as text."""
    by_clock = [
        text
        for ratio, least, most in zip(row["ratio"], row["ratio_min"], row["ratio_max"], strict=True)
        for text in (f"{ratio:.2f}", f"{least:.2f} - {most:.2f}")
    ]
    return row["contestant"], f"{row['step_ms']:.1f}", *by_clock, f"{row['images_per_second']:,.0f}"


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.input", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=7, help="turns of each contestant (default: %(default)s)")
    parser.add_argument("--steps", type=positive, default=6, help="measured steps in a turn (default: %(default)s)")
    parser.add_argument("--batch-size", type=positive, default=64, help="default: %(default)s")
    parser.add_argument("--images", type=positive, default=4000, help="images in the set (default: %(default)s)")
    add_json(parser)
    options = parser.parse_args()

    model = WGANGP(
        dcgan_generator(IMAGE_SHAPE, latent_dim=128, norm="layer"), dcgan_critic(IMAGE_SHAPE), critic_steps=CRITIC_STEPS
    )
    model.compile()
    with tempfile.TemporaryDirectory() as folder:
        contestants = make(Path(folder), options.images, options.batch_size)
        rows = table(contestants, step_times(model, contestants, options.rounds, options.steps))
    print(
        f"\nBatch {options.batch_size}, {CRITIC_STEPS} critic steps, {os.cpu_count()} cores, median of "
        f"{options.rounds} rounds of {options.steps} steps. Ratio: step time / that of synthetic in the same round."
    )
    columns = [("", 12), ("ms per step", 12), ("ratio", 8), ("min - max", 15), ("processor", 12), ("min - max", 15)]
    print_table([*columns, ("images/s alone", 17)], map(cells, rows))
    write_json(options, rows)


if __name__ == "__main__":
    main()
