"""All that a folder holds is read, or named in one line: links, splits of all names, kinds of files, and the rest."""

import json
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo import data
from zoo.data import records
from zoo.data.splits import held_out

SIZE = (12, 16)


def picture(path, grey=100, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1], (grey, grey, 0)).save(path)
    return path


def labels(path, values=(0, 1), size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = np.resize(np.array(values, "uint8"), size)
    Image.fromarray(drawn).save(path)
    return path


def coco(root, file, names, pictures, first=0):
    images, things = [], []
    for number, name in enumerate(names, first):
        picture(pictures / name, number)
        images.append({"id": number, "height": SIZE[0], "width": SIZE[1], "file_name": name})
        things.append({"id": number + 1, "image_id": number, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]})
    document = {"images": images, "annotations": things, "categories": [{"id": 1, "name": "one"}]}
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(document))


# Each way to lay out a folder with 6 pictures to train with and 2 to test, in folders of these names.
def image_folder(root, train, test):
    for number in range(8):
        picture(root / (train if number < 6 else test) / "ab"[number % 2] / f"{number}.png", number)
    return data.load, root / train / "a"


def pair_folder(root, train, test):
    for letter in "AB":
        for number in range(8):
            picture(root / f"{train if number < 6 else test}{letter}" / f"{number}.png", number)
    return data.load_pair, root / f"{train}A"


def camvid_folder(root, train, test):
    for number in range(8):
        part = train if number < 6 else test
        picture(root / part / f"{number}.png", number)
        labels(root / f"{part}annot" / f"{number}.png")
    return data.load_segmentation, root / train


def ade_folder(root, train, test):
    for number in range(8):
        part = train if number < 6 else test
        picture(root / "images" / part / f"{number}.png", number)
        labels(root / "annotations" / part / f"{number}.png")
    return data.load_segmentation, root / "images" / train


def voc_folder(root, train, test):
    for number in range(8):
        picture(root / "JPEGImages" / f"{number}.jpg", number)
        labels(root / "SegmentationClass" / f"{number}.png")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / f"{train}.txt").write_text("\n".join(map(str, range(6))))
    (lists / f"{test}.txt").write_text("6\n7\n")
    return data.load_segmentation, root / "JPEGImages"


def coco_folder(root, train, test):
    for part, numbers in ((train, range(6)), (test, range(6, 8))):
        names = [f"{number}.png" for number in numbers]
        coco(root, f"annotations/instances_{part}.json", names, root / part, numbers[0])
    return data.load_detection, root / train


def coco_folder_of_splits(root, train, test):
    for part, numbers in ((train, range(6)), (test, range(6, 8))):
        coco(root / part, "_annotations.coco.json", [f"{number}.png" for number in numbers], root / part, numbers[0])
    return data.load_detection, root / train


def record_folder(root, train, test):
    whole = data.Source("w", np.arange(8, dtype="uint8").repeat(192).reshape(8, 12, 16), labels=np.arange(8) % 2)
    parts = {"train": slice(0, 6), "test": slice(6, 8)}
    for part, rows in parts.items():
        name = {"train": train, "test": test}[part]
        pixels = np.arange(8, dtype="uint8").repeat(192).reshape(8, 12, 16)[rows]
        records.write(data.Source("w", pixels, labels=whole.labels[rows]), root / name, part)
    return data.load, root / train


LAYOUTS = {
    "images": image_folder,
    "pairs": pair_folder,
    "camvid": camvid_folder,
    "ade": ade_folder,
    "voc": voc_folder,
    "coco": coco_folder,
    "coco, a folder a split": coco_folder_of_splits,
    "records": record_folder,
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@every_layout
@pytest.mark.parametrize(
    ("train", "test"),
    [
        *(("train", "test"), ("training", "testing"), ("Train", "Val"), ("TRAIN", "valid"), ("train", "validation")),
        ("Training", "VALIDATION"),
    ],
)
def test_splits_are_known_by_all_their_names_in_any_case(tmp_path, capsys, layout, train, test):
    load, _ = LAYOUTS[layout](tmp_path, train, test)
    sizes = [load(tmp_path, split=split).size for split in ("train", "test")]
    assert sizes == [6, 2]
    # Nothing is passed over, and none is a class.
    assert "Passed over" not in capsys.readouterr().err
    if layout == "images":
        assert load(tmp_path).class_names == ["a", "b"]


@every_layout
def test_what_is_not_used_is_named_in_one_line(tmp_path, capsys, layout):
    load, inside = LAYOUTS[layout](tmp_path, "train", "val")
    strangers = [tmp_path / "notes.md", inside / "photo.heic", inside / ".hidden.png", inside / "deep.txt"]
    for path in strangers:
        path.write_text("strange")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "1.txt").write_text("strange")
    pair = layout == "pairs"
    for split, size in (("train", 6), ("test", 2)):
        assert load(tmp_path, split=split).size == size
    # Once, though a run loads both splits.
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Passed over")]
    # The sides of a pair are folders of their own.
    assert len(lines) == (2 if pair else 1), lines
    named = " ".join(lines)
    for name in ("notes.md", "photo.heic", ".hidden.png", "deep.txt", "more/"):
        assert name in named, (name, lines)
    assert pair or f"Passed over 5 files or folders in {tmp_path}: " in named


