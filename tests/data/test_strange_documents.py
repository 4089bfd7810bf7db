"""Documents of strangers: whatever is wrong in them is said in a sentence, and nothing outside a folder is read."""

import codecs
import gzip
import json
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.helpers.documents import replaced
from zoo import data
from zoo.data import records

SIZE = (12, 16)


def picture(path, grey=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (grey, grey, 0)).save(path)
    return path


def coco_document(names=("0.png", "1.png"), **changes):
    images = [{"id": n, "height": 12, "width": 16, "file_name": name} for n, name in enumerate(names)]
    square = [[1, 1, 9, 1, 9, 9, 1, 9]]
    things = [
        {"id": n + 1, "image_id": n, "category_id": 1, "bbox": [1, 1, 8, 8], "segmentation": square, "area": 64.0}
        for n in range(len(names))
    ]
    things[0] |= {"segmentation": {"size": [12, 16], "counts": [12, 5, 175]}, "iscrowd": 0}
    return {"images": images, "annotations": things, "categories": [{"id": 1, "name": "one"}], **changes}


def panoptic_document(names=("0.png", "1.png")):
    images = [{"id": n, "height": 12, "width": 16, "file_name": name} for n, name in enumerate(names)]
    segments = [{"id": 1, "category_id": 1, "iscrowd": 0}, {"id": 2, "category_id": 5}]
    listed = [{"image_id": n, "file_name": f"{n}.png", "segments_info": segments} for n in range(len(names))]
    return {"images": images, "annotations": listed, "categories": [{"id": 1, "name": "a"}, {"id": 5, "name": "b"}]}


def written(root, kind, document):
    """A folder with one document for each split, the changed one to train with."""
    (root / "annotations").mkdir(exist_ok=True)
    prefix = {"instances": "instances", "panoptic": "panoptic"}[kind]
    (root / "annotations" / f"{prefix}_train.json").write_text(json.dumps(document))
    return root


@pytest.fixture
def folders(tmp_path):
    drawn = np.zeros((*SIZE, 3), "uint8")
    drawn[:, :8, 0], drawn[:, 8:, 0] = 1, 2
    for part in ("train", "val"):
        for number in range(2):
            picture(tmp_path / part / f"{number}.png", number)
            place = tmp_path / "annotations" / f"panoptic_{part}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn).save(place / f"{number}.png")
    return tmp_path


def loaders(folders, kind):
    load = {"instances": data.load_detection, "panoptic": data.load_segmentation}[kind]
    right = {"instances": coco_document, "panoptic": panoptic_document}[kind]()
    (folders / "annotations" / f"{kind}_val.json").write_text(json.dumps(right))
    return load, right


@pytest.mark.parametrize("kind", ["instances", "panoptic"])
def test_whatever_is_wrong_in_annotations_is_said_in_a_sentence(folders, kind):
    load, right = loaders(folders, kind)
    assert load(written(folders, kind, right)).size == 2
    refused = 0
    for where, changed in replaced(right):
        if 1 in where and "images" not in where:  # as the one before
            continue
        try:
            source = load(written(folders, kind, changed))
            source.read(0)
        except ValueError as error:
            refused += 1
            assert str(folders) in str(error) and str(error).endswith("."), (where, error)
            assert "Expected" in str(error) or "Received" in str(error) or "must" in str(error), (where, error)
        else:
            assert source.size == 2, where
    assert refused > 120


@pytest.mark.parametrize("flag", ["0", "1", "false", "true", 2, 0.5, float("nan"), []])
@pytest.mark.parametrize("kind", ["instances", "panoptic"])
def test_crowds_are_told_by_0_1_true_and_false_only(folders, kind, flag):
    load, document = loaders(folders, kind)
    one = document["annotations"][0]
    one = one["segments_info"][0] if kind == "panoptic" else one
    # Null is what pycocotools takes for 0 where it marks what is ignored, and what tables write of a missing one.
    for given in (0, False, 1, True, 0.0, 1.0, None):
        one["iscrowd"] = given
        source = load(written(folders, kind, document))
        if kind == "instances":
            assert source.read(0)[1]["crowds"].tolist() == [bool(given)]
        else:
            assert set(np.unique(source.read(0)[1])) == ({1, 255} if given else {0, 1})
    one["iscrowd"] = flag
    with pytest.raises(ValueError, match="its iscrowd must be 0, 1, true or false. Received"):
        load(written(folders, kind, document))


