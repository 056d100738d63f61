"""`mien analyze` and `mien demo`: a thin shell over `mien.Analyzer`, with the same argument names."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.cli import exits
from mien.cli.reading import add_reading, check_every, results_apart
from mien.errors import OptionError

if TYPE_CHECKING:
    from mien.pipeline.analyzer import Analyzer
    from mien.pipeline.table import Columns, Row
    from mien.types.media import Failure, FrameResult
    from mien.types.track import Course

EPILOG = """exit codes:
  0    every file was analysed (a picture without a face is analysed)
  1    some files could not be read; the others were, and the reasons stand in the column 'error'
  2    an option or the model cannot be used, or the results cannot be written
  3    nothing could be read
  130  stopped with Ctrl-C; --out holds all rows so far
"""


def add_verbs(verbs: Any) -> None:
    """Both verbs' arguments."""
    analyze = verbs.add_parser(
        "analyze",
        help="find faces in pictures and clips and read their expressions",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    analyze.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="pictures, clips, folders or patterns; live: camera:0, rtsp://..., http://...",
    )
    _output_options(analyze)
    add_reading(analyze, "every")
    analyze.add_argument(
        "--start",
        type=seconds,
        metavar="TIME",
        help="of clips, begin there: seconds or [hours:]minutes:seconds",
    )
    analyze.add_argument(
        "--end", type=seconds, metavar="TIME", help="of clips, stop before that; ends a live source"
    )
    add_reading(analyze, "model", "mesh")
    analyze.add_argument(
        "--identity", action="store_true",
        help="know people again in a clip by a network that tells people apart",
    )  # fmt: skip
    analyze.add_argument(
        "--smooth", action="store_true", help="of clips, also values smoothed over time, events, blinks"
    )
    analyze.add_argument(
        "--baseline", metavar="auto|START-END|FILE",
        help="values also relative to the face at rest: its calmest fifth, a stretch, or a picture or clip",
    )  # fmt: skip
    analyze.add_argument(
        "--events",
        type=Path,
        metavar="FILE",
        help="of clips, write the table of events (.csv, .jsonl, .parquet)",
    )
    analyze.add_argument(
        "--plot", type=Path, metavar="DIR", help="of clips, draw each face over time, and all of them"
    )
    analyze.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="of clips, write one page with plots, events and shares (.html)",
    )
    analyze.add_argument(
        "--columns", choices=("mien", "openface"), default="mien",
        help="names of the columns; openface: as OpenFace 2 has them, with --mesh (default: mien)",
    )  # fmt: skip
    add_reading(analyze, "min-face-px", "detection-threshold", "detect-every", "threads")
    demo = verbs.add_parser(
        "demo", help="analyse the pictures that come with mien", epilog="Needs no files and opens nothing."
    )
    _output_options(demo)


def _output_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--out", type=Path, metavar="FILE", help="write the table: .csv, .jsonl or .parquet by its ending"
    )
    verb.add_argument("--overlay", type=Path, metavar="DIR", help="write drawn pictures and clips")
    verb.add_argument("--json", action="store_true", help="print a JSON array of rows instead of the table")
    verb.add_argument("--quiet", action="store_true", help="no progress bar, no table")


def seconds(text: str) -> float:
    """Seconds of "90", "1:30" or "0:01:30.5".

    Raises:
        ArgumentTypeError: the text is none of these.
    """
    parts = text.split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = [math.nan]
    inner = values[1:]
    if (
        len(parts) > 3
        or not all(0 <= value < math.inf for value in values)
        or not all(value < 60 for value in inner)
    ):
        raise argparse.ArgumentTypeError(f"expected seconds or [hours:]minutes:seconds, got {text!r}")
    return sum(value * 60**place for place, value in enumerate(reversed(values)))


