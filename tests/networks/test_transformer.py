"""Networks of sequences: the paper's equations in NumPy, what may have no influence, decoding step by step, dropout."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.seeds import seed
from zoo import KeyedDropout, RecurrentSeq2Seq, Transformer, transformer_base, transformer_big
from zoo.random import bits

SOURCES = np.array([[5, 6, 7, 8, 2], [9, 4, 2, 0, 0], [3, 2, 0, 0, 0]], "int32")
TARGETS = np.array([[1, 9, 8, 7], [1, 4, 5, 2], [1, 11, 0, 0]], "int32")
SIZE = 12


def transformer(size=SIZE, target_size=None, **options):
    network = Transformer(size, target_size, **{"width": 8, "num_layers": 2, "num_heads": 2, "hidden": 12, **options})
    return moved(network)


def recurrent(size=SIZE, target_size=None, **options):
    return moved(RecurrentSeq2Seq(size, target_size, **{"width": 8, **options}))


def moved(network):
    """With biases and norms that are not those of the start, so that all of them matter."""
    rng = np.random.default_rng(0)
    network.set_weights([weight + 0.2 * rng.normal(size=weight.shape) for weight in network.get_weights()])
    return network


NETWORKS = {
    "post-norm": transformer,
    "pre-norm": lambda **options: transformer(norm_first=True, **options),
    "two vocabularies": lambda **options: transformer(target_size=15, **options),
    "gru": recurrent,
    "lstm of two layers": lambda **options: recurrent(cell="lstm", num_layers=2, **options),
    "gru of two layers, fed": lambda **options: recurrent(num_layers=2, input_feeding=True, **options),
    "lstm, fed": lambda **options: recurrent(cell="lstm", input_feeding=True, **options),
}


# One of each kind; how they vary is left to `make test-all`.
TIERS = [
    name if name in ("post-norm", "lstm, fed") else pytest.param(name, marks=pytest.mark.exhaustive)
    for name in NETWORKS
]


@pytest.fixture(scope="module", params=TIERS)
def network(request):
    """For tests that leave it as it is."""
    seed()
    return NETWORKS[request.param]()


@pytest.fixture
def double_precision():
    floats, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floats)
    keras.config.set_dtype_policy(policy)


@pytest.mark.exhaustive
@pytest.mark.parametrize("build, width", [(transformer_base, 512), (transformer_big, 1024)])
def test_the_papers_models_have_its_sizes(build, width, monkeypatch):
    """By hand from section 3, with attention without biases and d_ff = 4 d, for 6 pairs of blocks: 4 d^2 for each of 3
    attentions, 8 d^2 + 5 d for each of 2 feed-forward blocks, 2 d for each of 5 norms. Numbers that are not random
    are there sooner."""
    monkeypatch.setattr(
        keras.initializers.GlorotUniform, "__call__", lambda self, shape, dtype=None, **_: tf.zeros(shape, dtype)
    )
    network = build(7)
    by_hand = 6 * (3 * 4 * width**2 + 2 * (8 * width**2 + 5 * width) + 5 * 2 * width)
    assert by_hand == {512: 44_101_632, 1024: 176_283_648}[width]
    assert network.count_params() == by_hand + 7 * width
    assert len(network.encoder) == len(network.decoder) == 6
    # Table 3 of the paper.
    config = network.get_config()
    assert (config["num_heads"], config["dropout"]) == {512: (8, 0.1), 1024: (16, 0.3)}[width]


class ByHand:
    """The paper's equations for one source and one target without padding, head by head, in float64."""

    def __init__(self, network):
        self.network = network

    def __call__(self, source, target):
        network = self.network
        x = self.embed(network.source_embedding, source)
        for block in network.encoder:
            everything = np.ones((len(source), len(source)), bool)
            x = self.block(block, x, everything)
        memory = self.norm(network.final_norms[0], x) if network.norm_first else x
        x = self.embed(network.target_embedding, target)
        for block in network.decoder:
            x = self.block(block, x, np.tri(len(target), dtype=bool), memory)
        x = self.norm(network.final_norms[1], x) if network.norm_first else x
        return x @ weight(network.target_embedding.embeddings).T

    def embed(self, embedding, tokens):
        """Sections 3.4 and 3.5, the sines of all frequencies before the cosines."""
        width = self.network.width
        places = np.zeros((len(tokens), width))
        for place in range(len(tokens)):
            for i in range(width // 2):
                angle = place / 10000 ** (2 * i / width)
                places[place, [i, width // 2 + i]] = np.sin(angle), np.cos(angle)
        return weight(embedding.embeddings)[tokens] * np.sqrt(width) + places

    def block(self, block, x, visible, memory=None):
        parts = [lambda x: self.attention(block.first, x, x, visible)]
        if memory is not None:
            parts.append(lambda x: self.attention(block.second, x, memory, np.ones((len(x), len(memory)), bool)))
        parts.append(
            lambda x: (
                np.maximum(x @ weight(block.inner.kernel) + weight(block.inner.bias), 0) @ weight(block.outer.kernel)
                + weight(block.outer.bias)
            )
        )
        for part, norm in zip(parts, block.norms, strict=True):
            x = x + part(self.norm(norm, x)) if self.network.norm_first else self.norm(norm, x + part(x))
        return x

    def attention(self, attention, x, y, visible):
        """Concat(head_1, ...) W^O with head_i = softmax(Q_i K_i^T / sqrt(d_k)) V_i."""
        width, heads = self.network.width, []
        size = width // self.network.num_heads
        query, key_value = weight(attention.query.kernel), weight(attention.key_value.kernel)
        for start in range(0, width, size):
            Q, K, V = (
                given @ kernel[:, begin : begin + size]
                for given, kernel, begin in ((x, query, start), (y, key_value, start), (y, key_value, width + start))
            )
            shares = np.where(visible, np.exp(Q @ K.T / np.sqrt(size)), 0)
            heads.append(shares / shares.sum(1, keepdims=True) @ V)
        return np.concatenate(heads, 1) @ weight(attention.output_layer.kernel)

    def norm(self, norm, x):
        """Ba et al. 2016, with the epsilon of the authors' code."""
        scaled = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
        return scaled * weight(norm.gamma) + weight(norm.beta)


def weight(variable):
    return variable.numpy().astype("float64")


@pytest.mark.parametrize("options", [{}, {"norm_first": True}, {"target_size": 15, "num_heads": 4}], ids=str)
def test_transformer_is_the_papers(options):
    """Sequences of unequal length together, against each of them alone and without padding in `ByHand`."""
    network = transformer(**options)
    found = network((SOURCES, TARGETS)).numpy()
    for logits, source, target in zip(found, SOURCES, TARGETS, strict=True):
        count = (target != 0).sum()
        expected = ByHand(network)(source[source != 0], target[:count])
        assert expected.std() > 0.5
        np.testing.assert_allclose(logits[:count], expected, atol=2e-5)


@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_is_that_of_torch(norm_first):
    """`torch.nn.Transformer` with the same weights, no biases of attention, and norms at the end only if first."""
    torch = pytest.importorskip("torch")
    network = transformer(norm_first=norm_first)
    peer = torch.nn.Transformer(
        8, 2, 2, 2, 12, dropout=0.0, norm_first=norm_first, batch_first=True, layer_norm_eps=1e-6
    ).eval()

    def copy(ours, theirs):
        with torch.no_grad():
            theirs.copy_(torch.from_numpy(np.array(ours)))

    def attention(ours, theirs):
        copy(np.concatenate([ours.query.kernel.numpy(), ours.key_value.kernel.numpy()], 1).T, theirs.in_proj_weight)
        copy(ours.output_layer.kernel.numpy().T, theirs.out_proj.weight)
        for bias in (theirs.in_proj_bias, theirs.out_proj.bias):
            copy(np.zeros(bias.shape, "float32"), bias)

    def norm(ours, theirs):
        copy(ours.gamma.numpy(), theirs.weight)
        copy(ours.beta.numpy(), theirs.bias)

    for blocks, layers in ((network.encoder, peer.encoder.layers), (network.decoder, peer.decoder.layers)):
        for block, layer in zip(blocks, layers, strict=True):
            attention(block.first, layer.self_attn)
            if block.second is not None:
                attention(block.second, layer.multihead_attn)
            for ours, theirs in ((block.inner, layer.linear1), (block.outer, layer.linear2)):
                copy(ours.kernel.numpy().T, theirs.weight)
                copy(ours.bias.numpy(), theirs.bias)
            for index, ours in enumerate(block.norms):
                norm(ours, getattr(layer, f"norm{index + 1}"))
    for index, side in enumerate((peer.encoder, peer.decoder)):
        if norm_first:
            norm(network.final_norms[index], side.norm)
        else:
            side.norm = None

    def embedded(embedding, tokens):
        return torch.from_numpy(np.array(network.embed(embedding, tokens, 0)))

    hidden = torch.from_numpy(SOURCES == 0)
    with torch.no_grad():
        said = peer(
            embedded(network.source_embedding, SOURCES),
            embedded(network.target_embedding, TARGETS),
            tgt_mask=torch.triu(torch.ones(4, 4, dtype=torch.bool), 1),
            src_key_padding_mask=hidden,
            memory_key_padding_mask=hidden,
        )
    expected = said.numpy() @ network.target_embedding.embeddings.numpy().T
    np.testing.assert_allclose(network((SOURCES, TARGETS)), expected, atol=1e-5)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def run_cell(layer, kind, inputs, states):
    """States after each input: Cho et al. 2014 with the reset after the product, as cuDNN has it, and Hochreiter 1997
    with forget gates; gates in Keras's order."""
    kernel, recurrent, bias = (weight(one) for one in layer.cell.trainable_variables)
    seen = []
    for x in inputs:
        if kind == "gru":
            (h,) = states
            (z, r, new), (hz, hr, hn) = (np.split(one, 3) for one in (x @ kernel + bias[0], h @ recurrent + bias[1]))
            z, r = sigmoid(z + hz), sigmoid(r + hr)
            states = [z * h + (1 - z) * np.tanh(new + r * hn)]
        else:
            h, c = states
            i, f, new, o = np.split(x @ kernel + h @ recurrent + bias, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(new)
            states = [sigmoid(o) * np.tanh(c), c]
        seen.append(states)
    return seen


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("input_feeding", [False, True])
def test_recurrent_network_is_that_of_luong(cell, input_feeding):
    """Equations 5 and 8 with the general score, word by word in float64, for each source without its padding."""
    network = recurrent(cell=cell, input_feeding=input_feeding)
    found = network((SOURCES, TARGETS)).numpy()
    count = 2 if cell == "lstm" else 1
    embeddings = weight(network.source_embedding.embeddings)
    for logits, source, target in zip(found, SOURCES, TARGETS, strict=True):
        x = embeddings[source[source != 0]]
        nothing = [np.zeros(4)] * count
        there, back = (
            run_cell(network.forward[0], cell, x, nothing),
            run_cell(network.backward[0], cell, x[::-1], nothing),
        )
        memory = np.array([[*f[0], *b[0]] for f, b in zip(there, back[::-1], strict=True)])
        states = [
            np.tanh(np.concatenate(ends) @ weight(bridge.kernel) + weight(bridge.bias))
            for ends, bridge in zip(zip(there[-1], back[-1], strict=True), network.bridges, strict=True)
        ]
        attended = np.zeros(8)
        for token, one in zip(target, logits, strict=True):
            given = embeddings[token]
            given = np.concatenate([given, attended]) if input_feeding else given
            (states,) = run_cell(network.decoder[0], cell, [given], states)
            scores = memory @ weight(network.asked.kernel) @ states[0]
            shares = np.exp(scores) / np.exp(scores).sum()
            attended = np.tanh(np.concatenate([shares @ memory, states[0]]) @ weight(network.combined.kernel))
            np.testing.assert_allclose(one, embeddings @ attended, atol=1e-5)


def test_later_targets_have_no_influence(network):
    others = TARGETS.copy()
    others[:, 2:] = [[3, 4], [11, 10], [6, 6]]
    found, changed = (network((SOURCES, targets)).numpy() for targets in (TARGETS, others))
    np.testing.assert_allclose(changed[:, :2], found[:, :2], atol=1e-6)
    assert np.abs(changed[:, 2:] - found[:, 2:]).max() > 0.1


@pytest.mark.parametrize("name", TIERS)
def test_padding_has_no_influence(name, double_precision):
    """More of it on both sides, and another embedding of it; the logit of padding itself may change. In 64 bits, since
    a sum over more places is rounded otherwise; attention is normalised in 32 all the same."""
    network = NETWORKS[name]()
    expected = network((SOURCES, TARGETS)).numpy()
    assert expected.dtype == np.float64
    longer = network((np.pad(SOURCES, ((0, 0), (0, 3))), np.pad(TARGETS, ((0, 0), (0, 2))))).numpy()
    np.testing.assert_allclose(longer[:, :4], expected, rtol=0, atol=1e-6)
    embeddings = network.source_embedding.embeddings
    embeddings.assign(tf.tensor_scatter_nd_update(embeddings.value, [[0]], [[100.0] * 8]))
    without = TARGETS[:2]
    np.testing.assert_allclose(network((SOURCES[:2], without))[..., 1:], expected[:2, :, 1:], rtol=0, atol=1e-6)
    other = network((SOURCES + (SOURCES != 0) % 2, TARGETS)).numpy()
    assert np.abs(other - expected).max() > 0.01


@pytest.mark.parametrize("num_beams", [1, 3])
def test_step_by_step_says_what_the_whole_does(network, num_beams):
    """Each beam goes its own way; from the second step on the first and last change places, with their caches."""
    rng = np.random.default_rng(0)
    ways = rng.integers(3, SIZE, (3, num_beams, 4)).astype("int32")
    expected = np.stack([network((SOURCES, ways[:, beam])) for beam in range(num_beams)], 1)
    memory = network.encode(SOURCES)
    cache = network.start(memory, num_beams, 6)
    for place in range(4):
        if place == 2:
            cache = tf.nest.map_structure(lambda one: one[:, ::-1], cache)
            ways, expected = ways[:, ::-1], expected[:, ::-1]
        logits, cache = network.step(ways[:, :, place], tf.constant(place), memory, cache)
        np.testing.assert_allclose(logits, expected[:, :, place], atol=1e-5)


def test_it_is_kept_by_its_configuration_and_in_a_file(network, tmp_path):
    again = type(network).from_config(network.get_config())
    assert again.get_config() == network.get_config()
    again.set_weights(network.get_weights())
    expected = network((SOURCES, TARGETS))
    np.testing.assert_array_equal(again((SOURCES, TARGETS)), expected)
    network.save(tmp_path / "network.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "network.keras")((SOURCES, TARGETS)), expected)


@pytest.mark.parametrize("policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", ["pre-norm", "lstm, fed"])
def test_a_kept_network_decodes_in_its_own_precision(name, policy):
    """Whatever the precision is where it is loaded."""
    keras.config.set_dtype_policy(policy)
    network = NETWORKS[name]()
    keras.config.set_dtype_policy("float32")
    again = type(network).from_config(network.get_config())
    again.set_weights(network.get_weights())
    for one in (network, again):
        assert one((SOURCES, TARGETS)).dtype == policy.removeprefix("mixed_")
        memory = one.encode(SOURCES)
        logits, _ = one.step(TARGETS[:, :1], tf.constant(0), memory, one.start(memory, 1, 4))
        # Half precision resolves 1e-3 of a number, bfloat16 8e-3; logits are a few units.
        np.testing.assert_allclose(
            tf.cast(logits[:, 0], tf.float32), tf.cast(one((SOURCES, TARGETS))[:, 0], tf.float32), atol=0.1
        )


@pytest.mark.exhaustive
def test_stock_keras_trains_a_network_alone():
    """Copying of the source; a token of twelve costs log 12 = 2.5 nats at first."""
    network = Transformer(SIZE, width=16, num_layers=1, num_heads=2, hidden=16, norm_first=True)
    sources = np.random.default_rng(0).integers(3, SIZE, (64, 5)).astype("int32")
    shifted = np.pad(sources[:, :-1], ((0, 0), (1, 0)), constant_values=1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss, jit_compile=False)
    network.optimizer.learning_rate = 0.02
    losses = network.fit((sources, shifted), sources, epochs=25, verbose=0).history["loss"]
    assert losses[-1] < 0.75 * losses[0]


def test_dropout_of_a_network_follows_from_keys(network):
    network = type(network).from_config({**network.get_config(), "dropout": 0.3})
    keys = tf.constant([3, 4, 5], tf.int64)
    found = network((SOURCES, TARGETS), training=True, keys=keys).numpy()
    np.testing.assert_allclose(network((SOURCES[1:], TARGETS[1:]), training=True, keys=keys[1:]), found[1:], atol=1e-6)
    assert np.abs(network((SOURCES, TARGETS), training=True, keys=keys + 7) - found).max() > 0.01
    assert np.abs(network((SOURCES, TARGETS)) - found).max() > 0.01
    # Keras's own `fit` gives no keys: they are drawn, and others each time.
    drawn = [network((SOURCES, TARGETS), training=True).numpy() for _ in range(2)]
    assert np.abs(drawn[0] - drawn[1]).max() > 0.01


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Transformer(0), "`source_size` must be a whole number of at least 1. Received: 0"),
        (lambda: Transformer(9, 0), "`target_size` must be a whole number of at least 1. Received: 0"),
        (lambda: Transformer(9, width=10, num_heads=4), "multiple of 2 and of `num_heads`. Received: width=10, num"),
        (lambda: Transformer(9, width=5, num_heads=1), "multiple of 2 and of `num_heads`. Received: width=5"),
        (lambda: Transformer(9, num_layers=0), "`num_layers` must be a whole number of at least 1. Received: 0"),
        (lambda: Transformer(9, num_heads=0), "`num_heads` must be a whole number of at least 1. Received: 0"),
        (lambda: Transformer(9, hidden=1.5), "`hidden` must be a whole number of at least 1. Received: 1.5"),
        (lambda: Transformer(9, dropout=1.0), "`dropout` must be a finite number of at least 0 and below 1. Received"),
        (lambda: RecurrentSeq2Seq(9, width=7), "`width` must be even, for the two directions .* Received: 7"),
        (lambda: RecurrentSeq2Seq(9, cell="rnn"), "`cell` must be one of 'gru', 'lstm'. Received: 'rnn'"),
        (lambda: RecurrentSeq2Seq(9, num_layers=0), "`num_layers` must be a whole number of at least 1. Received: 0"),
        (lambda: RecurrentSeq2Seq(9, dropout=-0.1), "`dropout` must be a finite number of at least 0 and below 1"),
        (lambda: RecurrentSeq2Seq(9, input_feeding=None), "`input_feeding` must be one of True, False. Received: None"),
        (lambda: KeyedDropout(1.0, 0), "`rate` must be a finite number of at least 0 and below 1. Received: 1.0"),
        (lambda: KeyedDropout(0.1, -1), "`stream` must be a whole number of at least 0. Received: -1"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_dropout_leaves_out_its_share_and_keeps_the_mean():
    """Four standard errors of a share s of n draws are 4 sqrt(s (1 - s) / n)."""
    keys, rate = bits((200,), [0, 1]), 0.3
    found = KeyedDropout(rate, 0)(tf.ones((200, 10, 50)), keys=keys, training=True).numpy()
    bound = 4 * np.sqrt(rate * (1 - rate) / found.size)
    assert (found == 0).mean() == pytest.approx(rate, abs=bound)
    np.testing.assert_allclose(found[found != 0], 1 / (1 - rate), rtol=1e-6)
    assert found.mean() == pytest.approx(1, abs=bound / (1 - rate))
    assert KeyedDropout.from_config(KeyedDropout(rate, 4).get_config()).stream == 4


def test_dropout_belongs_to_key_and_stream():
    keys, ones = bits((40,), [0, 1]), tf.ones((40, 6, 30))

    def mask(stream, keys, ones=ones):
        return KeyedDropout(0.5, stream)(ones, keys=keys, training=True).numpy() != 0

    first = mask(0, keys)
    np.testing.assert_array_equal(mask(0, keys[7:9], ones[:2]), first[7:9])
    compiled = tf.function(lambda: KeyedDropout(0.5, 0)(ones, keys=keys, training=True), jit_compile=True)
    np.testing.assert_array_equal(compiled().numpy() != 0, first)
    # Independent masks agree in half of their 7,200 places; 4 standard errors are 0.024.
    for other in (mask(1, keys), mask(0, keys + 1), mask(0, tf.reverse(keys, [0])), mask(8, keys)):
        assert (other == first).mean() == pytest.approx(0.5, abs=0.024)


def test_gradients_pass_where_values_do():
    values, keys = tf.constant(np.random.default_rng(0).normal(size=(5, 40)).astype("float32")), bits((5,), [3, 4])
    layer = KeyedDropout(0.4, 2)
    with tf.GradientTape() as tape:
        tape.watch(values)
        found = layer(values, keys=keys, training=True)
        total = tf.reduce_sum(found)
    gradient = tape.gradient(total, values).numpy()
    np.testing.assert_allclose(gradient, np.where(found == 0, 0, 1 / 0.6), rtol=1e-6)
    assert 0 < (gradient == 0).mean() < 1
    for unchanged in (
        layer(values, training=True),
        layer(values, keys=keys),
        KeyedDropout(0, 2)(values, keys=keys, training=True),
    ):
        np.testing.assert_array_equal(unchanged, values)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dropout_keeps_the_precision(dtype):
    layer = KeyedDropout(0.5, 0, dtype=f"mixed_{dtype}")
    found = layer(tf.ones((3, 100), dtype), keys=bits((3,), [0, 1]), training=True)
    assert found.dtype == dtype and set(np.unique(tf.cast(found, tf.float32))) == {0.0, 2.0}