def floats(value, keys=("id", "image_id", "category_id", "height", "width", "iscrowd", "size", "counts")):
    """A document as tables write it: whole numbers under some keys as 1.0."""
    if isinstance(value, dict):
        return {key: _as_floats(one) if key in keys else floats(one, keys) for key, one in value.items()}
    return [floats(one, keys) for one in value] if isinstance(value, list) else value


def _as_floats(value):
    return [*map(float, value)] if isinstance(value, list) else float(value) if isinstance(value, int) else value


@pytest.mark.parametrize("kind", ["instances", "panoptic"])
def test_whole_numbers_may_be_written_as_floats(folders, kind):
    """As pandas writes columns in which a value is missing: the same set comes out, with int for ids."""
    load, right = loaders(folders, kind)
    sources = [load(written(folders, kind, document)) for document in (right, floats(right))]
    for expected, found in zip(*([source.read(row) for row in range(2)] for source in sources), strict=True):
        for one, other in zip(*map(tf.nest.flatten, (expected, found)), strict=True):
            np.testing.assert_array_equal(one, other)
    if kind == "instances":
        assert json.dumps(sources[1].truth) == json.dumps(sources[0].truth)
    # From 2^53 on, floats are no longer the number that was meant; and parts are none.
    for wrong in (2.0**53, 1.5, float("nan"), "1"):
        right["categories"][0]["id"] = wrong
        with pytest.raises(ValueError, match="an id of its own, a whole number. Received"):
            load(written(folders, kind, right))


@pytest.mark.parametrize("kind", ["instances", "panoptic"])
def test_categories_of_one_name_are_refused(folders, kind):
    load, right = loaders(folders, kind)
    right["categories"] = [{"id": 5, "name": "cat"}, {"id": 1, "name": "dog"}, {"id": 3, "name": "cat"}]
    with pytest.raises(ValueError, match="a name of its own. Received: 'cat' with the ids 3 and 5. Rename one; or"):
        load(written(folders, kind, right))


