"""What the command shows: a table people can read, a JSON array, a progress bar."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO

from tqdm import tqdm

from mien.pipeline.confidence import decimals
from mien.pipeline.table import Row
from mien.types.media import Failure, FrameResult

_HEAD = ("file", "frame", "time s", "face", "expression", "confidence", "box px", "notes")
_WIDTHS = (28, 6, 9, 5, 11, 10, 23, 0)


class _Closing:
    def __enter__(self):  # type: ignore[no-untyped-def]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing to do unless a display says otherwise."""


class PlainTable(_Closing):
    """Rows for people, printed as they come."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.started = False

    def write(self, rows: list[Row]) -> None:
        """Print rows."""
        if not self.started:
            self.started = True
            self._line(_HEAD)
        for row in rows:
            self._line(_cells(row))

    def _line(self, cells: tuple[str, ...]) -> None:
        padded = (cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True))
        self.stream.write("  ".join(padded).rstrip() + "\n")


def _cells(row: Row) -> tuple[str, ...]:
    """One row as text: unknown things are empty, unsure ones carry a question mark."""
    name = Path(row["path"]).name
    if len(name) > _WIDTHS[0]:
        name = "..." + name[-(_WIDTHS[0] - 3) :]
    frame = "" if row["frame"] is None or row["time_s"] is None else str(row["frame"])
    time_s = "" if row["time_s"] is None else f"{row['time_s']:.3f}"
    if row["error"] is not None:
        return name, frame, time_s, "", "", "", "", "failed: " + row["error"]
    if row["face"] is None:
        return name, frame, time_s, "-", "", "", "", "no face"
    box = " ".join(f"{row[side]:.0f}" for side in ("x1_px", "y1_px", "x2_px", "y2_px"))
    notes = []
    if row["uncertain"]:
        notes.append("uncertain")
    if row["reason"]:
        notes.append("not reliable: " + row["reason"])
    expression = f"{row['expression']}{'?' if row['uncertain'] else ''}"
    return (
        name,
        frame,
        time_s,
        str(row["face"]),
        expression,
        decimals(row["confidence"]),
        box,
        "; ".join(notes),
    )


class JsonArray(_Closing):
    """All rows as one JSON array, written as they come, one row a line."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.stream.write("[")
        self.empty = True

    def write(self, rows: list[Row]) -> None:
        """Print rows."""
        for row in rows:
            self.stream.write(("\n" if self.empty else ",\n") + json.dumps(row, ensure_ascii=False))
            self.empty = False

    def close(self) -> None:
        """End the array."""
        self.stream.write("\n]\n")
        self.stream.flush()


class LiveCount:
    """Of each live source how many frames were analysed, and how many dropped to keep up."""

    def __init__(self) -> None:
        self.analysed: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def note(self, result: FrameResult | Failure) -> None:
        """Count a result; those of files do not matter here."""
        if isinstance(result, FrameResult) and result.dropped is not None:
            self.analysed[result.path] += 1
            self.dropped[result.path] += result.dropped

    def lines(self) -> list[str]:
        """A line a source."""
        return [
            f"{source}: {count} frames analysed, {self.dropped[source]} dropped to keep up"
            for source, count in self.analysed.items()
        ]


class ProgressBar(_Closing):
    """Files done, and within a clip the seconds done. Hidden where the stream is no terminal."""

    def __init__(self, stream: IO[str], hidden: bool) -> None:
        self.hidden = hidden or not stream.isatty()
        self.stream = stream
        self.bar: tqdm | None = None
        self.path: Path | None = None

    def update(self, path: Path, done_s: float, length_s: float) -> None:
        """Note that a file has got so far; a length of 0 is a picture."""
        if self.hidden or not length_s:
            return
        if path != self.path:
            self.close()
            self.path = path
            self.bar = tqdm(total=round(length_s, 1), desc=path.name, unit="s", file=self.stream, leave=False)
        if self.bar is not None:
            self.bar.update(min(done_s, self.bar.total) - self.bar.n)

    def aside(self, printer: PlainTable | JsonArray, rows: list[Row]) -> None:
        """Let rows be printed without the bar in their way."""
        if self.bar is None:
            printer.write(rows)
            return
        with tqdm.external_write_mode(file=self.stream):
            printer.write(rows)

    def say(self, text: str) -> None:
        """Print a line to the bar's stream."""
        with tqdm.external_write_mode(file=self.stream):
            self.stream.write(text + "\n")

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
