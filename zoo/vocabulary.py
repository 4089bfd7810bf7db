"""Texts to whole numbers and back, in TensorFlow operations that TF Serving runs."""

import unicodedata
from collections import Counter
from functools import cached_property
from typing import NamedTuple

import keras
import numpy as np

from zoo.checks import check_choice, check_kind, check_positive
from zoo.normalisation import composed

PAD, BOS, EOS, UNKNOWN = range(4)
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
KINDS = ("word", "character", "subword")
# Stands for the space before what it is part of, so that joining tokens gives the text back.
_SPACE = "\u2581"
# What `str.split` splits at, and the sign that stands for it.
_WHITESPACE = rf"[\t-\r\x1c-\x20\x{{85}}\pZ{_SPACE}]+"
_CHARACTER = r"(?s:.)"
_WORD = rf"{_SPACE}?(?:[\pL\pN\pM_]+|{_CHARACTER})"
# Every place of a word is looked up with pieces of all lengths: the longest bounds work and memory.
_LONGEST_PIECE = 24
_CHUNK = 2048


class _Tables(NamedTuple):
    """Lookup tables: token to id, and id to what it stands for in a text."""

    ids: object
    tokens: object


@keras.saving.register_keras_serializable("zoo")
class Vocabulary:
    """The tokens of a language: texts become ids and ids become texts.

    In the manner of SentencePiece nothing is lost but the kind of white space: white space at the ends goes, every
    other run of it becomes one space, and each space, as well as the beginning of a text, becomes the sign U+2581 at
    the front of what follows. The text is then cut into words, which are runs of letters, marks, digits and
    underscores, or any other single character. By `kind`,

    - "word": these are the tokens;
    - "character": each character is a token, and so is the sign for the space;
    - "subword": each word is cut into pieces by greedy longest match from the left, as WordPiece does.

    Before all that, texts are brought to Unicode's normalisation form C (`zoo.normalisation`), unless `normalised` is
    false: é is one character, however it was written. Vocabularies in files that do not say so are as they were learnt,
    without.

    What is no token becomes `UNKNOWN`: a whole word, a character, or the one character that no piece begins with.
    A text ends in `EOS`; `PAD` fills up what is shorter than others. `BOS` is for decoders to begin with.

    A vocabulary is part of a `.keras` file, by `get_config`.

    Source: Kudo and Richardson, "SentencePiece", 2018, arXiv:1808.06226, and Wu et al., "Google's Neural Machine
    Translation System", 2016, arXiv:1609.08144, section 4.1.

    Args:
        tokens: List of different str; the place of each is its id. The first four are `SPECIALS`: "<pad>", "<s>",
            "</s>" and "<unk>". No text, whatever is written in it, is encoded to one of the first three within.
        kind: "word", "character" or "subword".
        lowercase: Whether texts are brought to lower case first.
        normalised: Whether they are brought to normalisation form C first.

    Raises:
        ValueError: If `tokens` are no such list, or `kind` is none of these; or if texts are to be normalised and a
            token is not, which no text would have then.

    Example:

        >>> vocabulary = Vocabulary.learn(["two dogs", "two cats run."], kind="word")
        >>> vocabulary.encode(["two cats", "a dog."])
        array([[4, 6, 2, 0],
               [3, 3, 5, 2]], dtype=int32)
        >>> vocabulary.decode(vocabulary.encode(["two  dogs run."]))
        ['two dogs run.']
    """

    def __init__(self, tokens, kind="word", lowercase=False, normalised=True):
        """Checks the tokens; the tables are made when first used."""
        check_choice("kind", kind, KINDS)
        check_kind("lowercase", lowercase, (bool, np.bool_), "true or false")
        check_kind("normalised", normalised, (bool, np.bool_), "true or false")
        check_kind("tokens", tokens, (list, tuple), "a list of str")
        _check_strings("tokens", tokens)
        if tuple(tokens[: len(SPECIALS)]) != SPECIALS:
            raise ValueError(
                f"`tokens` must begin with {', '.join(map(repr, SPECIALS))}, whose ids are 0 to 3. Received: "
                f"{', '.join(map(repr, tokens[: len(SPECIALS)])) or 'no tokens'}. Put them in front, or use "
                "`Vocabulary.learn`."
            )
        again = [token for token, count in Counter(tokens).items() if count > 1 or not token]
        if again:
            raise ValueError(
                f"`tokens` must be different from each other and not empty. Received: {len(again)} that are not, such "
                f"as {again[0]!r}. Keep each once, for example by `list(dict.fromkeys(tokens))`."
            )
        other = next((token for token in tokens if not unicodedata.is_normalized("NFC", token)), None)
        if normalised and other is not None:
            raise ValueError(
                "`tokens` must be in Unicode's normalisation form C, as texts are with `normalised=True`. Received: "
                f"{other!r}, which is {unicodedata.normalize('NFC', other)!r} there. Normalise them, as the texts that "
                "they were learnt from, or give `normalised=False`."
            )
        self.tokens, self.kind = list(tokens), kind
        self.lowercase, self.normalised = bool(lowercase), bool(normalised)

    @classmethod
    def learn(cls, texts, kind="word", size=8000, min_count=1, lowercase=False, normalised=True):
        """The vocabulary of some texts: the most frequent tokens, those that are equally frequent by alphabet.

        Pieces of words are learnt by byte pair encoding over characters, with the library `tokenizers`. All
        characters of the texts are pieces, so that no word of known characters is unknown.

        Source: Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword units", 2016,
        arXiv:1508.07909.

        Args:
            texts: List of str, one or more, not all of them blank.
            kind: "word", "character" or "subword".
            size: Most tokens that there may be, the four of `SPECIALS` included; more than four.
            min_count: How often a token (with "subword", a character or a pair of pieces) must be there to be kept.
            lowercase: Whether texts are brought to lower case first.
            normalised: Whether they are brought to normalisation form C first.

        Returns:
            `Vocabulary` of at most `size` tokens; the same one for the same texts and options.

        Raises:
            ValueError: If an option is out of range, `texts` is no list of str, or no token is left.

        Example:

            >>> Vocabulary.learn(["low lower lowest"], kind="subword", size=20).tokens[4:]
            ['e', 'l', 'o', 'r', 's', 't', 'w', '▁', 'lo', '▁lo', '▁low', '▁lowe', 'st', '▁lower', '▁lowest']
        """
        check_choice("kind", kind, KINDS)
        check_positive("size", size)
        check_positive("min_count", min_count)
        if size <= len(SPECIALS):
            raise ValueError(
                f"`size` must be more than {len(SPECIALS)}: {', '.join(SPECIALS)} are part of it. Received: {size}. "
                "8000 is usual for pieces of words."
            )
        texts = _checked_texts(texts)
        lines = []
        for start in range(0, len(texts), _CHUNK):
            words = _words(_to_tensor(texts[start : start + _CHUNK]), kind, lowercase, normalised)
            lines += [[word.decode() for word in line] for line in words.to_list()]
        counts = Counter(word for line in lines for word in line)
        if kind == "subword":
            counts = _characters(counts)
        kept = _most_frequent(counts, size - len(SPECIALS), min_count)
        if not kept:
            raise ValueError(
                f"The {len(texts)} texts have {len(counts)} different tokens, none of them {min_count} times. "
                "Expected one or more. Give texts that are not blank, or lower `min_count`."
            )
        if kind == "subword":
            kept = _learn_pieces(lines, kept, size - len(SPECIALS), min_count)
        return cls([*SPECIALS, *kept], kind, lowercase, normalised)

    def __len__(self):
        """Number of tokens, those of `SPECIALS` included."""
        return len(self.tokens)

    def __eq__(self, other):
        """Whether another vocabulary encodes and decodes as this one."""
        return isinstance(other, Vocabulary) and self.get_config() == other.get_config()

    def __hash__(self):
        """The same for equal vocabularies."""
        return hash((tuple(self.tokens), self.kind, self.lowercase, self.normalised))

    def __repr__(self):
        """Number and kind of the tokens."""
        more = ", lowercase" * self.lowercase + ", not normalised" * (not self.normalised)
        return f"<Vocabulary: {len(self)} {self.kind} tokens{more}>"

    def get_config(self):
        """The arguments of the constructor, for Keras."""
        options = {"lowercase": self.lowercase, "normalised": self.normalised}
        return {"tokens": list(self.tokens), "kind": self.kind, **options}

    @classmethod
    def from_config(cls, config):
        """A vocabulary of what `get_config` returned, or did before there was `normalised`."""
        return cls(**{"normalised": False, **config})

    @cached_property
    def tables(self):
        """The lookup tables of `ids_of` and `texts_of`, made once, outside any graph."""
        import tensorflow as tf

        def table(keys, values, default):
            return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), default)

        # Apart from its neighbours, and without effect on the joined text.
        shown = ["", "", "", f"{_SPACE}{SPECIALS[UNKNOWN]}{_SPACE}", *self.tokens[len(SPECIALS) :]]
        # Also when first used while a function is traced, whose graph they must outlive.
        with tf.init_scope(), tf.device("CPU:0"):
            ids = tf.range(len(self), dtype=tf.int64)
            return _Tables(
                table(_to_tensor(self.tokens), ids, tf.constant(UNKNOWN, tf.int64)),
                table(ids, _to_tensor(shown), tf.constant(shown[UNKNOWN])),
            )

    @property
    def trackables(self):
        """List of what an export has to track for `ids_of` and `texts_of` to work after loading."""
        return list(self.tables)

    def ids_of(self, texts, max_length):
        """Texts to ids, in TensorFlow operations.

        The ids of a text do not depend on the others. What is no UTF-8 counts as the character U+FFFD.

        Args:
            texts: string tensor (batch,), UTF-8.
            max_length: Most ids of a text, its `EOS` included; at least 1.

        Returns:
            Tuple of the ids, int32 (batch, n), and of whether a text lost its end, bool (batch,). n is the length of
            the longest, at least 1 and at most `max_length`. Each row ends in `EOS`, then `PAD` as needed.

        Raises:
            ValueError: If `max_length` is no whole number of 1 or more.
        """
        import tensorflow as tf

        check_positive("max_length", max_length)
        words = _words(texts, self.kind, self.lowercase, self.normalised)
        if self.kind == "subword":
            different, places = tf.unique(words.values, out_idx=tf.int64)
            pieces = self._pieces(different, max_length)
            ids = words.with_values(tf.gather(pieces, places)).merge_dims(1, 2)
        else:
            ids = tf.ragged.map_flat_values(self.tables.ids.lookup, words)
        truncated = ids.row_lengths() >= max_length
        ids = ids[:, : max_length - 1]
        longest = tf.maximum(tf.reduce_max(ids.row_lengths()), 0) + 1
        ends = tf.fill([ids.nrows(), 1], tf.constant(EOS, tf.int64))
        padded = tf.concat([ids, ends], 1).to_tensor(PAD, shape=tf.stack([tf.constant(-1, tf.int64), longest]))
        padded = tf.cast(tf.ensure_shape(padded, (texts.shape[0], None)), tf.int32)
        return padded, tf.ensure_shape(truncated, (texts.shape[0],))

    def texts_of(self, ids):
        """Ids to texts, in TensorFlow operations: the way back from `ids_of`.

        Args:
            ids: Tensor (batch, n) of whole numbers. Of each row counts what is before the first `EOS`, without `PAD`
                and `BOS`. What is no id, as `UNKNOWN`, becomes "<unk>", a word of its own.

        Returns:
            string tensor (batch,), UTF-8.
        """
        import tensorflow as tf

        ids = tf.cast(ids, tf.int64)
        ended = tf.cumsum(tf.cast(ids == EOS, tf.int32), axis=1) > 0
        shown = tf.where(ended, "", self.tables.tokens.lookup(ids))
        return tf.strings.strip(tf.strings.regex_replace(tf.strings.reduce_join(shown, axis=1), f"{_SPACE}+", " "))

    def encode(self, texts, max_length=None):
        """Texts to ids, as `ids_of`, in Python.

        Args:
            texts: List, tuple or array of str.
            max_length: Most ids of a text, its `EOS` included, or None for no limit.

        Returns:
            int32 array (len(texts), n), n being the length of the longest, at least 1.

        Raises:
            ValueError: If `texts` is no list of str, or `max_length` no whole number of 1 or more.
        """
        import tensorflow as tf

        if max_length is not None:
            check_positive("max_length", max_length)
        texts, parts = _checked_texts(texts), []
        for start in range(0, len(texts), _CHUNK):
            with tf.device("CPU:0"):
                parts.append(self.ids_of(_to_tensor(texts[start : start + _CHUNK]), max_length or 2**31 - 1)[0].numpy())
        ids = np.full((len(texts), max((part.shape[1] for part in parts), default=1)), PAD, "int32")
        for start, part in zip(range(0, len(texts), _CHUNK), parts, strict=True):
            ids[start : start + _CHUNK, : part.shape[1]] = part
        return ids

    def decode(self, ids):
        """Ids to texts, as `texts_of`, in Python.

        Args:
            ids: Array or equally long lists (batch, n) of whole numbers.

        Returns:
            List of str.

        Raises:
            ValueError: If `ids` is no such array.
        """
        import tensorflow as tf

        ids = _checked_ids(ids)
        with tf.device("CPU:0"):
            return [text.decode() for text in self.texts_of(tf.constant(ids, tf.int64)).numpy()]

    def count_unknown(self, ids):
        """How many of some ids are `UNKNOWN`.

        Args:
            ids: Array or equally long lists (batch, n) of whole numbers.

        Returns:
            Whole number.
        """
        return int(np.count_nonzero(_checked_ids(ids) == UNKNOWN))

    @cached_property
    def _longest(self):
        return max((len(token) for token in self.tokens[len(SPECIALS) :]), default=1)

    def _pieces(self, words, most):
        """The ids of the pieces of each word (n,), as a ragged tensor (n, pieces).

        All words are cut at once, a piece of each per turn. What is beyond `most` pieces is left out.
        """
        import tensorflow as tf

        lengths = tf.strings.length(words, unit="UTF8_CHAR")
        sizes = tf.range(1, self._longest + 1)

        def cut_one(turn, rows, starts, all_rows, all_ids):
            shape = (tf.size(rows), self._longest)
            begin, length = tf.broadcast_to(starts[:, None], shape), tf.broadcast_to(sizes, shape)
            candidates = tf.strings.substr(tf.gather(words, rows)[:, None], begin, length, unit="UTF8_CHAR")
            ids = self.tables.ids.lookup(candidates)
            longest = tf.maximum(tf.reduce_max(tf.where(ids > UNKNOWN, sizes, 0), axis=1), 1)
            all_ids = tf.concat([all_ids, tf.gather(ids, longest - 1, batch_dims=1)], 0)
            all_rows = tf.concat([all_rows, rows], 0)
            # Near the end of a word a length may be longer than what is left of it.
            starts += longest
            left = starts < tf.gather(lengths, rows)
            return turn + 1, tf.boolean_mask(rows, left), tf.boolean_mask(starts, left), all_rows, all_ids

        rows = tf.range(tf.size(words, tf.int64))
        nothing = tf.zeros([0], tf.int64)
        *_, all_rows, all_ids = tf.while_loop(
            lambda turn, rows, *_: (turn < most) & (tf.size(rows) > 0),
            cut_one,
            (0, rows, tf.zeros_like(lengths), nothing, nothing),
            shape_invariants=(tf.TensorShape([]), *[tf.TensorShape([None])] * 4),
        )
        order = tf.argsort(all_rows, stable=True)
        return tf.RaggedTensor.from_value_rowids(
            tf.gather(all_ids, order), tf.gather(all_rows, order), tf.size(words, tf.int64), validate=False
        )


