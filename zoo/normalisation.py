"""Unicode's normalisation form C in TensorFlow operations: a letter and its accent become the one character for both.

So é is the same whether it was written as one character or, as many systems do, as e and U+0301. What the operations do
is in the graph: an export does the same on a machine with another version of Unicode.

Source: Unicode Standard Annex #15, https://www.unicode.org/reports/tr15/, and section 3.11 of the standard, "Canonical
Ordering Behavior"; Hangul by section 3.12, "Conjoining Jamo Behavior".
"""

import functools
import unicodedata
from typing import NamedTuple

import numpy as np

# Beyond are no characters that change, as Unicode promises for what is assigned there: tags, variants and private use.
_END = 0x40000
_SHIFT = 2**21  # more than any character
_LEADING, _VOWELS, _TRAILING, _SYLLABLES = (0x1100, 19), (0x1161, 21), (0x11A7, 28), (0xAC00, 11172)
# Of 55 classes of marks the first each takes one, as do those that join: no language writes what needs more.
_MOST_TURNS = 256


class _Data(NamedTuple):
    """What Unicode says, as sorted arrays.

    Attributes:
        marks: int32 (m,), characters with a combining class.
        classes: int32 (m,), that class of each, 1 to 254.
        composed: int32 (c,), characters that stand for several, or for another.
        parts: int32 (c, 4), what each stands for, all the way down; filled up with -1.
        pairs: int64 (p,), first times 2^21 plus second, of two characters that become one.
        wholes: int32 (p,), the one.
        joints: int64 (j,), likewise, of neighbours within some character's parts of which the second is no mark.
        pattern: Regular expression of texts that may not be in this form.
    """

    marks: np.ndarray
    classes: np.ndarray
    composed: np.ndarray
    parts: np.ndarray
    pairs: np.ndarray
    wholes: np.ndarray
    joints: np.ndarray
    pattern: str


def composed(texts):
    """Texts in normalisation form C, in TensorFlow operations.

    Args:
        texts: string tensor (batch,), valid UTF-8.

    Returns:
        string tensor (batch,), as `unicodedata.normalize("NFC", text)` gives for each.

    Example:

        >>> composed(tf.constant(["e\u0301le\u0300ve"])).numpy()[0].decode()
        'élève'
    """
    import tensorflow as tf

    # Nearly all texts are in this form, and are looked at once.
    may_change = tf.strings.regex_full_match(texts, _data().pattern)

    def change_some():
        places = tf.where(may_change)
        return tf.tensor_scatter_nd_update(texts, places, _function()(tf.gather_nd(texts, places)))

    return tf.cond(tf.reduce_any(may_change), change_some, lambda: texts)


@functools.cache
def _function():
    """`_composed`, traced once: one by one, outside of a graph, its operations take half a second."""
    import tensorflow as tf

    return tf.function(_composed, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)


def _composed(texts):
    """The same, of all texts."""
    import tensorflow as tf

    characters = tf.strings.unicode_decode(texts, "UTF-8")
    values, rows = _decomposed(characters.values, characters.value_rowids())
    classes, values = _in_order(values, rows)
    values, kept = _paired(values, classes, rows)
    rows, values = tf.boolean_mask(rows, kept), tf.boolean_mask(values, kept)
    ragged = tf.RaggedTensor.from_value_rowids(values, rows, tf.size(texts, tf.int64), validate=False)
    return tf.strings.unicode_encode(ragged, "UTF-8")


def _decomposed(values, rows):
    """Characters (n,) taken apart (m,), and the text of each, (m,). Syllables of Hangul stay: they would come back."""
    import tensorflow as tf

    data = _data()
    place, found = _looked_up(data.composed, values)
    alone = tf.pad(values[:, None], [[0, 0], [0, data.parts.shape[1] - 1]], constant_values=-1)
    parts = tf.where(found[:, None], tf.gather(data.parts, place), alone)
    is_part = parts >= 0
    return tf.boolean_mask(parts, is_part), tf.repeat(rows, tf.reduce_sum(tf.cast(is_part, tf.int32), 1))


