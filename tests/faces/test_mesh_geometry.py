"""Pose and measures on drawn heads whose answers are known."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from mien.errors import WeightsError
from mien.faces.mesh_geometry import (
    HeadModel,
    angles,
    eye_opening,
    in_head_frame,
    iris_direction,
    mouth_opening,
    points_68,
    position,
    read_head_model,
    rotation_of,
)
from mien.faces.pose import MEAN_FACE_XYZ, pose_from_points
from mien.types.mesh import Mesh

POSES = [(0, 0, 0), (0.4, 0, 0), (-0.7, 0.2, 0), (0, -0.4, 0), (0.3, 0.3, -0.6), (-0.5, -0.2, 0.4)]


def drawn_face() -> np.ndarray:
    """(478, 3) that looks ahead, outer corners of the eyes 100 apart and around the origin."""
    points = np.random.default_rng(0).uniform(-60, 60, (478, 3))
    places = {
        33: (-50, 0), 133: (-20, 0), 362: (20, 0), 263: (50, 0), 468: (-35, 0), 473: (35, 0),
        160: (-42, -3), 144: (-42, 3), 159: (-35, -4), 145: (-35, 4), 158: (-28, -3), 153: (-28, 3),
        387: (42, -3), 373: (42, 3), 386: (35, -4), 374: (35, 4), 385: (28, -3), 380: (28, 3),
        13: (0, 65), 14: (0, 75), 78: (-20, 70), 308: (20, 70), 61: (-25, 70), 291: (25, 70),
        168: (0, 0), 4: (0, 40), 117: (-35, 30), 346: (35, 30),
    }  # fmt: skip
    for index, place in places.items():
        points[index] = (*place, 0)
    return points


def mesh_of(points: np.ndarray, pose: np.ndarray, blendshapes: np.ndarray | None = None) -> Mesh:
    count = len(points)
    shapes = np.zeros((count, 52), np.float32) if blendshapes is None else blendshapes
    reasons = tuple("" if np.isfinite(face).all() else "not read" for face in points)
    return Mesh(points.astype(np.float32), np.ones(count), shapes, pose, np.zeros((count, 3)), reasons)


def turned_mesh(pose: tuple[float, float, float], face: np.ndarray | None = None) -> Mesh:
    points = (drawn_face() if face is None else face) @ rotation_of(np.array(pose)).T * 1.7 + [320, 240, 5]
    return mesh_of(points[None], np.array([pose], np.float32))


@pytest.mark.parametrize("pose", POSES)
def test_angles_and_rotation_are_each_others_inverse(pose: tuple[float, float, float]) -> None:
    rotation = rotation_of(np.array(pose))
    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert angles(rotation) == pytest.approx(pose)


@pytest.mark.parametrize("pose", POSES)
def test_the_convention_is_that_of_the_coarse_pose(pose: tuple[float, float, float]) -> None:
    seen = MEAN_FACE_XYZ @ rotation_of(np.array(pose)).T
    assert pose_from_points(seen[None, :, :2] * 80 + 200)[0] == pytest.approx(pose, abs=1e-3)


def test_signs() -> None:
    nose = np.array([0, 0, -1.0])
    assert (rotation_of(np.array([0.3, 0, 0])) @ nose)[0] > 0  # to the picture's right
    assert (rotation_of(np.array([0, 0.3, 0])) @ nose)[1] < 0  # up
    assert (rotation_of(np.array([0, 0, 0.3])) @ [1, 0, 0])[1] > 0  # the picture's right eye is lower


@pytest.mark.parametrize("pose", POSES)
def test_the_pose_of_a_turned_head_is_found(pose: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(1)
    weights = np.where(rng.random(468) < 0.1, rng.random(468), 0)
    head = HeadModel(rng.normal(0, 5, (468, 3)), weights)
    points = np.zeros((2, 478, 3))
    points[0, :468] = 12 * head.points_xyz_cm @ rotation_of(np.array(pose)).T + [400, 300, 20]
    points[0, :468][weights == 0] += 30  # points without weight do not count
    points[1] = np.nan
    found, place = head.pose(points, (640, 480))
    assert found[0] == pytest.approx(pose, abs=1e-5)
    focal = 240 / np.tan(np.deg2rad(63) / 2)
    assert place[0] == pytest.approx([80 / 12, 60 / 12, focal / 12], rel=1e-4)
    assert np.isnan(found[1]).all() and np.isnan(place[1]).all()


def test_a_head_twice_as_small_is_twice_as_far() -> None:
    near, far = (position(scale, np.array([320, 240, 0]), (640, 480)) for scale in (10, 5))
    assert far[2] == pytest.approx(2 * near[2])
    assert near[:2] == pytest.approx([0, 0])


@pytest.mark.parametrize("pose", POSES)
def test_the_head_frame_undoes_the_turn(pose: tuple[float, float, float]) -> None:
    assert in_head_frame(turned_mesh(pose))[0] == pytest.approx(drawn_face() / 100, abs=1e-5)


@pytest.mark.parametrize("pose", POSES)
def test_openings_do_not_depend_on_the_turn(pose: tuple[float, float, float]) -> None:
    mesh = turned_mesh(pose)
    assert eye_opening(mesh)[0] == pytest.approx([20 / 90, 20 / 90], rel=1e-4)
    assert mouth_opening(mesh) == pytest.approx([10 / 40], rel=1e-4)


@pytest.mark.parametrize("pose", POSES)
def test_irises_look_to_the_subjects_left_and_up(pose: tuple[float, float, float]) -> None:
    face = drawn_face()
    face[468], face[473] = (-32, -6, 0), (38, -6, 0)
    assert iris_direction(turned_mesh(pose, face))[0] == pytest.approx(np.array([[0.1, 0.2]] * 2), abs=1e-4)


def test_faces_that_were_not_told_stay_untold() -> None:
    points = np.stack([drawn_face(), np.full((478, 3), np.nan)])
    mesh = mesh_of(points, np.array([[0, 0, 0], [np.nan] * 3], np.float32))
    for measure in (eye_opening, mouth_opening, iris_direction, in_head_frame, points_68):
        found = measure(mesh)
        assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()


def message(field: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    length, head = len(content), bytes([field << 3 | 2])
    while length > 127:
        head, length = head + bytes([length & 127 | 128]), length >> 7
    return head + bytes([length]) + content


def number(field: int, value: float) -> bytes:
    return bytes([field << 3 | 5]) + struct.pack("<f", value)


def metadata(points: np.ndarray, weights: dict[int, float]) -> bytes:
    """The geometry part of a `.task` file, drawn."""
    mesh = b"\x08\x00\x10\x00" + b"".join(number(3, value) for value in np.c_[points, points[:, :2]].ravel())
    basis = [
        b"\x08" + bytes([index & 127 | 128, index >> 7]) + number(2, value)
        for index, value in weights.items()
    ]
    return message(1, mesh) + b"".join(message(2, entry) for entry in basis)


def test_the_head_is_read_and_turned_into_picture_axes() -> None:
    points = np.random.default_rng(2).normal(0, 5, (468, 3)).astype(np.float32)
    head = read_head_model(metadata(points, {4: 0.25, 301: 0.5}))
    assert head.points_xyz_cm == pytest.approx(points * [1, -1, -1])
    assert (head.weights[4], head.weights[301], head.weights.sum()) == (0.25, 0.5, 0.75)


@pytest.mark.parametrize(
    "content", [b"", b"\x07", b"\x0a\xff", b"not a protobuf at all", metadata(np.zeros((9, 3)), {})]
)
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(WeightsError, match="expected the geometry of a face landmarker"):
        read_head_model(content)
