"""A process that reads clips, one at a time: what it is told comes as JSON lines, and so does what it finds.

Clips of strangers are decoded here and not in the service: a decoder that crashes, hangs or eats memory takes down nothing but
its own job.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mien.errors import InputError, MissingExtraError, OptionError
from mien.serve.options import stretch
from mien.serve.refusals import Refusal

ROWS_S, ROWS = 0.5, 1000
"""Rows are told after so many seconds, or so many rows."""
PROGRESS_S = 0.3

Tell = Callable[[dict[str, Any]], None]


class Reader:
    """Reads clips with the limits of the service.

    Args:
        told: `model`, `threads`, `frame_megapixels`, `length_s`.
        tell: what is found goes there.
    """

    def __init__(self, told: dict[str, Any], tell: Tell) -> None:
        self._told, self._tell = told, tell
        self._analyzers: dict[bool, Any] = {}

    def _analyzer(self, mesh: bool) -> Any:
        from mien.pipeline.analyzer import Analyzer

        if mesh not in self._analyzers:
            self._analyzers[mesh] = Analyzer(self._told["model"], threads=self._told["threads"], mesh=mesh)
        return self._analyzers[mesh]

    def read(self, job: dict[str, Any]) -> None:
        """Read one clip: `file`, `name` and options; tells `opened`, `rows`, `progress`, `events`.

        Raises:
            Refusal: no clip, or one beyond a limit.
        """
        from mien.pipeline.clips import clip_info
        from mien.pipeline.table import columns_of, event_rows

        path, options = Path(job["file"]), job["options"]
        analyzer = self._analyzer(options["mesh"])
        baseline = options["baseline"]
        columns = columns_of(
            analyzer.runner.weights.labels, options["mesh"], False, options["smooth"], baseline is not None
        )
        try:
            info = clip_info(path)
            self._check_frame(path)
        except InputError as error:
            raise Refusal("not_a_clip", str(error)) from None
        self._check_length(info.duration_s)
        names = {name: kind.__name__ for name, kind in columns.items()}
        self._tell({"tell": "opened", "columns": names, "length_s": info.duration_s or None})
        teller = _Teller(self._tell, job["name"], columns)

        def course_found(course: Any) -> None:
            teller.tell("events", [{**row, "path": job["name"]} for row in event_rows(course)])
            teller.tell("report", [{"html": self._report(course, job["name"], analyzer, options)}])

        def frame_seen(result: Any, image: Any) -> None:
            self._check_length(result.time_s or 0.0)
            self._check_pixels(*result.size_wh_px)
            teller.seen(result)

        results = analyzer.stream(
            str(path), every_s=options["every_s"], start_s=options["start_s"], end_s=options["end_s"],
            smooth=options["smooth"], baseline=None if baseline is None else stretch(baseline),
            observer=frame_seen, course=course_found if options["smooth"] else None,
        )  # fmt: skip
        for result in results:
            teller.add(result)
        teller.end()

    def _report(self, course: Any, name: str, analyzer: Any, options: dict[str, Any]) -> str:
        """The page of one clip; empty where matplotlib is not installed."""
        from mien.pipeline.clip_report import ReportWriter

        weights, path = analyzer.runner.weights, Path(self._told["scratch"]) / f"{os.urandom(16).hex()}.html"
        chosen = {key: options[key] for key in ("every_s", "start_s", "end_s", "mesh", "baseline")}
        try:
            with ReportWriter(path, model=weights.name, sha256=weights.sha256, options=chosen) as report:
                report.add(course, name)
            return path.read_text()
        except MissingExtraError:
            return ""
        finally:
            path.unlink(missing_ok=True)

    def _check_frame(self, path: Path) -> None:
        from mien.pipeline.decoding import open_clip, video_stream

        with open_clip(path) as container:
            stream = video_stream(container)
            self._check_pixels(stream.width, stream.height)

    def _check_pixels(self, width: int, height: int) -> None:
        most = self._told["frame_megapixels"] * 1e6
        if width * height > most:
            raise Refusal(
                "too_many_pixels",
                f"expected frames of at most {most:.0f} pixels (frame_megapixels), got {width} x {height}. Make the clip "
                "smaller.",
            )

    def _check_length(self, length_s: float) -> None:
        most = self._told["length_s"]
        if length_s > most:
            raise Refusal(
                "too_long",
                f"expected a clip of at most {most:g} s (length_s), got {length_s:.0f} s. Cut it into pieces.",
            )


class _Teller:
    """Collects rows and tells them by and by, with the client's own name in the place of the file's."""

    def __init__(self, tell: Tell, name: str, columns: Any) -> None:
        self._tell, self._name, self._columns = tell, name, columns
        self._rows: list[dict[str, Any]] = []
        self._told_at = self._progress_at = time.monotonic()
        self._frames = self._faces = 0
        self._done_s = 0.0

    def seen(self, result: Any) -> None:
        """Note a frame that was read; its rows may come much later."""
        self._frames += 1
        self._faces += len(result.faces)
        self._done_s = max(self._done_s, result.time_s or 0.0)
        if time.monotonic() - self._progress_at > PROGRESS_S:
            self._progress_at = time.monotonic()
            self._tell({"tell": "progress", **self._counts()})

    def add(self, result: Any) -> None:
        """The next result of the stream."""
        from mien.pipeline.table import rows_of
        from mien.types.media import Failure

        if isinstance(result, Failure):
            message = result.error.replace(result.path, self._name)
            if not self._frames:
                raise Refusal("not_a_clip", message)
            result = replace(result, error=message)
            self._tell({"tell": "broken", "message": message})
        self._rows += rows_of(replace(result, path=self._name), self._columns)
        if len(self._rows) >= ROWS or time.monotonic() - self._told_at > ROWS_S:
            self._tell_rows()

    def tell(self, kind: str, rows: list[dict[str, Any]]) -> None:
        """Tell rows of another kind than those of the table."""
        self._tell({"tell": kind, "rows": rows, **self._counts()})

    def end(self) -> None:
        """Tell what is left."""
        if self._rows:
            self._tell_rows()
        self._tell({"tell": "progress", **self._counts()})

    def _tell_rows(self) -> None:
        self._tell({"tell": "rows", "rows": self._rows, **self._counts()})
        self._rows, self._told_at = [], time.monotonic()

    def _counts(self) -> dict[str, Any]:
        return {"done_s": self._done_s, "frames": self._frames, "faces": self._faces}


def _limit_memory(megabytes: float) -> None:
    """No more than so much; beyond it allocations fail, and with them the job."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (int(megabytes * 1e6), int(megabytes * 1e6)))


