"""Every model learns what it should, says so in its logs, repeats from its seed, and does so in 16 bits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.examples import Numbers, arguments
from tests.helpers.graphs import called_for_training
from tests.helpers.rows import compile_sgd, fit, largest_difference, weights
from tests.helpers.subject import BATCH, RATE, WHOLE, subject

HALVES = slice(BATCH), slice(BATCH, 2 * BATCH)


def test_only_the_intended_network_moves_and_its_loss_falls(row_name, row):
    """Each player against opponents that stand still; the noise differs from step to step, so means are compared."""
    networks = [network for names, _ in row.trains.values() for network in names]
    for moving, (intended, terms) in row.trains.items():
        model = subject(row_name, rate=RATE).anew({**dict.fromkeys(row.trains, 0.0), moving: RATE})
        before = {network: weights(getattr(model, network)) for network in networks}
        losses = fit(model, row.examples(WHOLE[0]), epochs=24, batch_size=WHOLE[1]).history
        losses = np.sum([losses[term] for term in terms], axis=0)
        assert np.isfinite(losses).all()
        assert np.mean(losses[-6:]) < np.mean(losses[:6]), f"{terms} do not fall"
        for network in networks:
            moved = largest_difference(before[network], weights(getattr(model, network))) > 0
            assert moved == (network in intended), network


def test_logs_hold_every_term_as_the_mean_over_the_epoch(row_name, row):
    """Of two steps, the mean of what either says alone; where they count differently, between."""
    examples, model = arguments(row.examples(2 * BATCH)), subject(row_name).anew(0.0)
    halves = [tf.nest.map_structure(lambda rows, half=half: rows[half], examples) for half in HALVES]
    alone = [fit(model, half, 1, BATCH).history for half in halves]
    model = subject(row_name).anew(0.0)
    whole = fit(model, examples, 1, BATCH).history
    for term, (value,) in whole.items():
        low, high = sorted(half[term][0] for half in alone)
        margin = 1e-5 * max(1, abs(low), abs(high))
        assert low - margin <= value <= high + margin, f"{term} is {value}, of batches with {low} and {high}"
        if isinstance(row.examples, Numbers):
            assert value == pytest.approx((low + high) / 2, abs=margin), term
    single = [terms for _, terms in row.trains.values()] if len(row.trains) == 1 else []
    assert set(whole) == {*model.terms, *model.gauges, *model.counted, *(["loss"] if single else [])}
    for terms in single:
        # The one objective is the sum of the terms that the table says are lowered.
        np.testing.assert_allclose(whole["loss"], np.sum([whole[term] for term in terms], axis=0), rtol=1e-6)
    own = {"confusion"} if model.counted else set()
    assert {metric.name for metric in model.metrics} == {*model.terms, *model.gauges, *own}


def test_training_repeats_from_its_seed(row_name, row):
    results = []
    for _ in range(2):
        model = subject(row_name).anew(0.01)
        fit(model, row.examples(BATCH), 2, BATCH)
        results.append(weights(model))
    assert largest_difference(*results) == 0


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore:`ipot` stopped after 10 iterations")  # As many as the row asks for.
def test_another_seed_trains_differently(row_name, row):
    results, model = [], subject(row_name).model
    examples = row.examples(BATCH)
    for seed in (0, 1):
        subject(row_name).anew(0.01)
        model.seed = seed
        with called_for_training() as called:
            for _ in range(3):  # CycleGAN's pool has something to draw from in the second.
                model.train_step(model.examples_of(examples))
        assert called
        results.append(weights(model))
    model.seed = 0
    assert largest_difference(*results) > 0


@pytest.mark.exhaustive
def test_mixed_precision_trains_in_a_band_around_float32(row_name, row):
    """16-bit networks lose digits, not the course: within 10 % or 0.1 of float32 after the same steps."""
    model = subject(row_name).anew(0.01)
    start = model.get_weights()
    expected = fit(model, row.examples(2 * BATCH), 3, BATCH).history
    for policy in ("mixed_bfloat16", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        model = row.build()
        model.set_weights(start)
        compile_sgd(model, 0.01)
        for optimizer in model.optimizers if policy == "mixed_float16" else ():
            # From its usual 2^15 the loss scale would first have to come down, by steps that change nothing.
            optimizer.dynamic_scale.assign(8.0)
        logs = fit(model, row.examples(2 * BATCH), 3, BATCH).history
        assert row.examples.output(model).dtype == np.float32
        for term, values in expected.items():
            np.testing.assert_allclose(logs[term], values, rtol=0.1, atol=0.1)


def test_float16_wraps_every_optimizer_in_a_loss_scale(row):
    keras.config.set_dtype_policy("mixed_float16")
    model = row.build()
    model.compile()
    assert all(isinstance(getattr(model, name), keras.optimizers.LossScaleOptimizer) for name in row.trains)
