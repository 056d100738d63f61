"""The mesh: plumbing on a drawn network, and the real one where it was fetched."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import MissingExtraError, OptionError, ShapeError, WeightsError
from mien.faces import mesh as mesh_module
from mien.faces.mesh import CROP_PX, FIRST_CROP, FaceMesh, MeshLimits
from mien.faces.mesh_geometry import mirrored_points, points_68
from mien.faces.yunet import YuNet
from mien.types.faces import LANDMARKS_5
from mien.types.mesh import BLENDSHAPES
from mien.weights.bundle import stored

from .test_mesh_geometry import drawn_face, metadata

FIVE = FIRST_CROP * 100 + [60, 40]
"""Points of a face whose first crop is 100 px, from (60, 40) on."""


class Drawn:
    """Stands in for both networks: sees the crop, and says that a drawn face is at one place in it."""

    presence = 4.0
    crops: list[np.ndarray]
    given: np.ndarray

    def __init__(self, content: bytes, threads: int) -> None:
        self.content = content
        type(self).crops = []

    def run(self, values: np.ndarray) -> list[np.ndarray]:
        if self.content == b"blendshapes":
            type(self).given = values
            return [np.linspace(-0.5, 1.5, 52, dtype=np.float32)]
        type(self).crops.append(values[0])
        points = self.points().astype(np.float32)
        return [
            points.reshape(1, 1, 1, -1),
            np.full((1, 1, 1, 1), self.presence, np.float32),
            np.zeros((1, 1)),
        ]

    def points(self) -> np.ndarray:
        return drawn_face() + np.array([CROP_PX / 2, CROP_PX / 2, 0])


def task() -> bytes:
    """A `.task` file whose head is the drawn face."""
    content = io.BytesIO()
    head = drawn_face()[:468] * [0.1, -0.1, -0.1]
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("face_landmarks_detector.tflite", b"points")
        archive.writestr("face_blendshapes.tflite", b"blendshapes")
        archive.writestr(
            "geometry_pipeline_metadata_landmarks.binarypb", metadata(head, {168: 1, 305: 1, 133: 1, 300: 1})
        )
    return content.getvalue()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> type[Drawn]:
    network = type("OneDrawn", (Drawn,), {})
    monkeypatch.setattr(mesh_module, "_Network", network)
    return network


@pytest.fixture
def gradient() -> np.ndarray:
    """Red says the column, green the row."""
    rows, columns = np.mgrid[:200, :240].astype(np.uint8)
    return np.stack([columns, rows, np.zeros_like(rows)], 2)


def test_points_come_back_to_where_the_crop_took_them_from(drawn: type[Drawn], gradient: np.ndarray) -> None:
    mesh = FaceMesh(task=task()).read(gradient, FIVE[None])
    assert mesh.reasons == ("",) and len(drawn.crops) == 2
    drawn.points = lambda self: np.c_[
        np.floor(Drawn.points(self)[:, :2]) + 0.5, np.zeros(478)
    ]  # pixel centres
    mesh = FaceMesh(task=task()).read(gradient, FIVE[None])
    drawn_crop = drawn.crops[-1]
    column, row = np.floor(drawn(b"", 0).points()[:, :2]).astype(int).T
    place, inside = mesh.points_xyz_px[0, :, :2], ((column >= 0) & (row >= 0) & (column < 256) & (row < 256))
    assert inside.sum() > 300
    away = (
        drawn_crop[row[inside], column[inside], :2] * 255 + 0.5 - place[inside]
    )  # pixel (0, 0) covers [0, 1)
    assert away.min() > -1.1 and away.max() < 0.1  # Pillow cuts off the fraction
    assert away.mean(0) == pytest.approx(np.array([-0.5, -0.5]), abs=0.1)


def test_the_second_crop_is_around_the_points_and_upright(drawn: type[Drawn], gradient: np.ndarray) -> None:
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    leaning = (FIVE - 110) @ turn.T + 110
    mesh = FaceMesh(task=task()).read(gradient, np.stack([FIVE, leaning]))
    across = mesh.points_xyz_px[1, 263, :2] - mesh.points_xyz_px[1, 33, :2]
    assert np.arctan2(across[1], across[0]) == pytest.approx(0.5, abs=1e-3)
    assert mesh.pose_ypr_rad == pytest.approx(np.array([[0, 0, 0], [0, 0, 0.5]]), abs=1e-3)
    given = drawn.given[0]  # the blendshape net gets the face without its lean
    assert (given[146 - 10] - given[146 - 5])[1] == pytest.approx(0, abs=0.5)


def test_blendshapes_are_cut_to_their_range(drawn: type[Drawn], gradient: np.ndarray) -> None:
    shapes = FaceMesh(task=task()).read(gradient, FIVE[None]).blendshapes
    assert (shapes.min(), shapes.max(), shapes.shape) == (0, 1, (1, 52))


def test_a_crop_over_the_border_repeats_it(drawn: type[Drawn]) -> None:
    image = np.full((60, 50, 3), 200, np.uint8)
    mesh = FaceMesh(task=task()).read(image, (FIVE - [90, 70])[None])
    assert mesh.reasons == ("",)
    assert all((crop == np.float32(200 / 255)).all() for crop in drawn.crops)


def test_a_face_that_cannot_be_read_is_nan_with_a_reason(drawn: type[Drawn], gradient: np.ndarray) -> None:
    reader = FaceMesh(task=task())
    small, nowhere, one = FIVE * 0.3, np.full((5, 2), np.nan), np.ones((5, 2))
    mesh = reader.read(gradient, np.stack([small, nowhere, one, FIVE]))
    assert mesh.reasons[0] == "too small (crop of 30 px, limit 32 px)"
    assert mesh.reasons[1] == mesh.reasons[2] == "no five points to place the crop by"
    assert mesh.told.tolist() == [False, False, False, True]
    for name in ("points_xyz_px", "blendshapes", "pose_ypr_rad", "position_xyz_cm"):
        assert np.isnan(getattr(mesh, name)[:3]).all() and np.isfinite(getattr(mesh, name)[3]).all()


def test_low_presence_is_told_and_nothing_else(drawn: type[Drawn], gradient: np.ndarray) -> None:
    drawn.presence = -2.0
    mesh = FaceMesh(task=task()).read(gradient, FIVE[None])
    assert mesh.reasons == ("low presence (0.12, limit 0.5)",)
    assert mesh.presence[0] == pytest.approx(1 / (1 + np.exp(2)))
    assert np.isnan(mesh.points_xyz_px).all() and np.isnan(mesh.blendshapes).all()


def test_a_face_turned_too_far_is_nan(drawn: type[Drawn], gradient: np.ndarray) -> None:
    cos, sin = np.cos(1.0), np.sin(1.0)
    turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    drawn.points = lambda self: drawn_face() @ turn.T + np.array([128, 128, 0])
    assert FaceMesh(task=task()).read(gradient, FIVE[None]).pose_ypr_rad[0, 0] == pytest.approx(1.0, abs=1e-3)
    mesh = FaceMesh(task=task(), limits=MeshLimits(max_yaw_rad=0.9)).read(gradient, FIVE[None])
    assert mesh.reasons == ("turned away (yaw 1.00 rad, limit 0.9 rad)",)
    assert np.isnan(mesh.points_xyz_px).all() and np.isnan(mesh.pose_ypr_rad).all()


def test_no_face_is_a_mesh_of_none(drawn: type[Drawn], gradient: np.ndarray) -> None:
    mesh = FaceMesh(task=task()).read(gradient, np.zeros((0, 5, 2)))
    assert len(mesh) == 0 and mesh.points_xyz_px.shape == (0, 478, 3)


def test_wrong_arguments_are_refused(drawn: type[Drawn], gradient: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="five points a face"):
        FaceMesh(task=task()).read(gradient, FIVE)
    with pytest.raises(ShapeError, match="RGB uint8"):
        FaceMesh(task=task()).read(gradient / 255, FIVE[None])
    with pytest.raises(OptionError, match="threads >= 0"):
        FaceMesh(threads=-1)
    with pytest.raises(WeightsError, match="lacks a part"):
        FaceMesh(task=b"nothing")


def test_without_the_file_the_error_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="run `mien weights fetch face_landmarker`"):
        FaceMesh()


def test_without_litert_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[mesh\]'"):
        FaceMesh(task=task())


@pytest.fixture(scope="module")
def reader() -> FaceMesh:
    pytest.importorskip("ai_edge_litert", reason="the mesh needs ai-edge-litert: pip install 'mien[mesh]'")
    if stored(["face_landmarker"])[0].state != "ok":
        pytest.skip("the landmarker was not fetched: mien weights fetch face_landmarker")
    return FaceMesh(threads=1)


def test_the_real_mesh_lies_on_the_five_points(
    reader: FaceMesh, detector: YuNet, portrait: np.ndarray
) -> None:
    faces = detector.detect([portrait])[0]
    mesh = reader.read(portrait, faces.landmarks_xy_px)
    assert mesh.reasons == ("",) and mesh.presence[0] > 0.9
    points, five = points_68(mesh)[0], faces.landmarks_xy_px[0]
    unit = np.linalg.norm(points[36] - points[45])
    found = [points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]]
    for name, place, expected in zip(LANDMARKS_5, found, five, strict=True):
        assert np.linalg.norm(place - expected) < 0.2 * unit, name
    assert mesh["mouthSmileLeft"][0] > 0.3 and mesh["mouthSmileRight"][0] > 0.3  # she smiles


def test_the_real_mesh_of_the_mirrored_picture_is_mirrored(
    reader: FaceMesh, detector: YuNet, portrait: np.ndarray
) -> None:
    mesh = reader.read(portrait, detector.detect([portrait])[0].landmarks_xy_px)
    other = np.ascontiguousarray(portrait[:, ::-1])
    back = reader.read(other, detector.detect([other])[0].landmarks_xy_px)
    points = back.points_xyz_px[0, mirrored_points(reader.head), :2] * [-1, 1] + [portrait.shape[1], 0]
    unit = np.linalg.norm(mesh.points_xyz_px[0, 33, :2] - mesh.points_xyz_px[0, 263, :2])
    assert np.linalg.norm(points - mesh.points_xyz_px[0, :, :2], axis=1).mean() < 0.04 * unit
    assert back.pose_ypr_rad[0] == pytest.approx(mesh.pose_ypr_rad[0] * [-1, 1, -1], abs=0.06)
    swapped = [
        BLENDSHAPES.index(name.replace("Left", "?").replace("Right", "Left").replace("?", "Right"))
        for name in BLENDSHAPES
    ]
    assert np.abs(back.blendshapes[0, swapped] - mesh.blendshapes[0]).mean() < 0.06


def test_left_is_the_subjects_left(reader: FaceMesh, detector: YuNet, portrait: np.ndarray) -> None:
    """Shut the eye on the picture's right, which is the subject's left, and it blinks."""
    five = detector.detect([portrait])[0].landmarks_xy_px
    mesh = reader.read(portrait, five)
    eye = mesh.points_xyz_px[0, [362, 263, 386, 374], :2]
    low, high = eye.min(0).astype(int) - 2, eye.max(0).astype(int) + 3
    winking = portrait.copy()
    skin = portrait[high[1] + 4 : high[1] + 6, low[0] : high[0]].mean((0, 1))
    winking[low[1] : high[1], low[0] : high[0]] = skin
    line = round(float(eye[3, 1]))
    winking[line : line + 1, low[0] + 2 : high[0] - 2] = skin * 0.4
    shut = reader.read(winking, five)
    more = {
        side: float(shut[f"eyeBlink{side}"][0] - mesh[f"eyeBlink{side}"][0]) for side in ("Left", "Right")
    }
    assert more["Left"] > more["Right"] + 0.05


def test_the_real_mesh_of_a_leaning_picture_leans(
    reader: FaceMesh, detector: YuNet, portrait: np.ndarray
) -> None:
    five = detector.detect([portrait])[0].landmarks_xy_px
    mesh = reader.read(portrait, five)
    leaning = np.asarray(Image.fromarray(portrait).rotate(-30, Image.Resampling.BILINEAR))  # clockwise
    middle = np.array(portrait.shape[1::-1]) / 2
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    turned = (five - middle) @ np.array([[cos, -sin], [sin, cos]]).T + middle
    back = reader.read(leaning, turned)
    assert back.pose_ypr_rad[0, 2] - mesh.pose_ypr_rad[0, 2] == pytest.approx(np.pi / 6, abs=0.05)
    assert np.abs(back.blendshapes - mesh.blendshapes).mean() < 0.05
