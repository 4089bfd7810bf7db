"""Scores of translations against cases worked by hand."""

import math

import pytest

from zoo.metrics import perplexity, translation_quality


def test_equal_texts_score_all():
    texts = ["a man sleeps here .", "two dogs run in the park ."]
    found = translation_quality(texts, texts)
    assert (found["bleu"], found["chrf"], found["exact_match"]) == (pytest.approx(100), pytest.approx(100), 1.0)
    assert "tok:13a" in found["bleu_signature"] and "version:" in found["bleu_signature"]


def test_bleu_by_hand():
    """Papineni et al. 2002, over both texts: of 1-, 2-, 3- and 4-grams are right 9 of 10, 7 of 8, 5 of 6 and 3 of 4; 10
    words for 11 in the references cost exp(1 - 11 / 10)."""
    translations = ["the cat sat on the rug", "we all go home"]
    references = ["the cat sat on the mat", "we all go home now"]
    expected = 100 * math.exp(1 - 11 / 10) * (9 / 10 * 7 / 8 * 5 / 6 * 3 / 4) ** 0.25
    found = translation_quality(translations, references)
    assert found["bleu"] == pytest.approx(expected)
    assert found["exact_match"] == 0


def test_bleu_is_that_of_the_corpus_and_cased():
    """The mean over texts would be another; a capital letter is another word."""
    texts, others = (
        ["the cat sat on the mat", "The dog ran far away"],
        ["the cat sat on the mat", "the dog ran far away"],
    )
    # 1-grams 10 of 11, 2-grams 8 of 9, 3-grams 6 of 7, 4-grams 4 of 5; equally long.
    expected = 100 * (10 / 11 * 8 / 9 * 6 / 7 * 4 / 5) ** 0.25
    found = translation_quality(texts, others)
    assert found["bleu"] == pytest.approx(expected) and found["exact_match"] == 0.5


def test_white_space_does_not_count_for_an_exact_match():
    assert translation_quality([" a  man\n", "b"], ["a man", "c"])["exact_match"] == 0.5


def test_nothing_right_scores_nothing():
    found = translation_quality(["x y z u v", ""], ["a b c d e", "f g"])
    assert found["bleu"] < 1e-6 and found["chrf"] == 0 and found["exact_match"] == 0


@pytest.mark.parametrize("texts", [([], []), (["a"], ["a", "b"])])
def test_lists_are_equally_long_and_not_empty(texts):
    message = f"one is needed. Received: {len(texts[0])} translations and {len(texts[1])} references"
    with pytest.raises(ValueError, match=message):
        translation_quality(*texts)


def test_perplexity_of_equally_likely_tokens_is_their_number():
    assert perplexity(math.log(8000)) == pytest.approx(8000) and perplexity(0.0) == 1
    assert math.isfinite(perplexity(1e6)) and perplexity(1e6) > 1e300
    with pytest.raises(ValueError, match="Received: NaN. Look at the loss: training has diverged"):
        perplexity(float("nan"))
