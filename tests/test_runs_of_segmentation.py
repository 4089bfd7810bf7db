"""The recipe of labelled pixels through its command line, on composed scenes."""

import json
import re

import keras
import numpy as np
import pytest
from PIL import Image

from recipes import fcn, mask_rcnn
from tests.helpers.recipes import assert_equal_to_the_bit, main_as_killed, served, tags
from zoo import runs

TINY = ["--data", "scenes", "--image-size", "40", "--small-width", "4", "--judged-images", "8", "--batch-size", "2"]
TINY += ["--steps-per-epoch", "2", "--epochs", "2", "--verbose", "silent"]
# Every random change of the pictures.
RANDOM = ["--flip", "True", "--enlarge", "1.5", "--reduce", "0.7", "--recolour", "0.2", "--turn", "9"]
RANDOM += ["--stretch", "1.2", "--warp", "0.1", "--crop", "32"]
LEARNT = ["--optimizer", "muon", "--width", "4", "--stride", "32", "--top-down", "1", "1"]
FIGURES = {"pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou"}


def run(folder, *options):
    runs.main(fcn.Config, fcn.train, [*TINY, "--out", str(folder), *options])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 4 steps without interruption, with every random change and dropout, and its exports; a killed one."""
    folder = tmp_path_factory.mktemp("whole")
    options = [*TINY, *RANDOM, *LEARNT, "--evaluate-every", "1", "--exports", str(folder / "exports")]
    main_as_killed(fcn, options, folder / "run", folder / "killed", step=1)
    return folder


@pytest.mark.exhaustive
def test_ends_in_pictures_and_a_served_model(finished):
    metrics = json.loads((finished / "run" / "metrics.json").read_text())
    assert metrics["steps"] == 4 and metrics["num_images"] == metrics["untrained"]["num_images"] == 8
    assert all(0 <= metrics[name] <= 1 for name in FIGURES)
    assert list(metrics["iou"]) == ["background", *"0123456789"]
    card = served(fcn, metrics, finished / "exports")
    assert card["figures"]["mean_iou"] == metrics["mean_iou"] and card["classes"] == ["background", *"0123456789"]
    assert {path.stem for path in (finished / "run" / "figures").iterdir()} == {"losses", "segmentation"}
    for number in (1, 2):
        with Image.open(finished / "run" / "samples" / "segmentation" / f"epoch-000{number}.png") as image:
            assert image.width > 512 and np.asarray(image).std() > 1
    shown = tags(finished / "run" / "logs")
    assert {"segmentation", "epoch_cross_entropy", *(f"epoch_{name}" for name in FIGURES)} <= shown


@pytest.mark.exhaustive
def test_resumes_to_the_bit_in_the_middle_of_an_epoch(finished):
    run(finished / "killed", *RANDOM, *LEARNT, "--evaluate-every", "9")
    assert_equal_to_the_bit(finished / "killed", finished / "run")


@pytest.mark.exhaustive
def test_a_stage_begins_with_the_one_before(finished):
    """FCN-16s has what FCN-32s learnt, and layers of its own as they begin."""
    earlier = keras.models.load_model(finished / "run" / "model.keras")
    config = fcn.Config(
        small_width=4,
        top_down=(1, 1),
        width=4,
        stride=16,
        begin_with=finished / "run" / "model.keras",
        steps_per_epoch=1,
    )
    model = fcn.build(config, ((40, 40, 3), earlier.num_classes * ("a",)))
    for one, other in zip(model.backbone.weights, earlier.backbone.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    for name in ("fc6", "fc7", "score_fr"):
        np.testing.assert_array_equal(model.head.get_layer(name).kernel, earlier.head.get_layer(name).kernel)
    assert not np.any(model.head.get_layer("score_c4").kernel)
    assert np.any(model.head.get_layer("score_fr").kernel)


@pytest.mark.parametrize("recipe", [fcn, mask_rcnn])
def test_scenes_to_train_on_may_be_more(recipe):
    config = recipe.Config(num_scenes=20_000, image_size=64)
    assert (config.load("train").size, config.load("test").size) == (20_000, 200)


@pytest.mark.parametrize("backbone", ["resnet18", "vgg16"])
def test_backbones_of_keras_cv_are_built(backbone):
    config = fcn.Config(backbone=backbone, steps_per_epoch=1)
    model = fcn.build(config, ((40, 48, 3), ("a", "b")))
    assert model.segment(np.zeros((1, 40, 48, 3), "uint8")).shape == (1, 40, 48)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "missing"], "No set of pictures with labels is called 'missing'"),
        (["--enlarge", "0.5"], "`--enlarge` must be 1 or more"),
        (["--recolour", "1"], "`--recolour` must be below 1"),
        (["--turn", "200"], "`--turn` must be at most 180"),
        (["--stretch", "0.5"], "`--stretch` must be 1 or more"),
        (["--warp", "0.6"], "`--warp` must be at most 0.5"),
        (["--num-scenes", "0"], "`--num-scenes` must be a whole number from 1"),
        (["--crop", "0"], "`--crop` must be a whole number from 1"),
        (["--small-blocks", "1", "0", "1", "1"], "`--small-blocks` must be a whole number from 1"),
        (["--top-down", "0", "1"], "`--top-down` must be a whole number from 1"),
        (["--stride", "4"], "stride"),
        (["--weights", "w.h5"], "`--weights` needs `--backbone vgg16`. Received: small"),
        (["--weights", "w.h5", "--backbone", "vgg16"], "There is no file `w.h5`. Expected one for `--weights`"),
        (["--begin-with", "w.keras"], "There is no file `w.keras`. Expected one for `--begin-with`"),
        (["--class-weights", "1", "2"], "for each of 11 classes"),
    ],
)
def test_mistakes_end_in_advice(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path / "run", *options)
    output = capsys.readouterr()
    assert re.search(message, output.err.replace("\n", " ")) and "Traceback" not in output.err
