"""The recipe of objects in images through its command line, on composed scenes."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from recipes import mask_rcnn
from tests.helpers.recipes import assert_equal_to_the_bit, main_as_killed, served, tags
from zoo import runs

TINY = ["--data", "scenes", "--image-size", "64", "--width", "4", "--pyramid-width", "8", "--hidden", "16"]
TINY += [
    "--num-anchor-samples",
    "16",
    "--num-box-samples",
    "8",
    "--num-training-proposals",
    "20",
    "--num-proposals",
    "10",
    "--max-detections",
    "5",
    "--judged-images",
    "8",
]
TINY += ["--batch-size", "2", "--steps-per-epoch", "2", "--epochs", "2", "--verbose", "silent"]
# Every random change of the pictures.
RANDOM = ["--flip", "True", "--enlarge", "1.5", "--reduce", "0.7", "--recolour", "0.2", "--turn", "9"]
RANDOM += ["--stretch", "1.2", "--warp", "0.1"]
FIGURES = {"box_ap", "box_ap50", "box_ap75", "mask_ap", "mask_ap50", "mask_ap75"}


def run(folder, *options):
    runs.main(mask_rcnn.Config, mask_rcnn.train, [*TINY, "--out", str(folder), *options])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 4 steps without interruption, with every random change, and its exports; a killed one."""
    folder = tmp_path_factory.mktemp("whole")
    options = [*TINY, *RANDOM, "--evaluate-every", "1", "--exports", str(folder / "exports")]
    main_as_killed(mask_rcnn, options, folder / "run", folder / "killed", step=1)
    return folder


@pytest.mark.exhaustive
def test_ends_in_pictures_and_a_served_model(finished):
    metrics = json.loads((finished / "run" / "metrics.json").read_text())
    assert metrics["steps"] == 4 and metrics["num_images"] == metrics["untrained"]["num_images"] == 8
    assert all(0 <= metrics[name] <= 1 for name in FIGURES)
    card = served(mask_rcnn, metrics, finished / "exports")
    assert card["figures"]["mask_ap"] == metrics["mask_ap"] and card["classes"] == list("0123456789")
    assert {path.stem for path in (finished / "run" / "figures").iterdir()} == {"losses", "detections"}
    for number in (1, 2):
        with Image.open(finished / "run" / "samples" / "detections" / f"epoch-000{number}.png") as image:
            # Pairs of scenes, each at least 256 pixels wide.
            assert image.width > 1024 and np.asarray(image).std() > 1
    shown = tags(finished / "run" / "logs")
    terms = {f"epoch_{name}" for name in ("rpn_class_loss", "rpn_box_loss", "class_loss", "box_loss", "mask_loss")}
    assert {"detections", *terms, *(f"epoch_{name}" for name in FIGURES)} <= shown


@pytest.mark.exhaustive
def test_resumes_to_the_bit_in_the_middle_of_an_epoch(finished):
    run(finished / "killed", *RANDOM, "--evaluate-every", "9")
    assert_equal_to_the_bit(finished / "killed", finished / "run")


@pytest.mark.parametrize("backbone", ["small", "resnet18", "torchvision_resnet18"])
def test_batch_normalisation_is_trained_or_left_as_it_is(backbone):
    """Of a live one scales and offsets are trained, of a frozen one not; convolutions always."""
    counts = []
    for batch_norm in ("live", "frozen"):
        config = mask_rcnn.Config(backbone=backbone, batch_norm=batch_norm)
        weights = [len(one.shape) for one in mask_rcnn.backbone_of(config).trainable_weights]
        counts.append((weights.count(4), weights.count(1)))
    convolutions, scales = zip(*counts, strict=True)
    assert convolutions[0] == convolutions[1] and scales[0] == 2 * convolutions[0] and scales[1] < scales[0]


def test_learning_rate_rises_and_falls():
    """In a straight line to the highest at the second of 10 updates, then as (1 + cos) / 2 over the other eight."""
    config = mask_rcnn.Config(epochs=5, steps_per_epoch=2, learning_rate=0.1, warm_up_steps=2)
    rate = runs.cosine_optimizer(config)._learning_rate
    found = [float(rate(step)) for step in range(11)]
    falling = 0.05 * (1 + np.cos(np.pi * np.arange(9) / 8))
    np.testing.assert_allclose(found, [0, 0.05, *falling], atol=1e-7)


@pytest.mark.parametrize(("side", "expected"), [(128, 8), (256, 8), (320, 16), (640, 32)])
def test_anchors_follow_the_canvas(side, expected):
    assert mask_rcnn.anchor_sizes(side) == tuple(expected * 2**level for level in range(5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "missing"], "missing"),
        (["--image-size", "50"], "`--image-size` must be a multiple of 32. Received: 50"),
        (["--enlarge", "0.5"], "`--enlarge` must be 1 or more"),
        (["--recolour", "1"], "`--recolour` must be below 1"),
        (["--turn", "200"], "`--turn` must be at most 180"),
        (["--stretch", "0.5"], "`--stretch` must be 1 or more"),
        (["--warp", "0.6"], "`--warp` must be at most 0.5"),
        (["--reduce", "1.5"], "`--reduce` 1 or less. Received: 1 and 1.5"),
        (["--anchor-sizes", "8", "16"], "must be five sides, one for each level. Received: 2"),
        (["--weights", "w.pth"], "`--weights` needs a backbone of torchvision"),
        (["--weights", "w.pth", "--backbone", "torchvision_resnet50"], "There is no file `w.pth`"),
        (["--num-box-samples", "0"], "--num-box-samples"),
    ],
)
def test_mistakes_end_in_advice(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path / "run", *options)
    output = capsys.readouterr()
    assert re.search(message, output.err.replace("\n", " ")) and "Traceback" not in output.err
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.fixture(scope="module")
def model():
    config = mask_rcnn.Config(backbone="torchvision_resnet18", pyramid_width=256, hidden=1024, steps_per_epoch=1)
    return mask_rcnn.build(config, ((64, 64, 3), ("a", "b")))


@pytest.mark.parametrize(
    "num_classes", [None, pytest.param(2, marks=pytest.mark.exhaustive), pytest.param(3, marks=pytest.mark.exhaustive)]
)
def test_weights_of_torchvision_begin_what_they_fit(num_classes, model, tmp_path):
    """Of a classifier, of a detector of the same classes, and of one of other classes, by our own names back."""
    from zoo import MaskRCNN, torchvision_resnet
    from zoo.networks import torchvision

    donor = torchvision_resnet(18)
    if num_classes:
        donor = MaskRCNN(donor, num_classes)
        wanted = torchvision._of_detector(donor)
    else:
        wanted = torchvision._of_backbone(donor)
    rng = np.random.default_rng(num_classes or 0)
    weights = {name: rng.random(one.shape, "float32") for name, one in wanted.items()}
    np.savez(tmp_path / "weights.npz", **weights)
    before = {name: getattr(model, name).get_weights() for name in ("rpn_head", "box_head", "mask_head")}
    mask_rcnn.load(model, tmp_path / "weights.npz")
    name = "conv1.weight" if num_classes is None else "backbone.body.conv1.weight"
    kernel = model.backbone.get_layer("conv1").weights[0]
    np.testing.assert_array_equal(kernel, weights[name].transpose(2, 3, 1, 0))
    taken = {None: set(), 2: {"rpn_head", "box_head", "mask_head"}, 3: {"rpn_head"}}[num_classes]
    for name, earlier in before.items():
        changed = [not np.array_equal(*pair) for pair in zip(earlier, getattr(model, name).get_weights(), strict=True)]
        assert all(changed) if name in taken else not any(changed)
