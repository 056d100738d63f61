from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mien.errors import OptionError
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.table import COLUMNS, Results, columns_of, open_writer, rows_of
from mien.types.faces import Faces
from mien.types.media import Failure, FrameResult

NAMES = [
    "path",
    "frame",
    "time_s",
    "face",
    "track_id",
    "x1_px",
    "y1_px",
    "x2_px",
    "y2_px",
    "detection_score",
    "expression",
    "confidence",
    "uncertain",
    "reliable",
    "reason",
    "p_neutral",
    "p_happy",
    "p_surprise",
    "p_sad",
    "p_angry",
    "p_disgust",
    "p_fear",
    "p_contempt",
    "yaw_rad",
    "pitch_rad",
    "roll_rad",
    "valence",
    "arousal",
    "affect",
    "error",
]
FORMATS = [".csv", ".jsonl", ".ndjson", ".parquet"]


@pytest.fixture(scope="module")
def results(analyzer: Analyzer, astronaut: np.ndarray, page: np.ndarray) -> Results:
    """Two pictures, a frame without a face, and a failure whose text is hard on formats."""
    return Results(
        [
            FrameResult('a, "b".jpg', 0, None, analyzer.analyze_image(astronaut), (512, 512)),
            FrameResult("ü/page.jpg", 3, 0.1234567, analyzer.analyze_image(page), (1200, 800)),
            FrameResult("none.png", 0, None, Faces.empty(), (5, 5)),
            Failure("broken.jpg", 'expected a picture,\ngot "nothing"; try again'),
        ]
    )


def test_the_columns_and_their_order() -> None:
    assert list(COLUMNS) == NAMES


def test_every_row_has_every_column(results: Results) -> None:
    rows = list(results.rows())
    assert len(rows) == 1 + 8 + 1 + 1
    for row in rows:
        assert list(row) == NAMES
        for name, value in row.items():
            assert value is None or type(value) is COLUMNS[name], (name, value)


def test_a_face_is_told_whole(results: Results) -> None:
    row = rows_of(results[0])[0]
    faces = results[0].faces
    assert [row[side] for side in ("x1_px", "y1_px", "x2_px", "y2_px")] == pytest.approx(
        faces.box_xyxy_px[0], abs=0.01
    )
    probabilities = {name.removeprefix("p_"): row[name] for name in NAMES if name.startswith("p_")}
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert row["expression"] == max(probabilities, key=probabilities.get) == "happy"
    assert row["confidence"] == max(probabilities.values())
    assert [row["yaw_rad"], row["pitch_rad"], row["roll_rad"]] == pytest.approx(
        faces.pose_ypr_rad[0], abs=1e-3
    )
    assert (row["reliable"], row["reason"], row["error"], row["track_id"]) == (True, None, None, None)


def test_dropped_frames_have_a_column_where_there_is_a_live_source() -> None:
    columns = columns_of((), live=True)
    assert list(columns)[-1] == "dropped" and "dropped" not in columns_of(())
    result = FrameResult("camera:0", 7, 0.4, Faces.empty(), (64, 48), 3)
    assert rows_of(result, columns)[0]["dropped"] == 3
    assert rows_of(Failure("camera:0", "gone"), columns)[0]["dropped"] is None


def test_faces_of_one_frame_are_numbered(results: Results) -> None:
    rows = rows_of(results[1])
    assert [row["face"] for row in rows] == list(range(8))
    assert {(row["frame"], row["time_s"]) for row in rows} == {(3, 0.123457)}
    small = [row for row in rows if not row["reliable"]]
    assert len(small) == 1
    assert small[0]["reason"].startswith("too small")


def test_no_face_and_a_failure_have_one_row_of_mostly_nothing(results: Results) -> None:
    (nothing,), (failed,) = rows_of(results[2]), rows_of(results[3])
    assert {name: value for name, value in nothing.items() if value is not None} == {
        "path": "none.png",
        "frame": 0,
    }
    assert {name for name, value in failed.items() if value is not None} == {"path", "error"}


