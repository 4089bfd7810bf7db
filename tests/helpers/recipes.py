"""Recipes through their command lines, on settings that take seconds, and what they leave in a run folder."""

import json
import shutil
import sys
from pathlib import Path
from unittest import mock

import h5py
import numpy as np

from zoo import runs
from zoo.callbacks import checkpoints

ROOT = Path(__file__).parents[2]
TINY = ["--data", "ring", "--hidden", "8", "8", "--batch-size", "16", "--steps-per-epoch", "4", "--epochs", "3"]

# Each update of a step is traced.
FEW_UPDATES = {
    "wgan": ["--critic-steps", "2"],
    "wgan_gp": ["--critic-steps", "2"],
    "ot_gan": ["--generator-steps", "1"],
}


def name_of(recipe):
    return recipe.__name__.split(".")[1]


def run(recipe, folder, *options):
    arguments = [*TINY, *FEW_UPDATES.get(name_of(recipe), []), "--out", str(folder), "--verbose", "silent", *options]
    runs.main(recipe.Config, recipe.train, arguments)


def command(name, folder, *options):
    return [sys.executable, "-m", f"recipes.{name}", *TINY, *FEW_UPDATES.get(name, []), "--out", str(folder), *options]


def main_as_killed(recipe, arguments, folder, killed, step):
    """A recipe's command with `folder` for `--out`; `killed` is what would be left if it had been killed after a step.

    Each step ends in a checkpoint. Files that a command adds to, a killed one may lack.
    """
    save = checkpoints.save_weights

    def save_and_copy(model, path):
        save(model, path)
        if model.steps_taken == step and not killed.exists():
            (killed / "checkpoints").mkdir(parents=True)
            shutil.copy(path, killed / "checkpoints")
            for name in ("config.json", "baselines.json"):
                shutil.copy(folder / name, killed)

    with mock.patch.object(checkpoints, "save_weights", save_and_copy):
        runs.main(recipe.Config, recipe.train, [*arguments, "--checkpoint-minutes", "1e-9", "--out", str(folder)])
    assert checkpoint(killed)["vars/0"] == step


def checkpoint(folder):
    """All arrays of a run's checkpoint: weights, slots, step."""
    arrays = {}
    with h5py.File(folder / "checkpoints" / "latest.weights.h5") as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    assert len(arrays) > 10
    return arrays


def assert_equal_to_the_bit(one, other):
    one, other = checkpoint(one), checkpoint(other)
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def published(recipe, metrics, exports):
    """The model card of what a run has published, which has given in TF Serving's loader what the model does."""
    name = name_of(recipe)
    assert metrics["export"] == str(exports / name / "1")
    assert name in (exports / "models.config").read_text()
    return json.loads((Path(metrics["export"]) / "assets.extra" / "model_card.json").read_text())


def served(recipe, metrics, exports):
    """The same, of what TF Serving would take, in batches and loaded afresh."""
    from zoo.serving.checking import conformance

    card = published(recipe, metrics, exports)
    assert conformance.check(metrics["export"]) == []
    return card


def tags(folder):
    """The names of what TensorBoard shows."""
    import tensorflow as tf

    return {
        value.tag
        for file in folder.rglob("events*")
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
        for value in tf.compat.v1.Event.FromString(record).summary.value
    }
