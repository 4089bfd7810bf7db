"""Pictures with a class for each pixel: files of all layouts, their order, and random changes of both together."""

import json
import os
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo import data
from zoo.checks import VOID
from zoo.data import progress
from zoo.data.augment import keys_of
from zoo.data.detection import flip_and_scale, label_maps
from zoo.data.splits import held_out

SIZE = (12, 16)


def pixels(row, size=SIZE):
    """Noise; its first pixel is the row."""
    noise = np.random.RandomState(row).randint(0, 256, (*size, 3)).astype("uint8")
    noise[0, 0] = row
    return noise


def labels_of(row, size=SIZE, classes=4):
    """Labels at random, some void; the first is the row's."""
    drawn = np.random.RandomState(100 + row).randint(0, classes, size).astype("uint8")
    drawn[1, 1:4], drawn[0, 0] = VOID, row % classes
    return drawn


def save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(path, **options)


def palette(labels):
    image = Image.frombytes("P", (labels.shape[1], labels.shape[0]), labels.tobytes())
    image.putpalette([(37 * value) % 256 for value in range(768)])
    return image


def camvid(root, counts=(5, 2), size=SIZE, names=("train", "val")):
    row = 0
    for name, count in zip(names, counts, strict=True):
        for _ in range(count):
            save(root / name / f"{row:02}.png", pixels(row, size))
            save(root / f"{name}annot" / f"{row:02}.png", labels_of(row, size))
            row += 1
    return root


def panoptic(root, part, segments, categories, size=SIZE):
    """One split: pictures 1, 2, … whose segments, (id, category, is crowd), are columns of two pixels in turn."""
    images, annotations = [], []
    for number, some in enumerate(segments, 1):
        name = f"{part}{number}"
        save(root / f"{part}2017" / f"{name}.png", pixels(number, size))
        numbers = np.zeros(size, int)
        for place, (segment, _, _) in enumerate(some):
            numbers[:, 2 * place : 2 * place + 2] = segment
        drawn = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], -1).astype("uint8")
        save(root / "annotations" / f"panoptic_{part}2017" / f"{name}.png", drawn)
        images.append({"id": number, "height": size[0], "width": size[1], "file_name": f"{name}.png"})
        listed = [{"id": one, "category_id": category, "iscrowd": crowd} for one, category, crowd in some]
        annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": listed})
    file = root / "annotations" / f"panoptic_{part}2017.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def numpy_of(batches, count):
    return [tuple(values.numpy() for values in batch) for batch in batches.take(count)]


def test_pictures_and_labels_of_camvid_s_layout(tmp_path):
    camvid(tmp_path)
    train, test = (data.load_segmentation(tmp_path, split=split) for split in ("train", "test"))
    assert (train.size, test.size, train.shape, train.is_images) == (5, 2, (*SIZE, 3), True)
    assert train.class_names == ("0", "1", "2", "3") and train.num_classes == 4 and train.dropped == {}
    same(train.read(3), (pixels(3), labels_of(3)))
    same(test.read(1), (pixels(6), labels_of(6)))
    assert repr(train) == (
        f"<SegmentationSource {tmp_path.name}: 5 pictures on canvases of shape (12, 16, 3), pixels of 4 classes, from "
        f"{tmp_path}, its own train split>"
    )
    images, labels = train.examples()
    same((images, labels), (np.stack([*map(pixels, range(5))]), np.stack([*map(labels_of, range(5))])))
    assert len(train.examples(3, seed=1)[1]) == 3


def test_the_largest_label_of_both_splits_counts(tmp_path):
    camvid(tmp_path)
    save(tmp_path / "valannot" / "05.png", labels_of(5, classes=9))
    assert data.load_segmentation(tmp_path).num_classes == 9


def test_a_file_of_classes_names_them_and_says_what_is_void(tmp_path):
    camvid(tmp_path)
    (tmp_path / "classes.txt").write_text("sky\nVoid: unlabelled\nroad\nvoiding\n\n")
    source = data.load_segmentation(tmp_path)
    assert source.class_names == ("sky", "road", "voiding")
    # Label 1 is void, 2 and 3 move up.
    expected = np.array([0, VOID, 1, 2] + [VOID] * 252, "uint8")[labels_of(2)]
    same(source.read(2), (pixels(2), expected))


