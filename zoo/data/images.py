"""Image sets with a name, and the places where they are looked for."""

import gzip
import importlib.util
import os
import socket
import zlib
from pathlib import Path

import numpy as np

from zoo.archive import Unreadable, read_npz
from zoo.data.splits import SPLITS, split_of

SETS = {"mnist": (28, 28), "fashion_mnist": (28, 28), "usps": (16, 16), "cifar10": (32, 32, 3)}
# Two drawings of the same kinds of things, both in one file: an unpaired set for image-to-image translation.
EMOJI = {"emoji/noto": (32, 32, 3), "emoji/twemoji": (32, 32, 3)}
DIGITS = [str(number) for number in range(10)]
CLASSES = {
    "mnist": DIGITS,
    "fashion_mnist": DIGITS,
    "usps": DIGITS,
    "cifar10": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
}
DEBIAN_FOLDERS = {"fashion_mnist": Path("/usr/share/datasets/fashion-mnist")}
_DEBIAN_PACKAGES = {"fashion_mnist": "dataset-fashion-mnist"}
_DOWNLOADED = ("mnist", "fashion_mnist", "cifar10")
_TIMEOUT = 15
_IDX_PREFIXES = {"train": "train", "test": "t10k"}


class NotHere(Exception):
    """A place does not have the set; the message says why."""


def find(name, split, data_dir=None):
    """Looks for a set in one place after the other.

    A damaged file is an error, and not a reason to look elsewhere.

    Args:
        name: One of `SETS` or `EMOJI`.
        split: "train" or "test".
        data_dir: Folder that holds a folder `name`, or "emoji"; None for the environment variable ZOO_DATA_DIR.

    Returns:
        Tuple of (images, labels) and the origin. Images are uint8 (n, height, width), or with a last axis of
        1 or 3 channels; labels are int64 (n,), or None.

    Raises:
        FileNotFoundError: If no place has it; the message lists them, with the reasons.
        ValueError: If a file is damaged or holds something else; the message names it.
    """
    tried = []
    for look in (_in_data_dir, _in_debian, _in_keras, _in_tensorflow_datasets):
        try:
            parts, place = look(name, data_dir)
        except NotHere as reason:
            tried.append(str(reason))
            continue
        if set(parts) == set(SPLITS):
            return parts[split], f"{place}, its own {split} split"
        return split_of(split, *parts["all"]), f"{place}, {split} split, a fixed tenth held out for tests"
    shape = ", ".join(map(str, _shape(name)))
    arrays = f"noto and twemoji, uint8 (n, {shape})," if name in EMOJI else f"x, uint8 (n, {shape}), and y, (n,),"
    raise FileNotFoundError(
        f"The data set {name!r} was not found. Tried:\n"
        + "".join(f"  - {reason}\n" for reason in tried)
        + f"Put an .npz file with the arrays {arrays} into a folder {_folder(name)}, and "
        "give the folder around it as `data_dir` or in the environment variable ZOO_DATA_DIR"
        + ("; or go online once." if name in _DOWNLOADED else ".")
        + (f" Debian and Ubuntu: apt install {_DEBIAN_PACKAGES[name]}." if name in _DEBIAN_PACKAGES else "")
        + " Always there: digits, ring, grid, swiss_roll."
    )


