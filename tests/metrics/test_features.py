"""The default feature extractor: accuracy, determinism, cache, isolation from the caller, errors."""

import re

import numpy as np
import pytest

from zoo.metrics import FeatureExtractor, MetricWarning, classifier_features, features, frechet

NUM_TRAINING = 1437
IMAGES = np.zeros((4, 8, 8, 1))
LABELS = np.arange(4)


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    bundle = load_digits()
    order = np.random.default_rng(0).permutation(len(bundle.target))
    return bundle.images[order, ..., None] / 8 - 1, bundle.target[order]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def extractor(digits, cache):
    images, labels = digits
    return classifier_features(images[:NUM_TRAINING], labels[:NUM_TRAINING], name="digits", cache_dir=cache, epochs=8)


def tiny(seed=0, **options):
    """A classifier of 32 colour images of an odd size, for all that does not need accuracy."""
    rng = np.random.default_rng(5)
    images, labels = rng.uniform(-1, 1, size=(32, 16, 17, 3)), np.arange(32) % 3
    return classifier_features(images, labels, **{"name": "tiny", "seed": seed, "epochs": 2} | options)


@pytest.fixture(scope="module")
def tiny_weights():
    return tiny().network.get_weights()


@pytest.fixture
def no_training(monkeypatch):
    """Leaves the seeded initial weights, for tests of the cache; the list grows with every training."""
    calls = []
    monkeypatch.setattr("zoo.metrics.classifier.train", lambda *args: calls.append(args))
    return calls


class Pixels:
    """The simplest extractor: the images themselves."""

    label = "pixels"

    def __call__(self, images):
        return images.reshape(len(images), -1), np.zeros((len(images), 2))


def test_held_out_accuracy(extractor, digits):
    images, labels = (array[NUM_TRAINING:] for array in digits)
    vectors, logits = extractor(images)
    assert vectors.shape == (360, 64) and logits.shape == (360, 10)
    # Measured here: 20 epochs 98.9 to 99.2 %; these 8 epochs leave room for other machines' rounding.
    assert np.mean(logits.argmax(-1) == labels) >= 0.95


def test_distance_tells_real_from_damaged(extractor, digits):
    images = digits[0][NUM_TRAINING:]
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, size=images[180:].shape)
    same = frechet(images[:180], images[180:], extractor)
    noisy = frechet(images[:180], np.clip(images[180:] + noise, -1, 1), extractor)
    collapsed = frechet(images[:180], np.repeat(images[180:190], 18, axis=0), extractor)
    assert same == {
        "value": same["value"],
        "label": f"FID({extractor.label})",
        "num_real": 180,
        "num_fake": 180,
    }
    assert isinstance(same["value"], float)
    assert same["value"] < 0.5 * min(noisy["value"], collapsed["value"])


def test_label_and_protocol(extractor):
    assert re.fullmatch(r"cnn-digits-[0-9a-f]{8}", extractor.label)
    assert isinstance(extractor, FeatureExtractor)
    assert repr(extractor) == f"ClassifierFeatures(label='{extractor.label}', image_shape=(8, 8, 1))"


def test_batch_size_changes_nothing(extractor, digits):
    images = digits[0][:50]
    whole, parts = extractor(images), extractor(images, batch_size=7)
    for one, other in zip(whole, parts, strict=True):
        # float32 rounding: convolutions of other batch sizes may sum in another order.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.exhaustive
def test_two_trainings_agree_to_the_bit_and_print_one_line(tiny_weights, capsys):
    again = tiny()
    for one, other in zip(tiny_weights, again.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    printed = capsys.readouterr()
    line = r"Training the feature classifier of tiny on 32 images of 16x17x3: epoch 2/2, accuracy .*%, \d+ s\n"
    assert re.fullmatch(line, printed.err) and printed.out == ""


def test_the_label_follows_the_weights(no_training):
    extractor = tiny()
    assert extractor.label == tiny().label != tiny(seed=1).label
    extractor.network.set_weights([weight + 1e-6 for weight in extractor.network.get_weights()])
    assert features.ClassifierFeatures(extractor.network, "tiny").label != tiny().label


def test_cache_is_used(extractor, digits, cache, no_training, capsys):
    images, labels = (array[:NUM_TRAINING] for array in digits)
    again = classifier_features(images, labels, name="digits", cache_dir=str(cache), epochs=8)
    assert again.label == extractor.label
    np.testing.assert_array_equal(again(images[:9])[0], extractor(images[:9])[0])
    assert capsys.readouterr().err == ""
    assert no_training == [] and [path.suffix for path in cache.iterdir()] == [".npz"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"epochs": 3}, {"name": "other"}, {"labels": [1, 0, 0, 0]}])
def test_cache_is_not_used_for_anything_else(tmp_path, no_training, change):
    options = {"images": IMAGES, "labels": [0, 1, 0, 0], "name": "digits", "epochs": 1, "cache_dir": tmp_path}
    classifier_features(**options)
    classifier_features(**options | change)
    assert len(no_training) == len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "other shapes", "not finite"])
def test_broken_cache_is_rebuilt(tmp_path, no_training, damage):
    label = tiny(cache_dir=tmp_path).label
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    with np.load(path) as file:
        weights = dict(file)
    if damage == "other shapes":
        np.savez(path, **weights | {"weight_1": np.zeros(3, np.float32)})
    elif damage == "not finite":
        np.savez(path, **weights | {"weight_1": np.full_like(weights["weight_1"], np.nan)})
    else:
        path.write_bytes({"truncated": content[:-200], "text": b"not an archive", "empty": b""}[damage])
    with pytest.warns(MetricWarning, match="is broken .* trained again and replaced"):
        assert tiny(cache_dir=tmp_path).label == label
    assert tiny(cache_dir=tmp_path).label == label
    assert len(no_training) == 2 and list(tmp_path.iterdir()) == [path]


