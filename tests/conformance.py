"""One table of models, and the properties that each of them has. A new model adds a row."""

import functools
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import GAN, WGAN, WGANGP, dcgan_critic, dcgan_generator, mlp_critic, mlp_generator


@dataclass(frozen=True)
class Row:
    """A model small enough to test.

    Attributes:
        build: Makes the uncompiled model.
        shape: Shape of one example.
        trains: For each optimizer the network that it moves and the terms whose sum it lowers.
        large: Options of `build` for a model of realistic size, which benchmarks/scale.py trains.
    """

    build: callable
    shape: tuple
    trains: dict
    large: dict

    def examples(self, count, seed=0):
        return examples_of(self.shape, count, seed)


def examples_of(shape, count, seed=0):
    values = np.random.default_rng(seed).uniform(-0.9, 0.9, (count, *shape))
    return (values + 0.1).astype("float32")


def _images(model, judge, side=8, filters=4, **options):
    shape = (side, side, 1)
    generator = dcgan_generator(shape, filters, filters, norm="layer")
    return model(**{"generator": generator, judge: dcgan_critic(shape, filters)}, **options)


def _points(model, judge, width=8, **options):
    hidden = (width, width)
    networks = {"generator": mlp_generator((2,), hidden=hidden), judge: mlp_critic((2,), hidden=hidden)}
    return model(**networks, **options)


def _adversaries(judge, *penalties):
    return {
        f"{judge}_optimizer": (judge, (f"{judge}_loss", *penalties)),
        "generator_optimizer": ("generator", ("generator_loss",)),
    }


GAN_TRAINS = _adversaries("discriminator")
WGAN_GP_TRAINS = _adversaries("critic", "gradient_penalty")
LARGE_IMAGES, LARGE_POINTS = {"side": 28, "filters": 32}, {"width": 256}
ROWS = {
    "gan": Row(partial(_images, GAN, "discriminator"), (8, 8, 1), GAN_TRAINS, LARGE_IMAGES),
    "gan_minimax_ema": Row(
        partial(_points, GAN, "discriminator", generator_loss="minimax", discriminator_steps=2, generator_ema=0.9),
        (2,),
        GAN_TRAINS,
        LARGE_POINTS,
    ),
    # Clipping at the paper's 0.01 would move a critic that does not train: test_wgan.py looks at it.
    "wgan": Row(
        partial(_points, WGAN, "critic", critic_steps=2, clip=10.0), (2,), _adversaries("critic"), LARGE_POINTS
    ),
    "wgan_gp": Row(
        partial(_images, WGANGP, "critic", critic_steps=2, generator_ema=0.9), (8, 8, 1), WGAN_GP_TRAINS, LARGE_IMAGES
    ),
}


@pytest.fixture(params=ROWS)
def row(request):
    return ROWS[request.param]


def weights(network):
    return network.get_weights()


def largest_difference(one, other):
    return max(np.abs(a - b).max() for a, b in zip(one, other, strict=True))


def compile_sgd(model, learning_rate=0.05, **execution):
    """SGD shows a gradient of the wrong size, which Adam would hide."""
    optimizers = [keras.optimizers.SGD(learning_rate, momentum=0.5) for _ in model.optimizer_networks]
    model.compile(*optimizers, **execution)


def fit(model, examples, epochs=2, batch_size=8, **options):
    return model.fit(examples, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0, **options)


def test_only_the_intended_network_moves_and_its_loss_falls(row):
    """Each player against opponents that stand still; the noise differs from step to step, so means are compared."""
    for moving, (network, terms) in row.trains.items():
        model = row.build()
        still = {name: keras.optimizers.SGD(0.0) for name in row.trains}
        model.compile(**{**still, moving: keras.optimizers.Adam(0.003)})
        before = {name: weights(getattr(model, name)) for name, _ in row.trains.values()}
        losses = fit(model, row.examples(64), epochs=24, batch_size=64).history
        losses = np.sum([losses[term] for term in terms], axis=0)
        assert np.isfinite(losses).all()
        assert np.mean(losses[-6:]) < np.mean(losses[:6]), f"{terms} do not fall"
        for name, _ in row.trains.values():
            moved = largest_difference(before[name], weights(getattr(model, name))) > 0
            assert moved == (name == network), name


def test_logs_hold_every_term_as_the_mean_over_the_epoch(row):
    model = row.build()
    model.compile(**{name: keras.optimizers.SGD(0.0) for name in row.trains})
    whole = fit(model, row.examples(16), epochs=1, batch_size=16).history
    assert set(whole) == set(model.terms)
    assert {metric.name for metric in model.metrics} == set(model.terms)


