"""Pictures of samples: legible, round, and refused where there is nothing to draw."""

import numpy as np
import pytest

from zoo import pictures


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
