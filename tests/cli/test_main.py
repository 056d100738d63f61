"""The command, called as a function with captured output, and once as a program."""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mien
from mien import __version__
from mien.cli.analyze import seconds
from mien.cli.main import main
from mien.errors import InputError
from mien.labels.expressions import EXPRESSIONS
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.clips import ClipFrame, Span
from mien.pipeline.live import LiveSource
from mien.pipeline.table import COLUMNS
from mien.types.media import Failure


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def bad_file(tmp_path: Path) -> Path:
    path = tmp_path / "bad.jpg"
    path.write_text("no picture")
    return path


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stored:
        return list(csv.DictReader(stored))


def test_the_demo_prints_a_table(capsys) -> None:
    code, out, err = run(capsys, "demo")
    assert code == 0
    assert err == ""
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["file", "frame", "time"]
    assert len(lines) == 1 + 1 + 1 + 2 + 8
    assert sum("no face" in line for line in lines) == 2
    assert sum("not reliable: too small (2" in line for line in lines) == 1
    astronaut = next(line for line in lines if line.startswith("astronaut.jpg"))
    assert ">.99" in astronaut and "1.00" not in astronaut
    assert "happy" in astronaut


def test_json_is_one_array_of_whole_rows(capsys) -> None:
    code, out, _ = run(capsys, "demo", "--json")
    rows = json.loads(out)
    assert code == 0
    assert len(rows) == 12
    for row in rows:
        assert list(row) == list(COLUMNS)
    assert next(row for row in rows if row["path"].endswith("astronaut.jpg"))["expression"] == "happy"


def test_json_of_nothing_but_failures_is_an_array(capsys, bad_file: Path) -> None:
    code, out, err = run(capsys, "analyze", bad_file, "--json", "--threads", 1)
    assert code == 3
    (row,) = json.loads(out)
    assert row["error"].startswith("expected a picture")
    assert "bad.jpg: expected a picture" in err


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_out_writes_each_format(suffix: str, capsys, tmp_path: Path, portrait_file: Path) -> None:
    path = tmp_path / f"table{suffix}"
    code, out, _ = run(capsys, "analyze", portrait_file, "--out", path, "--quiet", "--threads", 1)
    assert (code, out) == (0, "")
    if suffix == ".csv":
        rows = csv_rows(path)
    elif suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        rows = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    assert len(rows) == 1
    assert list(rows[0]) == list(COLUMNS)
    assert rows[0]["path"] == str(portrait_file)
    assert not list(tmp_path.glob("*.part"))


def test_exit_code_0_for_a_picture_without_a_face(capsys, tmp_path: Path) -> None:
    Image.new("RGB", (50, 50), "white").save(tmp_path / "white.png")
    code, out, _ = run(capsys, "analyze", tmp_path / "white.png", "--threads", 1)
    assert code == 0
    assert "no face" in out


def test_exit_code_1_if_some_failed(capsys, tmp_path: Path, portrait_file: Path, bad_file: Path) -> None:
    path = tmp_path / "t.csv"
    code, out, err = run(capsys, "analyze", bad_file, portrait_file, "--out", path, "--threads", 1)
    assert code == 1
    assert [bool(row["error"]) for row in csv_rows(path)] == [True, False]
    assert "failed: expected a picture" in out
    assert "bad.jpg" in err


