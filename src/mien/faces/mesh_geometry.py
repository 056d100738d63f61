"""What follows from the 478 points by geometry: head pose, 68 points, openings of eyes and mouth, iris direction.

The mean head (468 points in centimetres) and the weights of the rigid fit come out of the `.task` file's own
geometry metadata (MediaPipe, Apache-2.0), read here without a protobuf library.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.errors import WeightsError
from mien.types.mesh import Mesh

SURFACE_POINTS = 468
RIGHT_EYE_OUTER, RIGHT_EYE_INNER, LEFT_EYE_INNER, LEFT_EYE_OUTER = 33, 133, 362, 263
POINTS_68 = np.array(
    [127, 234, 132, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 361, 454, 356,  # jaw
     70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
     168, 197, 5, 4, 240, 97, 2, 326, 460,  # nose
     33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
     61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87]  # mouth
)  # fmt: skip
"""The mesh point for each of the 68 points of the 300-W mark-up (the picture's left first, as it counts).

Our own: of the points on the mesh's outline, lids and lips the one whose mean distance to the mark-up is least
on the 870 faces of HELEN's train part, both sides together; corners of eyes and mouth and the chin were set."""
EYELIDS = ((160, 144), (159, 145), (158, 153)), ((387, 373), (386, 374), (385, 380))
"""Upper and lower lid, three pairs each, of the right eye and of the left."""
UPPER_LIP, LOWER_LIP, RIGHT_MOUTH, LEFT_MOUTH = 13, 14, 78, 308
"""Inner edge of the lips: the middles and the corners."""
RIGHT_IRIS, LEFT_IRIS = 468, 473
CAMERA_FIELD_RAD = np.deg2rad(63.0)
"""Vertical field of view of the assumed camera, MediaPipe's default; only `position_xyz_cm` depends on it."""


@dataclass(frozen=True, eq=False)
class HeadModel:
    """A mean head, and how much each of its points says about where the head is.

    Attributes:
        points_xyz_cm: (468, 3), x to the image's right, y down, z away from the camera, for a head that looks
            into the camera.
        weights: (468,), of the rigid fit; most are 0.
    """

    points_xyz_cm: np.ndarray
    weights: np.ndarray

    def pose(self, points_xyz_px: np.ndarray, size_wh_px: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Head pose of meshes: the weighted rigid fit, with scale, of the mean head to the points.

        Source: Umeyama, IEEE TPAMI 13(4), 1991, eqs. 40-42, with weights. The fit is orthographic: angles are
        those under which the head is seen, as in `mien.faces.pose`.

        Args:
            points_xyz_px: (N, 478, 3) as in `Mesh`; rows may be NaN.
            size_wh_px: width and height of the picture.

        Returns:
            float32 (N, 3) yaw, pitch, roll in radians, and float32 (N, 3) position in centimetres; see `position`.
        """
        pose = np.full((len(points_xyz_px), 3), np.nan, np.float32)
        place = pose.copy()
        for row, points in enumerate(points_xyz_px):
            if np.isfinite(points).all():
                rotation, scale, shift = self._fit(points[:SURFACE_POINTS].astype(float))
                pose[row] = angles(rotation)
                place[row] = position(scale, shift, size_wh_px)
        return pose, place

    def _fit(self, points: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        """Rotation (3, 3), pixels a centimetre and shift (3,) with points = scale * rotation @ head + shift."""
        share = self.weights / self.weights.sum()
        middle, target = share @ self.points_xyz_cm, share @ points
        head, seen = self.points_xyz_cm - middle, points - target
        left, strength, right = np.linalg.svd((seen * share[:, None]).T @ head)
        sign = np.array([1, 1, np.linalg.det(left) * np.linalg.det(right)])
        rotation = (left * sign) @ right
        scale = float((strength * sign).sum() / (share @ (head**2).sum(1)))
        return rotation, scale, target - scale * rotation @ middle


def angles(rotation: np.ndarray) -> np.ndarray:
    """Yaw, pitch, roll (3,) in radians of a rotation (3, 3) from head axes to picture axes (x right, y down, z away).

    The same reading as in `mien.faces.pose`: yaw and pitch are where the nose points, roll is the direction of
    the head's own x axis in the picture.
    """
    nose = -rotation[:, 2]
    yaw = np.arctan2(nose[0], -nose[2])
    pitch = -np.arcsin(np.clip(nose[1], -1, 1))
    return np.array([yaw, pitch, np.arctan2(rotation[1, 0], rotation[0, 0])])


def rotation_of(pose_ypr_rad: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) whose `angles` are given; the inverse of that function."""
    yaw, pitch, roll = (float(angle) for angle in pose_ypr_rad)
    away = -np.array([np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)])
    across = np.array([np.cos(roll), np.sin(roll), 0])
    across[2] = -(across @ away) / away[2]
    across /= np.linalg.norm(across)
    return np.column_stack([across, np.cross(away, across), away])


def in_head_frame(mesh: Mesh) -> np.ndarray:
    """Points (N, 478, 3) of faces turned to look ahead: x to the subject's left, y down, z away.

    The origin is between the outer corners of the eyes, and their distance is 1. Rows that were not told are NaN.
    """
    points = mesh.points_xyz_px.astype(float)
    right, left = points[:, RIGHT_EYE_OUTER], points[:, LEFT_EYE_OUTER]
    centred = points - ((right + left) / 2)[:, None]
    for row in np.flatnonzero(mesh.told):
        centred[row] = centred[row] @ rotation_of(mesh.pose_ypr_rad[row])
    return centred / np.linalg.norm(left - right, axis=1)[:, None, None]


def points_68(mesh: Mesh) -> np.ndarray:
    """The 68 points of the 300-W mark-up, float32 (N, 68, 2) in pixels of the picture; see `POINTS_68`."""
    return mesh.points_xyz_px[:, POINTS_68, :2]


def eye_opening(mesh: Mesh) -> np.ndarray:
    """Mean gap between the lids over the eye's width, (N, 2): the right eye, then the left; 0 is shut.

    Source: Soukupova and Cech, "Real-Time Eye Blink Detection using Facial Landmarks", 2016 (eye aspect ratio), in
    space instead of the picture and with three pairs of lid points instead of two.
    """
    points = mesh.points_xyz_px
    corners = (RIGHT_EYE_OUTER, RIGHT_EYE_INNER), (LEFT_EYE_OUTER, LEFT_EYE_INNER)
    gaps = [np.mean([_distance(points, *pair) for pair in pairs], 0) for pairs in EYELIDS]
    return np.stack([gap / _distance(points, *ends) for gap, ends in zip(gaps, corners, strict=True)], 1)


def mouth_opening(mesh: Mesh) -> np.ndarray:
    """Gap between the inner edges of the lips over the inner mouth's width, (N,); 0 is shut."""
    points = mesh.points_xyz_px
    return _distance(points, UPPER_LIP, LOWER_LIP) / _distance(points, RIGHT_MOUTH, LEFT_MOUTH)


def iris_direction(mesh: Mesh) -> np.ndarray:
    """Where each iris stands in its eye, (N, 2, 2): right eye, left eye; x to the subject's left, y up.

    Offset of the iris' middle from the middle between the eye's corners, over the eye's width, in the face turned
    to look ahead. It says where the eyes look against the head, not where in the room; no angle is claimed.
    """
    points = in_head_frame(mesh)
    found = []
    for iris, corners in (
        (RIGHT_IRIS, (RIGHT_EYE_OUTER, RIGHT_EYE_INNER)),
        (LEFT_IRIS, (LEFT_EYE_INNER, LEFT_EYE_OUTER)),
    ):
        middle = points[:, corners].mean(1)
        offset = (points[:, iris] - middle)[:, :2] * [1, -1]
        found.append(offset / _distance(points, *corners)[:, None])
    return np.stack(found, 1)


def mirrored_points(head: HeadModel) -> np.ndarray:
    """For each of the 478 points the one on the other side of the face, (478,)."""
    other = head.points_xyz_cm * [-1, 1, 1]
    away = np.linalg.norm(head.points_xyz_cm[:, None] - other[None], axis=2)
    return np.concatenate([away.argmin(1), [473, 476, 475, 474, 477, 468, 471, 470, 469, 472]])


def _distance(points: np.ndarray, first: int, second: int) -> np.ndarray:
    """Distance in space of two points of each face, (N,)."""
    return np.linalg.norm(points[:, first] - points[:, second], axis=1)


def position(scale: float, shift_px: np.ndarray, size_wh_px: tuple[int, int]) -> np.ndarray:
    """Where the head's middle is, (3,) in centimetres from the camera: x right, y down, z away.

    For a head of the mean model's size and a camera whose vertical field of view is `CAMERA_FIELD_RAD`: both are
    assumptions, so the distance is a rough one; differences over time of one person and camera are better.

    Args:
        scale: pixels a centimetre at the head.
        shift_px: (3,) place of the head model's origin in the picture; the third is not used.
        size_wh_px: width and height of the picture.
    """
    width, height = size_wh_px
    focal_px = height / 2 / np.tan(CAMERA_FIELD_RAD / 2)
    return np.array([(shift_px[0] - width / 2) / scale, (shift_px[1] - height / 2) / scale, focal_px / scale])


def read_head_model(metadata: bytes) -> HeadModel:
    """The mean head of a `.task` file's geometry metadata.

    The message holds one mesh (field 1, whose field 3 lists x, y, z, u, v of each vertex) and, for each point that
    counts in the fit, its index (field 1) and weight (field 2) under field 2 (found by reading the file; the names
    are in MediaPipe's geometry_pipeline_metadata.proto).

    Raises:
        WeightsError: the bytes are something else.
    """
    try:
        vertices, weights = [], np.zeros(SURFACE_POINTS)
        for field, content in _fields(metadata):
            if field == 1:
                vertices = [value for inner, value in _fields(content) if inner == 3]
            elif field == 2:
                entry = dict(_fields(content))
                weights[entry[1]] = entry[2]
        points = np.array(vertices, float).reshape(SURFACE_POINTS, 5)[:, :3]
    except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
        raise WeightsError(f"expected the geometry of a face landmarker, got other bytes: {error}") from None
    return HeadModel(points * [1, -1, -1], weights)  # the file's y goes up and its z to the camera


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a protobuf message: integers, float32, or bytes."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = content[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(content):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
        elif kind == 5:
            yield key >> 3, struct.unpack_from("<f", content, place)[0]
            place += 4
        elif kind == 2:
            length = varint()
            yield key >> 3, content[place : place + length]
            place += length
        else:
            raise ValueError(f"wire type {kind}")
