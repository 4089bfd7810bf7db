"""Seq2Seq: its terms against NumPy, training on any execution, translations, exports, and what it refuses."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.examples import ids_of
from tests.helpers.seeds import seed
from zoo import RecurrentSeq2Seq, Seq2Seq, Transformer, Vocabulary
from zoo.serving.loader.isolated import run_all
from zoo.training import is_most_likely

SIZE, END = 14, 2
TEXTS = ["w1 w2 w3", "", "w4", "w5 something w6 w7 w8 w9", "w0 w1", "w9 w8 w7 w6"]


def words(size=SIZE, letter="w"):
    return Vocabulary(["<pad>", "<s>", "</s>", "<unk>", *(f"\u2581{letter}{index}" for index in range(size - 4))])


def network_of(kind="transformer", sizes=(SIZE,), width=8, **options):
    if kind == "recurrent":
        return RecurrentSeq2Seq(*sizes, width=width, dropout=0.0, **options)
    options = {"num_layers": 1, "num_heads": 2, "hidden": 2 * width, "norm_first": True, "dropout": 0.0, **options}
    return Transformer(*sizes, width=width, **options)


def varied(network):
    """With weights so large that what is said differs from text to text."""
    for weight in network.weights:
        if len(weight.shape) == 2 and "embeddings" not in weight.path:
            weight.assign(4 * weight)
    return network


def small(network=None, *vocabularies, **options):
    options = {"transport_iterations": 5, "max_length": 8, "num_beams": 2, **options}
    return Seq2Seq(network or network_of(), *vocabularies or (words(),), **options)


@pytest.fixture(scope="module")
def speaker():
    """Whose weights stay: what it compiles to translate, sample and score is there for every test that asks it."""
    seed()
    return small(varied(network_of()))


def pairs(count=7, seed=0, tokens=SIZE):
    """Sources of 2 to 5 tokens and targets of others, their ends and padding."""
    return tuple(ids_of(tokens, (6,), count, seed + side) for side in range(2))


def log_softmax(x):
    x = x.astype("float64")
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def nats_of(model, x, y):
    """-log p of each token of the targets, and which of them count."""
    told = log_softmax(model((x, y)).numpy())
    return -np.take_along_axis(told, y[..., None], -1)[..., 0] * (y != 0), y != 0


def transport_by_hand(logits, meant, said, embeddings, iterations, temperature):
    """<P, C> of one pair without what is no word, by Xie et al. 2019, algorithm 1, with beta = 0.5."""
    soft = np.exp(log_softmax(logits / temperature)) @ embeddings
    rows, columns = soft[said > END], embeddings[meant[meant > END]]
    unit_rows, unit_columns = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (rows, columns))
    cost = 1 - unit_rows @ unit_columns.T
    plan, sigma = np.ones_like(cost), np.ones(len(columns))
    for _ in range(iterations):
        Q = np.exp(-cost / 0.5) * plan
        delta = 1 / len(rows) / (Q @ sigma)
        sigma = 1 / len(columns) / (Q.T @ delta)
        plan = delta[:, None] * Q * sigma
    return (plan * cost).sum()


@pytest.mark.exhaustive
def test_evaluate_gives_the_weighted_terms_over_tokens_and_rows():
    """NumPy from the logits, in two batches of unequal numbers of tokens and rows, without label smoothing."""
    model = small(copy_weight=0.3, sequence_weight=0.7, temperature=0.8, label_smoothing=0.1)
    model.compile()
    x, y = pairs(7)
    found = model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    nats, counts = nats_of(model, x, y)
    right = (model((x, y)).numpy().argmax(-1) == y) & counts
    embeddings = model.network.target_embedding.embeddings.numpy().astype("float64")
    logits = model((x, y)).numpy()
    costs = {
        name: np.mean([transport_by_hand(*row, embeddings, 5, 0.8) for row in zip(logits, meant, y, strict=True)])
        for name, meant in (("copy_loss", x), ("sequence_loss", y))
    }
    expected = {
        "cross_entropy": nats.sum() / counts.sum(),
        "copy_loss": 0.3 * costs["copy_loss"],
        "sequence_loss": 0.7 * costs["sequence_loss"],
        "token_accuracy": right.sum() / counts.sum(),
    }
    assert tuple(expected) == model.terms and len(set(counts.sum(1))) > 1
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_right_is_what_numpy_calls_the_most_likely_also_among_equals(kind, jit_compile, compiled):
    """Scores of few values, so that most places have several that are the highest: `argmax` takes the first."""
    rng = np.random.default_rng(0)
    logits, labels = rng.integers(0, 3, (5, 7, 6)).astype("float32"), rng.integers(0, 6, (5, 7)).astype("int32")
    ties = (logits == logits.max(-1, keepdims=True)).sum(-1) > 1
    assert ties.mean() > 0.5
    right = tf.function(is_most_likely, jit_compile=jit_compile, autograph=False)(
        labels, tf.cast(logits, kind), compiled
    )
    np.testing.assert_array_equal(right, logits.argmax(-1) == labels)


def test_training_and_test_count_the_same_tokens_as_right():
    """A network that finds all tokens equally likely says token 0, and is right nowhere, by both figures."""
    model = small()
    model.compile()
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    x, y = pairs(4)
    assert model.evaluate(x, y, verbose=0, return_dict=True)["token_accuracy"] == 0
    texts = [model.targets.decode(y[row : row + 1])[0] for row in range(4)]
    assert model.likelihood(texts, texts)["num_right"].sum() == 0


@pytest.mark.exhaustive
def test_an_epoch_logs_the_mean_over_its_tokens_with_smoothing(two_replicas):
    """Batches of 4, 4 and 3 rows of unequal lengths; q = 0.9 onehot + 0.1 / K. Two replicas get tokens unequally."""
    x, y = pairs(11)
    with two_replicas.scope():
        model = small(label_smoothing=0.1)
        model.compile(keras.optimizers.SGD(0.0))
    logs = model.fit(x, y, batch_size=4, shuffle=False, verbose=0).history
    logits, counts = model((x, y)).numpy(), y != 0
    told, right = log_softmax(logits), (logits.argmax(-1) == y) & counts
    nats = -0.9 * np.take_along_axis(told, y[..., None], -1)[..., 0] - 0.1 * told.mean(-1)
    sums = np.array([[nats[start : start + 4][counts[start : start + 4]].mean()] for start in (0, 4, 8)])
    assert abs(sums.mean() - nats[counts].mean()) > 1e-3, "the mean over batches would do as well"
    assert logs["cross_entropy"][0] == pytest.approx(nats[counts].mean(), rel=1e-5)
    assert logs["token_accuracy"][0] == pytest.approx(right.sum() / counts.sum(), rel=1e-5)


@pytest.mark.exhaustive
def test_transport_counts_from_its_first_step_on():
    model = small(sequence_weight=0.5, copy_weight=0.5, transport_start=2)
    model.compile(keras.optimizers.SGD(0.0))
    logs = model.fit(*pairs(4), epochs=4, batch_size=4, verbose=0).history
    for name in ("copy_loss", "sequence_loss"):
        assert logs[name][:2] == [0, 0] and logs[name][2] > 0.01, (name, logs[name])
        assert logs[name][3] == pytest.approx(logs[name][2]), name


@pytest.mark.exhaustive
def test_free_running_compares_what_the_network_says_of_its_own_tokens_on_any_execution(two_replicas):
    """The term in NumPy: logits after the network's greedy tokens, of which those are left out that are no words.

    One step of SGD from the same weights, whose rows are 4 and 3 on two replicas.
    """
    (x, y), start, found = pairs(7), None, {}
    for name, scope, options in (("plain", None, {}), ("xla", None, {"jit_compile": True}), ("two", two_replicas, {})):
        with (scope or tf.distribute.get_strategy()).scope():
            model = small(sequence_weight=1.0, generation="free_running", transport_iterations=3)
            start = start or model.get_weights()
            model.set_weights(start)
            model.compile(keras.optimizers.SGD(0.5), **options)
        loss = model.fit(x, y, batch_size=7, shuffle=False, verbose=0).history["sequence_loss"]
        found[name] = [*model.network.get_weights(), loss]
    for name in ("xla", "two"):
        for one, other in zip(found["plain"], found[name], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5, err_msg=name)
    model.set_weights(start)
    embeddings = model.network.target_embedding.embeddings.numpy().astype("float64")
    assert np.abs(found["plain"][0] - embeddings).max() > 1e-3
    said = model.speak(model.network, tf.constant(x), y.shape[1])[0].numpy()

    def cost(said):
        rows = zip(model((x, said)).numpy(), y, said, strict=True)
        return np.mean([transport_by_hand(*row, embeddings, 3, 1.0) if (row[2] > END).any() else 0.0 for row in rows])

    assert found["plain"][-1][0] == pytest.approx(cost(said), rel=1e-4)
    assert abs(cost(said) - cost(y)) > 1e-4


@pytest.mark.parametrize("detach", [True, False])
def test_detached_embeddings_get_the_gradient_of_what_is_said_alone(detach):
    """Finite differences of the value: the embeddings move for the network, and for the costs only if not detached.

    Unrolled iterations, so that the gradient is that of the value, and a network without kinks; all in float32, hence
    the tolerance.
    """
    model = small(network_of("recurrent"), sequence_weight=1.0, detach_embeddings=detach, transport_gradient="unrolled")
    x, y = (tf.constant(side) for side in pairs(4))
    embeddings = model.network.target_embedding.embeddings
    start, direction = embeddings.numpy(), np.random.default_rng(0).normal(size=(SIZE, 8)).astype("float32")
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model.transport_terms(x, y, model((x, y)), y)["sequence_loss"])
    gradient = tf.convert_to_tensor(tape.gradient(total, embeddings.value))
    found = []
    for move in (0.01, -0.01):
        embeddings.assign(start + move * direction)
        logits = model((x, y))
        if detach:
            embeddings.assign(start)
        found.append(tf.reduce_sum(model.transport_terms(x, y, logits, y)["sequence_loss"]).numpy())
    slope = (found[0] - found[1]) / 0.02
    assert abs(slope) > 0.01
    assert tf.reduce_sum(gradient * direction).numpy() == pytest.approx(slope, rel=0.02)


def test_likelihoods_are_sums_over_tokens(speaker):
    model = speaker
    sources, targets = TEXTS[:4], ["w3 w2", "w1", "", "w4 w5 w6 unknown w1 w1 w1 w1 w1 w1"]
    x, y = model.encode(sources, targets)
    assert y.shape == (4, 8)
    nats, counts = nats_of(model, x, y)
    found = model.likelihood(sources, targets, batch_size=3)
    np.testing.assert_allclose(found["log_probabilities"], -nats.sum(1), rtol=1e-5)
    np.testing.assert_array_equal(found["num_tokens"], counts.sum(1))
    right = (model((x, y)).numpy().argmax(-1) == y) & counts
    np.testing.assert_array_equal(found["num_right"], right.sum(1))
    np.testing.assert_allclose(model.score(sources, targets), -nats.sum(1), rtol=1e-5)


@pytest.mark.parametrize("kind", [pytest.param("transformer", marks=pytest.mark.exhaustive), "recurrent"])
def test_translations_keep_their_order_whatever_the_texts_are(kind, speaker):
    """Empty, unknown and overlong ones among them; one beam is the most likely token at each place."""
    model = speaker if kind == "transformer" else small(varied(network_of(kind)))
    texts = [*TEXTS, "w1 " * 50, "\u00e9\u4e2d " * 3]
    together = model.translate(texts, batch_size=3)
    assert len(together) == len(texts) and all(isinstance(text, str) for text in together)
    assert len(set(together)) > 2
    assert model.translate(texts[::-1], batch_size=3) == together[::-1]
    assert model.translate(texts[3:4]) == together[3:4]
    ids, _ = model.speak(model.network, tf.constant(model.sources.encode(texts, 8)), 8)
    assert model.translate(texts, num_beams=1) == model.targets.decode(ids)


def test_a_beam_finds_what_is_at_least_as_likely(speaker):
    """The first beam's score is log p of its tokens over ((5 + n) / 6)^0.6, and no worse than that of greedy."""
    model = speaker
    x = tf.constant(model.sources.encode(TEXTS, 8))
    ids, scores = model.search(x, 4)
    ids = ids.numpy()
    nats, counts = nats_of(model, x.numpy(), ids)
    np.testing.assert_allclose(scores, -nats.sum(1) / ((5 + counts.sum(1)) / 6) ** 0.6, rtol=1e-4)
    # Of 14^8 sequences four beams may miss the best, but not on average.
    assert scores.numpy().mean() >= model.search(x, 1)[1].numpy().mean() - 1e-5


