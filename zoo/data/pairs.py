"""Two sets of images without correspondence, for unpaired image-to-image translation."""

from contextlib import contextmanager

import numpy as np

from zoo.checks import check_choice, check_kind, check_whole
from zoo.data import folder
from zoo.data.checks import check_channels, check_images, height_and_width
from zoo.data.listing import others_in, report
from zoo.data.loading import load
from zoo.data.names import folder_of
from zoo.data.reading import without_end
from zoo.data.source import Source
from zoo.data.splits import SPLITS, split_folders

PAIRS = {"emoji": ("emoji/noto", "emoji/twemoji"), "mnist_usps": ("mnist", "usps")}
# Digits of MNIST were fitted into 20 x 20 pixels of 28 x 28; those of USPS fill all of their 16 x 16.
_FITTED, _MARGIN = 20, 4


class Pair:
    """Two `Source`s of images of one shape, and `tf.data` pipelines that go through each in an order of its own.

    An epoch is a pass over the longer side; the shorter one begins again, in another order, whenever it has ended.

    Args:
        x: `Source` of one side.
        y: `Source` of the other.
        name: What the pair is called; None for the names of both, in a form that a folder can have.

    Raises:
        ValueError: If a side has no images, or both differ in shape.

    Example:

        >>> import numpy as np
        >>> from zoo import data
        >>> pixels = np.random.default_rng(0).integers(0, 256, (10, 8, 8), dtype="uint8")
        >>> pair = data.Pair(data.Source("x", pixels), data.Source("y", 255 - pixels[:7]))
        >>> pair.name, pair.shape, pair.size, pair.steps_per_epoch(2)
        ('x-y', (8, 8, 1), 10, 5)
        >>> [side.shape for side in next(iter(pair.batches(2)))]
        [TensorShape([2, 8, 8, 1]), TensorShape([2, 8, 8, 1])]
    """

    is_images = True

    def __init__(self, x, y, name=None):
        """Checks that both sides have one shape."""
        for letter, side in (("x", x), ("y", y)):
            check_kind(letter, side, Source, "a Source, such as `zoo.data.load` returns")
            check_images(side)
        if x.shape != y.shape:
            advice = []
            if x.shape[:2] != y.shape[:2]:
                advice.append("`image_size` to bring both to one size")
            if x.shape[2] != y.shape[2]:
                advice.append("`channels=3` to make both RGB")
            raise ValueError(
                "The two sides of a pair must have one shape (height, width, channels). Received: "
                f"{x.name!r} {x.shape}, {y.name!r} {y.shape}. Give {' and '.join(advice)}."
            )
        self.x, self.y = x, y
        self.name = name or f"{x.name}-{y.name}".replace("/", "_")
        self.shape, self.size = x.shape, max(x.size, y.size)
        self.origin = f"{x.name} ({x.size} examples): {x.origin}; {y.name} ({y.size} examples): {y.origin}"

    def __repr__(self):
        """Name, numbers, shape and origin."""
        return f"<Pair {self.name}: {self.x.size} and {self.y.size} examples of shape {self.shape}, {self.origin}>"

    def __iter__(self):
        """Raises: a pair is not gone through itself."""
        raise TypeError(
            f"{self.name!r} is a source of batches and cannot be gone through itself. Use `pair.batches(64)` or "
            "`pair.examples(n)`; the sides are `pair.x` and `pair.y`."
        )

    def steps_per_epoch(self, batch_size, group=None):
        """Number of batches of one pass over the longer side; what is left over is dropped.

        Args:
            batch_size: Examples of each side in a batch, at least 1.
            group: None; batches of pairs have no groups.

        Returns:
            Number of steps, at least 1.

        Raises:
            ValueError: If a batch is larger than one of the sides, or `group` is given.
        """
        if group is not None:
            raise ValueError(f"Batches of pairs have no groups: `group` must be None. Received: {group!r}.")
        return max(side.steps_per_epoch(batch_size) for side in (self.x, self.y))

    def batches(self, batch_size, seed=0, first_epoch=0, group=None, *, first_step=0, replicas=None, augment=None):
        """Batches (x, y) without end. The sides are shuffled independently, each pass over a side anew.

        As with `Source.batches`, `first_epoch=k, first_step=j` gives what an uninterrupted run sees from there on.

        Args:
            batch_size: Examples of each side in a batch over all replicas, at least 1.
            seed: Whole number.
            first_epoch: Number of the epoch to begin with, at least 0.
            group: None; batches of pairs have no groups.
            first_step: Step of `first_epoch` to begin with, from 0 to `steps_per_epoch(batch_size)` - 1.
            replicas: (first, count, total) as in `Source.batches`, or None for whole batches.
            augment: `zoo.data.augment.Augmentation`, whose draws differ between the sides; or None.

        Returns:
            `tf.data.Dataset` of two tensors, float32 (batch_size, height, width, channels) in [-1, 1].

        Raises:
            ValueError: If a batch is larger than one of the sides, or an argument is out of range.

        Example:

            >>> from zoo import data
            >>> pair = data.Pair(data.load("digits/3"), data.load("digits/8"))
            >>> threes, eights = next(iter(pair.batches(16, seed=1)))
        """
        import tensorflow as tf

        steps = self.steps_per_epoch(batch_size, group)
        check_whole("seed", seed, low=-(2**63), high=2**63 - 1)
        check_whole("first_epoch", first_epoch, low=0, high=2**63 - 1)
        check_whole("first_step", first_step, low=0, high=steps - 1)
        streams = []
        for side, its_seed in ((self.x, seed), (self.y, -1 - seed)):
            its_epoch, its_step = divmod(first_epoch * steps + first_step, side.steps_per_epoch(batch_size))
            options = {"first_step": its_step, "replicas": replicas, "augment": augment}
            streams.append(side.batches(batch_size, its_seed, its_epoch, **options))
        return without_end(tf.data.Dataset.zip(tuple(streams)), steps)

    def examples(self, n=None, seed=0):
        """A fixed sample of each side without replacement, or all examples in order.

        Args:
            n: Number of examples of each side, at least 1; None for all, of which the sides may have unequal numbers.
            seed: Seed of the samples, 0 to 2^32 - 1.

        Returns:
            Tuple of two float32 arrays (n, height, width, channels) in [-1, 1].

        Raises:
            ValueError: If `n` is larger than one of the sides, or an argument is out of range.
        """
        return self.x.examples(n, seed), self.y.examples(n, seed)


