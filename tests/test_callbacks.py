"""Callbacks and pictures, on a model that is nothing but `generate`."""

import json

import numpy as np
import pytest
from PIL import Image

from zoo import pictures
from zoo.callbacks import Checkpoint, Evaluate, History, SampleGrid, TimeBudget


class Model:
    def __init__(self, examples=None):
        self.examples, self.steps_taken, self.stop_requested = examples, 0, False

    def request_stop(self):
        self.stop_requested = True

    def generate(self, num_samples, seed=0):
        return self.examples[:num_samples]

    def save_weights(self, path, overwrite=False):
        if self.examples is None:
            path.write_text("half")
            raise OSError(28, "No space left on device")
        path.write_text("whole")


def attached(callback, model):
    callback.set_model(model)
    return callback


def test_sample_grid_shows_each_image_in_its_place(tmp_path):
    images = np.full((4, 8, 8, 1), -1.0)
    images[1] = 1.0
    attached(SampleGrid(tmp_path, every=2, num_samples=4), Model(images)).on_epoch_end(1)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0002.png"]
    with Image.open(tmp_path / "epoch-0002.png") as image:
        pixels = np.asarray(image)
    height, width = pixels.shape[0] // 4, pixels.shape[1] // 4
    quarters = [pixels[y, x].tolist() for y in (height, 3 * height) for x in (width, 3 * width)]
    assert quarters == [[0] * 3, [255] * 3, [0] * 3, [0] * 3]


def test_sample_grid_between_epochs_draws_nothing(tmp_path):
    attached(SampleGrid(tmp_path, every=2), Model()).on_epoch_end(0)
    assert not list(tmp_path.iterdir())


def test_scatter_and_curves_draw_something():
    points = np.random.default_rng(0).normal(size=(50, 2))
    for picture in (
        pictures.draw(points, points),
        pictures.draw(points),
        pictures.curves({"a": [1, 2], "b": [3]}, "x"),
    ):
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.std() > 1
    with pytest.raises(ValueError, match="Can draw images .* and points"):
        pictures.draw(np.zeros((2, 3)))


def test_evaluate_adds_numbers_to_the_logs_of_its_epochs():
    callback = attached(
        Evaluate(lambda model: {"frechet_distance": 2.0, "frechet_label": "x", "num_images": 3}, 2), Model()
    )
    logs = {"loss": 1.0}
    callback.on_epoch_end(0, logs)
    assert logs == {"loss": 1.0}
    callback.on_epoch_end(1, logs)
    assert logs == {"loss": 1.0, "frechet_distance": 2.0}


def test_history_replaces_steps_that_are_taken_again(tmp_path):
    model = Model()
    callback = attached(History(tmp_path / "history.jsonl"), model)
    for epoch, step in ((0, 10), (1, 20), (1, 20), (2, 30)):
        model.steps_taken = step
        callback.on_epoch_end(epoch, {"loss": np.float32(step)})
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert rows == [{"epoch": e, "step": s, "loss": float(s)} for e, s in ((1, 10), (2, 20), (3, 30))]


def test_checkpoint_on_a_full_disk_keeps_the_old_file(tmp_path):
    path = tmp_path / "latest.weights.h5"
    attached(Checkpoint(path), Model(np.zeros(1))).on_epoch_end(0)
    assert path.read_text() == "whole"
    with pytest.raises(OSError, match="No space left"):
        attached(Checkpoint(path), Model()).on_epoch_end(1)
    assert path.read_text() == "whole"


def test_time_budget_stops_once_it_is_spent():
    model = Model()
    for minutes, spent in ((1.0, False), (0.0, True)):
        callback = attached(TimeBudget(minutes), model)
        callback.on_train_batch_end(0)
        assert model.stop_requested is spent
