"""Encoders and decoders: their shapes for any examples, and scales."""

import keras
import numpy as np
import pytest

from zoo import conv_decoder, conv_encoder, mlp_decoder, mlp_encoder


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 12, 3), (64, 64, 3)])
def test_convolutions_go_to_codes_and_back(shape):
    encoder = conv_encoder(shape, 6, filters=4, output_activation="sigmoid")
    codes = encoder(np.random.default_rng(0).normal(size=(2, *shape)).astype("float32"))
    assert codes.shape == (2, 6) and 0 < codes.numpy().min() and codes.numpy().max() < 1
    assert conv_decoder(shape, 6, filters=4)(codes).shape == (2, *shape)
    assert conv_decoder(shape, 6, filters=4, scale="predicted").output_shape == (None, *shape[:2], 2 * shape[2])


@pytest.mark.parametrize("shape", [(5,), (4, 4, 1), (2, 3, 5, 2)])
def test_perceptrons_take_examples_of_any_shape(shape):
    encoder, decoder = mlp_encoder(shape, 4, (7, 6)), mlp_decoder(shape, 4, (6, 7))
    assert decoder(encoder(np.zeros((3, *shape), "float32"))).shape == (3, *shape)
    # Two hidden layers and one to the outputs, with biases.
    size = int(np.prod(shape))
    assert encoder.count_params() == size * 7 + 7 + 7 * 6 + 6 + 6 * 4 + 4


@pytest.mark.parametrize("build", [mlp_decoder, conv_decoder])
def test_a_shared_scale_is_one_number_beside_all_values(build, tmp_path):
    decoder = build((4, 8, 3), 2, scale="shared")
    (raw,) = [weight for weight in decoder.trainable_weights if weight.path.endswith("raw_scale")]
    raw.assign(0.7)
    given = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    values = decoder(given).numpy()
    assert values.shape == (5, 4, 8, 6)
    np.testing.assert_allclose(values[..., 3:], 0.7)
    assert values[..., :3].std() > 0
    decoder.save(tmp_path / "decoder.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "decoder.keras")(given), values)
