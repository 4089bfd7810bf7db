"""What gradient checkpointing saves and costs: a deep generator with and without `Recompute`.

    python -m benchmarks.recompute

A GAN whose generator has 64 dense layers of 256 units with batch normalisation, in blocks of 8 layers; 2,048 rows. Each
trains in a process of its own. Memory is the peak above that of the built model.
"""

import argparse
import os
import resource
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WIDTH, BLOCKS, LAYERS, ROWS = 256, 8, 8, 2048


def train(recompute):
    """Prints peak memory in MB and the time of a step in ms."""
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
        x = Recompute(block)(x) if recompute else block(x)
    model = GAN(keras.Model(inputs, keras.layers.Dense(2)(x)), mlp_critic((2,), hidden=(8,)))
    model.compile(keras.optimizers.SGD(1e-3), keras.optimizers.SGD(1e-3))
    points = np.random.default_rng(0).uniform(-1, 1, (4 * ROWS, 2)).astype("float32")
    built = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model.fit(points, batch_size=ROWS, epochs=1, verbose=0, shuffle=False)
    start = time.perf_counter()
    model.fit(points, batch_size=ROWS, epochs=1, verbose=0, shuffle=False)
    seconds = (time.perf_counter() - start) / 4
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - built) / 1024, 1000 * seconds)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recompute", description=__doc__.splitlines()[0])
    parser.add_argument("--child", choices=("plain", "recompute"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return train(options.child == "recompute")
    print(f"{'':12}{'MB':>8}{'ms/step':>10}")
    for name in ("plain", "recompute"):
        command = [sys.executable, "-m", "benchmarks.recompute", "--child", name]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        memory, milliseconds = map(float, output.split()[-2:])
        print(f"{name:12}{memory:8.0f}{milliseconds:10.0f}")


if __name__ == "__main__":
    main()