def test_samples_repeat_by_seed_and_belong_to_their_place(speaker):
    model = speaker
    first = model.sample(TEXTS, seed=3)
    assert model.sample(TEXTS, seed=3, batch_size=2) == first
    assert model.sample(TEXTS[2:], seed=5) == first[2:]
    assert model.sample(TEXTS, seed=4) != first
    assert model.sample(TEXTS, temperature=1e-4) == model.translate(TEXTS, num_beams=1)


def test_plans_move_each_place_of_what_is_said_to_words():
    """Rows and columns of a plan of k words sum to 1 / k."""
    plans = small().plans(["w1 w2", "w3", "w1"], ["w4 w5 w6", "", "w7"])
    assert [tokens for _, tokens in plans] == [["\u2581w4", "\u2581w5", "\u2581w6"], [], ["\u2581w7"]]
    assert [plan.shape for plan, _ in plans] == [(3, 3), (0, 0), (1, 1)]
    np.testing.assert_allclose(plans[0][0].sum(0), np.full(3, 1 / 3), atol=1e-5)
    np.testing.assert_allclose(plans[0][0].sum(1), np.full(3, 1 / 3), atol=1e-3)


@pytest.mark.exhaustive
def test_export_answers_for_texts_and_for_ids_of_any_kind(tmp_path, speaker):
    """A loader without Python, against the model in memory.

    Rows: plain; the same with other padding; no id at all of a vocabulary; more than the model takes; no tokens, by
    their number and by what they are.
    """
    model = speaker
    model.export(tmp_path / "1")
    ids = np.array(
        [
            [5, 6, 2, 0, 0, 0, 0, 0, 0],
            [5, 6, 2, 9, 77, -5, 1, 2, 3],
            [-1, 14, 2, 0, 0, 0, 0, 0, 0],
            [7, 7, 7, 7, 7, 7, 7, 7, 7],
            [9, 9, 9, 9, 9, 9, 9, 9, 9],
            [0, 0, 0, 0, 0, 0, 0, 0, 0],
            [8, 9, 2, 0, 0, 0, 0, 0, 0],
        ],
        "int32",
    )
    texts = ["w1 w2", "w1 w2", "one two", "w3 " * 50, "", "", ""]
    asked = [
        ("translate_ids", {"ids": ids, "lengths": np.int32([3, 3, 3, 9, 0, 4, -1])}),
        ("translate", {"texts": np.array([text.encode() for text in texts], dtype=object)}),
        ("sample", asked_for_samples(1, 1, 1, 1, 1, -1)),
    ]
    _, (found, told, failed) = run_all(tmp_path / "1", asked)
    np.testing.assert_array_equal(found["ids"][0], found["ids"][1])
    assert found["scores"][0] == pytest.approx(found["scores"][1], abs=1e-6)
    told = [text.decode() for text in told["translations"]]
    assert told == model.translate(texts)
    assert "`temperature` must be a finite number of at least 0 for each text" in str(failed)
    assert isinstance(failed, Exception)
    decoded = model.targets.decode(found["ids"])
    assert decoded[:3] == told[:3] and decoded[4:] == told[4:]
    assert len(set(decoded)) > 3
    np.testing.assert_array_equal(found["lengths"], (found["ids"] != 0).sum(1))