def run(options: argparse.Namespace) -> int:
    """Both verbs: run the stream through everything that wants its results; gives the exit code."""
    from mien.cli.display import JsonArray, LiveCount, PlainTable, ProgressBar
    from mien.cli.notes import Notes
    from mien.pipeline import openface
    from mien.pipeline.course import baseline_wish
    from mien.pipeline.live import live_source
    from mien.pipeline.table import columns_of, rows_of
    from mien.types.media import Failure

    if options.verb == "demo":
        options = _as_analyze(options)
    drawn = results_apart(options.paths, options.overlay, options.plot)
    analyzer = _analyzer(options)
    live = any(live_source(str(path)) for path in options.paths)
    baseline = None if options.baseline is None else baseline_wish(options.baseline)
    mesh, labels = analyzer.mesh is not None, analyzer.runner.weights.labels
    own = columns_of(labels, mesh, live, options.smooth, baseline is not None)
    read = failed = 0
    kept_up, notes = LiveCount(), Notes(options, baseline)
    interrupted = False
    with contextlib.ExitStack() as stack:
        files = _Files(options, analyzer, openface.COLUMNS if options.columns == "openface" else own, stack)
        if not live and (files.course or options.smooth or options.baseline):
            files.tell(notes.add)
        printer = stack.enter_context(JsonArray(sys.stdout) if options.json else PlainTable(sys.stdout))
        bar = stack.enter_context(ProgressBar(sys.stderr, hidden=options.quiet))
        results = analyzer.stream(
            options.paths, every_s=options.every, start_s=options.start, end_s=options.end,
            smooth=options.smooth, baseline=baseline, without=drawn, observer=files.overlay, course=files.course,
            progress=bar.update,
        )  # fmt: skip
        try:
            for result in results:
                rows = rows_of(result, own)
                named = openface.rows_of(result) if options.columns == "openface" else rows
                failed += isinstance(result, Failure)
                read += not isinstance(result, Failure)
                kept_up.note(result)
                notes.note(result)
                files.write(result, named)
                if options.json or not options.quiet:
                    bar.aside(printer, named if options.json else rows)
                if isinstance(result, Failure):
                    bar.say(f"mien: {result.path}: {result.error}")
        except KeyboardInterrupt:
            interrupted = True
    for line in [*kept_up.lines(), *notes.lines()]:
        print(f"mien: {line}", file=sys.stderr)
    if interrupted:
        print("mien: stopped; what was done is complete", file=sys.stderr)
        return exits.INTERRUPTED
    if failed:
        return exits.SOME_FAILED if read else exits.ALL_FAILED
    return exits.OK


def _as_analyze(demo: argparse.Namespace) -> argparse.Namespace:
    """The options of `mien analyze` on the shipped pictures, with those of the demo."""
    from mien.demo import demo_pictures

    root = argparse.ArgumentParser()
    add_verbs(root.add_subparsers(dest="verb"))
    plain = root.parse_args(["analyze", *(str(path) for path in demo_pictures())])
    return argparse.Namespace(**{**vars(plain), **vars(demo)})


def _analyzer(options: argparse.Namespace) -> Analyzer:
    """The analyzer that the options ask for.

    Raises:
        OptionError: times that are no part of a clip.
    """
    from mien.pipeline.analyzer import Analyzer

    check_every(options.every)
    if options.end is not None and not options.end > (options.start or 0):
        raise OptionError(f"expected --end after --start ({options.start or 0:g} s), got {options.end:g} s")
    return Analyzer(
        options.model,
        mesh=options.mesh or options.columns == "openface",
        identity=options.identity,
        min_face_px=options.min_face_px,
        detection_threshold=options.detection_threshold,
        threads=options.threads,
        detect_every=options.detect_every,
    )


class _Files:
    """The files that are written: table, events, plots, report, drawn pictures and clips.

    Attributes:
        overlay: wants each result with its image; `None` if nothing is drawn.
        course: wants the course of each clip; `None` if nobody does.
    """

    def __init__(
        self, options: argparse.Namespace, analyzer: Analyzer, columns: Columns, stack: contextlib.ExitStack
    ) -> None:
        from mien.pipeline.clip_report import ReportWriter
        from mien.pipeline.overlay import OverlayWriter
        from mien.pipeline.table import EVENT_COLUMNS, event_rows, open_writer
        from mien.pipeline.timeline import PlotWriter

        if options.out and options.events and options.out.resolve() == options.events.resolve():
            raise OptionError(
                f"expected two files for --out and --events, got {options.out} for both. Name another."
            )
        self.table = stack.enter_context(open_writer(options.out, columns)) if options.out else None
        self.overlay = stack.enter_context(OverlayWriter(options.overlay)) if options.overlay else None
        self.report: ReportWriter | None = None
        self._last_read = ""
        self._courses: list[Callable[[Course], None]] = []
        if options.events:
            events = stack.enter_context(open_writer(options.events, EVENT_COLUMNS))
            self._courses.append(lambda course: events.write(event_rows(course)))
        if options.plot:
            self._courses.append(PlotWriter(options.plot))
        if options.report:
            weights = analyzer.runner.weights
            chosen = {name: getattr(options, name) for name in ("every", "start", "end", "mesh", "baseline")}
            self.report = stack.enter_context(
                ReportWriter(options.report, model=weights.name, sha256=weights.sha256, options=chosen)
            )
            self._courses.append(self.report.add)
        self.course = self._tell if self._courses else None

    def tell(self, wants: Callable[[Course], None]) -> None:
        """Let something else know the course of each clip too."""
        self._courses.append(wants)
        self.course = self._tell

    def _tell(self, course: Course) -> None:
        for wants in self._courses:
            wants(course)

    def write(self, result: FrameResult | Failure, rows: list[Row]) -> None:
        """Take the next result in; a clip that broke off is in the report by its course."""
        from mien.types.media import Failure

        if self.table is not None:
            self.table.write(rows)
        if isinstance(result, Failure) and self.report is not None and result.path != self._last_read:
            self.report.add_failure(result)
        self._last_read = result.path
