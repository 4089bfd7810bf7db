"""Pairs of image sets: what makes one, the order of both sides, and what is refused."""

import os

import numpy as np
import pytest
from PIL import Image

from zoo import data
from zoo.data.augment import enlarge_crop_flip
from zoo.data.splits import held_out


def numbered(name, size, first=0):
    """A source whose images are flat, each of a grey of its own."""
    greys = np.arange(first, first + size, dtype="uint8")
    return data.Source(name, np.tile(greys[:, None, None], (1, 4, 4)))


def numbers(images):
    return np.round((np.asarray(images)[:, 0, 0, 0] + 1) * 127.5).astype(int)


def steps_of(batches, count):
    return [tuple(numbers(side) for side in batch) for batch in batches.take(count)]


def pictures(folder, names, colour=(9, 9, 9), size=(4, 4), mode="RGB"):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new(mode, size[::-1], colour).save(folder / f"{name}.png")


@pytest.fixture
def pair():
    """23 and 7 images: 4 steps of 5 to a pass of the longer side, 1 to one of the shorter."""
    return data.Pair(numbered("x", 23), numbered("y", 7, first=100))


def test_an_epoch_is_a_pass_over_the_longer_side_and_the_shorter_begins_again(pair):
    assert (pair.steps_per_epoch(5), pair.steps_per_epoch(2), pair.size, pair.shape) == (4, 11, 23, (4, 4, 1))
    assert data.Pair(pair.y, pair.x).steps_per_epoch(5) == 4
    x, y = zip(*steps_of(pair.batches(2, seed=3), 2 * 33), strict=True)
    for side, all_numbers, steps in ((x, range(23), 11), (y, range(100, 107), 3)):
        passes = [np.concatenate(side[start : start + steps]) for start in range(0, 66, steps)]
        # Each pass has every example at most once, and the next one is in another order.
        assert all(len(set(one)) == 2 * steps and set(one) <= set(all_numbers) for one in passes)
        assert len({tuple(one) for one in passes}) == len(passes)


def test_the_sides_are_shuffled_independently():
    pair = data.Pair(numbered("x", 40), numbered("y", 40))
    orders = {tuple(side) for seed in range(3) for side in steps_of(pair.batches(40, seed), 1)[0]}
    assert len(orders) == 6


def test_batches_are_both_sides_in_minus_one_to_one(pair):
    spec = pair.batches(5).element_spec
    assert [(side.shape, side.dtype.name) for side in spec] == [((5, 4, 4, 1), "float32")] * 2
    black, white = data.Source("b", np.zeros((3, 4, 4), "uint8")), data.Source("w", np.full((4, 4, 4), 255, "uint8"))
    x, y = next(iter(data.Pair(black, white).batches(2)))
    np.testing.assert_array_equal(x, -np.ones((2, 4, 4, 1)))
    np.testing.assert_array_equal(y, np.ones((2, 4, 4, 1)))


