"""The parts of a face from 68 points, and how much of a heat map lies in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mien.errors import ShapeError
from mien.transforms.shape68 import expect_points, face_side

ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class RegionScore:
    """A heat map in one region.

    Attributes:
        share: of the map's whole sum that lies in the region, 0 to 1; NaN where the map is zero everywhere.
        mean: of the map over the region's pixels; NaN where it has none.
        area: the region's share of the pixels, 0 to 1. An even map has a share equal to it.
    """

    share: float
    mean: float
    area: float


def face_regions(points_xy_px: np.ndarray, size_hw_px: tuple[int, int]) -> dict[str, np.ndarray]:
    """Which pixel belongs to which part of the face; each pixel to one.

    The parts are polygons through the points, our own choice: brows a band of 0.06 of the face's side, eyes from there to
    1.5 times their lower outline, the mouth 1.15 times the lips, the upper lip from the nose to there, the forehead up to
    0.3 of the height from the nose's root to the chin above the brows. Where two overlap, the first of the order here
    wins. Left and right are the subject's.

    Args:
        points_xy_px: (68, 2).
        size_hw_px: height and width.

    Returns:
        name -> bool (H, W): right_brow, left_brow, right_eye, left_eye, mouth, nose, upper_lip, chin, right_cheek,
        left_cheek, forehead, elsewhere. A part outside the picture is false everywhere.

    Raises:
        ShapeError: not 68 points, or both eyes at one place.
    """
    points = expect_points(points_xy_px)
    free = np.ones(size_hw_px, bool)
    regions = {}
    for name, outline in _outlines(points, face_side(points)).items():
        regions[name] = _inside(outline, size_hw_px) & free
        free &= ~regions[name]
    return {**regions, ELSEWHERE: free}


def region_scores(heat: np.ndarray, regions: Mapping[str, np.ndarray]) -> dict[str, RegionScore]:
    """How much of a map lies in each region; pixels where the map is NaN, outside the crop, do not count.

    Args:
        heat: (H, W), not negative.
        regions: name -> bool (H, W), as `face_regions` gives them.

    Raises:
        ShapeError: other shapes, or a negative value.
    """
    heat = np.asarray(heat, float)
    known = ~np.isnan(heat)
    if heat.ndim != 2 or (heat[known] < 0).any():
        raise ShapeError(
            f"expected a map (H, W) of values from 0 on, got {heat.shape}, least {np.nanmin(heat):g}"
        )
    total = heat[known].sum()
    scores = {}
    for name, region in regions.items():
        if region.shape != heat.shape:
            raise ShapeError(f"expected the region {name!r} of shape {heat.shape}, got {region.shape}")
        values = heat[region & known]
        scores[name] = RegionScore(
            share=float(values.sum() / total) if total > 0 else float("nan"),
            mean=float(values.mean()) if len(values) else float("nan"),
            area=len(values) / max(1, int(known.sum())),
        )
    return scores


def _outlines(at: np.ndarray, side: float) -> dict[str, np.ndarray]:
    """Corners (M, 2) of each part."""

    def enlarged(rows: slice, factor: float) -> np.ndarray:
        centre = at[rows].mean(0)
        return centre + (at[rows] - centre) * factor

    def band(rows: slice) -> np.ndarray:
        half = np.array([0, 0.03 * side])
        return np.concatenate([at[rows] - half, (at[rows] + half)[::-1]])

    across, down = np.array([side, 0]), np.array([0, side])
    up = 0.3 * (at[27] - at[8])
    nose = [at[27] - 0.04 * across, at[31] - 0.03 * across, at[33] + 0.02 * down, at[35] + 0.03 * across]
    return {
        "right_brow": band(slice(17, 22)),
        "left_brow": band(slice(22, 27)),
        "right_eye": np.concatenate([at[17:22], enlarged(slice(36, 42), 1.5)[[3, 4, 5, 0]]]),
        "left_eye": np.concatenate([at[22:27], enlarged(slice(42, 48), 1.5)[[3, 4, 5, 0]]]),
        "mouth": enlarged(slice(48, 60), 1.15),
        "nose": np.array([*nose, at[27] + 0.04 * across]),
        "upper_lip": at[[31, 32, 33, 34, 35, 54, 53, 52, 51, 50, 49, 48]],
        "chin": at[[48, 5, 6, 7, 8, 9, 10, 11, 54, 55, 56, 57, 58, 59]],
        "right_cheek": at[[0, 1, 2, 3, 4, 5, 48, 31, 28, 39, 40, 41, 36]],
        "left_cheek": at[[16, 15, 14, 13, 12, 11, 54, 35, 28, 42, 47, 46, 45]],
        "forehead": np.concatenate([at[17:22], at[[27]], at[22:27], at[[26]] + up, at[[17]] + up]),
    }


def _inside(outline: np.ndarray, size_hw_px: tuple[int, int]) -> np.ndarray:
    """Pixels (H, W) whose centre lies inside a polygon, by the even-odd rule."""
    y, x = np.mgrid[: size_hw_px[0], : size_hw_px[1]] + 0.5
    inside = np.zeros(size_hw_px, bool)
    for (x1, y1), (x2, y2) in zip(outline, np.roll(outline, -1, 0), strict=True):
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            inside ^= crosses & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside
