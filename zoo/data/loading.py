"""From a name, or a path to a folder of images or records, to a `Source`."""

from zoo.checks import check_choice
from zoo.data import folder, images, points, records
from zoo.data.checks import check_channels, height_and_width
from zoo.data.names import existing, unknown
from zoo.data.source import Source
from zoo.data.splits import SPLITS, split_of

_WITHIN = f"{', '.join(images.EMOJI)}, or one class as <set>/<class>, such as cifar10/horse and mnist/3"


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


def load(name, *, split="train", image_size=None, channels=None, data_dir=None, cache=False, skip_damaged=False):
    """Loads a data set by name, or a folder of images or records.

    - "ring", "grid", "swiss_roll": points in the plane, a fixed draw of 100,000 to train and 10,000 to test.
    - "digits": the 1,797 digits of 8 x 8 pixels that scikit-learn brings along.
    - "mnist", "fashion_mnist", "usps", "cifar10": looked for in `data_dir`/<name> (an .npz file or the IDX
      files of MNIST), then among the system's packages, then downloaded by `keras.datasets` or TensorFlow
      Datasets (all but "usps").
    - "<set>/<class>": the examples of one class of those or of "digits", without labels: "mnist/3",
      "cifar10/horse".
    - "emoji/noto", "emoji/twemoji": two drawings of emoji, 32 x 32 pixels, the arrays noto and twemoji of an .npz file
      in `data_dir`/emoji.
    - a folder: all pictures that Pillow reads (the first frame of each) in it and below, in the order of their paths,
      links followed. Folders of one level are the classes. Sub-folders "train" (or "training") and "test" (or
      "testing", "val", "valid", "validation"), in any case, are the splits. What else it holds is named on stderr.
    - a folder of records, for sets larger than memory: TFRecord or ArrayRecord files of `tf.train.Example`s, as
      TensorFlow Datasets prepares them and `zoo.data.records.write` writes them. PNG or JPEG images lie under
      "image" or "image/encoded", labels under "label" or "image/class/label"; the splits are in the file names.

    Where a set has no test split of its own, a tenth of it is held out by a fixed permutation.

    Args:
        name: Name of a set (see `names`) or of a class of one, or path to a folder; "./mnist" is the folder, "mnist"
            the set.
        split: "train" or "test"; no example is in both.
        image_size: Height and width in pixels, or one number for both; None keeps the size. Images are cut to
            this aspect ratio around their centre, then resized by antialiased bilinear interpolation.
        channels: 1 for grey or 3 for RGB; None keeps what the set has. Transparency becomes white. Of 16 bits the upper
            8 are kept, so pictures of 12 bits in files of 16 are nearly black, which is said on stderr.
        data_dir: Folder with a sub-folder for each named set; None for the environment variable ZOO_DATA_DIR.
        cache: Whether a folder's pictures are kept in memory, 8-bit, once they were read: the first epoch decodes
            them, later ones do not. None keeps them if they take at most a quarter of the memory that is available.
            Named sets are in memory anyway and ignore it.
        skip_damaged: Whether damaged files of a folder of images are left out, and named on stderr, instead of being
            an error. In records and named sets damage always is one.

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
    set_name, class_name = _set_and_class(name)
    path = _known_folder(name) if set_name is None else None
    if set_name in points.SETS:
        if class_name is not None:
            raise ValueError(
                f"The points of {set_name!r} cannot be had by class. Received: {name!r}. Use {set_name!r}."
            )
        if image_size is not None or channels is not None:
            raise ValueError(
                f"`image_size` and `channels` are for images. Received: image_size={image_size!r}, "
                f"channels={channels!r} with the points of {name!r}. Leave both out."
            )
        return points.load(name, split)
    if path is not None:
        files = records.find(path)
        if files:
            return records.load(path, split, **options, cache=cache, files=files)
        return folder.load(path, split, **options, cache=cache, skip_damaged=skip_damaged)
    if set_name == "digits":
        (examples, labels), origin = _digits(split)
        options["white"] = 16
    else:
        (examples, labels), origin = images.find(set_name, split, data_dir)
    if class_name is not None:
        examples, labels = _of_class(set_name, class_name, examples, labels, origin), None
        origin += f", class {class_name} only"
    return Source(name, examples, labels=labels, num_classes=10, origin=origin, **options)


def _set_and_class(name):
    """("cifar10", "horse") of "cifar10/horse", ("cifar10", None) of "cifar10", (None, None) of what is no named set."""
    if not isinstance(name, str):
        return None, None
    if name in names() or name in images.EMOJI:
        return name, None
    set_name, _, class_name = name.partition("/")
    return (set_name, class_name) if class_name and set_name in names() else (None, None)


def _of_class(set_name, class_name, examples, labels, origin):
    """The examples of one class of a set, as stored."""
    classes = images.CLASSES.get(set_name, images.DIGITS)
    if class_name not in classes:
        raise ValueError(
            f"{set_name!r} has no class {class_name!r}. Its classes are: {', '.join(classes)}. "
            f'To load a folder of that name, write "./{set_name}/{class_name}".'
        )
    if labels is None:
        raise ValueError(
            f"A class of {set_name!r} is found by its label, and there are none in {origin}. "
            "Add the array or file of labels."
        )
    chosen = examples[labels == classes.index(class_name)]
    if len(chosen) == 0:
        raise ValueError(
            f"None of the {len(examples)} examples from {origin} is of class {class_name!r}. "
            "Expected one or more. Use another class, or more data."
        )
    return chosen


def _digits(split):
    from sklearn.datasets import load_digits

    found = load_digits()
    examples, labels = split_of(split, found.images.astype("uint8"), found.target)
    origin = f"scikit-learn's load_digits, {split} split, a fixed tenth held out for tests"
    return (examples, labels), origin


def _known_folder(name):
    """The folder that is meant, else an error that lists what there is."""
    ways = f"The sets are: {', '.join(names())}, {_WITHIN}. A path to a folder of images or records also works."
    path = existing(name, ways)
    if path is None:
        raise unknown(name, [*names(), *images.EMOJI], "data set", ways)
    return path
