"""Sets by name: those that are always there, and the choice between names and folders."""

import numpy as np
import pytest
from PIL import Image

from zoo import data
from zoo.data.splits import held_out


def test_names_can_all_be_asked_for():
    assert data.names() == [
        "cifar10",
        "digits",
        "fashion_mnist",
        "grid",
        "mnist",
        "ring",
        "swiss_roll",
        "usps",
    ]


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    train, test = data.load("digits"), data.load("digits", split="test")
    assert (train.size, test.size) == (1618, 179)
    assert train.shape == (8, 8, 1) and train.is_images and train.num_classes == 10
    original = load_digits()
    mask = held_out(1797)
    for source, chosen in ((train, ~mask), (test, mask)):
        images, labels = source.labelled()
        np.testing.assert_array_equal((images[..., 0] + 1) * 8, original.images[chosen])
        np.testing.assert_array_equal(labels, original.target[chosen])
    assert "scikit-learn" in train.origin


@pytest.mark.parametrize(
    ("name", "num_modes", "std", "radius"),
    [("ring", 8, 0.01, 1), ("grid", 25, 0.05, 32**0.5)],
)
def test_mixtures_have_the_moments_of_their_formula(name, num_modes, std, radius):
    source = data.load(name)
    points, labels = source.labelled()
    assert points.shape == (100_000, 2) and source.shape == (2,) and not source.is_images
    assert source.modes.shape == (num_modes, 2) and source.mode_std == std and source.num_classes == num_modes
    assert np.linalg.norm(source.modes, axis=1).max() == pytest.approx(radius)
    noise = (points - source.modes[labels]) / std
    # Standard errors of 200,000 draws: 0.0022 for the mean, 0.0016 for the deviation.
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    share = np.bincount(labels, minlength=num_modes) / len(labels) * num_modes
    assert share.min() > 0.9 and share.max() < 1.1


def test_the_grid_has_spacing_two():
    assert sorted(set(data.load("grid").modes[:, 0])) == [-4, -2, 0, 2, 4]


def test_the_swiss_roll_follows_its_spiral():
    source = data.load("swiss_roll")
    points = source.examples()
    assert all(getattr(source, part) is None for part in ("modes", "mode_std", "labels", "num_classes"))
    radius = np.linalg.norm(points, axis=1)
    assert radius.max() < 1.15 and radius.min() > 0.2
    # On the spiral the angle is the radius times 4.5 pi, up to whole turns.
    turn = np.angle(np.exp(1j * (np.arctan2(points[:, 1], points[:, 0]) - 4.5 * np.pi * radius)))
    assert abs(turn).mean() < 0.4


@pytest.mark.parametrize("name", ["ring", "grid", "swiss_roll", "digits"])
def test_splits_do_not_overlap_and_are_the_same_each_time(name):
    train, test = data.load(name), data.load(name, split="test")
    np.testing.assert_array_equal(test.examples(50), data.load(name, split="test").examples(50))
    if name != "digits":
        assert test.size == 10_000
        assert not set(map(bytes, test.examples())) & set(map(bytes, train.examples()))


@pytest.mark.parametrize("size", [2, 9, 10, 1797])
def test_a_tenth_is_held_out(size):
    mask = held_out(size)
    assert mask.sum() == max(1, size // 10)
    np.testing.assert_array_equal(mask, held_out(size))


def test_resizing_a_named_set():
    source = data.load("digits", image_size=16, channels=3)
    assert source.shape == (16, 16, 3)
    images = source.examples(10)
    assert images.shape == (10, 16, 16, 3) and images.min() >= -1 and images.max() <= 1
    np.testing.assert_array_equal(images[..., 0], images[..., 2])


def test_one_class_of_a_set():
    whole, threes = data.load("digits"), data.load("digits/3")
    images, labels = whole.labelled()
    np.testing.assert_array_equal(threes.examples(), images[labels == 3])
    assert threes.name == "digits/3" and not threes.is_labelled and threes.num_classes is None
    assert threes.origin == f"{whole.origin}, class 3 only"
    assert data.load("digits/3", image_size=16, channels=3).shape == (16, 16, 3)


def test_a_folder_is_meant_where_no_set_is_and_by_a_leading_dot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("digits/3", "photos/3", "emoji"):
        (tmp_path / folder).mkdir(parents=True)
        for row in range(3):
            Image.new("RGB", (5, 7)).save(tmp_path / folder / f"{row}.png")
    assert data.load("digits/3").shape == (8, 8, 1)
    for folder in ("./digits/3", "photos/3", "digits/", "emoji"):
        assert data.load(folder).shape == (7, 5, 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fashion-mnits", {}, r"No data set is called 'fashion-mnits'. Did you mean 'fashion_mnist'\?"),
        ("zzzzzz", {}, "The sets are: cifar10, digits, .* A path to a folder of images or records also works"),
        ("zzzzzz", {}, "usps, emoji/noto, emoji/twemoji, or one class as <set>/<class>, such as cifar10/horse and mn"),
        ("emoji", {}, r"Did you mean 'emoji/noto'\?"),
        ("digits/ten", {}, "'digits' has no class 'ten'. Its classes are: 0, 1, .*, 9. .* write \"./digits/ten\""),
        ("ring/3", {}, "The points of 'ring' cannot be had by class. Received: 'ring/3'"),
        ("", {}, "No data set is called ''"),
        (None, {}, "No data set is called None"),
        ("digits", {"split": "validation"}, "`split` must be one of 'train', 'test'. Received: 'validation'"),
        ("digits", {"image_size": 0}, "`image_size` must be a positive whole number"),
        ("digits", {"image_size": (8, 8, 3)}, r"Received: \(8, 8, 3\)"),
        ("digits", {"channels": 4}, r"`channels` must be 1 \(grey\), 3 \(RGB\)"),
        ("digits", {"channels": 1.0}, r"`channels` must be 1 \(grey\), .* Received: 1.0"),
        (["digits"], {}, r"No data set is called \['digits'\]"),
        ("ring", {"image_size": 8}, "are for images. Received: image_size=8"),
    ],
)
def test_wrong_arguments(name, options, message):
    with pytest.raises(ValueError, match=message):
        data.load(name, **options)