def _in_order(values, rows):
    """Combining classes (n,) and characters (n,), each run of marks sorted by class; marks of one class keep theirs."""
    import tensorflow as tf

    data = _data()
    place, found = _looked_up(data.marks, values)
    classes = tf.where(found, tf.gather(data.classes, place), 0)
    runs = tf.cumsum(tf.cast((classes == 0) | _begins(rows), tf.int64))
    order = tf.argsort(256 * runs + tf.cast(classes, tf.int64), stable=True)
    return tf.gather(classes, order), tf.gather(values, order)


def _paired(values, classes, rows):
    """Characters (n,), the first of two having become both, and which of them are left, bool (n,).

    A stretch is a character and what may come together with it. All stretches are gone through at once, in each turn
    one character of each: it joins the last one before it that is no mark, unless a mark of its class or above stands
    between. A stretch has the places of that one, of the next to try and of its end, and the class of what is between.
    """
    import tensorflow as tf

    before = tf.concat([values[:1], values[:-1]], 0)
    is_start = _begins(rows) | ((classes == 0) & ~_joined(before, values))
    starts = tf.cast(tf.where(is_start)[:, 0], tf.int32)
    count = tf.size(values)
    ends = tf.concat([starts[1:], count[None]], 0)
    # The last place of each run of one class: what follows a mark that stays is blocked up to there.
    lasts = tf.cast(
        tf.where(tf.concat([classes[1:] != classes[:-1], tf.ones_like(classes[:1], tf.bool)], 0))[:, 0], tf.int32
    )

    def try_next(turn, values, kept, bases, nexts, ends, between):
        base, one, its_class = tf.gather(values, bases), tf.gather(values, nexts), tf.gather(classes, nexts)
        whole, joins = _whole(base, one)
        joins &= (between < its_class) & (tf.gather(classes, bases) == 0)
        values = tf.tensor_scatter_nd_update(values, bases[:, None], tf.where(joins, whole, base))
        kept = tf.tensor_scatter_nd_update(kept, nexts[:, None], ~joins)
        is_base = ~joins & (its_class == 0)
        bases = tf.where(is_base, nexts, bases)
        between = tf.where(joins, between, tf.where(is_base, -1, its_class))
        blocked = tf.gather(lasts, tf.searchsorted(lasts, nexts)) + 1
        nexts = tf.where(joins | is_base, nexts + 1, blocked)
        left = nexts < ends
        return turn + 1, values, kept, *(tf.boolean_mask(some, left) for some in (bases, nexts, ends, between))

    is_long = ends - starts > 1
    bases, ends = tf.boolean_mask(starts, is_long), tf.boolean_mask(ends, is_long)
    # Of a stretch that begins with a mark, which only the first of a text may, nothing joins it.
    state = (0, values, tf.ones_like(values, tf.bool), bases, bases + 1, ends, -tf.ones_like(bases))
    shapes = tf.TensorShape([]), values.shape, values.shape, *[tf.TensorShape([None])] * 4
    _, values, kept, *_ = tf.while_loop(
        lambda turn, values, kept, bases, *_: (turn < _MOST_TURNS) & (tf.size(bases) > 0),
        try_next,
        state,
        shape_invariants=shapes,
    )
    return values, kept


def _whole(first, second):
    """What pairs of characters become (n,), and whether they become something (n,)."""
    import tensorflow as tf

    data = _data()
    place, found = _looked_up(data.pairs, _key(first, second))
    leading, vowel, trailing, syllable = (
        _number_in(values, kind)
        for values, kind in ((first, _LEADING), (second, _VOWELS), (second, _TRAILING), (first, _SYLLABLES))
    )
    is_open = (leading >= 0) & (vowel >= 0)
    is_closed = (syllable >= 0) & (syllable % _TRAILING[1] == 0) & (trailing > 0)
    of_jamo = tf.where(is_open, _SYLLABLES[0] + (leading * _VOWELS[1] + vowel) * _TRAILING[1], first + trailing)
    is_jamo = is_open | is_closed
    return tf.where(is_jamo, of_jamo, tf.gather(data.wholes, place)), found | is_jamo


