"""Every model learns what it should, says so in its logs, repeats from its seed, and does so in 16 bits."""

import keras
import numpy as np

from tests.helpers.rows import fit, largest_difference, output, weights


def test_only_the_intended_network_moves_and_its_loss_falls(row):
    """Each player against opponents that stand still; the noise differs from step to step, so means are compared."""
    networks = [name for names, _ in row.trains.values() for name in names]
    for moving, (intended, terms) in row.trains.items():
        model = row.build()
        still = {name: keras.optimizers.SGD(0.0) for name in row.trains}
        model.compile(**{**still, moving: keras.optimizers.Adam(0.003)})
        before = {name: weights(getattr(model, name)) for name in networks}
        losses = fit(model, row.examples(64), epochs=24, batch_size=64).history
        losses = np.sum([losses[term] for term in terms], axis=0)
        assert np.isfinite(losses).all()
        assert np.mean(losses[-6:]) < np.mean(losses[:6]), f"{terms} do not fall"
        for name in networks:
            moved = largest_difference(before[name], weights(getattr(model, name))) > 0
            assert moved == (name in intended), name


def test_logs_hold_every_term_as_the_mean_over_the_epoch(row):
    model = row.build()
    model.compile(**{name: keras.optimizers.SGD(0.0) for name in row.trains})
    whole = fit(model, row.examples(16), epochs=1, batch_size=16).history
    single = [terms for _, terms in row.trains.values()] if len(row.trains) == 1 else []
    assert set(whole) == {*model.terms, *model.gauges, *model.counted, *(["loss"] if single else [])}
    for terms in single:
        # The one objective is the sum of the terms that the table says are lowered.
        np.testing.assert_allclose(whole["loss"], np.sum([whole[term] for term in terms], axis=0), rtol=1e-6)
    own = {"confusion"} if model.counted else set()
    assert {metric.name for metric in model.metrics} == {*model.terms, *model.gauges, *own}


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
            fit(model, row.examples(8), epochs=2)
            results.append(weights(model))
    assert largest_difference(results[0], results[1]) == 0
    assert largest_difference(results[0], results[2]) > 0


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
        assert output(model).dtype == np.float32
    for policy in ("mixed_bfloat16", "mixed_float16"):
        for term, values in logs["float32"].items():
            np.testing.assert_allclose(logs[policy][term], values, rtol=0.1, atol=0.1)


def test_float16_wraps_every_optimizer_in_a_loss_scale(row):
    keras.config.set_dtype_policy("mixed_float16")
    model = row.build()
    model.compile()
    assert all(isinstance(getattr(model, name), keras.optimizers.LossScaleOptimizer) for name in row.trains)
