"""What gradient checkpointing saves and costs: a deep generator with and without `Recompute`.

    python -m benchmarks.recompute

A GAN whose generator has 64 dense layers of 256 units with batch normalisation, in blocks of 8 layers; 2,048 rows. Each
trains in a process of its own. Memory is the peak above that of the built model.
"""

import argparse
import resource
import time

from benchmarks.side_by_side import Processes, print_table

WIDTH, BLOCKS, LAYERS, ROWS = 256, 8, 8, 2048


class Training:
    """A contestant: the generator with or without `Recompute`, trained in a process of its own."""

    def __init__(self, name):
        self.recompute = name == "recompute"

    def run(self):
        """(peak memory in MB, milliseconds of a step)."""
        import keras
        import numpy as np

        from zoo import GAN, Recompute, mlp_critic

        keras.utils.set_random_seed(0)
        x = inputs = keras.Input((2,))
        x = keras.layers.Dense(WIDTH)(x)
        for _ in range(BLOCKS):
            block = keras.Sequential([keras.Input((WIDTH,))])
            for _ in range(LAYERS):
                block.add(keras.layers.Dense(WIDTH, activation="relu"))
                block.add(keras.layers.BatchNormalization())
            x = Recompute(block)(x) if self.recompute else block(x)
        model = GAN(keras.Model(inputs, keras.layers.Dense(2)(x)), mlp_critic((2,), hidden=(8,)))
        model.compile(keras.optimizers.SGD(1e-3), keras.optimizers.SGD(1e-3))
        points = np.random.default_rng(0).uniform(-1, 1, (4 * ROWS, 2)).astype("float32")
        built = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        model.fit(points, batch_size=ROWS, epochs=1, verbose=0, shuffle=False)
        start = time.perf_counter()
        model.fit(points, batch_size=ROWS, epochs=1, verbose=0, shuffle=False)
        seconds = (time.perf_counter() - start) / 4
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - built) / 1024, 1000 * seconds


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recompute", description=__doc__.splitlines()[0])
    parser.parse_args()
    with Processes(Training, ("plain", "recompute"), environment={"TF_CPP_MIN_LOG_LEVEL": "3"}) as processes:
        figures = {name: processes.ask(name, "run") for name in processes.running}
    rows = ((name, f"{memory:.0f}", f"{milliseconds:.0f}") for name, (memory, milliseconds) in figures.items())
    print_table([("", 12), ("MB", 8), ("ms/step", 10)], rows)


if __name__ == "__main__":
    main()