def read_idx(path, num_axes):
    """An array of bytes in the IDX format of MNIST, plain or gzip-compressed.

    The format: two zero bytes, 0x08 for bytes, the number of axes; each axis as a big-endian 32-bit number;
    the data.

    Args:
        path: `Path` of the file.
        num_axes: Axes expected: 3 for images, 1 for labels.

    Returns:
        uint8 array.

    Raises:
        ValueError: If the file is damaged or of another kind; the message names it.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"The file {path} is not a whole gzip file: {error}. Fetch it again.") from error
    start = 4 + 4 * num_axes
    magic = bytes([0, 0, 8, num_axes])
    if data[:4] != magic or len(data) < start:
        raise ValueError(
            f"The file {path} is not an IDX file of bytes with {num_axes} axes. Expected it to begin with "
            f"{magic.hex()} and {num_axes} sizes. Received: {len(data)} bytes that begin with "
            f"{data[:4].hex() or 'nothing'}. Fetch it again."
        )
    shape = tuple(np.frombuffer(data, ">u4", num_axes, offset=4).tolist())
    expected, received = int(np.prod(shape)), len(data) - start
    if received != expected:
        raise ValueError(
            f"The file {path} is damaged: its header says {' x '.join(map(str, shape))} = {expected} bytes. "
            f"Received: {received}. Fetch it again."
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _in_data_dir(name, data_dir):
    source = "data_dir" if data_dir is not None else "ZOO_DATA_DIR"
    base = data_dir if data_dir is not None else os.environ.get("ZOO_DATA_DIR")
    if not base:
        raise NotHere("data_dir: not given, and the environment variable ZOO_DATA_DIR is not set.")
    folder = Path(base).expanduser() / _folder(name)
    if not folder.is_dir():
        raise NotHere(f"{source}: {folder} is not a folder.")
    parts = _npz_parts(name, folder) or (None if name in EMOJI else _idx_parts(name, folder))
    if parts is None:
        raise NotHere(
            f"{source}: {folder} holds no .npz file"
            + ("." if name in EMOJI else " and no IDX files (train-images-idx3-ubyte, plain or .gz).")
        )
    return parts, str(folder)


def _in_debian(name, _):
    if name not in DEBIAN_FOLDERS:
        raise NotHere(f"system packages: Debian has none for {name}.")
    folder = DEBIAN_FOLDERS[name]
    parts = _idx_parts(name, folder) if folder.is_dir() else None
    if parts is None:
        package = _DEBIAN_PACKAGES[name]
        raise NotHere(
            f"system packages: {folder} of Debian's {package} is not there. Debian and Ubuntu: apt install {package}."
        )
    return parts, f"Debian's package dataset-fashion-mnist ({folder})"


def _in_keras(name, _):
    if name not in _DOWNLOADED:
        raise NotHere(f"keras.datasets: it does not offer {name}.")
    import keras

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        train, test = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise NotHere(f"keras.datasets: {reason_of(error)}") from error
    finally:
        socket.setdefaulttimeout(patience)
    place = "keras.datasets"
    return {"train": _checked(name, *train, place), "test": _checked(name, *test, place)}, place


def _in_tensorflow_datasets(name, _):
    if name not in _DOWNLOADED:
        raise NotHere(f"tensorflow-datasets: it does not offer {name}.")
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise NotHere("tensorflow-datasets: not installed.")
    try:
        import tensorflow_datasets as tfds

        found = {split: tfds.as_numpy(tfds.load(name, split=split, batch_size=-1)) for split in SPLITS}
    except Exception as error:  # any of the library's download errors
        raise NotHere(f"tensorflow-datasets: {reason_of(error)}") from error
    place = "tensorflow-datasets"
    parts = {split: _checked(name, part["image"], part["label"], place) for split, part in found.items()}
    return parts, place


def _npz_parts(name, folder):
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        return None
    tests = [path for path in paths if "test" in path.stem.lower()]
    others = [path for path in paths if path not in tests]
    if len(tests) > 1 or len(others) != 1:
        raise ValueError(
            f"The folder {folder} must hold one .npz file to train with, and at most one more with 'test' in "
            f"its name. Received: {', '.join(path.name for path in paths)}. Move the others away."
        )
    train = _read_npz(name, others[0])
    if not tests or "test" in train:
        return train
    test = _read_npz(name, tests[0])
    return {"train": train["all"], "test": test.get("all", test.get("test"))}


def _read_npz(name, path):
    """{"all": (x, y)}, or {"train": ..., "test": ...} of a file as `keras.datasets` keeps them."""
    try:
        with path.open("rb") as file:
            arrays = read_npz(file, growth=None)  # drawings may be a thousand times smaller when they are compressed
    except (OSError, ValueError) as error:
        known = isinstance(error, Unreadable)
        raise ValueError(
            f"The file {path} is not a whole .npz archive: {error if known else reason_of(error)}. Received: "
            f"{path.stat().st_size} bytes. Fetch it again."
        ) from error
    if name in EMOJI:
        return {"all": _drawing(name, arrays, path)}
    if "x_train" in arrays and "x_test" in arrays:
        return {
            split: _checked(name, arrays[f"x_{split}"], arrays.get(f"y_{split}"), path, f"x_{split}")
            for split in SPLITS
        }
    if "x" not in arrays:
        raise ValueError(
            f"The file {path} must hold an array x of images, and may hold y of labels. "
            f"Received: {', '.join(arrays) or 'no arrays'}. Rename the arrays."
        )
    return {"all": _checked(name, arrays["x"], arrays.get("y"), path)}


def _drawing(name, arrays, path):
    """(images, None): one of the drawings in a file that holds both."""
    keys = [emoji.partition("/")[2] for emoji in EMOJI]
    if any(key not in arrays for key in keys):
        raise ValueError(
            f"The file {path} must hold the arrays {' and '.join(keys)}, both images. "
            f"Received: {', '.join(arrays) or 'no arrays'}. Rename the arrays."
        )
    key = name.partition("/")[2]
    return _checked(name, arrays[key], None, path, key)


def _idx_parts(name, folder):
    """Both splits, or {"all": ...} if only the training files are there, or None."""
    parts = {}
    for split, prefix in _IDX_PREFIXES.items():
        found = [_idx_file(folder, prefix, kind, axes) for kind, axes in (("images", 3), ("labels", 1))]
        if found[0] is None:
            continue
        images, labels = read_idx(found[0], 3), None if found[1] is None else read_idx(found[1], 1)
        parts[split] = _checked(name, images, labels, found[0])
    if "train" not in parts:
        return None
    return parts if len(parts) == 2 else {"all": parts["train"]}


def _idx_file(folder, prefix, kind, axes):
    for dot in "-.":
        for end in ("", ".gz"):
            path = folder / f"{prefix}-{kind}{dot}idx{axes}-ubyte{end}"
            if path.is_file():
                return path
    return None


def _checked(name, images, labels, place, key="x"):
    """Images and int64 labels of the shape and type of the set, else an error that names the place."""
    shape = _shape(name)
    shapes = {shape, (*shape, 1)} if len(shape) == 2 else {shape}
    expected = ", ".join(map(str, shape))
    if images.shape[1:] not in shapes or images.dtype != np.uint8 or len(images) == 0:
        is_float = np.issubdtype(images.dtype, np.floating)
        note = ", NaN or infinite in places" if is_float and not np.isfinite(images).all() else ""
        raise ValueError(
            f"The images of {name!r} ({key}) in {place} must be uint8 of shape (n, {expected}) in 0..255. "
            f"Received: {images.dtype} {images.shape}{note}. Fetch or convert them again."
        )
    if labels is None:
        return images, None
    labels = np.asarray(labels)
    if labels.shape not in ((len(images),), (len(images), 1)) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"The labels of {name!r} in {place} must be one whole number for each of {len(images)} images. "
            f"Received: {labels.dtype} {labels.shape}. Fetch or convert them again."
        )
    labels = labels.reshape(-1).astype("int64")
    if labels.size and not 0 <= labels.min() <= labels.max() <= 9:
        raise ValueError(
            f"The labels of {name!r} in {place} must be 0 to 9. Received: {labels.min()} to {labels.max()}. "
            "Fetch or convert them again."
        )
    return images, labels


def _shape(name):
    return EMOJI[name] if name in EMOJI else SETS[name]


def _folder(name):
    return name.partition("/")[0]


def reason_of(error):
    """What went wrong in another library, in one line.

    Args:
        error: Any exception.

    Returns:
        Kind and first line of its message; if the library itself lacks a package, which one.
    """
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"installed, and lacks the package {error.name}, which it needs: pip install {error.name}"
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"
