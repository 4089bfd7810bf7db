"""Callbacks and pictures, on a model that is nothing but `generate`."""

import json
import resource
import signal

import numpy as np
import pytest
from PIL import Image

from zoo import pictures
from zoo.callbacks import Checkpoint, Evaluate, History, KeepBest, Progress, SampleGrid, TimeBudget, duration


class Model:
    def __init__(self, examples=None):
        self.examples, self.steps_taken, self.stop_requested = examples, 0, False

    def request_stop(self):
        self.stop_requested = True

    def generate(self, num_samples, seed=0):
        return self.examples[:num_samples]

    def count_params(self):
        return 1000

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


def test_checkpoint_finds_out_that_a_file_does_not_fit_before_it_begins(tmp_path):
    """A limit on the size of files stands in for a disk of 10 kB; the weights and slots need 12."""
    path = tmp_path / "latest.weights.h5"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match="The checkpoint .* cannot be written.*no earlier one.*Make room"):
            attached(Checkpoint(path), Model(np.zeros(1))).on_epoch_end(0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())


def test_checkpoint_keeps_the_newest_epochs(tmp_path):
    model = Model(np.zeros(1))
    path = tmp_path / "latest.weights.h5"
    callback = attached(Checkpoint(path, keep=3), model)
    callback.on_train_begin()
    for step in range(1, 6):
        model.steps_taken = step
        callback.on_epoch_end(step)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["latest.weights.h5", "step-00000003.weights.h5", "step-00000004.weights.h5"]


def test_checkpoint_within_an_epoch_waits_for_its_time_and_for_finite_weights(tmp_path):
    model = Model(np.zeros(1))
    for minutes, weight, written in ((1.0, 0.0, False), (0.0, np.nan, False), (0.0, 0.0, True)):
        model.get_weights = lambda weight=weight: [np.array(weight)]
        attached(Checkpoint(tmp_path / "latest.weights.h5", minutes=minutes), model).on_train_batch_end(0)
        assert (tmp_path / "latest.weights.h5").exists() is written


def test_keep_best_goes_on_counting_after_a_resume_and_does_not_count_steps_twice(tmp_path):
    """Higher is better for modes_found: 3, then 5 (the best), 5 and 4."""
    model = Model(np.zeros(1))
    for step, value in ((1, 3), (2, 5), (2, 5), (3, 5), (3, 5), (4, 4)):
        model.steps_taken = step
        attached(KeepBest(tmp_path, "modes_found", patience=2), model).on_epoch_end(0, {"modes_found": value})
        assert model.stop_requested is (step == 4)
    state = json.loads((tmp_path / "best.json").read_text())
    assert state == {"metric": "modes_found", "value": 5, "step": 2, "evaluated": 4, "evaluations_since": 2}
    attached(KeepBest(tmp_path, "modes_found"), model).on_epoch_end(0, {"loss": 1.0})
    with pytest.raises(ValueError, match="keeps the best model by 'modes_found'. Received: 'wasserstein_2'"):
        KeepBest(tmp_path, "wasserstein_2")


def test_progress_tells_pace_and_time_left(capsys, monkeypatch):
    """Ten steps of two seconds: of 100 steps, 90 are left, which is three minutes."""
    model, clock = Model(), [0.0]
    monkeypatch.setattr("zoo.callbacks.time.monotonic", lambda: clock[0])
    callback = attached(Progress(100, seconds=5.0), model)
    callback.on_train_begin()
    for step in range(11):
        model.steps_taken, clock[0] = step, 2.0 * step
        callback.on_train_batch_end(step, {"loss": 1.5})
    callback.on_epoch_end(0, {"loss": 0.5})
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "step 10 of 100 (10 %)  2e+03 ms/step  3 min left  loss 0.5"
    assert [line.split()[1] for line in lines] == ["3", "6", "9", "10"]
    assert [duration(seconds) for seconds in (42, 600, 12_000)] == ["42 s", "10 min", "3 h 20 min"]


def test_time_budget_stops_once_it_is_spent():
    model = Model()
    for minutes, spent in ((1.0, False), (0.0, True)):
        callback = attached(TimeBudget(minutes), model)
        callback.on_train_batch_end(0)
        assert model.stop_requested is spent
