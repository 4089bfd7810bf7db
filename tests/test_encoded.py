"""Files of images in a graph, against Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from zoo.data.canvas import fitted_size
from zoo.data.reading import read_picture_on
from zoo.encoded import MAX_PIXELS, decode, encode, fit_to_canvas, fitted_to, size_of

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype="uint8")
KINDS = {"L": PIXELS[..., 0], "LA": PIXELS[..., [0, 3]], "RGB": PIXELS[..., :3], "RGBA": PIXELS}


def of_a_file(function):
    """A function of a file as a graph."""
    return tf.function(function, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)


in_a_graph = {
    "decode": of_a_file(lambda file: decode(file, 3)),
    "decode to grey": of_a_file(lambda file: decode(file, 1)),
    "fit_to_canvas": of_a_file(lambda file: fit_to_canvas(file, (32, 32))),
}


def file_of(mode, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(KINDS[mode], mode).save(file, format=kind)
    return file.getvalue()


def over_white(mode):
    """What Pillow makes of a picture in front of white, (5, 7, 3)."""
    image = Image.open(io.BytesIO(file_of(mode))).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"), "float32")


@pytest.mark.parametrize("mode", KINDS)
def test_every_kind_of_png_becomes_rgb_or_grey(mode):
    found = (in_a_graph["decode"](tf.constant(file_of(mode))) + 1) * 127.5
    np.testing.assert_allclose(found, over_white(mode), atol=1.01)
    grey = (in_a_graph["decode to grey"](tf.constant(file_of(mode))) + 1) * 127.5
    np.testing.assert_allclose(grey[..., 0], over_white(mode) @ [0.299, 0.587, 0.114], atol=1.1)


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "GIF"])
def test_other_formats(kind):
    content = file_of("RGB", kind)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), "float32")
    np.testing.assert_allclose((decode(tf.constant(content), 3) + 1) * 127.5, expected, atol=3)


def test_encoding_is_undone_by_decoding_and_clips():
    images = KINDS["RGB"] / np.float32(127.5) - 1
    np.testing.assert_allclose(decode(encode(tf.constant(images)), 3), images, atol=1e-6)
    with Image.open(io.BytesIO(encode(tf.constant([[[-3.0], [3.0]]])).numpy())) as image:
        assert np.asarray(image).tolist() == [[0, 255]]


PIXEL = Image.new("RGB", (1, 1))


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


KEPT = {
    "JPEG": {},
    "progressive": {"kind": "JPEG", "progressive": True},
    "PNG": {},
    "BMP": {},
    "GIF": {},
    "animated": {"kind": "GIF", "save_all": True, "disposal": 1},
    "WEBP": {},
    "lossless": {"kind": "WEBP", "lossless": True},
    "transparent": {"kind": "WEBP", "exif": b"x"},
}


def picture(name, height, width, mode="RGB"):
    """A picture of noise as a file, and the number of its frames."""
    options = {"kind": name, **KEPT[name]}
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype="uint8")).convert(mode) for _ in range(3)]
    if name != "animated":
        return saved(images[0], **options), 1
    return saved(images[0], append_images=images[1:], **options), 3


size_in_a_graph = tf.function(
    size_of, input_signature=[tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int64)], autograph=False
)


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("size", [(1, 1), (3, 700), (300, 2)])
def test_the_header_says_the_size_that_pillow_says(name, size):
    content, frames = picture(name, *size)
    with Image.open(io.BytesIO(content)) as image:
        assert (image.height, image.width) == size and getattr(image, "n_frames", 1) == frames
    pixels = frames * size[0] * size[1]
    assert size_in_a_graph(content, pixels).numpy().tolist() == [*size]
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{size[0]}.*{size[1]}.*Send a smaller one"):
        size_in_a_graph(content, pixels - 1)


def png_of(width, height):
    """The beginning of a PNG, whose data are missing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def gif_of(width, height, screen=(1, 1)):
    """A GIF whose frame is larger than its screen, which TensorFlow would make room for."""
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", *screen, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, width, height, 0)
        + (b"\x08\x01\x00\x00;")
    )