def load_pair(name, *, split="train", image_size=None, channels=None, data_dir=None, cache=False, skip_damaged=False):
    """Loads two sets of images for unpaired image-to-image translation.

    - "emoji": Noto's emoji and Twemoji's, as `load("emoji/noto")` and `load("emoji/twemoji")` find them.
    - "mnist_usps": the digits of MNIST, and those of USPS at MNIST's scale, with its black margin: 28 x 28 pixels. So
      the sides differ in hands, pens and scanners, and not in the size of what is on the picture.
    - two names or paths that `load` takes, one for each side: ("cifar10/horse", "cifar10/deer"), ("photos/",
      "paintings/").
    - a folder as CycleGAN's authors lay out their sets, with folders trainA and trainB, and testA and testB or neither.

    Where a side has no test split of its own, a tenth of it is held out by a fixed permutation.

    Args:
        name: Name of a pair, two names or paths, or path to a folder; "./emoji" is the folder, "emoji" the pair.
        split: "train" or "test"; no example is in both.
        image_size: Height and width in pixels, or one number for both; None keeps the size. As in `load`.
        channels: 1 for grey or 3 for RGB, for both sides; None keeps what they have.
        data_dir: Folder with a sub-folder for each named set; None for the environment variable ZOO_DATA_DIR.
        cache: Whether pictures of folders are kept in memory, as in `load`.
        skip_damaged: Whether damaged files of image folders are left out, and named on stderr, instead of being an
            error.

    Returns:
        `Pair`.

    Raises:
        ValueError: If the name or an option is wrong, a side is empty or damaged, or the sides differ in shape; the
            message says which side.
        FileNotFoundError: If a folder does not exist, or a named set is in none of the places tried.
        NotADirectoryError: If a path is a file.
        PermissionError: If a folder cannot be read.

    Example:

        >>> from zoo import data
        >>> data.load_pair(("digits/3", "digits/8"), split="test").name
        'digits_3-digits_8'
    """
    check_choice("split", split, SPLITS)
    check_channels(channels)
    options = {"image_size": height_and_width(image_size), "channels": channels}
    options |= {"cache": cache, "skip_damaged": skip_damaged}
    if isinstance(name, (list, tuple)):
        if len(name) != 2:
            raise ValueError(
                f"A pair is made of two names or paths, one for each side. Received: {name!r}. "
                'Write it as ("cifar10/horse", "cifar10/deer").'
            )
        return Pair(*_load_sides(name, split, data_dir, options))
    if isinstance(name, str) and name in PAIRS:
        if name != "mnist_usps":
            return Pair(*_load_sides(PAIRS[name], split, data_dir, options), name)
        with _named_side("x", "mnist"):
            x = load("mnist", split=split, data_dir=data_dir, **options)
        with _named_side("y", "usps"):
            y = _framed(load("usps", split=split, data_dir=data_dir, image_size=_FITTED), options)
        return Pair(x, y, name)
    return _load_folder(_known_folder(name), split, options)