def _words(texts, kind, lowercase, normalised):
    """Texts (batch,) to a ragged string tensor (batch, words), or of characters."""
    import tensorflow as tf

    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace", replacement_char=0xFFFD)
    if lowercase:
        # A zero would end the text there.
        texts = tf.strings.lower(tf.strings.regex_replace(texts, r"\x00", "\ufffd"), encoding="utf-8")
    if normalised:
        texts = composed(texts)
    texts = tf.strings.strip(tf.strings.regex_replace(texts, _WHITESPACE, " "))
    texts = tf.strings.regex_replace(tf.strings.regex_replace(texts, " ", _SPACE), f"^{_CHARACTER}", rf"{_SPACE}\0")
    # No space is left in the text, so that one can part the words.
    return tf.strings.split(tf.strings.regex_replace(texts, _CHARACTER if kind == "character" else _WORD, r"\0 "))


def as_utf8(text):
    """A str as bytes of UTF-8; half of a pair of surrogates, which has no such bytes, becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _to_tensor(texts):
    """Str to a string tensor."""
    import tensorflow as tf

    return tf.constant(np.array([as_utf8(text) for text in texts], dtype=object), tf.string)


def _characters(counts):
    characters = Counter()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
    return characters


def _most_frequent(counts, size, min_count):
    ranked = sorted(counts, key=lambda token: (-counts[token], token))
    return [token for token in ranked[:size] if counts[token] >= min_count]


def _learn_pieces(lines, alphabet, size, min_count):
    """Pieces of words, most of them frequent: the alphabet and what byte pair encoding makes of it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    alphabet = set(alphabet)
    dropped = {ord(sign): " " for sign in {sign for line in lines for word in line for sign in word} - alphabet}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=min_count, max_token_length=_LONGEST_PIECE, show_progress=False
    )
    tokenizer.train_from_iterator((" ".join(line).translate(dropped) for line in lines), trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.get)


