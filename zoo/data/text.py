"""Pairs of texts for translation: by name or from files, and their ids in batches of texts of about one length."""

import difflib
import gzip
import importlib.util
import os
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.checks import check_choice, check_kind, check_positive, check_whole
from zoo.data.checks import parts
from zoo.data.splits import SPLITS, held_out

NAMES = ("number_words", "multi30k/de-en", "multi30k/en-de", "tatoeba/en-fr", "tatoeba/fr-en")
_WAYS = (
    f"The sets are: {', '.join(NAMES)}, number_words/<two languages> such as number_words/en-de, and tfds/<name> of "
    "TensorFlow Datasets. A path to a file with a tab between the sides, or two paths to files with a line for each "
    "pair, also work."
)
_MULTI30K_SPLITS = {"train": "train", "test": "val"}
_TATOEBA_FILE = Path("tatoeba_en_fr") / "eng-fra.txt"
_NUM_NUMBERS, _ALWAYS_THERE, _NUM_TRAIN, _NUM_TEST = 100_000, 1_001, 20_000, 1_000
_SEED = 20240
_SIDES = ("sources", "targets")


class TextPairs:
    """Texts and their translations.

    Args:
        name: What the set is called.
        sources: List of str.
        targets: List of str, the translation of each.
        origin: Where the texts come from, for people to read.

    Raises:
        ValueError: If the lists are empty, of unequal length, or hold something else.

    Example:

        >>> from zoo.data import TextPairs
        >>> from zoo.vocabulary import Vocabulary
        >>> pairs = TextPairs("animals", ["two dogs", "a cat"], ["deux chiens", "un chat"])
        >>> pairs
        <TextPairs animals: 2 pairs of texts, from memory>
        >>> encoded = pairs.encoded(Vocabulary.learn(pairs.sources), Vocabulary.learn(pairs.targets))
        >>> [ids.shape for ids in next(iter(encoded.batches(2)))]
        [TensorShape([2, 8]), TensorShape([2, 8])]
    """

    def __init__(self, name, sources, targets, origin="memory"):
        """Checks both lists."""
        for side, texts in (("sources", sources), ("targets", targets)):
            check_kind(side, texts, (list, tuple), "a list of str")
            wrong = next((place for place, text in enumerate(texts) if not isinstance(text, str)), None)
            if wrong is not None:
                raise ValueError(
                    f"`{side}` of {name!r} must hold str only. Received: {type(texts[wrong]).__name__} at place "
                    f"{wrong}. Decode bytes with `.decode()`."
                )
        if len(sources) != len(targets) or not sources:
            raise ValueError(
                f"{name!r} must have a target for each source, and one or more of both. Received: {len(sources)} "
                f"sources, {len(targets)} targets. Find the line where they part."
            )
        self.name, self.origin = name, origin
        self.sources, self.targets = list(sources), list(targets)
        self.size = len(self.sources)

    def __repr__(self):
        """Name, number and origin."""
        return f"<TextPairs {self.name}: {self.size} pairs of texts, from {self.origin}>"

    def encoded(self, source_vocabulary, target_vocabulary, max_length=64, batch_tokens=None):
        """The pairs as ids, in batches to train on.

        Args:
            source_vocabulary: `zoo.vocabulary.Vocabulary` of the sources.
            target_vocabulary: That of the targets; may be the same.
            max_length: Most ids of a text, its end included; at least 2. Longer texts lose their end.
            batch_tokens: Ids of the longer side of a batch, the filling included, as in `EncodedPairs`; or None.

        Returns:
            `EncodedPairs`.

        Raises:
            ValueError: If an argument is of another kind or out of range.
        """
        from zoo.vocabulary import Vocabulary

        for side, vocabulary in (("source", source_vocabulary), ("target", target_vocabulary)):
            check_kind(f"{side}_vocabulary", vocabulary, Vocabulary, "a zoo.vocabulary.Vocabulary")
        check_whole("max_length", max_length, low=2, high=2**31 - 2)
        sources, sources_cut = _ids_of(source_vocabulary, self.sources, max_length)
        targets, targets_cut = _ids_of(target_vocabulary, self.targets, max_length)
        unknown = source_vocabulary.count_unknown(sources) + target_vocabulary.count_unknown(targets)
        return EncodedPairs(
            self.name,
            sources,
            targets,
            max_length=max_length,
            batch_tokens=batch_tokens,
            origin=self.origin,
            truncated=int(np.count_nonzero(sources_cut | targets_cut)),
            unknown=unknown,
        )


