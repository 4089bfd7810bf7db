"""Muon moves kernels of convolutions as Keras's moves matrices, and its training keeps what all training keeps."""

import keras
import numpy as np
import pytest

from tests.helpers.optimizers import draws, moved
from tests.helpers.rows import ROWS, fit, largest_difference
from zoo.training import Muon

SHAPE = (3, 3, 4, 8)


@pytest.mark.parametrize("shape", [SHAPE, (5, 1, 3, 2, 16)])
def test_a_kernel_moves_as_the_matrix_that_keras_moves(shape):
    start, *gradients = draws(4, *shape)
    matrix = start.reshape(-1, shape[-1])
    expected = moved(keras.optimizers.Muon(0.1, weight_decay=0.3), keras.Variable(matrix), gradients)
    found = moved(Muon(0.1, weight_decay=0.3), keras.Variable(start), gradients)
    np.testing.assert_allclose(found.reshape(matrix.shape), expected, atol=1e-7)


def test_an_update_is_about_the_nearest_orthogonal_matrix():
    """U V' of the singular value decomposition; the coefficients of the quintic leave singular values of 0.68 to 1.13.

    So K. Jordan gives them. Scaled by 0.2 sqrt(36), the root mean square of all 36 x 8 elements is about 0.2.
    """
    (gradient,) = draws(1, *SHAPE)
    update = -moved(Muon(1.0, weight_decay=None), keras.Variable(np.zeros_like(gradient)), [gradient]).reshape(36, 8)
    u, _, v = np.linalg.svd(gradient.reshape(36, 8), full_matrices=False)
    rotated = u.T @ (update / (0.2 * 6)) @ v.T
    assert np.diag(rotated).min() > 0.67 and np.diag(rotated).max() < 1.14
    np.testing.assert_allclose(rotated - np.diag(np.diag(rotated)), 0, atol=1e-3)
    assert 0.67 * 0.2 < np.sqrt(np.mean(update**2)) < 1.14 * 0.2


@pytest.mark.parametrize(
    ("shape", "options", "name"),
    [((8,), {}, "bias"), (SHAPE, {"exclude_layers": ["score"]}, "score_kernel"), ((6, 4), {}, "embeddings")],
)
def test_everything_else_moves_as_by_adamw(shape, options, name):
    start, *gradients = draws(4, *shape)
    # Epsilon is where Keras's two kinds of Adam differ, by less than the tolerance.
    expected = moved(keras.optimizers.AdamW(0.1, weight_decay=0.3), keras.Variable(start), gradients)
    found = moved(Muon(0.1, adam_weight_decay=0.3, **options), keras.Variable(start, name=name), gradients)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def compiled(**execution):
    """A GAN whose convolutions Muon moves, and AdamW all else."""
    model = ROWS["gan"].build()
    model.compile(*(Muon(1e-3, exclude_layers=["dense"]) for _ in model.optimizer_networks), **execution)
    return model


@pytest.mark.exhaustive
def test_files_keep_slots_and_options_and_go_on_to_the_bit(tmp_path):
    examples, whole = ROWS["gan"].examples(16), compiled()
    fit(whole, examples, epochs=1)
    whole.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    for optimizer in loaded.optimizers:
        assert type(optimizer) is Muon and optimizer.exclude_layers == ["dense"]
    for model in (whole, loaded):
        fit(model, examples, epochs=1)
    assert largest_difference(whole.get_weights(), loaded.get_weights()) == 0
