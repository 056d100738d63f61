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

SURFACE_POINTS = 468
RIGHT_EYE_OUTER, RIGHT_EYE_INNER, LEFT_EYE_INNER, LEFT_EYE_OUTER = 33, 133, 362, 263
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
