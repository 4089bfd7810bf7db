"""Pairs of texts for translation, and their ids in batches of texts of about one length."""

from typing import NamedTuple

import numpy as np

from zoo.checks import check_kind, check_positive, check_whole
from zoo.data.checks import parts
from zoo.data.order import as_written
from zoo.data.reading import divided_by_rows, without_end

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
        truncated = int(np.count_nonzero(sources_cut | targets_cut))
        faults = [f"{truncated} pairs cut to {max_length} tokens"] * (truncated > 0)
        faults += [f"{unknown} unknown tokens"] * (unknown > 0)
        return EncodedPairs(
            self.name,
            sources,
            targets,
            max_length=max_length,
            batch_tokens=batch_tokens,
            origin=", ".join([self.origin, *faults]),
            truncated=truncated,
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
        orders = tf.data.Dataset.counter(first_epoch).map(as_written(orders_of)).prefetch(1)
        batches = orders.flat_map(as_written(lambda *order: tf.data.Dataset.from_tensor_slices(order)))
        batches = batches.map(as_written(read), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return without_end(divided_by_rows(batches).prefetch(tf.data.AUTOTUNE), steps)

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
