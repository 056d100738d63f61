"""How far found landmarks are from annotated ones: normalised mean error, failure rate, area under the curve."""

from __future__ import annotations

import numpy as np

from mien.errors import ShapeError
from mien.metrics.checks import expect_values

OUTER_EYE_CORNERS_68 = (36, 45)
"""Of the 300-W mark-up, counted from 0; their distance is the usual unit (300-W, HELEN, AFW)."""


def normalised_errors(found: np.ndarray, true: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Mean distance of each face's points over that face's own unit of length, (N,), in [0, inf), 0 best.

    Often given times 100.

    The mean of it is the NME. A face where nothing was found is not in the arrays; say how many there were, or
    count each as a failure (`failure_rate`).

    Args:
        found: (N, L, 2) points of N faces.
        true: (N, L, 2) annotated points, in the same pixels.
        unit: (N,) length to divide by; see `interocular`, `interpupillary`, `box_size`.

    Raises:
        ShapeError: uneven or empty arrays, NaN, or a unit that is not positive.
    """
    found, true = _points(found, "found points"), _points(true, "annotated points")
    unit = expect_values(unit, "units of length")
    if found.shape != true.shape or len(unit) != len(found):
        raise ShapeError(
            f"expected two arrays (N, L, 2) and N units, got {found.shape}, {true.shape}, {unit.shape}"
        )
    if not (unit > 0).all():
        raise ShapeError(f"expected units of length over 0, got {unit.min()}; are two reference points one?")
    return np.linalg.norm(found - true, axis=2).mean(1) / unit


def interocular(true: np.ndarray, corners: tuple[int, int] = OUTER_EYE_CORNERS_68) -> np.ndarray:
    """Distance of the eyes' outer corners, (N,) in [0, inf), of annotated points (N, L, 2)."""
    true = _points(true, "annotated points")
    return np.linalg.norm(true[:, corners[0]] - true[:, corners[1]], axis=1)


def interpupillary(
    true: np.ndarray,
    right: tuple[int, ...] = tuple(range(36, 42)),
    left: tuple[int, ...] = tuple(range(42, 48)),
) -> np.ndarray:
    """Distance of the eyes' middles, (N,) in [0, inf): the means of the points around each eye (300-W's 36..41 and 42..47)."""
    true = _points(true, "annotated points")
    return np.linalg.norm(true[:, right].mean(1) - true[:, left].mean(1), axis=1)


def box_size(true: np.ndarray) -> np.ndarray:
    """Square root of the area of the annotated points' bounding box, (N,) in [0, inf), as AFLW2000 does."""
    true = _points(true, "annotated points")
    return np.sqrt((true.max(1) - true.min(1)).prod(1))


def failure_rate(errors: np.ndarray, threshold: float) -> float:
    """Share of faces with an error over `threshold`, in [0, 1], 0 best. A face not found counts with an error of infinity.

    Raises:
        ShapeError: no face, NaN, or a threshold that is not positive.
    """
    return float((_errors(errors, threshold) > threshold).mean())


def area_under_errors(errors: np.ndarray, threshold: float) -> float:
    """Area under the curve "share of faces with an error up to e", from 0 to `threshold`, over it; in [0, 1], 1 best.

    The exact integral of the steps: the mean of max(0, 1 - error / threshold). A face not found counts with
    infinity, that is 0.

    Raises:
        ShapeError: no face, NaN, or a threshold that is not positive.
    """
    return float(np.maximum(0, 1 - _errors(errors, threshold) / threshold).mean())


def _errors(errors: np.ndarray, threshold: float) -> np.ndarray:
    errors = np.asarray(errors, float)
    if errors.ndim != 1 or not len(errors) or np.isnan(errors).any() or (errors < 0).any():
        raise ShapeError(f"expected a list of errors of at least 0, infinite where not found, got {errors}")
    if not threshold > 0:
        raise ShapeError(f"expected a threshold over 0, got {threshold}")
    return errors


def _points(points: np.ndarray, name: str) -> np.ndarray:
    points = np.asarray(points, float)
    if points.ndim != 3 or points.shape[2] != 2 or not points.size:
        raise ShapeError(f"expected {name} (N, L, 2), N and L at least 1, got {points.shape}")
    if not np.isfinite(points).all():
        raise ShapeError(
            f"expected finite {name}, got NaN or infinite ones. Take out faces that were not found."
        )
    return points
