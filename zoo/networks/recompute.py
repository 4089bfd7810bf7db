"""Gradient checkpointing: blocks of layers whose inner values are computed again instead of kept."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("zoo")
class Recompute(keras.layers.Layer):
    """A block of layers that keeps only its input for the backward pass, and computes the rest again there.

    A network of n layers in blocks of about sqrt(n) then needs memory for 2 sqrt(n) of them instead of n, for one
    more forward pass: "Training Deep Nets with Sublinear Memory Cost" (Chen et al. 2016). Results and weights are the
    same. Statistics of batch normalisation are updated once. A gradient of a gradient cannot pass through, so it is
    not for a critic under a gradient penalty. (`keras.RematScope` does not work inside `tf.function` in Keras 3.15.)

    Args:
        block: `keras.Model` or layer of one input tensor and one output tensor.

    Raises:
        ValueError: If `block` is something else, as a list of layers.

    Example:
        for _ in range(8):
            block = keras.Sequential([keras.layers.Dense(512, "relu") for _ in range(8)])
            x = Recompute(block)(x)
    """

    def __init__(self, block, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(block, keras.layers.Layer):
            raise ValueError(
                f"`block` must be one Keras layer or model. Received: {type(block).__name__}. "
                "Wrap several: `keras.Sequential([...])`."
            )
        self.block = block

    def build(self, input_shape):
        """Builds the block."""
        if not self.block.built:
            self.block.build(input_shape)

    def call(self, inputs, training=False):
        """What the block makes of `inputs`."""
        if isinstance(inputs, keras.KerasTensor) or not training:
            return self.block(inputs, training=training)
        calls = []

        def run(values):
            calls.append(values)
            if len(calls) == 1:
                return self.block(values, training=True)
            # In the backward pass: what the block would write, as moving averages, was written the first time.
            with keras.StatelessScope():
                return self.block(values, training=True)

        return tf.recompute_grad(run)(tf.convert_to_tensor(inputs))

    def compute_output_shape(self, input_shape):
        """The block's."""
        return self.block.compute_output_shape(input_shape)

    def get_config(self):
        """The block, serialised."""
        return {**super().get_config(), "block": keras.saving.serialize_keras_object(self.block)}

    @classmethod
    def from_config(cls, config):
        """The layer of a `get_config`."""
        return cls(keras.saving.deserialize_keras_object(config.pop("block")), **config)
