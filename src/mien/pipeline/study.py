"""A study: a folder of pictures and clips of participants under conditions, to tidy tables.

Of each file one face counts: the one that is longest in sight, or the largest of a picture. What it shows is averaged over
the time in which it is reliable (`mien.pipeline.study_measures`), and then over files and participants
(`mien.pipeline.study_summary`).
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mien.errors import DataError, OptionError
from mien.pipeline.analyzer import Analyzer, Progress
from mien.pipeline.course import CourseBuilder
from mien.pipeline.study_files import ROLES, Plan, sha256_of
from mien.pipeline.study_measures import Clock, main_track, measures_of_track
from mien.pipeline.study_summary import Measure, by_condition, by_participant, differences, measures_of
from mien.pipeline.table import Columns, Row, TableWriter, columns_of, open_writer, rows_of
from mien.types.faces import Faces
from mien.types.media import Failure, FrameResult
from mien.types.track import Course, Track

WHO: Columns = dict.fromkeys(ROLES, str)
FACTS: Columns = {
    "frames": int,
    "duration_s": float,
    "in_sight_s": float,
    "reliable_s": float,
    "main_face": int,
    "other_faces": int,
    "other_face_frames": int,
    "baseline": str,
    "error": str,
    "sha256": str,
}
"""Of a file, beside its measures: frames analysed, times, the main face (its track, or its number in a picture), how many
other faces were left out and in how many rows, what values are relative to, why it could not be read, and its hash."""


@dataclass(frozen=True)
class StudyOptions:
    """How the files are read.

    Attributes:
        every_s: of clips, one frame in so many seconds.
        baseline: values relative to each face at rest, as in `Analyzer.stream`; a file only where there is one participant.
        seed: of the resamples.
        test: also test differences, see `mien.pipeline.study_summary.differences`.
    """

    every_s: float | None = None
    baseline: str | Path | tuple[float, float] | None = None
    seed: int = 0
    test: bool = False


@dataclass(frozen=True, eq=False)
class Study:
    """What was found.

    Attributes:
        plan: which files there were.
        options: how they were read.
        measures: column -> what it is.
        files, participants, conditions, differences: rows of the tables, see `mien.pipeline.study_summary`.
    """

    plan: Plan
    options: StudyOptions
    measures: dict[str, Measure]
    files: list[Row]
    participants: list[Row]
    conditions: list[Row]
    differences: list[Row]

    @property
    def failures(self) -> list[Row]:
        """Files that could not be read, or not to their end."""
        return [row for row in self.files if row["error"] is not None]


def frame_columns(analyzer: Analyzer, options: StudyOptions) -> Columns:
    """Columns of the table of frames: who and what, then those of `mien analyze`."""
    labels, mesh = analyzer.runner.weights.labels, analyzer.mesh is not None
    return {**WHO, **columns_of(labels, mesh, smooth=True, baseline=options.baseline is not None)}


def file_columns(plan: Plan, measures: Iterable[str]) -> Columns:
    """Columns of the table of files.

    Raises:
        DataError: the study's own table has a column of the same name.
    """
    own = {"path": str, **WHO, **dict.fromkeys(measures, float), **FACTS}
    taken = [name for name in plan.columns if name in own]
    if taken:
        raise DataError(f"expected columns with names of their own, got {', '.join(taken)}. Rename them.")
    return {"path": str, **WHO, **dict.fromkeys(plan.columns, str), **own}


def run_study(
    analyzer: Analyzer,
    plan: Plan,
    frames: TableWriter,
    options: StudyOptions | None = None,
    progress: Progress | None = None,
    done: Callable[[Row], None] | None = None,
) -> Study:
    """Read all files, and summarise them.

    Args:
        analyzer: reads faces; with its mesh also action units and blinks.
        plan: of `mien.pipeline.study_files.plan_study`.
        frames: an open table with the columns of `frame_columns`; gets one row a frame, of the main face.
        options: how.
        progress: see `Analyzer.stream`.
        done: called with the row of each file.

    Raises:
        OptionError: a file as the baseline of several participants.
        DataError: a column of the study's table has a name of ours.
    """
    options = options or StudyOptions()
    people = {file.participant for file in plan.files}
    if isinstance(options.baseline, Path) and len(people) > 1:
        raise OptionError(
            f"expected a baseline 'auto' or START-END, got the file {options.baseline} for {len(people)} participants. "
            "One face at rest is one person's."
        )
    measures = measures_of(analyzer.runner.weights.labels, analyzer.mesh is not None)
    columns, rows = file_columns(plan, measures), []
    for file in plan.files:
        told = {"path": file.path, **{role: getattr(file, role) for role in ROLES}, **file.others}
        found = _read(analyzer, plan.folder / file.path, told, frames, options, progress)
        rows.append({**dict.fromkeys(columns), **told, **found})
        if done is not None:
            done(rows[-1])
    participants = by_participant(rows, measures)
    return Study(
        plan,
        options,
        measures,
        rows,
        participants,
        by_condition(participants, measures, options.seed),
        differences(participants, measures, options.seed, options.test),
    )


def write_tables(study: Study, folder: Path) -> None:
    """Write `files.csv`, `participants.csv`, `conditions.csv` and `differences.csv`."""
    numbers = dict.fromkeys(study.measures, float)
    tables: dict[str, tuple[list[Row], Columns]] = {
        "files": (study.files, file_columns(study.plan, study.measures)),
        "participants": (
            study.participants,
            {"participant": str, "condition": str, "files": int, "frames": int, **numbers},
        ),
        "conditions": (study.conditions, _columns(study.conditions, "condition", "measure", "mean")),
        "differences": (
            study.differences,
            _columns(study.differences, "condition_a", "condition_b", "measure", "mean_difference"),
        ),
    }
    for name, (rows, columns) in tables.items():
        with open_writer(folder / f"{name}.csv", columns) as writer:
            writer.write(rows)


def _columns(rows: list[Row], *first: str) -> Columns:
    """The columns of rows; some of them where there is no row."""
    return dict.fromkeys(rows[0] if rows else first, str)


def _read(
    analyzer: Analyzer,
    path: Path,
    told: Row,
    frames: TableWriter,
    options: StudyOptions,
    progress: Progress | None,
) -> Row:
    """What one file shows; its frames go to the table, in which it is called as in `told`."""
    clock, courses, failure, number = Clock(), list[Course](), None, None
    with tempfile.TemporaryFile() as waiting:
        # Which face is the main one is known when the clip has been read.
        for result in analyzer.stream(
            path, every_s=options.every_s, smooth=True, baseline=options.baseline, course=courses.append, progress=progress
        ):  # fmt: skip
            if isinstance(result, Failure):
                failure = result
                continue
            clock.add(result)
            pickle.dump(result, waiting, pickle.HIGHEST_PROTOCOL)
            if result.time_s is None:
                courses.append(_course_of_picture(result, analyzer.runner.weights.calibration["threshold"]))
        track = main_track(courses[0], clock) if courses else None
        waiting.seek(0)
        for _ in clock.frame:
            result = pickle.load(waiting)
            chosen = _main_face(result, track)
            if track is not None and chosen is not None:
                number = chosen if result.faces.track_id is None else track.id
            _write(frames, told, result, chosen)
    if failure is not None:
        _write(frames, told, failure)
    others = {key: count for key, count in clock.faces.items() if key != number}
    return {
        **(measures_of_track(track, clock, options.baseline is not None) if clock.frame else {}),
        "frames": len(clock.frame),
        "main_face": number,
        "other_faces": len(others),
        "other_face_frames": sum(others.values()),
        "error": None if failure is None else failure.error,
        "sha256": sha256_of(path),
    }


def _course_of_picture(result: FrameResult, threshold: float) -> Course:
    """A picture as a clip of one frame and of its largest face; relative to a rest that was in another file."""
    builder = CourseBuilder(threshold)
    builder.add_largest(result)
    course, shares = builder.finish(), result.faces.in_time
    if shares is None or shares.relative is None or not course.tracks:
        return course
    row = _largest(result.faces)
    units = shares.units
    track = replace(
        course.tracks[0],
        relative=shares.relative[[row]],
        units=None if units is None else replace(units, values=units.values[[row]], left=None, right=None),
        baseline_note=shares.baseline[row],
    )
    return replace(course, tracks=(track,))


def _main_face(result: FrameResult, track: Track | None) -> int | None:
    """Index of the main face within a frame; `None` where it is not there."""
    faces = result.faces
    if track is None or not len(faces):
        return None
    if faces.track_id is None:
        return _largest(faces)
    there = np.flatnonzero(faces.track_id == track.id)
    return int(there[0]) if len(there) else None


def _largest(faces: Faces) -> int:
    box = faces.box_xyxy_px
    return int((box[:, 2:] - box[:, :2]).prod(1).argmax())


def _write(frames: TableWriter, told: Row, result: FrameResult | Failure, chosen: int | None = None) -> None:
    """Write the one row of a frame: its main face, or none."""
    if isinstance(result, FrameResult) and chosen is None:
        result = replace(result, faces=Faces.empty())
    columns = {name: kind for name, kind in frames.columns.items() if name not in WHO}
    row = rows_of(result, columns)[chosen or 0]
    frames.write([{**{role: told[role] for role in ROLES}, **row, "path": told["path"]}])
