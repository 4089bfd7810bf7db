"""Classes of pixels drawn over images: colours, borders, and what is left as it is."""

import numpy as np
import pytest

from zoo.pictures_of_detections import colour_of
from zoo.pictures_of_segmentation import draw_labels, names_in, side_by_side

GREY = np.full((300, 400, 3), 128, "uint8")
COLOURS = np.array([colour_of(number) for number in range(5)])


def under(number, grey=128):
    """Grey under 45 % of the colour of a class."""
    return 0.55 * grey + 0.45 * COLOURS[number]


def halves(left, right, shape=(300, 400)):
    labels = np.full(shape, left, "uint8")
    labels[:, shape[1] // 2 :] = right
    return labels


@pytest.mark.parametrize("kind", ["uint8", "int32", "int64"])
def test_classes_are_seen_through_with_a_solid_border(kind):
    picture = draw_labels(GREY, halves(1, 3).astype(kind), legend=False)
    assert picture.dtype == np.uint8 and picture.shape == GREY.shape
    for columns, number in ((slice(0, 199), 1), (slice(201, 400), 3)):
        np.testing.assert_allclose(picture[:, columns], np.broadcast_to(under(number), (300, 199, 3)), atol=0.5)
    # One pixel on each side, and none along the edge of the picture.
    assert (picture[:, 199] == COLOURS[1]).all() and (picture[:, 200] == COLOURS[3]).all()
    assert (GREY == 128).all()


def test_borders_are_drawn_up_and_down_too():
    labels = np.zeros((300, 400), "uint8")
    labels[100:200, 100:200] = 4
    picture = draw_labels(GREY, labels, legend=False)
    solid = [(picture == COLOURS[number]).all(-1) for number in (0, 4)]
    # The outline of 100 x 100 pixels, and the pixels around it, without the corners.
    assert solid[1].sum() == 4 * 99 and solid[0].sum() == 4 * 100
    assert solid[1][[100, 199], 150].all() and solid[0][[99, 200], 150].all()


def test_void_and_background_are_left_as_they_are():
    names = ["background", "cat", "dog"]
    for plain in (255, 0):
        picture = draw_labels(GREY, halves(plain, 2), names, legend=False)
        assert (picture[:, :200] == 128).all() and (picture[:, 200] == COLOURS[2]).all()
    # A class of that place with another name, or with none, has its colour.
    assert not (draw_labels(GREY, halves(0, 2), ["sky", "cat", "dog"])[:, :200] == 128).all()
    for labels in (np.full((300, 400), 255), np.zeros((300, 400), int)):
        # Nothing to explain.
        np.testing.assert_array_equal(draw_labels(GREY, labels, names), GREY)


def test_the_legend_has_the_colours_of_the_classes_that_occur():
    """Below the picture, in as many lines as it takes: 20 long names do not go into three lines of 400 pixels."""
    picture = draw_labels(GREY, halves(1, 3), ["a", "b", "c", "d"])
    assert picture.shape[1:] == (400, 3) and 10 < picture.shape[0] - 300 < 30
    there = [(picture[300:] == colour).all(-1).sum() >= 100 for colour in COLOURS]
    assert there == [False, True, False, True, False]
    labels = np.arange(400, dtype="uint8")[None].repeat(300, 0) // 20
    many = draw_labels(GREY, labels, [f"a long name {number}" for number in range(20)])
    assert many.shape[0] - 300 > 3 * (picture.shape[0] - 300) and many.shape[1] == 400
    np.testing.assert_array_equal(many[:300], draw_labels(GREY, labels, legend=False))


def test_small_images_are_enlarged_with_sharp_edges():
    picture = draw_labels(np.zeros((32, 64, 3)), halves(1, 255, (32, 64)), legend=False)
    assert picture.shape == (128, 256, 3)
    np.testing.assert_allclose(picture[:, :127], np.broadcast_to(under(1, 0), (128, 127, 3)), atol=0.5)
    assert (picture[:, 127] == COLOURS[1]).all() and not picture[:, 128:].any()


@pytest.mark.parametrize("shape", [(300, 400), (30, 40), (31, 47), (3, 4)])
def test_labels_of_a_canvas_are_fitted_to_the_photo(shape):
    """As Pillow resizes to the nearest, which of 23 rows or 31 columns is never halfway; the rest is not looked at."""
    from PIL import Image

    labels = np.random.default_rng(0).integers(0, 5, (32, 32)).astype("uint8")
    labels[23:], labels[:, 31:] = 77, 78
    photo = np.full((*shape, 3), 128, "uint8")
    nearest = np.asarray(Image.fromarray(labels[:23, :31]).resize(shape[::-1], Image.Resampling.NEAREST))
    found = draw_labels(photo, labels, size=np.array([23, 31], "int32"))
    np.testing.assert_array_equal(found, draw_labels(photo, nearest))


def test_names_of_the_classes_that_occur():
    labels = np.array([[3, 255], [0, 3]], "uint8")
    assert names_in(labels, ["background", "a", "b", "c"]) == ["background", "c"]
    # Numbers where names are missing.
    assert names_in(labels) == names_in(labels, []) == ["0", "3"] and names_in([255]) == []


def test_picture_truth_and_prediction_stand_side_by_side():
    """Two pictures of 128 x 128 enlarged twice, in rows of three below their titles, with a legend of three classes."""
    images = np.full((2, 128, 128, 3), 128, "uint8")
    truth = np.stack([halves(0, 1, (128, 128))] * 2)
    found = np.stack([halves(0, 1, (128, 128)), halves(3, 255, (128, 128))])
    picture = side_by_side(images, truth, found, ["background", "cat", "dog", "cow"])
    assert picture.shape[1] == 3 * 256 + 2 * 4 and picture.shape[0] > 22 + 2 * 260
    for row, (of_truth, of_found) in enumerate([((None, 1), (None, 1)), ((None, 1), (3, None))]):
        for column, pair in enumerate([(None, None), of_truth, of_found]):
            for half, number in enumerate(pair):
                pixel = picture[22 + 260 * row + 128, 260 * column + 64 + 128 * half]
                np.testing.assert_allclose(pixel, 128 if number is None else under(number), atol=0.5)
    legend = picture[22 + 2 * 260 :]
    assert [(legend == colour).all(-1).any() for colour in COLOURS] == [False, True, False, True, False]
    assert side_by_side(images, truth * 0, truth * 0, ["background"]).shape[0] == 22 + 2 * 260


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((4, 4))}, "must be RGB, .* Received: shape \\(4, 4\\)"),
        ({"labels": np.zeros((4, 4), int)}, "of the pixels of the image, \\(300, 400\\). Received: shape \\(4, 4\\)"),
        ({"labels": np.zeros((300, 400))}, "whole numbers, 0 to 255. Received: float64 values from 0.0 to 0.0"),
        ({"labels": np.full((300, 400), 256)}, "Received: int64 values from 256 to 256"),
        ({"labels": np.full((300, 400), -1)}, "Received: int64 values from -1 to -1"),
        ({"size": (301, 400)}, "must lie within its labels, .* Received: \\(301, 400\\), and labels of shape"),
        ({"size": (0, 400)}, "must lie within its labels"),
    ],
)
def test_labels_that_cannot_be_drawn_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        draw_labels(**{"image": GREY, "labels": np.zeros((300, 400), int), **change})
