"""Results as rows, and rows as CSV, JSON Lines, Parquet or a pandas frame."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from mien.errors import MissingExtraError, OptionError
from mien.explain.evidence import DISAGREES
from mien.faces.mesh_units import RULES, is_two_sided
from mien.labels.expressions import EXPRESSIONS
from mien.types.faces import Faces
from mien.types.media import Failure, FrameResult
from mien.types.track import Course, InTime

COLUMNS: dict[str, type] = {
    "path": str,
    "frame": int,
    "time_s": float,
    "face": int,
    "track_id": int,
    "x1_px": float,
    "y1_px": float,
    "x2_px": float,
    "y2_px": float,
    "detection_score": float,
    "expression": str,
    "confidence": float,
    "uncertain": bool,
    "reliable": bool,
    "reason": str,
    **{f"p_{name}": float for name in EXPRESSIONS},
    "yaw_rad": float,
    "pitch_rad": float,
    "roll_rad": float,
    "valence": float,
    "arousal": float,
    "affect": str,
    "error": str,
}
"""Name -> type of every column. One row a face a frame; one for a frame without a face; one for a failure.
What does not apply is `None`: an empty cell in CSV, `null` in JSON and Parquet."""

Columns = Mapping[str, type]
Row = dict[str, Any]


def columns_of(
    labels: Iterable[str],
    mesh: bool = False,
    live: bool = False,
    smooth: bool = False,
    baseline: bool = False,
) -> Columns:
    """`COLUMNS`, and after them those of a model's own classes, of the mesh, of time and of live sources.

    Args:
        labels: the model's classes; each that is not one of mien's eight gets a `p_` column.
        mesh: with the columns of action units and of what they say.
        live: with `dropped`, the frames left out since the row before.
        smooth: with the columns that end in `_smoothed`, and events.
        baseline: with the columns that end in `_relative`, and what they are relative to.
    """
    labels = tuple(labels)
    columns: dict[str, type] = {
        **COLUMNS,
        **{f"p_{name}": float for name in labels if name not in EXPRESSIONS},
        **(mesh_columns() if mesh else {}),
    }
    if smooth:
        columns |= _answer_columns(labels, "smoothed") | {"uncertain_smoothed": bool, "event": str}
        columns |= {"blink": bool, "talking": bool} if mesh else {}
    if baseline:
        columns |= {"baseline": str} | _answer_columns(labels, "relative")
        columns |= {f"{unit_column(rule.unit)}_relative": float for rule in RULES} if mesh else {}
    return columns | ({"dropped": int} if live else {})


def _answer_columns(labels: tuple[str, ...], kind: str) -> dict[str, type]:
    """An answer of a kind: its class, its confidence, all probabilities."""
    probabilities = {f"p_{name}_{kind}": float for name in labels}
    return {f"expression_{kind}": str, f"confidence_{kind}": float, **probabilities}


@cache
def mesh_columns() -> Columns:
    """Why there is no mesh, what the action units say, and each unit from 0 to 5, with its sides where it has two."""
    units: dict[str, type] = {}
    for rule in RULES:
        name = unit_column(rule.unit)
        units |= dict.fromkeys(
            (name, f"{name}_left", f"{name}_right") if is_two_sided(rule) else (name,), float
        )
    return {"mesh_reason": str, "evidence": str, "disagreement": float, "disagrees": bool, **units}


def unit_column(unit: int) -> str:
    """Column of an action unit, "au01"."""
    return f"au{unit:02}"


def rows_of(result: FrameResult | Failure, columns: Columns = COLUMNS) -> list[Row]:
    """The rows of one result, each with all of `columns`."""
    blank: Row = dict.fromkeys(columns)
    if isinstance(result, Failure):
        return [{**blank, "path": result.path, "error": result.error}]
    time_s = None if result.time_s is None else round(result.time_s, 6)
    blank |= {"path": result.path, "frame": result.frame, "time_s": time_s}
    if "dropped" in columns:
        blank["dropped"] = result.dropped
    if not len(result.faces):
        return [blank]
    rows = [{**blank, **_face(result, index)} for index in range(len(result.faces))]
    if result.faces.in_time is not None:
        for index, row in enumerate(rows):
            values = _in_time(result.faces.in_time, index)
            if result.faces.mesh is not None and result.faces.mesh.reasons[index]:  # not seen is not "no"
                values |= dict.fromkeys(("blink", "talking"))
            row |= {name: value for name, value in values.items() if name in columns}
    return rows


def _face(result: FrameResult, index: int) -> Row:
    """The columns of one face."""
    faces = result.faces
    row: Row = {"face": index, "detection_score": _rounded(faces.detection_score[index], 4)}
    for name, value in zip(("x1_px", "y1_px", "x2_px", "y2_px"), faces.box_xyxy_px[index], strict=True):
        row[name] = _rounded(value, 2)
    if faces.track_id is not None:
        row["track_id"] = int(faces.track_id[index])
    if faces.expression is not None:
        row["expression"] = faces.expression.top[index]
        row["confidence"] = _rounded(faces.expression.confidence[index], 6)
        for name in faces.expression.names:
            row[f"p_{name}"] = _rounded(faces.expression[name][index], 6)
    if faces.uncertain is not None:
        row["uncertain"] = bool(faces.uncertain[index])
    if faces.quality is not None:
        row["reliable"] = not faces.quality.reasons[index]
        row["reason"] = faces.quality.reasons[index] or None
    if faces.pose_ypr_rad is not None:
        for name, value in zip(("yaw_rad", "pitch_rad", "roll_rad"), faces.pose_ypr_rad[index], strict=True):
            row[name] = _rounded(value, 4)
    if faces.affect is not None:
        row["valence"] = told(faces.affect.valence[index], 4)
        row["arousal"] = told(faces.affect.arousal[index], 4)
        row["affect"] = faces.affect.kind
    if faces.mesh is not None:
        row |= _mesh(faces, index)
    return row


def _mesh(faces: Faces, index: int) -> Row:
    """The columns of one face that come with the mesh."""
    assert faces.mesh is not None
    row: Row = {"mesh_reason": faces.mesh.reasons[index] or None}
    if faces.evidence is not None:
        row["evidence"] = faces.evidence.best(index)
    if faces.disagreement is not None:
        row["disagreement"] = told(faces.disagreement[index], 4)
        row["disagrees"] = None if row["disagreement"] is None else row["disagreement"] >= DISAGREES
    units = faces.action_units
    if units is not None:
        for side, values in (("", units.values), ("_left", units.left), ("_right", units.right)):
            for column, unit in enumerate(units.units):
                name = unit_column(unit) + side
                if values is not None and name in mesh_columns():
                    row[name] = told(values[index, column], 3)
    return row


def _in_time(shares: InTime, index: int) -> Row:
    """All columns of one face that come with smoothing and a baseline."""
    row: Row = {"event": shares.event[index] or None} if shares.event else {}
    for kind, values in (("smoothed", shares.smoothed), ("relative", shares.relative)):
        if values is None or np.isnan(values[index]).any():
            continue
        best = int(values[index].argmax())
        row[f"expression_{kind}"] = shares.names[best]
        row[f"confidence_{kind}"] = _rounded(values[index, best], 6)
        row |= {
            f"p_{name}_{kind}": _rounded(value, 6)
            for name, value in zip(shares.names, values[index], strict=True)
        }
        if kind == "smoothed":
            row["uncertain_smoothed"] = bool(shares.uncertain[index])
    for name, flags in (("blink", shares.blink), ("talking", shares.talking)):
        if flags is not None:
            row[name] = bool(flags[index])
    if shares.baseline:
        row["baseline"] = shares.baseline[index]
    if shares.units is not None:
        for unit, value in zip(shares.units.units, shares.units.values[index], strict=True):
            row[f"{unit_column(unit)}_relative"] = told(value, 3)
    return row


EVENT_COLUMNS: Columns = {
    "path": str,
    "track_id": int,
    "expression": str,
    "onset_s": float,
    "apex_s": float,
    "offset_s": float,
    "duration_s": float,
    "apex_frame": int,
    "strength": float,
    "intensity": float,
    "cut_before": bool,
    "cut_after": bool,
}
"""Name -> type of every column of a table of events; see `mien.types.track.Event`."""


def event_rows(course: Course) -> list[Row]:
    """One row an event of a clip, track after track."""
    return [
        {
            "path": course.path,
            "track_id": track.id,
            "expression": event.label,
            "onset_s": _rounded(event.onset_s, 6),
            "apex_s": _rounded(event.apex_s, 6),
            "offset_s": _rounded(event.offset_s, 6),
            "duration_s": _rounded(event.duration_s, 6),
            "apex_frame": int(track.frame[event.apex_row]),
            "strength": _rounded(event.strength, 4),
            "intensity": None if event.intensity is None else _rounded(event.intensity, 2),
            "cut_before": event.cut_before,
            "cut_after": event.cut_after,
        }
        for track, event in course.events()
    ]


def told(value: Any, digits: int) -> float | None:
    """A rounded number; `None` for NaN."""
    return None if math.isnan(value) else _rounded(value, digits)


def _rounded(value: Any, digits: int) -> float:
    return round(float(value), digits)


class Results(list[FrameResult | Failure]):
    """What `analyze` gives: a list of `FrameResult` and `Failure`, in the order of the files.

    Attributes:
        columns: of the table that it makes; `COLUMNS`, and more for a model with classes of its own.
    """

    columns: Columns = COLUMNS

    @property
    def failures(self) -> list[Failure]:
        """The files that could not be read."""
        return [result for result in self if isinstance(result, Failure)]

    def rows(self) -> Iterator[Row]:
        """One dict a face a frame, with all of `columns`."""
        for result in self:
            yield from rows_of(result, self.columns)

    def to_frame(self) -> Any:
        """A pandas DataFrame with `columns`; needs pandas (extra `tables`)."""
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("to_frame needs pandas: pip install 'mien[tables]'") from None
        kinds = {str: "string", int: "Int64", float: "Float64", bool: "boolean"}
        frame = pandas.DataFrame(list(self.rows()), columns=list(self.columns))
        return frame.astype({name: kinds[kind] for name, kind in self.columns.items()})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all rows; the suffix chooses the format (.csv, .jsonl, .parquet)."""
        with open_writer(Path(path), self.columns) as writer:
            for result in self:
                writer.write(rows_of(result, self.columns))


