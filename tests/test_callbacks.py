"""Callbacks and pictures, on a model that is nothing but `generate`."""

import json
import re
import resource
import signal

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo import pictures
from zoo.callbacks import (
    Checkpoint,
    Countdown,
    Evaluate,
    History,
    KeepBest,
    Progress,
    SampleGrid,
    Texts,
    TimeBudget,
    duration,
)


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


def test_texts_are_written_as_files_and_for_tensorboard(tmp_path):
    def write(model):
        return {"translations": f"| ein Hund | {model.steps_taken} dogs \u00e9 |", "plans/first": "none"}

    callback = attached(Texts(write, tmp_path / "texts", tmp_path / "logs", every=2), Model())
    for epoch in range(4):
        callback.model.steps_taken = epoch
        callback.on_epoch_end(epoch)
    files = {str(path.relative_to(tmp_path / "texts")) for path in (tmp_path / "texts").rglob("*.md")}
    assert files == {f"{name}/epoch-000{epoch}.md" for name in ("translations", "plans/first") for epoch in (2, 4)}
    text = (tmp_path / "texts/translations/epoch-0004.md").read_text(encoding="utf-8")
    assert text == "| ein Hund | 3 dogs \u00e9 |"
    (events,) = (tmp_path / "logs").iterdir()
    told = [value for record in tf.data.TFRecordDataset(str(events)) for value in summary_of(record)]
    expected = [(f"| ein Hund | {step} dogs \u00e9 |".encode(), step) for step in (1, 3)]
    assert [(text, step) for name, text, step in told if name == "translations"] == expected


def summary_of(record):
    """(name, text, step) of what one record of TensorBoard holds."""
    event = tf.compat.v1.Event.FromString(record.numpy())
    return [(value.tag, value.tensor.string_val[0], event.step) for value in event.summary.value]


