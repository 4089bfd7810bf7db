"""Modes found on the ring of 8 and the grid of 25 Gaussians: GAN, WGAN and WGAN-GP, one pair of networks, one budget.

    python -m benchmarks.modes                       # the table of the README: 5 seeds
    python -m benchmarks.modes --seeds 1 --steps 2000 --models wgan_gp

Every model gets the same perceptrons, batch, number of generator updates and moving average. Protocol of PacGAN (Lin
et al. 2018): 2,500 samples; high quality is within 3 standard deviations of the nearest mode; a mode counts with one
such sample.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tyro

from zoo import GAN, WGAN, WGANGP, data, mlp_critic, mlp_generator
from zoo.evaluation import Evaluator
from zoo.runs.folder import write_json

MODELS = {
    "gan": lambda networks, **options: GAN(*networks, **options),
    "wgan": lambda networks, **options: WGAN(*networks, **options),
    "wgan_gp": lambda networks, **options: WGANGP(*networks, gradient_penalty_weight=0.1, **options),
}


def optimizer(name, updates):
    """GAN and WGAN-GP: Adam with the betas of WGAN-GP's toy code, 1e-3 falling to 0. WGAN: the paper's RMSprop."""
    if name == "wgan":
        return keras.optimizers.RMSprop(5e-5)
    falling = keras.optimizers.schedules.PolynomialDecay(1e-3, updates, 0.0)
    return keras.optimizers.Adam(falling, beta_1=0.5, beta_2=0.9)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the table."""

    models: tuple[str, ...] = ("gan", "wgan", "wgan_gp")
    """Models to train."""
    sets: tuple[str, ...] = ("ring", "grid")
    """Data sets."""
    seeds: int = 5
    """Seeds 0 to this number less one."""
    steps: int = 5_000
    """Generator updates."""
    batch_size: int = 256
    """Examples per update."""
    width: int = 128
    """Width of the three hidden layers."""
    generator_ema: float = 0.999
    """Decay of the moving average that is sampled."""
    out: Path = Path("runs/modes.json")
    """Results; runs that are there already are not repeated."""


def train(name, source, config, seed):
    """One run: the trained model, and the milliseconds of a step."""
    keras.utils.set_random_seed(seed)
    hidden = (config.width,) * 3
    networks = mlp_generator(source.shape, hidden=hidden), mlp_critic(source.shape, hidden=hidden)
    model = MODELS[name](networks, generator_ema=config.generator_ema, seed=seed)
    group = getattr(model, "critic_steps", None)
    optimizers = optimizer(name, config.steps * (group or 1)), optimizer(name, config.steps)
    model.compile(*optimizers, jit_compile=True, steps_per_execution=50)
    batches = source.batches(config.batch_size, seed=seed, group=group)
    start = time.perf_counter()
    model.fit(batches, steps_per_epoch=config.steps, shuffle=False, verbose=0)
    return model, 1000 * (time.perf_counter() - start) / config.steps


def main(config):
    """Trains what is missing, then prints the table."""
    results = json.loads(config.out.read_text()) if config.out.exists() else {}
    options = f"{config.steps} steps of {config.batch_size}, 3 x {config.width}, average {config.generator_ema}"
    for set_name in config.sets:
        source = data.load(set_name)
        evaluate = Evaluator(source, data.load(set_name, split="test"))
        for name in config.models:
            for seed in range(config.seeds):
                key = f"{set_name}/{name}/{seed}/{options}"
                if key not in results:
                    model, milliseconds = train(name, source, config, seed)
                    results[key] = {**evaluate(model), "milliseconds": milliseconds}
                    write_json(config.out, results)
                    print(key, results[key], flush=True)
    print(f"\n{options}; mean ± standard deviation over {config.seeds} seeds, fewest in brackets\n")
    print("| set | model | modes found | high quality % | W2 to held-out data |\n|---|---|---|---|---|")
    for set_name in config.sets:
        for name in config.models:
            rows = [results[f"{set_name}/{name}/{seed}/{options}"] for seed in range(config.seeds)]
            modes, quality, distance = (
                np.array([row[key] for row in rows]) for key in ("modes_found", "high_quality", "wasserstein_2")
            )
            cells = [
                f"{modes.mean():.1f} ± {modes.std():.1f} ({modes.min()}) of {rows[0]['num_modes']}",
                f"{100 * quality.mean():.1f} ± {100 * quality.std():.1f}",
                f"{distance.mean():.3f} ± {distance.std():.3f}",
            ]
            print(f"| {set_name} | {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