def _joined(first, second):
    """Whether the second of two neighbours, which is no mark, may come together with what the first is part of."""
    _, found = _looked_up(_data().joints, _key(first, second))
    vowel, trailing = _number_in(second, _VOWELS), _number_in(second, _TRAILING)
    after_vowel = (_number_in(first, _VOWELS) >= 0) | (_number_in(first, _SYLLABLES) >= 0)
    return found | ((_number_in(first, _LEADING) >= 0) & (vowel >= 0)) | (after_vowel & (trailing > 0))


def _number_in(values, kind):
    """Places of characters in a row of them, (first, how many); -1 of others."""
    import tensorflow as tf

    first, count = kind
    return tf.where((values >= first) & (values < first + count), values - first, -1)


def _begins(rows):
    """Whether each value is the first of its row."""
    import tensorflow as tf

    return tf.concat([tf.ones_like(rows[:1], tf.bool), rows[1:] != rows[:-1]], 0)


def _key(first, second):
    import tensorflow as tf

    return tf.cast(first, tf.int64) * _SHIFT + tf.cast(second, tf.int64)


def _looked_up(keys, values):
    """Where values are in sorted keys, and whether they are there."""
    import tensorflow as tf

    keys = tf.constant(keys)
    places = tf.minimum(tf.searchsorted(keys, values), tf.size(keys) - 1)
    return places, tf.gather(keys, places) == values


@functools.cache
def _data():
    """`_Data` of the version of Unicode that Python has."""
    every = [chr(code) for code in range(_END) if code not in range(0xD800, 0xE000)]
    marks = {ord(one): unicodedata.combining(one) for one in every if unicodedata.combining(one)}
    # Of Hangul's syllables this says nothing.
    several = [one for one in every if unicodedata.decomposition(one) and unicodedata.normalize("NFD", one) != one]
    parts = {ord(one): [*map(ord, unicodedata.normalize("NFD", one))] for one in several}
    pairs, joints = {}, set()
    for code, all_parts in parts.items():
        two = unicodedata.decomposition(chr(code)).split()
        if len(two) == 2 and unicodedata.normalize("NFC", chr(code)) == chr(code):
            pairs[int(two[0], 16) * _SHIFT + int(two[1], 16)] = code
            neighbours = zip(all_parts[:-1], all_parts[1:], strict=True)
            joints |= {one * _SHIFT + other for one, other in neighbours if other not in marks}
    seconds = {key % _SHIFT for key in pairs} | {*range(_VOWELS[0], _VOWELS[0] + _VOWELS[1])}
    seconds |= {*range(_TRAILING[0] + 1, _TRAILING[0] + _TRAILING[1])}
    changing = {code for code in parts if unicodedata.normalize("NFC", chr(code)) != chr(code)}
    longest = max(map(len, parts.values()))
    return _Data(
        np.array(sorted(marks), "int32"),
        np.array([marks[code] for code in sorted(marks)], "int32"),
        np.array(sorted(parts), "int32"),
        np.array([parts[code] + [-1] * (longest - len(parts[code])) for code in sorted(parts)], "int32"),
        np.array(sorted(pairs), "int64"),
        np.array([pairs[key] for key in sorted(pairs)], "int32"),
        np.array(sorted(joints), "int64"),
        f"(?s).*[{_ranges(sorted({*marks} | changing | seconds))}].*",
    )


def _ranges(codes):
    """Sorted characters as those of a class of a regular expression."""
    codes = np.array(codes)
    starts = codes[np.append(True, np.diff(codes) > 1)]
    ends = codes[np.append(np.diff(codes) > 1, True)]
    return "".join(rf"\x{{{start:x}}}-\x{{{end:x}}}" for start, end in zip(starts, ends, strict=True))
