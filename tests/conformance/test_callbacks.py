"""Keras's usual callbacks do on every kind of model what they do on Keras's own."""

import csv

import keras
import numpy as np
import pytest

import zoo
from tests.helpers.rows import ROWS, fit, largest_difference, weights

# One of each kind: two players, one objective, texts, objects, pixels.
OTHERS = "vae", "seq2seq", "mask_rcnn", "fcn"
KINDS = ["gan", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in OTHERS)]
RATES = (0.008, 0.004)


def compiled(name, rates=RATES, **options):
    model = ROWS[name].build()
    networks = list(model.optimizer_networks)
    model.compile(*(keras.optimizers.SGD(rate, **options) for rate in rates[: len(networks)]))
    return model


def watched(model):
    """What Keras's defaults watch where there is an objective, else a player's loss, whose direction is known."""
    return {} if model.objective_terms else {"monitor": model.terms[-1]}


def validation(model, examples):
    return {"validation_data": examples} if model.has_held_out_loss else {}


@pytest.mark.parametrize("name", KINDS)
def test_callbacks_do_their_work_on_every_kind_of_model(name, tmp_path, capsys):
    """No epoch is an improvement after the first, by a `min_delta` that none reaches, so all is known beforehand."""
    model, epochs = compiled(name, use_ema=True, ema_momentum=1.0), []
    examples, options = ROWS[name].examples(8), watched(model)
    never = {**options, "min_delta": 1e9}
    after_one_step = []
    callbacks = [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 * rate),
        keras.callbacks.ReduceLROnPlateau(factor=0.1, patience=1, **never),
        keras.callbacks.EarlyStopping(patience=2, **never),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True, **options),
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True, **options),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TensorBoard(tmp_path / "board", histogram_freq=1, write_steps_per_second=True),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.SwapEMAWeights(),
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: epochs.append((epoch, dict(logs))),
            on_train_batch_end=lambda batch, logs: after_one_step or after_one_step.append(weights(model)),
        ),
    ]
    data = examples if isinstance(examples, tuple) else (examples,)
    held_out = validation(model, examples)
    history = model.fit(*data, batch_size=4, epochs=9, shuffle=False, callbacks=callbacks, verbose=2, **held_out)
    assert "Epoch 3/9" in capsys.readouterr().out
    # The third epoch is the second in a row that brings nothing.
    assert model.steps_taken == 6 and len(history.epoch) == len(epochs) == 3
    one = len(model.optimizers) == 1
    for attribute, rate in zip(model.optimizer_networks, RATES, strict=False):
        assert float(getattr(model, attribute).learning_rate) == pytest.approx(rate * 0.5**3 * 0.1**2)
        # What the epoch had, which the second and the third ended with a tenth of.
        logged = history.history["learning_rate" if one else f"learning_rate_{attribute}"]
        assert logged == pytest.approx([rate * 0.5, rate * 0.5**2, rate * 0.5**3 * 0.1])
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert len(rows) == 3 and {*model.terms, *model.counted} <= rows[0].keys()
    assert list(tmp_path.glob("board/train/*"))
    best = zoo.load(tmp_path / "best.keras")
    assert best.steps_taken in (2, 4, 6) and best.compiled
    assert sorted(path.name for path in tmp_path.glob("*.weights.h5")) == [f"{n}.weights.h5" for n in (1, 2, 3)]
    # An average with momentum 1 stays at what the first step made, and Keras leaves averages as the weights; it swaps
    # both by sums, which round.
    first = dict(zip(map(id, model.weights), after_one_step[0], strict=True))
    moved = [variable for optimizer in model.optimizers for variable in optimizer._trainable_variables]
    for variable in moved:
        np.testing.assert_allclose(variable.numpy(), first[id(variable)], atol=1e-6)


@pytest.mark.parametrize("name", ["gan", pytest.param("vae", marks=pytest.mark.exhaustive)])
def test_an_interrupted_fit_goes_on_to_the_bit_by_backup_and_restore(name, tmp_path):
    examples, start = ROWS[name].examples(8), None

    def trained(*callbacks):
        nonlocal start
        model = compiled(name, momentum=0.5)
        start = start or model.get_weights()
        model.set_weights(start)
        callbacks = [*callbacks, keras.callbacks.BackupAndRestore(tmp_path / f"{len(callbacks)}")]
        fit(model, examples, epochs=4, callbacks=callbacks)
        return model

    def interrupt(epoch, logs):
        if epoch == 2:
            raise InterruptedError

    whole = trained()
    with pytest.raises(InterruptedError):
        trained(keras.callbacks.LambdaCallback(on_epoch_begin=interrupt))
    resumed = trained(keras.callbacks.LambdaCallback())
    assert whole.steps_taken == resumed.steps_taken == 4
    assert largest_difference(weights(whole), weights(resumed)) == 0


