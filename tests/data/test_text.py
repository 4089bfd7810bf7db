"""Pairs of texts: where they come from, what is wrong with files, and batches of about one length that resume."""

import gzip
import os
import sys
import types

import numpy as np
import pytest

from zoo import data
from zoo.data.splits import held_out
from zoo.data.text import EncodedPairs
from zoo.vocabulary import EOS, Vocabulary


def numbered(lengths, other_lengths=None, **options):
    """Pairs whose ids are 10 plus their number, so that a batch tells which rows it has."""
    sides = []
    for some in (lengths, other_lengths or lengths):
        ids = np.zeros((len(some), max(some)), "int32")
        for number, length in enumerate(some):
            ids[number, :length] = 10 + number
        sides.append(ids)
    return EncodedPairs("numbered", *sides, **{"max_length": 100, **options})


@pytest.fixture
def pairs():
    """50 pairs of up to 8 ids, 23 of 9 to 12, 3 of 13 to 16, and 10 of 20, targets shorter by 2."""
    lengths = [2 + row % 7 for row in range(50)] + [9 + row % 4 for row in range(23)] + [14] * 3 + [20] * 10
    return numbered(lengths, [max(1, length - 2) for length in lengths])


def steps_of(batches, count):
    return [tuple(side.numpy() for side in batch) for batch in batches.take(count)]


def rows_of(batch):
    return batch[0][:, 0] - 10


def test_an_epoch_has_each_pair_at_most_once_and_leaves_out_less_than_a_batch(pairs):
    for batch_size in (1, 4, 7, 10, 43):
        steps = pairs.steps_per_epoch(batch_size)
        # What is left over of one bucket joins the next, so that as few are dropped as without buckets.
        assert steps == 86 // batch_size
        for epoch in range(2):
            batches = steps_of(pairs.batches(batch_size, seed=3, first_epoch=epoch), steps)
            rows = np.concatenate([rows_of(batch) for batch in batches])
            assert len(rows) == len(set(rows)) == steps * batch_size and set(rows) <= set(range(86))


def test_no_pair_is_left_over_for_ever(pairs):
    seen = set()
    for batch in pairs.batches(20).take(20 * pairs.steps_per_epoch(20)):
        seen |= set(rows_of(batch).numpy())
    assert seen == set(range(86))


def test_batches_are_of_one_bucket_and_filled_up_to_few_widths(pairs):
    """Widths by hand from the lengths of the fixture: the targets of 9 to 12 ids are 7 to 10 long, and so on."""
    found = steps_of(pairs.batches(10, seed=1), 3 * pairs.steps_per_epoch(10))
    # The fourth bucket takes in the third, which has less than a batch, and leftovers of the second.
    assert {tuple(side.shape for side in batch) for batch in found} == {
        ((10, 8), (10, 8)),
        ((10, 12), (10, 12)),
        ((10, 24), (10, 24)),
    }
    for source, target in found:
        assert source.dtype == target.dtype == np.int32
        for row, (ids, others) in zip(source[:, 0] - 10, zip(source, target, strict=True), strict=True):
            length = [2 + row % 7, 9 + (row - 50) % 4, 14, 20][np.searchsorted([50, 73, 76], row, "right")]
            assert ids.tolist() == [10 + row] * length + [0] * (len(ids) - length)
            assert np.count_nonzero(others == 10 + row) == max(1, length - 2) == np.count_nonzero(others)


def test_the_longest_width_is_max_length():
    pairs = numbered([60, 33], max_length=60)
    assert [side.shape for side in next(iter(pairs.batches(2)))] == [(2, 60), (2, 60)]
    assert [side.shape for side in next(iter(numbered([3, 3], max_length=5).batches(2)))] == [(2, 5), (2, 5)]


def test_the_shape_of_a_batch_is_that_of_its_bucket_whatever_is_in_it():
    pairs = numbered([9] * 6, [3] * 6)
    assert [side.shape for side in next(iter(pairs.batches(3)))] == [(3, 12), (3, 8)]
    assert [tuple(side.shape) for side in pairs.batches(3).element_spec] == [(3, None), (3, None)]


