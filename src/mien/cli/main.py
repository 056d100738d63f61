"""The command `mien`. A thin shell over `mien.Analyzer`, with the same argument names."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from mien import __version__
from mien.cli import exits, explain, flow, serve, training, weights
from mien.errors import MienError, OptionError

EPILOG = """exit codes:
  0    every file was analysed (a picture without a face is analysed)
  1    some files could not be read; the others were, and the reasons stand in the column 'error'
  2    an option or the model cannot be used, or the results cannot be written
  3    nothing could be read
  130  stopped with Ctrl-C; --out holds all rows so far
"""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    root = argparse.ArgumentParser(
        prog="mien", description="Read facial expressions from pictures and clips."
    )
    root.add_argument("--version", action="version", version=f"mien {__version__}")
    verbs = root.add_subparsers(dest="verb", required=True, metavar="VERB")
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
    analyze.add_argument(
        "--every", type=float, metavar="SECONDS", help="of clips, take one frame in so many seconds"
    )
    analyze.add_argument(
        "--start",
        type=seconds,
        metavar="TIME",
        help="of clips, begin there: seconds or [hours:]minutes:seconds",
    )
    analyze.add_argument(
        "--end", type=seconds, metavar="TIME", help="of clips, stop before that; ends a live source"
    )
    analyze.add_argument(
        "--model", default="expression", metavar="NAME|FILE", help="expression network (default: %(default)s)"
    )
    analyze.add_argument(
        "--mesh", action="store_true", help="read the mesh too: action units, and whether they agree"
    )
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
        "--columns", choices=("mien", "openface"), default="mien",
        help="names of the columns; openface: as OpenFace 2 has them, with --mesh (default: mien)",
    )  # fmt: skip
    analyze.add_argument(
        "--min-face-px", type=float, default=24.0, help="smallest face looked for, pixels (default: 24)"
    )
    analyze.add_argument(
        "--detection-threshold", type=float, default=0.7, help="least detector score, 0 to 1 (default: 0.7)"
    )
    analyze.add_argument(
        "--detect-every", type=int, default=1, metavar="FRAMES",
        help="of clips, search a whole frame only after so many, and around the last faces in between (default: 1)",
    )  # fmt: skip
    analyze.add_argument("--threads", type=int, default=0, help="threads, 0 for one a core (default: 0)")
    demo = verbs.add_parser(
        "demo", help="analyse the pictures that come with mien", epilog="Needs no files and opens nothing."
    )
    _output_options(demo)
    training.add_verbs(verbs)
    weights.add_verb(verbs)
    explain.add_verb(verbs)
    flow.add_verb(verbs)
    serve.add_verb(verbs)
    return root


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser().parse_args(arguments)
    if options.verb == "demo":
        from mien.demo import demo_pictures

        options.paths = demo_pictures()
        options.every = options.start = options.end = None
        options.model, options.threads, options.mesh, options.identity = "expression", 0, False, False
        options.smooth, options.baseline, options.events, options.detect_every = False, None, None, 1
        options.min_face_px, options.detection_threshold, options.columns = 24.0, 0.7, "mien"
    try:
        own = {"weights": weights, "explain": explain, "flow": flow, "serve": serve}
        if options.verb in own:
            return own[options.verb].run(options)
        return training.run(options) if options.verb in training.VERBS else _analyze(options)
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr)
        return exits.USAGE
    except BrokenPipeError:
        sys.stderr.close()
        return exits.OK
    except OSError as error:
        print(f"mien: expected to be able to write the results, got: {error}", file=sys.stderr)
        return exits.USAGE


def _analyze(options: argparse.Namespace) -> int:
    """Both verbs: run the stream through everything that wants its results."""
    from mien.cli.display import JsonArray, LiveCount, PlainTable, ProgressBar
    from mien.pipeline import openface
    from mien.pipeline.analyzer import Analyzer
    from mien.pipeline.course import baseline_wish
    from mien.pipeline.live import live_source
    from mien.pipeline.overlay import OverlayWriter
    from mien.pipeline.table import EVENT_COLUMNS, columns_of, event_rows, open_writer, rows_of
    from mien.types.media import Failure

    if options.every is not None and not options.every > 0:
        raise OptionError(f"expected --every over 0 seconds, got {options.every:g}")
    if options.end is not None and not options.end > (options.start or 0):
        raise OptionError(f"expected --end after --start ({options.start or 0:g} s), got {options.end:g} s")
    analyzer = Analyzer(
        options.model,
        mesh=options.mesh or options.columns == "openface",
        identity=options.identity,
        min_face_px=options.min_face_px,
        detection_threshold=options.detection_threshold,
        threads=options.threads,
        detect_every=options.detect_every,
    )
    live = any(live_source(str(path)) for path in options.paths)
    baseline = None if options.baseline is None else baseline_wish(options.baseline)
    own = columns_of(
        analyzer.runner.weights.labels, analyzer.mesh is not None, live, options.smooth, baseline is not None
    )
    columns = openface.COLUMNS if options.columns == "openface" else own
    read = failed = 0
    kept_up = LiveCount()
    interrupted = False
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(open_writer(options.out, columns)) if options.out else None
        events = stack.enter_context(open_writer(options.events, EVENT_COLUMNS)) if options.events else None
        overlay = stack.enter_context(OverlayWriter(options.overlay)) if options.overlay else None
        printer = stack.enter_context(JsonArray(sys.stdout) if options.json else PlainTable(sys.stdout))
        bar = stack.enter_context(ProgressBar(sys.stderr, hidden=options.quiet))
        results = analyzer.stream(
            options.paths, every_s=options.every, start_s=options.start, end_s=options.end,
            smooth=options.smooth, baseline=baseline, observer=overlay,
            course=None if events is None else lambda course: events.write(event_rows(course)), progress=bar.update,
        )  # fmt: skip
        try:
            for result in results:
                rows = rows_of(result, own)
                named = openface.rows_of(result) if options.columns == "openface" else rows
                failed += isinstance(result, Failure)
                read += not isinstance(result, Failure)
                kept_up.note(result)
                if writer is not None:
                    writer.write(named)
                if options.json or not options.quiet:
                    bar.aside(printer, named if options.json else rows)
                if isinstance(result, Failure):
                    bar.say(f"mien: {result.path}: {result.error}")
        except KeyboardInterrupt:
            interrupted = True
    for line in kept_up.lines():
        print(f"mien: {line}", file=sys.stderr)
    if interrupted:
        print("mien: stopped; what was done is complete", file=sys.stderr)
        return exits.INTERRUPTED
    if failed:
        return exits.SOME_FAILED if read else exits.ALL_FAILED
    return exits.OK


def run() -> None:
    """Entry point of the installed command."""
    sys.exit(main())
