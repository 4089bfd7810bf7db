"""Folders in COCO's format: what is read is what pycocotools reads, and what is wrong with files is said."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coding
from pycocotools.coco import COCO

from zoo import data
from zoo.data.splits import held_out

SQUARE = [[2, 1, 8, 1, 8, 5, 2, 5]]  # columns 2 to 7 and rows 1 to 4
CATEGORIES = [{"id": 90, "name": "last"}, {"id": 1, "name": "first"}, {"id": 7, "name": "middle"}]


def image(number, size=(12, 16), name=None):
    return {"id": number, "height": size[0], "width": size[1], "file_name": name or f"{number}.png"}


def thing(number, of_image, category=7, box=(2, 1, 6, 4), segmentation=SQUARE, **more):
    one = {"id": number, "image_id": of_image, "category_id": category, "segmentation": segmentation, **more}
    return one if box is None else {**one, "bbox": list(box)}


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)


def write(file, images, things, categories=None):
    file.parent.mkdir(parents=True, exist_ok=True)
    document = {"images": images, "annotations": things, "categories": categories or CATEGORIES}
    file.write_text(json.dumps(document))
    return file


def a_set(root, images, things, split="train", **options):
    """Annotations, and noise for pictures, of one split in the standard layout."""
    write(root / "annotations" / f"instances_{split}2017.json", images, things, **options)
    for one in images:
        size = one["height"], one["width"], 3
        pixels = np.random.RandomState(0).randint(0, 256, size).astype("uint8")
        save(root / f"{split}2017" / one["file_name"], pixels)
    return root


def with_test(root):
    return a_set(root, [image(99)], [thing(1, 99)], "val")


def test_polygons_and_run_lengths_are_what_pycocotools_makes_of_them(tmp_path):
    disc = (np.hypot(*(np.mgrid[:12, :16] - 6)) < 5).astype("uint8")
    counts = coding.encode(np.asfortranarray(disc))["counts"].decode()
    runs = np.diff(np.flatnonzero(np.diff(disc.T.ravel(), prepend=0)), prepend=0).tolist()
    runs.append(12 * 16 - sum(runs))
    forms = [
        SQUARE,
        [[1.3, 2.2, 9.7, 3.1, 5.5, 10.9], [11, 1, 15, 1, 15, 4], [3, 3, 4, 4]],
        [[-5, -5, 30, 2, 8, 20]],
        {"size": [12, 16], "counts": runs},
        {"size": [12, 16], "counts": counts},
    ]
    # Of two corners pycocotools makes a box, which is none of the mask here.
    things = [thing(number, 5, segmentation=form, box=None) for number, form in enumerate(forms, 1)]
    a_set(with_test(tmp_path), [image(5)], things)
    index = COCO()
    index.dataset = {"images": [image(5)], "annotations": things, "categories": CATEGORIES}
    index.createIndex()
    _, targets = data.load_detection(tmp_path, image_size=(12, 16)).read(0)
    forms[1].pop()
    for place, one in enumerate(things):
        expected = index.annToMask(one)
        np.testing.assert_array_equal(targets["masks"][place], expected)
        rows, columns = np.flatnonzero(expected.any(1)), np.flatnonzero(expected.any(0))
        assert targets["boxes"][place].tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_array_equal(targets["masks"][0][1:5, 2:8], 1)
    assert targets["masks"][0].sum() == 24
    np.testing.assert_array_equal(targets["masks"][3], disc)
    np.testing.assert_array_equal(targets["masks"][4], disc)


REAL_FOLDER = os.environ.get("ZOO_DATA_DIR")
real = pytest.mark.skipif(
    not REAL_FOLDER or not Path(REAL_FOLDER, "tiny_coco_320").is_dir(), reason="no tiny_coco_320 in ZOO_DATA_DIR"
)


@real
@pytest.mark.parametrize("name", ["tiny_coco", "coco128"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_real_masks_are_those_of_pycocotools(name, split, capsys):
    """Pictures have 320 pixels on the longer side, which is that of the canvas: nothing is resized."""
    source = data.load_detection(name, split=split, data_dir=REAL_FOLDER)
    file = f"{REAL_FOLDER}/{name}_320/annotations/instances_{'train' if split == 'train' else 'val'}2017.json"
    official = COCO(file)
    capsys.readouterr()
    assert source.shape == (320, 320, 3) and source.category_ids == tuple(sorted(official.cats))
    assert source.class_names == tuple(official.cats[number]["name"] for number in sorted(official.cats))
    own = COCO()
    own.dataset = source.truth
    own.createIndex()
    assert source.size == len(official.imgs) and source.dropped == {}
    for row in range(min(source.size, 30)):
        number, (pixels, targets) = source.image_id(row), source.read(row)
        height, width = source.original_size(row)
        assert (
            targets["sizes"].tolist() == [height, width] and not pixels[height:].any() and not pixels[:, width:].any()
        )
        listed = official.imgToAnns[number]
        assert (targets["classes"] >= 0).sum() == len(listed) == len(own.imgToAnns[number])
        for place, one in enumerate(listed):
            expected = official.annToMask(one)
            np.testing.assert_array_equal(targets["masks"][place, :height, :width], expected)
            np.testing.assert_array_equal(own.annToMask(own.anns[one["id"]]), expected)
            assert not targets["masks"][place, height:].any() and not targets["masks"][place, :, width:].any()
            x, y, box_width, box_height = one["bbox"]
            np.testing.assert_allclose(
                targets["boxes"][place], [x, y, min(x + box_width, width), min(y + box_height, height)], atol=0.01
            )
            assert source.category_ids[targets["classes"][place]] == one["category_id"]
            assert targets["crowds"][place] == bool(one["iscrowd"])
    assert {one["id"] for one in source.truth["annotations"]} == {*official.anns} and len(official.anns) > 100


def test_classes_are_places_of_category_ids_in_their_order(tmp_path):
    a_set(with_test(tmp_path), [image(5)], [thing(1, 5, 90), thing(2, 5, 1), thing(3, 5, 7, iscrowd=1)])
    source = data.load_detection(tmp_path)
    assert (source.num_classes, source.category_ids, source.class_names) == (3, (1, 7, 90), ("first", "middle", "last"))
    _, targets = source.read(0)
    assert targets["classes"].tolist() == [2, 0, 1] and targets["crowds"].tolist() == [False, False, True]
    truth = source.truth
    assert [one["category_id"] for one in truth["annotations"]] == [90, 1, 7]
    assert truth["categories"][2] == {"id": 90, "name": "last"}
    assert truth["images"] == [{"id": 5, "height": 12, "width": 16}]
    assert source.name == tmp_path.name and source.origin.endswith("instances_train2017.json, its own train split")


@pytest.mark.parametrize(("file", "pictures"), [("all.json", "."), ("all.json", "images"), ("annotations/x.json", ".")])
def test_of_one_file_a_fixed_tenth_is_held_out(tmp_path, file, pictures):
    images = [image(number) for number in range(20)]
    write(tmp_path / file, images, [thing(100 + number, number) for number in range(20)])
    for one in images:
        save(tmp_path / pictures / one["file_name"], np.full((12, 16, 3), one["id"], "uint8"))
    train, test = (data.load_detection(tmp_path, split=split) for split in ("train", "test"))
    ids = [[source.image_id(row) for row in range(source.size)] for source in (train, test)]
    assert ids[1] == np.flatnonzero(held_out(20)).tolist() and sorted(ids[0] + ids[1]) == list(range(20))
    for row, number in enumerate(ids[0]):
        assert train.read(row)[0][0, 0, 0] == number
    assert [one["id"] for one in test.truth["annotations"]] == [100 + number for number in ids[1]]
    assert "a fixed tenth held out for tests" in test.origin


def test_what_has_nothing_to_learn_from_is_dropped_and_counted(tmp_path, capsys):
    things = [
        thing(1, 5),
        thing(2, 5, box=(2, 1, 0, 4)),
        thing(3, 5, box=(2, 1, 4, -1)),
        thing(4, 5, box=(16, 1, 4, 4)),
        thing(5, 5, box=(-9, 1, 4, 4)),
        thing(6, 5, segmentation=[]),
        thing(7, 5, segmentation=[[3, 3, 3, 3, 3, 3]]),
        thing(8, 5, segmentation={"size": [12, 16], "counts": [192]}),
        thing(9, 5, segmentation=[[1, 1, 5, 5]]),
        thing(10, 5, box=(-3, 8, 10, 30), segmentation=[[-3, 8, 7, 8, 7, 38, -3, 38]]),
    ]
    a_set(with_test(tmp_path), [image(5), image(6)], things)
    source = data.load_detection(tmp_path, image_size=(12, 16))
    expected = {"box without area": 2, "box outside the picture": 2, "no mask": 1, "empty mask": 3}
    assert source.dropped == expected
    _, targets = source.read(0)
    # Cut at the border.
    np.testing.assert_array_equal(targets["boxes"], [[2, 1, 8, 5], [0, 8, 7, 12]])
    assert [one["bbox"] for one in source.truth["annotations"]] == [[2, 1, 6, 4], [0, 8, 7, 4]]
    assert "train split: box without area: 2, box outside the picture: 2" in capsys.readouterr().err
    # A picture without objects is kept.
    assert source.size == 2 and source.read(1)[1]["classes"].tolist() == [-1, -1]


DAMAGED = [
    ({"segmentation": {"size": [16, 12], "counts": [192]}}, r"that of the picture, 12 x 16. Received: \[16, 12\]"),
    ({"segmentation": {"size": [12, 16], "counts": [100, 91]}}, "add up to 12 x 16 pixels. Received: 191 in all"),
    ({"segmentation": {"size": [12, 16], "counts": [-8, 200]}}, "whole numbers of at least 0"),
    ({"segmentation": {"size": [12, 16], "counts": "!!"}}, "whole numbers of at least 0"),
    ({"segmentation": {"size": [12, 16], "counts": "P"}}, "whole numbers of at least 0"),
    ({"segmentation": {"size": [12, 16], "counts": "0"}}, "Received: 0 in all"),
    ({"segmentation": {"size": [12, 16], "counts": None}}, "whole numbers of at least 0"),
    ({"segmentation": [1, 1, 5, 1, 5, 5]}, r"a list of polygons, \[\[x, y, x, y, …\], …\]. Received: \[1, 1"),
    ({"segmentation": [[1, 1, 5, 1, 5]]}, "x and y in turn, within or near .* Received: 5 values"),
    ({"segmentation": [[1, 1, 5, float("nan"), 5, 5]]}, "lists of finite numbers"),
    ({"segmentation": [[1, 1, 1e9, 1, 5, 5]]}, "within or near the picture"),
    ({"box": (1, 1, float("inf"), 3)}, r"bbox must be four finite numbers: x, y, width, height. Received: \[1, 1, inf"),
    ({"box": (1, 1, 3)}, "bbox must be four finite numbers"),
    ({"category": 2}, "its category_id must be of one of the categories. Received: 2"),
    ({"of_image": 4}, "its image_id must be of one of the 1 images. Received: 4"),
    ({"of_image": [4]}, r"Received: \[4\]"),
    ({"area": "large"}, "its area must be a number of at least 0. Received: 'large'"),
    ({"area": -5}, "its area must be a number of at least 0. Received: '-5'"),
]


@pytest.mark.parametrize(("change", "message"), DAMAGED)
def test_damaged_annotations_are_named_or_left_out(tmp_path, change, message, capsys):
    a_set(with_test(tmp_path), [image(5)], [thing(1, 5), thing(31, **{"of_image": 5, **change})])
    with pytest.raises(
        ValueError, match=f"1 of 2 annotations in .*train2017.json are damaged: annotation 31: .*{message}"
    ):
        data.load_detection(tmp_path)
    source = data.load_detection(tmp_path, skip_damaged=True)
    assert source.dropped == {"damaged annotation": 1} and len(source.truth["annotations"]) == 1
    assert "annotation 31: " in capsys.readouterr().err


def test_damaged_and_missing_pictures_are_named_or_left_out(tmp_path, capsys):
    a_set(with_test(tmp_path), [image(number) for number in (1, 2, 3, 4, 5)], [thing(1, 5), thing(2, 1)])
    folder = tmp_path / "train2017"
    (folder / "1.png").unlink()
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:200])
    (folder / "3.png").write_bytes(b"")
    save(folder / "4.png", np.zeros((16, 12, 3), "uint8"))
    with pytest.raises(ValueError) as raised:
        data.load_detection(tmp_path)
    message = str(raised.value)
    assert message.startswith(
        f"4 of 5 pictures of {tmp_path}/annotations/instances_train2017.json cannot be used: 1.png"
    )
    for part in ("no such file in", "2.png (", "3.png (the file is empty)", "16 x 12 pixels", "are of 12 x 16)"):
        assert part in message
    source = data.load_detection(tmp_path, skip_damaged=True)
    # The annotation of a picture that is left out goes with it.
    assert source.dropped == {"damaged picture": 4} and [one["id"] for one in source.truth["annotations"]] == [1]
    assert source.size == 1 and "4.png" in capsys.readouterr().err
    (folder / "5.png").unlink()
    with pytest.raises(ValueError, match="The image .*5.png could be read before and now cannot be"):
        source.read(0)
    with pytest.raises(ValueError, match="5 of 5 pictures"):
        data.load_detection(tmp_path, skip_damaged=True)


def test_pictures_of_all_kinds(tmp_path):
    """Colours by hand; JPEG changes them a little."""
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is the right side
    left_red = np.zeros((12, 16, 3), "uint8")
    left_red[:, :8, 0] = 250
    kinds = {
        "grey.png": (Image.new("L", (16, 12), 100), {}),
        "deep.png": (Image.fromarray(np.full((12, 16), 100 * 256, "uint16")), {}),
        "palette.png": (Image.new("RGB", (16, 12), (100, 100, 100)).quantize(2), {}),
        "clear.png": (Image.new("RGBA", (16, 12), (0, 0, 0, 0)), {}),
        "cmyk.jpg": (Image.new("RGB", (16, 12), (100, 100, 100)).convert("CMYK"), {"quality": 95}),
        "stored.jpg": (Image.fromarray(left_red), {"exif": exif, "quality": 95}),
        "turned.jpg": (Image.fromarray(left_red), {"exif": exif, "quality": 95}),
    }
    images = []
    for number, (name, (picture, options)) in enumerate(kinds.items(), 1):
        save(tmp_path / "train2017" / name, picture, **options)
        images.append(image(number, (16, 12) if name == "turned.jpg" else (12, 16), name))
    write(tmp_path / "annotations" / "instances_train2017.json", images, [thing(1, 1)])
    source = data.load_detection(with_test(tmp_path), image_size=16)
    read = dict(zip(kinds, (source.read(row) for row in range(source.size)), strict=True))
    for name, grey in {"grey.png": 100, "deep.png": 100, "palette.png": 100, "clear.png": 255, "cmyk.jpg": 100}.items():
        pixels, targets = read[name]
        assert targets["sizes"].tolist() == [12, 16] and abs(pixels[:12].astype(int) - grey).max() <= 4, name
        assert not pixels[12:].any()
    # Annotations decide: as stored, or turned a quarter to the right, red on top.
    pixels, targets = read["stored.jpg"]
    assert targets["sizes"].tolist() == [12, 16] and pixels[:12, :6, 0].min() > 200 > 50 > pixels[:12, 10:, 0].max()
    pixels, targets = read["turned.jpg"]
    assert targets["sizes"].tolist() == [16, 12] and pixels[:6, :12, 0].min() > 200 > 50 > pixels[10:, :12, 0].max()


def test_pictures_of_one_pixel_and_of_twelve_million(tmp_path):
    """Sizes on the canvas by hand: 64 / 1 and 64 / 4000, rounded."""
    save(tmp_path / "train2017" / "1.png", np.full((1, 1, 3), 77, "uint8"))
    large = Image.new("RGB", (4000, 3000), (200, 10, 10))
    large.paste((10, 10, 200), (2000, 0, 4000, 3000))
    save(tmp_path / "train2017" / "2.jpg", large)
    things = [
        thing(1, 1, box=(0, 0, 1, 1), segmentation={"size": [1, 1], "counts": [0, 1]}),
        thing(2, 2, box=(2000, 0, 2000, 1500), segmentation=[[2000, 0, 4000, 0, 4000, 1500, 2000, 1500]]),
        thing(3, 2, box=(100, 100, 2, 2), segmentation=[[100, 100, 102, 100, 102, 102, 100, 102]]),
    ]
    images = [image(1, (1, 1)), image(2, (3000, 4000), "2.jpg")]
    write(tmp_path / "annotations" / "instances_train2017.json", images, things)
    source = data.load_detection(with_test(tmp_path), image_size=64)
    pixels, targets = source.read(0)
    assert (pixels == 77).all() and targets["sizes"].tolist() == [64, 64] and targets["masks"][0].all()
    assert targets["boxes"][0].tolist() == [0, 0, 64, 64]
    pixels, targets = source.read(1)
    assert targets["sizes"].tolist() == [48, 64] and not pixels[48:].any()
    assert abs(pixels[:48, :31].astype(int) - (200, 10, 10)).max() < 12
    np.testing.assert_array_equal(targets["boxes"], np.float32([[32, 0, 64, 24], [1.6, 1.6, 1.632, 1.632]]))
    assert targets["masks"][0, :24, 32:].all() and targets["masks"][0].sum() == 24 * 32
    # A 31st of a pixel: it keeps one, where it lies.
    assert np.argwhere(targets["masks"][1]).tolist() == [[1, 1]]
    assert source.original_size(1) == (3000, 4000)


def test_the_canvas_holds_the_largest_picture_of_both_splits(tmp_path):
    a_set(tmp_path, [image(1, (12, 40)), image(2, (33, 16))], [thing(1, 1)])
    a_set(tmp_path, [image(3, (65, 16))], [], "val")
    train, test = (data.load_detection(tmp_path, split=split) for split in ("train", "test"))
    assert train.shape == test.shape == (96, 64, 3)
    # As large as fits: 1.6 times here.
    assert train.read(0)[1]["sizes"].tolist() == [19, 64]


def test_a_set_without_objects_can_be_tested_and_not_trained_on(tmp_path):
    a_set(with_test(tmp_path), [image(5)], [thing(1, 5, segmentation=[])])
    with pytest.raises(ValueError, match="No picture of .* an object to learn from.* 1 annotations, .*: no mask: 1"):
        data.load_detection(tmp_path)
    a_set(tmp_path, [image(5)], [thing(1, 5)])
    write(tmp_path / "annotations" / "instances_val2017.json", [image(99)], None)
    test = data.load_detection(tmp_path, split="test")
    assert test.max_objects == 1 and test.truth["annotations"] == [] and len(test.truth["images"]) == 1
    assert not test.read(0)[1]["masks"].any()


def test_files_that_cannot_be_used(tmp_path):
    file = tmp_path / "annotations" / "instances_train2017.json"
    a_set(with_test(tmp_path), [image(5)], [thing(1, 5)])

    def refused(message, content):
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(ValueError, match=message):
            data.load_detection(tmp_path)

    good = {"images": [image(5)], "annotations": [thing(1, 5)], "categories": CATEGORIES}
    refused("train2017.json is not JSON: Expecting .*Fetch it again", '{"images": [')
    refused("must hold lists of images, annotations and categories, .* Received: list", [1])
    refused("must hold lists .* Received: images, annotations", {**good, "categories": 3})
    refused("lists no images. Expected one or more", {**good, "images": []})
    refused("lists no categories", {**good, "categories": []})
    refused("Each category of .* an id of its own", {**good, "categories": CATEGORIES + CATEGORIES})
    refused("Image 5 of .* height and width, whole .* file_name", {**good, "images": [{**image(5), "height": 0}]})
    refused("an id of its own. Received: 5, which two images have", {**good, "images": [image(5), image(5, name="6")]})
    refused(
        "must list the same categories, .* Received: 90: last; 90: other in one of them only",
        {**good, "categories": [*CATEGORIES[1:], {"id": 90, "name": "other"}]},
    )
    file.write_text(json.dumps(good))
    write(file.with_name("instances_test2017.json"), [image(5)], [])
    with pytest.raises(ValueError, match="Received: instances_test2017.json, .*val2017.json. Move the others away"):
        data.load_detection(tmp_path)
    # Captions and keypoints of the same pictures are no matter.
    file.with_name("instances_test2017.json").rename(file.with_name("captions_val2017.json"))
    assert data.load_detection(tmp_path).size == 1


def test_progress_is_shown_of_large_files(tmp_path, monkeypatch, capsys):
    from zoo.data import instances, progress

    monkeypatch.setattr(instances, "_LARGE", 1)
    monkeypatch.setattr(progress, "RECORDS", 2)
    a_set(with_test(tmp_path), [image(5)], [thing(number, 5) for number in range(1, 4)])
    data.load_detection(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"Reading {tmp_path}/annotations/instances_train2017.json, ")
    assert lines[-2:] == ["Checked 2 of 3 annotations", "Checked 3 of 3 annotations"]
