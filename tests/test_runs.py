"""Recipes through their command lines, on settings that take seconds."""

import contextlib
import dataclasses
import importlib
import io
import json
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import threading
import time

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import recipes
import zoo
from recipes import adversarial, autoencoder, cycle_gan, fcn, gan, mask_rcnn, seq2seq, sinkhorn_gan, vae, wgan_gp
from tests.helpers.recipes import (
    ROOT,
    assert_equal_to_the_bit,
    checkpoint,
    command,
    main_as_killed,
    published,
    run,
    served,
    tags,
)
from zoo import runs
from zoo.callbacks import KeepBest, read_history
from zoo.checks import check_replicas
from zoo.runs import folder as run_folder
from zoo.runs.config import flag_of, judging_options
from zoo.runs.devices import check_cluster
from zoo.runs.ending import is_published
from zoo.runs.help import explanations
from zoo.runs.optimizers import change_of_rate
from zoo.runs.running import begin

MODULES = [importlib.import_module(f"recipes.{module.name}") for module in pkgutil.iter_modules(recipes.__path__)]
RECIPES = [module for module in MODULES if hasattr(module, "build")]
ADVERSARIES = [module for module in RECIPES if issubclass(module.Config, adversarial.Config)]


def refused(capsys, recipe, folder, *options):
    with pytest.raises(SystemExit) as stopped:
        run(recipe, folder, *options)
    assert stopped.value.code
    output = capsys.readouterr()
    return output.err + output.out


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 12 steps without interruption."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(wgan_gp, folder)
    return folder


def test_every_recipe_is_tested():
    """Those of texts, objects and pixels in the other files test_runs_of_*.py."""
    assert {*RECIPES} == {*ADVERSARIES, autoencoder, cycle_gan, fcn, mask_rcnn, seq2seq, vae}


@pytest.mark.exhaustive
@pytest.mark.parametrize("recipe", ADVERSARIES)
def test_recipe_on_images_ends_in_a_served_model(recipe, tmp_path, capsys):
    options = ["--data", "digits", "--filters", "4", "--epochs", "1", "--exports", str(tmp_path / "exports")]
    run(recipe, tmp_path / "run", *options)
    report = capsys.readouterr().out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    label = metrics["frechet_label"]
    assert label.startswith("FID(cnn-digits-") and f"{label} = " in report
    assert f"Model: zoo.load({str(tmp_path / 'run')!r})" in report
    assert zoo.load(tmp_path / "run").steps_taken == metrics["steps"]
    assert metrics["real"]["frechet_distance"] < metrics["frechet_distance"]
    assert metrics["real"]["frechet_label"] == metrics["untrained"]["frechet_label"] == label
    card = served(recipe, metrics, tmp_path / "exports")
    assert card["figures"]["frechet_label"] == label and card["data"]["name"] == "digits"


OF_CODES = {"reconstructions", "interpolations", "codes"}


