"""Modes found on the ring of 8 and the grid of 25 Gaussians by every model, with one pair of networks and one budget.

    python -m benchmarks.modes                       # the table of the README: 5 seeds
    python -m benchmarks.modes --seeds 1 --steps 2000 --models wgan_gp
    python -m benchmarks.modes --seeds 1 --epsilons 0.01 0.1 1 10    # SinkhornGAN with and without its correction

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

from zoo import GAN, OTGAN, WGAN, WGANGP, SinkhornGAN, data, mlp_critic, mlp_generator
from zoo.evaluation import Evaluator
from zoo.runs.folder import write_json

# Features of OT-GAN's critic, whose last layer alone is wider than that of the others.
NUM_FEATURES = 64
# Samples of the data that show how far apart two perfect draws are.
REAL_DRAWS = 20


def sinkhorn_gan(generator, source, width, **options):
    """A fixed cost, so no critic: the distance itself, whose gradient does not grow with it."""
    return SinkhornGAN(generator, **{"epsilon": 0.1, "cost": "euclidean", **options})


def ot_gan(generator, source, width, **options):
    """A critic of features that knows the scale of the points, and the authors' code's five generator steps."""
    scale = float(source.examples(2500).std())
    critic = mlp_critic(source.shape, (width,) * 3, NUM_FEATURES, input_scale=scale)
    settings = {"epsilon": 0.01, "generator_steps": 5, "gradient_penalty_weight": 1.0}
    return OTGAN(generator, critic, **settings, **options)


def adversary(model, **settings):
    """Function that makes a model whose critic gives a score."""

    def make(generator, source, width, **options):
        return model(generator, mlp_critic(source.shape, hidden=(width,) * 3), **settings, **options)

    return make


MODELS = {
    "gan": adversary(GAN),
    "wgan": adversary(WGAN),
    "wgan_gp": adversary(WGANGP, gradient_penalty_weight=0.1),
    "sinkhorn_gan": sinkhorn_gan,
    "ot_gan": ot_gan,
}


def optimizers(name, model, updates):
    """Adam with the betas of WGAN-GP's toy code, 1e-3 falling to 0; for WGAN the paper's RMSprop.

    For OT-GAN the paper's betas, and 3e-4 for the critic.
    """

    def falling(start, updates, **betas):
        return keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(start, updates, 0.0), **betas)

    if name == "wgan":
        return [keras.optimizers.RMSprop(5e-5) for _ in range(2)]
    if name == "ot_gan":
        betas = {"beta_1": 0.5, "beta_2": 0.999}
        return [falling(3e-4, -(-updates // model.generator_steps), **betas), falling(1e-3, updates, **betas)]
    critic_updates = [updates * getattr(model, "critic_steps", 1)] * (len(model.optimizer_networks) - 1)
    return [falling(1e-3, count, beta_1=0.5, beta_2=0.9) for count in (*critic_updates, updates)]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the table."""

    models: tuple[str, ...] = tuple(MODELS)
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
    epsilons: tuple[float, ...] = ()
    """Instead of the table of all models, that of SinkhornGAN with these, with and without its correction."""
    out: Path = Path("runs/modes.json")
    """Results; runs that are there already are not repeated."""


def train(name, source, config, seed, **settings):
    """One run: the trained model, and the milliseconds of a generator update."""
    keras.utils.set_random_seed(seed)
    generator = mlp_generator(source.shape, hidden=(config.width,) * 3)
    model = MODELS[name](generator, source, config.width, generator_ema=config.generator_ema, seed=seed, **settings)
    generator_steps = getattr(model, "generator_steps", 1)
    updates = generator_steps + 1 if generator_steps > 1 else getattr(model, "critic_steps", 1)
    model.compile(*optimizers(name, model, config.steps), jit_compile=True, steps_per_execution=50)
    batches = source.batches(config.batch_size, seed=seed, group=updates if updates > 1 else None)
    start = time.perf_counter()
    model.fit(batches, steps_per_epoch=-(-config.steps // generator_steps), shuffle=False, verbose=0)
    return model, 1000 * (time.perf_counter() - start) / config.steps


def rows_of(config):
    """{label: (model, settings)} of the table's rows."""
    if not config.epsilons:
        return {name: (name, {}) for name in config.models}
    return {
        f"sinkhorn_gan, {cost}, epsilon {epsilon:g}, {'divergence' if debiased else 'W(X, Y) alone'}": (
            "sinkhorn_gan",
            {"epsilon": epsilon, "cost": cost, "debiased": debiased},
        )
        for cost in ("squared_euclidean", "euclidean")
        for epsilon in config.epsilons
        for debiased in (True, False)
    }


def main(config):
    """Trains what is missing, then prints the table."""
    results = json.loads(config.out.read_text()) if config.out.exists() else {}
    options = f"{config.steps} steps of {config.batch_size}, 3 x {config.width}, average {config.generator_ema}"
    rows, real = rows_of(config), {}
    for set_name in config.sets:
        source = data.load(set_name)
        evaluate = Evaluator(source, data.load(set_name, split="test"))
        real[set_name] = [evaluate.of_points(source.examples(2500, seed=seed)) for seed in range(REAL_DRAWS)]
        for label, (name, settings) in rows.items():
            for seed in range(config.seeds):
                key = f"{set_name}/{label}/{seed}/{options}"
                if key not in results:
                    model, milliseconds = train(name, source, config, seed, **settings)
                    results[key] = {**evaluate(model), "milliseconds": milliseconds}
                    write_json(config.out, results)
                    print(key, results[key], flush=True)
    print(f"\n{options}; mean ± standard deviation over {config.seeds} seeds, fewest in brackets\n")
    print("| set | model | modes found | high quality % | W2 to held-out data |\n|---|---|---|---|---|")
    for set_name in config.sets:
        print_rows(set_name, f"real examples, {REAL_DRAWS} draws", real[set_name])
        for label in rows:
            found = [results[f"{set_name}/{label}/{seed}/{options}"] for seed in range(config.seeds)]
            print_rows(set_name, label, found)


def print_rows(set_name, label, results):
    """One line of the table: mean and deviation over the results of all seeds."""
    modes, quality, distance = (
        np.array([row[key] for row in results]) for key in ("modes_found", "high_quality", "wasserstein_2")
    )
    cells = [
        f"{modes.mean():.1f} ± {modes.std():.1f} ({modes.min()}) of {results[0]['num_modes']}",
        f"{100 * quality.mean():.1f} ± {100 * quality.std():.1f}",
        f"{distance.mean():.3f} ± {distance.std():.3f}",
    ]
    print(f"| {set_name} | {label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
