"""Sequence to sequence learning, regularised by optimal transport (Chen et al. 2019)."""

from functools import partial

import keras
import numpy as np
import tensorflow as tf

from zoo import decoding
from zoo.checks import check_choice, check_kind, check_number, check_positive, check_whole
from zoo.losses.sequence import sequence_transport, soft_embeddings, token_cross_entropy
from zoo.networks.sequences import SequenceNetwork
from zoo.schedules import WarmUpThenInverseRoot
from zoo.training import TrainStepModel, averaged, check_sequences, minimize, only_pairs, update_average
from zoo.vocabulary import BOS, EOS, PAD, UNKNOWN, Vocabulary

TRANSPORTS = {"ipot": 0.5, "sinkhorn": 0.1}
GENERATIONS = ("teacher_forced", "free_running")


@keras.saving.register_keras_serializable("zoo")
class Seq2Seq(TrainStepModel):
    """Translation by a network of tokens, whose sentences are also compared as a whole (Chen et al. 2019).

    L = L_MLE + gamma_1 L_copy + gamma_2 L_seq, equation 9: the cross-entropy per token, and the cost of transporting
    the soft embeddings softmax(logits / t) E of what the network says to the embeddings of the source (copy) and of the
    target (sequence), with cosine costs. Padding, beginnings and ends are left out of the transport.

    Args:
        network: `Transformer`, `RecurrentSeq2Seq`, or another `SequenceNetwork`.
        source_vocabulary: `zoo.vocabulary.Vocabulary` of `network.source_size` tokens.
        target_vocabulary: The same of targets; None if both share one, as the network does.
        label_smoothing: Of the cross-entropy in training, in [0, 1) (Vaswani et al. 2017: 0.1).
        copy_weight: gamma_1; above 0 it needs one shared vocabulary.
        sequence_weight: gamma_2.
        transport: "ipot", as in the paper, or "sinkhorn".
        transport_strength: beta of IPOT or epsilon of Sinkhorn; None for 0.5 or 0.1.
        transport_iterations: Iterations of either.
        transport_gradient: "envelope" holds the plan fixed, "unrolled" differentiates its iterations, as the paper's
            code does.
        transport_start: Training step from which the transport terms count.
        temperature: t of the soft embeddings, above 0.
        generation: What the network is given while it says the sequence that is compared: "teacher_forced", the target,
            which costs no further pass; or "free_running", its own most likely tokens, through whose choice no gradient
            passes.
        detach_embeddings: Whether the transport sees E as a constant, so that it moves what is said and not what
            words mean; otherwise its gradient reaches E on both sides too.
        num_beams: Of `translate` and the export.
        length_penalty: alpha of the beam search.
        max_length: Tokens of a source or translation at most, the end included; longer sources lose their end.
        network_ema: Decay of a moving average of the network, in [0, 1), which is then what translates and is exported;
            None for none.
        seed: Seed of all random draws in training, a whole number.

    `fit` takes ids of sources and targets, int (batch, n) and (batch, m), each row ending in EOS and padded with PAD, as
    `encode` makes them of texts: `fit(x, y)`, or a data set of batches (x, y). Losses per token are means over all
    tokens of the batch on all replicas. `evaluate` and `validation_data` give the terms without smoothing and dropout.

    Raises:
        ValueError: If network and vocabularies do not fit each other or an argument is out of range.

    Example:
        words = Vocabulary.learn(english + french, "subword", size=8000)
        model = Seq2Seq(Transformer(len(words), width=256), words, sequence_weight=0.1)
        model.compile()
        model.fit(*model.encode(english, french), epochs=10)
        model.translate(["a man sleeps"])  # ["un homme dort"]
    """

    optimizer_networks = {"optimizer": "network"}

    def __init__(
        self,
        network,
        source_vocabulary,
        target_vocabulary=None,
        *,
        label_smoothing=0.1,
        copy_weight=0.0,
        sequence_weight=0.0,
        transport="ipot",
        transport_strength=None,
        transport_iterations=50,
        transport_gradient="envelope",
        transport_start=0,
        temperature=1.0,
        generation="teacher_forced",
        detach_embeddings=True,
        num_beams=4,
        length_penalty=0.6,
        max_length=64,
        network_ema=None,
        seed=0,
        **kwargs,
    ):
        check_number("copy_weight", copy_weight, 0)
        check_number("sequence_weight", sequence_weight, 0)
        terms = ["cross_entropy"]
        terms += ["copy_loss"] * (copy_weight > 0) + ["sequence_loss"] * (sequence_weight > 0)
        super().__init__(seed=seed, terms=[*terms, "token_accuracy"], **kwargs)
        _check_fit_together(network, source_vocabulary, target_vocabulary)
        if copy_weight > 0 and not network.is_shared:
            raise ValueError(
                "`copy_weight` compares what is said with the embeddings of the source, so both need one vocabulary. "
                "Received: a network with two. Learn one vocabulary from both languages, or set copy_weight=0."
            )
        check_number("label_smoothing", label_smoothing, 0, below=1)
        check_choice("transport", transport, TRANSPORTS)
        strength = TRANSPORTS[transport] if transport_strength is None else transport_strength
        check_number("transport_strength", strength, 0, above=True)
        check_positive("transport_iterations", transport_iterations)
        check_choice("transport_gradient", transport_gradient, ("envelope", "unrolled"))
        check_whole("transport_start", transport_start, low=0)
        check_number("temperature", temperature, 0, above=True)
        check_choice("generation", generation, GENERATIONS)
        check_choice("detach_embeddings", detach_embeddings, (True, False))
        check_positive("num_beams", num_beams)
        check_number("length_penalty", length_penalty, 0)
        check_positive("max_length", max_length)
        self.network, self.network_ema = network, network_ema
        self.source_vocabulary, self.target_vocabulary = source_vocabulary, target_vocabulary
        self.label_smoothing, self.temperature = label_smoothing, temperature
        self.copy_weight, self.sequence_weight = copy_weight, sequence_weight
        self.transport, self.transport_strength = transport, transport_strength
        self.transport_iterations, self.transport_gradient = transport_iterations, transport_gradient
        self.transport_start, self.generation, self.detach_embeddings = transport_start, generation, detach_embeddings
        self.num_beams, self.length_penalty, self.max_length = num_beams, length_penalty, max_length
        self.translator = averaged(network, network_ema)
        # Where an export finds them.
        self.tables = [*self.sources.trackables, *self.targets.trackables]

    @property
    def sources(self):
        """`Vocabulary` of sources."""
        return self.source_vocabulary

    @property
    def targets(self):
        """`Vocabulary` of targets."""
        return self.target_vocabulary or self.source_vocabulary

    @property
    def transports(self):
        """Whether any transport term counts."""
        return self.copy_weight > 0 or self.sequence_weight > 0

    def default_optimizer(self):
        """Adam with warm-up, as in Vaswani et al. 2017, section 5.3."""
        rate = WarmUpThenInverseRoot(self.network.width)
        return keras.optimizers.Adam(rate, beta_1=0.9, beta_2=0.98, epsilon=1e-9)

    def objective(self, sources, targets, generated, keys, scale, training=True):
        """The terms per row, and the number of tokens that are right.

        Args:
            sources: int (rows, n).
            targets: int (rows, m).
            generated: What is said freely, int (rows, m); the targets again if nothing is.
            keys: Of dropout, int64 (rows,).
            scale: Number that makes the mean over rows one over tokens, (rows,).
            training: Whether there is dropout and smoothing.
        """
        memory = self.network.encode(sources, training=training, keys=keys)

        def said_after(tokens):
            logits = self.network.decode(_shifted(tokens), memory, training=training, keys=keys)
            return tf.cast(logits, tf.float32)

        logits, counts = said_after(targets), targets != PAD
        nats = token_cross_entropy(targets, logits, self.label_smoothing if training else 0.0)
        terms = {"cross_entropy": tf.reduce_sum(tf.where(counts, nats, 0.0), 1) * scale}
        right = counts & (tf.argmax(logits, -1, targets.dtype) == targets)
        if self.transports:
            heard = said_after(generated) if self.generation == "free_running" else logits
            terms |= self.transport_terms(sources, targets, heard, generated)
        return {**terms, "right": tf.reduce_sum(tf.cast(right, tf.float32), 1)}

    def transport_terms(self, sources, targets, logits, said):
        """Weighted costs of transporting what is said to source and target, {name: (rows,)}."""
        embeddings = tf.cast(tf.convert_to_tensor(self.network.target_embedding.embeddings), tf.float32)
        embeddings = tf.stop_gradient(embeddings) if self.detach_embeddings else embeddings

        def costs():
            soft = soft_embeddings(logits, embeddings, self.temperature)
            found = {}
            for name, weight, meant in (
                ("copy_loss", self.copy_weight, sources),
                ("sequence_loss", self.sequence_weight, targets),
            ):
                if weight > 0:
                    cost = sequence_transport(
                        soft,
                        tf.gather(embeddings, meant),
                        _words(said),
                        _words(meant),
                        method=self.transport,
                        strength=self.transport_strength or TRANSPORTS[self.transport],
                        num_iterations=self.transport_iterations,
                        gradient=self.transport_gradient,
                    )
                    found[name] = weight * cost
            return found

        if not self.transport_start:
            return costs()
        nothing = {
            name: tf.zeros_like(logits[:, 0, 0]) for name in ("copy_loss", "sequence_loss") if name in self.terms
        }
        return tf.cond(self.step.value >= self.transport_start, costs, lambda: nothing)

    def train_step(self, pairs):
        """One update of the network."""
        sources, targets = pairs
        batch = self.open_batch(sources)
        generated = targets
        if self.transports and self.generation == "free_running":
            generated, _ = self.speak(self.network, sources, tf.shape(targets)[1])
        inputs = (sources, targets, generated, batch.keys("dropout"), self.scale(batch, targets))
        found = minimize(self.objective, inputs, self.network, self.optimizer, batch, keep=("right",))
        if self.network_ema is not None:
            update_average(self.translator, self.network, self.network_ema, self.step)
        return self.track(batch, **self.per_token(batch, targets, found))

    def test_step(self, pairs):
        """The terms, of what the network says of targets that it is given, without dropout and smoothing."""
        sources, targets = pairs
        batch = self.open_batch(sources)
        scale = self.scale(batch, targets)
        found = self.objective(sources, targets, targets, None, scale, training=False)
        rows = tf.cast(batch.num_rows, tf.float32)
        right = found.pop("right")
        means = {name: tf.math.divide_no_nan(tf.reduce_sum(value), rows) for name, value in found.items()}
        found = {**means, "right": right}
        return self.observe(batch, **self.per_token(batch, targets, found))

    def scale(self, batch, targets):
        """Rows over tokens of the whole batch, for each row, (rows,)."""
        tokens = batch.total(tf.reduce_sum(tf.cast(targets != PAD, tf.float32), 1))
        return tf.fill((batch.num_rows,), tf.cast(batch.size, tf.float32) / tokens)

    def per_token(self, batch, targets, found):
        """What `observe` takes: cross-entropy and accuracy as means over this replica's tokens, weighted by these."""
        tokens = tf.reduce_sum(tf.cast(targets != PAD, tf.float32))
        rows = tf.cast(batch.num_rows, tf.float32)
        found = dict(found)
        right = tf.reduce_sum(found.pop("right"))
        nats = found["cross_entropy"] * rows / self.scale(batch, targets)[0]
        found["cross_entropy"], found["token_accuracy"] = (
            tf.math.divide_no_nan(total, tokens) for total in (nats, right)
        )
        return {**found, "weights": {"cross_entropy": tokens, "token_accuracy": tokens}}

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

    def call(self, pairs, training=False):
        """Logits (batch, m, tokens) of each of the targets, from (sources, targets)."""
        sources, targets = pairs
        return self.network((sources, _shifted(targets)), training=training)

    def encode(self, sources, targets):
        """Ids of texts, int32 arrays (n, longest source) and (n, longest target), as `fit` takes them.

        Args:
            sources: List of n texts.
            targets: List of as many.
        """
        if len(sources) != len(targets):
            raise ValueError(
                f"Each source needs its target. Received: {len(sources)} sources and {len(targets)} targets."
            )
        return self.sources.encode(sources, self.max_length), self.targets.encode(targets, self.max_length)

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
            temperature: Above 0; 1 draws from the model, near 0 takes what is most likely.
            top_k: Draw among so many of the most likely tokens only; None for all.
            batch_size: Texts at a time.

        Returns:
            List of n texts.
        """
        check_whole("seed", seed, low=-(2**62), high=2**62)
        check_number("temperature", temperature, 0, above=True)

        def sample(texts, seeds, temperatures):
            return self._sample(texts, seeds, temperatures, top_k)["translations"]

        count = len(texts)
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

    def plans(self, sources, targets):
        """How what is said, with the target given, is transported to the target.

        Args:
            sources: List of n texts.
            targets: List of as many.

        Returns:
            List of n (plan (k, k), the k tokens of the target): row i is the i-th place of what is said.
        """
        from zoo import ot

        x, y = self.encode(sources, targets)
        logits = tf.cast(self.translator((x, _shifted(tf.constant(y)))), tf.float32)
        embeddings = tf.cast(tf.convert_to_tensor(self.translator.target_embedding.embeddings), tf.float32)
        mask = _words(tf.constant(y))
        cost = ot.cosine(soft_embeddings(logits, embeddings, self.temperature), tf.gather(embeddings, y))
        plans = ot.ipot(cost, source_mask=mask, target_mask=mask).plan.numpy()
        counts = mask.numpy().sum(1)
        return [
            (plan[:count, :count], [self.targets.tokens[token] for token in ids[:count]])
            for plan, ids, count in zip(plans, y, counts, strict=True)
        ]

    def signatures(self):
        """What is served, from texts and from ids.

        `translate`, which is `serving_default` too: texts to translations and scores. `translate_ids`: ids as
        `source_vocabulary.encode` makes them, and how many of them count in each row. `sample`: texts, a seed and a
        temperature for each. `score`: log p of targets given sources.
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
        ids = tf.where(tf.range(tf.shape(ids)[1]) < tf.maximum(lengths, 1)[:, None], ids, PAD)
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
        return self._sample(texts, seed, temperature, None)

    def _score_texts(self, sources, targets):
        sources, _ = self.sources.ids_of(sources, self.max_length)
        targets, _ = self.targets.ids_of(targets, self.max_length)
        return self._likelihood(sources, targets)

    def _likelihood(self, sources, targets):
        logits = tf.cast(self.translator((sources, _shifted(targets))), tf.float32)
        counts = targets != PAD
        right = counts & (tf.argmax(logits, -1, targets.dtype) == targets)
        return {
            "log_probabilities": -tf.reduce_sum(tf.where(counts, token_cross_entropy(targets, logits), 0.0), 1),
            "num_tokens": tf.reduce_sum(tf.cast(counts, tf.int32), 1),
            "num_right": tf.reduce_sum(tf.cast(right, tf.int32), 1),
        }

    def _of_texts(self, what, function, texts, batch_size, *others):
        """What a function of texts makes of a list, those of similar length together, in the order of the list."""
        if isinstance(texts, (str, bytes)) or not len(texts):
            raise ValueError(f"`{what.split()[0]}` takes a list of texts, at least one. Received: {texts!r}.")
        texts = np.array(list(texts), dtype=object)
        order = np.argsort([len(text) for text in texts], kind="stable")
        found = self._in_parts(what, function, batch_size, *(one[order] for one in (texts, *others)))
        translations = np.empty(len(texts), dtype=object)
        translations[order] = found
        return [text.decode() for text in translations]

    def _in_parts(self, what, function, batch_size, *arrays):
        """Arrays that a function of rows makes, some rows at a time."""
        check_positive("batch_size", batch_size)
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


