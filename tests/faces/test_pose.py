"""The sign convention: on a turned mean face, and by mirroring and turning real pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mien.faces.pose import MEAN_FACE_XYZ, pose_from_points
from mien.faces.yunet import YuNet


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Nodded, then turned, then leaned."""
    cos, sin = np.cos, np.sin
    # The nose is -z. Its image x must grow with yaw, its image y must fall with pitch.
    about_y = np.array([[cos(yaw), 0, -sin(yaw)], [0, 1, 0], [sin(yaw), 0, cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, cos(pitch), sin(pitch)], [0, -sin(pitch), cos(pitch)]])
    about_z = np.array([[cos(roll), -sin(roll), 0], [sin(roll), cos(roll), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def turned_points(yaw: float = 0, pitch: float = 0, roll: float = 0, scale: float = 50) -> np.ndarray:
    """(1, 5, 2) of the turned mean face, seen from far away."""
    turned = MEAN_FACE_XYZ @ rotation(yaw, pitch, roll).T
    return (turned[:, :2] * scale + [320, 240])[None]


def test_the_mean_face_looks_ahead() -> None:
    assert pose_from_points(turned_points())[0] == pytest.approx([0, 0, 0], abs=1e-3)


def test_the_turned_face_does_what_its_angles_say() -> None:
    nose, eyes = 2, slice(0, 2)
    middle = turned_points()[0, eyes].mean(0)
    assert turned_points(yaw=0.3)[0, nose, 0] > middle[0]
    assert turned_points(pitch=0.3)[0, nose, 1] < turned_points()[0, nose, 1]
    right_eye, left_eye = turned_points(roll=0.3)[0, eyes]
    assert left_eye[1] > right_eye[1]


@pytest.mark.parametrize("angle", [-0.7, -0.3, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_angle_at_a_time_is_recovered(axis: int, angle: float) -> None:
    angles = np.zeros(3)
    angles[axis] = angle
    assert pose_from_points(turned_points(*angles))[0] == pytest.approx(angles, abs=0.02)


@pytest.mark.parametrize("roll", [-0.6, 0.0, 0.4])
@pytest.mark.parametrize(("yaw", "pitch"), [(0.4, 0.0), (-0.5, 0.0), (0.0, 0.4), (0.3, -0.4)])
def test_yaw_and_pitch_are_where_the_nose_points_in_the_camera(yaw: float, pitch: float, roll: float) -> None:
    """Also for a leaning head: right and up are the picture's, as the convention says."""
    x, y, z = rotation(yaw, pitch, roll) @ [0, 0, -1]
    found = pose_from_points(turned_points(yaw, pitch, roll))[0]
    assert found[:2] == pytest.approx([np.arctan2(x, -z), -np.arcsin(y)], abs=0.02)
    assert np.sign(found[2]) == np.sign(np.round(roll + 1e-9, 6)) or abs(found[2]) < 0.2


@pytest.mark.parametrize(("scale", "shift"), [(0.1, (0, 0)), (10, (-500, 900)), (1, (1e4, 1e4))])
def test_size_and_place_do_not_matter(scale: float, shift: tuple[float, float]) -> None:
    points = turned_points(0.3, -0.2, 0.1)
    assert pose_from_points(points * scale + shift) == pytest.approx(pose_from_points(points), abs=1e-3)


@pytest.mark.parametrize("angles", [(0.4, 0.2, 0.3), (-0.6, -0.3, 0.1), (0.2, 0.4, -0.5)])
def test_mirrored_points_change_the_sign_of_yaw_and_roll(angles: tuple[float, float, float]) -> None:
    points = turned_points(*angles)
    mirrored = points[:, [1, 0, 2, 4, 3]] * [-1, 1] + [640, 0]
    expected = pose_from_points(points)[0] * [-1, 1, -1]
    assert pose_from_points(mirrored)[0] == pytest.approx(expected, abs=1e-3)


def test_faces_are_independent_and_none_is_none() -> None:
    both = np.concatenate([turned_points(0.3), turned_points(0, -0.3, 0.2)])
    found = pose_from_points(both)
    assert found.shape == (2, 3)
    assert found.dtype == np.float32
    assert found[0] == pytest.approx(pose_from_points(both[:1])[0])
    assert pose_from_points(np.zeros((0, 5, 2))).shape == (0, 3)


def test_points_at_one_place_give_finite_angles() -> None:
    assert np.isfinite(pose_from_points(np.full((1, 5, 2), 7.0))).all()


@pytest.mark.parametrize("name", ["astronaut", "hopper"])
def test_mirrored_portraits(name: str, detector: YuNet, request: pytest.FixtureRequest) -> None:
    image = request.getfixturevalue(name)
    plain, mirrored = (
        pose_from_points(faces.landmarks_xy_px)[0]
        for faces in detector.detect([image, np.ascontiguousarray(image[:, ::-1])])
    )
    # The five points move by a pixel or two when a picture is mirrored: 0.15 rad for a face of 90 px.
    assert mirrored == pytest.approx(plain * [-1, 1, -1], abs=0.15)


@pytest.mark.parametrize("name", ["astronaut", "hopper"])
@pytest.mark.parametrize("degrees", [-20, 20])
def test_leaning_portraits(name: str, degrees: int, detector: YuNet, request: pytest.FixtureRequest) -> None:
    image = request.getfixturevalue(name)
    # Pillow turns counter-clockwise; a positive roll leans clockwise.
    leaned = np.asarray(Image.fromarray(image).rotate(-degrees, Image.Resampling.BICUBIC))
    straight, turned = (
        pose_from_points(detector.detect([picture])[0].landmarks_xy_px)[0] for picture in (image, leaned)
    )
    # YuNet draws the eyes of a leaning face towards the level (so does OpenCV's build of it), and the smaller
    # the face, the more: the sign is sure, a third of the angle is there, and never more than all of it.
    share = (turned[2] - straight[2]) / np.radians(degrees)
    assert 0.3 < share < 1.15
