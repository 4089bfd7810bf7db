"""Models that turn texts into texts: what their users call, and what they serve."""

from functools import partial

import numpy as np
import tensorflow as tf

from zoo import decoding
from zoo.checks import check_number, check_positive, check_whole
from zoo.training.inputs import texts_of
from zoo.training.model import TrainStepModel
from zoo.training.pairs import only_pairs
from zoo.training.sequences import check_ids, check_sequences
from zoo.vocabulary import BOS, EOS, PAD, UNKNOWN

_TEMPERATURE = (
    "`temperature` must be a finite number of at least 0 for each text: 1 draws from the model, 0 takes what is most "
    "likely. Received: "
)


class TextModel(TrainStepModel):
    """Base of models that translate texts by a `SequenceNetwork`.

    A subclass keeps `source_vocabulary`, `target_vocabulary` (None for the same), `translator`, the network that
    translates, `max_length`, `num_beams` and `length_penalty`.

    Example:
        >>> [method for method in vars(TextModel) if method in ("encode", "translate", "sample", "score")]
        ['encode', 'translate', 'sample', 'score']
        >>> issubclass(zoo.Seq2Seq, TextModel)
        True
    """

    higher_is_better = ("token_accuracy",)

    @property
    def sources(self):
        """`Vocabulary` of sources."""
        return self.source_vocabulary

    @property
    def targets(self):
        """`Vocabulary` of targets."""
        return self.target_vocabulary or self.source_vocabulary

    @property
    def example_shape(self):
        """Shape of a source: of any length."""
        return (None,)

    def examples_of(self, data):
        """Sources and targets."""
        return only_pairs(data)

    def check_fit(self, given):
        """Checks ids of both sides."""
        sizes = (len(self.sources), len(self.targets))
        return check_sequences(given, sizes, self.distribute_strategy.num_replicas_in_sync)

    def encode(self, sources, targets):
        """Ids of texts, int32 arrays (n, longest source) and (n, longest target), as `fit` takes them.

        Args:
            sources: List of n texts.
            targets: List of as many.
        """
        ids = self.sources.encode(sources, self.max_length), self.targets.encode(targets, self.max_length)
        if len(sources) != len(targets):
            raise ValueError(
                f"Each source needs its target. Received: {len(sources)} sources and {len(targets)} targets."
            )
        return ids

    def check_inputs(self, what, x):
        """Checks ids of sources and targets, in a tuple."""
        sides = only_pairs(x if isinstance(x, (tuple, list)) else (x,))
        check_ids(sides, (len(self.sources), len(self.targets)))
        return tuple(map(np.asarray, sides))

    def speak(self, network, sources, max_length):
        """The network's most likely tokens one by one: ids (rows, max_length) and their log p."""
        memory = network.encode(sources)
        return decoding.greedy(
            partial(_step, network, memory),
            network.start(memory, 1, max_length),
            _rows_of(sources),
            max_length,
            begin=BOS,
            end=EOS,
        )

    def search(self, sources, num_beams):
        """The best translation that a beam finds of each source: ids (rows, max_length) and its score."""
        network = self.translator
        if num_beams == 1 and not self.length_penalty:
            return self.speak(network, sources, self.max_length)
        memory = network.encode(sources)
        ids, scores = decoding.beam_search(
            partial(_step, network, memory),
            network.start(memory, num_beams, self.max_length),
            _rows_of(sources),
            self.max_length,
            begin=BOS,
            end=EOS,
            num_beams=num_beams,
            length_penalty=self.length_penalty,
        )
        return ids[:, 0], scores[:, 0]

    def translate(self, texts, num_beams=None, batch_size=64):
        """Translations of texts.

        Args:
            texts: List of n texts.
            num_beams: Of the beam search; None for the model's, 1 for the most likely token at each place.
            batch_size: Texts at a time.

        Returns:
            List of n texts.
        """
        num_beams = self.num_beams if num_beams is None else num_beams
        check_positive("num_beams", num_beams)

        def translate(texts):
            return self._translate(texts, num_beams)["translations"]

        return self._of_texts(f"translate {num_beams}", translate, texts, batch_size)

    def sample(self, texts, seed=0, temperature=1.0, top_k=None, batch_size=64):
        """Translations drawn at random, the same for the same seed.

        Args:
            texts: List of n texts.
            seed: Whole number; each text is given its own by its place.
            temperature: Above 0; 1 draws from the model, near 0 takes what is most likely, as `num_beams=1` of
                `translate` does.
            top_k: Draw among so many of the most likely tokens only; None for all.
            batch_size: Texts at a time.

        Returns:
            List of n texts.
        """
        check_number("temperature", temperature, 0, above=True)
        if top_k is not None:
            check_positive("top_k", top_k)
        count = len(texts_of("sample", texts))
        check_whole("seed", seed, low=-(2**62), high=2**62)

        def sample(texts, seeds, temperatures):
            return self._sample(texts, seeds, temperatures, top_k)["translations"]

        rows = (np.arange(seed, seed + count), np.full(count, temperature, "float32"))
        return self._of_texts(f"sample {top_k}", sample, texts, batch_size, *rows)

    def likelihood(self, sources, targets, batch_size=64):
        """How likely the network finds each target, given its source.

        Args:
            sources: List of n texts.
            targets: List of as many.
            batch_size: Pairs at a time.

        Returns:
            {"log_probabilities": log p(target | source), the end included, float32 (n,); "num_tokens": of the target,
            "num_right": how many of them were the most likely after those before them, int32 (n,)}.
        """
        return self._in_parts("likelihood", self._likelihood, batch_size, *self.encode(sources, targets))

    def score(self, sources, targets, batch_size=64):
        """log p(target | source) of each pair of texts, the end included, a float32 array (n,)."""
        return self.likelihood(sources, targets, batch_size)["log_probabilities"]

    def signatures(self):
        """What is served, from texts and from ids.

        `translate`, which is `serving_default` too: texts to translations and scores. `translate_ids`: ids as
        `source_vocabulary.encode` makes them, and how many of them count in each row. `sample`: texts, a seed and a
        temperature for each, at least 0, which takes the most likely token at each place; a request with another
        temperature fails. `score`: log p of targets given sources.
        """

        def of(**inputs):
            return {name: tf.TensorSpec((None, *shape), dtype) for name, (dtype, *shape) in inputs.items()}

        translate = (partial(_of_one, self._translate, self.num_beams), of(texts=(tf.string,)))
        ids = of(ids=(tf.int32, None), lengths=(tf.int32,))
        sample = of(texts=(tf.string,), seed=(tf.int64,), temperature=(tf.float32,))
        pairs = of(sources=(tf.string,), targets=(tf.string,))
        return {
            "serving_default": translate,
            "translate": translate,
            "translate_ids": (self._translate_ids, ids),
            "sample": (self._sample_served, sample),
            "score": (self._score_texts, pairs),
        }

    def warmup(self):
        """Requests that each version answers before it takes traffic: two texts of some tokens."""
        size = min(len(self.sources), len(self.targets)) - 1
        ids = np.minimum([[UNKNOWN + 1, UNKNOWN + 2, UNKNOWN + 3, EOS], [UNKNOWN + 2, EOS, PAD, PAD]], size)
        ids = ids.astype("int32")
        source, target = (np.array(one.decode(ids), dtype=object) for one in (self.sources, self.targets))
        seeds = {"seed": np.array([0, 1]), "temperature": np.ones(2, "float32")}
        return [
            ("serving_default", {"texts": source}),
            ("translate", {"texts": source}),
            ("translate_ids", {"ids": ids, "lengths": np.array([4, 2], "int32")}),
            ("sample", {"texts": source, **seeds}),
            ("score", {"sources": source, "targets": target}),
        ]

    def _translate(self, texts, num_beams):
        ids, _ = self.sources.ids_of(texts, self.max_length)
        found, scores = self.search(ids, num_beams)
        return {"translations": self.targets.texts_of(found), "scores": scores}

    def _translate_ids(self, ids, lengths):
        known = (ids >= 0) & (ids < len(self.sources))
        ids = tf.where(known, ids, UNKNOWN)
        # One column at least, and not more than the network is made for.
        ids = tf.concat([ids, tf.fill((tf.shape(ids)[0], 1), PAD)], 1)[:, : self.max_length]
        ids = tf.where(tf.range(tf.shape(ids)[1]) < lengths[:, None], ids, PAD)
        # Nothing is an empty text: its end alone, since attention needs a place to look at.
        ends = tf.where(tf.range(tf.shape(ids)[1]) == 0, EOS, PAD)
        ids = tf.where(tf.reduce_all(ids == PAD, axis=1, keepdims=True), ends, ids)
        found, scores = self.search(ids, self.num_beams)
        return {"ids": found, "lengths": tf.reduce_sum(tf.cast(found != PAD, tf.int32), 1), "scores": scores}

    def _sample(self, texts, seed, temperature, top_k):
        ids, _ = self.sources.ids_of(texts, self.max_length)
        memory = self.translator.encode(ids)
        found, scores = decoding.sample(
            partial(_step, self.translator, memory),
            self.translator.start(memory, 1, self.max_length),
            _keys_of(seed),
            self.max_length,
            begin=BOS,
            end=EOS,
            temperature=temperature,
            top_k=top_k,
        )
        return {"translations": self.targets.texts_of(found), "log_probabilities": scores}

    def _sample_served(self, texts, seed, temperature):
        is_good = tf.math.is_finite(temperature) & (temperature >= 0)
        wrong = tf.boolean_mask(temperature, ~is_good)
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(is_good), [_TEMPERATURE, wrong])]):
            return self._sample(texts, seed, tf.identity(temperature), None)

    def _score_texts(self, sources, targets):
        sources, _ = self.sources.ids_of(sources, self.max_length)
        targets, _ = self.targets.ids_of(targets, self.max_length)
        return self._likelihood(sources, targets)

    def _likelihood(self, sources, targets):
        logits = tf.cast(self.translator((sources, shifted(targets))), tf.float32)
        counts = targets != PAD
        right = counts & is_most_likely(targets, logits)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        return {
            "log_probabilities": -tf.reduce_sum(tf.where(counts, nats, 0.0), 1),
            "num_tokens": tf.reduce_sum(tf.cast(counts, tf.int32), 1),
            "num_right": tf.reduce_sum(tf.cast(right, tf.int32), 1),
        }

    def _of_texts(self, what, function, texts, batch_size, *others):
        """What a function of texts makes of a list, those of similar length together, in the order of the list."""
        texts = texts_of(what.split()[0], texts)
        order = np.argsort([len(text) for text in texts], kind="stable")
        found = self._in_parts(what, function, batch_size, *(one[order] for one in (texts, *others)))
        translations = np.empty(len(texts), dtype=object)
        translations[order] = found
        return [text.decode() for text in translations]

    def _in_parts(self, what, function, batch_size, *arrays):
        """Arrays that a function of rows makes, some rows at a time."""
        check_positive("batch_size", batch_size)
        if not len(arrays[0]):
            raise ValueError(f"`{what}` takes lists of texts, at least one in each. Received: none.")
        compiled = self.compiled_once(what, function)
        parts = [
            compiled(*(tf.convert_to_tensor(one[start : start + batch_size]) for one in arrays))
            for start in range(0, len(arrays[0]), batch_size)
        ]
        return tf.nest.map_structure(lambda *part: np.concatenate(part), *parts)


