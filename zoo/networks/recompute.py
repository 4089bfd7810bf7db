"""Gradient checkpointing: blocks of layers whose inner values are computed again instead of kept."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("zoo")
class Recompute(keras.layers.Layer):
    """A block of layers that keeps only its input for the backward pass, and computes the rest again there.

    A network of n layers in blocks of about sqrt(n) then needs memory for 2 sqrt(n) of them instead of n, for one
    more forward pass: "Training Deep Nets with Sublinear Memory Cost" (Chen et al. 2016). Results and weights are the
    same. Statistics of batch normalisation are updated once, and dropout leaves out the same values in both passes. A
    gradient of a gradient cannot pass through, so it is not for a critic under a gradient penalty. (In TensorFlow 2.21
    and Keras 3.15, `keras.RematScope` does not work inside `tf.function`, and the second pass of `tf.recompute_grad`
    may read weights that have been updated.)

    Args:
        block: `keras.Model` or layer of one input tensor and one output tensor.

    Raises:
        ValueError: If `block` is something else, as a list of layers.

    Example:
        >>> block = keras.Sequential([keras.layers.Dense(8, "relu") for _ in range(4)])
        >>> x = np.ones((1, 8), "float32")
        >>> np.array_equal(Recompute(block)(x), block(x))
        True

        for _ in range(8):
            block = keras.Sequential([keras.layers.Dense(512, "relu") for _ in range(8)])
            x = Recompute(block)(x)
    """

    def __init__(self, block, **kwargs):
        # Weights are handed to the block as they are stored; it casts them itself.
        super().__init__(autocast=False, **kwargs)
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
        trained, state = self.block.trainable_variables, self.block.non_trainable_variables
        before = [tf.convert_to_tensor(variable.value) for variable in state]
        changed = []

        def run(values, weights):
            """Result and changes of state, as a function: both passes see the same weights, statistics and seeds."""
            with keras.StatelessScope([*zip(trained, weights, strict=True), *zip(state, before, strict=True)]) as scope:
                result = self.block(values, training=True)
            after = [(variable, scope.get_current_value(variable)) for variable in state]
            changes = [pair for pair, old in zip(after, before, strict=True) if pair[1] is not old]
            changed[:] = [variable for variable, _ in changes]
            return result, [value for _, value in changes]

        @tf.custom_gradient
        def forgetful(values, *weights):
            result, changes = run(values, weights)

            def gradients(slope, *_):
                watched = [_later(values, slope), *weights]
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch([one for one in watched if one.dtype.is_floating])
                    again, _ = run(watched[0], weights)
                return tape.gradient(again, watched, slope)

            return (result, *changes), gradients

        weights = [tf.convert_to_tensor(variable.value) for variable in trained]
        result, *changes = forgetful(tf.convert_to_tensor(inputs), *weights)
        for variable, value in zip(changed, changes, strict=True):
            variable.assign(value)
        return result

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


def _later(values, slope):
    """The values, which depend on the slope by a zero that no compiler can drop, so that they wait for it."""
    if not values.dtype.is_floating:
        return tf.identity(values)
    first = tf.reduce_max(tf.reshape(slope, [-1])[:1])
    return values + tf.cast(tf.where(first == first, 0.0, float("nan")), values.dtype)