def test_failures(results: Results) -> None:
    assert [failure.path for failure in results.failures] == ["broken.jpg"]


def read_back(path: Path) -> list[dict]:
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as stored:
            return [{name: typed(name, text) for name, text in row.items()} for row in csv.DictReader(stored)]
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def typed(name: str, text: str):
    if text == "":
        return None
    return {"true": True, "false": False}[text] if COLUMNS[name] is bool else COLUMNS[name](text)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_holds_the_same_rows(suffix: str, results: Results, tmp_path: Path) -> None:
    path = tmp_path / f"table{suffix}"
    results.save(path)
    rows = read_back(path)
    assert list(rows[0]) == NAMES
    assert rows == list(results.rows())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", FORMATS)
def test_no_rows_make_a_valid_file(suffix: str, tmp_path: Path) -> None:
    Results().save(tmp_path / f"table{suffix}")
    assert read_back(tmp_path / f"table{suffix}") == []


def test_parquet_is_typed_even_where_all_is_missing(tmp_path: Path, results: Results) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    Results(results[3:]).save(tmp_path / "a.parquet")
    kinds = {field.name: str(field.type) for field in parquet.read_schema(tmp_path / "a.parquet")}
    expected = {str: "string", int: "int64", float: "double", bool: "bool"}
    assert kinds == {name: expected[kind] for name, kind in COLUMNS.items()}


def test_parquet_in_many_row_groups(tmp_path: Path, results: Results) -> None:
    rows = list(results.rows())
    with open_writer(tmp_path / "a.parquet") as writer:
        writer.group_rows = 20
        for _ in range(9):
            writer.write(rows)
    assert read_back(tmp_path / "a.parquet") == rows * 9


def test_to_frame_is_typed(results: Results) -> None:
    pandas = pytest.importorskip("pandas")
    frame = results.to_frame()
    assert list(frame.columns) == NAMES
    expected = {str: pandas.StringDtype(), int: "Int64", float: "Float64", bool: "boolean"}
    for name, kind in COLUMNS.items():
        assert frame[name].dtype == expected[kind], name
    assert frame["face"].isna().sum() == 2
    assert frame["expression"].iloc[0] == "happy"
    assert Results().to_frame().shape == (0, len(NAMES))


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_error_leaves_what_stood_there_before(suffix: str, results: Results, tmp_path: Path) -> None:
    path = tmp_path / f"table{suffix}"
    path.write_text("the old table")
    with pytest.raises(RuntimeError, match="disk on fire"), open_writer(path) as writer:
        writer.write(list(results.rows()))
        assert path.read_text() == "the old table"
        raise RuntimeError("disk on fire")
    assert path.read_text() == "the old table"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_error_leaves_nothing_under_a_new_name(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), open_writer(tmp_path / f"table{suffix}"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_stop_by_hand_keeps_the_rows_so_far(suffix: str, results: Results, tmp_path: Path) -> None:
    path = tmp_path / f"table{suffix}"
    rows = list(results.rows())
    with pytest.raises(KeyboardInterrupt), open_writer(path) as writer:
        writer.write(rows[:5])
        raise KeyboardInterrupt
    assert read_back(path) == rows[:5]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["table.xlsx", "table", "table.csv.gz"])
def test_an_unknown_ending_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"ends in \.csv, \.jsonl, \.ndjson, \.parquet, got"):
        open_writer(tmp_path / name)


def test_a_missing_folder_or_a_folder_as_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"expected a folder .*Make it first"):
        open_writer(tmp_path / "gone" / "a.csv")
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OptionError, match="got the folder"):
        open_writer(tmp_path / "a.csv")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_classes_that_are_not_miens_get_columns_after_the_others(
    suffix: str, tmp_path: Path, results: Results
) -> None:
    own = Results(results)
    own.columns = columns_of(["happy", "bored"])
    assert list(own.columns) == [*COLUMNS, "p_bored"]
    assert all(list(row) == list(own.columns) for row in own.rows())
    own.save(tmp_path / f"table{suffix}")
    assert "p_bored" in own.to_frame().columns