@pytest.mark.parametrize("text", ["void\n", "a\n\nb\n", "a\nb\na\n", "\n".join(map(str, range(256)))])
def test_files_of_classes_that_cannot_be_used(tmp_path, text):
    (camvid(tmp_path) / "classes.txt").write_text(text)
    with pytest.raises(ValueError, match="classes.txt must have 1 to 255 lines, .* no two the same, or void. Received"):
        data.load_segmentation(tmp_path)


def test_voc_s_layout_and_palettes(tmp_path):
    for row in range(6):
        save(tmp_path / "JPEGImages" / f"2007_{row}.jpg", pixels(row), quality=95)
        save(tmp_path / "SegmentationClass" / f"2007_{row}.png", palette(labels_of(row, classes=21)))
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_4\n2007_1\n2007_0\n")
    with pytest.raises(FileNotFoundError, match="laid out as Pascal VOC's, and has no ImageSets/Segmentation/val.txt"):
        data.load_segmentation(tmp_path)
    (lists / "val.txt").write_text("2007_5\n")
    source = data.load_segmentation(tmp_path)
    assert (source.size, source.num_classes) == (3, 21)
    assert source.class_names[:2] == ("background", "aeroplane") and source.class_names[15] == "person"
    with Image.open(tmp_path / "JPEGImages" / "2007_1.jpg") as image:
        same(source.read(1), (np.asarray(image), labels_of(1, classes=21)))
    assert data.load_segmentation(tmp_path, split="test").size == 1


@pytest.mark.parametrize(
    ("names", "labels"), [(("training", "validation"), "annotations"), (("train", "test"), "masks")]
)
def test_folders_of_images_and_of_labels(tmp_path, names, labels):
    camvid(tmp_path / "flat", names=names)
    for name in names:
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / labels).mkdir(exist_ok=True)
        (tmp_path / "flat" / name).rename(tmp_path / "images" / name)
        (tmp_path / "flat" / f"{name}annot").rename(tmp_path / labels / name)
    same(data.load_segmentation(tmp_path, split="test").read(0), (pixels(5), labels_of(5)))
    assert data.load_segmentation(tmp_path).size == 5


def test_val_goes_before_test_and_alone_is_too_little(tmp_path):
    camvid(tmp_path, (3, 2))
    camvid(tmp_path, (0, 7), names=("train", "test"))
    assert data.load_segmentation(tmp_path, split="test").size == 2
    with pytest.raises(FileNotFoundError, match="has val and valannot, and neither for the other split. Expected one"):
        data.load_segmentation(camvid(tmp_path / "half", (0, 2)))


def test_without_splits_a_tenth_is_held_out(tmp_path):
    for row in range(20):
        save(tmp_path / "images" / f"{row:02}.png", pixels(row))
        save(tmp_path / "labels" / f"{row:02}.png", labels_of(row))
    rows = {}
    for split in ("train", "test"):
        source = data.load_segmentation(tmp_path, split=split)
        rows[split] = source.examples()[0][:, 0, 0, 0].tolist()
    assert rows["test"] == np.flatnonzero(held_out(20)).tolist()
    assert sorted(rows["train"] + rows["test"]) == [*range(20)] and "a fixed tenth held out" in source.origin


def grey_png(path, labels, bits):
    """A PNG of 2 or 4 bits a pixel by its definition: Pillow writes none."""
    per_byte = 8 // bits
    shifts = bits * np.arange(per_byte)[::-1]
    packed = (labels.reshape(len(labels), -1, per_byte).astype(int) << shifts).sum(-1).astype("uint8")
    parts = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", labels.shape[1], labels.shape[0], bits, 0, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + line.tobytes() for line in packed))
    for kind, content in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b"")):
        parts.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))
    path.write_bytes(b"".join(parts))


def test_labels_of_every_depth(tmp_path):
    camvid(tmp_path, (5, 1))
    small = labels_of(0) % 4
    folder = tmp_path / "trainannot"
    grey_png(folder / "00.png", small, 2)
    grey_png(folder / "01.png", small * 5, 4)
    save(folder / "02.png", small.astype("uint16"))
    save(folder / "03.png", Image.fromarray(small > 1))
    save(folder / "04.png", palette(small), bits=4)
    source = data.load_segmentation(tmp_path)
    assert source.num_classes == 16
    for row, expected in enumerate((small, small * 5, small, small > 1, small)):
        np.testing.assert_array_equal(source.read(row)[1], expected)


