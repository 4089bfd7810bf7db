"""From a name, or a path to a folder of images or records, to a `Source`."""

import difflib
import os
from pathlib import Path

from zoo.checks import check_choice
from zoo.data import folder, images, points, records
from zoo.data.checks import check_channels, height_and_width
from zoo.data.source import Source
from zoo.data.splits import SPLITS, split_of


def names():
    """The data sets that `load` knows by name.

    Returns:
        Sorted list of names.

    Example:

        >>> from zoo import data
        >>> data.names()
        ['cifar10', 'digits', 'fashion_mnist', 'grid', 'mnist', 'ring', 'swiss_roll', 'usps']
    """
    return sorted(["digits", *points.SETS, *images.SETS])


def load(name, *, split="train", image_size=None, channels=None, data_dir=None, cache=False):
    """Loads a data set by name, or a folder of images or records.

    - "ring", "grid", "swiss_roll": points in the plane, a fixed draw of 100,000 to train and 10,000 to test.
    - "digits": the 1,797 digits of 8 x 8 pixels that scikit-learn brings along.
    - "mnist", "fashion_mnist", "usps", "cifar10": looked for in `data_dir`/<name> (an .npz file or the IDX
      files of MNIST), then among the system's packages, then downloaded by `keras.datasets` or TensorFlow
      Datasets (all but "usps").
    - a folder: all .jpg, .png, .bmp and .gif files (first frame) in it and below, in the order of their
      paths. Folders of one level are the classes. Sub-folders "train" and "test" are the splits.
    - a folder of records, for sets larger than memory: TFRecord or ArrayRecord files of `tf.train.Example`s, as
      TensorFlow Datasets prepares them and `zoo.data.records.write` writes them. PNG or JPEG images lie under
      "image" or "image/encoded", labels under "label" or "image/class/label"; the splits are in the file names.

    Where a set has no test split of its own, a tenth of it is held out by a fixed permutation.

    Args:
        name: Name of a set (see `names`), or path to a folder; "./mnist" is the folder, "mnist" the set.
        split: "train" or "test"; no example is in both.
        image_size: Height and width in pixels, or one number for both; None keeps the size. Images are cut to
            this aspect ratio around their centre, then resized by antialiased bilinear interpolation.
        channels: 1 for grey or 3 for RGB; None keeps what the set has. Transparency becomes white.
        data_dir: Folder with a sub-folder for each named set; None for the environment variable ZOO_DATA_DIR.
        cache: Whether a folder's pictures are kept in memory, 8-bit, once they were read: the first epoch decodes
            them, later ones do not. None keeps them if they take at most a quarter of the memory that is available.
            Named sets are in memory anyway and ignore it.

    Returns:
        `Source`.

    Raises:
        ValueError: If the name or an option is wrong, a file is damaged (the message names it), or memory is too
            small for `cache`.
        ModuleNotFoundError: If the folder holds ArrayRecord files and array-record is not installed.
        FileNotFoundError: If the folder does not exist, or a named set is in none of the places tried.
        NotADirectoryError: If the path is a file.
        PermissionError: If the folder cannot be read.

    Example:

        >>> from zoo import data
        >>> source = data.load("digits", split="train")
        >>> source.shape, source.size
        ((8, 8, 1), 1618)
        >>> next(iter(source.batches(32))).shape
        TensorShape([32, 8, 8, 1])
    """
    check_choice("split", split, SPLITS)
    check_channels(channels)
    options = {"image_size": height_and_width(image_size), "channels": channels}
    path = None if isinstance(name, str) and name in names() else _known_folder(name)
    if name in points.SETS:
        if image_size is not None or channels is not None:
            raise ValueError(
                f"`image_size` and `channels` are for images. Received: image_size={image_size!r}, "
                f"channels={channels!r} with the points of {name!r}. Leave both out."
            )
        return points.load(name, split)
    if name == "digits":
        return _digits(split, options)
    if name in images.SETS:
        (examples, labels), origin = images.find(name, split, data_dir)
        return Source(name, examples, labels=labels, num_classes=10, origin=origin, **options)
    files = records.find(path)
    if files:
        return records.load(path, split, **options, cache=cache, files=files)
    return folder.load(path, split, **options, cache=cache)


def _digits(split, options):
    from sklearn.datasets import load_digits

    found = load_digits()
    examples, labels = split_of(split, found.images.astype("uint8"), found.target)
    origin = f"scikit-learn's load_digits, {split} split, a fixed tenth held out for tests"
    return Source("digits", examples, labels=labels, num_classes=10, white=16, origin=origin, **options)


def _known_folder(name):
    if isinstance(name, os.PathLike) or (isinstance(name, str) and name):
        path = Path(name).expanduser()
        if path.exists():
            return path
        if isinstance(name, os.PathLike) or name.startswith((".", "~")) or os.sep in name:
            raise FileNotFoundError(
                f"The folder {name} does not exist. Expected a folder of images or records, or the name of a set: "
                f"{', '.join(names())}. Check the path."
            )
    closest = difflib.get_close_matches(str(name).lower().replace("-", "_"), names(), n=1, cutoff=0.5)
    raise ValueError(
        f"No data set is called {name!r}. "
        + (f"Did you mean {closest[0]!r}? " if closest else "")
        + f"The sets are: {', '.join(names())}. A path to a folder of images or records also works."
    )