def test_batches_of_about_as_many_ids(pairs):
    """48 ids: 6 rows of 8, 4 of 12, 3 of 16, 2 of 24, as divided by hand."""
    by_ids = EncodedPairs("numbered", *pairs.examples(), max_length=100, batch_tokens=48)
    steps = by_ids.steps_per_epoch(1)
    # 50 = 8 * 6 + 2; 25 = 6 * 4 + 1; 4 = 1 * 3 + 1; 11 = 5 * 2 + 1.
    assert steps == by_ids.steps_per_epoch(999) == 8 + 6 + 1 + 5
    found = steps_of(by_ids.batches(1), steps)
    shapes = [batch[0].shape for batch in found]
    assert {shape: shapes.count(shape) for shape in shapes} == {(6, 8): 8, (4, 12): 6, (3, 16): 1, (2, 24): 5}
    one = numbered([20] * 3, batch_tokens=7)
    assert [batch[0].shape for batch in steps_of(one.batches(64), one.steps_per_epoch(64))] == [(1, 24)] * 3
    with pytest.raises(
        ValueError, match="has 2 with `batch_tokens` 48, and each of 3 replicas needs .* Raise .* to 300"
    ):
        by_ids.batches(1, replicas=(0, 1, 3))


def test_the_order_depends_on_seed_and_epoch_only(pairs):
    orders = [
        np.concatenate([rows_of(batch) for batch in steps_of(pairs.batches(5, seed, epoch), 17)])
        for seed, epoch in ((0, 0), (0, 1), (1, 0), (-1, 0), (2**40, 0), (0, 0))
    ]
    np.testing.assert_array_equal(orders[0], orders[-1])
    assert len({order.tobytes() for order in orders}) == 5


def same(found, expected):
    assert len(found) == len(expected)
    for batch, other in zip(found, expected, strict=True):
        for side, other_side in zip(batch, other, strict=True):
            np.testing.assert_array_equal(side, other_side)