@pytest.mark.parametrize("name", ["gone.jpg", "*.nothing"])
def test_exit_code_3_if_nothing_could_be_read(name: str, capsys, tmp_path: Path) -> None:
    code, _, err = run(capsys, "analyze", tmp_path / name, "--threads", 1)
    assert code == 3
    assert "expected" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--every", "0"], "expected --every over 0 seconds, got 0"),
        (["--every", "-1"], "expected --every over 0 seconds, got -1"),
        (["--every", "nan"], "expected --every over 0 seconds, got nan"),
        (["--start", "5", "--end", "0:05"], "expected --end after --start (5 s), got 5 s"),
        (["--model", "expresion"], "no shipped network 'expresion'. Did you mean 'expression'?"),
        (["--model", "gone/x.onnx"], "expected an ONNX file at gone/x.onnx, got nothing there"),
        (["--model", "yunet"], "expected a network for expressions, got 'yunet'"),
        (["--min-face-px", "1"], "expected min_face_px from 8 to 4096, got 1"),
        (["--detection-threshold", "2"], "expected detection_threshold between 0 and 1, got 2"),
        (["--threads", "-1"], "threads >= 0"),
        (["--out", "table.xls"], "got 'table.xls'. The ending chooses the format."),
        (["--out", "gone/table.csv"], "expected a folder gone to write table.csv to, got none"),
    ],
)
def test_exit_code_2_for_what_cannot_be_used(
    options: list[str], message: str, capsys, portrait_file: Path
) -> None:
    code, out, err = run(capsys, "analyze", portrait_file, *options)
    assert code == 2
    assert err.startswith("mien: ")
    assert message in err
    assert out in ("", "[")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["analyze"],
        ["analyse", "x"],
        ["analyze", "x", "--every", "often"],
        ["analyze", "x", "--start", "1:99"],
        ["analyze", "x", "--end", "-1"],
    ],
)
def test_exit_code_2_for_a_wrong_command(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: mien" in capsys.readouterr().err


def test_an_overlay_folder_that_is_a_file_is_a_wrong_option(capsys, portrait_file: Path) -> None:
    code, _, err = run(capsys, "analyze", portrait_file, "--overlay", portrait_file, "--threads", 1)
    assert code == 2
    assert err.startswith("mien: expected a folder")


def test_version_and_help_name_the_exit_codes(capsys) -> None:
    for arguments, expected in ((["--version"], f"mien {__version__}"), (["analyze", "--help"], "130")):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
        assert expected in capsys.readouterr().out


def test_overlay_writes_drawn_files(capsys, tmp_path: Path, portrait_file: Path, moving, make_clip) -> None:
    clip = make_clip(tmp_path / "a.mp4", moving(3))
    folder = tmp_path / "drawn"
    code, _, _ = run(capsys, "analyze", portrait_file, clip, "--overlay", folder, "--threads", 1)
    assert code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["a_mp4.mp4", "portrait_png.png"]


def test_every_takes_one_frame_in_so_many_seconds(capsys, tmp_path: Path, moving, make_clip) -> None:
    clip = make_clip(tmp_path / "a.mp4", moving(11))
    code, out, _ = run(capsys, "analyze", clip, "--every", "0.2", "--json", "--threads", 1)
    assert code == 0
    assert [(row["frame"], row["time_s"]) for row in json.loads(out)] == [(0, 0.0), (5, 0.2), (10, 0.4)]


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("1.5", 1.5), ("1:30", 90), ("0:01:30.25", 90.25), ("2:00:00", 7200)]
)
def test_times_are_seconds_or_minutes_and_hours(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "x", "1:60", "1:2:3:4", "nan", "inf", "-3", "1:-3", "0:61:00"])
def test_times_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(
        argparse.ArgumentTypeError, match=r"expected seconds or \[hours:\]minutes:seconds, got"
    ):
        seconds(text)


def test_a_part_of_a_clip_with_its_tracks(capsys, tmp_path: Path, moving, make_clip) -> None:
    clip = make_clip(tmp_path / "a.mp4", moving(11))
    code, out, err = run(
        capsys, "analyze", clip, "--start", "0:00.2", "--end", "0.4", "--json", "--threads", 1
    )
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [(row["frame"], row["track_id"]) for row in rows] == [(index, 0) for index in range(5, 10)]
    assert "dropped" not in rows[0]