def _of_one(function, option, **inputs):
    return function(*inputs.values(), option)


def _keys_of(seeds):
    """Keys of 32 bits made of both halves of seeds."""
    return tf.bitwise.bitwise_and(tf.bitwise.bitwise_xor(seeds, tf.bitwise.right_shift(seeds, 32)), 0xFFFFFFFF)


def _rows_of(sources):
    return sources.shape[0] or tf.shape(sources)[0]


def _step(network, memory, tokens, position, cache):
    return network.step(tokens, position, memory, cache)


def is_most_likely(labels, logits, compiled=False):
    """Whether a label is what greedy decoding says: the first of the most likely tokens, as NumPy's `argmax`.

    Args:
        labels: int (batch, n).
        logits: (batch, n, K).
        compiled: Whether XLA compiles it, whose argmax takes several times as long as two comparisons.

    Returns:
        bool (batch, n).

    Example:
        >>> is_most_likely(tf.constant([[1, 0]]), tf.constant([[[0.0, 2.0], [0.0, 1.0]]])).numpy()
        array([[ True, False]])
    """
    if not compiled:
        return tf.argmax(logits, -1, labels.dtype) == labels
    own = tf.gather(logits, labels, axis=-1, batch_dims=2)[..., None]
    is_before = tf.range(logits.shape[-1], dtype=labels.dtype) < labels[..., None]
    return ~tf.reduce_any(tf.where(is_before, logits >= own, logits > own), -1)


def shifted(targets):
    """What comes before each of the targets.

    Example:
        >>> shifted(tf.constant([[7, 8, 2]])).numpy()  # 1 is the beginning
        array([[1, 7, 8]], dtype=int32)
    """
    return tf.concat([tf.fill((tf.shape(targets)[0], 1), tf.cast(BOS, targets.dtype)), targets[:, :-1]], 1)