@pytest.mark.parametrize("augment", [None, pytest.param(enlarge_crop_flip((4, 4, 1), 2), marks=pytest.mark.exhaustive)])
def test_a_resumed_run_sees_what_an_uninterrupted_one_saw(pair, augment):
    options = {"batch_size": 5, "seed": 7, "augment": augment}
    whole = list(pair.batches(**options).take(14).as_numpy_iterator())
    for done in (4, 9):
        resumed = pair.batches(**options, first_epoch=done // 4, first_step=done % 4)
        for got, expected in zip(resumed.take(5).as_numpy_iterator(), whole[done:], strict=False):
            for side, expected_side in zip(got, expected, strict=True):
                np.testing.assert_array_equal(side, expected_side)


@pytest.mark.parametrize("augment", [None, pytest.param(enlarge_crop_flip((4, 4, 1), 2), marks=pytest.mark.exhaustive)])
def test_the_parts_of_replicas_together_are_the_batches(pair, augment):
    options = {"batch_size": 5, "seed": 2, "first_step": 3, "augment": augment}
    parts = list(pair.batches(**options, replicas=(0, 3, 3)).take(9).as_numpy_iterator())
    for step, batch in enumerate(pair.batches(**options).take(3).as_numpy_iterator()):
        for side in range(2):
            mine = [part[side] for part in parts[3 * step : 3 * step + 3]]
            assert [len(part) for part in mine] == [2, 2, 1]
            np.testing.assert_array_equal(np.concatenate(mine), batch[side])


def test_each_replica_of_a_strategy_gets_its_part_of_both_sides(pair, two_replicas):
    from zoo.training import distribute

    steps = iter(distribute(two_replicas, lambda **where: pair.batches(5, seed=2, **where)))
    for batch in pair.batches(5, seed=2).take(3):
        for side, expected in zip(next(steps), batch, strict=True):
            found = two_replicas.experimental_local_results(side)
            assert [len(part) for part in found] == [3, 2]
            np.testing.assert_array_equal(np.concatenate(found), expected)


def test_the_draws_of_both_sides_differ():
    pixels = np.random.RandomState(0).randint(0, 256, (30, 8, 8)).astype("uint8")
    pair = data.Pair(data.Source("x", pixels), data.Source("y", pixels))
    x, y = next(iter(pair.batches(30, augment=enlarge_crop_flip((8, 8, 1), 2))))
    plain_x, plain_y = next(iter(pair.batches(30)))
    of_x, of_y = (np.argsort([image.numpy().tobytes() for image in side]) for side in (plain_x, plain_y))
    # 162 places and sides: of 30 images few are changed alike.
    assert sum(np.array_equal(a, b) for a, b in zip(x.numpy()[of_x], y.numpy()[of_y], strict=True)) < 5


def test_examples_are_fixed_samples_of_both_sides(pair):
    x, y = pair.examples(5, seed=1)
    np.testing.assert_array_equal(x, pair.x.examples(5, seed=1))
    assert set(numbers(y)) <= set(range(100, 107)) and len(set(numbers(y))) == 5
    assert [len(side) for side in pair.examples(None)] == [23, 7]


def test_two_names_make_a_pair():
    pair = data.load_pair(("digits/3", "digits/8"))
    assert (pair.name, pair.shape, pair.is_images) == ("digits_3-digits_8", (8, 8, 1), True)
    assert "digits/3 (" in pair.origin and "class 8 only" in pair.origin
    sizes = f"{pair.x.size} and {pair.y.size} examples"
    assert repr(pair).startswith(f"<Pair digits_3-digits_8: {sizes} of shape (8, 8, 1), digits/3")
    resized = data.load_pair(["digits/3", "digits/8"], split="test", image_size=(6, 4), channels=3)
    assert resized.shape == (6, 4, 3) and resized.size < pair.size


def test_mnist_and_usps_are_brought_to_one_scale(tmp_path):
    """LeCun et al. 1998: MNIST's digits fill 20 x 20 pixels in the middle of 28 x 28; USPS's fill 16 x 16."""
    for name, side in (("mnist", 28), ("usps", 16)):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "some.npz", x=np.full((20, side, side), 255, "uint8"), y=np.arange(20) % 10)
    pair = data.load_pair("mnist_usps", data_dir=tmp_path)
    assert (pair.name, pair.shape, pair.x.name, pair.y.name) == ("mnist_usps", (28, 28, 1), "mnist", "usps")
    expected = np.pad(np.full((18, 20, 20, 1), 1.0), ((0, 0), (4, 4), (4, 4), (0, 0)), constant_values=-1.0)
    np.testing.assert_allclose(pair.y.examples(), expected, atol=1e-6)
    np.testing.assert_array_equal(pair.y.labels, data.load("usps", data_dir=tmp_path).labels)
    assert data.load_pair("mnist_usps", data_dir=tmp_path, image_size=16).shape == (16, 16, 1)


