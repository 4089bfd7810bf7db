"""What a network returns, as far as it can be seen before there are examples."""

import keras
import numpy as np
import tensorflow as tf

# Operations whose values are those that they are given, or lie between them.
_KEEP_RANGE = frozenset(
    ["AvgPool", "Cast", "ExpandDims", "GatherV2", "Identity", "Max", "MaxPool", "Mean", "Pack", "Reshape", "Squeeze"]
    + ["StopGradient", "StridedSlice", "Transpose"]
)


def last_operation(network):
    """What gives the values that a network returns their range.

    Args:
        network: Built `keras.Model` of one input and one output.

    Returns:
        Type of an operation of TensorFlow, such as "Sigmoid", wherever it comes from: a layer's activation, a layer,
        an operation of `keras.ops`, or the `call` of a class of one's own. What only moves, casts or averages values
        is left out.

    Example:
        >>> last_operation(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")]))  # "Sigmoid"
    """
    # Most end so; a graph takes a tenth of a second.
    if _ends_plainly(network):
        return "AddV2"
    graph = tf.function(lambda inputs: network(inputs, training=False), autograph=False)
    operation = graph.get_concrete_function(tf.TensorSpec(network.input_shape, tf.float32)).graph.outputs[0].op
    while operation.type in _KEEP_RANGE:
        operation = operation.inputs[0].op
    return operation.type


def _ends_plainly(network):
    """Whether a network is seen to end in a layer without an activation."""
    tensor = network.outputs[0] if getattr(network, "outputs", None) else None
    while tensor is not None:
        layer, place, _ = tensor._keras_history
        if getattr(layer, "activation", None) is not keras.activations.linear:
            return False
        if type(layer) in (keras.layers.Dense, keras.layers.Conv2D):
            return True
        tensor = layer._inbound_nodes[place].input_tensors[0] if type(layer) is keras.layers.Activation else None
    return False


def range_of(network):
    """The least and the largest value that a network returns, of noise far out: bounds show, and so do none.

    Args:
        network: Built `keras.Model` of one input and one output.

    Returns:
        Two numbers.

    Example:
        >>> range_of(keras.Sequential([keras.Input((2,)), keras.layers.Activation("sigmoid")]))
        (0.0, 1.0)
    """
    shape = [side or 16 for side in network.input_shape[1:]]
    noise = np.random.default_rng(0).uniform(-1e3, 1e3, (8, *shape)).astype("float32")
    values = keras.ops.convert_to_numpy(network(noise, training=False)).astype("float64")
    return float(values.min()), float(values.max())
