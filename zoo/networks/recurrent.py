"""Recurrent networks from sequence to sequence, with attention (Bahdanau et al. 2015, Luong et al. 2015)."""

import keras
import tensorflow as tf
from keras import layers, ops

from zoo.checks import check_choice, check_number, check_positive
from zoo.networks.dropout import KeyedDropout
from zoo.networks.sequences import SequenceNetwork

CELLS = {"gru": (layers.GRU, layers.GRUCell), "lstm": (layers.LSTM, layers.LSTMCell)}


@keras.saving.register_keras_serializable("zoo")
class RecurrentSeq2Seq(SequenceNetwork):
    """Bidirectional encoder, and a decoder that attends to it (Luong et al. 2015, equations 5, 8 and 9).

    h_t = RNN(y_{t-1}, h_{t-1}), a_t = softmax(h_t^T W_a h_s), h~_t = tanh(W_c [a_t h_s; h_t]), logits E h~_t, with E
    the embeddings of targets. With input feeding, the decoder also reads h~_{t-1} (section 3.3), and its steps have to
    be taken one after the other.

    Args:
        source_size: Number of tokens of the source vocabulary, or of the only one.
        target_size: Number of tokens of the target vocabulary; None if both share one.
        width: Length of embeddings and of the decoder's states; even.
        cell: "gru" or "lstm".
        num_layers: Layers of the encoder, and of the decoder.
        dropout: Share of values left out of embeddings, between layers and of h~.
        input_feeding: Whether h~_t is part of the next input.

    Takes (sources, targets), int (batch, n) and (batch, m), where targets begin with BOS and PAD is 0; gives logits
    (batch, m, target_size) of the tokens that follow.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> network = RecurrentSeq2Seq(30, width=8, cell="lstm")
        >>> network((np.array([[4, 5, 2]]), np.array([[1, 6]]))).shape
        TensorShape([1, 2, 30])
    """

    def __init__(
        self,
        source_size,
        target_size=None,
        *,
        width=256,
        cell="gru",
        num_layers=1,
        dropout=0.1,
        input_feeding=False,
        **kwargs,
    ):
        super().__init__(source_size, target_size, width, **kwargs)
        check_choice("cell", cell, CELLS)
        check_positive("num_layers", num_layers)
        check_number("dropout", dropout, 0, below=1)
        check_choice("input_feeding", input_feeding, (True, False))
        if width % 2:
            raise ValueError(f"`width` must be even, for the two directions of the encoder. Received: {width}.")
        self.cell, self.num_layers, self.dropout, self.input_feeding = cell, num_layers, dropout, input_feeding
        layer = CELLS[cell][0]
        dtype = self.dtype_policy
        options = {"return_sequences": True, "return_state": True, "dtype": dtype}
        self.forward = [layer(width // 2, **options) for _ in range(num_layers)]
        self.backward = [layer(width // 2, go_backwards=True, **options) for _ in range(num_layers)]
        # Of the encoder's last states, the decoder's first ones.
        self.bridges = [layers.Dense(width, "tanh", dtype=dtype) for _ in range(num_layers * self.num_states)]
        self.decoder = [layer(width, **options) for _ in range(num_layers)]
        self.asked = layers.Dense(width, use_bias=False, dtype=dtype)
        self.combined = layers.Dense(width, "tanh", use_bias=False, dtype=dtype)
        for index in range(num_layers):
            self.forward[index].build((None, None, width))
            self.backward[index].build((None, None, width))
            self.decoder[index].build((None, None, width * (2 if input_feeding and not index else 1)))
        for bridge in self.bridges:
            bridge.build((None, width))
        self.asked.build((None, None, width))
        self.combined.build((None, None, 2 * width))
        self.dropouts = [KeyedDropout(dropout, stream, dtype=dtype) for stream in range(2 * num_layers + 1)]

    @property
    def num_states(self):
        """Tensors in the state of a layer: 1 of a GRU, 2 of an LSTM."""
        return 2 if self.cell == "lstm" else 1

    def encode(self, sources, training=False, keys=None):
        """What the decoder needs to know of sources, {name: tensor (batch, ...)}."""
        mask = ops.not_equal(sources, 0)
        x = self.source_embedding(sources)
        states = []
        for index, (forward, backward) in enumerate(zip(self.forward, self.backward, strict=True)):
            x = self.dropouts[index](x, keys=keys, training=training)
            there, *ends = forward(x, mask=mask)
            back, *starts = backward(x, mask=mask)
            x = ops.concatenate([there, ops.flip(back, 1)], -1)
            states += [ops.concatenate(pair, -1) for pair in zip(ends, starts, strict=True)]
        states = [bridge(state) for bridge, state in zip(self.bridges, states, strict=True)]
        return {"mask": mask[:, None], "values": x, "keys": self.asked(x), "states": states}

    def decode(self, targets, memory, training=False, keys=None):
        """Logits (batch, m, target_size) of what follows each of the targets (batch, m)."""
        x = self.target_embedding(targets)
        if self.input_feeding:
            return self.logits(self.fed(x, memory, training, keys))
        for index, layer in enumerate(self.decoder):
            x = self.dropouts[self.num_layers + index](x, keys=keys, training=training)
            x, *_ = layer(x, initial_state=self.states_of(memory["states"], index))
        return self.logits(self.dropouts[-1](self.attend(x, memory), keys=keys, training=training))

    def fed(self, x, memory, training, keys):
        """h~ (batch, m, width) where each is part of the next input."""
        dropped = self.dropouts[self.num_layers](x, keys=keys, training=training)

        def advance(carry, inputs):
            *states, attention = carry
            states, attention = self.cells(inputs, states, attention[:, None], memory)
            return [*states, attention[:, 0]]

        # Not `keras.ops.scan`, which in Keras 3.15 fails with TensorFlow where there are more states than results.
        made = tf.scan(advance, tf.transpose(dropped, (1, 0, 2)), [*memory["states"], tf.zeros_like(x[:, 0])])[-1]
        return self.dropouts[-1](tf.transpose(made, (1, 0, 2)), keys=keys, training=training)

    def cells(self, x, states, attention, memory):
        """One token x (rows, width) further: states, and h~ (batch, beams, width) of rows = batch * beams."""
        if self.input_feeding:
            x = ops.concatenate([x, ops.reshape(attention, ops.shape(x))], -1)
        later = []
        for index, layer in enumerate(self.decoder):
            x, own = layer.cell(x, self.states_of(states, index))
            later += [*own] if isinstance(own, (list, tuple)) else [own]
        return later, self.attend(ops.reshape(x, (*ops.shape(attention)[:2], self.width)), memory)

    def states_of(self, states, index):
        """Those of one layer."""
        return states[index * self.num_states : (index + 1) * self.num_states]

    def attend(self, x, memory):
        """h~ (batch, m, width) of decoder states h (batch, m, width)."""
        scores = ops.cast(ops.matmul(x, ops.swapaxes(memory["keys"], 1, 2)), "float32")
        # Not the softmax of Keras, which warns of a single place.
        shares = tf.nn.softmax(ops.where(memory["mask"], scores, -1e9), -1)
        return self.combined(ops.concatenate([ops.matmul(ops.cast(shares, x.dtype), memory["values"]), x], -1))

    def start(self, memory, num_beams, max_length):
        """States of the decoder, and h~, for beams of each row: tensors (batch, beams, width)."""
        states = [tf.repeat(state[:, None], num_beams, axis=1) for state in memory["states"]]
        return {"states": states, "attention": ops.zeros_like(states[0])}

    def step(self, tokens, position, memory, cache):
        """Logits (batch, beams, target_size) of what follows the newest tokens (batch, beams), and the next cache."""
        shape = (-1, self.width)
        states = [ops.reshape(state, shape) for state in cache["states"]]
        x = ops.reshape(self.target_embedding(tokens), shape)
        states, attention = self.cells(x, states, cache["attention"], memory)
        states = [ops.reshape(state, ops.shape(attention)) for state in states]
        return self.logits(attention), {"states": states, "attention": attention}

    def get_config(self):
        """The constructor's arguments."""
        names = ("cell", "num_layers", "dropout", "input_feeding")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
