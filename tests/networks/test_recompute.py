"""Gradient checkpointing against the same block without it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.graphs import executed_graphs, races
from tests.helpers.seeds import seed
from zoo import GAN, Recompute, mlp_critic


def generator(recompute, depth=2, width=8, layers_per_block=2):
    """Blocks of dense layers and batch normalisation."""
    seed()
    x = inputs = keras.Input((2,))
    x = keras.layers.Dense(width)(x)
    for _ in range(depth):
        layers = [keras.layers.Dense(width, "relu") for _ in range(layers_per_block)]
        block = keras.Sequential([keras.Input((width,)), *layers, keras.layers.BatchNormalization()])
        x = Recompute(block)(x) if recompute else block(x)
    return keras.Model(inputs, keras.layers.Dense(2)(x))


@pytest.mark.parametrize(
    "execution",
    [
        {},
        pytest.param({"jit_compile": True}, marks=pytest.mark.exhaustive),
        pytest.param({"run_eagerly": True}, marks=pytest.mark.exhaustive),
    ],
)
def test_trains_as_without_and_updates_batch_statistics_once(execution):
    weights = []
    for recompute in (False, True):
        model = GAN(generator(recompute, layers_per_block=1), mlp_critic((2,), hidden=(4,)))
        model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), **execution)
        examples = np.random.default_rng(0).uniform(-1, 1, (32, 2)).astype("float32")
        with executed_graphs() as graphs:
            model.fit(examples, batch_size=8, epochs=1, shuffle=False, verbose=0)
        weights.append(model.generator.get_weights())
        assert not [pair for graph in graphs for pair in races(graph)]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_both_passes_leave_out_the_same_values_and_cast_alike(policy):
    """With a step taken between the two, a second mask of dropout, or weights cast once more, would show."""

    def gradients_of(recompute):
        seed()
        block = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(64, "tanh"),
                keras.layers.Dropout(0.5, seed=1),
                keras.layers.Dense(6),
            ]
        )
        block = Recompute(block) if recompute else block
        points = tf.random.stateless_normal((5, 6), [0, 0])
        gradients = []
        for _ in range(2):
            with tf.GradientTape() as tape:
                value = tf.reduce_sum(tf.cast(block(points, training=True), tf.float32) ** 2)
            gradients += [tf.convert_to_tensor(one) for one in tape.gradient(value, block.trainable_variables)]
        return gradients

    keras.config.set_dtype_policy(policy)
    plain, recomputed = gradients_of(False), gradients_of(True)
    for one, other in zip(plain, recomputed, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(plain[0] - plain[4]).max() > 0.1  # each step draws a mask of its own


def test_is_saved_with_its_block(tmp_path):
    model = generator(True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    points = np.ones((3, 2), "float32")
    np.testing.assert_array_equal(model.predict(points, verbose=0), loaded.predict(points, verbose=0))


def test_keeps_no_inner_value_between_the_passes():
    """In the graph of a gradient, the backward pass reads what a second forward pass made, not the first."""

    def gradient_of(recompute):
        model = generator(recompute, depth=1, layers_per_block=5)
        variables = [variable.value for variable in model.trainable_variables]

        @tf.function
        def gradient(points):
            with tf.GradientTape() as tape:
                value = tf.reduce_sum(model(points, training=True) ** 2)
            return tape.gradient(value, variables)

        graph = gradient.get_concrete_function(tf.TensorSpec((None, 2))).graph
        return sum(operation.type == "Relu" for operation in graph.get_operations())

    assert (gradient_of(False), gradient_of(True)) == (5, 10)


@pytest.mark.parametrize("block", [5, [keras.layers.Dense(2)]])
def test_what_is_no_layer_is_refused(block):
    with pytest.raises(ValueError, match=f"must be one Keras layer or model. Received: {type(block).__name__}. Wrap"):
        Recompute(block)