def test_emoji(tmp_path):
    (tmp_path / "emoji").mkdir()
    shape = (20, 32, 32, 3)
    np.savez(tmp_path / "emoji" / "train.npz", noto=np.zeros(shape, "uint8"), twemoji=np.full(shape, 255, "uint8"))
    pair = data.load_pair("emoji", data_dir=tmp_path)
    assert (pair.name, pair.shape, pair.x.size, pair.y.size) == ("emoji", (32, 32, 3), 18, 18)
    x, y = pair.examples(3)
    assert x.max() == -1 and y.min() == 1


@pytest.mark.parametrize("has_tests", [False, True])
def test_a_folder_as_the_authors_of_cyclegan_lay_it_out(tmp_path, has_tests):
    root = tmp_path / "horse2zebra"
    for letter, count, first in (("A", 20, 0), ("B", 10, 100)):
        for number in range(first, first + count):
            pictures(root / f"train{letter}", [f"{number:03}"], (number,) * 3)
        if has_tests:
            pictures(root / f"test{letter}", [first + 90], (first + 90,) * 3)
    train, test = (data.load_pair(root, split=split) for split in ("train", "test"))
    assert train.name == test.name == "horse2zebra"
    assert (train.x.name, train.y.name) == ("horse2zebra/A", "horse2zebra/B")
    for letter, count, first in (("x", 20, 0), ("y", 10, 100)):
        found = [set(numbers(getattr(pair, letter).examples())) for pair in (train, test)]
        everything = set(range(first, first + count))
        kept_back = {first + 90} if has_tests else {first + row for row in np.flatnonzero(held_out(count))}
        assert found == [everything - kept_back, kept_back]


def test_paths_make_a_pair(tmp_path):
    pictures(tmp_path / "photos", range(4))
    pictures(tmp_path / "paintings", range(30))
    pair = data.load_pair((f"{tmp_path}/photos/", tmp_path / "paintings"), cache=True)
    assert (pair.name, pair.x.size, pair.size) == ("photos-paintings", 3, 27)


def test_damaged_files_of_a_side_are_named_and_may_be_left_out(tmp_path, capsys):
    for letter in "AB":
        pictures(tmp_path / f"train{letter}", range(4))
    (tmp_path / "trainB" / "2.png").write_bytes(b"")
    with pytest.raises(ValueError, match="Side B of the pair, .*trainB: 1 of 4 images cannot be decoded: .*2.png"):
        data.load_pair(tmp_path)
    assert data.load_pair(tmp_path, skip_damaged=True).y.size == 2
    assert "Left out 1 of 4 images" in capsys.readouterr().err


def test_sides_of_different_shapes_are_refused_with_advice(tmp_path):
    pictures(tmp_path / "grey", range(3), 9, mode="L")
    pictures(tmp_path / "colour", range(3))
    pictures(tmp_path / "large", range(3), size=(8, 6))
    with pytest.raises(ValueError, match=r"'grey' \(4, 4, 1\), 'colour' \(4, 4, 3\). Give `channels=3` to make"):
        data.load_pair((tmp_path / "grey", tmp_path / "colour"))
    assert data.load_pair((tmp_path / "grey", tmp_path / "colour"), channels=3).shape == (4, 4, 3)
    with pytest.raises(ValueError, match=r"\(8, 6, 3\), 'colour' \(4, 4, 3\). Give `image_size` to bring both to one"):
        data.load_pair((tmp_path / "large", tmp_path / "colour"))
    with pytest.raises(ValueError, match="Give `image_size` to bring both to one size and `channels=3` to make both"):
        data.load_pair((tmp_path / "large", tmp_path / "grey"))
    with pytest.raises(ValueError, match="'ring' has no pixels"):
        data.load_pair(("ring", "digits"))


