"""Sequence to sequence learning, regularised by optimal transport (Chen et al. 2019)."""

import keras
import tensorflow as tf

from zoo import ot
from zoo.checks import check_choice, check_kind, check_number, check_positive, check_whole
from zoo.losses.categorical import cross_entropy
from zoo.losses.sequence import sequence_transport, soft_embeddings
from zoo.networks.sequences import SequenceNetwork
from zoo.schedules import WarmUpThenInverseRoot
from zoo.training import TextModel, averaged, is_most_likely, minimize, shifted, update_average
from zoo.vocabulary import BOS, EOS, PAD, Vocabulary

TRANSPORTS = {"ipot": 0.5, "sinkhorn": 0.1}
GENERATIONS = ("teacher_forced", "free_running")


@keras.saving.register_keras_serializable("zoo")
class Seq2Seq(TextModel):
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
            words mean; otherwise its gradient reaches E on both sides too. Ours: the paper's equations hold nothing
            but the plan fixed.
        num_beams: Of `translate` and the export.
        length_penalty: alpha of the beam search.
        max_length: Tokens of a source or translation at most, the end included; longer sources lose their end.
        network_ema: Decay of a moving average of the network, in [0, 1), which is then what translates and is exported;
            None for none.
        seed: Seed of all random draws in training, a whole number.

    `fit` takes ids of sources and targets, int (batch, n) and (batch, m), each row with EOS at its end and PAD behind,
    as `encode` makes them of texts: `fit(x, y)`, or a data set of batches (x, y). Losses per token are means over all
    tokens of the batch on all replicas. `evaluate` and `validation_data` give the terms without smoothing and dropout.

    Raises:
        ValueError: If network and vocabularies do not fit each other or an argument is out of range.

    Example:
        >>> words = Vocabulary.learn(["a man sleeps", "un homme dort"])
        >>> model = Seq2Seq(Transformer(len(words), width=8, num_layers=1, num_heads=2, hidden=16), words)
        >>> model.encode(["a man sleeps"], ["un homme dort"])
        (array([[4, 7, 8, 2]], dtype=int32), array([[9, 6, 5, 2]], dtype=int32))

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
            logits = self.network.decode(shifted(tokens), memory, training=training, keys=keys)
            return tf.cast(logits, tf.float32)

        logits, counts = said_after(targets), targets != PAD
        nats = cross_entropy(targets, logits, self.label_smoothing if training else 0.0)
        nats = tf.reduce_sum(tf.where(counts, nats, 0.0), 1)
        terms = {"cross_entropy": nats * scale}
        right = counts & is_most_likely(targets, logits, compiled=self.compiled and bool(self.jit_compile))
        if self.transports:
            heard = said_after(generated) if self.generation == "free_running" else logits
            terms |= self.transport_terms(sources, targets, heard, generated)
        return {**terms, "nats": nats, "right": tf.reduce_sum(tf.cast(right, tf.float32), 1)}

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
                        # Within a compiled step it is a part of that; a function of its own could not be nested in it.
                        jit_compile=not self.jit_compile,
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
        found = minimize(self.objective, inputs, self.network, self.optimizer, batch, keep=("nats", "right"))
        if self.network_ema is not None:
            update_average(self.translator, self.network, self.network_ema, self.step)
        return self.track(batch, **self.per_token(targets, found))

    def test_step(self, pairs):
        """The terms, of what the network says of targets that it is given, without dropout and smoothing."""
        sources, targets = pairs
        batch = self.open_batch(sources)
        scale = self.scale(batch, targets)
        found = self.objective(sources, targets, targets, None, scale, training=False)
        rows = tf.cast(batch.num_rows, tf.float32)
        kept = {name: found.pop(name) for name in ("nats", "right")}
        means = {name: tf.math.divide_no_nan(tf.reduce_sum(value), rows) for name, value in found.items()}
        return self.observe(batch, **self.per_token(targets, {**means, **kept}))

    def scale(self, batch, targets):
        """Rows over tokens of the whole batch, for each row, (rows,)."""
        tokens = batch.total(tf.reduce_sum(tf.cast(targets != PAD, tf.float32), 1))
        return tf.fill((batch.num_rows,), tf.cast(batch.size, tf.float32) / tokens)

    def per_token(self, targets, found):
        """What `observe` takes: cross-entropy and accuracy as means over this replica's tokens, weighted by these."""
        tokens = tf.reduce_sum(tf.cast(targets != PAD, tf.float32))
        found = dict(found)
        for name, kept in (("cross_entropy", "nats"), ("token_accuracy", "right")):
            found[name] = tf.math.divide_no_nan(tf.reduce_sum(found.pop(kept)), tokens)
        return {**found, "weights": {"cross_entropy": tokens, "token_accuracy": tokens}}

    def call(self, pairs, training=False):
        """Logits (batch, m, tokens) of each of the targets, from (sources, targets)."""
        sources, targets = pairs
        return self.network((sources, shifted(targets)), training=training)

    def plans(self, sources, targets):
        """How what is said, with the target given, is transported to the target.

        Args:
            sources: List of n texts.
            targets: List of as many.

        Returns:
            List of n (plan (k, k), the k tokens of the target): row i is the i-th place of what is said.
        """
        x, y = self.encode(sources, targets)
        logits = tf.cast(self.translator((x, shifted(tf.constant(y)))), tf.float32)
        embeddings = tf.cast(tf.convert_to_tensor(self.translator.target_embedding.embeddings), tf.float32)
        mask = _words(tf.constant(y))
        cost = ot.cosine(soft_embeddings(logits, embeddings, self.temperature), tf.gather(embeddings, y))
        plans = ot.ipot(cost, source_mask=mask, target_mask=mask).plan.numpy()
        counts = mask.numpy().sum(1)
        return [
            (plan[:count, :count], [self.targets.tokens[token] for token in ids[:count]])
            for plan, ids, count in zip(plans, y, counts, strict=True)
        ]


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
            f"Network and vocabularies do not fit: the network is made for {1 if network.is_shared else 2} of them. "
            f"Received: {1 if target_vocabulary is None else 2}. Give the network the size of one vocabulary that both "
            "sides share, or the sizes of both."
        )
    for side, vocabulary, size in (
        ("source", source_vocabulary, network.source_size),
        ("target", target_vocabulary, network.target_size),
    ):
        if vocabulary is not None and len(vocabulary) != size:
            raise ValueError(
                f"The vocabulary of the {side}s does not match the weights: the network has {size} embeddings. "
                f"Received: {len(vocabulary)} tokens. Use the vocabulary that the network was made for."
            )