@pytest.mark.parametrize(
    "recipe, options, drawn, figure",
    [
        (autoencoder, ["--contraction", "exact", "--hidden"], OF_CODES, "test_reconstruction_loss"),
        pytest.param(
            vae,
            ["--latent-dim", "2", "--importance-samples", "20"],
            OF_CODES | {"samples", "traversals", "latent_plane"},
            "negative_log_likelihood",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            vae,
            ["--likelihood", "discretized_logistic", "--networks", "conv", "--importance-samples", "0"],
            OF_CODES | {"samples", "traversals"},
            "bits_per_dimension",
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_recipe_of_codes_ends_in_pictures_and_a_served_model(recipe, options, drawn, figure, tmp_path, capsys):
    options = ["--data", "digits", "--epochs", "1", "--exports", str(tmp_path / "exports"), *options]
    run(recipe, tmp_path / "run", *options)
    assert "of codes" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert served(recipe, metrics, tmp_path / "exports")["figures"][figure] == metrics[figure]
    assert 0 < metrics["neighbour_accuracy"] < 1 and 0.3 < metrics["pca"]["neighbour_accuracy"] < 1
    assert {path.stem for path in (tmp_path / "run" / "figures").iterdir()} == {"losses", *drawn}
    assert {path.name for path in (tmp_path / "run" / "samples").iterdir()} == drawn
    assert drawn <= tags(tmp_path / "run" / "logs")


TRANSLATION = ["--data", "digits", "digits", "--image-size", "16", "--filters", "2", "--num-blocks", "1"]
TRANSLATION += ["--discriminator-filters", "2", "--batch-size", "8", "--steps-per-epoch", "2", "--epochs", "2"]
TRANSLATION += ["--pool-size", "5", "--enlarge", "1.2", "--flip", "True", "--verbose", "silent"]


def translate(folder, *options):
    runs.main(cycle_gan.Config, cycle_gan.train, [*TRANSLATION, "--out", str(folder), *options])


@pytest.fixture(scope="module")
def translated(tmp_path_factory):
    """A run of 4 steps between digits and digits, its exports and report; a killed one."""
    folder = tmp_path_factory.mktemp("translation")
    options = [*TRANSLATION, "--exports", str(folder / "exports")]
    with contextlib.redirect_stdout(io.StringIO()) as report:
        main_as_killed(cycle_gan, options, folder / "run", folder / "killed", step=1)
    return folder, report.getvalue()


@pytest.mark.exhaustive
def test_recipe_of_translation_ends_in_pictures_and_a_published_model(translated):
    """Digits are their own domain X and Y: what an untranslated one reaches is what a real one does."""
    base, report = translated
    folder = base / "run"
    assert re.search(r"cycle error 0\.\d+ \(untrained 0\.\d+\); digits as digits .* % right \(untranslated", report)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["untranslated"] == metrics["real"] and metrics["real"]["accuracy_x_to_y"] > 0.9
    assert metrics["cycle_error"] == (metrics["cycle_error_x"] + metrics["cycle_error_y"]) / 2
    # Whether TF Serving would take it: tests/conformance/test_serving.py, of the same networks.
    assert published(cycle_gan, metrics, base / "exports")["figures"]["cycle_error"] == metrics["cycle_error"]
    drawn = {"x_to_y", "y_to_x"}
    assert {path.stem for path in (folder / "figures").iterdir()} == {"losses", *drawn}
    for direction in drawn:
        # Rows of x, G(x), F(G(x)), in each epoch.
        pictures = sorted((folder / "samples" / direction).iterdir())
        assert [path.name for path in pictures] == ["epoch-0001.png", "epoch-0002.png"]
        with Image.open(pictures[-1]) as image:
            assert image.width == 12 * (5 * 16 + 2) + 2 and image.height == 3 * (5 * 16 + 2) + 2
    assert drawn <= tags(folder / "logs")
    # The step size falls to zero in the second half of four updates.
    model = keras.models.load_model(folder / "model.keras")
    rates = [float(model.generator_optimizer._learning_rate(step)) for step in range(5)]
    np.testing.assert_allclose(rates, 2e-4 * np.array([1, 1, 1, 1 / 2, 0]), rtol=1e-6, atol=1e-12)


@pytest.mark.exhaustive
def test_translation_resumes_to_the_bit_with_pools_and_random_crops(translated):
    folder, _ = translated
    translate(folder / "killed", "--evaluate-every", "9")
    assert_equal_to_the_bit(folder / "killed", folder / "run")


@pytest.mark.parametrize(
    "options, message",
    [
        (["--data", "digits"], "No pair is called 'digits'.*The pairs are: emoji, mnist_usps"),
        (["--data", "digits", "ring"], "Side y of the pair, ring"),
        (["--data", "digits", "digits", "digits"], "A pair is made of two names or paths"),
        (["--image-size", "30"], "multiples of 4, at least 16.*`--image-size` of the recipe"),
        (["--enlarge", "0.5"], "`--enlarge` must be a finite number of at least 1"),
        (["--decay-from", "1.5"], "`--decay-from` must be .* at most 1"),
    ],
)
def test_mistakes_with_two_sets_end_in_advice(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        translate(tmp_path / "run", *options)
    output = capsys.readouterr()
    assert re.search(message, output.err.replace("\n", " ")) and "Traceback" not in output.err
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.exhaustive
def test_recipe_of_codes_learns_points_in_a_plane(tmp_path, capsys):
    run(vae, tmp_path / "run", "--latent-dim", "2", "--importance-samples", "1")
    assert "of codes 100.0 % right" in capsys.readouterr().out
    assert {path.stem for path in (tmp_path / "run" / "figures").iterdir()} >= {"codes", "samples", "reconstructions"}


def test_run_folder_holds_everything(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {
        "baselines.json",
        "checkpoints",
        "config.json",
        "figures",
        "history.jsonl",
        "logs",
        "metrics.json",
        "model.keras",
        "samples",
        "versions.json",
    }
    history = [json.loads(line) for line in (finished / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in history] == [4, 8, 12]
    assert {"critic_loss", "gradient_penalty", "generator_loss"} <= set(history[0])
    for picture in ("samples/epoch-0003.png", "figures/samples.png", "figures/losses.png"):
        with Image.open(finished / picture) as image:
            assert np.asarray(image).std() > 1
    wanted = {"epoch_critic_loss", "epoch_gradient_penalty", "epoch_generator_loss", "samples"}
    assert wanted <= tags(finished / "logs")
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["steps"] == 12 and metrics["real"]["modes_found"] == metrics["num_modes"] == 8
    assert keras.models.load_model(finished / "model.keras").generate(2).shape == (2, 2)


def test_same_command_on_a_finished_run_changes_no_weight(finished, capsys):
    before = (finished / "checkpoints" / "latest.weights.h5").read_bytes()
    run(wgan_gp, finished)
    assert "All 12 steps are done already" in capsys.readouterr().out
    assert (finished / "checkpoints" / "latest.weights.h5").read_bytes() == before


def test_a_run_that_is_past_the_end_is_left_alone(finished, capsys):
    def content():
        return {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}

    before = content()
    message = refused(capsys, wgan_gp, finished, "--epochs", "2")
    assert "holds a run of 12 steps, more than the 8 of `--epochs 2`" in message and "`--epochs 3` or more" in message
    assert content() == before


@pytest.mark.exhaustive
def test_kill_9_and_the_same_command_again_end_bit_identical(finished, tmp_path):
    folder = tmp_path / "run"
    # Long epochs, so that the kill falls into the middle of one.
    process = subprocess.Popen(command("wgan_gp", folder), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    path = folder / "checkpoints" / "latest.weights.h5"
    while process.poll() is None and not path.exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with h5py.File(path) as file:
        interrupted_at = int(np.array(file["vars"]["0"]))
    assert 4 <= interrupted_at <= 12
    run(wgan_gp, folder)
    assert_equal_to_the_bit(folder, finished)


@pytest.mark.exhaustive
def test_sigterm_writes_a_checkpoint_and_the_same_command_ends_bit_identical(finished, tmp_path, capsys):
    """The signal falls into an epoch; Keras's handler is put back afterwards."""
    folder = tmp_path / "run"
    earlier = signal.getsignal(signal.SIGTERM)

    def terminate():
        while not (folder / "checkpoints" / "latest.weights.h5").exists():
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=terminate, daemon=True).start()
    with pytest.raises(SystemExit) as stopped:
        run(wgan_gp, folder)
    assert stopped.value.code == 0 and signal.getsignal(signal.SIGTERM) == earlier
    output = capsys.readouterr()
    assert "SIGTERM: stopping after this step" in output.err
    steps = int(re.search(r"Stopped by SIGTERM after (\d+) of 12 steps", output.out).group(1))
    assert 4 <= steps <= 12 and checkpoint(folder)["vars/0"] == steps
    assert not (folder / "metrics.json").exists()
    run(wgan_gp, folder)
    assert_equal_to_the_bit(folder, finished)
    history = [json.loads(line)["step"] for line in (folder / "history.jsonl").read_text().splitlines()]
    assert history == sorted({4, steps, 4 * -(-steps // 4), 8, 12})


def test_another_configuration_is_refused_with_what_differs(finished, capsys):
    message = refused(capsys, wgan_gp, finished, "--seed", "1", "--critic-steps", "3")
    assert "`--critic-steps`: 2 there, 3 now; `--seed`: 0 there, 1 now" in message
    assert "another recipe" not in message and "--out" in message
    message = refused(capsys, gan, finished)
    assert "recipe: 'wgan_gp' there, 'gan' now" in message


@pytest.mark.exhaustive
def test_a_run_that_is_older_than_an_option_goes_on_with_its_default(finished, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    stored = json.loads((folder / "config.json").read_text())
    del stored["filters"]
    (folder / "config.json").write_text(json.dumps(stored))
    assert "`--filters`: 64 there, 3 now" in refused(capsys, wgan_gp, folder, "--filters", "3")
    run(wgan_gp, folder)
    assert json.loads((folder / "config.json").read_text())["filters"] == 64


@pytest.mark.exhaustive
def test_more_epochs_go_on_until_the_budget_is_spent(finished, tmp_path, capsys):
    """One step of a fifth epoch, which is cut short; the fourth was the best and is kept."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    options = ["--evaluate-every", "1", "--best-by", "wasserstein_2", "--keep-checkpoints", "2"]
    run(wgan_gp, folder, "--epochs", "4", *options)
    run(wgan_gp, folder, "--epochs", "9", *options, "--max-minutes", "0.00001")
    assert json.loads((folder / "metrics.json").read_text())["steps"] == 17
    assert [json.loads(line)["step"] for line in (folder / "history.jsonl").read_text().splitlines()] == [
        4,
        8,
        12,
        16,
        17,
    ]
    assert json.loads((folder / "checkpoints" / "best.json").read_text())["step"] == 16
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["best.json", "best.weights.h5", "latest.weights.h5", "step-00000016.weights.h5"]


def test_nan_ends_with_a_message_and_keeps_the_checkpoint(finished, tmp_path, capsys):
    """Here in the first epoch, so that no checkpoint may appear; the conformance table keeps an earlier one."""
    folder = tmp_path / "run"
    message = refused(capsys, wgan_gp, folder, "--learning-rate", "1e30")
    assert "Training stopped" in message and "Traceback" not in message
    assert not (folder / "checkpoints").exists(), "a checkpoint of a broken model was written"


def test_a_damaged_checkpoint_is_named_and_kept(finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "latest.weights.h5"
    path.write_bytes(path.read_bytes()[:500])
    assert f"The checkpoint {path} cannot be loaded" in refused(capsys, wgan_gp, tmp_path / "run", "--epochs", "4")
    assert len(path.read_bytes()) == 500


@pytest.mark.parametrize(
    "options, message",
    [
        (["--critic-stepz", "3"], "--critic-steps"),
        (["--data", "fashion_mnst"], "fashion_mnist"),
        (["--data", "no/such/folder"], "no/such/folder"),
        (["--batch-size", "200000"], "A batch"),
        (["--strategy", "multiworker"], "TF_CONFIG"),
        (["--strategy", "cloud"], "multiworker"),
        (["--data", "digits", "--image-size", "30"], "multiples of 4"),
        (["--evaluate-every", "0"], "`--evaluate-every` must be a whole number from 1"),
        (["--steps-per-epoch", "-3"], "Received: -3"),
        (["--learning-rate", "nan"], "`--learning-rate` must be a finite number above 0. Received: nan"),
        (["--max-minutes", "0"], "above 0"),
        (["--hidden"], "`--hidden` needs at least one number"),
        (["--hidden", "8", "0"], "Received: 0"),
        (["--seed", "-1"], "`--seed` must be a whole number from 0 to 4294967295"),
        (["--patience", "3"], "`--patience` needs `--best-by`"),
        (["--best-by", "frechet"], "`--best-by` must be one of 'modes_found'"),
        (["--best-by", "wasserstein_2"], "there is none in 3 epochs"),
        (["--strategy", "cpu", "--replicas", "2"], "`--replicas` is for `--strategy mirrored`"),
        (["--out", __file__], "`--out` must be a folder"),
        (["--exports", "/proc/exports"], "`--exports` must be a folder"),
    ],
)
def test_mistakes_on_the_command_line_end_in_advice(options, message, tmp_path, capsys):
    output = refused(capsys, wgan_gp, tmp_path / "run", *options)
    assert message in output and "Traceback" not in output
    # Or the corrected command would be refused as one of another configuration.
    assert not (tmp_path / "run" / "config.json").exists()


def test_an_export_folder_that_cannot_be_written_leaves_the_run_intact(finished, tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    message = refused(capsys, wgan_gp, finished, "--exports", str(tmp_path / "file" / "exports"))
    assert "file" in message and "Traceback" not in message
    assert (finished / "checkpoints" / "latest.weights.h5").exists()


def test_batch_smaller_than_replicas():
    with pytest.raises(ValueError, match="A batch of 1 examples cannot be split over 2 replicas"):
        check_replicas(1, 2)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "localhost:2000",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["nocolon"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_wrong_tf_config_is_refused_with_the_right_one(text):
    with pytest.raises(ValueError, match="Several workers need the environment variable TF_CONFIG.*Received: "):
        check_cluster(text)
    check_cluster('{"cluster": {"chief": ["c:1"], "worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}')


def test_help_shows_every_option_with_its_default(capsys):
    for recipe in RECIPES:
        with pytest.raises(SystemExit):
            runs.main(recipe.Config, recipe.train, ["--help"])
        text = capsys.readouterr().out
        for option in dataclasses.fields(recipe.Config):
            assert "--" + option.name.replace("_", "-") in text
        known = {cycle_gan: "emoji", fcn: "scenes", mask_rcnn: "scenes", seq2seq: "number_words/en-fr"}
        data = known.get(recipe, "digits")
        assert f"default: {data}" in text


# Options that say how a run is judged, kept, shown, ended, served, or spread over devices and steps.
FREE = {
    runs.RunConfig: {
        *("best_by", "checkpoint_minutes", "epochs", "evaluate_every", "exports", "gradient_accumulation_steps"),
        *("jit_compile", "keep_checkpoints", "max_minutes", "out", "patience", "replicas", "steps_per_execution"),
        *("strategy", "verbose"),
    },
    runs.GenerationConfig: {"cache"},
    runs.TranslationConfig: {"cache"},
    runs.DetectionConfig: {"judged_images", "judged_split"},
    runs.SegmentationConfig: {"judged_images", "judged_split"},
    vae.Config: {"importance_samples"},
    seq2seq.Config: {"num_beams", "length_penalty"},
    mask_rcnn.Config: {"score_threshold", "max_detections", "num_proposals"},
}


def other(value):
    """Another value of an option, whatever it is."""
    if isinstance(value, bool):
        return not value
    return {int: 97, float: 0.97, tuple: ("a", "b")}.get(type(value), "another")


@pytest.mark.parametrize("recipe", RECIPES)
def test_options_that_shape_nothing_may_change_between_commands_of_a_run(recipe, tmp_path):
    """Each option of each recipe by itself: accepted, or refused by its name; a folder may lack newer ones."""
    config = recipe.Config(out=tmp_path)
    free = set().union(*(names for kind, names in FREE.items() if isinstance(config, kind)))
    name = recipe.__name__.split(".")[1]
    described = run_folder.described(name, config)
    for field in dataclasses.fields(config):
        (tmp_path / "config.json").write_text(json.dumps({**described, field.name: other(getattr(config, field.name))}))
        if field.name in free:
            assert run_folder.open_folder(name, config) == tmp_path
            continue
        with pytest.raises(ValueError, match=f"Different: `{flag_of(field.name)}`: .* there, .* now. Give another `"):
            run_folder.open_folder(name, config)
    (tmp_path / "config.json").write_text(json.dumps({"recipe": name, "data": described["data"]}))
    assert run_folder.open_folder(name, config) == tmp_path


def test_options_of_another_version_are_told_apart_from_those_that_can_be_given(tmp_path):
    config = wgan_gp.Config(out=tmp_path)
    described = run_folder.described("wgan_gp", config)
    (tmp_path / "config.json").write_text(json.dumps({**described, "old_option": 3, "unused": None, "batch_size": 8}))
    message = "another version of Zoo, with options that this one does not have: `--old-option` \\(3 there\\). Go on"
    with pytest.raises(ValueError, match=message):
        run_folder.open_folder("wgan_gp", config)
    # Nor are those of another recipe listed, as if they could be given.
    with pytest.raises(ValueError, match="recipe: 'wgan_gp' there, 'gan' now. Give another `--out`.$"):
        run_folder.open_folder("gan", gan.Config(out=tmp_path))


@pytest.mark.parametrize("text", ["[1, 2]", "3", "null", '"x"', "{", "[" * 100_000])
@pytest.mark.parametrize(
    ("file", "read"),
    [
        ("config.json", lambda folder: run_folder.open_folder("wgan_gp", wgan_gp.Config(out=folder))),
        ("baselines.json", run_folder.read_baselines),
        ("metrics.json", lambda folder: run_folder.read_json(folder / "metrics.json")),
        ("history.jsonl", lambda folder: read_history(folder / "history.jsonl")),
        ("best.json", lambda folder: KeepBest(folder, "loss")),
    ],
)
def test_files_of_a_run_that_are_damaged_are_named(file, read, text, tmp_path):
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=f"{file} is damaged"):
        read(tmp_path)


def test_baselines_and_exports_of_another_kind(tmp_path):
    (tmp_path / "baselines.json").write_text('{"untrained": 3}')
    with pytest.raises(ValueError, match="baselines.json is damaged: 'untrained' must be an object"):
        run_folder.read_baselines(tmp_path)
    assert not any(is_published(path, fcn.Config()) for path in (None, 3, [], str(tmp_path / "none")))
    # What a model finds at a threshold is part of its export.
    (tmp_path / "assets.extra").mkdir()
    card = {"config": run_folder.described("mask_rcnn", mask_rcnn.Config())}
    (tmp_path / "assets.extra" / "model_card.json").write_text(json.dumps(card))
    assert is_published(str(tmp_path), mask_rcnn.Config())
    assert not is_published(str(tmp_path), mask_rcnn.Config(score_threshold=0.5))


@pytest.mark.parametrize(
    ("recipe", "rate_of", "before", "now"),
    [
        # A finished fall; a straight one that begins at half of 12 steps.
        (cycle_gan, cycle_gan.learning_rate, "0", "0.0002"),
        # After a warm-up of 3 of 6 steps the cosine has ended; 3 steps after one of 6 it would be at half of its rise.
        (fcn, runs.cosine_rate, "0", "0.001"),
        (mask_rcnn, runs.cosine_rate, "0", "0.001"),
    ],
)
def test_a_learning_rate_that_follows_the_epochs_is_told_when_they_change(recipe, rate_of, before, now):
    config = recipe.Config(epochs=4, steps_per_epoch=3)
    line = change_of_rate(rate_of, config, 2, 6)
    assert line == (
        f"`--epochs` is 4, and was 2: the learning rate follows it, and is {now} from step 6 on instead of {before}."
    )
    assert change_of_rate(rate_of, config, 4, 6) is None and change_of_rate(lambda config: 1e-3, config, 2, 6) is None
    assert "step size falls to 0" in explanations(recipe.Config)["epochs"].replace("\n", " ")


class Judged:
    """A model of two numbers, and a task that measures it: 1 before training, 2 after its checkpoint is loaded."""

    better, state, steps_taken = {"mean_iou": "max"}, 1, 0

    def load_weights(self, path):
        self.state, self.steps_taken = 2, 8

    def baselines(self, model):
        return {"untrained": {"mean_iou": self.state}}


JUDGING = {
    fcn: {"judged_images", "judged_split"},
    mask_rcnn: {"judged_images", "judged_split", "score_threshold", "max_detections", "num_proposals"},
    seq2seq: {"num_beams", "length_penalty"},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_another_judging_begins_the_best_anew_and_measures_the_untrained_model_again(recipe, tmp_path, capsys):
    """Each option that shapes a measure, by itself; best.json is of a version that wrote nothing of judging."""
    names = judging_options(recipe.Config)
    assert names == JUDGING.get(recipe, set())
    earlier = recipe.Config(out=tmp_path, best_by="mean_iou")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "latest.weights.h5").touch()
    state = {"metric": "mean_iou", "value": 0.5, "step": 4, "evaluated": 8, "evaluations_since": 1}
    for name in [None, *sorted(names)]:
        run_folder.describe(tmp_path, "it", earlier)
        run_folder.write_json(tmp_path / "baselines.json", {"untrained": {"mean_iou": 0}})
        run_folder.write_json(tmp_path / "checkpoints" / "best.json", state)
        value = {"test": "train"}.get(getattr(earlier, name), 0.4 if name == "score_threshold" else 7) if name else None
        config = dataclasses.replace(earlier, **({name: value} if name else {}))
        begin("it", config, tmp_path, Judged(), Judged(), 4)
        untrained = run_folder.read_baselines(tmp_path)["untrained"]["mean_iou"]
        keep = KeepBest(tmp_path / "checkpoints", "mean_iou", judging=run_folder.judging_of(config))
        keep.set_model(Judged())
        keep.on_train_begin()
        told = capsys.readouterr().out
        if name is None:
            assert (untrained, keep.state["value"], told) == (0, 0.5, "")
            continue
        assert (untrained, keep.state["value"], keep.state["evaluated"]) == (1, None, 0)
        change = f"{flag_of(name)} {getattr(earlier, name)}, now {value}"
        assert told.endswith(f"The best begins anew: mean_iou of step 4 was judged with {change}.\n")
        assert "the untrained model was measured again" in told
        # Nothing is said, or lost, twice.
        keep.on_train_begin()
        assert not capsys.readouterr().out


def test_a_learned_cost_is_euclidean_unless_told(tmp_path):
    """A squared one grows with the square of the features' slope, as the penalty of it does."""
    for options, cost in (
        ({}, "squared_euclidean"),
        ({"learned_cost": True}, "euclidean"),
        ({"learned_cost": True, "cost": "squared_euclidean"}, "squared_euclidean"),
        ({"cost": "cosine"}, "cosine"),
    ):
        model = sinkhorn_gan.build(sinkhorn_gan.Config(data="ring", hidden=(8,), **options), (2,))
        assert model.cost == cost
        assert ('cost="euclidean"' in model.remedy) is (model.critic is not None and cost == "squared_euclidean")