class _Bucket(NamedTuple):
    """Pairs of about one length, how many make a batch, and how long each side of it is."""

    members: np.ndarray
    rows: int
    source_width: int
    target_width: int


class EncodedPairs:
    """Pairs of texts as ids, and `tf.data` pipelines over batches of pairs of about one length.

    So that little of a batch is filling, and few shapes are compiled, pairs are put in buckets by the longer of their
    sides: up to 8 ids, 12, 16, 24, 32, 48, 64 and so on. A batch comes from one bucket, and has two shapes only that
    bucket has. In an epoch, what is left over of a bucket joins the next longer one; what is left of the longest is
    dropped, less than a batch. Others are left over in the next epoch.

    Args:
        name: What the set is called.
        sources: Integers (size, n), each row filled up with 0 behind its end.
        targets: Integers (size, m), likewise.
        max_length: Most ids of a row, of either side.
        batch_tokens: If given, a batch has as many pairs as fit into so many ids of the longer side, the filling
            included, but at least one; `batch_size` is then without effect. None for `batch_size` pairs.
        origin: Where the texts come from, for people to read.
        truncated: Number of pairs of which a side lost its end.
        unknown: Number of ids that stand for what the vocabularies do not have.

    Raises:
        ValueError: If the arrays do not fit each other or `max_length`, or are empty.

    Example:

        >>> import numpy as np
        >>> from zoo.data.text import EncodedPairs
        >>> pairs = EncodedPairs("threes", np.full((10, 3), 5), np.full((10, 2), 5), max_length=16)
        >>> pairs.size, pairs.shape, pairs.steps_per_epoch(4)
        (10, (16,), 2)
    """

    is_images = False

    def __init__(
        self, name, sources, targets, *, max_length, batch_tokens=None, origin="memory", truncated=0, unknown=0
    ):
        """Checks the arrays and measures each pair."""
        check_positive("max_length", max_length)
        if batch_tokens is not None:
            check_positive("batch_tokens", batch_tokens)
        self._sides = [
            _checked_ids(name, side, ids, max_length) for side, ids in zip(_SIDES, (sources, targets), strict=True)
        ]
        if len(self._sides[0]) != len(self._sides[1]):
            raise ValueError(
                f"{name!r} must have a target for each source. Received: {len(sources)} sources, "
                f"{len(targets)} targets."
            )
        self.name, self.origin = name, origin
        self.size, self.shape = len(self._sides[0]), (max_length,)
        self.batch_tokens, self.truncated, self.unknown = batch_tokens, truncated, unknown
        self._lengths = [np.max((ids != 0) * np.arange(1, ids.shape[1] + 1), axis=1) for ids in self._sides]
        self._ladder = _ladder(max_length)

    def __repr__(self):
        """Name, numbers and origin."""
        return (
            f"<EncodedPairs {self.name}: {self.size} pairs of at most {self.shape[0]} ids, {self.truncated} of them "
            f"cut, {self.unknown} ids unknown, from {self.origin}>"
        )

    def __iter__(self):
        """Raises: pairs are not gone through themselves."""
        raise TypeError(
            f"{self.name!r} is a source of batches and cannot be gone through itself. Use `pairs.batches(64)` or "
            "`pairs.examples(n)`; the number of pairs is `pairs.size`."
        )

    def steps_per_epoch(self, batch_size, group=None):
        """Number of batches of one pass over the data.

        Args:
            batch_size: Pairs of a batch, at least 1; without effect if there are `batch_tokens`.
            group: None; batches of pairs have no groups.

        Returns:
            Number of steps, at least 1.

        Raises:
            ValueError: If a batch is larger than the data, or `group` is given.
        """
        if group is not None:
            raise ValueError(f"Batches of pairs have no groups: `group` must be None. Received: {group!r}.")
        steps = over = 0
        for bucket in self._buckets(batch_size):
            some, over = divmod(over + len(bucket.members), bucket.rows)
            steps += some
        return steps

    def batches(self, batch_size, seed=0, first_epoch=0, group=None, *, first_step=0, replicas=None):
        """Batches (source ids, target ids) without end. The order of an epoch depends on `seed` and its number only.

        As with `Source.batches`, `first_epoch=k, first_step=j` gives what an uninterrupted run sees from there on, and
        `replicas=(first, count, total)` the parts of each batch that those replicas see, one after the other.

        Args:
            batch_size: Pairs of a batch over all replicas, at least 1; without effect if there are `batch_tokens`.
            seed: Whole number.
            first_epoch: Number of the epoch to begin with, at least 0.
            group: None; batches of pairs have no groups.
            first_step: Step of `first_epoch` to begin with, from 0 to `steps_per_epoch(batch_size)` - 1.
            replicas: (first, count, total), or None for whole batches.

        Returns:
            `tf.data.Dataset` of two tensors, int32 (rows, n) and (rows, m); `rows` is static if it is always the same.

        Raises:
            ValueError: If a batch is larger than the data or too small for the replicas, or an argument is out of
                range.

        Example:

            >>> from zoo import data
            >>> from zoo.vocabulary import Vocabulary
            >>> pairs = data.load_text("number_words/en-fr")
            >>> words = [Vocabulary.learn(side) for side in (pairs.sources, pairs.targets)]
            >>> english, french = next(iter(pairs.encoded(*words).batches(64, seed=1)))
        """
        import tensorflow as tf

        steps, buckets = self.steps_per_epoch(batch_size, group), self._buckets(batch_size)
        check_whole("seed", seed, low=-(2**63), high=2**63 - 1)
        check_whole("first_epoch", first_epoch, low=0, high=2**63 - 1)
        check_whole("first_step", first_step, low=0, high=steps - 1)
        cuts = [self._cuts(bucket.rows, replicas) for bucket in buckets]
        longest_part = max(end - start for ends in cuts for start, end in ends)

        def order_of(epoch):
            """Bucket of each part of each step, and its pairs, filled up with -1."""
            plan = _plan(buckets, seed, int(epoch))[first_step if epoch == first_epoch else 0 :]
            of_parts = [(bucket, rows[start:end]) for bucket, rows in plan for start, end in cuts[bucket]]
            order = np.full((len(of_parts), longest_part), -1, "int64")
            for place, (_, rows) in enumerate(of_parts):
                order[place, : len(rows)] = rows
            return np.array([bucket for bucket, _ in of_parts], "int64"), order

        def orders_of(epoch):
            numbers, order = tf.numpy_function(order_of, [epoch], (tf.int64, tf.int64), stateful=False)
            return tf.ensure_shape(numbers, (None,)), tf.ensure_shape(order, (None, longest_part))

        # On the CPU, where the pipeline runs, also when a GPU is the default device.
        with tf.device("CPU:0"):
            widths = np.array([(bucket.source_width, bucket.target_width) for bucket in buckets], "int32")
            sides = [tf.constant(_widened(ids, width)) for ids, width in zip(self._sides, widths.max(0), strict=True)]
            widths = tf.constant(widths)
        lengths = {end - start for ends in cuts for start, end in ends}
        num_rows = longest_part if len(lengths) == 1 else None

        def read(number, rows):
            rows, width = tf.boolean_mask(rows, rows >= 0), tf.gather(widths, number)
            ids = [tf.gather(side, rows)[:, : width[place]] for place, side in enumerate(sides)]
            return tuple(tf.ensure_shape(side, (num_rows, None)) for side in ids)

        # The next epoch is planned while this one is read.
        orders = tf.data.Dataset.counter(first_epoch).map(orders_of).prefetch(1)
        batches = orders.flat_map(lambda *order: tf.data.Dataset.from_tensor_slices(order))
        batches = batches.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        options = tf.data.Options()
        # Several workers each take their part of every batch; there are no files to divide instead.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return batches.with_options(options).prefetch(tf.data.AUTOTUNE)

    def examples(self, n=None, seed=0):
        """A fixed sample without replacement, or all pairs in order.

        Args:
            n: Number of pairs, 1 to `size`; None for all.
            seed: Seed of the sample, 0 to 2^32 - 1.

        Returns:
            Tuple of two int32 arrays (n, longest of the side), filled up with 0.

        Raises:
            ValueError: If `n` is larger than the data, or an argument is out of range.
        """
        if n is None:
            return tuple(ids.copy() for ids in self._sides)
        check_whole("seed", seed, low=0, high=2**32 - 1)
        check_whole("n", n, low=1, high=self.size)
        rows = np.random.RandomState(seed).permutation(self.size)[:n]
        return tuple(ids[rows] for ids in self._sides)

    def _buckets(self, batch_size):
        """From the shortest to the longest, which has one batch or more, so that no pair is left over for ever."""
        check_positive("batch_size", batch_size)
        widths, members = [], []
        of_pairs = np.searchsorted(self._ladder, np.maximum(*self._lengths))
        for number in np.unique(of_pairs):
            widths.append(self._ladder[number])
            members.append(np.flatnonzero(of_pairs == number))

        def rows(width):
            return max(1, self.batch_tokens // width) if self.batch_tokens else batch_size

        while len(members) > 1 and len(members[-1]) < rows(widths[-1]):
            members[-2:], widths[-2:] = [np.concatenate(members[-2:])], widths[-1:]
        if len(members[-1]) < rows(widths[-1]):
            advice = (
                f"`batch_tokens` of at most {self.size * widths[-1]}"
                if self.batch_tokens
                else (f"a batch size of at most {self.size}")
            )
            raise ValueError(
                f"A batch needs {rows(widths[-1])} pairs, and {self.name!r} has {self.size}. "
                f"Use {advice}, or more data."
            )
        buckets, longest = [], [1, 1]
        for width, some in zip(widths, members, strict=True):
            # What is left over of shorter buckets has to fit in.
            longest = [max(before, lengths[some].max()) for before, lengths in zip(longest, self._lengths, strict=True)]
            buckets.append(_Bucket(some, rows(width), *(self._ladder[np.searchsorted(self._ladder, longest)]).tolist()))
        return buckets

    def _cuts(self, rows, replicas):
        """First and last place in a batch of what each replica of this process sees."""
        if self.batch_tokens and isinstance(replicas, (tuple, list)) and len(replicas) == 3 and rows < replicas[2]:
            raise ValueError(
                f"A batch of the longest pairs of {self.name!r} has {rows} with `batch_tokens` {self.batch_tokens}, "
                f"and each of {replicas[2]} replicas needs one or more. Raise `batch_tokens` to "
                f"{replicas[2] * self.shape[0]}, or use fewer replicas."
            )
        start, sizes = parts(rows, replicas)
        ends = (start + np.cumsum(sizes)).tolist()
        return [(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def load_text(name, *, split="train", data_dir=None):
    """Loads pairs of texts for translation, by name or from files.

    - "number_words", or "number_words/<two languages>": numbers below 100,000 in words, by the library num2words;
      20,000 to train, all up to 1,000 among them, and 1,000 others to test. The languages are codes of num2words,
      "en-fr" if not given.
    - "multi30k/de-en", "multi30k/en-de": descriptions of pictures, of files such as train.de.gz and val.en.gz in
      `data_dir`/multi30k. Its validation files are the test split.
    - "tatoeba/en-fr", "tatoeba/fr-en": everyday sentences, of `data_dir`/tatoeba_en_fr/eng-fra.txt.
    - "tfds/<name>": a translation set of TensorFlow Datasets, such as "tfds/ted_hrlr_translate/pt_to_en"; its test
      split, or its validation split if it has none.
    - a path to a file in UTF-8 with a pair on each line: source, tab, target. What follows a second tab is ignored.
    - a list or tuple of two paths to files in UTF-8 with a text on each line, the sources and their targets.

    Files may be gzip-compressed, with names that end in .gz. Where a set has no test split of its own, a fixed tenth of
    its sources is held out, with all of their targets: none is in both splits. Pairs with an empty side are left out,
    and counted on stderr and in `origin`.

    Args:
        name: Name of a set, path, or two paths.
        split: "train" or "test".
        data_dir: Folder with a sub-folder for each named set; None for the environment variable ZOO_DATA_DIR.

    Returns:
        `TextPairs`.

    Raises:
        ValueError: If the name or an option is wrong, or a file is damaged, not in UTF-8, empty, lacks a tab, or has
            another number of lines than the one beside it; the message names file and line.
        FileNotFoundError: If a file does not exist, or a named set is not there.
        IsADirectoryError: If a path is a folder.
        ModuleNotFoundError: If a library is missing that the set is made by.

    Example:

        >>> from zoo import data
        >>> pairs = data.load_text("number_words/en-fr")
        >>> pairs.size, pairs.sources[21], pairs.targets[21]
        (20000, 'twenty-one', 'vingt et un')
    """
    check_choice("split", split, SPLITS)
    if isinstance(name, (list, tuple)):
        if len(name) != 2 or not all(isinstance(path, (str, os.PathLike)) and str(path) for path in name):
            raise ValueError(
                f"Two paths are needed, one to the sources and one to their targets. Received: {name!r}. "
                'Write them as ("train.de", "train.en").'
            )
        paths = [_existing_file(Path(path)) for path in name]
        return _held_out_of(*_parallel(*paths), "-".join(map(_stem, paths)), " and ".join(map(str, paths)), split)
    set_name, _, part = name.partition("/") if isinstance(name, str) else ("", "", "")
    if set_name == "number_words":
        return _number_words(name, part, split)
    if set_name == "tfds" and part:
        return _of_tensorflow_datasets(name, part, split)
    if name not in NAMES:
        path = _existing_file(name)
        return _held_out_of(*_tab_separated(path), _stem(path), str(path), split)
    folder, swap = _data_folder(name, data_dir), part in ("en-de", "fr-en")
    if set_name == "tatoeba":
        path = _file_of(name, folder / _TATOEBA_FILE)
        sides, dropped = _tab_separated(path)
        return _held_out_of(sides[::-1] if swap else sides, dropped, name, str(path), split)
    stem, languages = _MULTI30K_SPLITS[split], part.split("-")
    paths = [_file_of(name, folder / "multi30k" / f"{stem}.{language}") for language in languages]
    sides, dropped = _parallel(*paths)
    origin = f"{folder / 'multi30k'}, its {stem} files as the {split} split"
    return _pairs_of(name, sides, origin, dropped)


def _ladder(max_length):
    """8, 12, 16, 24, 32, 48, 64 and so on, and `max_length` at the end."""
    widths, width = [], 8
    while width < max_length:
        widths += [width, width * 3 // 2]
        width *= 2
    return np.array([width for width in widths if width < max_length] + [max_length])


def _plan(buckets, seed, epoch):
    """The batches of an epoch: a list of (number of the bucket, pairs), a function of `seed` and `epoch`."""
    halves = [number >> shift & 0xFFFFFFFF for number in (seed, epoch) for shift in (0, 32)]
    # RandomState, because NumPy promises that its streams never change; those of Generator may.
    random = np.random.RandomState(halves)
    plan, over = [], np.zeros(0, "int64")
    for number, bucket in enumerate(buckets):
        rows = random.permutation(np.concatenate([over, bucket.members]))
        whole = len(rows) // bucket.rows * bucket.rows
        plan += [(number, some) for some in rows[:whole].reshape(-1, bucket.rows)]
        over = rows[whole:]
    return [plan[place] for place in random.permutation(len(plan))]


def _ids_of(vocabulary, texts, max_length):
    """Ids of texts, and whether each was cut: one more than fits tells."""
    ids = vocabulary.encode(texts, max_length + 1)
    if ids.shape[1] <= max_length:
        return ids, np.zeros(len(ids), bool)
    cut = ids[:, max_length] != 0
    ids[cut, max_length - 1] = ids[cut, max_length]
    return ids[:, :max_length], cut


def _checked_ids(name, side, ids, max_length):
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.size == 0 or ids.dtype.kind not in "iu" or ids.shape[1] > max_length:
        raise ValueError(
            f"The {side} of {name!r} must be whole numbers (size, n), n at most {max_length}. Received: shape "
            f"{ids.shape}, dtype {ids.dtype}. Use `TextPairs.encoded`."
        )
    return ids.astype("int32")


def _widened(ids, width):
    return np.pad(ids, ((0, 0), (0, max(0, width - ids.shape[1]))))


def _pairs_of(name, sides, origin, dropped):
    if dropped:
        print(f"Left out {dropped} pairs of {name} of which a side is empty.", file=sys.stderr)
        origin += f", {dropped} pairs with an empty side left out"
    return TextPairs(name, *sides, origin)


def _held_out_of(sides, dropped, name, origin, split):
    """The pairs of a split: all those with one source are in the same."""
    different = list(dict.fromkeys(sides[0]))
    tests = {different[place] for place in np.flatnonzero(held_out(len(different)))}
    chosen = [pair for pair in zip(*sides, strict=True) if (pair[0] in tests) == (split == "test")]
    sides = [list(side) for side in zip(*chosen, strict=True)]
    return _pairs_of(name, sides, f"{origin}, {split} split, a fixed tenth held out for tests", dropped)


def _number_words(name, languages, split):
    """Numbers in the words of two languages."""
    from num2words import CONVERTER_CLASSES, num2words

    pair = (languages or "en-fr").split("-")
    for language in pair:
        if language not in CONVERTER_CLASSES or len(pair) != 2:
            closest = difflib.get_close_matches(language, CONVERTER_CLASSES, n=1)
            raise ValueError(
                f"{name!r} is no pair of languages that num2words knows. Expected one such as number_words/en-fr. "
                + (f"Did you mean {closest[0]!r} by {language!r}? " if closest and closest[0] != language else "")
                + f"It knows: {', '.join(sorted(CONVERTER_CLASSES))}."
            )
    others = _ALWAYS_THERE + np.random.RandomState(_SEED).permutation(_NUM_NUMBERS - _ALWAYS_THERE)
    numbers = others[:_NUM_TEST] if split == "test" else np.arange(_ALWAYS_THERE)
    if split == "train":
        numbers = np.concatenate([numbers, others[_NUM_TEST : _NUM_TEST + _NUM_TRAIN - _ALWAYS_THERE]])
    sides = []
    for language in pair:
        try:
            sides.append([num2words(number, lang=language) for number in numbers.tolist()])
        except Exception as error:  # each language of the library fails in its own way
            raise ValueError(
                f"num2words has no words in {language!r} for all numbers below {_NUM_NUMBERS}: {error!r}. Use another "
                "language."
            ) from error
    return TextPairs(
        name, *sides, f"num2words in {' and '.join(pair)}, {split} split of the numbers below {_NUM_NUMBERS}"
    )


def _of_tensorflow_datasets(name, builder_name, split):
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise ModuleNotFoundError(
            f"{name!r} needs TensorFlow Datasets, which is not installed. Install it: pip install tensorflow-datasets."
        )
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(builder_name)
        builder.download_and_prepare()
        own = next((own for own in ("test", "validation") if own in builder.info.splits), None)
        part = own if split == "test" and own else "train"
        keys = builder.info.supervised_keys
        rows = list(tfds.as_numpy(builder.as_dataset(split=part)))
    except Exception as error:  # any of the library's errors of names and downloads
        raise FileNotFoundError(
            f"TensorFlow Datasets cannot give {builder_name!r}: {type(error).__name__}: "
            f"{str(error).strip().partition(chr(10))[0]}. Check the name, and go online once."
        ) from error
    if not keys or not rows or not all(key in rows[0] and isinstance(rows[0][key], bytes) for key in keys):
        raise ValueError(
            f"{name!r} holds no pairs of texts. Expected two features of text as supervised keys. Received: {keys}. "
            "Use a translation set, such as tfds/ted_hrlr_translate/pt_to_en."
        )
    sides, dropped = _without_empty(*([row[key].decode() for row in rows] for key in keys[:2]), name)
    origin = f"tensorflow-datasets, {builder_name}"
    if own:
        return _pairs_of(name, sides, f"{origin}, its own {part} split", dropped)
    return _held_out_of(sides, dropped, name, origin, split)


def _data_folder(name, data_dir):
    base = data_dir if data_dir is not None else os.environ.get("ZOO_DATA_DIR")
    if not base:
        raise FileNotFoundError(
            f"The texts of {name!r} were not found: `data_dir` is not given, and the environment variable ZOO_DATA_DIR "
            f"is not set. Give the folder around {name.partition('/')[0]}. Always there: number_words."
        )
    return Path(base).expanduser()


def _file_of(name, path):
    """A file of a named set, plain or compressed."""
    for found in (path, path.with_name(f"{path.name}.gz")):
        if found.is_file():
            return found
    raise FileNotFoundError(
        f"The texts of {name!r} were not found: there is neither {path} nor that with .gz. Put the file there, or give "
        "another `data_dir`. Always there: number_words."
    )


def _existing_file(name):
    """The file that is meant, else an error that lists what there is."""
    if isinstance(name, os.PathLike) or (isinstance(name, str) and name):
        path = Path(name).expanduser()
        if path.is_file():
            return path
        if path.is_dir():
            raise IsADirectoryError(f"{name} is a folder. Expected a file of texts. {_WAYS}")
        is_path = isinstance(name, os.PathLike) or name.startswith((".", "~")) or path.suffix in (".tsv", ".txt", ".gz")
        if is_path or (os.sep in name and name.partition("/")[0] not in ("multi30k", "tatoeba", "tfds")):
            raise FileNotFoundError(f"The file {name} does not exist. {_WAYS} Check the path.")
    closest = difflib.get_close_matches(str(name).lower(), NAMES, n=1, cutoff=0.5)
    raise ValueError(
        f"No set of texts is called {name!r}. " + (f"Did you mean {closest[0]!r}? " if closest else "") + _WAYS
    )


def _stem(path):
    name = path.name
    for ending in (".gz", ".tsv", ".txt"):
        name = name.removesuffix(ending)
    return name


def _lines(path):
    """The lines of a text file, plain or compressed."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"The file {path} is not a whole gzip file: {error}. Fetch it again.") from error
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"The file {path} is not in UTF-8: byte 0x{content[error.start]:02x} in line {line}. The whole file, or "
            f"some lines of it, may be in another encoding. Convert it: iconv -f latin1 -t utf-8 {path.name}."
        ) from error
    # Not `splitlines`, which also parts lines at signs within a sentence, and then the sides do not match.
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def _tab_separated(path):
    """Both sides of the pairs of a file, and how many were left out."""
    sides = [], []
    for number, line in enumerate(_lines(path), 1):
        columns = line.split("\t") if line.strip() else ["", ""]
        if len(columns) < 2:
            raise ValueError(
                f"Line {number} of {path} has no tab. Expected source, tab, target. Received: {line[:60]!r}. Mend the "
                "line; two files with a text on each line are given as two paths."
            )
        for side, text in zip(sides, columns, strict=False):
            side.append(text)
    return _without_empty(*sides, path)


def _parallel(sources, targets):
    """Both sides of the pairs of two files, and how many were left out."""
    sides = _lines(sources), _lines(targets)
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            f"The files of a pair must have a line for each other's. Received: {len(sides[0])} lines in {sources}, "
            f"{len(sides[1])} in {targets}. Find where they part, or fetch both again."
        )
    return _without_empty(*sides, f"{sources} and {targets}")


def _without_empty(sources, targets, place):
    pairs = [(source.strip(), target.strip()) for source, target in zip(sources, targets, strict=True)]
    kept = [pair for pair in pairs if all(pair)]
    if not kept:
        raise ValueError(
            f"There are no pairs of texts in {place}. Received: {len(pairs)} lines, each with a side empty."
        )
    return [list(side) for side in zip(*kept, strict=True)], len(pairs) - len(kept)