def _shifted(targets):
    """What comes before each of the targets."""
    return tf.concat([tf.fill((tf.shape(targets)[0], 1), tf.cast(BOS, targets.dtype)), targets[:, :-1]], 1)


def _words(ids):
    """Which ids are no padding, beginning or end."""
    return (ids != PAD) & (ids != BOS) & (ids != EOS)


def _check_fit_together(network, source_vocabulary, target_vocabulary):
    check_kind("network", network, SequenceNetwork, "a `SequenceNetwork`, such as `zoo.Transformer`")
    check_kind("source_vocabulary", source_vocabulary, Vocabulary, "a `zoo.vocabulary.Vocabulary`")
    if target_vocabulary is not None:
        check_kind("target_vocabulary", target_vocabulary, Vocabulary, "a `zoo.vocabulary.Vocabulary`")
    if network.is_shared != (target_vocabulary is None):
        raise ValueError(
            f"Network and vocabularies do not fit: the network has {1 if network.is_shared else 2} of them, which both "
            f"sides share if it is one. Received: {1 if target_vocabulary is None else 2}. Give the network the size of "
            "one vocabulary, or the sizes of both."
        )
    for side, vocabulary, size in (
        ("source", source_vocabulary, network.source_size),
        ("target", target_vocabulary, network.target_size),
    ):
        if vocabulary is not None and len(vocabulary) != size:
            raise ValueError(
                f"The vocabulary of the {side}s does not match the weights: the network has {size} embeddings. Received: "
                f"{len(vocabulary)} tokens. Use the vocabulary that the network was made for."
            )