def test_cache_that_cannot_be_written_does_not_lose_the_training(tmp_path, no_training):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(MetricWarning, match="could not be saved"):
        assert tiny(cache_dir=tmp_path / "file").label == tiny().label


@pytest.mark.exhaustive
def test_a_run_in_progress_is_left_alone(tiny_weights):
    import keras
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def run(interrupted):
        keras.backend.clear_session()
        keras.config.set_dtype_policy("mixed_float16")
        keras.utils.set_random_seed(3)
        draws = []
        with strategy.scope():
            for step in range(2):
                if interrupted and step == 1:
                    extractor = tiny()
                    vectors, logits = extractor(np.zeros((3, 16, 17, 3)))
                    assert vectors.dtype == logits.dtype == np.float32
                    for one, other in zip(tiny_weights, extractor.network.get_weights(), strict=True):
                        np.testing.assert_array_equal(one, other)
                layer = keras.layers.Dense(2)
                layer.build((None, 2))
                kernel = np.asarray(layer.kernel.value.values[0])
                draws += [
                    layer.name,
                    layer.compute_dtype,
                    kernel,
                    tf.random.normal((2,)).numpy(),
                    np.random.rand(2),
                ]
            assert tf.distribute.get_strategy() is strategy
        assert keras.config.dtype_policy().name == "mixed_float16"
        return draws

    for one, other in zip(run(interrupted=False), run(interrupted=True), strict=True):
        np.testing.assert_array_equal(one, other)
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"images": IMAGES[..., 0]},
            r"`images` must have shape \(n, height, width, channels\).*\[..., None\]",
        ),
        ({"images": IMAGES + 255}, r"`images` must be in \[-1, 1\].*min=255, max=255.*divide by 127.5"),
        ({"images": np.where(IMAGES == 0, np.nan, 0)}, "`images` must be finite. Received: 256 of 256"),
        ({"labels": np.eye(4)}, r"`labels` must be whole numbers of shape \(4,\).*argmax"),
        ({"labels": LABELS[:3]}, r"`labels` must be whole numbers of shape \(4,\)"),
        ({"labels": LABELS - 1}, "`labels` must name at least 2 classes, numbered from 0"),
        ({"labels": 0 * LABELS}, r"1 class\(es\) from 0 to 0"),
        ({"name": "../digits"}, "`name` must consist of letters.*'../digits'"),
        ({"seed": -1}, "`seed` must be a whole number >= 0. Received: -1"),
        ({"epochs": 0.5}, "`epochs` must be a whole number >= 1. Received: 0.5"),
    ],
)
def test_bad_training_input(change, message):
    with pytest.raises(ValueError, match=message):
        classifier_features(**{"images": IMAGES, "labels": LABELS, "name": "digits"} | change)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            np.zeros((4, 8, 8, 3)),
            r"shape \(8, 8, 1\), on which the feature extractor was trained.*\(8, 8, 3\)",
        ),
        (np.zeros((4, 9, 9, 1)), r"Received: images of shape \(9, 9, 1\)"),
        (np.full((4, 8, 8, 1), 2.0), r"`images` must be in \[-1, 1\]"),
        (np.zeros((0, 8, 8, 1)), "none of them 0"),
    ],
)
def test_bad_images_for_the_extractor(extractor, images, message):
    with pytest.raises(ValueError, match=message):
        extractor(images)
    with pytest.raises(ValueError, match="`batch_size` must be a whole number >= 1. Received: 0"):
        extractor(IMAGES, batch_size=0)


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (IMAGES, np.zeros((4, 9, 8, 1)), "the same height, width and channels"),
        (IMAGES, IMAGES[:1], "`fake_images` must hold at least 2 images"),
        (IMAGES, np.full_like(IMAGES, np.inf), "`fake_images` must be finite"),
        (IMAGES - 1.5, IMAGES, r"`real_images` must be in \[-1, 1\]"),
    ],
)
def test_bad_images_for_the_distance(real, fake, message):
    with pytest.raises(ValueError, match=message):
        frechet(real, fake, Pixels())


def test_any_callable_with_a_label():
    rng = np.random.default_rng(0)
    real, fake = rng.uniform(-1, 0, size=(50, 2, 2, 1)), rng.uniform(-1, 0, size=(60, 2, 2, 1))
    result = frechet(real, fake + 1, Pixels())
    # Four pixels shifted by 1: 4, plus the small difference of two samples.
    assert result["value"] == pytest.approx(4, abs=0.5)
    assert (result["label"], result["num_real"], result["num_fake"]) == ("FID(pixels)", 50, 60)
    with pytest.raises(TypeError, match="`extractor` must be a callable .* `label`"):
        frechet(real, fake, lambda images: images)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda images: images, r"must return a pair \(features, logits\)"),
        (
            lambda images: (images, None),
            r"must return features of shape \(4, d\). Received: shape \(4, 8, 8, 1\)",
        ),
        (
            lambda images: (np.full((4, 2), np.nan), None),
            "`features of broken` must be finite. Received: 8 of 8",
        ),
    ],
)
def test_foreign_extractor_that_misbehaves(output, message):
    output.label = "broken"
    with pytest.raises(ValueError, match=message):
        features.frechet(IMAGES, IMAGES, output)
