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
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from PIL import Image

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


def measure(model, contestants, rounds, steps):
    """{name: (seconds, processor seconds) per step in each round}."""
    model.fit(contestants["synthetic"], steps_per_epoch=1, shuffle=False, verbose=0)
    # Kept from turn to turn, with the batches that are prefetched: a new one would fill its buffers in each turn.
    iterators = {name: iter(batches) for name, batches in contestants.items()}
    names = list(contestants)
    for name in names:
        step_seconds(model, iterators[name], 2)
    times = {name: [] for name in names}
    for turn in range(rounds):
        # Another one begins each round, so that nobody always follows the same contestant.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times[name].append(step_seconds(model, iterators[name], steps))
    return times


def table(contestants, times):
    """One row per contestant; ratio = its time per step / that of synthetic in the same round."""
    rows = []
    for name, batches in contestants.items():
        # One row per round, (by the clock, of the processor).
        ratios = np.divide(times[name], times["synthetic"])
        rows.append(
            {
                "contestant": name,
                "step_ms": 1e3 * statistics.median(step for step, _ in times[name]),
                "ratio": np.median(ratios, 0).tolist(),
                "ratio_min": ratios.min(0).tolist(),
                "ratio_max": ratios.max(0).tolist(),
                "images_per_second": images_per_second(batches, 20),
                "rounds_ms": (1e3 * np.array(times[name])).tolist(),
            }
        )
    return rows


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.input", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contestant (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=6, help="measured steps in a turn (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--images", type=int, default=4000, help="images in the set (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the figures of all rounds to")
    options = parser.parse_args()

    model = WGANGP(
        dcgan_generator(IMAGE_SHAPE, latent_dim=128, norm="layer"), dcgan_critic(IMAGE_SHAPE), critic_steps=CRITIC_STEPS
    )
    model.compile()
    with tempfile.TemporaryDirectory() as folder:
        contestants = make(Path(folder), options.images, options.batch_size)
        rows = table(contestants, measure(model, contestants, options.rounds, options.steps))
    print(
        f"\nBatch {options.batch_size}, {CRITIC_STEPS} critic steps, {os.cpu_count()} cores, median of "
        f"{options.rounds} rounds of {options.steps} steps. Ratio: step time / that of synthetic in the same round."
    )
    titles = f"{'ms per step':>12}{'ratio':>8}{'min - max':>15}{'processor':>12}{'min - max':>15}"
    print(f"{'':12}{titles}{'images/s alone':>17}")
    for row in rows:
        columns = "".join(
            f"{row['ratio'][clock]:{width}.2f}{row['ratio_min'][clock]:8.2f} - {row['ratio_max'][clock]:.2f}"
            for clock, width in ((0, 8), (1, 12))
        )
        print(f"{row['contestant']:12}{row['step_ms']:12.1f}{columns}{row['images_per_second']:17,.0f}")
    if options.json:
        settings = {name: value for name, value in vars(options).items() if name != "json"}
        options.json.write_text(json.dumps({"settings": settings, "results": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