# Ways to execute the same training: (replicas, options of `compile`).
EXECUTIONS = {
    "two replicas": (2, {}),
    "two replicas, compiled, accumulating, two steps at a time": (
        2,
        {"jit_compile": True, "gradient_accumulation_steps": 2, "steps_per_execution": 2},
    ),
    "compiled, two steps at a time": (1, {"jit_compile": True, "steps_per_execution": 2}),
}
ROWS_PER_BATCH = 7


@functools.cache
def plain_training(name):
    """What one replica makes of three batches of seven, twice: weights before and after, and logs."""
    row = ROWS[name]
    model = row.build()
    compile_sgd(model)
    start = model.get_weights()
    logs = fit(model, row.examples(3 * ROWS_PER_BATCH), batch_size=ROWS_PER_BATCH).history
    return start, model.get_weights(), logs


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("name", ROWS)
def test_every_execution_gives_the_same_weights_and_logs(name, execution, two_replicas):
    """Replicas get four and three rows. The largest difference allowed, 1e-5, is the design's."""
    replicas, options = EXECUTIONS[execution]
    start, expected, expected_logs = plain_training(name)
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        model = ROWS[name].build()
        model.set_weights(start)
        compile_sgd(model, **options)
    logs = fit(model, ROWS[name].examples(3 * ROWS_PER_BATCH), batch_size=ROWS_PER_BATCH).history
    assert model.distribute_strategy.num_replicas_in_sync == replicas
    assert model.steps_taken == 6
    assert largest_difference(expected, weights(model)) < 1e-5
    for term, values in expected_logs.items():
        np.testing.assert_allclose(logs[term], values, atol=1e-4, rtol=1e-4)


