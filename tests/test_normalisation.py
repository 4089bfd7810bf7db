"""Normalisation form C, against `unicodedata`: every character, and texts of those that change most."""

import random
import sys
import unicodedata

import tensorflow as tf

from zoo.normalisation import composed


def check(texts):
    found = composed(tf.constant([text.encode() for text in texts])).numpy()
    for text, one in zip(texts, found, strict=True):
        expected = unicodedata.normalize("NFC", text)
        assert one.decode() == expected, (ascii(text), ascii(one.decode()), ascii(expected))


def characters():
    return [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]


def test_every_character_by_itself_and_taken_apart():
    changing = [one for one in characters() if unicodedata.normalize("NFD", one) != one]
    check(characters())
    check([unicodedata.normalize("NFD", one) for one in changing])


def test_texts_of_what_changes():
    """Marks in any order and number, syllables of Hangul and their parts, and vowels that come in two signs."""
    drawn = random.Random(0)
    every = characters()
    marks = [one for one in every if unicodedata.combining(one)]
    changing = [one for one in every if unicodedata.normalize("NFD", one) != one and not 0xAC00 <= ord(one) < 0xD7A4]
    parts = sorted({part for one in changing for part in unicodedata.normalize("NFD", one)})
    hangul = [chr(drawn.randrange(first, last)) for first, last in ((0xAC00, 0xD7A4), (0x1100, 0x1200)) * 300]
    groups = [marks, changing, parts, hangul, [one for one in parts if not unicodedata.combining(one)], list("aeo \0n")]
    check(["".join(drawn.choice(drawn.choice(groups)) for _ in range(drawn.randrange(12))) for _ in range(20_000)])
    few = [*map(chr, (0x61, 0x301, 0x323, 0x302, 0x345, 0x3B1, 0x313, 0x9C7, 0x9BE, 0xCC6, 0xCC2, 0xCD5))]
    few += [*map(chr, (0x1100, 0x1161, 0x11A8, 0xAC00, 0xDD9, 0xDCF, 0xDCA, 0x1E9B, 0x212B, 0x304))]
    check(["".join(drawn.choice(few) for _ in range(drawn.randrange(1, 9))) for _ in range(20_000)])


def test_what_strangers_write_takes_no_time():
    """Ten thousand accents on a letter are gone through by their classes, and not one by one."""
    check(["a" + "\u0301" * 10_000, "\u0301" * 1000 + "e\u0301", "\u09be" * 10_000, "\u1161" * 10_000, ""])
    assert composed(tf.constant([], tf.string)).shape == (0,)
