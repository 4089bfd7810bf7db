"""How good translations are, on detokenised text."""

import math


def translation_quality(translations, references):
    """BLEU and chrF by sacrebleu with its default settings, and how many translations are right word by word.

    Papineni et al. 2002; Popovic 2015; Post 2018, A call for clarity in reporting BLEU scores.

    Args:
        translations: List of n texts, as people read them.
        references: List of n texts.

    Returns:
        {"bleu": 0 to 100, "chrf": 0 to 100, "exact_match": 0 to 1, "bleu_signature": how sacrebleu computed it}.

    Raises:
        ValueError: If the lists are empty or unequal.

    Example:
        >>> found = translation_quality(["a man sleeps here"], ["a man sleeps here"])
        >>> round(found["bleu"], 4), round(found["chrf"], 4), found["exact_match"]
        (100.0, 100.0, 1.0)
    """
    if len(translations) != len(references) or not len(references):
        raise ValueError(
            f"Each translation is compared with one reference, and one is needed. Received: {len(translations)} "
            f"translations and {len(references)} references."
        )
    from sacrebleu.metrics import BLEU, CHRF

    bleu, references_of_all = BLEU(), [list(references)]
    equal = sum(one.split() == other.split() for one, other in zip(translations, references, strict=True))
    return {
        "bleu": bleu.corpus_score(list(translations), references_of_all).score,
        "chrf": CHRF().corpus_score(list(translations), references_of_all).score,
        "exact_match": equal / len(references),
        "bleu_signature": str(bleu.get_signature()),
    }


def perplexity(nats_per_token):
    """exp of the mean cross-entropy per token in nats, the number of equally likely tokens that would be as hard.

    Example:
        >>> round(perplexity(0.6931), 3)
        2.0
    """
    if math.isnan(nats_per_token):
        raise ValueError("The cross-entropy must be a number. Received: NaN. Look at the loss: training has diverged.")
    return math.exp(min(float(nats_per_token), 700.0))
