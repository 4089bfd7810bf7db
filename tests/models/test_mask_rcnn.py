"""Mask R-CNN beyond the conformance table: images without objects, crowds, compilation, files, KerasCV."""

import io
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.helpers.examples import objects_of
from tests.helpers.rows import ROWS, fit, largest_difference
from tests.helpers.seeds import seed
from zoo import MaskRCNN, box_head, feature_pyramid, mask_head, pyramid_levels, torchvision_resnet

pytestmark = pytest.mark.convolutional
ROOT = Path(__file__).parents[2]
# With oneDNN, the gradient of a transposed convolution of no rows has the shape of its output.
WITHOUT_OBJECTS = """
from tests.helpers.imports import without_what_is_unused
with without_what_is_unused():
    import tensorflow
import numpy as np
from tests.helpers.rows import ROWS, compile_sgd
model = ROWS["mask_rcnn"].build()
compile_sgd(model, 0.01)
images, targets = ROWS["mask_rcnn"].examples(2)
targets["classes"][:] = -1
log = model.fit(images, targets, batch_size=2, verbose=0).history
assert log["mask_loss"] == log["box_loss"] == [0.0], log
assert log["class_loss"][0] > 0 and all(np.isfinite(one).all() for one in model.get_weights())
"""


@pytest.fixture(scope="module")
def model():
    seed()
    return ROWS["mask_rcnn"].build(score_threshold=0.0)


@pytest.fixture(scope="module")
def learner():
    """A model, whose step is traced once, for batches of 4, and its weights at the start."""
    seed()
    model = ROWS["mask_rcnn"].build(pooling="pool")
    model.compile(keras.optimizers.SGD(0.01))
    return model, model.get_weights()


def terms_of(model, images, targets, training=False):
    given = [targets[name] for name in ("boxes", "classes", "crowds", "masks", "sizes")]
    keys = tf.range(len(images), dtype=tf.int64)
    return {name: one.numpy() for name, one in model.objective(images, *given, keys, training=training).items()}


def test_an_image_without_objects_teaches_background_alone(model):
    images, targets = objects_of(3, (32, 32, 3), 2)
    targets["classes"][0], targets["classes"][1] = -1, [0, 1, 2]
    targets["crowds"][:] = False
    terms = terms_of(model, images, targets)
    for name in ("rpn_box_loss", "box_loss", "mask_loss"):
        assert terms[name][0] == 0 and terms[name][1] > 0, (name, terms[name])
    assert (terms["class_loss"] > 0).all() and (terms["rpn_class_loss"] > 0).all()


@pytest.mark.exhaustive
def test_a_batch_without_objects_is_learnt_from(learner):
    model, start = learner
    model.set_weights(start)
    images, targets = ROWS["mask_rcnn"].examples(4)
    targets["classes"][:] = -1
    log = fit(model, (images, targets), epochs=1).history
    assert log["mask_loss"] == log["box_loss"] == [0.0], log
    assert log["class_loss"][0] > 0 and all(np.isfinite(one).all() for one in model.get_weights())


@pytest.mark.exhaustive
def test_so_it_is_with_the_other_library_of_convolutions():
    """oneDNN's where this process has TensorFlow's own, and the other way round."""
    other = "0" if os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0" else "1"
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": other}
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_OBJECTS]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_padding_around_pictures_and_of_objects_changes_nothing(model):
    """More rows of padding, and another content outside of the picture."""
    images, targets = objects_of(3, (32, 32, 3), 2)
    targets["sizes"][:] = [32, 24]
    expected = terms_of(model, images, targets)
    noise = images.copy()
    noise[:, :, 24:] = 77
    found = terms_of(model, noise, targets)
    for name, one in expected.items():
        np.testing.assert_allclose(found[name], one, atol=1e-6, err_msg=name)
    for name in ("rpn_class_loss", "rpn_box_loss"):
        padded = {key: np.concatenate([one, one * 0], 1) for key, one in targets.items() if key != "sizes"}
        padded["classes"][:, 3:] = -1
        found = terms_of(model, images, {**targets, **padded})[name]
        np.testing.assert_allclose(found, expected[name], atol=1e-6, err_msg=name)


@pytest.mark.exhaustive
def test_a_step_that_is_compiled_learns_the_same(learner):
    """Regions are read by other operations then; from the same weights, by the same samples."""
    plain, start = learner
    compiled, ends = ROWS["mask_rcnn"].build(pooling="pool"), []
    compiled.compile(keras.optimizers.SGD(0.01), jit_compile=True)
    for model in (plain, compiled):
        model.set_weights(start)
        fit(model, ROWS["mask_rcnn"].examples(4), epochs=1)
        ends.append(model.get_weights())
    assert largest_difference(*ends) < 1e-5 and largest_difference(start, ends[0]) > 1e-5


def test_detections_are_within_images_of_any_size_and_sorted(model):
    for height, width in ((1, 1), (33, 70)):
        images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype="uint8")
        found = model.detect(images, batch_size=1)
        count, size = found["num_detections"], f"images of {height} x {width}"
        assert ((0 <= count) & (count <= 4)).all() and (found["classes"] >= 0).sum() == count.sum(), size
        assert found["boxes"].min() >= 0 and (found["boxes"] <= [width, height] * 2).all(), size
        assert (np.diff(found["scores"]) <= 0).all() and found["masks"].shape == (2, 4, 8, 8), size
    with pytest.raises(ValueError, match=r"must be RGB.*Received: \(33, 70, 3\)"):
        model.detect(images[0])
    with pytest.raises(ValueError, match="height and width of each of the 2 pictures"):
        model.detect(images, sizes=np.ones((1, 2)))


