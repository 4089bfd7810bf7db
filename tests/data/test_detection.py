"""Batches of pictures with objects: their order, their targets, and random changes that keep all together."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.ndimage import map_coordinates

from zoo import data, random
from zoo.checks import VOID
from zoo.data.augment import keys_of
from zoo.data.canvas import Scene
from zoo.data.detection import DetectionSource, flip_and_scale, label_maps

CANVAS = (24, 32)


class Rectangles:
    """Pictures of 20 x 30 pixels on canvases of 24 x 32 with up to three rectangles; the first pixel is the row."""

    class_names, category_ids = ("low", "high"), (3, 8)
    shape, most_objects, dropped = (23, *CANVAS, 3), 3, {"empty mask": 2}

    def __len__(self):
        return len(self.objects)

    def __init__(self):
        drawn = np.random.RandomState(0)
        self.objects = []
        for row in range(23):
            corners = []
            for _ in range(row % 4):
                x, y = drawn.randint(0, 24), drawn.randint(0, 14)
                corners.append((x, y, x + drawn.randint(2, 7), y + drawn.randint(2, 7)))
            self.objects.append(corners)

    def image_id(self, row):
        return 100 + row

    def original_size(self, row):
        return (40, 60)

    def read(self, row):
        image = np.zeros((*CANVAS, 3), "uint8")
        image[:20, :30] = np.random.RandomState(row).randint(0, 256, (20, 30, 3))
        image[0, 0] = row
        boxes = np.array(self.objects[row], "float32").reshape(-1, 4)
        masks = np.zeros((len(boxes), *CANVAS), "uint8")
        for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
            mask[top:bottom, left:right] = 1
        places = np.arange(len(boxes))
        return Scene(image, boxes, (places % 2).astype("int32"), places == 2, masks, (20, 30))

    def annotations(self):
        for corners in self.objects:
            yield [
                {"category_id": 3, "bbox": [2 * x, 2 * y, 2 * (right - x), 2 * (bottom - y)], "iscrowd": 0, "area": 1.0}
                for x, y, right, bottom in corners
            ]


@pytest.fixture(scope="module")
def source():
    return DetectionSource("rectangles", Rectangles(), origin="hand")


def numpy_of(batches, count):
    return [tf.nest.map_structure(lambda values: values.numpy(), batch) for batch in batches.take(count)]


def rows_of(batch):
    return batch[0][..., 0, 0, 0]


def same(found, expected):
    tf.nest.assert_same_structure(found, expected)
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_targets_are_filled_up_with_padding(source):
    image, targets = source.read(6)
    assert (source.max_objects, source.size, source.shape, source.num_classes) == (3, 23, (24, 32, 3), 2)
    scene = Rectangles().read(6)
    np.testing.assert_array_equal(image, scene.image)
    np.testing.assert_array_equal(targets["boxes"], [*scene.boxes, [0] * 4])
    assert targets["classes"].tolist() == [0, 1, -1] and targets["crowds"].tolist() == [False] * 3
    np.testing.assert_array_equal(targets["masks"], [*scene.masks, np.zeros(CANVAS)])
    assert targets["sizes"].tolist() == [20, 30]
    kinds = {name: values.dtype.name for name, values in targets.items()}
    assert kinds == {"boxes": "float32", "classes": "int32", "crowds": "bool", "masks": "uint8", "sizes": "int32"}
    assert source.read(7)[1]["crowds"].tolist() == [False, False, True]
    assert repr(source) == (
        "<DetectionSource rectangles: 23 pictures on canvases of shape (24, 32, 3), objects of 2 classes, from hand>"
    )


def test_of_more_objects_the_largest_are_kept_and_the_others_counted():
    pictures = Rectangles()
    pictures.objects[3] = [(0, 0, 9, 2), (10, 10, 12, 12), (0, 5, 5, 15)]
    source = DetectionSource("rectangles", pictures, max_objects=2)
    _, targets = source.read(3)
    np.testing.assert_array_equal(targets["boxes"], [[0, 0, 9, 2], [0, 5, 5, 15]])
    assert targets["crowds"].tolist() == [False, True]
    # Rows 3, 7, 11, 15 and 19 have three.
    assert source.dropped == {"empty mask": 2, "beyond max_objects": 5} and pictures.dropped == {"empty mask": 2}
    roomy = DetectionSource("rectangles", pictures, max_objects=9)
    assert roomy.dropped == {"empty mask": 2} and roomy.read(0)[1]["masks"].shape == (9, *CANVAS)
    assert len(source.truth["annotations"]) == 33  # 5 rows of 1, of 2 and of 3, and one more of 1 and of 2


def test_truth_numbers_annotations_that_have_no_id(source):
    truth = source.truth
    assert [one["id"] for one in truth["annotations"]] == [*range(1, 34)]
    assert truth["images"][22] == {"id": 122, "height": 40, "width": 60}
    assert [one["image_id"] for one in truth["annotations"][:3]] == [101, 102, 102]
    assert truth["categories"] == [{"id": 3, "name": "low"}, {"id": 8, "name": "high"}]
    assert source.image_id(4) == 104 and source.original_size(4) == (40, 60)


@pytest.mark.parametrize("group", [None, 2])
def test_the_order_is_that_of_any_source(source, group):
    """The same rows as of images in memory, whose order has tests of its own."""
    greys = np.tile(np.arange(23, dtype="uint8")[:, None, None], (1, 2, 2))
    other = data.Source("greys", greys)
    options = {"batch_size": 5, "seed": 4, "first_epoch": 1, "first_step": 1, "group": group}
    for more in ({"shuffle": False}, {"replicas": (1, 2, 3)}):
        expected = [
            np.round((batch.numpy()[..., 0, 0, 0] + 1) * 127.5) for batch in other.batches(**options, **more).take(4)
        ]
        found = numpy_of(source.batches(**options, **more), 4)
        for batch, rows in zip(found, expected, strict=True):
            np.testing.assert_array_equal(rows_of(batch), rows)
            assert batch[1]["masks"].shape == (*rows.shape, 3, *CANVAS) and batch[1]["sizes"].shape == (*rows.shape, 2)
            flat = [values.reshape(-1, *values.shape[rows.ndim :])[-1] for values in tf.nest.flatten(batch)]
            same(tf.nest.pack_sequence_as(batch, flat), source.read(int(rows.flat[-1])))
    assert source.steps_per_epoch(5, group) == other.steps_per_epoch(5, group)


@pytest.mark.exhaustive
def test_a_resumed_run_sees_what_an_uninterrupted_one_saw(source):
    options = {"seed": 7, "augment": flip_and_scale(True, 0.5, 2.0, 0.3, 20, stretch=1.5, warp=0.2)}
    whole = numpy_of(source.batches(5, **options), 10)
    same(numpy_of(source.batches(5, **options, first_epoch=1, first_step=2), 4), whole[6:])
    parts = numpy_of(source.batches(5, **options, replicas=(0, 2, 2)), 2)
    same(tf.nest.map_structure(lambda *values: np.concatenate(values), *parts), whole[0])
    # The same picture changes in another way in another epoch.
    first, second = (np.concatenate([batch[0] for batch in whole[epoch]]) for epoch in (slice(4), slice(4, 8)))
    assert not {image.tobytes() for image in first} & {image.tobytes() for image in second}


def test_large_pictures_are_read_few_at_a_time(source, monkeypatch):
    expected = numpy_of(source.batches(5), 5)
    monkeypatch.setattr("zoo.data.detection._BYTES_AT_ONCE", 2 * 24 * 32 * 6)
    assert source._rows_at_once() == 2
    same(numpy_of(source.batches(5), 5), expected)


def test_examples_are_a_fixed_sample(source):
    images, targets = source.examples(10, seed=1)
    assert len(set(rows_of((images,)))) == 10 and {len(values) for values in targets.values()} == {10}
    same((images, targets), source.examples(10, seed=1))
    same(tf.nest.map_structure(lambda values: values[4], (images, targets)), source.read(images[4, 0, 0, 0]))
    assert rows_of(source.examples()).tolist() == list(range(23))


def test_label_maps_have_the_smallest_object_on_top():
    masks = np.zeros((2, 3, 4, 6), "uint8")
    masks[0, 0, 1, 1:3] = masks[0, 1, :, 1:] = masks[1, 0, 0, 0] = 1
    maps = label_maps({"classes": np.array([[4, 0, -1], [2, -1, -1]]), "masks": masks})
    expected = np.zeros((2, 4, 6))
    expected[0, :, 1:], expected[1, 0, 0] = 1, 3
    expected[0, 1, 1:3] = 5
    np.testing.assert_array_equal(maps, expected)
    np.testing.assert_array_equal(label_maps({"classes": np.array([4, 0, -1]), "masks": masks[0]}), expected[0])


def changed(source, rows, *options, seed=0):
    """Some pictures, and what becomes of them."""
    pictures = [source.read(row) for row in rows]
    images, targets = tf.nest.map_structure(lambda *values: np.stack(values), *pictures)
    keys = keys_of(seed, 0, tf.constant(rows, tf.int64))
    call = tf.function(flip_and_scale(*options), autograph=False)
    after = call(tf.constant(images), tf.nest.map_structure(tf.constant, targets), keys)
    return (images, targets), tf.nest.map_structure(lambda values: values.numpy(), after)


def test_nothing_changes_where_nothing_is_to_change(source):
    same(*changed(source, range(23), False))


def test_half_of_the_pictures_are_mirrored_within_themselves(source):
    (images, targets), (after, targets_after) = changed(source, range(23), True)
    mirrored = 0
    for row in range(23):
        if np.array_equal(after[row], images[row]):
            for name, values in targets.items():
                np.testing.assert_array_equal(targets_after[name][row], values[row])
            continue
        mirrored += 1
        np.testing.assert_array_equal(after[row, :20, :30], images[row, :20, :30][:, ::-1])
        assert not after[row, 20:].any() and not after[row, :, 30:].any()
        np.testing.assert_array_equal(targets_after["masks"][row, ..., :30], targets["masks"][row, ..., 29::-1])
        there = targets["classes"][row] >= 0
        np.testing.assert_array_equal(
            targets_after["boxes"][row, there],
            ([30, 0, 30, 0] + targets["boxes"][row, there] * [-1, 1, -1, 1])[:, [2, 1, 0, 3]],
        )
        assert targets_after["classes"][row].tolist() == targets["classes"][row].tolist()
    # Five standard deviations of a binomial count.
    assert abs(mirrored - 11.5) < 5 * np.sqrt(23 / 4)


def test_colours_change_as_their_keys_say_and_nothing_else_does(source):
    """By the definition, channel by channel; beside the picture there is nothing to change."""
    (images, targets), (after, targets_after) = changed(source, range(23), False, 1.0, 1.0, 0.4, seed=3)
    same(targets, targets_after)
    assert not after[:, 20:].any() and not after[:, :, 30:].any()
    for row, key in enumerate(keys_of(3, 0, tf.range(23, dtype=tf.int64))):
        contrast, brightness = (0.8 * random.uniform((7,), tf.bitwise.invert(key)).numpy()[:6] - 0.4).reshape(2, 3)
        expected = np.clip((1 + contrast) * images[row, :20, :30] + 127.5 * brightness, 0, 255)
        np.testing.assert_allclose(after[row, :20, :30], expected, atol=0.501)
    assert (after[:, :20, :30] != images[:, :20, :30]).mean() > 0.8


def test_pictures_are_turned_about_their_middle_as_their_keys_say(source):
    """By the definition, in NumPy: what was turned back lies where, for masks; pixels follow their masks below."""
    (images, targets), (after, found) = changed(source, range(23), False, 1.0, 1.0, 0.0, 40.0, seed=4)
    rows, columns = np.arange(20)[:, None] - 9.5, np.arange(30) - 14.5
    for row, key in enumerate(keys_of(4, 0, tf.range(23, dtype=tf.int64))):
        angle = np.radians(40 * (2 * random.uniform((7,), tf.bitwise.invert(key)).numpy()[6] - 1))
        down, across = (
            np.sin(angle) * columns + np.cos(angle) * rows + 9.5,
            np.cos(angle) * columns - np.sin(angle) * rows + 14.5,
        )
        inside = (down > -0.5) & (down < 19.5) & (across > -0.5) & (across < 29.5)
        places = np.clip(np.rint(down), 0, 19).astype(int), np.clip(np.rint(across), 0, 29).astype(int)
        expected = np.where(inside, targets["masks"][row][:, *places], 0)
        # Which of two pixels is nearer may be a matter of rounding.
        assert (found["masks"][row, :, :20, :30] != expected).mean() < 0.003
        assert not found["masks"][row, :, 20:].any() and not after[row, 20:].any() and not after[row, :, 30:].any()
    assert (after != images).mean() > 0.3
    np.testing.assert_array_equal(found["sizes"], targets["sizes"])


@pytest.mark.parametrize("stretch", [1.0, 2.0])
def test_pictures_are_resized_and_cut_as_their_keys_say(source, stretch):
    """By the definition: `tf.image.resize` of the whole picture, then a slice, for pixels; the nearest, for masks."""
    options = (True, 0.5, 3.0, 0.0, 0.0, None, stretch)
    (images, targets), (after, found) = changed(source, range(23), *options, seed=2)
    for row, key in enumerate(keys_of(2, 0, tf.range(23, dtype=tf.int64))):
        mirror, factor, *offset = random.uniform((4,), seed=key).numpy()
        flip = slice(None, None, -1 if mirror < 0.5 else 1)
        wider = stretch ** (2 * random.uniform((8,), tf.bitwise.invert(key)).numpy()[7] - 1)
        factors = (np.float32(0.5) + np.float32(2.5) * factor) * np.sqrt([1 / wider, wider])
        resized = np.rint(np.float32([20, 30]) * factors.astype("float32")).astype(int)
        kept = np.minimum(resized, CANVAS)
        top, left = np.floor(offset * (resized - kept + 1)).astype(int)
        height, width = kept
        assert found["sizes"][row].tolist() == [height, width]
        larger = tf.image.resize(images[row, :20, :30][:, flip], resized, antialias=True).numpy()
        expected = np.zeros((*CANVAS, 3))
        expected[:height, :width] = larger[top : top + height, left : left + width]
        np.testing.assert_allclose(after[row], expected, atol=0.51)
        y = np.floor((np.arange(top, top + height) + 0.5) * 20 / resized[0]).astype(int)
        x = np.floor((np.arange(left, left + width) + 0.5) * 30 / resized[1]).astype(int)
        masks = np.zeros((3, *CANVAS))
        masks[:, :height, :width] = targets["masks"][row, :, :20, :30][:, :, flip][:, y][:, :, x]
        np.testing.assert_array_equal(found["masks"][row], masks)
    assert (found["sizes"] == CANVAS).all(1).any() and (found["sizes"] < (20, 30)).all(1).any()
    # An object that is cut off becomes padding, where it stands.
    gone = (found["classes"] < 0) & (targets["classes"] >= 0)
    assert gone.any() and not found["masks"][gone].any() and not found["boxes"][gone].any()
    assert not found["crowds"][gone].any()
    np.testing.assert_array_equal(found["classes"] >= 0, found["masks"].any((2, 3)))


@pytest.mark.parametrize("turn", [0.0, 30.0])
def test_masks_and_pixels_stay_together(turn):
    """A picture that shows its masks in its three colours still does; only pixels at an edge are mixed."""

    class Shown(Rectangles):
        def read(self, row):
            scene = super().read(row)
            image = np.zeros_like(scene.image)
            for place, mask in enumerate(scene.masks):
                image[..., place] = 255 * mask
            return scene._replace(image=image)

    (_, _), (images, targets) = changed(DetectionSource("shown", Shown()), range(23), True, 0.6, 2.5, 0.0, turn)
    seen = 0
    for image, masks, classes, boxes in zip(
        images, targets["masks"], targets["classes"], targets["boxes"], strict=True
    ):
        for place in range(3):
            # Where interpolation gives more than half, the nearest pixel is the object's.
            assert np.mean((image[..., place] > 128) != masks[place]) < 0.02
            inside = masks[place] > 0
            if classes[place] >= 0:
                seen += 1
                places = np.argwhere(inside)
                assert boxes[place].tolist() == [*places.min(0)[::-1], *(places.max(0) + 1)[::-1]]
                # Of a turned object, what is left at the border may be its mixed edge alone.
                assert image[..., place][inside].mean() > (64 if turn and inside.sum() < 10 else 128)
            else:
                assert not inside.any()
    assert seen > 15


def test_pictures_are_warped_as_their_keys_say(source):
    """By the definition: a field that Pillow makes smooth, and SciPy's interpolation with nothing beyond the border."""
    images, targets = tf.nest.map_structure(lambda *values: np.stack(values), *map(source.read, range(23)))
    keys, warp = keys_of(3, 0, tf.range(23, dtype=tf.int64)), flip_and_scale(flip=False, warp=0.3)
    after, found = tf.nest.map_structure(
        np.asarray, tf.function(warp, autograph=False)(tf.constant(images), targets, keys)
    )
    labels = {"labels": np.where(targets["masks"].any(1), 7, 1).astype("uint8"), "sizes": targets["sizes"]}
    mapped = tf.function(warp, autograph=False)(tf.constant(images), labels, keys)[1]["labels"].numpy()
    compared = 0
    for row, key in enumerate(keys):
        field = 0.3 * random.normal((5, 5, 2), seed=key + [1, 0]).numpy() * [20 / 5, 30 / 5]
        moved = [
            np.asarray(Image.fromarray(field[..., axis].astype("float32")).resize((30, 20), Image.Resampling.BICUBIC))
            for axis in range(2)
        ]
        places = np.mgrid[:20, :30] + moved
        options = {"coordinates": places, "mode": "grid-constant"}
        pixels = [map_coordinates(images[row, :20, :30, each].astype(float), order=1, **options) for each in range(3)]
        # Rounding, and fields that differ by 0.002 pixels where TensorFlow takes bicubic weights from a table.
        np.testing.assert_allclose(after[row, :20, :30], np.stack(pixels, -1), atol=0.5 + 0.002 * 255)
        # Which pixel is nearest is not to be asked where two are equally near.
        clear = (np.abs(places % 1 - 0.5) > 2e-3).all(0)
        masks = [map_coordinates(mask[:20, :30], order=0, **options) for mask in targets["masks"][row]]
        np.testing.assert_array_equal(found["masks"][row, :, :20, :30][:, clear], np.stack(masks)[:, clear])
        maps = map_coordinates(labels["labels"][row, :20, :30], order=0, cval=VOID, **options)
        np.testing.assert_array_equal(mapped[row, :20, :30][clear], maps[clear])
        compared += clear.sum()
    assert compared > 0.98 * 23 * 600 and (mapped == VOID)[:, :20, :30].any() and (mapped == 7).any()
    assert np.abs(after.astype(int) - images).max() > 50
    assert not after[:, 20:].any() and not after[:, :, 30:].any() and (mapped[:, 20:] == VOID).all()


def test_on_a_full_canvas_mirroring_is_that_of_keras_cv(source):
    """And on others its layers lose the picture's place: should this fail, they may take the place of ours."""
    import keras_cv

    flip = keras_cv.layers.RandomFlip("horizontal", rate=1.0, bounding_box_format="xyxy", dtype="float32")
    image, targets = source.read(7)
    given = {
        "images": image[None].astype("float32"),
        "bounding_boxes": {"boxes": targets["boxes"][None], "classes": targets["classes"][None].astype("float32")},
        "segmentation_masks": targets["masks"].transpose(1, 2, 0)[None].astype("float32"),
    }
    theirs = flip(given)
    full = Scene(image, *(targets[name] for name in ("boxes", "classes", "crowds", "masks")), CANVAS)

    class Full(Rectangles):
        def read(self, row):
            return full

    _, (after, ours) = changed(DetectionSource("full", Full()), range(10), True)
    one = next(row for row in range(10) if not np.array_equal(after[row], image))
    np.testing.assert_array_equal(after[one], theirs["images"][0])
    np.testing.assert_array_equal(ours["masks"][one].transpose(1, 2, 0), theirs["segmentation_masks"][0])
    np.testing.assert_allclose(ours["boxes"][one], theirs["bounding_boxes"]["boxes"].to_tensor()[0], atol=1e-4)
    # The picture of 20 x 30 pixels is no longer at the left.
    assert np.asarray(theirs["images"])[0, :, 0].max() == 0 and np.asarray(theirs["images"])[0, :, 31].max() > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda source: source.batches(24),
            "needs 24 examples, and 'rectangles' has 23. Use a batch size of at most 23",
        ),
        (lambda source: source.batches(5, augment=len), "`augment` must be what zoo.data.detection.flip_and_scale"),
        (lambda source: source.batches(5, first_step=4), "`first_step` must be a whole number from 0 to 3"),
        (lambda source: source.examples(24), "as many examples as 'rectangles': 23. Received: n=24"),
        (
            lambda _: DetectionSource("a", Rectangles(), max_objects=0),
            "`max_objects` must be a whole number of at least 1",
        ),
        (lambda _: flip_and_scale(reduce=0), "`reduce` must be a finite number above 0"),
        (lambda _: flip_and_scale(reduce=1.5), "`reduce` must be at most 1"),
        (lambda _: flip_and_scale(enlarge=0.5), "`enlarge` must be a finite number of at least 1"),
        (lambda _: flip_and_scale(stretch=0.9), "`stretch` must be a finite number of at least 1"),
        (lambda _: flip_and_scale(turn=181), "`turn` must be at most 180"),
        (lambda _: flip_and_scale(warp=0.6), "`warp` must be at most 0.5, beyond which pictures fold"),
        (lambda _: flip_and_scale(warp=-0.1), "`warp` must be a finite number of at least 0"),
        (lambda _: flip_and_scale(recolour=1), "`recolour` must be a finite number .*below 1"),
        (
            lambda source: source.batches(5, augment=flip_and_scale(crop=8)),
            "`crop` is for pictures with a label map.*Received: targets boxes, classes, .*Leave `crop` out",
        ),
        (
            lambda _: data.load_detection("scene"),
            "No set .* called 'scene'. Did you mean 'scenes'.* tiny_coco, coco128",
        ),
        (lambda _: data.load_detection("scenes", split="val"), "`split` must be one of 'train', 'test'"),
        (lambda _: data.load_detection("scenes", image_size=0), "`image_size` must be a positive whole number"),
    ],
)
def test_wrong_arguments(source, call, message):
    with pytest.raises(ValueError, match=message):
        call(source)


