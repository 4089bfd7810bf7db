"""Recipes through their command lines, on settings that take seconds, and what they leave in a run folder."""

import json
import sys
from pathlib import Path

import h5py
import numpy as np

from zoo import runs

ROOT = Path(__file__).parents[2]
TINY = ["--data", "ring", "--hidden", "8", "8", "--batch-size", "16", "--steps-per-epoch", "4", "--epochs", "3"]


def run(recipe, folder, *options):
    runs.main(recipe.Config, recipe.train, [*TINY, "--out", str(folder), "--verbose", "silent", *options])


def command(recipe, folder, *options):
    return [sys.executable, "-m", f"recipes.{recipe}", *TINY, "--out", str(folder), *options]


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


def served(recipe, metrics, exports):
    """The model card of what a run has published, which TF Serving would take."""
    from zoo.serving.checking import conformance

    name = recipe.__name__.split(".")[1]
    assert metrics["export"] == str(exports / name / "1")
    assert conformance.check(metrics["export"]) == []
    assert name in (exports / "models.config").read_text()
    return json.loads((Path(metrics["export"]) / "assets.extra" / "model_card.json").read_text())


def tags(folder):
    """The names of what TensorBoard shows."""
    import tensorflow as tf

    return {
        value.tag
        for file in folder.rglob("events*")
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
        for value in tf.compat.v1.Event.FromString(record).summary.value
    }