def asked_for_samples(*temperatures):
    texts = np.array([text.encode() for text in TEXTS], dtype=object)
    return {"texts": texts, "seed": np.arange(len(texts)), "temperature": np.array(temperatures, "float32")}


def test_what_is_served_refuses_temperatures_that_mean_nothing_and_is_greedy_at_0(speaker):
    """0 is what the most likely token at each place says; a request with a negative number or NaN fails."""
    model = speaker
    sample = tf.function(model.signatures()["sample"][0], autograph=False)

    def texts(*temperatures):
        given = {key: tf.constant(value) for key, value in asked_for_samples(*temperatures).items()}
        return [text.decode() for text in sample(**given)["translations"].numpy()]

    cold, greedy = [0.0] * len(TEXTS), model.translate(TEXTS, num_beams=1)
    assert texts(*cold) == greedy
    assert texts(*cold[1:], 1.0)[:-1] == greedy[:-1]
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(tf.errors.InvalidArgumentError, match="`temperature` must be a finite number of at least 0"):
            texts(*cold[1:], wrong)


@pytest.mark.parametrize("width", [0, 1, 20])
def test_no_ids_are_an_empty_text(width, speaker):
    """Whatever their padded length, which would otherwise count where attention finds nothing."""
    model = speaker
    translate_ids = model.compiled_once("ids", model.signatures()["translate_ids"][0])
    found = translate_ids(tf.zeros((2, width), tf.int32), tf.constant([0, width]))
    expected = model.translate([""])
    assert model.targets.decode(found["ids"]) == expected * 2


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["transformer", "recurrent"])
def test_it_learns_to_copy_and_to_translate_word_by_word(kind):
    """A Transformer one vocabulary and the copy term, a recurrent network two: w3 w1 w2 becomes v3 v1 v2."""
    rng = np.random.default_rng(0)
    shared = kind == "transformer"
    network = network_of(kind, (SIZE,) if shared else (SIZE, SIZE), width=32)
    options = {"copy_weight": 0.1} if shared else {"sequence_weight": 0.1}
    model = small(network, words(), None if shared else words(letter="v"), **options)
    sources = [" ".join(f"w{index}" for index in rng.integers(0, SIZE - 4, 3)) for _ in range(512)]
    targets = [text if shared else text.replace("w", "v") for text in sources]
    model.compile(keras.optimizers.Adam(0.01))
    x, y = model.encode(sources, targets)
    model.fit(x[:448], y[:448], batch_size=64, epochs=20, verbose=0)
    assert model.evaluate(x[448:], y[448:], verbose=0, return_dict=True)["token_accuracy"] > 0.99
    found = model.translate(sources[448:])
    assert np.mean([one == other for one, other in zip(found, targets[448:], strict=True)]) > 0.95
    # What is known to be right is more likely than what is not.
    assert np.all(model.score(sources[448:], targets[448:]) > model.score(sources[448:], targets[447:-1]) - 1e-6)


