"""The 68 points of a face: their order, the five points among them, and a mean face.

Order, 0-based, as in the 300-W annotations (Sagonas et al., "300 Faces In-The-Wild Challenge", 2013): jaw 0-16, brows 17-21
and 22-26, nose 27-30 and 31-35, eyes 36-41 and 42-47, outer lips 48-59, inner lips 60-67; on each line from the
image's left to its right, so that the subject's right side comes first.
"""

from __future__ import annotations

import numpy as np

from mien.errors import ShapeError

POINTS = 68

MIRRORED = np.array(
    [
        *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1),
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
        *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
    ]
)  # fmt: skip
"""Point i of a mirrored face is point MIRRORED[i] of the face."""

MEAN_FACE = np.array(
    [
        [0.1109, 0.3862], [0.1150, 0.4882], [0.1263, 0.5893], [0.1478, 0.6882], [0.1880, 0.7800], [0.2501, 0.8594],
        [0.3259, 0.9246], [0.4079, 0.9769], [0.5000, 0.9924], [0.5921, 0.9769], [0.6741, 0.9246], [0.7499, 0.8594],
        [0.8120, 0.7800], [0.8522, 0.6882], [0.8737, 0.5893], [0.8850, 0.4882], [0.8891, 0.3862], [0.1846, 0.3121],
        [0.2311, 0.2668], [0.2986, 0.2513], [0.3693, 0.2595], [0.4363, 0.2832], [0.5637, 0.2832], [0.6307, 0.2595],
        [0.7014, 0.2513], [0.7689, 0.2668], [0.8154, 0.3121], [0.5000, 0.3665], [0.5000, 0.4319], [0.5000, 0.4961],
        [0.5000, 0.5624], [0.4209, 0.6103], [0.4590, 0.6234], [0.5000, 0.6346], [0.5410, 0.6234], [0.5791, 0.6103],
        [0.2634, 0.3790], [0.3059, 0.3551], [0.3565, 0.3555], [0.4010, 0.3883], [0.3538, 0.3964], [0.3030, 0.3958],
        [0.5990, 0.3883], [0.6435, 0.3555], [0.6941, 0.3551], [0.7366, 0.3790], [0.6970, 0.3958], [0.6462, 0.3964],
        [0.3498, 0.7320], [0.4051, 0.7092], [0.4618, 0.6971], [0.5000, 0.7065], [0.5382, 0.6971], [0.5949, 0.7092],
        [0.6502, 0.7320], [0.5964, 0.7854], [0.5413, 0.8091], [0.5000, 0.8135], [0.4587, 0.8091], [0.4036, 0.7854],
        [0.3729, 0.7346], [0.4613, 0.7290], [0.5000, 0.7332], [0.5387, 0.7290], [0.6271, 0.7346], [0.5393, 0.7601],
        [0.5000, 0.7648], [0.4607, 0.7601],
    ]
)  # fmt: skip
"""Mean 68 points in a crop aligned by `mien_face_v1`, in units of its side: (68, 2).

Mean over 1,537 annotated faces (300-W annotations of HELEN, 1,200 faces, and AFW, 337), each aligned by its
five points (`five_points`), then made symmetric (largest change 0.008). A point's standard deviation is 0.035 across
and 0.029 down, in the mean over points. A mean face is neutral on average: it says where the parts of a face are, not
how this face moves them.
"""

FACE_PER_EYES = 1 / 0.36
"""Side of an aligned crop over the distance of the eyes' centres, as the template `mien_face_v1` has it."""


def expect_points(points_xy_px: np.ndarray) -> np.ndarray:
    """68 finite points (68, 2) as float64; `ShapeError` otherwise."""
    points = np.asarray(points_xy_px, float)
    if points.shape != (POINTS, 2) or not np.isfinite(points).all():
        raise ShapeError(
            f"expected {POINTS} finite points (68, 2), got {points.shape}. See mien.transforms.shape68"
        )
    return points


def five_points(points_xy_px: np.ndarray) -> np.ndarray:
    """Right eye, left eye, nose tip, right and left mouth corner (5, 2) of 68 points; an eye is its points' mean."""
    points = expect_points(points_xy_px)
    return np.stack([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])


def face_side(points_xy_px: np.ndarray) -> float:
    """Side in pixels of the aligned crop that such a face would fill; `ShapeError` where both eyes coincide."""
    right, left, *_ = five_points(points_xy_px)
    side = float(np.linalg.norm(left - right)) * FACE_PER_EYES
    if side <= 0:
        raise ShapeError("expected 68 points with two eyes apart, got both at one place")
    return side