@every_layout
def test_links_to_folders_are_followed_and_those_that_go_round_are_named(tmp_path, capsys, layout):
    load, inside = LAYOUTS[layout](tmp_path / "elsewhere", "train", "val")
    expected = load(tmp_path / "elsewhere").size
    # Every folder of the set becomes a link to it.
    root = tmp_path / "set"
    root.mkdir()
    for one in (tmp_path / "elsewhere").iterdir():
        os.symlink(os.path.join("..", "elsewhere", one.name), root / one.name)
    capsys.readouterr()
    linked = load(root)
    assert linked.size == expected
    assert "Passed over" not in capsys.readouterr().err
    os.symlink("..", inside / "round")
    os.symlink(os.path.join("..", ".."), inside / "further")
    assert load(root).size == expected
    error = capsys.readouterr().err
    assert "round/" in error and "further/" in error


def test_class_folders_may_be_links(tmp_path):
    for number in range(10):
        picture(tmp_path / "far" / "cats" / f"{number}.png", number)
        picture(tmp_path / "set" / "dog" / f"{number}.png", number + 100)
    os.symlink(tmp_path / "far" / "cats", tmp_path / "set" / "cat")
    os.symlink(picture(tmp_path / "far" / "one.png", 50), tmp_path / "set" / "dog" / "linked.png")
    found = [data.load(tmp_path / "set", split=split) for split in ("train", "test")]
    assert [source.class_names for source in found] == [["cat", "dog"]] * 2
    assert np.bincount(np.concatenate([source.labels for source in found])).tolist() == [10, 11]


def test_a_folder_is_read_once_however_many_links_lead_there(tmp_path, capsys):
    for number in range(10):
        picture(tmp_path / "cat" / f"{number}.png", number)
        picture(tmp_path / "dog" / f"{number}.png", number)
    os.symlink("cat", tmp_path / "a_cat")
    os.symlink("..", tmp_path / "dog" / "loop")
    os.symlink("dog", tmp_path / "zoo")
    assert sum(data.load(tmp_path, split=split).size for split in ("train", "test")) == 20
    error = capsys.readouterr().err
    for name in ("a_cat/ (", "dog/loop/ (a link to a folder around it)", "zoo/ ("):
        assert name in error
    assert data.load(tmp_path).class_names == ["cat", "dog"]


def test_a_picture_in_both_splits_is_refused(tmp_path):
    for part in ("train", "test"):
        (tmp_path / "images" / part).mkdir(parents=True)
    for number in range(4):
        picture(tmp_path / "images" / "train" / f"{number}.png", number)
    os.symlink("../train/2.png", tmp_path / "images" / "test" / "other.png")
    with pytest.raises(
        ValueError, match=r"1 pictures of .* in both splits.*train/2.png and .*test/other.png. Take them"
    ):
        data.load(tmp_path / "images")


@pytest.mark.parametrize("end", ["webp", "tif", "TIFF", "avif", "jp2", "ppm", "tga", "Jpe", "jfif"])
def test_what_pillow_reads_is_read(tmp_path, end):
    for number in range(4):
        picture(tmp_path / "images" / f"{number}.{end}", 40 * number)
        labels(tmp_path / "masks" / f"{number}.png")
    source = data.load(tmp_path / "images")
    assert source.size == 3 and source.shape == (*SIZE, 3)
    means = (source.examples().mean((1, 2))[:, 0] + 1) * 127.5
    expected = 40 * np.flatnonzero(~held_out(4))
    np.testing.assert_allclose(means, expected, atol=8)  # lossy kinds
    assert data.load_segmentation(tmp_path).size == 3
    names = [f"{number}.{end}" for number in range(4)]
    coco(tmp_path / "coco", "all.json", names, tmp_path / "coco")
    assert data.load_detection(tmp_path / "coco").size == 3