@pytest.mark.parametrize(
    ("content", "height", "width"),
    [
        (png_of(5793, 5793), 5793, 5793),
        (png_of(2**31 - 1, 2**31 - 1), 2**31 - 1, 2**31 - 1),
        (png_of(2**32 - 1, 2**32 - 1), 2**32 - 1, 2**32 - 1),
        (gif_of(65535, 65535), 65535, 65535),
        (b"BM" + bytes(16) + struct.pack("<ii", 8000, -8000) + bytes(20), 8000, 8000),
        (b"RIFF....WEBPVP8X" + bytes(8) + b"\xff\xff\xff" * 2, 2**24, 2**24),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_decoded(content, height, width):
    message = (
        rf"A picture may have {MAX_PIXELS} pixels at most, .* Received, height and width:\] \[{height}\] \[{width}\]"
    )
    for function in (in_a_graph["decode"], in_a_graph["fit_to_canvas"]):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            function(tf.constant(content))


@pytest.mark.parametrize("content", [b"", b"G", b"text that is no picture", saved(PIXEL, "TIFF")])
def test_what_is_no_picture_is_named(content):
    message = rf"must be a JPEG, PNG, GIF, BMP or WebP picture.* first:\] \[{len(content)}\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        in_a_graph["decode"](tf.constant(content))


def noise(mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype="uint8")
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize(
    "content",
    [
        *(b"GIF8", b"RIFF", b"BM", b"RIFF....WAVEfmt ", saved(PIXEL, "GIF")[:20], png_of(0, 7), png_of(7, 0)),
        *(saved(noise("P"), "GIF")[:length] for length in (11, 13, 14, 300, 780)),
        gif_of(0, 3),
    ],
)
def test_a_header_without_a_size_is_refused(content):
    message = rf"no whole JPEG, PNG, GIF, BMP or WebP picture.* height and width:\] \[{len(content)}\]"
    for function in (in_a_graph["decode"], in_a_graph["fit_to_canvas"]):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            function(tf.constant(content))


@pytest.mark.parametrize("name", ["GIF", "animated"])
def test_a_gif_cut_anywhere_has_a_size_or_is_not_whole(name):
    """Nothing behind its end is looked at: until its first frame begins there is no size, and then it is the file's."""
    content, _ = picture(name, 20, 24, "P")
    for length in [*range(4, 50), *range(50, len(content), 17), *range(770, 800)]:
        try:
            assert size_in_a_graph(content[:length], MAX_PIXELS).numpy().tolist() == [20, 24]
        except tf.errors.InvalidArgumentError as error:
            assert "no whole JPEG" in str(error)


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("frames", [2, 3])
def test_an_animated_webp_is_refused_before_it_is_decoded(lossless, frames):
    """TensorFlow 2.21's decoder of them writes outside its memory: within 200 calls it ended a process."""
    rng = np.random.default_rng(0)
    first, *others = (Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype="uint8")) for _ in range(frames))
    content = saved(first, "WEBP", save_all=True, append_images=others, lossless=lossless)
    message = rf"An animated WebP is not read\. Send its first frame.*\[{len(content)}\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        size_in_a_graph(content, MAX_PIXELS)
    for function in (in_a_graph["decode"], in_a_graph["fit_to_canvas"]):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            function(tf.constant(content))


PHOTOS = [Image.fromarray(image) for image in load_sample_images().images]


@pytest.mark.parametrize(
    ("kind", "size", "canvas"),
    [
        ("PNG", None, (320, 320)),
        ("JPEG", None, (100, 300)),
        ("JPEG", (2700, 1800), (160, 96)),  # decoded at half of its size, as Pillow does
        ("PNG", (60, 90), (160, 224)),
        ("BMP", (320, 213), (213, 320)),
        ("WEBP", None, (64, 64)),
    ],
)
def test_a_served_picture_is_what_was_learnt_from(tmp_path, kind, size, canvas):
    """Against what `zoo.data` reads of the same file, by Pillow: fewer than 1 % of values differ, by 2 at most."""
    fit = of_a_file(lambda file: fit_to_canvas(file, canvas))
    for photo in PHOTOS:
        photo = photo if size is None else photo.resize(size)
        path = tmp_path / f"photo.{kind.lower()}"
        photo.save(path, format=kind)
        expected = read_picture_on(canvas, path, (photo.height, photo.width), is_turned=False).astype(int)
        found, fitted, original = fit(tf.constant(path.read_bytes()))
        assert tuple(fitted) == fitted_size((photo.height, photo.width), canvas)
        assert tuple(original) == (photo.height, photo.width)
        difference = np.abs(found.numpy() - expected)
        assert difference.max() <= 2 and (difference > 0).mean() < 0.01


def test_transparent_pictures_are_what_was_learnt_from(tmp_path):
    opacity = Image.fromarray(np.linspace(0, 255, 427 * 640).reshape(427, 640).astype("uint8"))
    photo = PHOTOS[0].copy()
    photo.putalpha(opacity)
    photo.save(tmp_path / "photo.png")
    expected = read_picture_on((160, 160), tmp_path / "photo.png", (427, 640), is_turned=False).astype(int)
    found = fit_to_canvas(tf.constant((tmp_path / "photo.png").read_bytes()), (160, 160))[0].numpy()
    assert np.abs(found - expected).max() <= 2


def test_pictures_get_the_size_on_the_canvas_that_they_have_in_training():
    """500 sizes and canvases: both round halves to the even number, in 64 bits."""
    rng = np.random.default_rng(0)
    sizes, canvases = rng.integers(1, 3000, (2, 500, 2))
    fit = tf.function(fitted_to, autograph=False)
    found = [fit(tf.constant(size), tf.constant(canvas)) for size, canvas in zip(sizes, canvases, strict=True)]
    expected = [fitted_size(size, canvas) for size, canvas in zip(sizes.tolist(), canvases.tolist(), strict=True)]
    np.testing.assert_array_equal(found, expected)
