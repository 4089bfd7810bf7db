"""Folders of records: what is read, as what, and what is refused."""

import importlib.util
import io
import re

import numpy as np
import pytest
from PIL import Image

from zoo import data
from zoo.data import progress, records
from zoo.data.order import sample_of
from zoo.data.records import __main__ as command
from zoo.tfrecord import TFRecordFile

NUMBERS = np.random.RandomState(0)
PIXELS = NUMBERS.randint(0, 256, (23, 6, 5, 3)).astype("uint8")


def example(pixels, label=None, image_key="image", label_key="label", kind="png"):
    import tensorflow as tf

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=95)
    found = tf.train.Example()
    found.features.feature[image_key].bytes_list.value.append(file.getvalue())
    if label is not None:
        found.features.feature[label_key].int64_list.value.append(label)
    return found.SerializeToString()


def write_file(path, contents):
    """A TFRecord file as TensorFlow itself writes it."""
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in contents:
            writer.write(content)
    return path


def seen(source):
    """The images as 0..255."""
    return np.concatenate(list(source.pixels()))


def test_records_of_any_length_are_those_that_tensorflow_wrote(tmp_path):
    contents = [NUMBERS.bytes(size) for size in (0, 1, 3, 4, 1023, 1024, 1025, 3000, 100_001)]
    file = TFRecordFile(write_file(tmp_path / "a.tfrecord", contents))
    assert len(file) == 9
    for number in (8, 0, 5, 1, 2, 3, 4, 6, 7):
        assert file.read(number) == contents[number]


def test_a_set_as_tensorflow_datasets_prepares_it(tmp_path):
    folder = tmp_path / "blobs" / "1.0.0"
    for shard, part in enumerate(np.split(np.arange(20), [12])):
        contents = [example(PIXELS[row], int(row) % 3) for row in part]
        write_file(folder / f"blobs-train.tfrecord-0000{shard}-of-00002", contents)
    write_file(folder / "blobs-test.tfrecord-00000-of-00001", [example(PIXELS[row], -1) for row in (20, 21, 22)])
    write_file(folder / "blobs-extra.tfrecord-00000-of-00001", [example(PIXELS[0], 0)])
    (folder / "features.json").write_text("{}")
    (folder / "label.labels.txt").write_text("ant\nbee\ncat\n")
    for path in (tmp_path / "blobs", folder):
        train, test = data.load(path), data.load(str(path), split="test")
        assert (train.name, train.size, test.size, train.shape) == ("blobs", 20, 3, (6, 5, 3))
        assert train.class_names == ["ant", "bee", "cat"] and train.num_classes == 3 and "its own" in train.origin
        np.testing.assert_array_equal(seen(train), PIXELS[:20])
        np.testing.assert_array_equal(seen(test), PIXELS[20:])
        np.testing.assert_array_equal(train.labels, np.arange(20) % 3)
        assert test.labels is None and not test.is_labelled
    sample, labels = train.labelled(7, seed=2)
    np.testing.assert_array_equal(sample, train.examples(7, seed=2))
    rows = sample_of("blobs", 20, 7, 2)
    np.testing.assert_array_equal(sample, train.examples()[rows])
    np.testing.assert_array_equal(labels, rows % 3)


def test_other_names_of_features_and_no_splits_hold_out_a_tenth(tmp_path):
    keys = {"image_key": "image/encoded", "label_key": "image/class/label", "kind": "jpeg"}
    write_file(tmp_path / "all.tfrecords", [example(PIXELS[row], 5, **keys) for row in range(20)])
    train, test = data.load(tmp_path), data.load(tmp_path, split="test")
    assert (train.size, test.size, train.num_classes) == (18, 2, 6) and "a fixed tenth" in test.origin
    write_file(tmp_path / "v" / "x-train.tfrecord", [example(PIXELS[0])] * 3)
    write_file(tmp_path / "v" / "x-validation.tfrecord", [example(PIXELS[1])] * 2)
    assert data.load(tmp_path / "v", split="test").size == 2


def test_sizes_and_colours(tmp_path):
    shapes = [(6, 6), (12, 6, 3), (6, 12), (6, 6, 4)]
    write_file(tmp_path / "a.tfrecord", [example(np.full(shape, 255, "uint8")) for shape in shapes])
    with pytest.raises(ValueError, match=r"differ in size: some have 6 x 6 pixels .* some 12 x 6. Give `image_size`"):
        data.load(tmp_path)
    source = data.load(tmp_path, image_size=3)
    assert source.shape == (3, 3, 3) and seen(source).min() == 255
    assert data.load(tmp_path, image_size=(4, 3), channels=1).shape == (4, 3, 1)