class TableWriter:
    """Writes rows to a file that appears under its name only when whole.

    Rows go to `NAME.part`. On a normal end and on Ctrl-C the file gets its name, with all rows so far; on
    another error it is removed, and what stood under the name before stays.
    """

    def __init__(self, path: Path, columns: Columns = COLUMNS) -> None:
        self.path, self.columns = path, columns
        self.part = path.with_name(path.name + ".part")
        if not path.parent.is_dir():
            raise OptionError(
                f"expected a folder {path.parent} to write {path.name} to, got none. Make it first."
            )
        if path.is_dir():
            raise OptionError(f"expected a file name to write to, got the folder {path}.")

    def __enter__(self) -> TableWriter:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.part.replace(self.path)
        else:
            self.part.unlink(missing_ok=True)

    def open(self) -> None:
        """Begin the `.part` file."""
        raise NotImplementedError

    def write(self, rows: list[Row]) -> None:
        """Add rows."""
        raise NotImplementedError

    def close(self) -> None:
        """End the `.part` file."""
        raise NotImplementedError


class CsvWriter(TableWriter):
    """Comma-separated values, UTF-8, a header line, empty cells for what does not apply."""

    stream: IO[str]

    def open(self) -> None:  # noqa: D102
        self.stream = self.part.open("w", newline="", encoding="utf-8")
        self.table = csv.DictWriter(self.stream, list(self.columns))
        self.table.writeheader()

    def write(self, rows: list[Row]) -> None:  # noqa: D102
        for row in rows:
            self.table.writerow(
                {
                    name: str(value).lower() if isinstance(value, bool) else value
                    for name, value in row.items()
                }
            )

    def close(self) -> None:  # noqa: D102
        self.stream.close()