def _failed(error: BaseException) -> dict[str, Any]:
    """What is told of an error. For the log only where it was raised: its text may hold what belongs to a client."""
    if isinstance(error, Refusal):
        return {"tell": "failed", "kind": error.kind, "message": error.message}
    if isinstance(error, MemoryError):
        message = "expected a clip that fits into the service's memory (memory_mb), got one that does not. Make it smaller."
        return {"tell": "failed", "kind": "memory", "message": message, "log": {"type": "MemoryError"}}
    if isinstance(error, OptionError):
        return {"tell": "failed", "kind": "bad_option", "message": str(error)}
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    message = "expected to read the clip, got an error of the service's own. Tell whoever runs it; its log has more."
    return {
        "tell": "failed", "kind": "internal", "message": message,
        "log": {"type": type(error).__name__, "frames": frames},
    }  # fmt: skip


def main() -> None:
    """Read jobs from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches all; the service decides
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing that a library prints gets among the lines

    def tell(found: dict[str, Any]) -> None:
        out.write(json.dumps(found, ensure_ascii=False) + "\n")
        out.flush()

    told = json.loads(sys.stdin.readline())
    tempfile.tempdir = told["scratch"]
    _limit_memory(told["memory_mb"])
    reader = Reader(told, tell)
    with contextlib.suppress(BrokenPipeError):  # the service has gone
        for line in sys.stdin:
            try:
                reader.read(json.loads(line))
            except BrokenPipeError:
                raise
            except Exception as error:
                tell(_failed(error))
            else:
                tell({"tell": "end"})


if __name__ == "__main__":
    main()
