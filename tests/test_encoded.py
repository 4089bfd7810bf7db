"""Files of images in a graph, against Pillow."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo.encoded import decode, encode

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype="uint8")
KINDS = {"L": PIXELS[..., 0], "LA": PIXELS[..., [0, 3]], "RGB": PIXELS[..., :3], "RGBA": PIXELS}


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
    compiled = tf.function(decode, input_signature=None)
    found = (compiled(tf.constant(file_of(mode)), 3) + 1) * 127.5
    np.testing.assert_allclose(found, over_white(mode), atol=1.01)
    grey = (compiled(tf.constant(file_of(mode)), 1) + 1) * 127.5
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
