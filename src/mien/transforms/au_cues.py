"""Where in a face an action unit shows: filled ellipses from 68 points, and their union for an expression.

Source: Belharbi et al., "Guided Interpretable Facial Expression Recognition via Spatial Action Unit Cues", FG 2024, and the
authors' repository (sbelharbi/interpretable-fer-aus, commit 66e2bde), whose units are numbered 0 to 19 (`REPOSITORY`).

Differs from the repository: lengths that it gives in pixels, or in shares of the picture, are shares of the face here
(`face_side`; 224 of its pixels are one side), so that a map does not change with the picture's size. The chin's centre (AU17)
lies under the middle of the lip, the second centre of AU20 at the left mouth corner and an eye's height is that of both points
of each lid, where the repository has points 59, 50 and one point of each lid: both sides of a face then have the same map.
The repository's 10 and 5 pixels stand in for a half axis of 0 alone; here a half axis is never less than that. Maps are softened
at the size asked for, not at 28 x 28. Where nothing of a map is inside the picture there is no map, `None`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from mien.errors import LabelError
from mien.labels.action_units import unit_number
from mien.labels.expressions import EXPRESSIONS
from mien.transforms.shape68 import expect_points, face_side

REPOSITORY: tuple[int, ...] = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26, 43, 27, 16)
"""FACS number of the repository's unit 0, 1, ..., 19."""

CODEBOOK: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "angry": (4, 5, 7, 10, 17, 23, 24, 25, 26),
        "disgust": (5, 9, 16, 17, 25, 26),
        "fear": (1, 2, 4, 5, 20, 25, 26, 27),
        "happy": (6, 12, 25),
        "sad": (1, 4, 6, 15, 17),
        "surprise": (1, 2, 5, 26, 27),
    }
)
"""Expression -> FACS numbers of the units that guide it, as the repository has them; neutral has none."""

Ellipse = tuple[float, float, float, float]
"""Centre x and y, half axes along x and y."""

PIXEL = 1 / 224
"""One of the repository's pixels, as a share of the face's side."""


def unit_map(unit: int | str, points_xy_px: np.ndarray, size_hw_px: tuple[int, int]) -> np.ndarray | None:
    """Where a unit shows: 1 inside its ellipses, 0 elsewhere.

    Args:
        unit: FACS number, or a label such as "AU12".
        points_xy_px: (68, 2).
        size_hw_px: height and width of the map.

    Returns:
        float32 (H, W), `None` where no pixel's centre lies inside.

    Raises:
        LabelError: no such unit, or one without a place here.
        ShapeError: not 68 points, or both eyes at one place.
    """
    number = unit_number(unit)
    if number not in REPOSITORY:
        raise LabelError(
            f"expected a unit with a place, {', '.join(f'AU{one}' for one in sorted(REPOSITORY))}, got AU{number}"
        )
    points = expect_points(points_xy_px)
    height, width = size_hw_px
    y, x = np.mgrid[:height, :width] + 0.5
    inside = np.zeros((height, width), bool)
    for centre_x, centre_y, half_x, half_y in _ellipses(number, points, face_side(points)):
        inside |= ((x - centre_x) / half_x) ** 2 + ((y - centre_y) / half_y) ** 2 <= 1
    return inside.astype(np.float32) if inside.any() else None


def expression_map(
    expression: str, points_xy_px: np.ndarray, size_hw_px: tuple[int, int]
) -> np.ndarray | None:
    """The largest of the maps of an expression's units, the edges of each softened by a 3 x 3 mean: largest value 1.

    Args:
        expression: mien's name.
        points_xy_px, size_hw_px: as for `unit_map`.

    Returns:
        float32 (H, W) in [0, 1]; `None` where the expression has no units (neutral, contempt), or none shows inside.

    Raises:
        LabelError: no such expression.
    """
    if expression not in EXPRESSIONS:
        raise LabelError(f"expected an expression of {', '.join(EXPRESSIONS)}, got {expression!r}")
    found = [unit_map(unit, points_xy_px, size_hw_px) for unit in CODEBOOK.get(expression, ())]
    there = [one for one in found if one is not None]
    if not there:
        return None
    soft = np.maximum.reduce([_mean_3x3(one) for one in there])
    return soft / soft.max()


def _mean_3x3(values: np.ndarray) -> np.ndarray:
    """Mean of each pixel and its eight neighbours; the border is repeated."""
    padded = np.pad(values, 1, mode="edge")
    height, width = values.shape
    shifted = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.stack(shifted).mean(0, dtype=np.float32)


def _ellipses(unit: int, at: np.ndarray, side: float) -> list[Ellipse]:
    """The repository's construction of each unit, lengths as shares of the face."""
    pixel = side * PIXEL

    def circle(x: float, y: float) -> Ellipse:
        return (x, y, 20 * pixel, 20 * pixel)

    def between(first: int, second: int, least: float) -> Ellipse:
        half = np.maximum(np.abs(at[first] - at[second]) / 2, least * pixel)
        return (*((at[first] + at[second]) / 2), *half)

    if unit in (1, 2):
        return [(*at[point], side / 8, side / 10) for point in ((20, 23) if unit == 1 else (18, 25))]
    if unit == 4:
        return [between(19, 24, 10)]
    if unit in (5, 7, 43):
        return [_eye(at[eye], pixel, open_eye=unit == 5) for eye in (slice(36, 42), slice(42, 48))]
    if unit == 6:
        return [(at[point, 0], at[point, 1] + side / 6, side / 10, side / 10) for point in (41, 46)]
    if unit == 9:
        return [circle(at[point, 0], at[29, 1]) for point in (31, 35)]
    if unit == 10:
        return [circle(at[48, 0], at[50, 1]), circle(at[54, 0], at[52, 1])]
    if unit in (12, 15):
        return [circle(*at[48]), circle(*at[54])]
    if unit == 14:
        return [circle(at[48, 0] - 20 * pixel, at[48, 1]), circle(at[54, 0] + 20 * pixel, at[54, 1])]
    if unit == 16:
        return [circle(*at[59]), circle(*at[55])]
    if unit == 17:
        return [between(57, 8, 10)]
    if unit == 20:
        return [circle(*(at[48] + at[6]) / 2), circle(*(at[54] + at[10]) / 2)]
    if unit == 25:
        return [(*at[point], 25 * pixel, 10 * pixel) for point in (51, 57)]
    x, y = (at[48, 0] + at[54, 0]) / 2, (at[51, 1] + at[57, 1]) / 2  # 23, 24, 26, 27: the mouth's box
    half_x, half_y = abs(at[54, 0] - at[48, 0]) / 2, abs(at[57, 1] - at[51, 1]) / 2
    return [(x, y, max(half_x, 5 * pixel), max(half_y, 5 * pixel))]


def _eye(eye: np.ndarray, pixel: float, open_eye: bool) -> Ellipse:
    """An eye's ellipse from its six points, corners and lids; wider lids where it is not `open_eye`."""
    upper, lower = eye[1:3, 1].mean(), eye[4:6, 1].mean()
    tall = abs(upper - lower)
    half_y = max(tall / 2, 5 * pixel) if open_eye else (tall + 20 * pixel) / 2
    half_x = max(abs(eye[3, 0] - eye[0, 0]) / 2, 5 * pixel)
    return ((eye[0, 0] + eye[3, 0]) / 2, (upper + lower) / 2, half_x, half_y)
