"""Texts to ids and back: oracles are Python's `str.split`, and the WordPiece of the library `tokenizers`."""

import re
import unicodedata

import keras
import numpy as np
import pytest
import tensorflow as tf
from tokenizers import models

from zoo.vocabulary import BOS, EOS, KINDS, PAD, SPECIALS, UNKNOWN, Vocabulary

TEXTS = [
    "Two dogs run; the other dog doesn't.",
    "  “Ça va\u202f?” – demanda-t-il\t\tà l'élève, naïvement…\n",
    "Drei Männer spazieren über die Straße (um 1,000.5 km/h)!",
    "An emoji: 🎉, a family: 👩‍👩‍👧, a heart: ❤️ and e\u0301, written apart.",
    "snake_case and <s> and </s> and <pad> and <unk> are no signs of the end",
    "Слова、言葉です。 \u3000 كلمة",
    "",
    " \t\n ",
    "nothing\x00null \x1c separators\x85and\u2028lines ▁ ▁",
]


def normalised(text):
    """Python's own idea of white space, where the sign for the space counts as one, and of normalisation form C."""
    return unicodedata.normalize("NFC", " ".join(text.replace("▁", " ").split()))


@pytest.fixture(scope="module")
def learnt():
    return {kind: Vocabulary.learn(TEXTS, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def whole(learnt):
    """The ids of each text, by kind."""
    return {kind: [row[row != PAD].tolist() for row in learnt[kind].encode(TEXTS)] for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_gives_the_text_back(learnt, kind):
    ids = learnt[kind].encode(TEXTS)
    assert ids.dtype == np.int32 and learnt[kind].count_unknown(ids) == 0
    assert learnt[kind].decode(ids) == [normalised(text) for text in TEXTS]


@pytest.mark.parametrize("kind", KINDS)
def test_lower_case(kind):
    vocabulary = Vocabulary.learn(TEXTS, kind, lowercase=True)
    # Python lowers some characters by their neighbours; there are none of them here. A zero is replaced.
    expected = [normalised(text.lower()).replace("\x00", "\ufffd") for text in TEXTS]
    assert vocabulary.decode(vocabulary.encode([text.upper() for text in TEXTS[:1]])) == expected[:1]
    assert vocabulary.decode(vocabulary.encode(TEXTS)) == expected


def words_of(text):
    """The words as the docstring says, by Python's `re`: \\w are letters, digits and underscores; marks are listed."""
    text = normalised(text).replace(" ", "▁")
    return re.findall(r"▁?(?:[\w\u0301\ufe0f]+|.)", f"▁{text}" if text else "", re.DOTALL)


def test_words_are_runs_of_letters_or_single_signs(learnt):
    vocabulary = learnt["word"]
    for text, row in zip(TEXTS, vocabulary.encode(TEXTS), strict=True):
        assert [vocabulary.tokens[number] for number in row if number > EOS] == words_of(text)
    assert words_of("l'eau, 1,5") == ["▁l", "'", "eau", ",", "▁1", ",", "5"]


def test_characters_are_tokens_and_so_is_the_space(learnt):
    vocabulary = learnt["character"]
    for text, row in zip(TEXTS, vocabulary.encode(TEXTS), strict=True):
        assert [vocabulary.tokens[number] for number in row if number > EOS] == list("".join(words_of(text)))


@pytest.mark.parametrize("size", [80, 130, 8000])
def test_pieces_are_those_of_wordpiece(size):
    vocabulary = Vocabulary.learn(TEXTS * 2 + ["dogs and others run over others"] * 3, "subword", size)
    assert len(vocabulary) <= size
    ids = {token: number for number, token in enumerate(vocabulary.tokens)}
    oracle = models.WordPiece(ids, unk_token="<unk>", continuing_subword_prefix="", max_input_chars_per_word=1000)
    known = set(vocabulary.tokens)
    others = ["dogsdogs runothers overandover", "the Straßen", "Männerdog's"]
    compared = 0
    for text, row in zip(TEXTS + others, vocabulary.encode(TEXTS + others), strict=True):
        if set("".join(words_of(text))) <= known:
            expected = [piece.id for word in words_of(text) for piece in oracle.tokenize(word)]
            assert row.tolist() == [*expected, EOS, *[PAD] * (len(row) - len(expected) - 1)]
            compared += 1
    assert compared >= 5


def test_an_unknown_character_does_not_take_its_word_along():
    vocabulary = Vocabulary.learn(["cat cats"] * 2, "subword")
    assert vocabulary.decode(vocabulary.encode(["catxs", "xx cat"])) == ["cat <unk> s", "<unk> <unk> cat"]


def test_ids_by_hand():
    vocabulary = Vocabulary([*SPECIALS, "▁a", "▁b", ","])
    np.testing.assert_array_equal(
        vocabulary.encode(["a b, a", "b", "", "c b"]),
        [[4, 5, 6, 4, 2], [5, 2, 0, 0, 0], [2, 0, 0, 0, 0], [3, 5, 2, 0, 0]],
    )
    assert vocabulary.decode([[BOS, 4, 5, 6, EOS, 4, UNKNOWN]]) == ["a b,"]
    assert vocabulary.decode([[PAD, 4, UNKNOWN, 6, 99, -1, 5]]) == ["a <unk> , <unk> <unk> b"]
    assert vocabulary.decode(np.zeros((0, 3), int)) == [] and vocabulary.encode([]).shape == (0, 1)
    assert (len(vocabulary), vocabulary.count_unknown([[3, 4], [3, 0]])) == (7, 2)
    assert repr(vocabulary) == "<Vocabulary: 7 word tokens>"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_length", [1, 2, 5, 1000])
def test_what_is_too_long_loses_its_end(learnt, whole, kind, max_length):
    vocabulary = learnt[kind]
    ids, truncated = vocabulary.ids_of(tf.constant(TEXTS), max_length)
    assert (ids.dtype, truncated.dtype) == (tf.int32, tf.bool)
    expected = [row if len(row) <= max_length else [*row[: max_length - 1], EOS] for row in whole[kind]]
    longest = max(map(len, expected))
    np.testing.assert_array_equal(ids, [row + [PAD] * (longest - len(row)) for row in expected])
    np.testing.assert_array_equal(truncated, [len(row) > max_length for row in whole[kind]])
    np.testing.assert_array_equal(vocabulary.encode(TEXTS, max_length), ids)
    for text, row in zip(TEXTS[:4], expected, strict=False):
        assert vocabulary.ids_of(tf.constant([text]), max_length)[0].numpy().tolist() == [row]


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_are_no_text_become_the_replacement_character(kind):
    vocabulary = Vocabulary.learn(["a \ufffd b"], kind)
    ids, _ = vocabulary.ids_of(tf.constant([b"a \xff b", b"\xc3"]), 20)
    assert [text.decode() for text in vocabulary.texts_of(ids).numpy()] == ["a \ufffd b", "\ufffd"]
    # A half of a pair that Python allows in a str: three bytes that are no UTF-8.
    assert set(vocabulary.decode(vocabulary.encode(["a\ud800"]))[0]) == {"a", "\ufffd"} or kind == "word"


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_encodes_and_decodes(tmp_path, kind):
    vocabulary = Vocabulary.learn(TEXTS, kind)
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def there_and_back(texts):
        ids, truncated = vocabulary.ids_of(texts, 1000)
        return {"ids": ids, "truncated": truncated, "texts": vocabulary.texts_of(ids)}

    # The tables are first used while it is traced.
    operations = there_and_back.get_concrete_function().graph.as_graph_def()
    module.tables = vocabulary.trackables
    tf.saved_model.save(module, tmp_path, signatures=there_and_back)
    found = tf.saved_model.load(tmp_path).signatures["serving_default"](tf.constant(TEXTS))
    np.testing.assert_array_equal(found["ids"], vocabulary.encode(TEXTS))
    assert [text.decode() for text in found["texts"].numpy()] == [normalised(text) for text in TEXTS]
    assert not np.any(found["truncated"])
    nodes = [*operations.node, *(node for function in operations.library.function for node in function.node_def)]
    assert not {node.op for node in nodes} & {"PyFunc", "EagerPyFunc", "PyFuncStateless"}


@keras.saving.register_keras_serializable("tests")
class Reader(keras.Model):
    def __init__(self, vocabulary, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary = vocabulary
        self.dense = keras.layers.Dense(1)
        self.dense.build((None, 1))
        self.built = True

    def call(self, inputs):
        return self.dense(inputs)

    def get_config(self):
        return {"vocabulary": keras.saving.serialize_keras_object(self.vocabulary)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["vocabulary"]))


def test_it_travels_in_a_keras_file(tmp_path):
    vocabulary = Vocabulary.learn(TEXTS, "subword", lowercase=True)
    vocabulary.encode(TEXTS)
    Reader(vocabulary).save(tmp_path / "reader.keras")
    loaded = keras.saving.load_model(tmp_path / "reader.keras", safe_mode=True).vocabulary
    assert loaded == vocabulary and hash(loaded) == hash(vocabulary) and loaded is not vocabulary
    np.testing.assert_array_equal(loaded.encode(TEXTS), vocabulary.encode(TEXTS))
    assert loaded != Vocabulary(vocabulary.tokens, "subword") and loaded != "vocabulary"


ACCENTS = ["l'élève naïve", "Männer über Straßen", "Việt Nam", "한국어 텍스트", "ἄνθρωπος", "Å ñ ç ẹ́", "কো ரொ"]


@pytest.mark.parametrize(
    ("kind", "form"),
    [("word", "NFD"), pytest.param("character", "NFC", marks=pytest.mark.exhaustive), ("subword", "NFD")],
)
def test_accents_may_be_written_apart_in_memory_and_in_an_export(tmp_path, kind, form):
    """What NFC's own text becomes is expected, by `unicodedata`."""
    vocabulary = Vocabulary.learn([unicodedata.normalize(form, text) for text in ACCENTS], kind)
    assert vocabulary == Vocabulary.learn(ACCENTS, kind)
    apart = [unicodedata.normalize("NFD", text) for text in ACCENTS]
    assert apart != ACCENTS
    ids = vocabulary.encode(apart)
    assert vocabulary.count_unknown(ids) == 0 and vocabulary.decode(ids) == ACCENTS
    np.testing.assert_array_equal(ids, vocabulary.encode(ACCENTS))
    module = tf.Module()
    module.tables = vocabulary.trackables

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def serve(texts):
        return {"ids": vocabulary.ids_of(texts, 1000)[0]}

    tf.saved_model.save(module, tmp_path, signatures=serve)
    served = tf.saved_model.load(tmp_path).signatures["serving_default"]
    np.testing.assert_array_equal(served(tf.constant(apart))["ids"], ids)
    np.testing.assert_array_equal(served(tf.constant(ACCENTS[:2] + apart[2:]))["ids"], ids)


def test_vocabularies_of_before_read_texts_as_before():
    """Their files do not say `normalised`: é in two characters is none of theirs."""
    config = {"tokens": [*SPECIALS, "▁é", "▁e", "\u0301"], "kind": "character", "lowercase": False}
    before, after = Vocabulary.from_config(config), Vocabulary(config["tokens"][:5] + ["▁e"], "word")
    assert not before.normalised and Vocabulary.from_config(before.get_config()) == before
    assert after.normalised and Vocabulary.from_config(after.get_config()) == after
    assert repr(before) == "<Vocabulary: 7 character tokens, not normalised>" and before != after
    word = Vocabulary.from_config({**config, "kind": "word"})
    assert word.encode(["é", "e\u0301"])[:, 0].tolist() == [4, UNKNOWN]
    assert after.encode(["é", "e\u0301"])[:, 0].tolist() == [4, 4]
    # What was written apart may be learnt so, if asked for.
    assert "e\u0301" in "".join(Vocabulary.learn(["e\u0301"], "word", normalised=False).tokens)


def test_the_most_frequent_are_kept_and_ties_go_by_alphabet():
    texts = ["d c b a", "c b", "b"]  # b 3 times, c 2, a and d 1
    assert Vocabulary.learn(texts).tokens == [*SPECIALS, "▁b", "▁c", "▁a", "▁d"]
    assert Vocabulary.learn(texts, size=7).tokens[4:] == ["▁b", "▁c", "▁a"]
    assert Vocabulary.learn(texts, min_count=2).tokens[4:] == ["▁b", "▁c"]
    assert Vocabulary.learn(texts, "character", size=7).tokens[4:] == ["▁", "b", "c"]
    pieces = Vocabulary.learn(texts, "subword", min_count=2)
    assert pieces.tokens[4:] == ["b", "c", "▁", "▁b", "▁c"]
    assert pieces.decode(pieces.encode(["b a d c"])) == ["b <unk> <unk> c"]
    assert Vocabulary.learn(texts, "subword", size=6).tokens[4:] == ["b", "▁"]


def test_pairs_are_merged_by_how_often_they_stand_together():
    """By hand: "▁" and "l" 4 times, then with "o", then "w"; "e" and "r" twice."""
    texts = ["low low lower lower"]
    expected = ["e", "l", "o", "r", "w", "▁"]
    assert Vocabulary.learn(texts, "subword", size=10).tokens[4:] == expected
    learnt = Vocabulary.learn(texts, "subword", size=15)
    assert set(learnt.tokens[4:10]) == set(expected) and "▁low" in learnt.tokens
    assert learnt == Vocabulary.learn(list(texts), "subword", size=15)


def test_long_words_are_learnt_in_pieces_of_bounded_length():
    vocabulary = Vocabulary.learn(["ab" * 200], "subword")
    assert max(map(len, vocabulary.tokens)) <= 24
    assert vocabulary.decode(vocabulary.encode(["ab" * 400])) == ["ab" * 400]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: one.encode("a text"), "one text, 'a text'. Wrap it in a list"),
        (lambda one: one.encode(["a", b"b"]), r"`texts` must hold str only. Received: bytes at place 1, b'b'. Decode"),
        (lambda one: one.encode(None), "`texts` must be a list of str. Received: None"),
        (lambda one: one.encode(np.array([["a"]])), r"an array \(n,\) of str. Received: shape \(1, 1\). Flatten it"),
        (lambda one: one.encode(["a"], 0), "`max_length` must be a whole number of at least 1. Received: 0"),
        (lambda one: one.ids_of(tf.constant(["a"]), 1.5), "`max_length` must be a whole number"),
        (
            lambda one: one.decode([4, 5]),
            r"whole numbers \(batch, n\). Received: shape \(2,\), .* Wrap one row in a list",
        ),
        (lambda one: one.decode([[4], [5, 6]]), "Received: rows of unequal length. Fill up shorter rows with 0"),
        (lambda one: one.decode([[0.5]]), "dtype float64"),
        (lambda _: Vocabulary(["a"]), "must begin with '<pad>', '<s>', '</s>', '<unk>', .* Received: 'a'. Put them"),
        (lambda _: Vocabulary([]), "Received: no tokens"),
        (lambda _: Vocabulary("abc"), "`tokens` must be a list of str. Received: 'abc'"),
        (lambda _: Vocabulary([*SPECIALS, 5]), "`tokens` must hold str only. Received: int at place 4"),
        (
            lambda _: Vocabulary([*SPECIALS, "a", "b", "a"]),
            "different from each other .* Received: 1 .* as 'a'. Keep each",
        ),
        (
            lambda _: Vocabulary([*SPECIALS, "e\u0301"]),
            "must be in .* form C, .*'e\u0301', which is '\u00e9' there. Norm",
        ),
        (lambda _: Vocabulary(list(SPECIALS), normalised=1), "`normalised` must be true or false. Received: 1"),
        (lambda _: Vocabulary([*SPECIALS, ""]), "not empty"),
        (lambda _: Vocabulary(list(SPECIALS), "words"), "`kind` must be one of 'word', 'character', 'subword'"),
        (lambda _: Vocabulary(list(SPECIALS), lowercase="no"), "`lowercase` must be true or false"),
        (lambda _: Vocabulary.learn(["a"], "bpe"), "`kind` must be one of"),
        (lambda _: Vocabulary.learn(["a"], size=4), "`size` must be more than 4"),
        (lambda _: Vocabulary.learn(["a"], min_count=0), "`min_count` must be a whole number of at least 1"),
        (lambda _: Vocabulary.learn(["", " "]), "The 2 texts have 0 different tokens"),
        (lambda _: Vocabulary.learn(["a b"], min_count=2), "2 different tokens, none of them 2 times"),
        (lambda _: Vocabulary.learn("a b"), "Wrap it in a list"),
    ],
)
def test_wrong_arguments(learnt, call, message):
    with pytest.raises(ValueError, match=message):
        call(learnt["word"])
