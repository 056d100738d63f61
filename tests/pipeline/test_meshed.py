"""What the mesh adds to the results, the table, the overlay and OpenFace's columns."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mien.faces.mesh_geometry import rotation_of
from mien.pipeline import openface
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.overlay import draw
from mien.pipeline.table import columns_of, mesh_columns, open_writer, rows_of
from mien.types.faces import Faces
from mien.types.media import Failure, FrameResult


def result_of(faces: Faces, image: np.ndarray, time_s: float | None = None) -> FrameResult:
    return FrameResult("a.jpg", 4, time_s, faces, (image.shape[1], image.shape[0]))


def test_units_evidence_and_pose_come_with_the_mesh(meshed: Analyzer, astronaut: np.ndarray) -> None:
    faces = meshed.analyze_image(astronaut)
    assert faces.action_units is not None and faces.evidence is not None and faces.disagreement is not None
    assert (
        faces.action_units[12][0] > 4 and faces.action_units.left[0, faces.action_units.units.index(12)] > 4
    )
    assert faces.evidence.best(0) == "happy"
    assert np.allclose(faces.pose_ypr_rad, [[0.1, -0.2, 0.3]])
    assert faces.affect is not None and faces.affect.kind == "derived"


def test_without_it_nothing_of_it_is_there(analyzer: Analyzer, astronaut: np.ndarray) -> None:
    faces = analyzer.analyze_image(astronaut)
    assert faces.mesh is faces.action_units is faces.evidence is faces.disagreement is None
    assert faces.affect is not None
    assert not set(mesh_columns()) & set(rows_of(result_of(faces, astronaut))[0])


def test_a_face_that_was_not_told_keeps_its_coarse_pose_and_has_no_numbers(
    meshed: Analyzer, astronaut: np.ndarray
) -> None:
    meshed.mesh.tells = False
    faces = meshed.analyze_image(astronaut)
    row = rows_of(result_of(faces, astronaut), columns_of((), mesh=True))[0]
    assert row["mesh_reason"] == "too small" and row["yaw_rad"] is not None
    assert row["au12"] is row["disagreement"] is row["disagrees"] is None


def test_the_table_has_a_column_a_unit_and_its_sides(
    meshed: Analyzer, astronaut: np.ndarray, tmp_path: Path
) -> None:
    columns = columns_of(meshed.runner.weights.labels, mesh=True)
    (row,) = rows_of(result_of(meshed.analyze_image(astronaut), astronaut), columns)
    assert list(row) == list(columns)
    assert row["evidence"] == "happy" and 0 <= row["disagreement"] <= 1 and row["disagrees"] in (True, False)
    assert row["au12"] == row["au12_left"] > row["au12_right"] > 0 and row["au04"] == 0
    with open_writer(tmp_path / "a.csv", columns) as writer:
        writer.write([row])
    with (tmp_path / "a.csv").open() as stream:
        (read,) = csv.DictReader(stream)
    assert float(read["au12"]) == row["au12"]


def test_openface_rows_have_its_names_and_count_from_one(meshed: Analyzer, astronaut: np.ndarray) -> None:
    (row,) = openface.rows_of(result_of(meshed.analyze_image(astronaut), astronaut, 2.5))
    assert list(row) == list(openface.COLUMNS)
    assert (row["frame"], row["timestamp"], row["face_id"], row["success"]) == (5, 2.5, 0, 1)
    assert (row["pose_Tx"], row["pose_Ty"], row["pose_Tz"]) == (10.0, 20.0, 500.0)
    assert row["AU12_r"] > 4 and row["AU12_c"] == 1 and row["AU04_c"] == 0 and row["AU45_r"] is None
    assert all(row[f"{axis}_{point}"] is not None for axis in "xy" for point in range(68))


def test_openface_says_no_face_and_failure(astronaut: np.ndarray) -> None:
    (nobody,) = openface.rows_of(result_of(Faces.empty(), astronaut))
    assert nobody["success"] == 0 and nobody["AU01_r"] is None and nobody["error"] is None
    (failed,) = openface.rows_of(Failure("b.jpg", "expected a picture"))
    assert failed["error"] == "expected a picture" and failed["frame"] is None


@pytest.mark.parametrize(
    "pose", [(0.0, 0.0, 0.0), (0.4, 0.0, 0.0), (0.0, 0.3, 0.0), (0.0, 0.0, -0.5), (0.5, -0.3, 0.2)]
)
def test_openface_angles_make_the_same_rotation(pose: tuple[float, float, float]) -> None:
    pitch, yaw, roll = openface.euler_xyz(np.array(pose))
    about = {
        "x": [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]],
        "y": [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]],
        "z": [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]],
    }
    assert np.allclose(np.array(about["x"]) @ about["y"] @ about["z"], rotation_of(np.array(pose)), atol=1e-6)


def test_the_overlay_shows_units_and_where_they_disagree(meshed: Analyzer, astronaut: np.ndarray) -> None:
    large = np.repeat(np.repeat(astronaut, 2, 0), 2, 1)
    faces = meshed.analyze_image(large)
    unlike = dataclasses.replace(faces, disagreement=np.ones(1, np.float32))
    bare = dataclasses.replace(faces, mesh=None, action_units=None, evidence=None, disagreement=None)
    pictures = [np.asarray(draw(large, one)) for one in (bare, faces, unlike)]
    assert (pictures[0] != pictures[1]).any() and (pictures[1] != pictures[2]).any()
