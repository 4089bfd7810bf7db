"""What the Fréchet distance of runs says of samples that are known: new examples, copies, and fewer of either.

    python -m benchmarks.frechet
    python -m benchmarks.frechet --data fashion_mnist

The reference, and the classifier whose features are compared, are of the training images, as in every run: half of
them are compared with. "Copies" are training images, drawn with replacement, as many as a generator is asked for: one
that has learnt them by heart. "Held out" are images of the test split, which nobody has seen, drawn in the same way.
"""

import argparse

import numpy as np

from benchmarks.side_by_side import add_json, positive, print_table, write_json
from zoo import data
from zoo.evaluation import Evaluator


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frechet", description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits", help="labelled images (default: %(default)s)")
    parser.add_argument("--draws", type=positive, default=5, help="of each kind (default: %(default)s)")
    add_json(parser)
    options = parser.parse_args()

    train, test = (data.load(options.data, split=split) for split in ("train", "test"))
    evaluate = Evaluator(train, test)
    found = evaluate.real_against_real()
    count = found["num_images"]
    kinds = {"real: the other half of the training images": [found["frechet_distance"]]}
    for name, source in (("copies of training images", train), ("held out", test)):
        images, kinds[name] = source.examples(None), []
        for draw in range(options.draws):
            rows = np.random.default_rng(draw).integers(len(images), size=count)
            kinds[name].append(evaluate.of_images(images[rows])["frechet_distance"])
    rows = [{"samples": name, "mean": float(np.mean(values)), "values": values} for name, values in kinds.items()]
    print(f"{found['frechet_label']}, {count} images each, of {train.size} to train with and {test.size} held out.")
    print_table(
        [("", 44), ("distance", 10), ("min - max", 16)],
        (
            (row["samples"], f"{row['mean']:.2f}", f"{min(row['values']):.2f} - {max(row['values']):.2f}")
            for row in rows
        ),
    )
    write_json(options, rows)


if __name__ == "__main__":
    main()
