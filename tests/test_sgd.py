"""SGD decays weights as Caffe, Detectron and PyTorch do; its training, and Muon's, keep what all training keeps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.optimizers import draws, moved
from tests.helpers.rows import ROWS, fit, largest_difference
from zoo.runs.optimizers import cosine_optimizer
from zoo.training import SGD, Muon

RATE, MOMENTUM = 0.1, 0.9


def by_hand(start, gradients, decay, nesterov=False):
    """PyTorch's documented algorithm of `torch.optim.SGD`, in NumPy: g <- g + decay w, b <- mu b + g, w <- w - rate b.

    With Nesterov's momentum w <- w - rate (g + mu b).
    """
    weight, buffer = start.astype("float64"), 0.0
    for gradient in gradients:
        gradient = gradient + decay * weight
        buffer = MOMENTUM * buffer + gradient
        weight = weight - RATE * (gradient + MOMENTUM * buffer if nesterov else buffer)
    return weight


def left(rate_times_decay, steps):
    """What momentum leaves of a weight of 1 without gradients, in closed form.

    w_t = (1 + mu - a) w_(t-1) - mu w_(t-2) with w_0 = w_(-1) = 1, a being rate times decay: a sum of powers of the
    roots r of r^2 - (1 + mu - a) r + mu.
    """
    roots = np.roots([1, -(1 + MOMENTUM - rate_times_decay), MOMENTUM])
    factors = np.linalg.solve(np.stack([roots**0, roots**-1.0]), np.ones(2))
    return (factors * roots**steps).sum().real


def test_weights_decay_through_the_momentum():
    """0.120 after 200 steps by the closed form; Keras's decay beside the momentum leaves 0.999^200 = 0.819."""
    nothing = np.zeros((200, 1), "float32")
    expected = left(1e-3, 200)
    assert expected == pytest.approx(0.120, abs=5e-4)
    np.testing.assert_allclose(by_hand(np.ones(1), nothing, 0.01), expected, rtol=1e-9)
    found = moved(SGD(RATE, momentum=MOMENTUM, weight_decay=0.01), keras.Variable(np.ones(1, "float32")), nothing)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    beside = keras.optimizers.SGD(RATE, momentum=MOMENTUM, weight_decay=0.01)
    np.testing.assert_allclose(moved(beside, keras.Variable(np.ones(1, "float32")), nothing), 0.999**200, rtol=1e-4)


@pytest.mark.parametrize("nesterov", [False, True])
def test_updates_are_those_of_pytorch(nesterov):
    start, *gradients = draws(6, 3, 4)
    optimizer = SGD(RATE, momentum=MOMENTUM, nesterov=nesterov, weight_decay=0.05)
    expected = by_hand(start, gradients, 0.05, nesterov)
    np.testing.assert_allclose(moved(optimizer, keras.Variable(start), gradients), expected, rtol=1e-5, atol=1e-6)


def test_without_decay_and_where_it_is_left_out_updates_are_those_of_keras():
    start, *gradients = draws(4, 3, 4)
    expected = moved(keras.optimizers.SGD(RATE, momentum=MOMENTUM), keras.Variable(start), gradients)
    left_out = SGD(RATE, momentum=MOMENTUM, weight_decay=0.5)
    left_out.exclude_from_weight_decay(var_names=["bias"])
    for optimizer in (SGD(RATE, momentum=MOMENTUM), left_out):
        np.testing.assert_array_equal(moved(optimizer, keras.Variable(start, name="bias"), gradients), expected)


def test_the_rows_of_embeddings_that_have_no_gradient_decay_too():
    weight = keras.Variable(np.ones((3, 2), "float32"))
    optimizer = SGD(1.0, weight_decay=0.25)
    optimizer.apply([tf.IndexedSlices(tf.ones((1, 2)), tf.constant([1]), tf.constant([3, 2]))], [weight])
    np.testing.assert_allclose(weight, [[0.75] * 2, [-0.25] * 2, [0.75] * 2])


def test_a_loss_scale_does_not_reach_the_decay():
    weight = keras.Variable(np.ones(1, "float32"))
    optimizer = keras.optimizers.LossScaleOptimizer(SGD(1.0, weight_decay=0.25), initial_scale=8.0)
    optimizer.apply([np.array([4.0], "float32")], [weight])
    np.testing.assert_allclose(weight, [1 - 4 / 8 - 0.25])


@pytest.mark.parametrize("name", ["fcn", "mask_rcnn"])
def test_papers_and_recipes_decay_so(name):
    class Config:
        optimizer, learning_rate, warm_up_steps, momentum, weight_decay = "sgd", 0.1, 0, 0.9, 1e-4
        epochs, steps_per_epoch, clip = 1, 10, None

    for optimizer in (ROWS[name].build().default_optimizer(), cosine_optimizer(Config)):
        assert type(optimizer) is SGD and optimizer.weight_decay > 0 and optimizer.momentum == 0.9


def compiled(**execution):
    model = ROWS["gan"].build()
    model.compile(*(SGD(0.05, momentum=0.9, weight_decay=0.5) for _ in model.optimizer_networks), **execution)
    return model


@pytest.mark.exhaustive
def test_replicas_and_compiled_steps_of_sgd_and_muon_give_the_weights_of_one(two_replicas):
    """The design's bound. Seven rows, split four and three, in each of two steps; each moves one of two networks."""

    def build(**execution):
        model = ROWS["gan"].build()
        discriminator_optimizer = SGD(0.05, momentum=0.9, weight_decay=0.5)
        model.compile(discriminator_optimizer, Muon(1e-3, exclude_layers=["dense"]), **execution)
        return model

    examples, plain = ROWS["gan"].examples(14), build()
    start = [plain.discriminator.get_weights(), plain.generator.get_weights()]
    with two_replicas.scope():
        model = build(jit_compile=True, gradient_accumulation_steps=2)
    model.set_weights(plain.get_weights())
    for one in (plain, model):
        fit(one, examples, epochs=1, batch_size=7)
    for before, network in zip(start, (plain.discriminator, plain.generator), strict=True):
        assert largest_difference(before, network.get_weights()) > 1e-3
    assert largest_difference(plain.get_weights(), model.get_weights()) < 1e-5


@pytest.mark.exhaustive
def test_files_keep_slots_and_options_and_slots_of_keras_fit(tmp_path):
    examples, whole = ROWS["gan"].examples(16), compiled()
    fit(whole, examples, epochs=1)
    whole.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    for optimizer in loaded.optimizers:
        assert type(optimizer) is SGD and optimizer.weight_decay == 0.5
    for model in (whole, loaded):
        fit(model, examples, epochs=1)
    assert largest_difference(whole.get_weights(), loaded.get_weights()) == 0
    # Checkpoints of runs that were begun with Keras's.
    before = ROWS["gan"].build()
    before.compile(*(keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.5) for _ in before.optimizer_networks))
    fit(before, examples, epochs=1)
    before.save_weights(tmp_path / "latest.weights.h5")
    resumed = compiled()
    resumed.load_weights(tmp_path / "latest.weights.h5")
    for one, other in zip(before.optimizers, resumed.optimizers, strict=True):
        slots = ([keras.ops.convert_to_numpy(slot) for slot in which.variables] for which in (one, other))
        assert largest_difference(*slots) == 0