def test_what_would_start_other_programs_or_is_no_picture_is_not():
    """EPS starts Ghostscript; HDF5, GRIB and BUFR are containers; of MPEG Pillow knows the size alone."""
    from zoo.data.listing import picture_endings

    endings = picture_endings()
    assert {".png", ".jpg", ".webp", ".tif"} <= {*endings}
    assert not {".eps", ".ps", ".pdf", ".h5", ".grib", ".bufr", ".mpg", ".wmf", ".emf"} & {*endings}


def test_pixels_of_unknown_range_are_refused(tmp_path):
    for number in range(3):
        Image.fromarray(np.full(SIZE, 0.5, "float32")).save(tmp_path / f"{number}.tif")
    with pytest.raises(
        ValueError, match="3 of 3 images .*its pixels are floating point numbers; convert it to 8 or 16"
    ):
        data.load(tmp_path)


def deep(path, values, colours=False):
    """A PNG of 16 bits by its definition: Pillow writes none in colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values, ">u2")
    values = values[..., None].repeat(3, -1) if colours else values
    parts = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2 * colours, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + line.tobytes() for line in values))
    for kind, content in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b"")):
        parts.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))
    path.write_bytes(b"".join(parts))


def deep_set(root, kind, peak, colours=False):
    names = [f"{number}.png" for number in range(4)]
    place = root / {"images": "x", "labels": "images", "coco": "x", "records": "png"}[kind]
    if kind == "coco":
        coco(root, "all.json", names, root)
        place = root
    for name in names:
        deep(place / name, np.resize([0, peak], SIZE), colours)
        labels(root / "masks" / name)
    if kind == "records":
        examples = []
        for name in names:
            examples.append(tf.train.Example())
            examples[-1].features.feature["image"].bytes_list.value.append((place / name).read_bytes())
        (root / "records").mkdir()
        with tf.io.TFRecordWriter(str(root / "records" / "x-train.tfrecord-00000-of-00001")) as file:
            for one in examples:
                file.write(one.SerializeToString())
        with tf.io.TFRecordWriter(str(root / "records" / "x-test.tfrecord-00000-of-00001")) as file:
            file.write(examples[0].SerializeToString())
        return lambda: data.load(root / "records")
    if kind == "images":
        return lambda: data.load(place)
    return lambda: (data.load_segmentation if kind == "labels" else data.load_detection)(root)


@pytest.mark.parametrize("kind", ["images", "labels", "coco", "records"])
@pytest.mark.parametrize(
    ("peak", "colours", "times"), [(4095, False, 16), (255, False, 256), (3000, True, 16), (4096, False, None)]
)
def test_pictures_of_12_bits_in_files_of_16_are_told(tmp_path, capsys, kind, peak, colours, times):
    """Of 16 bits the upper 8 are kept: 4095 >> 8 is 15 of 255. Times 16, 12 bits fill 16."""
    deep_set(tmp_path, kind, peak, colours)()
    error = capsys.readouterr().err
    assert ("come out nearly black" in error) == (times is not None)
    if times:
        assert f"bits, write them anew, times {times}." in error
        # The remedy.
        deep_set(tmp_path / "again", kind, peak * times, colours)()
        assert "nearly black" not in capsys.readouterr().err


def test_values_beyond_16_bits_are_refused(tmp_path):
    for number, value in enumerate((0, 70_000, 100)):
        Image.fromarray(np.full(SIZE, value, "int32")).save(tmp_path / f"{number}.tif")
    with pytest.raises(
        ValueError, match="1 of 3 images .*1.tif .its values are 70000 to 70000, beyond 16 bits; conver"
    ):
        data.load(tmp_path)


@pytest.mark.parametrize("kind", ["jpeg", "webp", "jpeg2000", "avif", "tiff"])
@pytest.mark.parametrize("layout", ["camvid", "panoptic"])
def test_labels_that_were_compressed_with_loss_are_refused_whatever_their_names(tmp_path, kind, layout):
    """A JPEG of the labels 0 and 5 has others beside: all would be classes."""
    if layout == "camvid":
        load, file = camvid_folder(tmp_path, "train", "val")[0], tmp_path / "trainannot" / "2.png"
    else:
        load, file = data.load_segmentation, tmp_path / "annotations" / "panoptic_train" / "2.png"
        file.parent.mkdir(parents=True)
        for part in ("train", "val"):
            rows = range(6) if part == "train" else range(6, 8)
            for row in rows:
                picture(tmp_path / part / f"{row}.png", row)
                picture(tmp_path / "annotations" / f"panoptic_{part}" / f"{row}.png", 1)
            images = [{"id": row, "height": 12, "width": 16, "file_name": f"{row}.png"} for row in rows]
            segments = [{"id": 257, "category_id": 1}]
            listed = [{"image_id": row, "file_name": f"{row}.png", "segments_info": segments} for row in rows]
            document = {"images": images, "annotations": listed, "categories": [{"id": 1, "name": "one"}]}
            (tmp_path / "annotations" / f"panoptic_{part}.json").write_text(json.dumps(document))
    assert load(tmp_path).size == 6
    options = {"compression": "jpeg"} if kind == "tiff" else {}
    with Image.open(file) as image:
        image = image.copy()
    image.save(file, kind, **options)
    message = f"1 of 6 pairs .*2.png .it is {kind.upper()}, whatever its name says, whose compression changes labels"
    with pytest.raises(ValueError, match=message):
        load(tmp_path)
    assert load(tmp_path, skip_damaged=True).dropped == {"damaged labels": 1}


def test_pictures_beside_or_below_class_folders_take_the_labels_and_are_named(tmp_path, capsys):
    for number in range(10):
        picture(tmp_path / "ab"[number % 2] / f"{number}.png", number)
    assert data.load(tmp_path).class_names == ["a", "b"]
    picture(tmp_path / "loose.png", 77)
    picture(tmp_path / "a" / "deep" / "deeper.png", 78)
    capsys.readouterr()
    source = data.load(tmp_path)
    assert source.labels is None and source.size + data.load(tmp_path, split="test").size == 12
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith(f"No labels in {tmp_path}, though it has folders such as a and b: 2 of 12 images lie beside")
    assert "a/deep/deeper.png; loose.png" in line
    # In a folder with splits, it is not used.
    picture(tmp_path / "split" / "train" / "1.png")
    picture(tmp_path / "split" / "val" / "2.png")
    picture(tmp_path / "split" / "loose.png")
    assert data.load(tmp_path / "split").size == 1
    assert "Passed over 1 file or folder" in capsys.readouterr().err


def test_a_folder_that_is_train_alone_is_no_class(tmp_path):
    for number in range(20):
        picture(tmp_path / "Train" / "ab"[number % 2] / f"{number}.png", number)
    train, test = (data.load(tmp_path, split=split) for split in ("train", "test"))
    assert (train.size, test.size, train.class_names) == (18, 2, ["a", "b"])
    picture(tmp_path / "car" / "1.png")
    # A class may be called train.
    assert sum(data.load(tmp_path, split=split).size for split in ("train", "test")) == 21


def test_a_test_split_goes_before_validation_where_pictures_have_no_labels_of_pixels(tmp_path, capsys):
    for part, count in (("train", 3), ("val", 4), ("test", 5)):
        for number in range(count):
            picture(tmp_path / part / f"{part}{number}.png", number)
    assert data.load(tmp_path, split="test").size == 5
    assert "Passed over 1 file or folder" in (error := capsys.readouterr().err) and ": val/." in error


# D1: what is nothing to learn from.
def masks(root, values, classes=None):
    for number in range(20):
        picture(root / "images" / f"{number:02}.png", number)
        labels(root / "masks" / f"{number:02}.png", values)
    if classes:
        (root / "classes.txt").write_text(classes)
    return root


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("classes", [None, "background\nobject\n"])
def test_masks_of_0_and_255_are_refused(tmp_path, split, classes):
    """All that is left of them is one class: a loss of 0 and a mean IU of 1, whatever is predicted."""
    masks(tmp_path, (0, 255), classes)
    if split == "train" or classes is None:
        with pytest.raises(ValueError) as raised:
            data.load_segmentation(tmp_path, split=split)
        message = str(raised.value)
        assert f"Only the class {'background' if classes else 0} occurs" in message and "Received: the class" in message
        assert "255, which is void and does not count, in 18 of 18" in message or "in 20 of 20 files" in message
        assert "masks of 0 and 255" in message and "(labels == 255).astype('uint8')" in message
    # The remedy.
    for path in (tmp_path / "masks").iterdir():
        with Image.open(path) as image:
            Image.fromarray((np.asarray(image) == 255).astype("uint8")).save(path)
    source = data.load_segmentation(tmp_path, split=split)
    assert source.num_classes == 2 and set(np.unique(source.read(0)[1])) == {0, 1}


@pytest.mark.parametrize(("values", "name"), [((0,), "0"), ((3,), "3"), ((3, 255), "3")])
def test_masks_of_one_class_are_refused(tmp_path, values, name):
    with pytest.raises(
        ValueError, match=f"Only the class {name} occurs in the labels of .*Expected two classes or more"
    ):
        data.load_segmentation(masks(tmp_path, values))


def test_numbers_with_gaps_are_told(tmp_path, capsys):
    assert data.load_segmentation(masks(tmp_path, (0, 127, 254))).num_classes == 255
    assert "Only 3 of the labels 0 to 254 occur in" in (error := capsys.readouterr().err) and "0; 127; 254" in error


# D7: lists of VOC.
def test_lists_name_pictures_with_or_without_ending(tmp_path):
    voc_folder(tmp_path, "train", "val")
    pictures, lists = tmp_path / "JPEGImages", tmp_path / "ImageSets" / "Segmentation"
    (pictures / "0.jpg").rename(pictures / "0.JPG")
    picture(pictures / "1.png", 1)
    (pictures / "1.jpg").unlink()
    picture(pictures / "2 and 3.png", 23)
    labels(tmp_path / "SegmentationClass" / "2 and 3.png")
    (lists / "train.txt").write_text("\ufeff0\r\n1.png\n\n 4.jpg \n5\n2 and 3\n")
    source = data.load_segmentation(tmp_path)
    assert source.size == 5
    assert [int(source.read(row)[0][0, 0, 0].round(-1)) for row in range(5)] == [0, 0, 0, 0, 20]


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        ("0\n1\n", "1\n2\n", r"1 pictures of .* are in both splits, .*JPEGImages/1.jpg. Take them out of one"),
        ("0\n1\n", "1.jpg\n2\n", "in both splits"),
        ("", "1\n", r"The list .*train.txt is empty. Expected names of pictures, one a line"),
        ("0\n1\n", "\n \n", r"The list .*val.txt is empty"),
        ("0\n11\n", "1\n", r"11 \(no such file in .*JPEGImages\)"),
        ("0\n1\0\n", "2\n", r"The list .*train.txt must hold names of pictures.* one with a NUL"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path, train, val, message):
    voc_folder(tmp_path, "train", "val")
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text(train)
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text(val)
    with pytest.raises(ValueError, match=message):
        data.load_segmentation(tmp_path)


def test_a_name_that_is_repeated_counts_once(tmp_path, capsys):
    voc_folder(tmp_path, "train", "val")
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("0\n1\n0.jpg\n1\n2\n")
    assert data.load_segmentation(tmp_path).size == 3
    assert "repeats 2 names: 0; 1." in capsys.readouterr().err


@pytest.mark.parametrize("listed_twice", ["one document", "two documents"])
def test_a_picture_in_both_splits_of_coco_is_refused(tmp_path, listed_twice):
    names = [f"{number}.png" for number in range(20)]
    if listed_twice == "one document":
        a_test, a_train = np.flatnonzero(held_out(20))[0], np.flatnonzero(~held_out(20))[0]
        names[a_test] = names[a_train]
        coco(tmp_path, "all.json", names, tmp_path)
    else:
        coco(tmp_path, "annotations/instances_train.json", names[:5], tmp_path / "images")
        coco(tmp_path, "annotations/instances_val.json", names[4:7], tmp_path / "images")
    with pytest.raises(ValueError, match=r"1 pictures of .* are in both splits"):
        data.load_detection(tmp_path)


def test_paths_stay_what_they_were(tmp_path):
    """Sorted by their path in the folder, as before; without links nothing else is listed."""
    for name in ("b/2.png", "a/10.png", "a/2.png", "c/z/1.png", "0.png"):
        picture(tmp_path / name)
    from zoo.data.listing import walk

    assert [path.relative_to(tmp_path) for path in walk(tmp_path).files] == sorted(
        Path(name) for name in ("b/2.png", "a/10.png", "a/2.png", "c/z/1.png", "0.png")
    )


# No labels and no splits without a word.
def classes_in(root, *parts, names=("cat", "dog")):
    for place, part in enumerate(parts):
        for number in range(6):
            picture(root / part / names[number % len(names)] / f"{number}.png", 10 * place + number)


@pytest.mark.parametrize("test", ["eval", "evaluation", "dev", "Dev", "test ", " val"])
@pytest.mark.parametrize("train", ["train", "train ", "Training"])
def test_splits_have_further_names_and_spaces_around_them(tmp_path, capsys, train, test):
    classes_in(tmp_path, train, test)
    found = [data.load(tmp_path, split=split) for split in ("train", "test")]
    assert [(one.size, one.class_names) for one in found] == [(6, ["cat", "dog"])] * 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("late", ["eval", "evaluation", "dev"])
@pytest.mark.parametrize("other", ["test", "val"])
def test_further_names_of_splits_go_after_those_of_before(tmp_path, late, other):
    for part, count in (("train", 3), (late, 4), (other, 5)):
        for number in range(count):
            picture(tmp_path / part / f"{part}{number}.png", number)
            picture(tmp_path / "labelled" / "images" / part / f"{part}{number}.png", number)
            labels(tmp_path / "labelled" / "masks" / part / f"{part}{number}.png")
    (tmp_path / "labelled").rename(tmp_path.parent / f"{tmp_path.name}-labelled")
    assert data.load(tmp_path, split="test").size == 5
    assert data.load_segmentation(tmp_path.parent / f"{tmp_path.name}-labelled", split="test").size == 5


@pytest.mark.parametrize("parts", [("test",), ("val", "test"), ("Valid",), ("dev", "testing")])
@pytest.mark.parametrize("names", [("cat", "dog"), (".",)])
def test_folders_of_tests_alone_are_refused(tmp_path, parts, names):
    classes_in(tmp_path, *parts, names=names)
    (tmp_path / "notes.txt").write_text("strange")
    with pytest.raises(ValueError, match="holds pictures for tests alone, .*Received: .*Add or rename one, or give"):
        data.load(tmp_path)
    # The remedy.
    assert data.load(tmp_path / parts[-1]).size == 5


@pytest.mark.parametrize(
    ("parts", "lines"),
    [
        (
            ("train", "holdout"),
            ("No splits in .* has train: holdout/ lie", "4 folders: holdout/cat; holdout/dog; trai"),
        ),
        (
            ("test", "rest"),
            ("No splits in .* has test: rest/ lie", "4 folders: rest/cat; rest/dog; test/cat; test/dog"),
        ),
        (("one", "two"), ("No labels in .*4 folders: one/cat; one/dog; two/cat; two/dog. With",)),
        (("whole",), ("No labels in .*, though pictures lie in 2 folders: whole/cat; whole/dog.",)),
    ],
)
def test_folders_that_are_no_classes_and_no_splits_are_named(tmp_path, capsys, parts, lines):
    classes_in(tmp_path, *parts)
    assert data.load(tmp_path).labels is None
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(lines)
    for line, expected in zip(said, lines, strict=True):
        assert re.search(expected, line), said


def test_folders_that_are_classes_and_might_be_splits_are_named(tmp_path, capsys):
    for part in ("train", "holdout"):
        classes_in(tmp_path, part, names=(".",))
    assert data.load(tmp_path).class_names == ["holdout", "train"]
    assert "No splits in" in (error := capsys.readouterr().err) and "its folders are classes" in error


def test_classes_of_tests_alone_and_empty_ones_are_named(tmp_path, capsys):
    classes_in(tmp_path, "train")
    classes_in(tmp_path, "test", names=("cat", "cow"))
    (tmp_path / "train" / "emu").mkdir()
    assert data.load(tmp_path).class_names == ["cat", "cow", "dog"]
    error = capsys.readouterr().err
    assert "1 of 3 classes" in error and "are in test alone, and nothing to train with: cow." in error
    assert f"1 folders of {tmp_path / 'train'} hold no pictures, and count as no class there: emu." in error


def test_one_folder_and_none_are_no_classes_and_need_no_word(tmp_path, capsys):
    classes_in(tmp_path / "a", "whole", names=(".",))
    classes_in(tmp_path / "b", ".", names=(".",))
    assert data.load(tmp_path / "a").labels is None and data.load(tmp_path / "b").labels is None
    assert capsys.readouterr().err == ""


@every_layout
def test_a_link_to_itself_is_named(tmp_path, capsys, layout):
    load, inside = LAYOUTS[layout](tmp_path, "train", "val")
    for place in (tmp_path, inside):
        os.symlink("self", place / "self")
    assert load(tmp_path).size == 6
    assert "self" in capsys.readouterr().err