@pytest.mark.parametrize("batch_tokens", [None, 60])
def test_a_resumed_run_sees_what_an_uninterrupted_one_saw(pairs, batch_tokens):
    pairs = EncodedPairs("numbered", *pairs.examples(), max_length=100, batch_tokens=batch_tokens)
    steps = pairs.steps_per_epoch(5)
    whole = steps_of(pairs.batches(5, seed=7), 2 * steps + 5)
    for done in (3, steps - 1, steps, steps + 2):
        resumed = pairs.batches(5, seed=7, first_epoch=done // steps, first_step=done % steps)
        same(steps_of(resumed, 2 * steps + 5 - done), whole[done:])


@pytest.mark.parametrize("batch_tokens", [None, 80])
def test_the_parts_of_replicas_together_are_the_batches(pairs, batch_tokens):
    """Cut as `numpy.array_split` does, as `Source.batches` promises."""
    pairs = EncodedPairs("numbered", *pairs.examples(), max_length=100, batch_tokens=batch_tokens)
    options = {"batch_size": 5, "seed": 2, "first_step": 3}
    whole = steps_of(pairs.batches(**options), 12)
    expected = [tuple(np.array_split(side, 3)[part] for side in batch) for batch in whole for part in range(3)]
    same(steps_of(pairs.batches(**options, replicas=(0, 3, 3)), 36), expected)
    workers = [steps_of(pairs.batches(**options, replicas=where), 12) for where in ((0, 1, 3), (2, 1, 3))]
    same(workers[0], expected[::3])
    same(workers[1], expected[2::3])
    assert pairs.batches(6, replicas=(0, 2, 3)).element_spec[0].shape[0] == (None if batch_tokens else 2)
    assert pairs.batches(5, replicas=(0, 2, 3)).element_spec[0].shape[0] == (None if batch_tokens else 2)
    assert pairs.batches(5, replicas=(1, 2, 3)).element_spec[0].shape[0] is None


def test_each_replica_of_a_strategy_gets_its_part(pairs, two_replicas):
    from zoo.training import distribute

    steps = iter(distribute(two_replicas, lambda **where: pairs.batches(5, seed=2, **where)))
    for batch in pairs.batches(5, seed=2).take(4):
        for side, expected in zip(next(steps), batch, strict=True):
            found = two_replicas.experimental_local_results(side)
            assert [len(part) for part in found] == [3, 2]
            np.testing.assert_array_equal(np.concatenate(found), expected)


def test_examples_are_a_fixed_sample(pairs):
    sources, targets = pairs.examples(20, seed=1)
    np.testing.assert_array_equal(sources[:, 0], targets[:, 0])
    assert len(set(sources[:, 0])) == 20 and sources.dtype == np.int32
    same([pairs.examples(20, seed=1)], [(sources, targets)])
    np.testing.assert_array_equal(pairs.examples()[0][:, 0], 10 + np.arange(86))


def test_encoding_counts_what_is_lost():
    """By hand: of 4 pairs, one source and one target of another are longer than 3 words and an end; "x" is unknown."""
    sources, targets = ["a b c d", "a", "x b", "b"], ["c", "c c c c", "x x", ""]
    pairs = data.TextPairs("letters", sources, targets, "hand")
    known = Vocabulary.learn(["a b c d"])
    encoded = pairs.encoded(known, known, max_length=4)
    assert (encoded.truncated, encoded.unknown, encoded.size, encoded.shape) == (2, 3, 4, (4,))
    assert (encoded.is_images, encoded.name) == (False, "letters")
    assert encoded.origin == "hand, 2 pairs cut to 4 tokens, 3 unknown tokens"
    for ids, texts in zip(encoded.examples(), (sources, targets), strict=True):
        np.testing.assert_array_equal(ids, known.encode(texts, 4))
        assert all(EOS in row for row in ids.tolist())
    assert repr(pairs) == "<TextPairs letters: 4 pairs of texts, from hand>"
    assert repr(encoded).startswith("<EncodedPairs letters: 4 pairs of at most 4 ids, 2 of them cut, 3 ids unknown")
    whole = pairs.encoded(known, known)
    assert (whole.truncated, whole.shape, pairs.size) == (0, (64,), 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda pairs: pairs.batches(87), "needs 87 pairs, and 'numbered' has 86. Use a batch size of at most 86"),
        (lambda pairs: pairs.batches(2, group=3), "`group` must be None. Received: 3"),
        (lambda pairs: pairs.batches(0), "`batch_size` must be a whole number of at least 1"),
        (
            lambda pairs: pairs.batches(5, first_step=17),
            "`first_step` must be a whole number from 0 to 16. Received: 17",
        ),
        (lambda pairs: pairs.batches(5, first_epoch=-1), "`first_epoch` must be a whole number from 0"),
        (lambda pairs: pairs.batches(5, seed=0.5), "`seed` must be a whole number"),
        (lambda pairs: pairs.batches(5, replicas=(0, 1, 6)), "cannot be split over 6 replicas"),
        (lambda pairs: pairs.batches(5, replicas=(0, 2)), "three whole numbers"),
        (lambda pairs: pairs.examples(87), "`n` must be a whole number from 1 to 86. Received: 87"),
        (
            lambda _: numbered([3], max_length=2),
            r"sources of 'numbered' must be .*, n at most 2. Received: shape \(1, 3\)",
        ),
        (lambda _: numbered([3], [3, 3]), "a target for each source. Received: 1 sources, 2 targets"),
        (lambda _: numbered([3], batch_tokens=0), "`batch_tokens` must be a whole number of at least 1"),
        (
            lambda _: numbered([3, 3], batch_tokens=99).batches(1),
            "needs 12 pairs, and 'numbered' has 2. Use `batch_tokens` of at most 16",
        ),
        (lambda _: data.TextPairs("a", ["b"], []), "'a' must have a target for each .* Received: 1 sources, 0 targets"),
        (lambda _: data.TextPairs("a", [], []), "Received: 0 sources"),
        (
            lambda _: data.TextPairs("a", ["b"], [b"c"]),
            "`targets` of 'a' must hold str only. Received: bytes at place 0",
        ),
        (lambda _: data.TextPairs("a", "b", ["c"]), "`sources` must be a list of str. Received: 'b'"),
        (
            lambda _: data.TextPairs("a", ["b"], ["c"]).encoded(None, Vocabulary.learn(["c"])),
            "`source_vocabulary` must be a zoo.vocabulary.Vocabulary. Received: None",
        ),
        (
            lambda _: data.TextPairs("a", ["b"], ["c"]).encoded(*[Vocabulary.learn(["c"])] * 2, max_length=1),
            "`max_length` must be a whole number from 2",
        ),
    ],
)
def test_wrong_arguments(pairs, call, message):
    with pytest.raises(ValueError, match=message):
        call(pairs)