def test_scatter_and_curves_draw_something():
    points = np.random.default_rng(0).normal(size=(50, 2))
    for picture in (
        pictures.draw(points, points),
        pictures.draw(points),
        pictures.curves({"a": [1, 2], "b": [3]}, "x"),
        pictures.classes(points, np.arange(50) % 3, ["one", "two", "three"]),
        pictures.classes(points, None),
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
        attached(KeepBest(tmp_path, "modes_found", mode="max", patience=2), model).on_epoch_end(
            0, {"modes_found": value}
        )
        assert model.stop_requested is (step == 4)
    state = json.loads((tmp_path / "best.json").read_text())
    assert state == {"metric": "modes_found", "value": 5, "step": 2, "evaluated": 4, "evaluations_since": 2}
    attached(KeepBest(tmp_path, "modes_found"), model).on_epoch_end(0, {"loss": 1.0})
    with pytest.raises(ValueError, match="keeps the best model by 'modes_found'. Received: 'wasserstein_2'"):
        KeepBest(tmp_path, "wasserstein_2")


@pytest.mark.parametrize("mode", ["auto", "max", "min"])
@pytest.mark.parametrize("metric", ["mask_ap", "mean_iou", "cross_entropy", "val_token_accuracy", "val_loss"])
def test_keep_best_keeps_what_is_best(tmp_path, metric, mode):
    """The last of rising values where higher is better, else the first: as the model, the metrics or `mode` say."""
    model, metrics = Model(np.zeros(1)), lambda model: {}
    metrics.better = {"mask_ap": "max"}
    model.better = {"mean_iou": "max", "cross_entropy": "min", "token_accuracy": "max"}
    attached(Evaluate(metrics), model)
    keep = attached(KeepBest(tmp_path, metric, mode=mode, patience=2), model)
    keep.on_train_begin()
    for step, value in enumerate((0.2, 0.5, 0.8, 0.9), 1):
        model.steps_taken = step
        keep.on_epoch_end(0, {metric: value})
    rises = metric in ("mask_ap", "mean_iou", "val_token_accuracy") if mode == "auto" else mode == "max"
    state = json.loads((tmp_path / "best.json").read_text())
    assert (state["value"], state["step"]) == ((0.9, 4) if rises else (0.2, 1))
    assert model.stop_requested is not rises


def test_keep_best_asks_which_way_is_better_before_training(tmp_path):
    model = Model(np.zeros(1))
    model.better = {"cross_entropy": "min"}
    message = "whether a higher or a lower `my_score` is better. Known are: cross_entropy. Give `mode=.max.` or `mode="
    with pytest.raises(ValueError, match=message):
        attached(KeepBest(tmp_path, "my_score"), model).on_train_begin()
    attached(KeepBest(tmp_path, "my_score", mode="max"), model).on_train_begin()
    with pytest.raises(ValueError, match="`mode` must be one of 'auto', 'min', 'max'. Received: 'most'"):
        KeepBest(tmp_path, "my_score", mode="most")


def test_progress_tells_pace_and_time_left(capsys, monkeypatch):
    """Ten steps of two seconds: of 100 steps, 90 are left, which is three minutes."""
    model, clock = Model(), [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
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


def test_countdown_speaks_every_half_minute(capsys, monkeypatch):
    now = iter([0, 10, 40, 50, 80])
    monkeypatch.setattr("zoo.callbacks.clock.time.monotonic", lambda: next(now))
    countdown = Countdown("log p(x)", 100)
    for done in (10, 40, 50, 80):
        countdown(done)
    assert capsys.readouterr().out.splitlines() == [
        "log p(x): 40 of 100, 60 s left",
        "log p(x): 80 of 100, 20 s left",
    ]


def test_time_budget_stops_once_it_is_spent():
    model = Model()
    for minutes, spent in ((1.0, False), (0.0, True)):
        callback = attached(TimeBudget(minutes), model)
        callback.on_train_batch_end(0)
        assert model.stop_requested is spent


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SampleGrid("x", every=0), "`every` must be a whole number of at least 1. Received: 0"),
        (lambda: SampleGrid("x", num_samples=0), "`num_samples` must be a whole number of at least 1. Received: 0"),
        (lambda: Texts(dict, "x", every=0), "`every` must be a whole number of at least 1. Received: 0"),
        (lambda: Texts(dict, __file__), "`folder` must be a folder to write to. Received: a file, .*test_callbacks.py"),
        (lambda: SampleGrid(__file__), "`folder` must be a folder to write to. Received: a file, .*test_callbacks.py"),
        (lambda: Evaluate(dict, every=0), "`every` must be a whole number of at least 1. Received: 0"),
        (lambda: Evaluate({"fid": 1}), "must be a function of the model .* Received: dict, in the place of the func"),
        (lambda: Progress(0), "`total` must be a whole number of at least 1. Received: 0"),
        (lambda: TimeBudget(float("nan")), "`minutes` must be a finite number of at least 0. Received: nan"),
        (lambda: Checkpoint("ck"), "`path` must end in .weights.h5, as Keras wants it. Received: ck"),
        (lambda: Checkpoint("a.weights.h5", keep=0), "`keep` must be a whole number of at least 1. Received: 0"),
        (
            lambda: Checkpoint("a.weights.h5", minutes=-1),
            "`minutes` must be a finite number of at least 0. Received: -1",
        ),
        (lambda: KeepBest("x", "loss", patience=0), "`patience` must be a whole number of at least 1. Received: 0"),
        (lambda: KeepBest("x", "loss", patience=-1), "`patience` must be a whole number of at least 1. Received: -1"),
    ],
)
def test_wrong_arguments_are_refused_before_training(make, message):
    with pytest.raises((ValueError, NotADirectoryError), match=message):
        make()


@pytest.mark.parametrize("answer", [None, 1.0])
def test_evaluate_says_what_its_function_must_return(answer):
    with pytest.raises(ValueError, match=f"Received: {type(answer).__name__}, in the place of what it returns"):
        attached(Evaluate(lambda model: answer), Model()).on_epoch_end(0, {})