SHARES = {"bbox": [0.1, 0.2, 0.5, 0.7], "segmentation": [[0.1, 0.2, 0.6, 0.2, 0.6, 0.9]]}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("names", "what"), [(("bbox",), "bbox"), (("segmentation",), "polygon"), (SHARES, "bbox")])
def test_boxes_and_polygons_in_shares_of_the_picture_are_refused(folders, names, what, split):
    """In pixels each of them would lie in the first of its picture."""
    document = coco_document()
    for one in document["annotations"]:
        one.update({name: SHARES[name] for name in names})
    for part in ("train", "val"):
        (folders / "annotations" / f"instances_{part}.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=f"Each {what} of .* in pixels. Received: .*Multiply x and width by the width"):
        data.load_detection(folders, split=split, skip_damaged=True)
    # A single one beyond the first pixel: they are pixels.
    document["annotations"][1].update(bbox=[1, 1, 8, 8], segmentation=[[1, 1, 9, 1, 9, 9]])
    for part in ("train", "val"):
        (folders / "annotations" / f"instances_{part}.json").write_text(json.dumps(document))
    assert data.load_detection(folders, split=split).size == 2


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_set_of_crowds_alone_is_refused(folders, split):
    """pycocotools neither misses a crowd nor counts what is found in one: nothing is learnt, no figure comes out."""
    document = coco_document()
    for one in document["annotations"]:
        one["iscrowd"] = 1
    for part in ("train", "val"):
        (folders / "annotations" / f"instances_{part}.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=f"has an object to learn from, in the {split} split of 2.*2 of crowds"):
        data.load_detection(folders, split=split)
    document["annotations"][0]["iscrowd"] = False
    (folders / "annotations" / f"instances_{'train' if split == 'train' else 'val'}.json").write_text(
        json.dumps(document)
    )
    assert data.load_detection(folders, split=split).size == 2


OUTSIDE = ["../../secret.png", "../secret/../../secret.png", "a/../../../secret.png", "{root}/../secret.png"]
OUTSIDE += ["..\\..\\secret.png", "/{root}/../secret.png"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", ["instances", "panoptic", "panoptic labels", "voc"])
def test_files_outside_of_the_folder_are_read_only_if_allowed(tmp_path, capsys, name, kind):
    """Two folders deep: ../.. of a folder of pictures is beside the set."""
    root = tmp_path / "set"
    root.mkdir()
    name = name.format(root=root)
    secret = np.zeros((*SIZE, 3), "uint8")
    secret[..., 0] = 1
    Image.fromarray(secret).save(tmp_path / "secret.png")
    if kind == "voc":
        name = name.replace("\\", "/")
        for part, stem in (("train", name), ("val", "1")):
            lists = root / "ImageSets" / "Segmentation"
            lists.mkdir(parents=True, exist_ok=True)
            (lists / f"{part}.txt").write_text(f"{stem}\n0\n" if part == "train" else f"{stem}\n")
        for number in range(2):
            picture(root / "JPEGImages" / f"{number}.png", number)
            (root / "SegmentationClass").mkdir(exist_ok=True)
            drawn = np.resize(np.arange(2, dtype="uint8"), SIZE)
            Image.fromarray(drawn).save(root / "SegmentationClass" / f"{number}.png")
        Image.fromarray(secret[..., 0]).save(tmp_path / "secret.png")

        def load(**options):
            return data.load_segmentation(root, **options)
    else:
        document = coco_document(("0.png", name)) if kind == "instances" else panoptic_document(("0.png", "1.png"))
        if kind == "panoptic":
            document["images"][1]["file_name"] = name
        elif kind == "panoptic labels":
            document["annotations"][1]["file_name"] = name
        drawn = np.zeros((*SIZE, 3), "uint8")
        drawn[:, :8, 0], drawn[:, 8:, 0] = 1, 2
        for part in ("train", "val"):
            for number in range(2):
                picture(root / part / f"{number}.png", number)
                place = root / "annotations" / f"panoptic_{part}"
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(drawn).save(place / f"{number}.png")
        what = "instances" if kind == "instances" else "panoptic"
        right = coco_document() if kind == "instances" else panoptic_document()
        (root / "annotations" / f"{what}_train.json").write_text(json.dumps(document))
        (root / "annotations" / f"{what}_val.json").write_text(json.dumps(right))

        def load(**options):
            return (data.load_detection if kind == "instances" else data.load_segmentation)(root, **options)

    picture(tmp_path / "beside.png")
    with pytest.raises(ValueError) as raised:
        load()
    assert f"it leads out of {root}, and only files in there are read; `allow_outside=True`" in str(raised.value)
    assert load(skip_damaged=True).size == 1
    allowed = load(allow_outside=True)
    assert allowed.size == 2 and allowed.read(1)
    # What lies beside the folder is no matter of it.
    assert "beside.png" not in capsys.readouterr().err


NFC, NFD = (unicodedata.normalize(form, "Übung é 한.png") for form in ("NFC", "NFD"))


FORMS = [(kind, *one) for kind in ("instances", "panoptic", "voc", "folders") for one in ((NFC, NFD), (NFD, NFC))]
FORMS += [(kind, f"sub\\{NFC}", f"sub/{NFD}") for kind in ("instances", "panoptic")]


@pytest.mark.parametrize(("kind", "written_as", "stored_as"), FORMS)
def test_names_are_found_in_the_other_normal_form(tmp_path, capsys, kind, written_as, stored_as):
    """macOS writes names of files with letters and accents apart, and most programs write texts with both as one."""
    labels = np.resize(np.arange(2, dtype="uint8"), SIZE)
    coloured = np.stack([labels + 1, *2 * [0 * labels]], -1)
    if kind in ("instances", "panoptic"):
        (tmp_path / "annotations").mkdir()
        for part, names in (("train", ("0.png", written_as)), ("val", ("1.png",))):
            document = {"instances": coco_document, "panoptic": panoptic_document}[kind](names)
            if kind == "panoptic":
                for one, name in zip(document["annotations"], names, strict=True):
                    one["file_name"] = name
            (tmp_path / "annotations" / f"{kind}_{part}.json").write_text(json.dumps(document))
            for name in (one.replace(written_as, stored_as) for one in names):
                picture(tmp_path / part / name)
                if kind == "panoptic":
                    Image.fromarray(coloured).save(picture(tmp_path / "annotations" / f"panoptic_{part}" / name))
        load = {"instances": data.load_detection, "panoptic": data.load_segmentation}[kind]
    else:
        folder = {"voc": ("JPEGImages", "SegmentationClass"), "folders": ("images", "masks")}[kind]
        for number, name in enumerate(("0.png", "1.png", "2.png", "3.png", stored_as)):
            picture(tmp_path / folder[0] / name, number)
            beside = picture(tmp_path / folder[1] / (written_as if name == stored_as else name))
            Image.fromarray(labels).save(beside)
        if kind == "voc":
            lists = tmp_path / "ImageSets" / "Segmentation"
            lists.mkdir(parents=True)
            stem, other = (name.removesuffix(".png") for name in (written_as, stored_as))
            (lists / "train.txt").write_text(f"0\n1\n2\n{stem}\n{other}\n", encoding="utf-8")
            (lists / "val.txt").write_text("3\n")
        load = data.load_segmentation
    sizes = [load(tmp_path, split=split).size for split in ("train", "test")]
    assert sizes == ([2, 1] if kind in ("instances", "panoptic") else [4, 1])
    assert stored_as not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sub\\1.png", "sub/1.png", ".\\sub\\1.png", "../train/sub/1.png", "sub/../sub/1.png"])
def test_names_with_backslashes_and_detours_within_the_folder_are_found(tmp_path, name):
    (tmp_path / "annotations").mkdir()
    for part, names in (("train", ("0.png", name)), ("val", ("2.png",))):
        (tmp_path / "annotations" / f"instances_{part}.json").write_text(json.dumps(coco_document(names)))
    picture(tmp_path / "train" / "0.png", 0)
    picture(tmp_path / "train" / "sub" / "1.png", 50)
    picture(tmp_path / "val" / "2.png", 0)
    source = data.load_detection(tmp_path)
    assert source.size == 2 and source.read(1)[0][0, 0].tolist() == [50, 50, 0]


@pytest.mark.parametrize("name", ["C:\\pictures\\1.png", "no\\1.png", "1" * 5000 + ".png", "\ud800.png"])
def test_names_of_nothing_are_told(tmp_path, name):
    (tmp_path / "annotations").mkdir()
    for part, names in (("train", ("0.png", name)), ("val", ("2.png",))):
        (tmp_path / "annotations" / f"instances_{part}.json").write_text(json.dumps(coco_document(names)))
    picture(tmp_path / "train" / "0.png")
    with pytest.raises(ValueError, match="pictures of .* cannot be used: .*no such file in"):
        data.load_detection(tmp_path)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"images": [' + "9" * 5000 + "]}", "", "\x00", '{"a": 1'])
@pytest.mark.parametrize("kind", ["instances", "panoptic"])
def test_what_is_no_document_is_told(folders, kind, content):
    load, _ = loaders(folders, kind)
    (folders / "annotations" / f"{kind}_train.json").write_text(content)
    with pytest.raises(ValueError, match=f"The file .*{kind}_train.json is not JSON: .*Fetch it again"):
        load(folders)


# A byte order mark, as editors on Windows write it, is no part of any text.
def mark(path):
    content = path.read_bytes()
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(codecs.BOM_UTF8 + gzip.decompress(content)))
    else:
        path.write_bytes(codecs.BOM_UTF8 + content)


def of_classes(root):
    for number in range(4):
        picture(root / "images" / f"{number}.png")
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.resize(np.arange(3, dtype="uint8"), SIZE)).save(root / "masks" / f"{number}.png")
    (root / "classes.txt").write_text("void\nsky\nÄcker\n", encoding="utf-8")
    return [root / "classes.txt"], lambda: data.load_segmentation(root).class_names


def of_lists(root):
    for number in range(2):
        picture(root / "JPEGImages" / f"ü{number}.jpg")
        (root / "SegmentationClass").mkdir(exist_ok=True)
        Image.fromarray(np.resize(np.arange(3, dtype="uint8"), SIZE)).save(
            root / "SegmentationClass" / f"ü{number}.png"
        )
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for part, number in (("train", 0), ("val", 1)):
        (lists / f"{part}.txt").write_text(f"ü{number}\n", encoding="utf-8")
    return [*lists.iterdir()], lambda: [data.load_segmentation(root, split=split).size for split in ("train", "test")]


def of_records(root):
    pixels = np.arange(10, dtype="uint8").repeat(16).reshape(10, 4, 4)
    source = data.Source("w", pixels, labels=np.arange(10) % 2, num_classes=2, class_names=["é", "b"])
    records.write(source, root, "train")
    return [root / "label.labels.txt"], lambda: data.load(root).class_names


def of_tabs(root):
    (root / "pairs.tsv").write_text("".join(f"{n} é\t{n}\n" for n in range(20)), encoding="utf-8")
    return [root / "pairs.tsv"], lambda: data.load_text(root / "pairs.tsv").sources


def of_two_files(root):
    for name in ("a.txt", "b.txt.gz"):
        text = "".join(f"{n} é\n" for n in range(20)).encode()
        (root / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)

    def load():
        pairs = data.load_text((root / "a.txt", root / "b.txt.gz"))
        return pairs.sources, pairs.targets

    return [root / "a.txt", root / "b.txt.gz"], load


def of_annotations(root):
    (root / "annotations").mkdir()
    for part, number in (("train", 0), ("val", 1)):
        picture(root / part / f"{number}.png", number)
        document = coco_document((f"{number}.png",))
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(document))
    return [*(root / "annotations").iterdir()], lambda: data.load_detection(root).class_names


TEXTS = [of_classes, of_lists, of_records, of_tabs, of_two_files, of_annotations]


@pytest.mark.parametrize("text", TEXTS)
def test_a_byte_order_mark_is_no_part_of_any_text(tmp_path, text):
    paths, load = text(tmp_path)
    expected = load()
    for path in paths:
        mark(path)
    assert load() == expected


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_is_not_in_utf_8_is_named(tmp_path, text):
    paths, load = text(tmp_path)
    content = gzip.decompress(paths[0].read_bytes()) if paths[0].suffix == ".gz" else paths[0].read_bytes()
    paths[0].write_bytes(content.replace(b"\n", b"\xe9\n").replace(b"{", b"\xe9", 1))
    with pytest.raises(ValueError, match=f"{paths[0].name} is not (in UTF-8: byte 0xe9 in line 1|JSON)"):
        load()


@pytest.mark.parametrize("encoding", ["UTF-16", "UTF-16LE", "UTF-16BE", "UTF-32"])
@pytest.mark.parametrize("text", TEXTS[:-1])
def test_a_text_in_another_unicode_is_named(tmp_path, text, encoding):
    """As Notepad saves texts; of JSON, which `json` reads in all of these, no word is needed."""
    paths, load = text(tmp_path)
    paths[0].write_bytes(paths[0].read_bytes().decode().encode(encoding))
    with pytest.raises(ValueError, match=f"{paths[0].name} must be in UTF-8. Received: {encoding}, .*Save it as UTF-8"):
        load()


def test_configurations_for_tf_serving_may_have_a_byte_order_mark(tmp_path):
    from zoo.serving.formats.batching_config import read_batching
    from zoo.serving.formats.models_config import read_config

    (tmp_path / "models.config").write_text('model_config_list { config { name: "a" base_path: "/a" } }')
    (tmp_path / "batching.config").write_text("max_batch_size { value: 7 }")
    for path in (tmp_path / "models.config", tmp_path / "batching.config"):
        mark(path)
    assert read_config(tmp_path / "models.config").model_config_list.config[0].name == "a"
    assert read_batching(tmp_path / "batching.config").max_batch_size == 7
