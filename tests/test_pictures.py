"""Pictures of samples: legible, round, and refused where there is nothing to draw."""

import numpy as np
import pytest

from zoo import pictures, pictures_of_detections


def test_grid_is_legible():
    images = np.full((3, 10, 20, 3), -1.0)
    images[1] = 2.0  # outside [-1, 1]: clipped, not wrapped
    picture = np.asarray(pictures.grid(images))
    assert picture.shape[2] == 3 and max(picture.shape[:2]) >= 84
    assert picture[10, 10].tolist() == [0, 0, 0]
    assert pictures.grid(np.zeros((4, 8, 8, 1))).mode == "L"


def test_scatter_keeps_circles_round():
    angle = np.linspace(0, 2 * np.pi, 200)
    picture = pictures.draw(np.stack([np.cos(angle), np.sin(angle)], 1)).astype(int)
    blue = np.argwhere((picture[..., 2] - picture[..., 0]) > 100)
    assert np.ptp(blue[:, 0]) == pytest.approx(np.ptp(blue[:, 1]), abs=2)


def test_heat_maps_are_darker_where_numbers_are_larger():
    """Two maps side by side; the identity's dark cells lie on the diagonal of the left half."""
    one = (np.eye(2), ["ein", "Hund"], ["a", "dog"])
    picture = pictures.heat_maps([one, (np.ones((3, 2)), ["x", "y", "z"], ["a", "dog"])])
    assert picture.dtype == np.uint8 and picture.shape == (450, 900, 3)
    # The darkest of matplotlib's map "Blues" is (8, 48, 107).
    dark = np.abs(picture.astype(int) - [8, 48, 107]).max(-1) < 8
    rows, columns = np.nonzero(dark[:, :450])
    middle_row, middle_column = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
    above, left = rows < middle_row - 2, columns < middle_column - 2
    below, right = rows > middle_row + 2, columns > middle_column + 2
    assert (above & left).sum() > 1000 and (below & right).sum() > 1000
    assert not (above & right).any() and not (below & left).any()
    assert pictures.heat_maps([one]).shape == (450, 450, 3)


def test_draw_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="Received: shape \\(4, 3\\)"):
        pictures.draw(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="must be finite"):
        pictures.draw(np.full((4, 2), np.nan))


def test_transparency_is_kept():
    assert pictures.draw(np.zeros((2, 8, 8, 4))).shape[2] == 4 and pictures.draw(np.zeros((2, 8, 8, 1))).shape[2] == 3


GREY = np.full((300, 400, 3), 128, "uint8")


def changed(picture, grey=128):
    return np.abs(picture.astype(int) - grey).max(-1) > 20


def test_objects_are_drawn_where_they_are():
    """A box of 100 x 60 with its name above; half of its mask, by 28 x 28 cells and by the pixels of the image."""
    boxes, classes = np.array([[50, 100, 150, 160], [0, 0, 0, 0]]), np.array([3, -1])
    cells = np.zeros((2, 28, 28), "float32")
    cells[:, :, :14] = 1
    whole = np.zeros((2, 300, 400), "uint8")
    whole[0, 100:160, 50:100] = 1
    colour = np.array(pictures_of_detections.colour_of(3))
    for masks in (cells, whole):
        picture = pictures_of_detections.draw_detections(GREY, boxes, classes, masks=masks)
        assert picture.dtype == np.uint8 and picture.shape == GREY.shape
        where = changed(picture)
        assert where[103:157, 53:99].all() and not where[103:157, 102:147].any()
        assert (picture[100, 50:150] == colour).all() and (picture[159, 50:150] == colour).all()
        # 45 % of the colour, inside of the outline.
        np.testing.assert_allclose(picture[130, 75], 0.55 * 128 + 0.45 * colour, atol=1)
        where[80:160, 50:150] = False
        assert not where.any()
    assert (GREY == 128).all()


def test_names_and_scores_stay_within_the_picture():
    """Above the box, or within where there is no room; moved to the left at the right border."""
    boxes = np.array([[0, 0, 100, 100], [390, 150, 400, 200]])
    draw = pictures_of_detections.draw_detections
    plain = changed(draw(GREY, boxes, [0, 1]))
    named = changed(draw(GREY, boxes, [0, 1], np.array([0.9, 0.8]), names=["a cup", "a long name"]))
    assert named[1:12, 1:40].all() and not plain[20:90, 20:90].any()
    assert named[140:148, 310:399].all() and not plain[140:148, :300].any()


