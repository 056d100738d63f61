"""Studies: who is in which file, means over time and participants with worked numbers, and a whole one on drawn files."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from mien.errors import DataError, DataNotFoundError, InputNotFoundError, OptionError
from mien.pipeline.study import StudyOptions, file_columns, frame_columns, run_study
from mien.pipeline.study_files import pairs_of, plan_study, sha256_of
from mien.pipeline.study_measures import Clock, main_track, measures_of_track
from mien.pipeline.study_report import facts_of, methods_text, to_html, write_study
from mien.pipeline.study_summary import Measure, by_condition, by_participant, differences
from mien.pipeline.table import open_writer
from mien.types.faces import Faces
from mien.types.media import FrameResult
from mien.types.track import Course, Event, Track
from mien.types.units import ActionUnits

NAMES = ("neutral", "happy")


def empty_files(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (number + 1))


def table(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text)
    return path


# --- who is in which file


def test_names_say_who_and_what(tmp_path: Path) -> None:
    empty_files(
        tmp_path, "sub-01/ses-1/sub-01_ses-1_task-film_cond-sad_stim-03.mp4", "sub-02/cond-happy_run-2.png",
        "holiday.jpg", "sub-03/sub-04_cond-sad.png",
    )  # fmt: skip
    plan = plan_study(tmp_path)
    first, second = plan.files
    assert (first.participant, first.session, first.condition, first.stimulus) == ("01", "1", "sad", "03")
    assert first.others == {"task": "film"}
    assert (second.participant, second.condition, second.others) == ("02", "happy", {"run": "2"})
    assert dict(plan.left_out) == {
        "holiday.jpg": "its name does not say who it shows (no sub-...)",
        "sub-03/sub-04_cond-sad.png": "its path says both sub-03 and sub-04",
    }
    assert plan.columns == ("task", "run")


def test_a_task_is_the_condition_where_no_name_has_one_and_that_is_said(tmp_path: Path) -> None:
    empty_files(tmp_path, "sub-01_task-film.png", "sub-01_task-rest.png")
    plan = plan_study(tmp_path)
    assert [file.condition for file in plan.files] == ["film", "rest"]
    assert "No name has cond-...: the task is taken for the condition." in plan.notes


def test_folders_are_read_for_their_known_keys_alone() -> None:
    assert pairs_of("old-stuff/sub-1/a-b_cond-x.png") == {"sub": "1", "a": "b", "cond": "x"}


def test_a_table_and_all_that_does_not_fit_it(tmp_path: Path) -> None:
    empty_files(tmp_path, "a.png", "deep/b.png", "c.png")
    plan = plan_study(
        tmp_path,
        table(
            tmp_path,
            "path,participant,condition,age\na.png,p1,sad,30\n./deep/b.png,p1,,30\ngone.png,p2,sad,20\na.png,p1,sad,30\n",
        ),
    )
    assert [(file.path, file.participant, file.condition) for file in plan.files] == [
        ("a.png", "p1", "sad"), ("deep/b.png", "p1", None),
    ]  # fmt: skip
    assert plan.files[0].others == {"age": "30"}
    assert dict(plan.left_out) == {
        "gone.png": "in the table, but no such file (paths are relative to the study's folder)",
        "c.png": "not in the table",
    }
    assert any("a.png stands 2 times" in note for note in plan.notes)
    assert any("No condition is told of deep/b.png" in note for note in plan.notes)


def test_the_same_content_twice_is_said(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"same")
    plan = plan_study(tmp_path, table(tmp_path, "path,condition\na.png,x\nb.png,y\n"))
    assert "The same content, all analysed: a.png, b.png." in plan.notes
    assert any("each file counts as a participant of its own" in note for note in plan.notes)
    assert [file.participant for file in plan.files] == ["a.png", "b.png"]


def test_tables_and_folders_that_cannot_be_used(tmp_path: Path) -> None:
    empty_files(tmp_path, "a.png")
    for text, said in (
        ("path,condition\na.png,x\na.png,y\n", "expected one row a file .* got 2 of 'a.png' that differ"),
        ("file,condition\na.png,x\n", "expected the column path"),
        ("path,path\na.png,x\n", "expected each column once"),
        ("path,condition\n../b.png,x\n", "expected paths inside"),
        ("path,condition\n", "expected rows in"),
        ("path\na.png,x\n", "expected 1 cells in each row .* got 2 in row 2"),
    ):
        with pytest.raises(DataError, match=said):
            plan_study(tmp_path, table(tmp_path, text))
    with pytest.raises(DataNotFoundError, match="expected a table at"):
        plan_study(tmp_path, tmp_path / "none.csv")
    with pytest.raises(InputNotFoundError, match=r"got none that can be placed \(a.png: its name"):
        plan_study(tmp_path)
    with pytest.raises(InputNotFoundError, match="expected a folder with the files of a study"):
        plan_study(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputNotFoundError, match="got none"):
        plan_study(tmp_path / "empty")


def test_pictures_of_an_earlier_report_are_none_of_the_study(tmp_path: Path) -> None:
    empty_files(tmp_path, "sub-1_cond-a.png", "report/expressions.png")
    assert len(plan_study(tmp_path).left_out) == 1
    assert plan_study(tmp_path, without=tmp_path / "report").left_out == ()


def test_what_mien_does_not_read_is_told_and_not_lost(tmp_path: Path) -> None:
    empty_files(
        tmp_path,
        "sub-1_cond-a.png",
        "sub-2_cond-a.nef",
        "sub-3_cond-a.svg",
        "notes.txt",
        ".hidden.nef",
        "sub-4_cond-a.m2ts",
    )
    plan = plan_study(tmp_path)
    assert [file.path for file in plan.files] == ["sub-1_cond-a.png", "sub-4_cond-a.m2ts"]
    assert [path for path, why in plan.left_out if "convert it" in why] == [
        "sub-2_cond-a.nef",
        "sub-3_cond-a.svg",
    ]
    assert sha256_of(tmp_path / "gone.png") is None


# --- what one file shows


def clock_of(times: list[float | None]) -> Clock:
    clock = Clock()
    for frame, time_s in enumerate(times):
        clock.add(FrameResult("a", frame, time_s, Faces.empty(), (8, 8)))
    return clock


def track_of(number: int, frames: list[int], times: list[float], happy: list[float], **more) -> Track:
    raw = np.stack([1 - np.array(happy), happy], 1)
    plain = {"uncertain": np.zeros(len(frames), bool), "reliable": np.ones(len(frames), bool)}
    return Track(
        number, np.array(frames), np.array(times), np.zeros((len(frames), 4), np.float32), NAMES, raw,
        smoothed=raw, **{**plain, **more},
    )  # fmt: skip


def test_frames_count_by_how_long_they_stand() -> None:
    """Frames at 0, 1, 3, 3.5 s stand for 1, 2, 0.5 s, and the last for the median, 1 s."""
    clock = clock_of([0.0, 1.0, 3.0, 3.5])
    assert clock.holds_s.tolist() == [1, 2, 0.5, 1] and clock.step_s == 1
    track = track_of(0, [0, 1, 2], [0, 1, 3], [0.2, 0.8, 0.4], reliable=np.array([True, True, False]))
    found = measures_of_track(track, clock)
    assert found["p_happy_mean"] == pytest.approx((0.2 * 1 + 0.8 * 2) / 3, abs=1e-6)
    assert found["duration_s"] == 4.5 and found["in_sight_s"] == 3.5 and found["reliable_s"] == 3
    assert found["in_sight_share"] == pytest.approx(3.5 / 4.5, abs=1e-6)
    assert found["unreliable_share"] == pytest.approx(0.5 / 3.5, abs=1e-6)
    # happy lies at (0.83, 0.53), neutral at the origin
    assert found["valence_derived_mean"] == pytest.approx(0.6 * 0.83, abs=1e-5)
    assert found["arousal_derived_mean"] == pytest.approx(0.6 * 0.53, abs=1e-5)
    assert "events_per_min" not in found  # a second apart


def test_certain_shares_rates_and_units_over_time() -> None:
    """Blinks are counted by the 15 s in which the mesh was read, not by the 30 s in sight."""
    clock = clock_of([index / 20 for index in range(600)])
    event = Event("happy", 0.0, 0.5, 1.0, 0.9, 3, False, False)
    units = np.full((600, 1), np.nan, np.float32)
    units[:300] = 2.0
    track = track_of(
        0, list(range(600)), [index / 20 for index in range(600)], [0.5] * 600,
        uncertain=np.arange(600) < 150, events=(event, event), blink=(np.arange(600) % 20 < 4) & (np.arange(600) < 300),
        units=ActionUnits((12,), units, "intensity", "mesh"),
    )  # fmt: skip
    found = measures_of_track(track, clock)
    assert found["certain_share"] == pytest.approx(0.75)
    assert found["events_per_min"] == pytest.approx(2 / 30 * 60)
    assert found["blinks_per_min"] == pytest.approx(15 / 15 * 60)
    unread = replace(track.units, values=np.full((600, 1), np.nan, np.float32))
    assert "blinks_per_min" not in measures_of_track(replace(track, units=unread), clock)
    assert found["au12_intensity_mean"] == 2.0  # of what is told


def test_what_is_not_told_is_none() -> None:
    clock = clock_of([0.0, 0.04])
    nothing = measures_of_track(None, clock)
    assert nothing == {"duration_s": 0.08, "in_sight_s": 0.0, "in_sight_share": 0.0}
    poor = measures_of_track(track_of(0, [0, 1], [0, 0.04], [0.1, 0.2], reliable=np.zeros(2, bool)), clock)
    assert poor["p_happy_mean"] is None and poor["certain_share"] is None and poor["unreliable_share"] == 1.0
    without_rest = measures_of_track(track_of(0, [0, 1], [0, 0.04], [0.1, 0.2]), clock, relative=True)
    assert "p_happy_mean" not in without_rest
    picture = measures_of_track(track_of(0, [0], [0.0], [0.7]), clock_of([None]))
    assert (
        picture["p_happy_mean"] == 0.7 and picture["duration_s"] is None and "events_per_min" not in picture
    )


def test_the_main_face_is_the_one_longest_in_sight_by_time() -> None:
    """Track 0 has more frames, track 1 more time; a clock that goes back does not count."""
    clock = clock_of([0.0, 0.1, 0.2, 2.0, 1.9])
    many, long = track_of(0, [0, 1, 4], [0, 0.1, 1.9], [0.1] * 3), track_of(1, [2, 3], [0.2, 2], [0.1] * 2)
    course = Course("a", (many, long), 5, 0.0, 1.9, (8, 8), 0.5)
    main = main_track(course, clock)
    assert main is not None and main.id == 1
    assert main_track(Course("a", (), 0, np.nan, np.nan, (8, 8), 0.5), clock) is None


# --- from files to conditions


def rows_of_files(*rows: tuple[str | None, str | None, float | None]) -> list[dict]:
    return [
        {"participant": who, "condition": condition, "frames": 10, "happy": value}
        for who, condition, value in rows
    ]


HAPPY = {"happy": Measure("happy", "0 to 1", "expression")}


def test_a_participant_counts_once_however_many_files_there_are() -> None:
    files = rows_of_files(("a", "x", 0.1), ("a", "x", 0.3), ("b", "x", 0.8), ("c", "x", None), (None, "x", 0.9), ("d", None, 0.9))  # fmt: skip
    people = by_participant(files, HAPPY)
    assert [(row["participant"], row["files"], row["frames"], row["happy"]) for row in people] == [
        ("a", 2, 20, 0.2), ("b", 1, 10, 0.8), ("c", 1, 10, None),
    ]  # fmt: skip
    (line,) = by_condition(people, HAPPY)
    assert line["mean"] == 0.5 and (line["participants"], line["files"], line["frames"]) == (2, 3, 30)
    # two participants: every resample is 0.2, 0.5 or 0.8
    assert (line["low_95"], line["high_95"]) == (0.2, 0.8)


def test_an_interval_is_scipys_over_participants() -> None:
    values = np.random.default_rng(0).normal(0.4, 0.1, 40)
    people = by_participant(
        rows_of_files(*((f"p{number}", "x", value) for number, value in enumerate(values))), HAPPY
    )
    (line,) = by_condition(people, HAPPY)
    wanted = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", random_state=1
    ).confidence_interval
    assert (line["low_95"], line["high_95"]) == pytest.approx(tuple(wanted), abs=0.005)


def test_one_participant_has_no_interval() -> None:
    (line,) = by_condition(by_participant(rows_of_files(("a", "x", 0.3)), HAPPY), HAPPY)
    assert line["mean"] == 0.3 and line["low_95"] is None and line["high_95"] is None


def test_differences_are_within_participants() -> None:
    """Levels differ by far more than conditions do: only the pairs tell. Whoever is in one condition alone does not count."""
    random = np.random.default_rng(1)
    levels, steps = random.uniform(0, 0.8, 12), random.normal(0.1, 0.02, 12)
    files = [(f"p{n}", "a", level) for n, level in enumerate(levels)]
    files += [(f"p{n}", "b", level + step) for n, (level, step) in enumerate(zip(levels, steps, strict=True))]
    files.append(("alone", "b", 0.0))
    people = by_participant(rows_of_files(*files), HAPPY)
    (line,) = differences(people, HAPPY, test=True)
    assert (line["condition_a"], line["condition_b"], line["participants"]) == ("a", "b", 12)
    assert line["mean_difference"] == pytest.approx(-steps.mean(), abs=1e-5)
    assert line["low_95"] < -steps.mean() < line["high_95"] < 0
    assert line["high_95"] - line["low_95"] == pytest.approx(2 * 1.96 * stats.sem(steps), rel=0.15)
    assert line["p_wilcoxon"] == pytest.approx(stats.wilcoxon(steps).pvalue, abs=1e-6) == line["p_holm"]


def test_p_values_are_adjusted_for_all_comparisons_and_only_on_wish() -> None:
    values = {"a": 0.1, "b": 0.2, "c": 0.4}
    files = [(f"p{n}", name, value + n / 100) for name, value in values.items() for n in range(6)]
    people = by_participant(rows_of_files(*files), HAPPY)
    assert "p_wilcoxon" not in differences(people, HAPPY)[0]
    lines = differences(people, HAPPY, test=True)
    assert [line["p_wilcoxon"] for line in lines] == [0.03125] * 3  # six of six: 2 / 2**6
    assert [line["p_holm"] for line in lines] == [0.09375] * 3
    quality = {"happy": Measure("happy", "share", "quality")}
    assert differences(people, quality) == []


# --- a whole study


@pytest.fixture
def study_folder(tmp_path: Path, portrait, hopper, moving, make_clip) -> Path:
    folder = tmp_path / "photos <of> a $tudy"
    folder.mkdir()
    Image.fromarray(portrait).save(folder / "sub-1_cond-smile & <b>.png")
    Image.fromarray(hopper).save(folder / "sub-2_cond-smile & <b>.png")
    make_clip(folder / "sub-1_cond-clip.mp4", moving(6))
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(folder / "sub-2_cond-clip.png")
    (folder / "sub-3_cond-clip.png").write_bytes(b"no picture")
    return folder


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stored:
        return list(csv.DictReader(stored))


def test_a_whole_study(tmp_path: Path, study_folder: Path, analyzer) -> None:
    plan = plan_study(study_folder)
    options = StudyOptions(seed=1)
    out = tmp_path / "report"
    out.mkdir()
    (out / "units.png").write_bytes(b"of an earlier study with the mesh")
    with open_writer(out / "frames.csv", frame_columns(analyzer, options)) as frames:
        study = run_study(analyzer, plan, frames, options)
    write_study(study, analyzer, out)
    assert not (out / "units.png").exists()

    files = {row["path"]: row for row in rows_in(out / "files.csv")}
    assert list(rows_in(out / "files.csv")[0]) == list(file_columns(plan, study.measures))
    clip, blank = files["sub-1_cond-clip.mp4"], files["sub-2_cond-clip.png"]
    assert (clip["frames"], clip["duration_s"], clip["other_faces"], clip["error"]) == ("6", "0.24", "0", "")
    assert float(clip["p_happy_mean"]) > 0.5 and clip["events_per_min"] and not clip["baseline"]
    assert blank["p_happy_mean"] == "" and blank["in_sight_share"] == "0.0"
    assert "expected a picture" in files["sub-3_cond-clip.png"]["error"]
    assert [row["path"] for row in study.failures] == ["sub-3_cond-clip.png"]

    rows = rows_in(out / "frames.csv")
    assert [row["frame"] for row in rows if row["path"].endswith(".mp4")] == [str(n) for n in range(6)]
    assert {row["participant"] for row in rows} == {"1", "2", "3"}
    mean = np.mean([float(row["p_happy"]) for row in rows if row["path"].endswith(".mp4")])
    assert float(clip["p_happy_mean"]) == pytest.approx(mean, abs=1e-5)

    page = (out / "report.html").read_text()
    assert "photos &lt;of&gt; a $tudy" in page and "<b>" not in page and "smile &amp; &lt;b&gt;" in page
    assert "<script" not in page and 'src="http' not in page and "prefers-color-scheme: dark" in page
    assert analyzer.runner.weights.sha256 in page and "not what a person feels" in page
    assert "No participant was in two conditions" not in page
    for name in ("expressions.png", "conditions.png", "others.png", "differences.png"):
        assert (out / name).stat().st_size > 5000
    assert not list(out.glob("*.part"))


@pytest.fixture
def two_faced(tmp_path: Path, page: np.ndarray) -> Path:
    folder = tmp_path / "two"
    folder.mkdir()
    Image.fromarray(page).save(folder / "sub-1_cond-a.png")
    return folder


def test_the_largest_face_of_a_picture_counts_and_the_others_are_told(
    tmp_path: Path, two_faced: Path, analyzer
) -> None:
    (faces,) = [result.faces for result in analyzer.stream(two_faced)]
    options = StudyOptions()
    with open_writer(tmp_path / "f.csv", frame_columns(analyzer, options)) as frames:
        study = run_study(analyzer, plan_study(two_faced), frames, options)
    (row,) = study.files
    box = faces.box_xyxy_px
    largest = int((box[:, 2:] - box[:, :2]).prod(1).argmax())
    assert row["main_face"] == largest and row["other_faces"] == len(faces) - 1 == row["other_face_frames"]
    assert row["p_happy_mean"] == pytest.approx(float(faces.expression["happy"][largest]), abs=1e-5)
    (frame,) = rows_in(tmp_path / "f.csv")
    assert frame["face"] == str(largest)
    text = " ".join(methods_text(study, facts_of(study, analyzer)))
    assert "Every frame of a clip was read" in text and "2,000 resamples" in text
    assert "one participant, so there is no interval" in to_html(study, facts_of(study, analyzer))


def test_a_baseline_of_one_face_is_for_one_participant(
    tmp_path: Path, portrait, portrait_file: Path, analyzer
) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    Image.fromarray(portrait).save(folder / "sub-1_cond-a.png")
    options = StudyOptions(baseline=portrait_file)
    with open_writer(tmp_path / "f.csv", frame_columns(analyzer, options)) as frames:
        study = run_study(analyzer, plan_study(folder), frames, options)
    (row,) = study.files
    (plain,) = analyzer.stream(folder, baseline=portrait_file)
    assert row["baseline"] == str(portrait_file)
    assert row["p_happy_mean"] == pytest.approx(plain.faces.in_time.relative[0, 1], abs=1e-5)
    Image.fromarray(portrait).save(folder / "sub-2_cond-a.png")
    with (
        pytest.raises(OptionError, match="for 2 participants"),
        open_writer(tmp_path / "g.csv", frame_columns(analyzer, options)) as frames,
    ):
        run_study(analyzer, plan_study(folder), frames, options)
    assert not (tmp_path / "g.csv").exists()


def test_units_and_their_plot_with_the_mesh(tmp_path: Path, portrait, meshed) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    for who in (1, 2):
        Image.fromarray(portrait).save(folder / f"sub-{who}_cond-a.png")
    options = StudyOptions()
    out = tmp_path / "report"
    out.mkdir()
    with open_writer(out / "frames.csv", frame_columns(meshed, options)) as frames:
        study = run_study(meshed, plan_study(folder), frames, options)
    write_study(study, meshed, out)
    (line,) = [row for row in study.conditions if row["measure"] == "au12_intensity_mean"]
    assert line["participants"] == 2 and line["mean"] > 1
    assert (out / "units.png").stat().st_size > 5000
    assert "Action units (0 to 5" in (out / "report.html").read_text()


def test_a_column_of_the_table_does_not_take_a_name_of_ours(
    tmp_path: Path, portrait_file: Path, analyzer
) -> None:
    plan = plan_study(tmp_path, table(tmp_path, "path,condition,frames\nportrait.png,a,7\n"))
    with pytest.raises(DataError, match="got frames"):
        run_study(analyzer, plan, None)
