"""Every model goes on from its files to the bit, and keeps the last good one when training breaks."""

from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from tests.helpers.rows import ROWS, fit, largest_difference, weights
from tests.helpers.subject import BATCH, RATE, WHOLE, subject


def state(model):
    """All that a step depends on: weights, the step's number, slots and learning rates."""
    return [*weights(model), *(one.numpy() for optimizer in model.optimizers for one in optimizer.variables)]


def test_files_keep_weights_slots_and_options_and_go_on_to_the_bit(row_name, row, tmp_path):
    examples, size = row.examples(WHOLE[0]), {"batch_size": WHOLE[1]}
    whole = subject(row_name, RATE).anew(RATE)
    fit(whole, examples, epochs=2, **size)
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
    resumed.compile(*(keras.optimizers.Adam(RATE) for _ in row.trains))
    resumed.load_weights(tmp_path / "model.weights.h5")
    assert largest_difference(state(whole), state(resumed)) == 0
    for model in (whole, loaded):
        fit(model, examples, epochs=2, **size)
        assert model.steps_taken == 4
    assert largest_difference(state(whole), state(loaded)) == 0


def test_nan_stops_training_and_keeps_the_last_checkpoint(row_name, row, tmp_path):
    from zoo.callbacks import Checkpoint

    model = subject(row_name).anew(0.001)
    checkpoint = tmp_path / "latest.weights.h5"
    fit(model, row.examples(BATCH), 1, BATCH, callbacks=[Checkpoint(checkpoint)])
    kept = checkpoint.read_bytes()
    for optimizer in row.trains:
        getattr(model, optimizer).learning_rate = float("nan")
    with pytest.raises(FloatingPointError, match="Training stopped: .* is not finite|Training stopped: .*nan"):
        fit(model, row.examples(2 * BATCH), 5, BATCH, callbacks=[Checkpoint(checkpoint)])
    assert checkpoint.read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["latest.weights.h5"]


GOLDEN = Path(__file__).parent / "golden"


def _is_model(value):
    return isinstance(value, type) and issubclass(value, keras.Model) and value.__module__.startswith("zoo.models.")


def test_every_model_has_a_row_and_a_file_of_an_earlier_version():
    """One of each class; those that others may be made from have rows of their own."""
    classes = {name: type(row.build()) for name, row in ROWS.items()}
    public = {value for value in (getattr(zoo, name) for name in zoo.__all__) if _is_model(value)}
    assert public == {*classes.values()}
    assert {classes[path.stem] for path in GOLDEN.glob("*.keras")} == public


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.keras")), ids=lambda path: path.stem)
def test_files_of_earlier_versions_load(path):
    """Written by 0.1.0 after one step, with what `output` gave then; they must load for ever."""
    model = keras.models.load_model(path, safe_mode=True)
    found = ROWS[path.stem].examples.output(model)
    np.testing.assert_allclose(found, np.load(path.with_suffix(".npy")), atol=1e-6)
    assert model.steps_taken == 1 and model.compiled
    assert all(len(optimizer.variables) > 2 for optimizer in model.optimizers)
