"""Transformer for sequence to sequence (Vaswani et al. 2017, Attention is all you need)."""

import keras
import tensorflow as tf
from keras import layers, ops

from zoo.checks import check_number, check_positive
from zoo.networks.dropout import KeyedDropout
from zoo.networks.sequences import SequenceNetwork


@keras.saving.register_keras_serializable("zoo")
class Transformer(SequenceNetwork):
    """Encoder and decoder of multi-head attention, with sinusoidal positions and tied embeddings.

    Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V (equation 1), LayerNorm(x + Dropout(Sublayer(x))) (section 3.1).
    As in the authors' code, attention has no biases. One matrix embeds sources and targets and gives the logits
    (section 3.4); with two vocabularies, sources have a matrix of their own.

    Args:
        source_size: Number of tokens of the source vocabulary, or of the only one.
        target_size: Number of tokens of the target vocabulary; None if both share one.
        width: d_model, a multiple of `num_heads` and of 2.
        num_layers: Blocks in the encoder, and in the decoder.
        num_heads: h.
        hidden: d_ff, the width inside the feed-forward blocks.
        dropout: Share of values left out of each block's output and of the embeddings.
        norm_first: Whether normalisation comes before each block and once more at the end, which needs less warm-up
            (Xiong et al. 2020), instead of after it as in the paper.

    Takes (sources, targets), int (batch, n) and (batch, m), where targets begin with BOS and PAD is 0; gives logits
    (batch, m, target_size) of the tokens that follow. Later targets, and PAD in sources, have no influence.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> network = Transformer(30, width=8, num_layers=1, num_heads=2, hidden=16)
        >>> network((np.array([[4, 5, 2]]), np.array([[1, 6]]))).shape
        TensorShape([1, 2, 30])
    """

    def __init__(
        self,
        source_size,
        target_size=None,
        *,
        width=512,
        num_layers=6,
        num_heads=8,
        hidden=2048,
        dropout=0.1,
        norm_first=False,
        **kwargs,
    ):
        super().__init__(source_size, target_size, width, **kwargs)
        for name, value in (("num_layers", num_layers), ("num_heads", num_heads), ("hidden", hidden)):
            check_positive(name, value)
        check_number("dropout", dropout, 0, below=1)
        if width % num_heads or width % 2:
            raise ValueError(
                f"`width` must be a multiple of 2 and of `num_heads`. Received: width={width}, num_heads={num_heads}."
            )
        self.num_layers, self.num_heads, self.hidden = num_layers, num_heads, hidden
        self.dropout, self.norm_first = dropout, norm_first
        dtype = self.dtype_policy
        self.embedding_dropouts = [KeyedDropout(dropout, stream, dtype=dtype) for stream in range(2)]
        options = (width, num_heads, hidden, dropout, norm_first, dtype)
        self.encoder = [_Block(*options, stream=2 + 8 * index) for index in range(num_layers)]
        self.decoder = [_Block(*options, stream=6 + 8 * index, looks_back=True) for index in range(num_layers)]
        self.final_norms = [_norm(width, dtype) for _ in range(2)] if norm_first else []

    def encode(self, sources, training=False, keys=None):
        """What the decoder needs to know of sources, {name: tensor (batch, ...)}."""
        mask = ops.not_equal(sources, 0)[:, None, None]
        x = self.embed(self.source_embedding, sources, 0)
        x = self.embedding_dropouts[0](x, keys=keys, training=training)
        for block in self.encoder:
            x = block(x, visible=mask, keys=keys, training=training)
        x = self.final_norms[0](x) if self.norm_first else x
        attended = [block.second.keys_values(x) for block in self.decoder]
        return {"mask": mask, "keys": [key for key, _ in attended], "values": [value for _, value in attended]}

    def decode(self, targets, memory, training=False, keys=None):
        """Logits (batch, m, target_size) of what follows each of the targets (batch, m)."""
        length = ops.shape(targets)[1]
        places = ops.arange(length)
        causal = (places[None] <= places[:, None])[None, None]
        x = self.embed(self.target_embedding, targets, 0)
        x = self.embedding_dropouts[1](x, keys=keys, training=training)
        for block, key, value in zip(self.decoder, memory["keys"], memory["values"], strict=True):
            x = block(x, visible=causal, memory=(key, value, memory["mask"]), keys=keys, training=training)
        return self.logits(self.final_norms[1](x) if self.norm_first else x)

    def start(self, memory, num_beams, max_length):
        """Keys and values of `max_length` tokens to come, for beams of each row: pairs (batch, beams, ...)."""
        rows = ops.shape(memory["mask"])[0]
        shape = (rows, num_beams, self.num_heads, max_length, self.width // self.num_heads)
        return [tuple(ops.zeros(shape, self.compute_dtype) for _ in range(2)) for _ in self.decoder]

    def step(self, tokens, position, memory, cache):
        """Logits of what follows the newest tokens.

        Args:
            tokens: int (batch, beams).
            position: Their place in the sequence, from 0, scalar tensor.
            memory: Result of `encode`.
            cache: Result of `start`, or of the step before.

        Returns:
            (logits (batch, beams, target_size), cache).
        """
        mask = (ops.arange(ops.shape(cache[0][0])[3]) <= position)[None, None, None, None]
        x = self.embed(self.target_embedding, tokens, position, is_step=True)
        later = []
        for block, cached, key, value in zip(self.decoder, cache, memory["keys"], memory["values"], strict=True):
            x, cached = block.step(x, position, mask, cached, (key, value, memory["mask"]))
            later.append(cached)
        return self.logits(self.final_norms[1](x) if self.norm_first else x), later

    def embed(self, embedding, tokens, start, is_step=False):
        """Embeddings times sqrt(d_model), plus positions from `start` on (sections 3.4 and 3.5)."""
        x = embedding(tokens) * self.width**0.5
        places = ops.cast(start + (0 if is_step else ops.arange(ops.shape(tokens)[1])), "float32")
        return x + ops.cast(_sinusoids(places, self.width), x.dtype)

    def get_config(self):
        """The constructor's arguments."""
        names = ("num_layers", "num_heads", "hidden", "dropout", "norm_first")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def transformer_base(source_size, target_size=None, **options):
    """The paper's base model (table 3): 6 layers, width 512, 8 heads, 44,101,632 weights without embeddings.

    Example:
        >>> transformer_base(30, num_layers=1).get_config()["width"]  # 6 layers, unless fewer are asked for
        512
    """
    return Transformer(source_size, target_size, **options)


def transformer_big(source_size, target_size=None, **options):
    """The paper's big model (table 3): 6 layers, width 1024, 16 heads, 176,283,648 weights without embeddings.

    Example:
        >>> transformer_big(30, num_layers=1).get_config()["width"]
        1024
    """
    options = {"width": 1024, "num_heads": 16, "hidden": 4096, "dropout": 0.3, **options}
    return Transformer(source_size, target_size, **options)


def _sinusoids(places, width):
    """Encodings of positions: sin(p / 10000^(2i/d)) in the first half, the cosines in the second (section 3.5).

    The paper has sines and cosines in turns; the order of a vector's entries makes no difference to what follows.

    Args:
        places: float tensor of any shape.
        width: d, even.

    Returns:
        float32 tensor (*places.shape, width).
    """
    rates = ops.power(10000.0, -ops.arange(0, width, 2, dtype="float32") / width)
    angles = places[..., None] * rates
    return ops.concatenate([ops.sin(angles), ops.cos(angles)], -1)


def _norm(width, dtype):
    norm = layers.LayerNormalization(epsilon=1e-6, dtype=dtype)
    norm.build((None, None, width))
    return norm


class _Attention(layers.Layer):
    """Multi-head attention without biases (section 3.2.2)."""

    def __init__(self, width, num_heads, dtype):
        super().__init__(name="attention", dtype=dtype)
        self.width, self.num_heads = width, num_heads
        self.query, self.key_value = (layers.Dense(size, use_bias=False, dtype=dtype) for size in (width, 2 * width))
        self.output_layer = layers.Dense(width, use_bias=False, dtype=dtype)
        for layer in (self.query, self.key_value, self.output_layer):
            layer.build((None, None, width))
        self.built = True

    def in_heads(self, x):
        """(batch, n, width) as (batch, n, heads, width of a head)."""
        return ops.reshape(x, (*ops.shape(x)[:2], self.num_heads, x.shape[-1] // self.num_heads))

    def keys_values(self, x):
        """Keys and values of what is attended to, a pair of tensors (batch, n, heads, width of a head)."""
        key, value = ops.split(self.key_value(x), 2, -1)
        return self.in_heads(key), self.in_heads(value)

    def call(self, x, key, value, visible):
        """What queries of x (batch, m, width) find at keys (batch, n, ...) where `visible` (..., m or 1, n)."""
        query = self.in_heads(self.query(x)) * (self.width // self.num_heads) ** -0.5
        scores = ops.einsum("bqhd,bkhd->bhqk", query, key)
        found = ops.einsum("bhqk,bkhd->bqhd", _softmax(scores, visible), value)
        return self.output_layer(ops.reshape(found, (*ops.shape(x)[:2], self.width)))

    def step(self, x, position, mask, cached):
        """The same for the newest token x (batch, beams, width), whose keys and values join those before it."""
        query = self.in_heads(self.query(x)) * (self.width // self.num_heads) ** -0.5
        key, value = (_placed(old, new, position) for old, new in zip(cached, self.keys_values(x), strict=True))
        scores = ops.matmul(query[..., None, :], ops.swapaxes(key, -1, -2))
        found = ops.matmul(_softmax(scores, mask), value)
        return self.output_layer(ops.reshape(found, (*ops.shape(x)[:2], self.width))), (key, value)


def _softmax(scores, mask):
    """Softmax over the last axis where the mask is true, computed in float32."""
    masked = ops.where(mask, ops.cast(scores, "float32"), -1e9)
    # Not that of Keras, which warns of a single place.
    return ops.cast(tf.nn.softmax(masked, -1), scores.dtype)


def _placed(sequence, new, position):
    """A sequence (batch, beams, heads, length, ...) whose entry at `position` is `new`, (batch, beams, heads, ...)."""
    here = ops.arange(ops.shape(sequence)[3]) == position
    return tf.where(here[:, None], new[..., None, :], sequence)


class _Block(layers.Layer):
    """Self-attention, attention to the memory if it is of the decoder, and a feed-forward network (figure 1)."""

    def __init__(self, width, num_heads, hidden, dropout, norm_first, dtype, stream, looks_back=False):
        super().__init__(name="block", dtype=dtype)
        self.norm_first = norm_first
        self.first = _Attention(width, num_heads, dtype)
        self.second = _Attention(width, num_heads, dtype) if looks_back else None
        self.inner, self.outer = layers.Dense(hidden, "relu", dtype=dtype), layers.Dense(width, dtype=dtype)
        self.inner.build((None, None, width))
        self.outer.build((None, None, hidden))
        self.norms = [_norm(width, dtype) for _ in range(3 if looks_back else 2)]
        self.dropouts = [KeyedDropout(dropout, stream + index, dtype=dtype) for index in range(len(self.norms))]
        self.built = True

    def around(self, index, x, sublayer, keys=None, training=False):
        """x and what the sublayer makes of it, normalised."""
        dropout, norm = self.dropouts[index], self.norms[index]
        if self.norm_first:
            return x + dropout(sublayer(norm(x)), keys=keys, training=training)
        return norm(x + dropout(sublayer(x), keys=keys, training=training))

    def call(self, x, visible, memory=None, keys=None, training=False):
        """Tensors (batch, m, width) of x; memory is (keys, values, mask)."""
        options = {"keys": keys, "training": training}
        x = self.around(0, x, lambda x: self.first(x, *self.first.keys_values(x), visible), **options)
        if memory is not None:
            x = self.around(1, x, lambda x: self.second(x, *memory), **options)
        return self.around(-1, x, lambda x: self.outer(self.inner(x)), **options)

    def step(self, x, position, mask, cached, memory):
        """What call makes of the newest token, and its keys and values beside those before it."""
        later = []

        def attend(x):
            found, cached_too = self.first.step(x, position, mask, cached)
            later.append(cached_too)
            return found

        x = self.around(0, x, attend)
        x = self.around(1, x, lambda x: self.second(x, *memory))
        return self.around(-1, x, lambda x: self.outer(self.inner(x))), later[0]