def _load_sides(names, split, data_dir, options):
    sides = []
    for letter, name in zip("xy", names, strict=True):
        with _named_side(letter, name):
            sides.append(load(name, split=split, data_dir=data_dir, **options))
    return sides


def _framed(source, options):
    """The same set in the middle of a black frame."""
    margin = (_MARGIN, _MARGIN)
    pixels = np.concatenate([np.pad(some, ((0, 0), margin, margin, (0, 0))) for some in source.pixels()])
    options = {name: options[name] for name in ("image_size", "channels")}
    classes = {"labels": source.labels, "num_classes": source.num_classes}
    return Source(source.name, pixels, origin=source.origin, **classes, **options)


def _load_folder(path, split, options):
    """A folder with trainA and trainB, and testA and testB or neither."""
    sides = {letter: split_folders(path, letter.lower()) for letter in "AB"}
    parts = SPLITS if any("test" in side for side in sides.values()) else SPLITS[:1]
    missing = [f"{part}{letter}" for part in parts for letter, side in sides.items() if part not in side]
    if missing:
        raise FileNotFoundError(
            f"The folder {path} is no pair of image sets: {' and '.join(missing)} missing. Expected folders trainA and "
            f"trainB, and testA and testB or neither. Received: {', '.join(_inside(path)) or 'an empty folder'}. Add "
            'what is missing, or give two paths, one for each side: ("photos/", "paintings/").'
        )
    used = {one.name for side in sides.values() for one in side.values()}
    report(path, others_in(path, used), " and ".join(sorted(used)))
    loaded = []
    for letter, folders in sides.items():
        root, splits = (path, folders) if len(parts) == 2 else (folders["train"], None)
        with _named_side(letter, root):
            loaded.append(
                folder.load(root, split, **options, name=f"{path.resolve().name}/{letter}", own_splits=splits)
            )
    return Pair(*loaded, path.resolve().name)


@contextmanager
def _named_side(letter, name):
    """Has errors in loading say which side they are about."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError) as error:
        raise type(error)(f"Side {letter} of the pair, {name}: {error}") from error


def _inside(path):
    return sorted(part.name for part in path.iterdir())[:10]


def _known_folder(name):
    """The folder that is meant, else an error that lists what there is."""
    ways = (
        f'The pairs are: {", ".join(PAIRS)}. Two names or paths, such as ("cifar10/horse", "cifar10/deer"), or a '
        "path to a folder with trainA and trainB also work."
    )
    return folder_of(name, PAIRS, "pair", "with trainA and trainB", ways)