def test_a_source_is_not_gone_through_itself(source):
    with pytest.raises(TypeError, match=r"Use `source.batches\(8\)`"):
        list(source)


def test_sets_and_folders_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.delenv("ZOO_DATA_DIR", raising=False)
    with pytest.raises(FileNotFoundError, match="ZOO_DATA_DIR is not set. Give the folder around tiny_coco_320"):
        data.load_detection("tiny_coco")
    with pytest.raises(FileNotFoundError, match="coco is not a folder. Fetch http://.*train2017.zip.* val2017 and ann"):
        data.load_detection("coco/2017", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="The folder ./nowhere does not exist"):
        data.load_detection("./nowhere")
    with pytest.raises(FileNotFoundError, match="holds no .json file of annotations.* Expected annotations/instances_"):
        data.load_detection(tmp_path)
    (tmp_path / "file.json").write_text("{}")
    with pytest.raises(NotADirectoryError, match="file.json is a file"):
        data.load_detection(tmp_path / "file.json")


def test_scenes_by_name():
    source = data.load_detection("scenes")
    assert (source.name, source.size, source.shape, source.max_objects) == ("scenes", 10_000, (128, 128, 3), 5)
    assert source.num_classes == 10 and source.dropped == {}
    images, targets = next(iter(source.batches(4, augment=flip_and_scale(False, 0.8, 1.25))))
    assert images.dtype == tf.uint8 and images.shape == (4, 128, 128, 3) and targets["masks"].shape == (4, 5, 128, 128)
    assert source.batches(4).element_spec[1]["boxes"].shape == (4, 5, 4)