def test_scores_decide_what_is_drawn_and_what_lies_on_top():
    boxes, colours = np.array([[100, 100, 200, 200]] * 2), [pictures_of_detections.colour_of(one) for one in range(2)]
    for scores, top in (([0.9, 0.6], 0), ([0.6, 0.9], 1)):
        picture = pictures_of_detections.draw_detections(GREY, boxes, [0, 1], np.array(scores))
        assert tuple(picture[150, 100]) == colours[top]
        picture = pictures_of_detections.draw_detections(GREY, boxes, [0, 1], np.array(scores), threshold=0.7)
        assert tuple(picture[150, 100]) == colours[top] and not (picture == colours[1 - top]).all(-1).any()
    assert (
        pictures_of_detections.draw_detections(GREY, boxes, [0, 1], np.array([0.1, 0.2]), threshold=0.5) == 128
    ).all()


def test_small_images_are_enlarged_and_boxes_may_reach_beyond():
    boxes, masks = np.array([[-1e6, -1e6, 1e6, 1e6]]), np.ones((1, 28, 28), "float32")
    picture = pictures_of_detections.draw_detections(np.zeros((32, 64, 3)), boxes, [0], masks=masks)
    assert picture.shape == (128, 256, 3) and changed(picture, 0).all()
    nothing = pictures_of_detections.draw_detections(np.zeros((32, 64, 3)), boxes[:0], np.zeros(0, int))
    assert nothing.shape == (128, 256, 3) and not nothing.any()


def test_classes_have_colours_of_their_own():
    colours = [pictures_of_detections.colour_of(number) for number in range(20)]
    apart = [np.abs(np.subtract(a, b)).max() for n, a in enumerate(colours) for b in colours[:n]]
    assert min(apart) >= 25 and pictures_of_detections.colour_of(np.int32(3)) == colours[3]


def test_truth_and_prediction_stand_side_by_side():
    """Three scenes of 128 x 128 enlarged twice: two pairs in the first row, one in the second."""
    images = np.full((3, 128, 128, 3), 128, "uint8")
    boxes = np.tile(np.array([20.0, 40, 80, 100]), (3, 1, 1))
    truth = {"boxes": boxes, "classes": np.zeros((3, 1), int), "masks": np.zeros((3, 1, 128, 128), "uint8")}
    found = {**truth, "masks": np.zeros((3, 1, 28, 28)), "scores": np.array([[0.9], [0.9], [0.4]])}
    picture = pictures_of_detections.side_by_side(images, truth, found, ["cup"])
    assert picture.shape == (22 + 2 * 260 - 4, 2 * (2 * 256 + 16) - 8, 3)
    where = changed(picture[22:])
    # Left sides of boxes, at 2 x 20 of each picture; what is not likely is not drawn.
    lines = [where[140, left + 40] for left in (0, 260, 528, 788)] + [where[260 + 140, left + 40] for left in (0, 260)]
    assert lines == [True] * 5 + [False]
    assert (picture[22 + 260 :, 528:] == 255).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((4, 4))}, "must be RGB, .* Received: shape \\(4, 4\\)"),
        ({"boxes": np.zeros((2, 4))}, "The boxes of 1 objects must be \\(n, 4\\). Received: shape \\(2, 4\\)"),
        ({"scores": np.zeros((1, 1))}, "The scores of 1 objects must be \\(n,\\)"),
        ({"masks": np.zeros((2, 28, 28))}, "The masks of 1 objects must be \\(n, M, M\\)"),
        ({"boxes": np.full((1, 4), np.nan)}, "must be finite"),
        ({"masks": np.full((1, 28, 28), np.nan)}, "must be finite"),
    ],
)
def test_objects_that_cannot_be_drawn_are_refused(change, message):
    given = {"image": GREY, "boxes": np.zeros((1, 4)), "classes": np.zeros(1, int), **change}
    with pytest.raises(ValueError, match=message):
        pictures_of_detections.draw_detections(**given)
