"""Folders of images: what is read, as what, and what is refused."""

import os

import numpy as np
import pytest
from PIL import Image

from zoo import data
from zoo.data.splits import held_out

SKY = (40, 120, 220)


def picture(path, size=(12, 10), colour=SKY, mode="RGB", **options):
    """Writes a picture of one colour; `size` is (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size[::-1], colour).save(path, **options)
    return path


def noise(path, size=(64, 64)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(1).randint(0, 256, (*size, 3))
    Image.fromarray(pixels.astype("uint8")).save(path, quality=90)
    return path


def every(folder, **options):
    """All pictures of both splits, as 0..255."""
    parts = [data.load(folder, split=split, **options).examples() for split in ("train", "test")]
    return (np.concatenate(parts) + 1) * 127.5


@pytest.mark.parametrize("end", ["jpg", "JPEG", "png", "bmp", "gif"])
def test_formats(tmp_path, end):
    for index in range(2):
        picture(tmp_path / f"{index}.{end}")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._0.jpg").write_text("not an image either")
    source = data.load(str(tmp_path))
    assert source.shape == (12, 10, 3) and source.is_images and source.size == 1 and source.labels is None
    np.testing.assert_allclose(every(tmp_path), np.broadcast_to(SKY, (2, 12, 10, 3)), atol=3)


def test_odd_kinds_of_pixels_come_out_as_people_see_them(tmp_path):
    picture(tmp_path / "clear.png", mode="RGBA", colour=(9, 9, 9, 0))
    picture(tmp_path / "palette.bmp", mode="P", colour=0)
    picture(tmp_path / "bits.bmp", mode="1", colour=1)
    picture(tmp_path / "print.jpg", mode="CMYK", colour=(0, 0, 0, 0))
    Image.fromarray(np.full((12, 10), 65535, "uint16")).save(tmp_path / "deep.png")
    found = every(tmp_path)
    assert sorted(found.mean((1, 2, 3)).round().tolist()) == [0, 255, 255, 255, 255]


def test_the_first_frame_of_a_gif_counts(tmp_path):
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
    for name in "ab":
        frames[0].save(tmp_path / f"{name}.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(every(tmp_path), np.broadcast_to((255, 0, 0), (2, 6, 6, 3)), atol=1)


def test_a_photo_is_turned_as_its_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in "ab":
        picture(tmp_path / f"{name}.jpg", size=(8, 16), exif=exif)
    assert data.load(tmp_path).shape == (16, 8, 3)


def test_grey_folders_have_one_channel_and_channels_can_be_chosen(tmp_path):
    for index in range(3):
        picture(tmp_path / f"{index}.png", mode="L", colour=100)
    assert data.load(tmp_path).shape == (12, 10, 1)
    np.testing.assert_array_equal(every(tmp_path, channels=3).round(), np.full((3, 12, 10, 3), 100))
    picture(tmp_path / "colour.png")
    assert data.load(tmp_path).shape == (12, 10, 3)
    assert data.load(tmp_path, channels=1).examples().shape == (3, 12, 10, 1)


def test_sizes_that_differ_need_one(tmp_path):
    picture(tmp_path / "a.png", size=(12, 10))
    picture(tmp_path / "b.png", size=(30, 20))
    with pytest.raises(ValueError, match=r"a.png has 12 x 10 pixels .*b.png has 30 x 20.*Give `image_size`"):
        data.load(tmp_path)
    assert data.load(tmp_path, image_size=8).shape == (8, 8, 3)
    assert data.load(tmp_path, image_size=(6, 9)).examples().shape == (1, 6, 9, 3)


def test_images_are_cut_around_the_centre_and_not_stretched(tmp_path):
    pixels = np.zeros((40, 80, 3), "uint8")
    pixels[:, 20:60] = 200
    for name in "ab":
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    np.testing.assert_allclose(every(tmp_path, image_size=10), 200, atol=1)


def test_large_jpegs_read_at_a_fraction_look_the_same(tmp_path):
    ramp = np.add.outer(np.arange(512), np.arange(512)) / 4
    pixels = np.repeat(ramp[..., None], 3, -1).astype("uint8")
    for name in "ab":
        Image.fromarray(pixels).save(tmp_path / f"{name}.jpg", quality=95)
    expected = ramp.reshape(16, 32, 16, 32).mean((1, 3))
    np.testing.assert_allclose(every(tmp_path, image_size=16)[0, ..., 0], expected, atol=3)


def test_folders_of_one_level_are_classes(tmp_path):
    for number, name in enumerate(["cat", "ant", "bee"]):
        for index in range(10):
            picture(tmp_path / name / f"{index}.png", colour=(80 * number, 0, 0))
    train, test = data.load(tmp_path), data.load(tmp_path, split="test")
    assert train.class_names == ["ant", "bee", "cat"] and train.num_classes == 3
    assert (train.size, test.size) == (27, 3)
    for source in (train, test):
        images, labels = source.labelled()
        red = np.round((images[:, 0, 0, 0] + 1) * 127.5)
        np.testing.assert_array_equal(red, np.array([80, 160, 0])[labels])
    picture(tmp_path / "loose.png")
    assert data.load(tmp_path).labels is None


def test_one_folder_of_pictures_is_no_class(tmp_path):
    for index in range(10):
        picture(tmp_path / "a" / f"{index}.png")
    source = data.load(tmp_path)
    assert not source.is_labelled and source.class_names is None and source.num_classes is None


def test_folders_train_and_test_are_the_splits(tmp_path):
    for split, count in (("train", 4), ("test", 2)):
        for index in range(count):
            picture(
                tmp_path / split / f"class {index % 2}" / f"{index}.png",
                colour=(200 if split == "test" else 0,) * 3,
            )
    train, test = data.load(tmp_path), data.load(tmp_path, split="test")
    assert (train.size, test.size) == (4, 2) and "its own" in test.origin
    assert train.examples().max() == -1 and test.examples().min() > 0.5
    assert train.class_names == test.class_names == ["class 0", "class 1"]


def test_batches_of_files_are_resumable_and_grouped(tmp_path):
    for index in range(14):
        picture(tmp_path / f"{index:02}.png", size=(4, 4), colour=(10 * index,) * 3)
    source = data.load(tmp_path)
    steps = source.steps_per_epoch(2, 3)
    assert (source.size, steps) == (13, 2)
    batches = source.batches(2, seed=1, group=3)
    assert batches.element_spec.shape == (2, 3, 4, 4, 3)

    def corners(batches):
        return [np.round((batch.numpy()[..., 0, 0, 0] + 1) * 127.5) for batch in batches]

    values = corners(batches.take(3 * steps))
    assert all(len(np.unique(values[epoch * steps : (epoch + 1) * steps])) == 12 for epoch in range(3))
    resumed = corners(source.batches(2, seed=1, first_epoch=2, group=3).take(steps))
    np.testing.assert_array_equal(resumed, values[2 * steps :])


@pytest.mark.parametrize("end", ["jpg", "png", "bmp", "gif"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.95])
def test_truncated_files_are_named(tmp_path, end, kept):
    picture(tmp_path / f"good.{end}", size=(64, 64))
    path = noise(tmp_path / "sub" / f"broken.{end}")
    data.load(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=rf"1 of 2 images cannot be decoded: .*sub.broken.{end} \("):
        data.load(tmp_path)


def test_a_file_that_is_something_else_is_named_and_long_lists_are_cut(tmp_path):
    for index in range(8):
        (tmp_path / f"{index}.jpg").write_text("<html>404 Not Found</html>")
    with pytest.raises(ValueError, match=r"8 of 8 images cannot be decoded: .*0.jpg.*; and 3 more\."):
        data.load(tmp_path)


def test_damaged_files_are_left_out_only_if_asked_for(tmp_path, capsys):
    for index in range(30):
        picture(tmp_path / f"{index:02}.png", colour=(index,) * 3)
    for index in range(3, 10):
        (tmp_path / f"{index:02}.png").write_bytes(b"")
    with pytest.raises(ValueError, match="7 of 30 images .* Replace or remove them; `skip_damaged=True` leaves them"):
        data.load(tmp_path)
    left = [*range(3), *range(10, 30)]
    mask = held_out(len(left))
    for split, chosen in (("train", ~mask), ("test", mask)):
        source = data.load(tmp_path, split=split, skip_damaged=True)
        found = np.round((source.examples()[:, 0, 0, 0] + 1) * 127.5)
        np.testing.assert_array_equal(found, np.array(left)[chosen])
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"Left out 7 of 30 images in {tmp_path} that cannot be decoded: {tmp_path}")
        assert "07.png" in line and "08.png" not in line and line.endswith("; and 2 more.")


def test_a_folder_or_split_of_which_nothing_is_left_is_refused(tmp_path):
    for split in ("train", "test"):
        picture(tmp_path / split / "a.png")
    (tmp_path / "test" / "a.png").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "test"):
        with pytest.raises(ValueError, match="None of the images in .*test can be decoded. Expected one or more"):
            data.load(folder, skip_damaged=True)


def test_grey_pictures_among_colour_ones_are_named(tmp_path, capsys):
    for index in range(7):
        picture(tmp_path / f"grey{index}.png", mode="L", colour=100)
    data.load(tmp_path)
    assert capsys.readouterr().err == ""
    picture(tmp_path / "colour.png")
    np.testing.assert_array_equal(np.unique(every(tmp_path).round()), sorted({*SKY, 100}))
    # Once a process, however often it is loaded.
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"7 of 8 images in {tmp_path} are grey and are read as RGB: ")
    assert "grey4.png" in line and "grey5.png" not in line
    assert line.endswith("; and 2 more. `channels=1` makes all grey.")
    for channels in (1, 3):
        data.load(tmp_path, channels=channels)
    assert capsys.readouterr().err == ""


def test_a_file_that_breaks_after_loading_is_named(tmp_path):
    paths = [picture(tmp_path / f"{index}.png") for index in range(3)]
    source = data.load(tmp_path)
    for path in paths:
        path.write_bytes(b"gone")
    with pytest.raises(Exception, match=r"The image .*\d.png could be read before and now cannot be"):
        next(iter(source.batches(1)))


def test_progress_is_shown_where_there_are_many_files(tmp_path, monkeypatch, capsys):
    from zoo.data import progress

    monkeypatch.setattr(progress, "_FILES", 2)
    for index in range(5):
        picture(tmp_path / f"{index}.png")
    data.load(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f"Checked 5 of 5 images in {tmp_path}" and len(lines) == 3


def test_folders_that_cannot_be_used(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="missing does not exist"):
        data.load(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="missing does not exist"):
        data.load(f"{tmp_path}/missing")
    with pytest.raises(FileNotFoundError, match="folder ./nowhere does .* cifar10, digits, .* images or records"):
        data.load("./nowhere")
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(NotADirectoryError, match="file.txt is a file"):
        data.load(str(tmp_path / "file.txt"))
    with pytest.raises(ValueError, match="holds no images. .*Received: 1 other files"):
        data.load(tmp_path)
    picture(tmp_path / "only.png")
    with pytest.raises(ValueError, match="a set needs 2 or more. Received: 1"):
        data.load(tmp_path)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="cannot be read: Permission denied"):
        data.load(tmp_path)
