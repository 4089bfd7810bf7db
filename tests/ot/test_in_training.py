"""Transport inside tf.function, a Keras train step, replicas, mixed precision, and without TensorFlow."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from zoo import ot

ROOT = Path(__file__).parents[2]
TARGETS = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")


def test_a_graph_of_free_size():
    @tf.function(input_signature=[tf.TensorSpec((None, 2)), tf.TensorSpec((None, 2))])
    def value(x, y):
        with tf.GradientTape() as tape:
            tape.watch(x)
            cost = ot.sinkhorn(ot.squared_euclidean(x, y), 0.5).regularized_cost
        return cost, tape.gradient(cost, x)

    cost, gradient = value(TARGETS[:5], TARGETS + 1)
    expected = ot.sinkhorn(ot.squared_euclidean(TARGETS[:5], TARGETS + 1), 0.5, jit_compile=False).regularized_cost
    np.testing.assert_allclose(cost, expected, rtol=1e-5)
    assert gradient.shape == (5, 2) and np.all(np.isfinite(gradient))


class Mover(keras.Model):
    """A model that moves points so that together they look like the targets."""

    def __init__(self):
        super().__init__()
        self.shift = keras.layers.Dense(2)

    def call(self, x):
        return x + self.shift(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ot.sinkhorn(ot.squared_euclidean(y_pred, y), 0.5).regularized_cost


def losses(model, jit_compile):
    model.compile(keras.optimizers.SGD(0.02), jit_compile=jit_compile)
    return model.fit(TARGETS + 2, TARGETS, batch_size=8, epochs=3, verbose=0).history["loss"]


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_fit_lowers_the_cost(jit_compile):
    history = losses(Mover(), jit_compile)
    assert np.all(np.isfinite(history)) and history[-1] < 0.7 * history[0]


@pytest.mark.exhaustive
def test_under_a_strategy(two_replicas):
    # Each replica compiles and solves its own problem; the same points on both give the weights of one replica.
    points = np.concatenate([TARGETS, TARGETS])

    def value(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            cost = ot.sinkhorn(ot.squared_euclidean(x, x + 1.0), 0.5).regularized_cost
        return cost, tape.gradient(cost, x)

    data = two_replicas.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices(points).batch(16))
    per_replica, gradients = tf.function(lambda x: two_replicas.run(value, (x,)))(next(iter(data)))
    first, second = two_replicas.experimental_local_results(per_replica)
    expected = ot.sinkhorn(ot.squared_euclidean(TARGETS, TARGETS + 1.0), 0.5, jit_compile=False).regularized_cost
    np.testing.assert_allclose([first, second], expected, rtol=1e-5)
    assert np.all(np.isfinite(gradients.values[1]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    features = tf.cast(30 * TARGETS, dtype)  # Squared distances pass 65,504, the largest float16.
    with tf.GradientTape() as tape:
        tape.watch(features)
        value = ot.sinkhorn_divergence(features, features + 100, 500.0, jit_compile=False)
    assert value.dtype == tf.float32 and tape.gradient(value, features).dtype == dtype
    exact = np.float32(features)
    np.testing.assert_allclose(
        value, ot.sinkhorn_divergence(exact, np.float32(features + 100), 500.0, jit_compile=False), rtol=1e-5
    )


@pytest.mark.exhaustive
def test_without_compilation_a_graph_holds_no_xla():
    @tf.function
    def value(x):
        return ot.sinkhorn(ot.squared_euclidean(x, x + 1.0), 0.5, jit_compile=False).transport_cost

    graph = value.get_concrete_function(tf.TensorSpec((8, 2))).graph.as_graph_def()
    assert "XlaMustCompile" not in str(graph)


def test_gradient_passes_through_nested_compilation():
    @tf.function(jit_compile=True)
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            cost = ot.squared_euclidean(x, TARGETS)
            value = ot.sinkhorn(cost, 0.5, gradient="unrolled", max_iterations=5).transport_cost
        return tape.gradient(value, x)

    with tf.GradientTape() as tape:
        x = tf.constant(TARGETS + 1)
        tape.watch(x)
        options = {"gradient": "unrolled", "max_iterations": 5, "jit_compile": False}
        value = ot.sinkhorn(ot.squared_euclidean(x, TARGETS), 0.5, **options).transport_cost
    np.testing.assert_allclose(gradient(TARGETS + 1), tape.gradient(value, x), atol=1e-6)


PROGRAM = """
import sys
import numpy as np
from keras import ops
from zoo import ot

x, y = np.split(np.random.default_rng(0).normal(size=(16, 2)).astype("float32"), 2)
values = [
    ot.sinkhorn(ot.squared_euclidean(x, y), 0.5).regularized_cost,
    ot.sinkhorn_divergence(x, y, 0.5),
    ot.ipot(ot.cosine(x, y)).transport_cost,
    ot.point_cloud_sinkhorn(x, y, 0.5, block_size=3).entropic_cost,
    ot.wasserstein_1d(x[:, 0], y[:, 0]),
    ot.earth_mover([0.5, 0.5, 0.0], [0.0, 0.5, 0.5]),
]
assert "tensorflow" not in sys.modules
print(*(float(ops.convert_to_numpy(value)) for value in values))
"""


@pytest.fixture(scope="module")
def expected():
    """What `PROGRAM` prints, by TensorFlow."""
    x, y = np.split(np.random.default_rng(0).normal(size=(16, 2)).astype("float32"), 2)
    plan = ot.sinkhorn(ot.squared_euclidean(x, y), 0.5, jit_compile=False)
    found = [
        plan.regularized_cost,
        ot.sinkhorn_divergence(x, y, 0.5, jit_compile=False),
        ot.ipot(ot.cosine(x, y), jit_compile=False).transport_cost,
        plan.entropic_cost,
        ot.wasserstein_1d(x[:, 0], y[:, 0]),
        1.0,
    ]
    return ops.convert_to_numpy(found)


@pytest.mark.exhaustive
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_values_without_tensorflow(backend, expected):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: JAX comes with the tests, PyTorch with the benchmarks")
    environment = os.environ | {"KERAS_BACKEND": backend}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    np.testing.assert_allclose([float(word) for word in run.stdout.split()], expected, rtol=1e-3)