def test_a_live_source_says_what_it_dropped(capsys, portrait, monkeypatch: pytest.MonkeyPatch) -> None:
    def three(source: LiveSource, span: Span):
        for index, dropped in ((0, 0), (4, 3), (5, 0)):
            yield ClipFrame(index, index / 25, portrait, dropped)
        raise InputError("expected camera:0 to go on, got its end.")

    monkeypatch.setattr("mien.pipeline.analyzer.read_live", three)
    code, out, err = run(capsys, "analyze", "camera:0", "--json", "--threads", 1)
    assert code == 1
    assert [(row["path"], row["frame"], row["dropped"]) for row in json.loads(out)] == [
        ("camera:0", 0, 0),
        ("camera:0", 4, 3),
        ("camera:0", 5, 0),
        ("camera:0", None, None),
    ]
    assert "mien: camera:0: 3 frames analysed, 3 dropped to keep up" in err


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_ctrl_c_leaves_a_whole_table_and_says_so(
    suffix: str, capsys, tmp_path: Path, portrait_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Analyzer.stream

    def stopped_after_two(self: Analyzer, paths, **options):
        (result,) = original(self, [portrait_file], **options)
        yield result
        yield Failure("x.jpg", "expected a picture, got none")
        raise KeyboardInterrupt

    monkeypatch.setattr(Analyzer, "stream", stopped_after_two)
    path = tmp_path / f"t{suffix}"
    code, out, err = run(capsys, "analyze", portrait_file, "--out", path, "--json", "--threads", 1)
    assert code == 130
    assert "stopped" in err
    assert len(json.loads(out)) == 2
    rows = (
        csv_rows(path) if suffix == ".csv" else [json.loads(line) for line in path.read_text().splitlines()]
    )
    assert [bool(row["error"]) for row in rows] == [False, True]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process at once")
def test_what_stops_a_container_stops_as_ctrl_c_does(tmp_path: Path, portrait_file: Path) -> None:
    folder, table = tmp_path / "many", tmp_path / "t.csv"
    folder.mkdir()
    for number in range(2000):
        (folder / f"{number:04}.jpg").symlink_to(portrait_file)
    command = [sys.executable, "-m", "mien.cli", "analyze", folder, "--out", table, "--threads", "1"]
    unheld = {**os.environ, "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*map(str, command)], env=unheld, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout is not None
        process.stdout.readline()  # the first row is told
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and b"stopped; what was done is complete" in said
    assert 0 < len(csv_rows(table)) < 2000 and not list(tmp_path.glob(".*.part"))


def test_drawings_are_not_read_by_the_next_run(capsys, tmp_path: Path, portrait_file: Path) -> None:
    folder = tmp_path / "people"
    folder.mkdir()
    (folder / "a.jpg").symlink_to(portrait_file)
    for _ in range(2):
        code, out, _ = run(capsys, "analyze", folder, "--overlay", folder / "drawn", "--json", "--threads", 1)
        assert code == 0 and len(json.loads(out)) == 1
    assert [path.name for path in (folder / "drawn").iterdir()] == ["a_jpg.png"]
    # Where they are what is asked for, they are read.
    code, out, _ = run(capsys, "analyze", folder / "drawn", "--overlay", folder, "--json", "--threads", 1)
    assert code == 0 and len(json.loads(out)) == 1
    for verb in (["analyze", folder, "--overlay", folder], ["explain", folder, "--out", folder]):
        code, _, said = run(capsys, *verb)
        assert code == 2 and "expected another folder for the results than" in said


def test_ctrl_c_while_a_clip_is_drawn_leaves_a_playable_clip(
    capsys, tmp_path: Path, moving, make_clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    av = pytest.importorskip("av")
    clip = make_clip(tmp_path / "a.mp4", moving(20))
    original, count = Analyzer._tracked, []

    def stop_at_the_twelfth(*arguments):
        for result in original(*arguments):
            count.append(1)
            if len(count) == 12:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(Analyzer, "_tracked", stop_at_the_twelfth)
    code, _, _ = run(capsys, "analyze", clip, "--overlay", tmp_path / "out", "--threads", 1)
    assert code == 130
    (drawn,) = (tmp_path / "out").iterdir()
    with av.open(str(drawn)) as container:
        assert len(list(container.decode(video=0))) == 11


def test_an_error_leaves_the_old_table(capsys, tmp_path: Path, portrait_file: Path, monkeypatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("old")

    def broken(self: Analyzer, paths, **options):
        raise RuntimeError("a bug")
        yield

    monkeypatch.setattr(Analyzer, "stream", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run(capsys, "analyze", portrait_file, "--out", path, "--threads", 1)
    assert path.read_text() == "old"
    assert not list(tmp_path.glob("*.part"))


def test_quiet_prints_nothing_but_failures(capsys, portrait_file: Path, bad_file: Path) -> None:
    code, out, err = run(capsys, "analyze", portrait_file, bad_file, "--quiet", "--threads", 1)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1


def test_as_a_program(tmp_path: Path, portrait: np.ndarray) -> None:
    Image.fromarray(portrait).save(tmp_path / "me.png")
    command = [sys.executable, "-m", "mien.cli", "analyze", "me.png", "gone.png", "--json", "--threads", "1"]
    source = str(Path(mien.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    rows = json.loads(done.stdout)
    assert [row["path"] for row in rows] == ["me.png", "gone.png"]
    assert "gone.png" in done.stderr
    assert "Traceback" not in done.stderr


def test_smoothed_and_relative_values_stand_beside_the_raw_ones(
    capsys, tmp_path: Path, moving, make_clip, portrait_file: Path
) -> None:
    clip = make_clip(tmp_path / "a.mp4", moving(20))
    plain, full, events = (tmp_path / f"{name}.csv" for name in ("plain", "full", "events"))
    assert run(capsys, "analyze", clip, "--out", plain, "--quiet", "--threads", 1)[0] == 0
    more = ("--smooth", "--baseline", portrait_file, "--events", events, "--quiet", "--threads", 1)
    assert run(capsys, "analyze", clip, "--out", full, *more)[0] == 0
    before, after = csv_rows(plain), csv_rows(full)
    assert [{name: row[name] for name in before[0]} for row in after] == before
    assert {row["expression_smoothed"] for row in after} == {"happy"}
    assert {row["baseline"] for row in after} == {str(portrait_file)}
    assert all(abs(sum(float(row[f"p_{name}_relative"]) for name in EXPRESSIONS) - 1) < 1e-4 for row in after)
    (event,) = csv_rows(events)
    assert (event["expression"], event["cut_before"], event["cut_after"]) == ("happy", "true", "true")
    assert float(event["duration_s"]) == pytest.approx(19 / 25, abs=0.05)


def test_a_baseline_without_a_face_or_out_of_order_stops_before_anything_is_read(
    capsys, tmp_path: Path, moving, make_clip
) -> None:
    clip = make_clip(tmp_path / "a.mp4", moving(5))
    empty = tmp_path / "empty.png"
    Image.new("RGB", (64, 64)).save(empty)
    for wrong, said in ((empty, "expected frames of a face at rest"), ("9-3", "ends after it begins")):
        code, out, err = run(capsys, "analyze", clip, "--baseline", wrong, "--threads", 1)
        assert code == 2 and said in err and "happy" not in out


def test_plots_and_a_report_of_all_clips_and_of_what_could_not_be_read(
    capsys, tmp_path: Path, moving, make_clip, bad_file: Path
) -> None:
    pytest.importorskip("matplotlib")
    clip = make_clip(tmp_path / "a.mp4", moving(12))
    plots, report = tmp_path / "plots", tmp_path / "report.html"
    code, _, _ = run(
        capsys, "analyze", clip, bad_file, "--plot", plots, "--report", report, "--quiet", "--threads", 1
    )
    assert code == 1
    assert sorted(path.name for path in plots.iterdir()) == ["a_mp4.png", "a_mp4_track0.png"]
    page = report.read_text()
    assert "a.mp4" in page and "Not read: expected a picture" in page


def test_a_start_past_the_end_of_a_clip_is_a_failure(capsys, tmp_path: Path, moving, make_clip) -> None:
    clip, table = make_clip(tmp_path / "a.mp4", moving(5)), tmp_path / "past.csv"
    code, _, err = run(capsys, "analyze", clip, "--start", "100", "--out", table, "--quiet", "--threads", 1)
    assert code == 3 and "expected a start within the clip, got 100 s" in err
    (row,) = csv_rows(table)
    assert row["error"].startswith("expected a start within the clip")


def test_outputs_of_clips_asked_of_pictures_alone_are_said_to_be_empty(
    capsys, tmp_path: Path, portrait_file: Path
) -> None:
    events = tmp_path / "events.csv"
    code, _, err = run(
        capsys, "analyze", portrait_file, "--smooth", "--events", events, "--quiet", "--threads", 1
    )
    assert (code, err) == (0, "mien: no clip was read: nothing to tell for --smooth, --events\n")
    for rest, said in (("auto", True), (portrait_file, False)):
        code, _, err = run(capsys, "analyze", portrait_file, "--baseline", rest, "--quiet", "--threads", 1)
        assert code == 0 and ("nothing to tell for --baseline" in err) is said


def test_sparse_frames_and_short_clips_are_said_to_give_no_events_and_no_baseline(
    capsys, tmp_path: Path, moving, make_clip
) -> None:
    clip, events = make_clip(tmp_path / "a.mp4", moving(30)), tmp_path / "events.csv"
    more = ("--every", 0.4, "--events", events, "--baseline", "auto", "--quiet", "--threads", 1)
    code, _, err = run(capsys, "analyze", clip, *more)
    assert code == 0 and csv_rows(events) == []
    first, second = err.splitlines()
    assert (
        "no events told of 1 of 1 clips, for want of frames at most 0.25 s apart. Choose a smaller" in first
    )
    assert second == "mien: no baseline for 1 of 1 faces: in sight for 1.20 s, 10 s wanted"