def test_pairs_are_not_gone_through_themselves(pairs):
    with pytest.raises(TypeError, match=r"Use `pairs.batches\(64\)`"):
        list(pairs)


def test_numbers_in_words():
    """Spelt by hand: the alphabets of the languages, without digits."""
    test = data.load_text("number_words", split="test")
    assert (test.name, test.size, test.origin) == (
        "number_words",
        1_000,
        "num2words in en and fr, test split of the numbers below 100000",
    )
    german = data.load_text("number_words/fr-de", split="test")
    assert german.sources == test.targets and german.name == "number_words/fr-de"
    assert set("".join(german.targets)) <= set("abcdefghijklmnopqrstuvwxyzäöüß")


def test_numbers_to_train_are_others_than_those_to_test(monkeypatch):
    """The counts that the docstring of `load_text` gives, with digits in place of words, which take seconds."""
    monkeypatch.setattr("num2words.num2words", lambda number, lang: f"{lang} {number}")
    train, test = (data.load_text("number_words/en-fr", split=split) for split in ("train", "test"))
    numbers = [[int(text.removeprefix("en ")) for text in pairs.sources] for pairs in (train, test)]
    assert numbers[0][:1001] == list(range(1001)) and [len(some) for some in numbers] == [20_000, 1_000]
    assert len(set(numbers[0]) | set(numbers[1])) == 21_000 and max(max(some) for some in numbers) < 100_000
    assert train.targets == [text.replace("en", "fr") for text in train.sources]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("end", ["", ".gz"])
def test_multi30k(tmp_path, end):
    for stem, count in (("train", 5), ("val", 2)):
        for language in ("de", "en"):
            lines = "".join(f"{stem} {language} {row} \n" for row in range(count))
            write(tmp_path / "multi30k" / f"{stem}.{language}{end}", lines)
    train = data.load_text("multi30k/de-en", data_dir=tmp_path)
    assert (train.sources[4], train.targets[4], train.size) == ("train de 4", "train en 4", 5)
    test = data.load_text("multi30k/en-de", split="test", data_dir=tmp_path)
    assert (test.sources, test.targets) == (["val en 0", "val en 1"], ["val de 0", "val de 1"])
    assert test.name == "multi30k/en-de" and test.origin.endswith("multi30k, its val files as the test split")