def _file(width, height, mode="RGB", form="PNG"):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype="uint8")
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).convert(mode).save(buffer, form)
    return buffer.getvalue()


def test_files_of_any_size_and_colour_are_served_with_boxes_in_their_pixels(model):
    """1 x 1, 4000 x 3000, grey, with transparency; and a file of the canvas's size is what the image itself is."""
    from_bytes, _ = model.signatures()["from_bytes"]
    files = [_file(1, 1), _file(4000, 3000, form="JPEG"), _file(20, 50, "L"), _file(20, 50, "LA"), _file(32, 32)]
    found = {name: one.numpy() for name, one in from_bytes(image_bytes=tf.constant(files)).items()}
    np.testing.assert_array_equal(found["sizes"], [[1, 1], [3000, 4000], [50, 20], [50, 20], [32, 32]])
    for boxes, (height, width) in zip(found["boxes"], found["sizes"], strict=True):
        assert (boxes <= np.array([width, height] * 2) * (1 + 1e-6)).all()
    assert found["boxes"][1].max() > 1000
    image = np.asarray(Image.open(io.BytesIO(files[-1])))
    np.testing.assert_allclose(found["boxes"][-1], model.detect(image[None])["boxes"][0], atol=1e-3)
    empty = from_bytes(image_bytes=tf.constant([], tf.string))
    assert empty["boxes"].shape == (0, 4, 4)


def test_pasted_masks_lie_in_their_boxes(model):
    segment, _ = model.signatures()["segment"]
    found = segment(images=tf.constant(objects_of(3, (32, 48, 3), 2)[0]))
    assert found["pasted"].shape == (2, 4, 32, 48) and found["pasted"].dtype == tf.uint8
    y, x = np.arange(32)[:, None] + 0.5, np.arange(48) + 0.5
    for boxes, masks in zip(found["boxes"].numpy(), found["pasted"].numpy(), strict=True):
        for (x1, y1, x2, y2), mask in zip(boxes, masks, strict=True):
            # Half a cell of the 8 x 8 around a box may still be above a half.
            outside = (x < x1 - 4) | (x > x2 + 4) | (y < y1 - 4) | (y > y2 + 4)
            assert not mask[outside].any()


def test_a_backbone_of_keras_cv_is_taken_and_kept(tmp_path):
    import keras_cv

    options = {"stackwise_filters": [64] * 4, "stackwise_blocks": [1] * 4, "stackwise_strides": [1, 2, 2, 2]}
    backbone = keras_cv.models.ResNetBackbone(
        **options, block_type="basic_block", include_rescaling=False, input_shape=(None, None, 3)
    )
    heads = {"box_head": box_head(2, 8, 3, 16), "mask_head": mask_head(2, 8, 4, 1)}
    model = MaskRCNN(backbone, 2, feature_pyramid=feature_pyramid([64] * 4, 8), **heads)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert largest_difference(model.get_weights(), loaded.get_weights()) == 0
    # Frozen, batch normalisation has nothing to train: two numbers for each of its layers less.
    live = len(backbone.trainable_weights)
    frozen = pyramid_levels(backbone, "frozen")
    norms = [layer for layer in frozen.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms and len(frozen.trainable_weights) == live - 2 * len(norms)
    with pytest.raises(ValueError, match="must name its layers at strides of 4, 8, 16 and 32"):
        pyramid_levels(keras_cv.models.VGG16Backbone(include_rescaling=False, include_top=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes"),
        ({"num_box_samples": 3}, "`num_box_samples` must be a whole number of at least 4"),
        ({"pooling": "max"}, "`pooling`"),
        ({"anchor_sizes": (8, 16)}, "one for each of 5 levels"),
        ({"image_size": (33, 32)}, "multiples of 32"),
        ({"box_head": box_head(4, 8, 3, 16)}, "box_head must have 4 scores.*Received: 5"),
        ({"mask_head": mask_head(3, 16)}, "mask_head must take the 8 channels.*Received: 16"),
        ({"aspect_ratios": (1.0,), "rpn_head": None}, None),
    ],
)
def test_networks_and_numbers_that_do_not_fit_are_refused(options, message):
    backbone = torchvision_resnet(18, width=8, blocks=(1, 1, 1, 1))
    given = {
        "num_classes": 3,
        "feature_pyramid": feature_pyramid([8, 16, 32, 64], 8),
        "box_head": box_head(3, 8, 3, 16),
        "mask_head": mask_head(3, 8, 4, 1),
        **options,
    }
    if message is None:
        assert MaskRCNN(backbone, **given).rpn_head.outputs[0].shape[-1] == 1
        return
    with pytest.raises(ValueError, match=message):
        MaskRCNN(backbone, **given)


def test_a_network_without_four_outputs_is_no_backbone():
    with pytest.raises(ValueError, match="strides of 4, 8, 16 and 32, 4 outputs.*with 1 outputs"):
        MaskRCNN(keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3)]), 3)
