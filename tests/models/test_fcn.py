"""FCN: its loss by hand, its figures against a confusion matrix, any size of image, and learning."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.examples import labelled_of
from tests.helpers.rows import ROWS
from tests.helpers.seeds import seed
from zoo import FCN, fcn_head, torchvision_resnet
from zoo.encoded import encode
from zoo.metrics import confusion_matrix, segmentation_scores

pytestmark = pytest.mark.convolutional
SHAPE = (40, 36, 3)


def build(num_classes=3, width=0, stride=8, batch_norm="frozen", **options):
    backbone = torchvision_resnet(18, width=8, blocks=(1, 1, 1, 1), batch_norm=batch_norm)
    head = fcn_head([16, 32, 64], num_classes, stride, width=width, kernel_size=3)
    return FCN(backbone, num_classes, head=head, image_size=(32, 32), **options)


def spread(model):
    """Scores that are not all 0."""
    rng = np.random.default_rng(0)
    model.set_weights([weight + 0.1 * rng.normal(size=weight.shape) for weight in model.get_weights()])
    model.step.assign(0)
    return model


@pytest.fixture(scope="module")
def model():
    """Whose weights stay: one function that segments images of any size is there for every test that asks it."""
    seed()
    model = spread(build())
    model.compile()
    return model


def cross_entropy(logits, labels, weights):
    """In NumPy, from the definition."""
    shares = np.exp(logits.astype("float64") - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    total = weight = 0.0
    for place in np.ndindex(labels.shape):
        if labels[place] != 255:
            total -= weights[labels[place]] * np.log(shares[place][labels[place]])
            weight += weights[labels[place]]
    return total / weight


@pytest.mark.parametrize("weights", [None, (0.5, 1.0, 2.0)])
def test_the_loss_is_the_mean_over_pixels_that_count(weights):
    model = spread(build(class_weights=weights))
    images, labels = labelled_of(3, SHAPE, 3)
    # One image counts for little, which a mean of means would not see.
    labels[0] = np.where(np.arange(36) < 30, 255, labels[0])
    model.compile(keras.optimizers.SGD(0.0))
    expected = cross_entropy(model(images).numpy(), labels, weights or (1, 1, 1))
    assert model.evaluate(images, labels, verbose=0, return_dict=True)["cross_entropy"] == pytest.approx(expected)
    # Held out, a picture may show background and void alone.
    background = np.where(labels == 255, labels, 0)
    logs = model.fit(images, labels, verbose=0, batch_size=3, validation_data=(images, background)).history
    assert logs["cross_entropy"][0] == pytest.approx(expected)
    expected = cross_entropy(model(images).numpy(), background, weights or (1, 1, 1))
    assert logs["val_cross_entropy"][0] == pytest.approx(expected)


def test_labels_of_0_and_255_are_taken_where_training_has_shown_classes():
    """Else 255 may be white, the object: whatever is predicted would be right of all that counts."""
    model = build()
    model.compile()
    images, labels = labelled_of(3, SHAPE, 3)
    white = np.where(labels > 0, 255, 0).astype("uint8")
    batches = [tf.data.Dataset.from_tensor_slices((images, one)).batch(2) for one in (labels, white)]
    for trained_on in ({"x": images, "y": labels}, {"x": batches[0]}):
        model.check_fit({"x": (images, white), "trained_on": trained_on})
    for trained_on in ({"x": batches[1]}, {"x": iter(batches[0])}, {"x": images, "y": 0 * labels}):
        with pytest.raises(ValueError, match="Received: 0 and 255 alone"):
            model.check_fit({"x": (images, white), "trained_on": trained_on})
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="Received: 0 and 255 alone"):
            call(images, white)


def test_called_for_training_it_drops_out_and_follows_batch_statistics():
    model = spread(build(width=8, batch_norm="live"))
    images, _ = labelled_of(3, SHAPE, 3)
    usual, statistics = model(images), model.backbone.get_layer("bn1").moving_mean.numpy()
    np.testing.assert_array_equal(model(images, training=False), usual)
    assert np.abs(model(images, training=True) - usual).max() > 1e-3
    assert np.abs(model.backbone.get_layer("bn1").moving_mean - statistics).max() > 1e-3


@pytest.mark.exhaustive
@pytest.mark.parametrize("replicas", [1, 2])
def test_figures_are_those_of_the_whole_set(replicas, two_replicas, request):
    """Against the confusion matrix of NumPy, over batches of which the last is smaller, split over replicas."""
    if replicas == 1:
        model = request.getfixturevalue("model")
    else:
        with two_replicas.scope():
            model = spread(build())
            model.compile()
    images, labels = labelled_of(3, SHAPE, 10)
    found = model.evaluate(images, labels, batch_size=4, verbose=0, return_dict=True)
    expected = segmentation_scores(confusion_matrix(labels, model.segment(images), 3))
    assert 0.05 < expected["mean_iou"] < 0.9
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12), name
    again = model.evaluate(images[:4], labels[:4], batch_size=4, verbose=0, return_dict=True)
    expected = segmentation_scores(confusion_matrix(labels[:4], model.segment(images[:4]), 3))
    assert again["mean_iou"] == pytest.approx(expected["mean_iou"], rel=1e-12)


def test_a_class_that_is_nowhere_has_no_share():
    model = spread(build(num_classes=5))
    images, labels = labelled_of(3, SHAPE, 2)
    model.compile()
    found = model.evaluate(images, labels, verbose=0, return_dict=True)
    expected = segmentation_scores(confusion_matrix(labels, model.segment(images), 5))
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_nothing_is_learnt_where_no_pixel_counts():
    model = spread(build(width=8))
    images, labels = labelled_of(3, SHAPE, 4)
    model.compile(keras.optimizers.SGD(0.1))
    before = model.get_weights()
    logs = model.fit(images, np.full_like(labels, 255), verbose=0).history
    assert logs["cross_entropy"] == [0.0] and logs["pixel_accuracy"] == [0.0]
    for one, other in zip(before[1:], model.get_weights()[1:], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.exhaustive
def test_it_learns_what_it_sees():
    model = build(batch_norm="live")
    images, labels = labelled_of(3, (64, 64, 3), 8)
    model.compile(keras.optimizers.Adam(0.01))
    held_out = {"validation_data": (images, labels), "validation_freq": 40}
    logs = model.fit(images, labels, batch_size=8, epochs=40, verbose=0, **held_out).history
    assert logs["mean_iou"][0] < 0.5 < 0.8 < logs["mean_iou"][-1]
    assert set(logs) == {f"{side}{name}" for side in ("", "val_") for name in ("loss", *model.terms, *model.counted)}


@pytest.mark.parametrize("size", [(1, 1), (7, 31), (33, 64)])
def test_images_of_any_size_get_a_label_for_each_pixel(size, model):
    """And what is beyond a multiple of 32 does not move what is within: as of an image that is padded by hand."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, *size, 3)).astype("float32")
    found = model.probabilities(images)
    assert found.shape == (2, *size, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    labels = model.segment(images)
    assert labels.shape == (2, *size) and labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, found.argmax(-1))
    by_hand = np.empty((2, 64, 64, 3), "float32")
    by_hand[:] = 255 * np.array(model.image_mean, "float32")
    by_hand[:, : size[0], : size[1]] = images
    short = tuple(-(-side // 32) * 32 for side in size)
    padded = model.probabilities(by_hand[:, : short[0], : short[1]])
    np.testing.assert_allclose(padded[:, : size[0], : size[1]], found, atol=1e-5)


def test_files_come_on_the_canvas_of_the_model(model):
    """A picture twice as wide as high fills the upper half; beside it there is no label."""
    wide = np.random.default_rng(0).integers(0, 256, (20, 40, 3)).astype("float32")
    small = np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype("float32")
    files = np.array([encode(one / 127.5 - 1).numpy() for one in (wide, small)], dtype=object)
    function, _ = model.signatures()["from_bytes"]
    found = function(image_bytes=tf.constant(files))
    assert found["sizes"].numpy().tolist() == [[16, 32], [32, 32]]
    assert (found["labels"][0, 16:].numpy() == 255).all() and found["labels"][0, :16].numpy().max() < 3
    np.testing.assert_array_equal(found["labels"][1], model.segment(small[None])[0])


@pytest.mark.exhaustive
def test_requests_before_publishing_have_no_classes_so_close_that_rounding_decides():
    """Of large pictures of noise alone, some pixels always had."""
    model = spread(build())
    model.image_size = (448, 448)
    requests = dict(model.warmup())
    images = requests["segment"]["images"]
    assert images.shape == (2, 448, 448, 3) and len(np.unique(images)) > 100

    def closest(images):
        best = tf.math.top_k(model.logits(tf.constant(images)), 2).values.numpy()
        return (best[..., 0] - best[..., 1]).min() / np.abs(best).max()

    assert closest(images) > 2e-5 > closest(np.random.default_rng(0).integers(0, 256, images.shape, "uint8"))
    files = model.compiled_once("of files", model.signatures()["from_bytes"][0])
    found = files(tf.constant(list(requests["from_bytes"]["image_bytes"])))
    np.testing.assert_array_equal(found["labels"], model.segment(images))


def test_compiled_without_arguments_it_has_the_papers_optimizer():
    model = build()
    model.compile()
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-4)
    assert (model.optimizer.momentum, model.optimizer.weight_decay) == (0.9, 5e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 256}, "at most 255, since labels are bytes. Received: 256"),
        ({"class_weights": (1.0, 2.0)}, r"for each of 3 classes, not all 0. Received: \(1.0, 2.0\)"),
        ({"class_weights": (0.0, 0.0, 0.0)}, "not all 0"),
        ({"image_std": (1.0, 0.0, 1.0)}, "`image_std` must be three numbers"),
        ({"image_size": (0, 4)}, "`image_size` must be height and width"),
        ({"num_classes": 4, "head": fcn_head((16, 32, 64), 3, width=0)}, "score 4 classes. Received: .* scores 3"),
        ({"backbone": "vgg16"}, "`backbone` must be a network to features"),
    ],
)
def test_wrong_options_are_refused(options, message, model):
    given = {"backbone": model.backbone, "num_classes": 3, **options}
    with pytest.raises(ValueError, match=message):
        FCN(
            **{
                "head": fcn_head((16, 32, 64), given["num_classes"] if given["num_classes"] < 9 else 3, width=0),
                **given,
            }
        )


def test_images_are_looked_at_before_they_are_segmented():
    model = ROWS["fcn"].build()
    with pytest.raises(ValueError, match="This is one image: add an axis"):
        model.segment(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="seem to be in .0, 1."):
        model.probabilities(np.full((1, 4, 4, 3), 0.5))