def test_the_papers_optimizer_is_the_default():
    """Vaswani et al. 2017, section 5.3: beta_2 of 0.98, and 4000 updates of warm-up to the highest rate."""
    model = small()
    model.compile()
    config = model.optimizer.get_config()
    assert (config["beta_1"], config["beta_2"], config["epsilon"]) == (0.9, 0.98, 1e-9)
    assert float(model.optimizer.learning_rate) == pytest.approx(8**-0.5 * 4000**-1.5)


@functools.cache
def network_for_mistakes(sizes=(SIZE,)):
    """One of each size: whatever is refused leaves it as it was."""
    return network_of(sizes=sizes)


def refused(network=None, *vocabularies, **options):
    return small(network or network_for_mistakes(), *vocabularies, **options)


@functools.cache
def compiled():
    model = refused()
    model.compile()
    return model


def fit(x, y=None, **options):
    return compiled().fit(x, y, verbose=0, **options)


IDS = np.array([[5, 2], [6, 2]])


@pytest.mark.parametrize(
    "act, message",
    [
        (
            lambda: refused(network_for_mistakes(sizes=(SIZE, SIZE)), words(), words(), copy_weight=0.1),
            "`copy_weight` compares what is said with the embeddings of the source, so both need one vocabulary",
        ),
        (lambda: refused(network_for_mistakes(sizes=(SIZE, SIZE))), "the network is made for 2 of them. Received: 1"),
        (lambda: refused(network_for_mistakes(), words(), words()), "the network is made for 1 of them. Received: 2"),
        (
            lambda: refused(network_for_mistakes(sizes=(9,))),
            "sources does not match .* has 9 embeddings. Received: 14 tokens",
        ),
        (
            lambda: refused(network_for_mistakes(sizes=(SIZE, 9)), words(), words()),
            "targets does not match .* has 9 embeddings. Received: 14 tokens",
        ),
        (lambda: refused(keras.Sequential()), "`network` must be a `SequenceNetwork`, such as .* Received: Sequential"),
        (lambda: refused(network_for_mistakes(), ["w1"]), "`source_vocabulary` must be a `zoo.vocabulary.Vocabulary`"),
        (lambda: refused(label_smoothing=1.0), "`label_smoothing` must be a finite number of at least 0 and below 1"),
        (lambda: refused(sequence_weight=-1), "`sequence_weight` must be a finite number of at least 0. Received: -1"),
        (lambda: refused(copy_weight=float("nan")), "`copy_weight` must be a finite number"),
        (lambda: refused(transport="exact"), "`transport` must be one of 'ipot', 'sinkhorn'. Received: 'exact'"),
        (lambda: refused(transport_strength=0), "`transport_strength` must be a finite number above 0. Received: 0"),
        (lambda: refused(transport_iterations=0), "`transport_iterations` must be a whole number of at least 1"),
        (lambda: refused(transport_start=-1), "`transport_start` must be a whole number of at least 0"),
        (lambda: refused(temperature=0), "`temperature` must be a finite number above 0"),
        (lambda: refused(generation="sampled"), "`generation` must be one of 'teacher_forced', 'free_running'"),
        (lambda: refused(max_length=0), "`max_length` must be a whole number of at least 1"),
        (lambda: fit(np.array([["w1"]] * 2), IDS), "The sources must be ids of tokens. Received: texts. `model.encode"),
        (lambda: fit(IDS), "(pair|target)"),
        (lambda: fit(IDS, IDS[:1]), "Each source needs its target. Received: 2 of `x` and 1 of `y`|same|sizes"),
        (lambda: fit(IDS, IDS + 12), "The targets hold ids from 14 to 18, but their vocabulary has 14 tokens, 0 to 13"),
        (lambda: fit(IDS - 9, IDS), "The sources hold ids from -7 to -3"),
        (lambda: fit(IDS[0], IDS), "shape .batch, length.*"),
        (lambda: fit(IDS / 2, IDS), "The sources must be whole numbers, ids of tokens. Received: dtype float64"),
        (lambda: fit(IDS * [0, 1], IDS), "The sources begin with padding in row 0"),
        (lambda: fit(IDS, IDS, sample_weight=np.ones(2)), "Each token counts once, so `fit` takes no `sample_weight`"),
        (lambda: compiled().encode(["w1"], []), "Each source needs its target. Received: 1 sources and 0 targets"),
        (lambda: compiled().translate("w1"), "`translate` takes a list of texts, at least one. Received: 'w1'"),
        (lambda: compiled().translate([]), r"`translate` takes a list of texts, at least one. Received: \[\]"),
        (lambda: compiled().translate(["w1"], num_beams=0), "`num_beams` must be a whole number of at least 1"),
        (lambda: compiled().translate(["w1"], batch_size=0), "`batch_size` must be a whole number of at least 1"),
        (lambda: compiled().sample(["w1"], temperature=0), "`temperature` must be a finite number above 0"),
        (lambda: compiled().sample(["w1"], seed=0.5), "`seed` must be a whole number"),
        (lambda: compiled().sample(["w1"], top_k=0), "`top_k` must be a whole number of at least 1. Received: 0"),
    ],
)
def test_mistakes_are_answered(act, message):
    with pytest.raises(ValueError, match=message):
        act()
