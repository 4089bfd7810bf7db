"""Draws docs/samples.png: what recipes generate after the same time, side by side.

python docs/plot_samples.py runs/a runs/b ... --out docs/samples.png
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

import zoo
from zoo.pictures import grid


def main():
    """Draws 36 samples of each run with its Fréchet distance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--out", type=Path, default=Path("docs/samples.png"))
    options = parser.parse_args()
    figure, axes = plt.subplots(1, len(options.runs), figsize=(3 * len(options.runs), 3.3), layout="constrained")
    for axis, run in zip(np.atleast_1d(axes), options.runs, strict=True):
        model = zoo.load(run)
        metrics = json.loads((run / "metrics.json").read_text())
        axis.imshow(np.asarray(grid(model.generate(36, seed=0))), cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{type(model).__name__}, FID {metrics['frechet_distance']:.3g}")
        axis.axis("off")
    figure.savefig(options.out, dpi=90)


if __name__ == "__main__":
    main()