@pytest.mark.parametrize(
    ("shape", "message"), [((9, 6), "most have 6 x 6 pixels .* has 9 x 6"), ((6, 6, 3), "seemed to be grey")]
)
def test_one_that_was_not_looked_at_and_differs_is_named_when_it_is_read(tmp_path, monkeypatch, shape, message):
    monkeypatch.setattr(records.reading, "_LOOKED_AT", 2)
    contents = [example(np.zeros((6, 6), "uint8"))] * 5
    contents[2] = example(np.zeros(shape, "uint8"))
    write_file(tmp_path / "a.tfrecord", contents)
    source = data.load(tmp_path)
    with pytest.raises(Exception, match=rf"{message}.*Give"):
        [data.load(tmp_path, split=split).examples() for split in ("train", "test")]
    assert source.shape == (6, 6, 1)


def test_batches_are_those_of_the_same_set_in_memory(tmp_path):
    write_file(tmp_path / "train.tfrecord", [example(pixels) for pixels in PIXELS])
    write_file(tmp_path / "test.tfrecord", [example(PIXELS[0])])
    options = {"seed": 3, "first_epoch": 1, "group": 2, "first_step": 1}
    pairs = zip(
        data.load(tmp_path).batches(4, **options), data.Source("m", PIXELS).batches(4, **options).take(5), strict=False
    )
    for ours, expected in pairs:
        np.testing.assert_array_equal(ours, expected)


def test_written_files_hold_the_set_and_replace_nothing(tmp_path, capsys):
    out = tmp_path / "out"
    command.main(["digits", str(out), "--image-size", "8"])
    assert "Wrote 1618 of 1618 images" in capsys.readouterr().err
    names = ["digits-test.tfrecord-00000-of-00001", "digits-train.tfrecord-00000-of-00001", "label.labels.txt"]
    assert sorted(path.name for path in out.iterdir()) == names
    for split in ("train", "test"):
        original, written = data.load("digits", split=split), data.load(out, split=split)
        np.testing.assert_allclose(written.examples(), original.examples(), atol=0.0040)  # 16 levels in 255: 1 / 255
        np.testing.assert_array_equal(written.labels, original.labels)
        assert written.num_classes == 10
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(SystemExit):
        command.main(["digits", str(out)])
    assert "holds records of the train split already" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("digits", "afile", r"`folder` must be a folder to write to. Received: a file, .*afile. Give another path"),
        ("ring", "new", r"'ring' has no pixels: its examples have shape \(2,\). Use images"),
    ],
)
def test_what_cannot_be_written_is_refused_before_it_begins(tmp_path, capsys, source, out, message):
    (tmp_path / "afile").write_text("")
    with pytest.raises(SystemExit):
        command.main([source, str(tmp_path / out)])
    assert re.search(message, capsys.readouterr().err) and [path.name for path in tmp_path.iterdir()] == ["afile"]


def test_records_of_one_class_have_no_labels(tmp_path):
    write_file(tmp_path / "a.tfrecord", [example(pixels, 0) for pixels in PIXELS])
    (tmp_path / "label.labels.txt").write_text("face\n")
    source = data.load(tmp_path)
    assert not source.is_labelled and source.class_names is None and source.num_classes is None


def test_writing_in_several_files_leaves_nothing_unfinished(tmp_path, monkeypatch):
    source = data.Source("mine", PIXELS)
    files = records.write(source, tmp_path, "train", shard_bytes=1000)
    assert len(files) > 2 and sorted(tmp_path.iterdir()) == files
    records.write(source, tmp_path, "test")
    np.testing.assert_array_equal(seen(data.load(tmp_path)), PIXELS)
    with pytest.raises(ValueError, match="has no pixels"):
        records.write(data.load("ring"), tmp_path / "points", "train")
    files[1].unlink()
    with pytest.raises(ValueError, match=f"1 of {len(files)} files of mine-train.tfrecord are missing .* 00001"):
        data.load(tmp_path)

    def fail(image, label):
        raise OSError("No space left on device")

    monkeypatch.setattr(records.writing, "_example", fail)
    with pytest.raises(OSError, match="No space left"):
        records.write(source, tmp_path / "full", "train")
    assert list((tmp_path / "full").iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:-1], "is truncated: it ends within record 3, at byte .* 3 whole records"),
        (lambda b: b[:8], "is truncated: it ends within record 0"),
        (lambda b: b"", "hold no records"),
        (lambda b: b[:3] + b"\1" + b[4:], "length of record 0, at byte 0, does not match"),
        (lambda b: b"\x1f\x8b\x08" + b, "is compressed with gzip"),
        (lambda b: b[:-40] + b"\0\1\2" + b[-37:], "Record 3 of .*damaged: the checksum of its data does not match"),
    ],
)
def test_damaged_files_are_named(tmp_path, damage, message):
    path = write_file(tmp_path / "a.tfrecord", [example(pixels) for pixels in PIXELS[:4]])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        data.load(tmp_path)
    assert str(path) in str(caught.value)


