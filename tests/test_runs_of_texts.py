"""The recipe of texts through its command line, on a set of a few made-up sentences."""

import json
import re

import pytest

from recipes import seq2seq
from tests.helpers.recipes import assert_equal_to_the_bit, checkpoint, main_as_killed, published, tags
from zoo import runs

TINY = ["--width", "16", "--num-layers", "1", "--num-heads", "2", "--batch-size", "8", "--epochs", "2"]
TINY += ["--vocabulary", "word", "--max-length", "12", "--num-beams", "2", "--verbose", "silent"]
TINY += ["--steps-per-epoch", "3"]
TRANSPORT = ["--copy-weight", "0.1", "--sequence-weight", "0.1"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Sentences and their translation word by word into capitals, with a tab between."""
    path = tmp_path_factory.mktemp("texts") / "pairs.tsv"
    words = ["one", "two", "three", "four", "five"]
    lines = [f"{a} {b} {c}" for a in words for b in words for c in words][:60]
    path.write_text("".join(f"{line}\t{line.upper()}.\n" for line in lines))
    return path


def run(folder, pairs, *options):
    runs.main(seq2seq.Config, seq2seq.train, [*TINY, "--data", str(pairs), "--out", str(folder), *options])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pairs):
    """A run of 6 steps without interruption, with both transport terms, and its exports; a killed one."""
    folder = tmp_path_factory.mktemp("whole")
    options = [*TINY, "--data", str(pairs), *TRANSPORT, "--exports", str(folder / "exports")]
    main_as_killed(seq2seq, options, folder / "run", folder / "killed", step=2)
    return folder


@pytest.mark.exhaustive
def test_ends_in_pictures_texts_and_a_published_model(finished):
    metrics = json.loads((finished / "run" / "metrics.json").read_text())
    assert 0 <= metrics["bleu"] <= 100 and 0 <= metrics["exact_match"] <= 1
    assert 1 < metrics["perplexity"] < metrics["untrained"]["perplexity"]
    assert metrics["bleu_signature"].startswith("nrefs:1|case:mixed")
    # Whether TF Serving would take it: tests/conformance/test_serving.py, of the same network.
    card = published(seq2seq, metrics, finished / "exports")
    assert card["figures"]["bleu"] == metrics["bleu"]
    assert {path.stem for path in (finished / "run" / "figures").iterdir()} == {"losses", "plans"}
    table = (finished / "run" / "samples" / "translations" / "epoch-0002.md").read_text().splitlines()
    assert table[0] == "source | translation | reference" and len(table) == 2 + metrics["num_texts"]
    assert re.fullmatch(r"\w+ \w+ \w+ \| .* \| [A-Z ]+\.", table[2])
    shown = tags(finished / "run" / "logs")
    assert {"plans", "translations", "epoch_cross_entropy", "epoch_copy_loss", "epoch_sequence_loss"} <= shown


@pytest.mark.exhaustive
def test_resumes_to_the_bit_with_dropout_in_the_middle_of_an_epoch(finished, pairs):
    run(finished / "killed", pairs, *TRANSPORT, "--evaluate-every", "9")
    assert checkpoint(finished / "killed")["vars/0"] == 6
    assert_equal_to_the_bit(finished / "killed", finished / "run")


CUT = r"pairs cut to 3 tokens, \d+ unknown tokens"


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("options", "counted"),
    [
        (["--cell", "lstm", "--max-length", "3", "--vocabulary-size", "8"], CUT),
        (["--input-feeding", "--separate-vocabularies"], ""),
    ],
)
def test_recurrent_networks_and_texts_that_lose_tokens(options, counted, pairs, tmp_path, capsys):
    run(tmp_path / "run", pairs, "--networks", "recurrent", "--epochs", "1", "--batch-tokens", "64", *options)
    output = capsys.readouterr().out
    assert re.search(r"BLEU .* perplexity .* held-out texts", output) and re.search(counted, output)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--data", "number_word"], "Did you mean"),
        (["--data", "missing.tsv"], "does not exist"),
        (["--separate-vocabularies", "--copy-weight", "1"], "both need one vocabulary"),
        (["--width", "15"], "`--width` must be a multiple"),
        (["--dropout", "1"], "`--dropout` must be a finite number"),
        (["--batch-size", "1000"], "1000"),
    ],
)
def test_mistakes_end_in_advice(options, message, pairs, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path / "run", pairs, *options)
    output = capsys.readouterr()
    assert re.search(message, output.err.replace("\n", " ")) and "Traceback" not in output.err
    assert not (tmp_path / "run" / "config.json").exists()
