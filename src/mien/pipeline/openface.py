"""Rows by the column names of OpenFace 2, which many analysis scripts of the field expect.

Names, numbering from 1, units and the rotation's convention (R = Rx Ry Rz; x to the image's right, y down, z away) follow
OpenFace's wiki page "Output Format" and its source. What differs is said here and in docs/conventions.md: gaze and the 3D points
are not written; a frame without a face is `success` 0 with empty cells, where OpenFace writes zeros; intensities are mien's,
from the mesh; and `path` and `error` stand besides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from mien.faces.mesh_geometry import points_68, rotation_of
from mien.faces.mesh_units import PRESENT
from mien.pipeline.table import Columns, Row, told
from mien.types.faces import Faces
from mien.types.media import Failure, FrameResult

INTENSITIES = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
"""Units with an intensity column, AU01_r and so on, 0 to 5."""
PRESENCES = (*INTENSITIES[:-1], 28, 45)
"""Units with a presence column, AU01_c and so on, 0 or 1."""

COLUMNS: Columns = {
    "path": str,
    "frame": int,
    "face_id": int,
    "timestamp": float,
    "confidence": float,
    "success": int,
    **dict.fromkeys((f"pose_{kind}{axis}" for kind in "TR" for axis in "xyz"), float),
    **dict.fromkeys((f"{axis}_{point}" for axis in "xy" for point in range(68)), float),
    **dict.fromkeys((f"AU{unit:02}_r" for unit in INTENSITIES), float),
    **dict.fromkeys((f"AU{unit:02}_c" for unit in PRESENCES), int),
    "error": str,
}
"""Name -> type. pose_T in millimetres, pose_R in radians, x and y in pixels, timestamp in seconds."""


def rows_of(result: FrameResult | Failure) -> list[Row]:
    """The rows of one result: one a face, one for a frame without a face or a file that failed."""
    blank: Row = {**dict.fromkeys(COLUMNS), "path": result.path}
    if isinstance(result, Failure):
        return [{**blank, "error": result.error}]
    blank |= {"frame": result.frame + 1, "timestamp": round(result.time_s or 0.0, 6)}
    if not len(result.faces):
        return [{**blank, "success": 0}]
    return [{**blank, **_face(result.faces, index)} for index in range(len(result.faces))]


def _face(faces: Faces, index: int) -> Row:
    mesh, units = faces.mesh, faces.action_units
    row: Row = {
        "face_id": index if faces.track_id is None else int(faces.track_id[index]),
        "confidence": round(float(faces.detection_score[index]), 4),
        "success": int(mesh is not None and bool(mesh.told[index])),
    }
    if mesh is None or units is None or not row["success"]:
        return row
    values: list[tuple[Iterable[str], np.ndarray, int]] = [
        (("pose_Tx", "pose_Ty", "pose_Tz"), 10 * mesh.position_xyz_cm[index], 2),
        (("pose_Rx", "pose_Ry", "pose_Rz"), euler_xyz(mesh.pose_ypr_rad[index]), 4),
    ]
    points = points_68(mesh)[index]
    values += [([f"{axis}_{n}" for n in range(68)], points[:, i], 2) for i, axis in enumerate("xy")]
    for names, numbers, digits in values:
        row |= {name: told(number, digits) for name, number in zip(names, numbers, strict=True)}
    for unit in units.units:
        value = told(units[unit][index], 3)
        if unit in INTENSITIES:
            row[f"AU{unit:02}_r"] = value
        if unit in PRESENCES and value is not None:
            row[f"AU{unit:02}_c"] = int(value >= PRESENT)
    return row


def euler_xyz(pose_ypr_rad: np.ndarray) -> np.ndarray:
    """(pitch, yaw, roll) about x, y, z, with R = Rx Ry Rz, of mien's yaw, pitch and roll; (3,) radians."""
    rotation = rotation_of(pose_ypr_rad)
    return np.array(
        [
            math.atan2(-rotation[1, 2], rotation[2, 2]),
            math.asin(float(np.clip(rotation[0, 2], -1, 1))),
            math.atan2(-rotation[0, 1], rotation[0, 0]),
        ]
    )