def test_labels_are_resized_by_nearest_neighbour_and_void_lies_beside(tmp_path):
    """Twice the size, where each label stands for four pixels; and by Pillow's nearest neighbour for odd factors."""
    camvid(tmp_path, (4, 1))
    image, labels = data.load_segmentation(tmp_path, image_size=(30, 32)).read(2)
    np.testing.assert_array_equal(labels[:24], labels_of(2).repeat(2, 0).repeat(2, 1))
    assert (labels[24:] == VOID).all() and not image[24:].any()
    resized = Image.fromarray(pixels(2)).resize((32, 24), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(image[:24], np.asarray(resized))
    for canvas, fitted in (((9, 11), (8, 11)), ((40, 37), (28, 37))):
        _, labels = data.load_segmentation(tmp_path, image_size=canvas).read(1)
        resized = Image.fromarray(labels_of(1)).resize(fitted[::-1], Image.Resampling.NEAREST)
        np.testing.assert_array_equal(labels[: fitted[0]], np.asarray(resized))
        assert (labels[fitted[0] :] == VOID).all()


def test_the_canvas_holds_the_largest_picture_of_both_splits(tmp_path):
    camvid(tmp_path)
    save(tmp_path / "val" / "05.png", pixels(5, (33, 20)))
    save(tmp_path / "valannot" / "05.png", labels_of(5, (33, 20)))
    train, test = (data.load_segmentation(tmp_path, split=split) for split in ("train", "test"))
    assert train.shape == test.shape == (64, 32, 3) and test.original_size(0) == (33, 20)
    # As large as fits: twice here, and 32 / 20 times, so that 33 rows become 53.
    assert (train.read(0)[1][24:] == VOID).all() and (test.read(0)[1][53:] == VOID).all()


def test_pictures_are_turned_where_their_labels_are(tmp_path):
    """EXIF orientation 6: the first row as stored is the right side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    left_red = np.zeros((*SIZE, 3), "uint8")
    left_red[:, :8, 0] = 250
    camvid(tmp_path, (2, 1), size=SIZE[::-1])
    (tmp_path / "train" / "00.png").unlink()
    save(tmp_path / "train" / "00.jpg", left_red, exif=exif, quality=95)
    image, labels = data.load_segmentation(tmp_path).read(0)
    np.testing.assert_array_equal(labels, labels_of(0, SIZE[::-1]))
    assert image.shape == (16, 12, 3) and image[:6, ..., 0].min() > 200 > 50 > image[10:, ..., 0].max()
    save(tmp_path / "trainannot" / "00.png", labels_of(0))
    image, _ = data.load_segmentation(tmp_path, image_size=16).read(0)
    assert image[:12, :6, 0].min() > 200 > 50 > image[:12, 10:, 0].max()


def test_pairs_that_cannot_be_used_are_named_or_left_out(tmp_path, capsys):
    camvid(tmp_path, (9, 2))
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\n")
    train, labels = tmp_path / "train", tmp_path / "trainannot"
    (train / "00.png").unlink()
    (labels / "01.png").unlink()
    (train / "02.png").write_bytes((train / "02.png").read_bytes()[:200])
    (labels / "03.png").write_bytes(b"")
    save(labels / "04.png", pixels(4))
    save(labels / "05.png", labels_of(5, (16, 12)))
    save(labels / "06.png", labels_of(6, classes=7))
    save(labels / "07.png", Image.new("LA", SIZE[::-1]))

    def refused(number):
        with pytest.raises(ValueError) as raised:
            data.load_segmentation(tmp_path)
        message = str(raised.value)
        assert message.startswith(f"{number} of ") and message.endswith("`skip_damaged=True` leaves them out.")
        assert f"pairs of pictures and labels in {tmp_path}, train split cannot be used" in message
        return message

    message = refused(8)
    assert f"{labels}/00.png (no picture 00.jpg in {train})" in message
    assert f"{train}/01.png (no labels 01.png in {labels})" in message
    assert f"{train}/02.png (" in message and f"{labels}/03.png (the file is empty)" in message
    assert f"{labels}/04.png (3 channels; expected 1 of class numbers, palette or grey); and 3 more" in message
    source = data.load_segmentation(tmp_path, skip_damaged=True)
    assert source.size == 1 and source.dropped == {
        "missing picture": 1,
        "missing labels": 1,
        "damaged picture": 1,
        "damaged labels": 1,
        "labels of another kind": 2,
        "labels of another size": 1,
        "label out of range": 1,
    }
    same(source.read(0), (pixels(8), labels_of(8)))
    assert "train split: missing picture: 1, missing labels: 1, damaged picture: 1" in capsys.readouterr().err
    for row in range(5):
        (train / f"{row:02}.png").unlink(missing_ok=True)
        (labels / f"{row:02}.png").unlink(missing_ok=True)
    message = refused(3)
    assert "05.png (16 x 12 pixels (height x width), its picture of 12 x 16 pixels (height x width))" in message
    assert f"{labels}/06.png (label 4, 5, 6; expected 0 to 3, or 255 for void)" in message
    assert "07.png (2 channels" in message
    for path in (labels / "08.png", train / "08.png"):
        before = path.read_bytes()
        path.write_bytes(before[:60])
        with pytest.raises(ValueError, match=f"{path} could be read before and now cannot be"):
            source.read(0)
        path.write_bytes(before)
    (labels / "08.png").unlink()
    with pytest.raises(ValueError, match=r"4 of 4 pairs .* Mend or remove them\.$"):
        data.load_segmentation(tmp_path, skip_damaged=True)


def test_folders_without_anything_to_learn_from(tmp_path):
    camvid(tmp_path, (1, 1))
    save(tmp_path / "trainannot" / "00.png", np.full(SIZE, VOID, "uint8"))
    with pytest.raises(ValueError, match="All pixels of the 1 pictures in the train split of .* are void"):
        data.load_segmentation(tmp_path)
    save(tmp_path / "valannot" / "01.png", np.full(SIZE, VOID, "uint8"))
    with pytest.raises(ValueError, match="No file of labels in .* has a class for any pixel"):
        data.load_segmentation(tmp_path)
    save(tmp_path / "valannot" / "01.png", np.full(SIZE, 700, "uint16"))
    with pytest.raises(ValueError, match="Labels must be 0 to 254, or 255 for void. Received: 700 in .*/01.png"):
        data.load_segmentation(tmp_path)
    save(tmp_path / "train" / "00.jpg", pixels(0))
    with pytest.raises(ValueError, match="00.jpg and .*00.png have the same name, .* Move one away"):
        data.load_segmentation(tmp_path)
    for path in tmp_path.glob("train*/*"):
        path.unlink()
    with pytest.raises(ValueError, match="There are neither pictures in .*train nor labels in .*trainannot"):
        data.load_segmentation(tmp_path)


CATEGORIES = [{"id": 90, "name": "last"}, {"id": 1, "name": "first"}, {"id": 7, "name": "middle"}]


def test_panoptic_annotations_of_coco(tmp_path):
    segments = [[(1, 90, 0), (256 + 7, 1, 0), (3 * 65536 + 255, 7, 0), (9, 1, 1), (70_000, 90, 0)], []]
    file = panoptic(tmp_path, "train", segments, CATEGORIES)
    panoptic(tmp_path, "val", [[(5, 7, 0)]], CATEGORIES)
    source = data.load_segmentation(tmp_path)
    assert (source.size, source.shape, source.class_names) == (2, (*SIZE, 3), ("first", "middle", "last"))
    # Columns of two pixels; the fourth is a crowd, and what is beyond the fifth no segment.
    expected = np.tile(np.repeat(np.uint8([2, 0, 1, VOID, 2, VOID, VOID, VOID]), 2), (12, 1))
    same(source.read(0), (pixels(1), expected))
    assert (source.read(1)[1] == VOID).all() and source.origin.startswith(str(file))
    same(data.load_segmentation(tmp_path, split="test").read(0)[:1], (pixels(1),))
    twice = data.load_segmentation(tmp_path, image_size=(24, 40)).read(0)[1]
    np.testing.assert_array_equal(twice[:, :32], expected.repeat(2, 0).repeat(2, 1))
    assert (twice[:, 32:] == VOID).all()


def test_panoptic_annotations_that_cannot_be_used(tmp_path):
    file = panoptic(tmp_path, "train", [[(one, 1, 0)] for one in range(1, 7)], CATEGORIES)
    other = panoptic(tmp_path, "val", [[(5, 7, 0)]], CATEGORIES[1:])
    with pytest.raises(ValueError, match="must list the same categories, .* Received: 90: last in one of them only"):
        data.load_segmentation(tmp_path)
    panoptic(tmp_path, "val", [[(5, 7, 0)]], CATEGORIES)
    document = json.loads(file.read_text())
    first, second, third, fourth, _, _ = document["annotations"]
    first["segments_info"][0]["category_id"] = 2
    second["segments_info"] = None
    third["segments_info"][0]["id"] = 2**24
    document["annotations"].remove(fourth)
    file.write_text(json.dumps(document))
    save(tmp_path / "annotations" / "panoptic_train2017" / "train5.png", labels_of(5))
    with pytest.raises(ValueError, match="5 of 6 pairs of pictures and labels") as raised:
        data.load_segmentation(tmp_path)
    for part in (
        "annotation of train1.png (expected a file_name, and segments_info",
        "KeyError: 2); annotation of train2.png",
        "ids of segments must be whole numbers below 2^24",
        "train4.png (no annotation)",
        "train5.png (1 channels; expected 3, whose colours number segments)",
    ):
        assert part in str(raised.value)
    source = data.load_segmentation(tmp_path, skip_damaged=True)
    assert source.dropped == {"damaged annotation": 3, "missing labels": 1, "labels of another kind": 1}
    np.testing.assert_array_equal(source.read(0)[1][:, :2], 0)
    other.with_name("panoptic_test2017.json").write_text("{}")
    with pytest.raises(ValueError, match="must hold one file panoptic_….json, or one .* Move the others away"):
        data.load_segmentation(tmp_path)


def test_scenes_are_those_of_detection():
    source, objects = data.load_segmentation("scenes"), data.load_detection("scenes")
    assert (source.name, source.size, source.shape, source.num_classes) == ("scenes", 10_000, (128, 128, 3), 11)
    assert source.class_names == ("background", *"0123456789") and source.dropped == {}
    for row in (0, 3):
        image, targets = objects.read(row)
        same(source.read(row), (image, label_maps(targets).astype("uint8")))


REAL_FOLDER = os.environ.get("ZOO_DATA_DIR")


@pytest.mark.skipif(
    not REAL_FOLDER or not Path(REAL_FOLDER, "camvid_240x180").is_dir(), reason="no camvid_240x180 in ZOO_DATA_DIR"
)
def test_real_pictures_are_those_that_pillow_reads():
    folder = Path(REAL_FOLDER, "camvid_240x180")
    for split, part, size in (("train", "train", 367), ("test", "val", 101)):
        source = data.load_segmentation("camvid", split=split, data_dir=REAL_FOLDER)
        assert (source.size, source.shape, source.num_classes) == (size, (180, 240, 3), 11)
        assert source.class_names[0] == "Sky" and source.class_names[10] == "Bicyclist" and source.dropped == {}
        path = sorted((folder / part).iterdir())[7]
        with Image.open(path) as image, Image.open(folder / f"{part}annot" / f"{path.stem}.png") as labels:
            expected = np.asarray(labels)
            same(source.read(7), (np.asarray(image), np.where(expected == 11, VOID, expected).astype("uint8")))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """23 pictures of 20 x 30 pixels at 24 x 32, all but the sizes as those of test_detection.py."""
    root = camvid(tmp_path_factory.mktemp("camvid"), (23, 1), size=(20, 30))
    return data.load_segmentation(root, image_size=(24, 32))


@pytest.mark.parametrize("group", [None, 2])
def test_the_order_is_that_of_any_source(source, group):
    """The same rows as of images in memory, whose order has tests of its own."""
    greys = np.tile(np.arange(23, dtype="uint8")[:, None, None], (1, 2, 2))
    other = data.Source("greys", greys)
    options = {"batch_size": 5, "seed": 4, "first_epoch": 1, "first_step": 1, "group": group}
    for more in ({"shuffle": False}, {"replicas": (1, 2, 3)}):
        expected = [
            np.round((batch.numpy()[..., 0, 0, 0] + 1) * 127.5) for batch in other.batches(**options, **more).take(3)
        ]
        for batch, rows in zip(numpy_of(source.batches(**options, **more), 3), expected, strict=True):
            assert batch[0].shape == (*rows.shape, 24, 32, 3) and batch[1].shape == (*rows.shape, 24, 32)
            for place in np.ndindex(rows.shape):
                same((batch[0][place], batch[1][place]), source.read(int(rows[place])))
    assert source.steps_per_epoch(5, group) == other.steps_per_epoch(5, group)
    images, labels = source.batches(5, group=group).element_spec
    assert images.dtype == labels.dtype == tf.uint8 and labels.shape == (5, *([group] if group else []), 24, 32)


@pytest.mark.exhaustive
def test_a_resumed_run_sees_what_an_uninterrupted_one_saw(source):
    options = {"seed": 7, "augment": flip_and_scale(True, 0.5, 2.0)}
    whole = numpy_of(source.batches(5, **options), 8)
    for found, expected in zip(
        numpy_of(source.batches(5, **options, first_epoch=1, first_step=2), 2), whole[6:], strict=True
    ):
        same(found, expected)
    parts = numpy_of(source.batches(5, **options, replicas=(0, 2, 2)), 2)
    same([np.concatenate(values) for values in zip(*parts, strict=True)], whole[0])


def test_labels_change_as_the_masks_of_objects_do(source):
    """Classes as four masks, changed by the same keys: the same pictures, and labels where the masks are."""
    rows = range(23)
    images, labels = source.examples()
    sizes = np.tile(np.int32([21, 32]), (23, 1))
    assert (labels[:, 21:] == VOID).all() and (labels[:, 20] != VOID).any()
    masks = (labels[:, None] == np.arange(4)[:, None, None]).astype("uint8")
    targets = {
        "boxes": np.zeros((23, 4, 4), "float32"),
        "classes": np.tile(np.arange(4, dtype="int32"), (23, 1)),
        "crowds": np.zeros((23, 4), bool),
        "masks": masks,
        "sizes": sizes,
    }
    keys = keys_of(3, 0, tf.constant(rows, tf.int64))
    change = tf.function(flip_and_scale(True, 0.5, 2.0, 0.3, 20))

    def changed(targets):
        return change(tf.constant(images), {name: tf.constant(values) for name, values in targets.items()}, keys)

    pictures, found = changed({"labels": labels, "sizes": sizes})
    expected_pictures, expected = changed(targets)
    np.testing.assert_array_equal(pictures, expected_pictures)
    np.testing.assert_array_equal(found["sizes"], expected["sizes"])
    changed_masks = expected["masks"].numpy()
    classes = np.where(changed_masks.any(1), changed_masks.argmax(1), VOID)
    np.testing.assert_array_equal(found["labels"], classes)
    for label_map, (height, width) in zip(found["labels"].numpy(), found["sizes"].numpy(), strict=True):
        assert (label_map[height:] == VOID).all() and (label_map[:, width:] == VOID).all()
    assert len({tuple(size) for size in found["sizes"].numpy()}) > 5
    assert found["labels"].dtype == tf.uint8 and not np.array_equal(found["labels"], labels)


def cropped(labels, crop, count, *options):
    """Crops of pictures that are their label maps, of a size below that of the canvas, by different keys."""
    labels = np.asarray(labels, "uint8")
    canvas = np.pad(labels, [(0, 2), (0, 3)], constant_values=VOID)
    images = np.repeat(canvas[..., None], 3, axis=-1)
    targets = {"labels": canvas, "sizes": np.int32(labels.shape)}
    several = [tf.constant(np.repeat(values[None], count, axis=0)) for values in (images, *targets.values())]
    keys = keys_of(5, 0, tf.range(count, dtype=tf.int64))
    change = tf.function(flip_and_scale(*options, crop=crop))
    pictures, found = change(several[0], dict(zip(targets, several[1:], strict=True)), keys)
    return pictures.numpy(), found["labels"].numpy(), found["sizes"].numpy()


def test_a_crop_is_the_square_around_a_pixel_of_a_class():
    """Every class but the first has the same chance, however small; so has each of its pixels; borders are kept to."""
    labels = np.random.RandomState(0).choice([0, VOID], (20, 30)).astype("uint8")
    labels[4, 5], labels[12:15, 24:] = 1, 2
    pictures, crops, sizes = cropped(labels, 7, 600, False)
    assert pictures.shape == (600, 7, 7, 3) and (sizes == 7).all()
    np.testing.assert_array_equal(pictures, np.repeat(crops[..., None], 3, axis=-1))
    shares = Counter({(1, 2): 1 / 2})
    for row, column in np.argwhere(labels == 2):
        shares[row - 3, min(column - 3, 23)] += 1 / 2 / 18
    windows = {labels[row : row + 7, column : column + 7].tobytes(): (row, column) for row, column in shares}
    found = Counter(windows[crop.tobytes()] for crop in crops)
    for place, share in shares.items():
        # Five standard deviations of a binomial count.
        assert abs(found[place] - 600 * share) < 5 * np.sqrt(600 * share)


def test_a_crop_of_a_changed_picture_keeps_its_pixel():
    """Mirrored and enlarged: one of two pixels, 20 columns apart, is in every square, never both."""
    labels = np.zeros((20, 30), int)
    labels[4, 5], labels[13, 25] = 1, 2
    _, crops, _ = cropped(labels, 9, 200, True, 1.0, 2.0)
    counts = [[(crop == label).any() for label in (1, 2)] for crop in crops]
    assert all(sum(one) == 1 for one in counts)
    assert abs(sum(first for first, _ in counts) - 100) < 5 * np.sqrt(50)
    assert len({crop.tobytes() for crop in crops}) > 20


def test_a_crop_may_be_larger_than_the_picture_and_need_no_class():
    labels = np.random.RandomState(0).randint(0, 3, (6, 8))
    _, crops, sizes = cropped(labels, 10, 3, False)
    assert (crops[:, :6, :8] == labels).all() and (crops[:, 6:] == VOID).all() and (crops[:, :, 8:] == VOID).all()
    assert (sizes == (6, 8)).all()
    labels[:] = VOID
    assert (cropped(labels, 4, 3, False)[1] == VOID).all()
    labels[2, 3] = 0
    _, crops, _ = cropped(labels, 3, 3, False)
    assert (crops[:, 1, 1] == 0).all() and (np.delete(crops.reshape(3, 9), 4, axis=1) == VOID).all()


def test_half_of_the_pictures_are_mirrored_within_themselves(source):
    mirrored = 0
    batches = source.batches(23, shuffle=False, augment=flip_and_scale())
    (images, labels), (plain, labels_before) = numpy_of(batches, 1)[0], source.examples()
    for image, label_map, before, label_map_before in zip(images, labels, plain, labels_before, strict=True):
        if np.array_equal(image, before):
            np.testing.assert_array_equal(label_map, label_map_before)
            continue
        mirrored += 1
        np.testing.assert_array_equal(image[:21], before[:21, ::-1])
        np.testing.assert_array_equal(label_map[:21], label_map_before[:21, ::-1])
        assert (label_map[21:] == VOID).all()
    # Five standard deviations of a binomial count.
    assert abs(mirrored - 11.5) < 5 * np.sqrt(23 / 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda source: source.batches(24), "needs 24 examples, and .* has 23. Use a batch size of at most 23"),
        (lambda source: source.batches(5, augment=len), "`augment` must be what zoo.data.detection.flip_and_scale"),
        (lambda _: flip_and_scale(crop=0), "`crop` must be a whole number of at least 1"),
        (lambda source: source.examples(24), "as many examples as .*: 23. Received: n=24"),
        (lambda _: data.load_segmentation("scene"), "No set .* called 'scene'. Did you mean 'scenes'.* scenes, camvid"),
        (lambda _: data.load_segmentation("scenes", split="val"), "`split` must be one of 'train', 'test'"),
        (lambda _: data.load_segmentation("scenes", image_size=0), "`image_size` must be a positive whole number"),
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
    with pytest.raises(FileNotFoundError, match="neither `data_dir` nor ZOO_DATA_DIR is given. Expected folders train"):
        data.load_segmentation("camvid")
    with pytest.raises(FileNotFoundError, match="camvid_240x180 is not a folder"):
        data.load_segmentation("camvid", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="The folder ./nowhere does not exist"):
        data.load_segmentation("./nowhere")
    with pytest.raises(FileNotFoundError, match="holds no pictures with labels .* Expected one of: JPEGImages, "):
        data.load_segmentation(tmp_path)
    (tmp_path / "labels.png").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="labels.png is a file"):
        data.load_segmentation(tmp_path / "labels.png")


def test_progress_is_shown_where_files_are_many(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_FILES", 2)
    camvid(tmp_path, (3, 2))
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\n")
    data.load_segmentation(tmp_path, split="test")
    assert f"Checked 2 of 2 files of labels in {tmp_path}, test split" in capsys.readouterr().err.splitlines()
