"""Random changes of training images: what they do, and that they repeat."""

import keras
import keras_cv
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo import data, random
from zoo.data.augment import Augmentation, enlarge_crop_flip, keys_of
from zoo.data.crop import WholePixelCrop

PIXELS = np.random.RandomState(0).randint(0, 256, (23, 8, 6, 3)).astype("uint8")
# So that a picture's row is known from its batch.
PIXELS[:, 0, 0, 0] = np.arange(23)
NUMBERED = np.arange(12 * 12, dtype="float32").reshape(12, 12, 1)


def layer_of(name, *args, **options):
    return getattr(keras_cv.layers, name)(*args, dtype="float32", **options)


def numpy_of(batches, count):
    return [batch.numpy() for batch in batches.take(count)]


def drawn(keys, number):
    """The `number`-th draw of each row, by the definition."""
    return np.array([float(random.uniform((1,), seed=[key[0] + number, key[1]])[0]) for key in keys.numpy()])


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The same images in memory and in a folder."""
    folder = tmp_path_factory.mktemp("pictures")
    for part, rows in (("train", range(23)), ("test", [0])):
        (folder / part).mkdir()
        for row in rows:
            Image.fromarray(PIXELS[row]).save(folder / part / f"{row:02}.png")
    return {"memory": data.Source("memory", PIXELS), "folder": data.load(folder)}


def test_images_are_enlarged_cut_at_the_offsets_drawn_and_mirrored_by_the_third_draw():
    images = tf.random.stateless_uniform((40, 8, 6, 3), [0, 1], -1, 1)
    keys = keys_of(5, 2, tf.range(40, dtype=tf.int64))
    got = enlarge_crop_flip((8, 6, 3), enlarge=1.5)(images, keys).numpy()
    larger = tf.image.resize(images, (12, 9)).numpy()
    top, left, mirror = (drawn(keys, number) for number in range(3))
    for row in range(40):
        first, start = int(top[row] * (12 - 8 + 1)), int(left[row] * (9 - 6 + 1))
        part = larger[row, first : first + 8, start : start + 6]
        np.testing.assert_array_equal(got[row], part[:, ::-1] if mirror[row] > 0.5 else part)
    assert got.dtype == np.float32 and got.min() >= -1 and got.max() <= 1


def test_every_place_of_a_crop_and_both_sides_are_equally_likely():
    count = 5000
    augmentation = Augmentation([WholePixelCrop(8, 10, dtype="float32"), layer_of("RandomFlip")])
    images = tf.repeat(NUMBERED[None], count, axis=0)
    crops = tf.function(augmentation)(images, keys_of(0, 0, tf.range(count, dtype=tf.int64))).numpy()[..., 0]
    assert crops.shape == (count, 8, 10)
    mirrored = crops[:, 0, 0] > crops[:, 0, 1]
    crops[mirrored] = crops[mirrored, :, ::-1]
    top, left = np.divmod(crops[:, 0, 0].astype(int), 12)
    for crop, first, start in zip(crops[:50], top, left, strict=False):
        np.testing.assert_array_equal(crop, NUMBERED[first : first + 8, start : start + 10, 0])
    places = np.bincount(3 * top + left, minlength=15)
    assert len(places) == 15
    # Five standard deviations of a binomial count.
    assert abs(places - count / 15).max() < 5 * np.sqrt(count / 15)
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / np.sqrt(count)


def test_the_crop_of_keras_cv_leaves_out_lines_and_is_why_there_is_another():
    """Should this fail, `WholePixelCrop` has become superfluous."""
    crops = layer_of("RandomCrop", 8, 8, seed=1)(tf.repeat(NUMBERED[None], 200, axis=0)).numpy()
    assert np.any(np.diff(crops[:, 0, :, 0], axis=1) == 2)


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_batches_are_changed_by_the_keys_of_seed_epoch_and_row(sources, kind):
    augmentation = enlarge_crop_flip((8, 6, 3), 1.5)
    options = {"seed": 3, "first_epoch": 1}
    plain = numpy_of(sources["memory"].batches(5, **options), 8)
    changed = sources[kind].batches(5, **options, augment=augmentation)
    assert changed.element_spec.shape == (5, 8, 6, 3) and changed.element_spec.dtype == tf.float32
    for step, (before, after) in enumerate(zip(plain, numpy_of(changed, 8), strict=True)):
        rows = np.round((before[:, 0, 0, 0] + 1) * 127.5).astype("int64")
        np.testing.assert_allclose(after, augmentation(before, keys_of(3, 1 + step // 4, rows)), atol=1e-6)


@pytest.mark.exhaustive
def test_epochs_and_seeds_draw_anew():
    source = data.Source("one", PIXELS[:1])
    augmentation = enlarge_crop_flip((8, 6, 3), 2)
    seeds = (-(2**63), -1, 0, 1, 2**63 - 1)
    pictures = [batch for seed in seeds for batch in numpy_of(source.batches(1, seed, augment=augmentation), 6)]
    # 9 x 7 places and two sides: of 30 draws 3.3 are expected to repeat another.
    assert len({picture.tobytes() for picture in pictures}) > 20


@pytest.mark.parametrize("kind", ["memory", "folder"])
@pytest.mark.parametrize("group", [None, pytest.param(2, marks=pytest.mark.exhaustive)])
def test_a_resumed_run_and_any_number_of_replicas_see_the_same_pictures(sources, kind, group):
    options = {"seed": 1, "group": group, "augment": enlarge_crop_flip((8, 6, 3), 1.5)}
    whole = numpy_of(sources["memory"].batches(7, **options), 6)
    steps = sources["memory"].steps_per_epoch(7, group)
    resumed = sources[kind].batches(7, **options, first_epoch=3 // steps, first_step=3 % steps)
    np.testing.assert_array_equal(numpy_of(resumed, 3), whole[3:])
    parts = numpy_of(sources[kind].batches(7, **options, replicas=(0, 3, 3)), 18)
    for step, batch in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate(parts[3 * step : 3 * step + 3]), batch)


def test_nothing_is_changed_where_nothing_is_asked_for(sources):
    augmentation = enlarge_crop_flip((8, 6, 3), enlarge=1, flip=False)
    assert augmentation.layers == [] and repr(augmentation) == "<Augmentation without layers>"
    got = numpy_of(sources["memory"].batches(5, augment=augmentation), 5)
    np.testing.assert_array_equal(got, numpy_of(sources["memory"].batches(5), 5))
    # 286 pixels of 256, as in the paper.
    first, *others = enlarge_crop_flip((256, 128, 3)).layers
    assert (first.height, first.width, len(others)) == (286, 143, 2)


def test_layers_keep_their_own_generator_and_type_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        augmentation = enlarge_crop_flip((8, 6, 3), 1.5)
        with pytest.raises(ValueError, match='RandomFlip works in bfloat16, .* Make it with `dtype="float32"`'):
            Augmentation([keras_cv.layers.RandomFlip()])
    finally:
        keras.config.set_dtype_policy("float32")
    generators = [layer._random_generator for layer in augmentation.layers]
    augmentation.check((8, 6, 3))
    assert [layer._random_generator for layer in augmentation.layers] == generators


@pytest.mark.exhaustive
def test_other_layers_that_draw_for_whole_batches_work_as_well(sources):
    layers = [
        layer_of("RandomTranslation", 0.2, 0.2),
        layer_of("RandomRotation", 0.1),
        layer_of("RandomHue", (0.2, 0.2), value_range=(-1, 1)),
        layer_of("Grayscale", output_channels=3),
    ]
    options = {"augment": Augmentation(layers), "seed": 2}
    whole = numpy_of(sources["memory"].batches(6, **options), 4)
    np.testing.assert_array_equal(numpy_of(sources["memory"].batches(6, **options, first_step=2), 2), whole[2:])
    assert len({picture.tobytes() for batch in whole[:3] for picture in batch}) == 18


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (lambda: [keras.layers.RandomFlip()], "`layers` must be a list of preprocessing layers of KerasCV.* Received:"),
        (lambda: layer_of("RandomFlip"), "`layers` must be a list"),
        (lambda: [layer_of("RandomBrightness", 0.3, (-1, 1))], r"could not repeat \(RandomUniform\)"),
        (
            lambda: [layer_of("RandomApply", layer_of("RandomFlip"))],
            r"RandomApply draws random numbers of shape",
        ),
        (lambda: [layer_of("RandomChannelShift", (-1, 1), 0.2)], "through a batch image by image may draw none"),
        (lambda: [layer_of("Resizing", 9, 9)], r"must keep .*\(8, 6, 3\), float32. Received: \(9, 9, 3\), float32"),
        (lambda: [WholePixelCrop(8, 7, dtype="float32")], r"Crops of 8 x 7 pixels .* do not fit into images of 8 x 6"),
    ],
)
def test_layers_that_cannot_be_used(sources, layers, message):
    with pytest.raises(ValueError, match=message):
        sources["memory"].batches(5, augment=Augmentation(layers()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.batches(5, augment=tf.identity), "`augment` must be an Augmentation of zoo.data.augment, or None"),
        (lambda s: enlarge_crop_flip(s.shape, enlarge=0.9), "`enlarge` must be a finite number of at least 1"),
        (lambda s: enlarge_crop_flip((8, 6)), r"`image_shape` must be \(height, width, channels\). Received: \(8, 6\)"),
        (
            lambda s: data.load("ring").batches(5, augment=enlarge_crop_flip(s.shape)),
            "'ring' has no pixels: its examples have shape",
        ),
    ],
)
def test_wrong_arguments(sources, call, message):
    with pytest.raises(ValueError, match=message):
        call(sources["memory"])