def test_tatoeba_keeps_the_translations_of_a_sentence_together(tmp_path, monkeypatch):
    lines = [f"en {row // 3}\tfr {row}\tCC-BY 2.0 (France) Attribution: tatoeba.org #{row}\n" for row in range(60)]
    write(tmp_path / "tatoeba_en_fr" / "eng-fra.txt", "".join(lines))
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    train, test = (data.load_text("tatoeba/en-fr", split=split) for split in ("train", "test"))
    # A tenth of the 20 sentences, by the fixed permutation of `held_out`.
    tests = {f"en {number}" for number in np.flatnonzero(held_out(20))}
    assert set(test.sources) == tests and set(train.sources) == {f"en {number}" for number in range(20)} - tests
    assert (train.size, test.size) == (54, 6)
    assert sorted(train.targets + test.targets) == sorted(f"fr {row}" for row in range(60))
    swapped = data.load_text("tatoeba/fr-en", split="test")
    assert swapped.size == 6 and swapped.sources[0].startswith("fr") and swapped.targets[0].startswith("en")


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.txt.gz"])
def test_a_file_with_tabs(tmp_path, name, capsys):
    # A mark of the byte order, ends of lines as on Windows, a sign at which `splitlines` parts, and empty sides.
    text = "\ufeffa\u2028b\tc d \r\n" + "".join(f"s{row}\tt{row}\r\n" for row in range(19)) + "\n\tx\r\ny\t \r\nz\tz"
    path = write(tmp_path / name, text)
    train, test = (data.load_text(file, split=split) for file, split in ((path, "train"), (str(path), "test")))
    assert (train.size, test.size, train.name) == (19, 2, "pairs")
    everything = dict(zip(train.sources + test.sources, train.targets + test.targets, strict=True))
    assert everything == {"a\u2028b": "c d", "z": "z"} | {f"s{row}": f"t{row}" for row in range(19)}
    assert train.origin.endswith("a fixed tenth held out for tests, 3 pairs with an empty side left out")
    assert capsys.readouterr().err.count("Left out 3 pairs of pairs of which a side is empty.") == 2


def test_two_files_side_by_side(tmp_path, capsys):
    paths = [write(tmp_path / "a.de", "eins\nzwei\n\nvier\n"), write(tmp_path / "a.en.gz", "one\ntwo\nthree\nfour")]
    train, test = (data.load_text(paths, split=split) for split in ("train", "test"))
    assert train.name == "a.de-a.en" and "1 pairs with an empty side left out" in test.origin
    assert sorted(zip(train.sources + test.sources, train.targets + test.targets, strict=True)) == [
        ("eins", "one"),
        ("vier", "four"),
        ("zwei", "two"),
    ]


def test_damaged_files_are_named_with_the_line(tmp_path):
    mixed = write(tmp_path / "mixed.tsv", "é\te\n".encode() + "é\te\n".encode("latin1"))
    with pytest.raises(ValueError, match="mixed.tsv is not in UTF-8: byte 0xe9 in line 2. .* iconv -f latin1"):
        data.load_text(mixed)
    with pytest.raises(ValueError, match="Line 2 of .*a.tsv has no tab. .* Received: 'c d'. Mend .* as two paths"):
        data.load_text(write(tmp_path / "a.tsv", "a\tb\nc d\n"))
    paths = [write(tmp_path / "a.x", "1\n2\n3\n"), write(tmp_path / "a.y", "1\n2\n")]
    with pytest.raises(ValueError, match="Received: 3 lines in .*a.x, 2 in .*a.y. Find where they part"):
        data.load_text(paths)
    for content in ("", "\n\n", "a\t\n"):
        with pytest.raises(ValueError, match="There are no pairs of texts in .*empty.txt. Received: [0-2] lines"):
            data.load_text(write(tmp_path / "empty.txt", content))
    whole = gzip.compress(b"a\tb\n" * 100)
    for content in (whole[:-9], b"a\tb\n"):
        (tmp_path / "cut.tsv.gz").write_bytes(content)
        with pytest.raises(ValueError, match="cut.tsv.gz is not a whole gzip file: .* Fetch it again"):
            data.load_text(tmp_path / "cut.tsv.gz")
    with pytest.raises(ValueError, match="a set needs 2 or more. Received: 1"):
        data.load_text(write(tmp_path / "one.txt", "a\tb\na\tc\n"))


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("number-words", ValueError, r"No set of texts is called 'number-words'. Did you mean 'number_words'\?"),
        ("multi30k/de-fr", ValueError, r"Did you mean 'multi30k/de-en'\? The sets are: number_words, multi30k/de-en"),
        ("number_words/en-frr", ValueError, r"no pair of languages .* Did you mean 'fr' by 'frr'\? It knows: am, ar"),
        (
            "number_words/en",
            ValueError,
            "no pair of languages that num2words knows. Expected one such as number_words/en",
        ),
        ("number_words/am-en", ValueError, "num2words has no words in 'am' for all numbers below 100000: TypeError"),
        (None, ValueError, "No set of texts is called None"),
        ("", ValueError, "No set of texts is called ''"),
        (("a.de",), ValueError, r"Two paths are needed, .* Received: \('a.de',\)"),
        (("nowhere.de", "nowhere.en"), FileNotFoundError, "The file nowhere.de does not exist"),
        ("nowhere.tsv", FileNotFoundError, "The file nowhere.tsv does not exist. The sets are: .* Check the path"),
        ("./multi30k", FileNotFoundError, "The file ./multi30k does not exist"),
        (".", IsADirectoryError, ". is a folder. Expected a file of texts"),
        (
            "multi30k/de-en",
            FileNotFoundError,
            "neither nowhere/multi30k/train.de nor that with .gz. Put the file there",
        ),
    ],
)
def test_unknown_names_list_what_there_is(name, error, message):
    with pytest.raises(error, match=message):
        data.load_text(name, data_dir="nowhere")


