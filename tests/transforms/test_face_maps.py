from __future__ import annotations

import numpy as np
import pytest

from mien.errors import ShapeError
from mien.transforms.face_maps import COLOURS, PARSING, UNTOLD, coloured, landmark_map, parsing_map
from mien.transforms.shape68 import MEAN_FACE, MIRRORED

POINTS = MEAN_FACE * 90 + 5


def test_parts_are_where_the_points_are() -> None:
    found = parsing_map(POINTS, (100, 100))
    for point, name in ((30, "nose"), (62, "upper lip"), (8, "background"), (33, "nose")):
        x, y = POINTS[point]
        assert PARSING[found[int(y) - (point == 33) + (point == 8), int(x)]] == name
    right_eye, left_eye = POINTS[36:42].mean(0).astype(int), POINTS[42:48].mean(0).astype(int)
    assert PARSING[found[right_eye[1], right_eye[0]]] == "right eye" and right_eye[0] < 50  # the image's left
    assert PARSING[found[left_eye[1], left_eye[0]]] == "left eye"
    assert PARSING[found[65, 30]] == "skin" and found[2, 2] == 0 and found.max() < len(PARSING) - 1


def test_a_mirrored_face_has_mirrored_parts() -> None:
    mirrored = POINTS[MIRRORED] * [-1, 1] + [100, 0]
    swap = np.arange(len(PARSING))
    swap[[2, 3, 4, 5]] = [3, 2, 5, 4]
    wanted = swap[parsing_map(POINTS, (100, 100))[:, ::-1]]
    assert (parsing_map(mirrored, (100, 100)) == wanted).mean() > 0.99


def test_pictures_of_parts_and_points() -> None:
    parsing = parsing_map(POINTS, (100, 100))
    picture = coloured(parsing)
    assert picture.shape == (100, 100, 3) and (picture[parsing == 6] == COLOURS[6]).all()
    dots = landmark_map(POINTS, (100, 100))
    assert dots.dtype == np.uint8 and set(np.unique(dots)) == {0, 255}
    for x, y in POINTS:
        assert dots[int(y), int(x)].all()
    assert (dots[..., 0] > 0).sum() < 68 * 16


def test_no_face_is_told_apart_from_background() -> None:
    nothing = parsing_map(None, (4, 6))
    assert nothing.shape == (4, 6) and (nothing == UNTOLD).all()
    assert not coloured(nothing).any() and not landmark_map(None, (4, 6)).any()
    with pytest.raises(ShapeError, match="expected classes under 11 or 255, got 12"):
        coloured(np.full((2, 2), 12, np.uint8))