def _check_strings(name, values):
    for place, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(
                f"`{name}` must hold str only. Received: {type(value).__name__} at place {place}, {value!r}. "
                "Decode bytes with `.decode()`."
            )


def _checked_texts(texts):
    """Texts as a list of str."""
    if isinstance(texts, (str, bytes)):
        raise ValueError(f"`texts` must be a list of str. Received: one text, {texts[:40]!r}. Wrap it in a list.")
    check_kind("texts", texts, (list, tuple, np.ndarray), "a list of str")
    if isinstance(texts, np.ndarray) and texts.ndim != 1:
        raise ValueError(f"`texts` must be a list or an array (n,) of str. Received: shape {texts.shape}. Flatten it.")
    _check_strings("texts", texts)
    return [str(text) for text in texts]


def _checked_ids(ids):
    try:
        ids = np.asarray(ids)
        received = f"shape {ids.shape}, dtype {ids.dtype}"
    except ValueError:
        ids, received = None, "rows of unequal length"
    if ids is None or ids.ndim != 2 or ids.dtype.kind not in "iu":
        advice = f"Fill up shorter rows with {PAD}" if ids is None else "Wrap one row in a list; round floats"
        raise ValueError(f"`ids` must be whole numbers (batch, n). Received: {received}. {advice}.")
    return ids
