"""Autoencoder: PCA as the oracle of the linear one, penalties in its objective, and mistakes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.linalg import subspace_angles
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from zoo import Autoencoder, mlp_decoder, mlp_encoder
from zoo.losses import autoencoding

SHAPE = (4, 4, 1)


def images(count=14):
    return np.random.default_rng(0).uniform(-0.9, 0.9, (count, *SHAPE)).astype("float32")


def small(hidden=(8,), activation="sigmoid", **options):
    encoder = mlp_encoder(SHAPE, 3, hidden, "tanh", activation)
    return Autoencoder(encoder, mlp_decoder(SHAPE, 3, hidden, "tanh"), **options)


@pytest.mark.exhaustive
def test_linear_autoencoder_spans_the_subspace_of_pca_and_reaches_its_error():
    """Baldi, Hornik 1989; the bounds, 0.01 of a radian and 0.1 %, are the issue's."""
    x = (load_digits().images.reshape(-1, 64) / 8 - 1).astype("float32")
    pca = PCA(4).fit(x.astype("float64"))
    expected = np.square(x - pca.inverse_transform(pca.transform(x))).sum(1).mean()
    model = Autoencoder(mlp_encoder((64,), 4, ()), mlp_decoder((64,), 4, ()))
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 1500)))
    model.fit(tf.data.Dataset.from_tensors(x).cache().repeat(), steps_per_epoch=1500, shuffle=False, verbose=0)
    found = model.evaluate(x, batch_size=len(x), verbose=0)
    assert 1 - 1e-5 < found / expected < 1.001
    assert subspace_angles(model.decoder.get_weights()[0].T, pca.components_.T).max() < 0.01


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_terms_are_the_penalties_of_all_examples(hidden):
    model = small(hidden, sparsity="kl", target_activity=0.2, contraction="exact", contraction_weight=0.5)
    model.compile(keras.optimizers.SGD(0.0))
    x = images()
    # Batches of 7: the sparsity is that of each batch, and its mean over both is logged.
    logs = model.fit(x, batch_size=7, shuffle=False, verbose=0).history
    codes = model.encode(x)
    np.testing.assert_allclose(
        logs["reconstruction_loss"], [np.square(x - model.reconstruct(x)).sum((1, 2, 3)).mean()], rtol=1e-5
    )
    sparsity = np.mean([autoencoding.kl_sparsity(part, 0.2) for part in (codes[:7], codes[7:])])
    np.testing.assert_allclose(logs["sparsity"], [sparsity], rtol=1e-5)
    slope = autoencoding.contraction(model.encoder, tf.constant(x)).numpy().mean()
    np.testing.assert_allclose(logs["contraction"], [0.5 * slope], rtol=1e-4)
    held_out = model.evaluate(x, batch_size=7, verbose=0, return_dict=True)
    assert held_out == pytest.approx({name: values[0] for name, values in logs.items()}, rel=1e-5)
    np.testing.assert_allclose(model.errors(x).mean(), held_out["reconstruction_loss"], rtol=1e-5)


@pytest.mark.exhaustive
def test_exact_contraction_of_a_deep_encoder_is_the_same_on_any_execution(two_replicas):
    start, results = None, []
    for scope, options in (
        (tf.distribute.get_strategy(), {}),
        (two_replicas, {"jit_compile": True, "gradient_accumulation_steps": 2}),
    ):
        with scope.scope():
            model = small(contraction="exact", sparsity="l1", corruption="masking")
            start = start or model.get_weights()
            model.set_weights(start)
            model.compile(keras.optimizers.SGD(0.01), **options)
        model.fit(images(), batch_size=7, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("corruption", ["gaussian", "masking", "salt_and_pepper"])
def test_corruption_is_in_the_input_of_training_only(corruption):
    """A network that gives back what it sees is wrong by the noise, and right on held-out examples."""
    eye = keras.initializers.Identity()
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6, kernel_initializer=eye)])
    decoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6, kernel_initializer=eye)])
    model = Autoencoder(encoder, decoder, corruption=corruption, corruption_level=0.3)
    model.compile(keras.optimizers.SGD(0.0))
    x = np.full((2000, 6), 0.5, "float32")
    logs = model.fit(x, batch_size=2000, validation_data=x, verbose=0).history
    # Squared change of a value: 0.3^2; 0.3 of 0.5^2; 0.15 of 0.5^2 and 0.15 of 1.5^2.
    expected = {"gaussian": 0.09, "masking": 0.075, "salt_and_pepper": 0.375}[corruption]
    np.testing.assert_allclose(logs["reconstruction_loss"], [6 * expected], rtol=0.05)
    assert logs["val_reconstruction_loss"][0] < 1e-9


def test_keras_stops_early_by_a_held_out_loss():
    model = small()
    model.compile(keras.optimizers.SGD(0.0))
    stop = keras.callbacks.EarlyStopping("val_reconstruction_loss", patience=2, mode="min")
    logs = model.fit(images(), epochs=9, validation_split=0.5, callbacks=[stop], verbose=0).history
    assert len(logs["val_reconstruction_loss"]) == 3


def test_cross_entropy_reconstructs_through_a_sigmoid():
    model = small(reconstruction="cross_entropy")
    found = model.reconstruct(images())
    logits = model.decoder(model.encoder(images())).numpy()
    np.testing.assert_allclose(found, 2 / (1 + np.exp(-logits)) - 1, atol=1e-6)
    score = model.signatures()["score"][0](images=tf.constant(images()))["reconstruction_loss"]
    np.testing.assert_allclose(score, autoencoding.cross_entropy(images(), logits), rtol=1e-5)


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda: small(corruption="dropout"), "`corruption` must be one of None, 'gaussian'"),
        (lambda: small(corruption="masking", corruption_level=1.5), "`corruption_level` must be a finite number"),
        (lambda: small(sparsity="kl", activation=None), r"must end in a sigmoid, .* Received: codes from -\d.* to \d"),
        (lambda: small(target_activity=1), "`target_activity` must be a finite number above 0 and below 1"),
        (lambda: small(contraction="half"), "`contraction` must be one of None, 'exact', 'estimate'"),
        (
            lambda: Autoencoder(mlp_encoder(SHAPE, 3), mlp_decoder(SHAPE, 4)),
            r"from codes \(None, 3\) to examples \(None, 4, 4, 1\). Received: from \(None, 4\)",
        ),
        (
            lambda: Autoencoder(
                keras.Sequential([keras.Input((6,)), keras.layers.BatchNormalization(), keras.layers.Dense(3)]),
                mlp_decoder((6,), 3),
                contraction="exact",
            ),
            "The encoder must have no batch normalisation: the contraction",
        ),
        (lambda: mlp_encoder((2, 2), 3, hidden=5), "`hidden` must be a tuple of widths"),
        (lambda: mlp_encoder("28", 3), "`example_shape` must be whole numbers"),
        (lambda: mlp_decoder(SHAPE, 3, scale="own"), "`scale` must be one of None, 'shared', 'predicted'"),
    ],
)
def test_mistakes_are_answered(act, message):
    with pytest.raises(ValueError, match=message):
        act()
