"""`make demo`: trains WGAN-GP on scikit-learn's digits, publishes it, and draws samples from the export alone.

The same command again resumes, or repeats the end of a finished run.
"""

import json
import subprocess
import sys
from pathlib import Path

from recipes import wgan_gp
from zoo import runs

OUT = Path("runs") / "demo"


def train(config):
    """Trains by the WGAN-GP recipe, then samples from the export in a process without Keras and Python TensorFlow."""
    metrics = wgan_gp.train(config)
    pictures = config.out / "samples.png"
    print("\nSampling from the export in a new process that imports neither Keras nor Python TensorFlow:", flush=True)
    command = ["-m", "zoo.cli", "predict", metrics["export"], "--signature", "sample"]
    inputs = json.dumps({"seed": list(range(64))})
    subprocess.run([sys.executable, *command, "--inputs", inputs, "--png", str(pictures)], check=True)
    print(
        f"\nSamples from the export: {pictures}\n"
        f"Samples and losses of the training: {config.out / 'figures'}\n"
        f"{runs.report(metrics, 'frechet_distance')}\n\n"
        "Next:\n"
        f"  .venv/bin/tensorboard --logdir {config.out / 'logs'}\n"
        "  .venv/bin/python -m recipes.wgan_gp --data fashion_mnist --epochs 20\n"
        f"  .venv/bin/zoo serve {Path(metrics['export']).parents[1]}    # then try it at http://localhost:8501\n"
        "  docker compose --project-directory exports up    # TF Serving; see exports/README.md"
    )


def config():
    """The settings of the demonstration: under four minutes on two cores."""
    return wgan_gp.Config(
        data="digits",
        epochs=30,
        steps_per_epoch=150,
        latent_dim=32,
        learning_rate=2e-4,
        evaluate_every=5,
        out=OUT,
        exports=Path("exports"),
    )


if __name__ == "__main__":
    if given := " ".join(sys.argv[1:]):
        sys.exit(f"recipes.demo takes no options. Received: {given}. Use `python -m recipes.wgan_gp {given}`.")
    runs.start(train, config)
