"""What networks from sequences to sequences have in common."""

import keras
import tensorflow as tf
from keras import layers, ops

from zoo.checks import check_positive


class SequenceNetwork(keras.Model):
    """Base of networks that read a source and say what follows each token of a target.

    A subclass defines `encode(sources)`, `decode(targets, memory)`, and for decoding token by token
    `start(memory, num_beams, max_length)` and `step(tokens, position, memory, cache)`.

    Args:
        source_size: Number of tokens of the source vocabulary, or of the only one.
        target_size: Number of tokens of the target vocabulary; None if both share one.
        width: Length of an embedding.

    Attributes:
        source_embedding: `keras.layers.Embedding` of sources.
        target_embedding: The same of targets, which also gives the logits; with one vocabulary, the same layer.

    Example:
        >>> class Bigrams(SequenceNetwork):
        ...     def encode(self, sources, training=False, keys=None):
        ...         return self.source_embedding(sources)
        ...     def decode(self, targets, memory, training=False, keys=None):
        ...         return self.logits(self.target_embedding(targets))
        >>> Bigrams(30, None, width=8)((np.array([[4, 5, 2]]), np.array([[1, 6]]))).shape
        TensorShape([1, 2, 30])
    """

    def __init__(self, source_size, target_size, width, **kwargs):
        super().__init__(**kwargs)
        check_positive("source_size", source_size)
        check_positive("width", width)
        if target_size is not None:
            check_positive("target_size", target_size)
        self.source_size, self.target_size, self.width = source_size, target_size, width
        sizes = [source_size] if target_size is None else [source_size, target_size]
        # Layers are told the precision, which is that of the network where it is loaded under another policy too.
        embeddings = [
            layers.Embedding(size, width, keras.initializers.RandomNormal(0, width**-0.5), dtype=self.dtype_policy)
            for size in sizes
        ]
        for embedding in embeddings:
            embedding.build((None, None))
        self.source_embedding, self.target_embedding = embeddings[0], embeddings[-1]
        self.seeds = keras.random.SeedGenerator()
        self.built = True

    @property
    def is_shared(self):
        """Whether sources and targets have one vocabulary."""
        return self.target_size is None

    def call(self, inputs, training=False, keys=None):
        """Logits (batch, m, target_size) of what follows each token of the targets.

        Args:
            inputs: (sources, targets), int (batch, n) and (batch, m).
            training: Whether values are left out by dropout.
            keys: What is left out follows from these, int64 (batch,); None to draw them.
        """
        sources, targets = inputs
        if training and keys is None:
            keys = tf.cast(keras.random.randint((ops.shape(sources)[0],), 0, 2**31 - 1, seed=self.seeds), tf.int64)
        memory = self.encode(sources, training=training, keys=keys)
        return self.decode(targets, memory, training=training, keys=keys)

    def logits(self, x):
        """x (..., width) against the embedding of each target token."""
        return ops.matmul(x, ops.transpose(ops.cast(self.target_embedding.embeddings, x.dtype)))

    def get_config(self):
        """The constructor's arguments."""
        sizes = {"source_size": self.source_size, "target_size": self.target_size, "width": self.width}
        return {**sizes, "name": self.name, "dtype": self.dtype_policy.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The network of a `get_config`."""
        return cls(**config)