def test_mixed_precision_trains_in_a_band_around_float32(row):
    """16-bit networks lose digits, not the course: within 10 % or 0.1 of float32 after the same steps."""
    logs = {}
    start = None
    for policy in ("float32", "mixed_bfloat16", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        model = row.build()
        start = start or model.get_weights()
        model.set_weights(start)
        optimizers = [keras.optimizers.SGD(0.01) for _ in row.trains]
        if policy == "mixed_float16":
            # From its usual 2^15 the loss scale would first have to come down, by steps that change nothing.
            optimizers = [keras.optimizers.LossScaleOptimizer(one, initial_scale=8) for one in optimizers]
        model.compile(*optimizers)
        logs[policy] = fit(model, row.examples(16), epochs=3).history
        assert model.generate(2).dtype == np.float32
    for policy in ("mixed_bfloat16", "mixed_float16"):
        for term, values in logs["float32"].items():
            np.testing.assert_allclose(logs[policy][term], values, rtol=0.1, atol=0.1)


def test_float16_wraps_every_optimizer_in_a_loss_scale(row):
    keras.config.set_dtype_policy("mixed_float16")
    model = row.build()
    model.compile()
    assert all(isinstance(getattr(model, name), keras.optimizers.LossScaleOptimizer) for name in row.trains)


def test_files_keep_weights_slots_and_options_and_go_on_to_the_bit(row, tmp_path):
    examples = row.examples(16)
    whole = row.build()
    whole.compile()
    fit(whole, examples, epochs=1)
    whole.save(tmp_path / "model.keras")
    whole.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.compiled
    for optimizer in row.trains:
        assert type(getattr(loaded, optimizer)) is type(getattr(whole, optimizer))
        kept = [keras.ops.convert_to_numpy(slot) for slot in getattr(whole, optimizer).variables]
        restored = [keras.ops.convert_to_numpy(slot) for slot in getattr(loaded, optimizer).variables]
        assert len(kept) > 1 and largest_difference(kept, restored) == 0
    options = {name: value for name, value in whole.get_config().items() if not isinstance(value, dict)}
    assert options and options.items() <= loaded.get_config().items()
    resumed = row.build()
    resumed.compile()
    resumed.load_weights(tmp_path / "model.weights.h5")
    for model in (whole, loaded, resumed):
        fit(model, examples, epochs=1)
        assert model.steps_taken == 4
    assert largest_difference(weights(whole), weights(loaded)) == 0
    assert largest_difference(weights(whole), weights(resumed)) == 0


def test_export_equals_memory_in_a_loader_without_python(row, tmp_path):
    from zoo.serving.checking import conformance
    from zoo.serving.loader.isolated import run_native

    model = row.build()
    model.compile()
    fit(model, row.examples(8), epochs=1)
    model.export(tmp_path / "1")
    assert conformance.check(tmp_path / "1") == []
    latents = np.random.default_rng(1).normal(size=(3, model.generator.input_shape[1])).astype("float32")
    (served,) = run_native(tmp_path / "1", "serving_default", {"latents": latents}).values()
    np.testing.assert_allclose(served, model.predict(latents, verbose=0), atol=1e-6)
    (sampled,) = run_native(tmp_path / "1", "sample", {"seed": np.array([5, 3, 5], "int64")}).values()
    np.testing.assert_allclose(sampled[0], model.generate(1, seed=5)[0], atol=1e-6)
    np.testing.assert_array_equal(sampled[0], sampled[2])
    assert np.abs(sampled[0] - sampled[1]).max() > 0


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Every model, published and served over gRPC and REST by a process without Python TensorFlow."""
    from tests.serving.servers import Server
    from zoo.serving import publish

    base = tmp_path_factory.mktemp("exports")
    for name, row in ROWS.items():
        publish(row.build(), base, name, card={})
    with Server(base) as server:
        yield base, server


@pytest.mark.parametrize("name", ROWS)
def test_a_server_answers_what_the_export_gives(name, served):
    from zoo.serving.checking.protocol import check_server

    base, server = served
    problems = check_server(base / name, server.grpc, server.rest)
    assert problems == {base / name / "1": []}


def test_generate_repeats_and_extends(row):
    model = row.build()
    assert model.generate(3, seed=1).shape == (3, *row.shape)
    np.testing.assert_allclose(model.generate(5, seed=1)[:3], model.generate(3, seed=1), atol=1e-6)
    assert np.abs(model.generate(3, seed=1) - model.generate(3, seed=2)).max() > 0
    with pytest.raises(ValueError, match="at least 1"):
        model.generate(0)


def test_training_repeats_from_its_seed_and_differs_with_another(row):
    results = []
    start = None
    for seed in (0, 1):
        model = row.build()
        start = start or model.get_weights()
        model.seed = seed
        model.compile(**{name: keras.optimizers.SGD(0.01) for name in row.trains})
        for _ in range(2 - seed):
            model.set_weights(start)
            fit(model, row.examples(8), epochs=1)
            results.append(weights(model))
    assert largest_difference(results[0], results[1]) == 0
    assert largest_difference(results[0], results[2]) > 0


def test_bad_examples_are_refused_with_advice(row):
    model = row.build()
    good = row.examples(4)
    with pytest.raises(ValueError, match="call `compile"):
        fit(model, good)
    model.compile()
    with pytest.raises(ValueError, match=r"Expected shape \(batch, .*Received: \(4, 3\)"):
        fit(model, np.zeros((4, 3), "float32"))
    bad = good.copy()
    bad[1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        fit(model, bad)
    with pytest.raises(ValueError, match="floating point"):
        fit(model, (good * 0).astype("uint8"))
    with pytest.raises(ValueError, match="examples alone"):
        fit(model, good, y=np.zeros(4))
    if len(row.shape) == 3:
        with pytest.raises(ValueError, match=r"must lie in \[-1, 1\].*Received: min=.*max=.*Divide by 127.5"):
            fit(model, (good + 1) * 127.5)
        with pytest.raises(ValueError, match="channels"):
            fit(model, np.repeat(good, 3, axis=-1))
        with pytest.raises(ValueError, match="missing axis"):
            fit(model, good[..., 0])


def test_a_batch_smaller_than_the_replicas_is_refused(row, two_replicas):
    with two_replicas.scope():
        model = row.build()
        model.compile()
    with pytest.raises(ValueError, match="A batch of 1 examples cannot be split over 2 replicas"):
        fit(model, row.examples(1))


def test_nan_stops_training_and_keeps_the_last_checkpoint(row, tmp_path):
    from zoo.callbacks import Checkpoint

    model = row.build()
    compile_sgd(model, 0.001)
    checkpoint = tmp_path / "latest.weights.h5"
    fit(model, row.examples(8), epochs=1, callbacks=[Checkpoint(checkpoint)])
    kept = checkpoint.read_bytes()
    for optimizer in row.trains:
        getattr(model, optimizer).learning_rate = float("nan")
    with pytest.raises(FloatingPointError, match="Training stopped: .* is not finite|Training stopped: .*nan"):
        fit(model, row.examples(16), epochs=5, callbacks=[Checkpoint(checkpoint)])
    assert checkpoint.read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["latest.weights.h5"]
