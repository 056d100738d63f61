"""Maps of where the parts of a face are, from 68 points: classes of a parsing, and pictures of them and of the points.

They stand in for a parsing network, which is not to be had here: polygons through the points (`regions`), not outlines that
were seen. There is no hair among them.
"""

from __future__ import annotations

import numpy as np

from mien.errors import ShapeError
from mien.transforms.regions import face_regions
from mien.transforms.shape68 import expect_points, face_side

PARSING = (
    "background", "skin", "right brow", "left brow", "right eye", "left eye", "nose", "upper lip", "inner mouth",
    "lower lip", "hair",
)  # fmt: skip
"""The 11 classes of LaPa (Liu et al., AAAI 2020), by number. Right is the subject's, as MARLIN's code has it."""
UNTOLD = 255
"""Class of every pixel of a frame without a face."""
COLOURS = np.array(
    [
        [0, 0, 0], [224, 172, 105], [160, 82, 45], [100, 60, 20], [0, 160, 255], [0, 80, 200], [0, 200, 80],
        [255, 0, 80], [120, 0, 40], [200, 0, 120], [90, 90, 90],
    ],
    np.uint8,
)  # fmt: skip
"""A colour a class, (11, 3), chosen by us."""
_CLASS = {
    "right_brow": 2, "left_brow": 3, "right_eye": 4, "left_eye": 5, "nose": 6, "mouth": 7, "elsewhere": 0
}  # fmt: skip


def parsing_map(points_xy_px: np.ndarray | None, size_hw_px: tuple[int, int]) -> np.ndarray:
    """Class of each pixel, uint8 (H, W), by number in `PARSING`.

    The whole mouth is "upper lip"; cheeks, chin and forehead are skin; hair is never there.

    Args:
        points_xy_px: (68, 2), or `None` for a frame without a face: all `UNTOLD`.
        size_hw_px: height and width.
    """
    if points_xy_px is None:
        return np.full(size_hw_px, UNTOLD, np.uint8)
    found = np.zeros(size_hw_px, np.uint8)
    for name, inside in face_regions(points_xy_px, size_hw_px).items():
        found[inside] = _CLASS.get(name, 1)
    return found


def coloured(parsing: np.ndarray) -> np.ndarray:
    """A parsing (..., H, W) as a picture (..., H, W, 3), black where nothing is told.

    Raises:
        ShapeError: a class that is not of `PARSING`.
    """
    known = np.where(parsing == UNTOLD, 0, parsing)
    if known.max(initial=0) >= len(PARSING) or known.min(initial=0) < 0:
        raise ShapeError(f"expected classes under {len(PARSING)} or {UNTOLD}, got {parsing.max()}")
    return COLOURS[known]


def landmark_map(points_xy_px: np.ndarray | None, size_hw_px: tuple[int, int]) -> np.ndarray:
    """The 68 points as white discs on black, uint8 (H, W, 3); their radius is a 60th of the face's side, 1 px at least.

    Args:
        points_xy_px: (68, 2), or `None` for a frame without a face: all black.
        size_hw_px: height and width.
    """
    drawn = np.zeros((*size_hw_px, 3), np.uint8)
    if points_xy_px is None:
        return drawn
    points = expect_points(points_xy_px)
    radius = max(1.0, face_side(points) / 60)
    y, x = np.mgrid[: size_hw_px[0], : size_hw_px[1]] + 0.5
    for point_x, point_y in points:
        drawn[(x - point_x) ** 2 + (y - point_y) ** 2 <= radius**2] = 255
    return drawn