def test_named_sets_need_a_folder(monkeypatch):
    monkeypatch.delenv("ZOO_DATA_DIR", raising=False)
    with pytest.raises(FileNotFoundError, match="ZOO_DATA_DIR is not set. Give the folder around tatoeba"):
        data.load_text("tatoeba/en-fr")
    with pytest.raises(ValueError, match="`split` must be one of 'train', 'test'"):
        data.load_text("tatoeba/en-fr", split="val")


def library(monkeypatch, splits, keys=("pt", "en")):
    """What `load_text` uses of TensorFlow Datasets, which goes online, over rows held here."""

    def builder(name):
        if name != "talks/pt_to_en":
            raise LookupError("no such set\nAvailable: talks")
        info = types.SimpleNamespace(splits=splits, supervised_keys=keys)
        return types.SimpleNamespace(
            info=info, download_and_prepare=lambda: None, as_dataset=lambda split: splits[split]
        )

    module = types.ModuleType("tensorflow_datasets")
    module.__spec__ = types.SimpleNamespace(name="tensorflow_datasets")
    module.builder, module.as_numpy = builder, iter
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)


def test_tensorflow_datasets(monkeypatch):
    rows = {
        part: [{"pt": f"um {part} {row}".encode(), "en": b"one"} for row in range(10)] for part in ("train", "test")
    }
    library(monkeypatch, rows)
    train, test = (data.load_text("tfds/talks/pt_to_en", split=split) for split in ("train", "test"))
    assert (train.sources[0], test.sources[0], train.targets[0]) == ("um train 0", "um test 0", "one")
    library(monkeypatch, {"train": rows["train"]})
    assert [data.load_text("tfds/talks/pt_to_en", split=split).size for split in ("train", "test")] == [9, 1]
    with pytest.raises(FileNotFoundError, match="cannot give 'walks': LookupError: no such set. Check the name"):
        data.load_text("tfds/walks")
    library(monkeypatch, rows, keys=None)
    with pytest.raises(ValueError, match="holds no pairs of texts. .* Received: None"):
        data.load_text("tfds/talks/pt_to_en")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install tensorflow-datasets"):
        data.load_text("tfds/talks/pt_to_en")


REAL_FOLDER = os.environ.get("ZOO_DATA_DIR")


@pytest.mark.skipif(not REAL_FOLDER, reason="ZOO_DATA_DIR is not set: no real sets to read")
@pytest.mark.parametrize(("name", "sizes"), [("multi30k/de-en", (29000, 1014)), ("tatoeba/en-fr", (4474, 526))])
def test_real_pairs(name, sizes):
    """Multi30k's own README counts its sentences; Tatoeba's file has 5000 lines."""
    assert tuple(data.load_text(name, split=split, data_dir=REAL_FOLDER).size for split in ("train", "test")) == sizes
