"""From a name, or paths to files, to pairs of texts for translation."""

import difflib
import gzip
import importlib.util
import os
import sys
import zlib
from pathlib import Path

import numpy as np

from zoo.checks import check_choice
from zoo.data.images import reason_of
from zoo.data.names import unknown
from zoo.data.splits import SPLITS, held_out
from zoo.data.text import TextPairs
from zoo.files import decoded

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
        >>> pairs = data.load_text("number_words/en-fr", split="test")
        >>> pairs.size, pairs.sources[0]
        (1000, 'fifty-six thousand, four hundred and seventy-one')
        >>> pairs.targets[0]
        'cinquante-six mille quatre cent soixante et onze'
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
            f"TensorFlow Datasets cannot give {builder_name!r}: {reason_of(error)}. Check the name, and go online once."
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
    raise unknown(name, NAMES, "set of texts", _WAYS)


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
    text = decoded(path, content, f"Convert it: iconv -f latin1 -t utf-8 {path.name}.")
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