def test_records_that_are_something_else_are_named(tmp_path):
    import tensorflow as tf

    other = tf.train.Example()
    other.features.feature["text"].bytes_list.value.append(b"hello")
    html = tf.train.Example()
    html.features.feature["image"].bytes_list.value.append(b"<html>")
    for content, message in (
        (other.SerializeToString(), "Record 0 of .* holds no image. .*Received: text"),
        (html.SerializeToString(), "The image in Record 0 of .* cannot be decoded"),
        (b"hello", "Record 0 of .* is no `tf.train.Example`"),
    ):
        write_file(tmp_path / "a.tfrecord", [content] * 2)
        with pytest.raises(ValueError, match=message):
            data.load(tmp_path)


def test_files_that_are_gone_later_are_named(tmp_path):
    path = write_file(tmp_path / "a.tfrecord", [example(pixels) for pixels in PIXELS])
    source = data.load(tmp_path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(Exception, match="Record .* of .*a.tfrecord is damaged: .* bytes were there before"):
        source.examples()
    path.unlink()
    with pytest.raises(Exception, match="a.tfrecord could be read before and now cannot be"):
        next(iter(source.batches(4)))


def test_folders_that_cannot_be_used(tmp_path):
    content = [example(PIXELS[0])] * 2
    write_file(tmp_path / "set" / "1.0.0" / "a-train.tfrecord", content)
    write_file(tmp_path / "set" / "2.0.0" / "a-train.tfrecord", content)
    with pytest.raises(ValueError, match=r"records in 2 folders: 1.0.0, 2.0.0. .*Give the path of one"):
        data.load(tmp_path / "set")
    write_file(tmp_path / "tests" / "a-test.tfrecord", content)
    with pytest.raises(ValueError, match="records of test, and none to train"):
        data.load(tmp_path / "tests")
    Image.fromarray(PIXELS[0]).save(tmp_path / "tests" / "a.png")
    with pytest.raises(ValueError, match="a-test.tfrecord, and image files, such as a.png. Expected one kind"):
        data.load(tmp_path / "tests")
    (tmp_path / "set" / "1.0.0" / "a-test.array_record").write_bytes(b"")
    with pytest.raises(ValueError, match="TFRecord files.*and ArrayRecord files"):
        data.load(tmp_path / "set" / "1.0.0")
    for split, rows in (("train", (0, 1)), ("test", (2,))):
        write_file(tmp_path / "sub" / split / "a.tfrecord", [example(PIXELS[row]) for row in rows])
    assert data.load(tmp_path / "sub").size == 2 and data.load(tmp_path / "sub", split="test").size == 1


def test_progress_is_shown_where_there_are_many_records(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "RECORDS", 1000)
    write_file(tmp_path / "a.tfrecord", [example(PIXELS[0], 1)] * 3000)
    assert data.load(tmp_path).num_classes == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Indexed 1000 records in 0 of 1") and "Indexed 3000 records in 1 of 1 files" in lines[-3]
    assert lines[-1] == "Read 2000 of 2700 labels"


@pytest.mark.skipif(importlib.util.find_spec("array_record") is None, reason="the package array-record is missing")
def test_array_records(tmp_path):
    from array_record.python.array_record_module import ArrayRecordWriter

    for split, part in (("train", slice(20)), ("test", slice(20, None))):
        path = tmp_path / f"a-{split}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for pixels in PIXELS[part]:
            writer.write(example(pixels, 1))
        writer.close()
    train, test = data.load(tmp_path), data.load(tmp_path, split="test")
    np.testing.assert_array_equal(seen(train), PIXELS[:20])
    np.testing.assert_array_equal(seen(test), PIXELS[20:])
    assert train.labels.tolist() == [1] * 20
    content = path.read_bytes()
    for damaged, message in ((content[:1000], "truncated, damaged or no"), (b"hello" * 20_000, "or no ArrayRecord")):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=message):
            data.load(tmp_path)
    # Inside the first record, behind the head of its chunk.
    path.write_bytes(content[:100] + b"damage" + content[106:])
    with pytest.raises(ValueError, match="Record 0 of .* is damaged"):
        data.load(tmp_path)


def test_array_records_without_their_package_name_the_extra(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)
    (tmp_path / "a.arrayrecord").write_bytes(b"x")
    with pytest.raises(ModuleNotFoundError, match=r"array-record .* not installed. .*zoo-models\[records\]"):
        data.load(tmp_path)
