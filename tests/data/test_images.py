"""Named image sets: the places, their order, and damaged files."""

import gzip
import os
import sys
import types

import numpy as np
import pytest

from zoo import data
from zoo.data import images as places
from zoo.data.splits import held_out

SMALL = np.random.RandomState(0)
X = SMALL.randint(0, 256, (40, 28, 28)).astype("uint8")
Y = np.arange(40) % 10


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No real place: no variable, no system package, and keras.datasets as it fails without a network."""
    import keras

    def fail(*_):
        raise Exception("URL fetch failure on https://example.org/set.npz: None -- no name resolution")

    monkeypatch.delenv("ZOO_DATA_DIR", raising=False)
    monkeypatch.setattr(places, "DEBIAN_FOLDERS", {"fashion_mnist": tmp_path / "debian"})
    for name in ("mnist", "fashion_mnist", "cifar10"):
        monkeypatch.setattr(getattr(keras.datasets, name), "load_data", fail)


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content = header + array.astype("uint8").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_npz(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def both_splits(name="mnist", **options):
    return data.load(name, **options), data.load(name, split="test", **options)


def assert_held_out(train, test):
    assert (train.size, test.size) == (36, 4)
    every = np.concatenate([train.examples(), test.examples()])
    np.testing.assert_array_equal(
        np.unique(np.round((every[..., 0] + 1) * 127.5), axis=0), np.unique(X.astype(float), axis=0)
    )


def test_one_npz_file_holds_out_a_tenth(tmp_path, monkeypatch):
    write_npz(tmp_path / "mnist" / "some.npz", x=X, y=Y)
    assert_held_out(*both_splits(data_dir=tmp_path))
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    train = data.load("mnist")
    assert train.shape == (28, 28, 1) and train.num_classes == 10 and str(tmp_path / "mnist") in train.origin
    assert "a fixed tenth held out" in train.origin


def test_data_dir_goes_before_the_variable(tmp_path, monkeypatch):
    write_npz(tmp_path / "a" / "mnist" / "some.npz", x=X, y=Y)
    write_npz(tmp_path / "b" / "mnist" / "some.npz", x=X[:20], y=Y[:20])
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path / "a"))
    assert data.load("mnist", data_dir=tmp_path / "b").size == 18


def test_a_test_split_of_its_own_is_used(tmp_path):
    write_npz(tmp_path / "one" / "mnist" / "mnist_train.npz", x=X[:30], y=Y[:30])
    write_npz(tmp_path / "one" / "mnist" / "mnist_test.npz", x=X[30:, ..., None], y=Y[30:, None])
    arrays = {"x_train": X[:30], "y_train": Y[:30], "x_test": X[30:], "y_test": Y[30:]}
    write_npz(tmp_path / "two" / "mnist" / "mnist.npz", **arrays)
    write_idx(tmp_path / "three" / "mnist" / "train-images-idx3-ubyte.gz", X[:30])
    write_idx(tmp_path / "three" / "mnist" / "train-labels.idx1-ubyte", Y[:30])
    write_idx(tmp_path / "three" / "mnist" / "t10k-images-idx3-ubyte", X[30:])
    write_idx(tmp_path / "three" / "mnist" / "t10k-labels-idx1-ubyte.gz", Y[30:])
    for folder in ("one", "two", "three"):
        train, test = both_splits(data_dir=tmp_path / folder)
        assert train.shape == test.shape == (28, 28, 1) and "its own test split" in test.origin
        for source, part in ((train, slice(30)), (test, slice(30, None))):
            examples, labels = source.labelled()
            np.testing.assert_array_equal(np.round((examples[..., 0] + 1) * 127.5), X[part])
            np.testing.assert_array_equal(labels, Y[part])


def test_idx_files_without_tests_or_labels_hold_out_a_tenth(tmp_path):
    write_idx(tmp_path / "mnist" / "train-images-idx3-ubyte", X)
    train, test = both_splits(data_dir=tmp_path)
    assert_held_out(train, test)
    assert train.labels is None and train.num_classes is None


def test_debians_package(tmp_path):
    for prefix, part in (("train", slice(30)), ("t10k", slice(30, None))):
        write_idx(tmp_path / "debian" / f"{prefix}-images-idx3-ubyte.gz", X[part])
        write_idx(tmp_path / "debian" / f"{prefix}-labels-idx1-ubyte.gz", Y[part])
    train, test = both_splits("fashion_mnist")
    assert (train.size, test.size) == (30, 10) and "Debian" in train.origin


def test_keras_and_tensorflow_datasets_come_last(tmp_path, monkeypatch):
    import keras

    colour = SMALL.randint(0, 256, (12, 32, 32, 3)).astype("uint8")
    label = np.arange(12) % 10
    library = types.ModuleType("tensorflow_datasets")
    library.__spec__ = types.SimpleNamespace()
    library.load = lambda name, split, batch_size: {"image": colour, "label": label}
    library.as_numpy = lambda found: found
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", library)
    assert data.load("cifar10").origin == "tensorflow-datasets, its own train split"
    monkeypatch.setattr(
        keras.datasets.cifar10, "load_data", lambda: ((colour, label[:, None]), (colour[:5], label[:5, None]))
    )
    train, test = both_splits("cifar10")
    assert train.origin == "keras.datasets, its own train split"
    assert (train.size, test.size, train.shape) == (12, 5, (32, 32, 3))


def test_nowhere_lists_each_place_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.setattr(places.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError) as caught:
        data.load("fashion_mnist", data_dir=tmp_path)
    message = str(caught.value)
    for part in (
        f"data_dir: {tmp_path / 'fashion_mnist'} is not a folder",
        "dataset-fashion-mnist is not there",
        "keras.datasets: Exception: URL fetch failure",
        "tensorflow-datasets: not installed",
        "x, uint8 (n, 28, 28)",
        "apt install dataset-fashion-mnist",
    ):
        assert part in message
    with pytest.raises(
        FileNotFoundError, match="(?s)ZOO_DATA_DIR is not set.*does not offer usps.*does not offer usps"
    ):
        data.load("usps")
    (tmp_path / "usps").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no .npz file and no IDX files"):
        data.load("usps", data_dir=tmp_path)


def test_a_library_that_lacks_a_package_is_said_to(tmp_path, monkeypatch):
    """TensorFlow Datasets imports some of what it needs only when it downloads."""
    library = types.ModuleType("tensorflow_datasets")
    library.__spec__ = types.SimpleNamespace()

    def load(name, split, batch_size):
        import no_such_package_of_theirs

        return no_such_package_of_theirs

    library.load, library.as_numpy = load, None
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", library)
    with pytest.raises(FileNotFoundError) as caught:
        data.load("fashion_mnist", data_dir=tmp_path)
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines[1:5]] == [
        *("  - data_dir", "  - system packages", "  - keras.datasets", "  - tensorflow-datasets")
    ]
    assert lines[2].endswith("is not there. Debian and Ubuntu: apt install dataset-fashion-mnist.")
    package = "no_such_package_of_theirs"
    assert lines[4].endswith(f"installed, and lacks the package {package}, which it needs: pip install {package}")


def test_a_truncated_npz_is_named_wherever_it_is_cut(tmp_path):
    path = tmp_path / "mnist" / "some.npz"
    path.parent.mkdir()
    np.savez_compressed(path, x=X, y=Y)
    content = path.read_bytes()
    for cut in (0, 1, 30, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=f"some.npz is not a whole .npz archive: .* Received: {cut} b"):
            data.load("mnist", data_dir=tmp_path)
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    with pytest.raises(ValueError, match="some.npz is not a whole .npz archive"):
        data.load("mnist", data_dir=tmp_path)


NOT_FINITE = X.astype("float32")
NOT_FINITE[0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": X}, "some.npz must hold an array x of images.* Received: images"),
        (
            {"x": X[:, :27]},
            r"some.npz must be uint8 of shape \(n, 28, 28\) .* Received: uint8 \(40, 27, 28\)",
        ),
        ({"x": NOT_FINITE}, r"Received: float32 \(40, 28, 28\), NaN or infinite in places"),
        (
            {"x": X, "y": Y[:39]},
            r"some.npz must be one whole number for each of 40 images. Received: int64 \(39,\)",
        ),
        ({"x": X, "y": Y + 1}, "must be 0 to 9. Received: 1 to 10"),
        ({"x": np.array([None, 1])}, "Object arrays cannot be loaded"),
    ],
)
def test_a_wrong_npz_is_named(tmp_path, arrays, message):
    write_npz(tmp_path / "mnist" / "some.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        data.load("mnist", data_dir=tmp_path)


def test_several_npz_files_are_ambiguous(tmp_path):
    write_npz(tmp_path / "mnist" / "a.npz", x=X)
    write_npz(tmp_path / "mnist" / "b.npz", x=X)
    with pytest.raises(ValueError, match="Received: a.npz, b.npz"):
        data.load("mnist", data_dir=tmp_path)


def test_damaged_idx_files_are_named(tmp_path):
    path = tmp_path / "mnist" / "train-images-idx3-ubyte"
    write_idx(path, X)
    content = path.read_bytes()
    size = 40 * 28 * 28
    for damaged, message in (
        (content[:-1], f"header says 40 x 28 x 28 = {size} bytes. Received: {size - 1}"),
        (content + b"x", f"Received: {size + 1}"),
        (content[:10], "begin with 00000803 and 3 sizes. Received: 10 bytes"),
        (b"", "Received: 0 bytes that begin with nothing"),
        (b"<html>" + content, "Received: .* bytes that begin with 3c68746d"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="train-images-idx3-ubyte.*" + message):
            data.load("mnist", data_dir=tmp_path)
    path.unlink()
    packed = path.with_name(path.name + ".gz")
    for damaged in (gzip.compress(content)[:-30], b"not gzip at all"):
        packed.write_bytes(damaged)
        with pytest.raises(ValueError, match="ubyte.gz is not a whole gzip file"):
            data.load("mnist", data_dir=tmp_path)


def test_one_class_is_chosen_by_name_or_number(tmp_path):
    colour = SMALL.randint(0, 256, (40, 32, 32, 3)).astype("uint8")
    write_npz(tmp_path / "cifar10" / "some.npz", x=colour, y=Y)
    write_npz(tmp_path / "mnist" / "some.npz", x=X, y=Y)
    # CIFAR-10 numbers its classes in the order of the alphabet: the horse is 7.
    for name, images, label in (("cifar10/horse", colour, 7), ("mnist/3", X[..., None], 3)):
        train = data.load(name, data_dir=tmp_path)
        assert train.name == name and train.labels is None and name.partition("/")[2] in train.origin
        chosen = (Y == label) & ~held_out(40)
        np.testing.assert_array_equal(np.round((train.examples() + 1) * 127.5), images[chosen])
    with pytest.raises(ValueError, match="are: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"):
        data.load("cifar10/hors", data_dir=tmp_path)


def test_a_class_without_labels_or_examples_is_refused(tmp_path):
    write_npz(tmp_path / "a" / "mnist" / "some.npz", x=X)
    with pytest.raises(ValueError, match="A class of 'mnist' is found by its label, and there are none in .*mnist"):
        data.load("mnist/3", data_dir=tmp_path / "a")
    write_npz(tmp_path / "b" / "mnist" / "some.npz", x=X, y=np.zeros(40, int))
    with pytest.raises(ValueError, match="None of the 4 examples from .*test split.* is of class '3'"):
        data.load("mnist/3", split="test", data_dir=tmp_path / "b")


NOTO, TWEMOJI = SMALL.randint(0, 256, (2, 20, 32, 32, 3)).astype("uint8")


def test_emoji_are_two_sets_in_one_file(tmp_path, monkeypatch):
    write_npz(tmp_path / "emoji" / "any.npz", noto=NOTO, twemoji=TWEMOJI, noto_name=np.array(["grinning"] * 20))
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    for name, images in (("emoji/noto", NOTO), ("emoji/twemoji", TWEMOJI)):
        train, test = both_splits(name)
        assert train.shape == (32, 32, 3) and train.name == name and not train.is_labelled
        for source, chosen in ((train, ~held_out(20)), (test, held_out(20))):
            np.testing.assert_array_equal(np.round((source.examples() + 1) * 127.5), images[chosen])
    write_npz(tmp_path / "emoji" / "any_test.npz", noto=NOTO[:3], twemoji=TWEMOJI[:3])
    train, test = both_splits("emoji/noto")
    assert (train.size, test.size) == (20, 3) and "its own test split" in test.origin


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"noto": NOTO, "x": TWEMOJI}, "any.npz must hold the arrays noto and twemoji, .* Received: noto, x. Rename"),
        ({"noto": NOTO[:, :31], "twemoji": TWEMOJI}, r"'emoji/noto' \(noto\) .* \(n, 32, 32, 3\) .* \(20, 31, 32, 3\)"),
    ],
)
def test_wrong_files_of_emoji_are_named(tmp_path, arrays, message):
    write_npz(tmp_path / "emoji" / "any.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        data.load("emoji/noto", data_dir=tmp_path)


def test_missing_emoji_say_what_to_put_where(tmp_path):
    message = r"(?s)emoji is not a folder.*arrays noto and twemoji, uint8 \(n, 32, 32, 3\), into a folder emoji, and "
    with pytest.raises(FileNotFoundError, match=message):
        data.load("emoji/noto", data_dir=tmp_path)
    (tmp_path / "emoji").mkdir()
    with pytest.raises(FileNotFoundError, match=r"emoji holds no .npz file\.\n"):
        data.load("emoji/noto", data_dir=tmp_path)


REAL_FOLDER = os.environ.get("ZOO_DATA_DIR")
real = pytest.mark.skipif(not REAL_FOLDER, reason="ZOO_DATA_DIR is not set: no real sets to read")


@real
@pytest.mark.parametrize("name", sorted(places.SETS))
def test_real_sets(name):
    train, test = (data.load(name, split=split, data_dir=REAL_FOLDER) for split in ("train", "test"))
    assert train.size > test.size >= 500 and train.shape == test.shape
    assert set(train.labels) == set(test.labels) == set(range(10))
    images = train.examples(500)
    assert images.min() == -1 and images.max() == 1 and 0.2 < images.std() < 1
    assert not set(map(bytes, test.examples(500))) & set(map(bytes, images))
