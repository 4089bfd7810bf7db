"""The task of recipes that translate texts."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from zoo import data
from zoo.evaluation import TextEvaluator
from zoo.runs.config import RunConfig
from zoo.runs.help import Heading

_SHOWN, _DRAWN = 10, 3


@dataclass(frozen=True, kw_only=True)
class TextConfig(RunConfig):
    """Options of every recipe that learns from pairs of texts.

    Example:
        >>> pairs = data.TextPairs("animals", ["two dogs"], ["deux chiens"])
        >>> sources, targets = TextConfig(vocabulary="word").learn(pairs)
        >>> sources is targets, sources.encode(["two dogs"]).shape
        (True, (1, 3))
    """

    MAY_BE_ZERO: ClassVar = RunConfig.MAY_BE_ZERO

    _DATA: ClassVar = Heading("data")
    data: tuple[str, ...] = ("number_words/en-fr",)
    """Pairs of texts: number_words/<language>-<language>, multi30k/de-en, tatoeba/en-fr, tfds/<name>, a file with a tab
    between source and target, or two files of as many lines."""
    vocabulary: Literal["word", "character", "subword"] = "subword"
    """What a token is."""
    vocabulary_size: int = 4000
    """Most tokens that a vocabulary may have."""
    separate_vocabularies: bool = False
    """One vocabulary for each language, instead of one for both."""
    lowercase: bool = False
    """Bring texts to lower case."""
    max_length: int = 64
    """Tokens of a text at most; longer ones lose their end, and are counted."""
    batch_tokens: int | None = None
    """Batches of about so many tokens a side, instead of `batch_size` texts."""

    def load(self, split):
        """The `zoo.data.TextPairs` of a split."""
        return data.load_text(self.data[0] if len(self.data) == 1 else self.data, split=split)

    def learn(self, pairs):
        """The vocabulary of sources and that of targets, learnt from pairs; one twice if it is shared."""
        from zoo.vocabulary import Vocabulary

        sides = (pairs.sources, pairs.targets)
        sides = sides if self.separate_vocabularies else (pairs.sources + pairs.targets,)
        learnt = [
            Vocabulary.learn(texts, self.vocabulary, self.vocabulary_size, lowercase=self.lowercase) for texts in sides
        ]
        return learnt[0], learnt[-1]


class TextTranslation:
    """Data, metrics, pictures and texts of models with `translate`, `likelihood` and `plans`.

    Args:
        config: A `TextConfig`.

    Attributes:
        data: `zoo.data.text.EncodedPairs` that the model learns from.
        batch_options: Options of its batches: none.
        build_from: The vocabularies of sources and targets, learnt from the training split.
        better: Which way each metric of `evaluate` is better.

    Example:
        >>> for name, animals in (("en.txt", "dogs"), ("fr.txt", "chiens")):
        ...     np.savetxt(name, [f"{number} {animals}" for number in range(20)], fmt="%s")
        >>> TextTranslation(TextConfig(data=("en.txt", "fr.txt"), vocabulary="word")).data.size  # a tenth is held out
        18
    """

    batch_options = {}
    better = TextEvaluator.better

    def __init__(self, config):
        pairs = config.load("train")
        self.config, self.build_from = config, config.learn(pairs)
        self.data = pairs.encoded(*self.build_from, config.max_length, config.batch_tokens)

    @cached_property
    def evaluate(self):
        """Function of the model that returns {metric: number}; it reads the test split, on the chief only."""
        return TextEvaluator(self.config.load("test"))

    def baselines(self, model):
        """What the untrained model reaches, on a few texts."""
        return {"untrained": self.evaluate.untrained(model)}

    def conclude(self, model):
        """Metrics of the trained model alone: none."""
        return {}

    def callbacks(self, folder):
        """Callbacks that draw plans of transport and write translations, in each epoch that is evaluated."""
        from zoo.callbacks import Pictures, Texts

        every = min(self.config.evaluate_every, self.config.epochs)
        places = (folder / "samples", folder / "logs" / "samples")
        return [Pictures(self.draw, *places, every=every), Texts(self.write, *places, every=every)]

    def draw(self, model):
        """{name: picture}: how what is said of some held-out texts is transported to what was meant."""
        from zoo import pictures

        some = slice(0, _DRAWN)
        plans = model.plans(self.evaluate.sources[some], self.evaluate.targets[some])
        return {"plans": pictures.heat_maps([(plan, tokens, tokens) for plan, tokens in plans if len(tokens)])}

    def write(self, model):
        """{name: text}: held-out texts, what they become, and what was meant."""
        sources, targets = self.evaluate.sources[:_SHOWN], self.evaluate.targets[:_SHOWN]
        rows = zip(sources, model.translate(sources), targets, strict=True)
        lines = [" | ".join(text.replace("|", "\\|") for text in row) for row in rows]
        return {"translations": "\n".join(["source | translation | reference", "--- | --- | ---", *lines]) + "\n"}

    def report(self, metrics):
        """One line with BLEU, exact match and perplexity, beside what they were."""
        shares = {name: 100 * metrics[name] for name in ("exact_match", "test_token_accuracy")}
        return (
            f"BLEU {metrics['bleu']:.2f}, chrF {metrics['chrf']:.1f}, exact match {shares['exact_match']:.1f} %, "
            f"perplexity {metrics['perplexity']:.3f} (untrained {metrics['untrained']['perplexity']:.4g}), token "
            f"accuracy {shares['test_token_accuracy']:.1f} %, on {metrics['num_texts']} held-out texts."
        )