@pytest.mark.parametrize("value", [3, 3.0, np.float32(3), np.int64(3), tf.constant(3.0), tf.constant(3, tf.bfloat16)])
def test_evaluate_takes_numbers_of_any_kind(value):
    logs = {}
    metrics = {"a": value, "b": "text", "c": True, "d": [1.0], "e": None}
    attached(Evaluate(lambda model: metrics), Model()).on_epoch_end(0, logs)
    assert logs == {"a": 3.0}


def test_keep_best_never_keeps_nan(tmp_path):
    model = Model(np.zeros(1))
    callback = attached(KeepBest(tmp_path, "loss", patience=2), model)
    for step, value, kept, since in ((1, np.nan, None, 1), (2, 4.0, 4.0, 0), (3, np.nan, 4.0, 1), (4, -np.inf, 4.0, 2)):
        model.steps_taken = step
        callback.on_epoch_end(0, {"loss": value})
        state = json.loads((tmp_path / "best.json").read_text())
        assert (state["value"], state["evaluations_since"]) == (kept, since)


def test_keep_best_begins_anew_where_values_are_judged_otherwise(tmp_path, capsys):
    """0.9 of one picture is not compared with 0.5 of four, which is."""
    model = Model(np.zeros(1))
    model.better = {"mean_iou": "max"}
    for images, step, value, kept in ((1, 1, 0.9, 0.9), (4, 2, 0.5, 0.5), (4, 3, 0.4, 0.5), (None, 4, 0.6, 0.6)):
        model.steps_taken, judging = step, {"images": images} if images else None
        callback = attached(KeepBest(tmp_path, "mean_iou", judging=judging), model)
        callback.on_train_begin()
        begun = "The best begins anew: mean_iou of step 1 was judged with images 1, now 4.\n"
        assert capsys.readouterr().out == begun * (step == 2)
        callback.on_epoch_end(0, {"mean_iou": value})
        assert json.loads((tmp_path / "best.json").read_text())["value"] == kept


def test_keep_best_stops_where_nothing_was_ever_finite(tmp_path, capsys):
    model = Model(np.zeros(1))
    model.steps_taken = 1
    attached(KeepBest(tmp_path, "loss", patience=1), model).on_epoch_end(0, {"loss": np.nan})
    assert model.stop_requested and "loss was not finite in 1 evaluations" in capsys.readouterr().out


def test_keep_best_says_that_its_metric_never_came(tmp_path, capsys):
    model = Model(np.zeros(1))
    model.steps_taken = 1
    for metric, said in (("critic_los", True), ("critic_loss", False)):
        callback = attached(KeepBest(tmp_path / metric, metric), model)
        callback.on_epoch_end(0, {"critic_loss": 1.0, "penalty": 2.0})
        callback.on_train_end()
        message = "KeepBest never saw `critic_los` in this `fit`.* The logs had: critic_loss, penalty. `Evaluate` must"
        assert bool(re.search(message, capsys.readouterr().out)) is said


BEST = {"metric": "loss", "value": 0.5, "step": 4, "evaluated": 4, "evaluations_since": 0}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *(("{", "Expecting"), ("[]", "keys"), ('{"metric": "loss"}', "it lacks")),
        *(
            (json.dumps({**BEST, name: value}), f"{name} is ")
            for name, values in {
                "metric": [None, 3, ["loss"]],
                "value": ["x", [1], True, float("nan"), float("inf")],
                "judging": [3, ["x"]],
                **dict.fromkeys(("step", "evaluated", "evaluations_since"), [None, "4", 0.5, -1, True]),
            }.items()
            for value in values
        ),
    ],
)
def test_a_damaged_best_json_is_named(tmp_path, text, reason):
    (tmp_path / "best.json").write_text(text)
    with pytest.raises(ValueError, match=f"best.json is damaged: .*{reason}.* Move it and best.weights.h5 away"):
        KeepBest(tmp_path, "loss")