def test_missing_and_empty_sides_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="trainA and trainB missing. .* Received: an empty folder"):
        data.load_pair(tmp_path)
    pictures(tmp_path / "trainA", range(3))
    with pytest.raises(FileNotFoundError, match="is no pair of image sets: trainB missing. .* Received: trainA. Add"):
        data.load_pair(tmp_path)
    (tmp_path / "trainB").mkdir()
    with pytest.raises(ValueError, match="Side B of the pair, .*trainB: The folder .*trainB holds no images"):
        data.load_pair(tmp_path)
    pictures(tmp_path / "trainB", range(3))
    (tmp_path / "testA").mkdir()
    with pytest.raises(FileNotFoundError, match="testB missing"):
        data.load_pair(tmp_path)
    (tmp_path / "testB").mkdir()
    with pytest.raises(ValueError, match="Side A of the pair, .*: The folder .*testA holds no images"):
        data.load_pair(tmp_path, split="test")
    with pytest.raises(FileNotFoundError, match="Side y of the pair, .*nowhere: The folder .* does not exist"):
        data.load_pair((tmp_path / "trainA", tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "emojy",
            ValueError,
            r"No pair is called 'emojy'. Did you mean 'emoji'\? The pairs are: emoji, mnist_usps",
        ),
        ("mnist-usps", ValueError, r"Did you mean 'mnist_usps'\?"),
        (None, ValueError, "No pair is called None. The pairs are"),
        ("./nowhere", FileNotFoundError, "The folder ./nowhere does not exist. The pairs are"),
        (("digits",), ValueError, r"made of two names or paths, one for each side. Received: \('digits',\)"),
        (
            ("digits/3", "digist/8"),
            FileNotFoundError,
            "Side y of the pair, digist/8: The folder digist/8 does not",
        ),
        (("digits/3", "digits/x"), ValueError, "Side y of the pair, digits/x: 'digits' has no class 'x'"),
    ],
)
def test_unknown_names_list_what_there_is(name, error, message):
    with pytest.raises(error, match=message):
        data.load_pair(name)


def test_a_file_is_no_pair(tmp_path):
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(NotADirectoryError, match="file.txt is a file. Expected a folder with trainA and trainB"):
        data.load_pair(tmp_path / "file.txt")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda pair: pair.batches(8), "needs 8 examples, and 'y' has 7. Use a batch size of at most 7"),
        (lambda pair: pair.batches(2, group=3), "`group` must be None. Received: 3"),
        (lambda pair: pair.batches(5, first_step=4), "`first_step` must be a whole number from 0 to 3. Received: 4"),
        (lambda pair: pair.batches(5, first_epoch=-1), "`first_epoch` must be a whole number from 0"),
        (lambda pair: pair.batches(5, seed=0.5), "`seed` must be a whole number"),
        (lambda pair: pair.batches(5, replicas=(0, 1, 6)), "cannot be split over 6 replicas"),
        (lambda pair: pair.examples(8), "at most as many examples as 'y': 7. Received: n=8"),
        (
            lambda pair: data.Pair(pair.x, "digits"),
            "`y` must be a Source, such as `zoo.data.load` returns. Received: 'dig",
        ),
        (lambda pair: data.load_pair("emoji", split="all"), "`split` must be one of 'train', 'test'"),
    ],
)
def test_wrong_arguments(pair, call, message):
    with pytest.raises(ValueError, match=message):
        call(pair)


def test_a_pair_is_not_gone_through_itself(pair):
    with pytest.raises(TypeError, match=r"Use `pair.batches\(64\)` .* the sides are `pair.x` and `pair.y`"):
        list(pair)


REAL_FOLDER = os.environ.get("ZOO_DATA_DIR")


@pytest.mark.skipif(not REAL_FOLDER, reason="ZOO_DATA_DIR is not set: no real sets to read")
@pytest.mark.parametrize("name", ["emoji", "mnist_usps", ("cifar10/horse", "cifar10/deer")])
def test_real_pairs(name):
    train, test = (data.load_pair(name, split=split, data_dir=REAL_FOLDER) for split in ("train", "test"))
    assert train.shape == test.shape
    for letter in "xy":
        some, others = (getattr(pair, letter).examples() for pair in (train, test))
        assert len(some) > len(others) >= 40 and some.min() == -1 and some.max() > 0.9