def test_rates_that_follow_a_schedule_are_refused_as_keras_does():
    model = ROWS["gan"].build()
    model.compile(*(keras.optimizers.SGD(zoo.ConstantThenLinear(0.1, 1, 1)) for _ in range(2)))
    with pytest.raises(TypeError, match="LearningRateSchedule.* its learning rate is not settable"):
        fit(model, ROWS["gan"].examples(4), callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate)])
    assert model.steps_taken == 0


def test_several_optimizers_have_no_rate_in_common():
    model = compiled("gan")
    for touch in (lambda: model.optimizer.learning_rate, lambda: setattr(model.optimizer, "learning_rate", 0.1)):
        with pytest.raises(
            AttributeError, match="2 optimizers .* `model.discriminator_optimizer.learning_rate`, `model.g"
        ):
            touch()
    assert len(model.optimizer.variables) == sum(len(one.variables) for one in model.optimizers)
    model.summary(print_fn=lambda *args, **kwargs: None)


WATCHERS = {
    "EarlyStopping": keras.callbacks.EarlyStopping,
    "ReduceLROnPlateau": keras.callbacks.ReduceLROnPlateau,
    "ModelCheckpoint": lambda **options: keras.callbacks.ModelCheckpoint("x.keras", save_best_only=True, **options),
}


@pytest.mark.parametrize("watcher", WATCHERS)
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "gan",
            {},
            r"\(monitor='val_loss'\)` would never see `val_loss`: GAN has no single loss: .* as `\w+\('generator_",
        ),
        (
            "gan",
            {"monitor": "loss"},
            "no single loss: its players lower one each. Watch one of its terms, discriminator_l",
        ),
        ("gan", {"monitor": "val_generator_loss"}, "GAN has no loss on held-out data. Watch one of its terms"),
        ("cycle_gan", {}, r"CycleGAN has no single loss.* as `\w+\('val_discriminator_y_loss'\)`; or what a `zoo.call"),
        (
            "vae",
            {"monitor": "frechet_distance"},
            "`frechet_distance` is no figure of the model's own: mode=.*of loss, reconstru",
        ),
        ("vae", {"monitor": "los", "mode": "min"}, "VAE logs no such figure, nor does a callback before it. Watch one"),
    ],
)
def test_what_is_never_logged_is_refused_before_the_first_step(watcher, name, options, message):
    model = compiled(name)
    with pytest.raises(ValueError, match=f"{watcher}{message}" if message[0] == "\\" else message):
        fit(model, ROWS[name].examples(4), callbacks=[WATCHERS[watcher](**options)])
    assert model.steps_taken == 0


def test_what_another_callback_logs_may_be_watched():
    model = compiled("gan")
    logs = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_loss=1.0))
    for before in (logs, zoo.callbacks.Evaluate(lambda model: {"val_loss": 1.0})):
        history = fit(model, ROWS["gan"].examples(4), 5, callbacks=[before, keras.callbacks.EarlyStopping(patience=1)])
        assert len(history.epoch) == 2
    # What is evaluated says itself which way it is better.
    judged = lambda model: {"frechet_distance": 1.0}  # noqa: E731
    judged.better = {"frechet_distance": "min"}
    stopping = keras.callbacks.EarlyStopping("frechet_distance", patience=1)
    history = fit(model, ROWS["gan"].examples(4), 5, callbacks=[zoo.callbacks.Evaluate(judged), stopping])
    assert stopping.mode == "min" and len(history.epoch) == 2

    class OwnStopping(keras.callbacks.EarlyStopping):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, {"val_loss": 1.0})

    assert len(fit(model, ROWS["gan"].examples(4), 5, callbacks=[OwnStopping(patience=1)]).epoch) == 2
    # One that saves whatever comes watches nothing.
    fit(model, ROWS["gan"].examples(4), 1, callbacks=[keras.callbacks.ModelCheckpoint("never.keras", save_freq=100)])


@pytest.mark.parametrize(
    ("monitor", "mode"), [("mean_iou", "max"), ("val_cross_entropy", "min"), ("val_mean_iou", "max")]
)
def test_the_model_knows_which_way_is_better(monitor, mode):
    model, stopping = compiled("fcn"), keras.callbacks.EarlyStopping(monitor)
    from zoo.training.monitors import settle_monitors

    settle_monitors(model, [stopping])
    assert stopping.mode == mode