class JsonLinesWriter(TableWriter):
    """One JSON object a line, every column as a key."""

    stream: IO[str]

    def open(self) -> None:  # noqa: D102
        self.stream = self.part.open("w", encoding="utf-8")

    def write(self, rows: list[Row]) -> None:  # noqa: D102
        self.stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def close(self) -> None:  # noqa: D102
        self.stream.close()


class ParquetWriter(TableWriter):
    """Parquet with typed, nullable columns; needs pyarrow (extra `tables`)."""

    group_rows = 10_000

    def open(self) -> None:  # noqa: D102
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise MissingExtraError("writing Parquet needs pyarrow: pip install 'mien[tables]'") from None
        kinds = {
            str: pyarrow.string(),
            int: pyarrow.int64(),
            float: pyarrow.float64(),
            bool: pyarrow.bool_(),
        }
        self.schema = pyarrow.schema([(name, kinds[kind]) for name, kind in self.columns.items()])
        self.arrow = pyarrow
        self.table = pyarrow.parquet.ParquetWriter(self.part, self.schema)
        self.waiting: list[Row] = []

    def write(self, rows: list[Row]) -> None:  # noqa: D102
        self.waiting += rows
        if len(self.waiting) >= self.group_rows:
            self._flush()

    def _flush(self) -> None:
        if self.waiting:
            self.table.write_table(self.arrow.Table.from_pylist(self.waiting, self.schema))
            self.waiting = []

    def close(self) -> None:  # noqa: D102
        self._flush()
        self.table.close()


WRITERS: dict[str, type[TableWriter]] = {
    ".csv": CsvWriter,
    ".jsonl": JsonLinesWriter,
    ".ndjson": JsonLinesWriter,
    ".parquet": ParquetWriter,
}


def open_writer(path: Path, columns: Columns = COLUMNS) -> TableWriter:
    """The writer for a file name.

    Raises:
        OptionError: the suffix is not .csv, .jsonl, .ndjson or .parquet, or its folder is missing.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise OptionError(
            f"expected a file name that ends in {', '.join(WRITERS)}, got {path.name!r}. The ending chooses the format."
        )
    return writer(path, columns)
