"""The verb `study`: a folder of pictures and clips of participants under conditions, to tables, plots and a report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mien.cli import exits
from mien.cli.reading import add_reading, check_every
from mien.errors import OptionError
from mien.files import made_folder

EPILOG = """exit codes:
  0    every file was read, and none was left out
  1    some files could not be read, or were left out; report.html says which
  2    an option, the table, the folder or the model cannot be used
  3    nothing could be read
  130  stopped with Ctrl-C; the table of frames holds all rows so far, nothing else was written
"""


def add_verb(verbs: Any) -> None:
    """Add the verb to the command's parser."""
    verb = verbs.add_parser(
        "study",
        help="participants, conditions and stimuli: tables, plots and a report of a folder",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("folder", type=Path, metavar="DIR", help="pictures and clips, in folders below it too")
    verb.add_argument(
        "--table", type=Path, metavar="FILE.csv",
        help="path and any of participant, condition, stimulus, session; without it, names such as sub-01_cond-sad.mp4",
    )  # fmt: skip
    verb.add_argument(
        "--out", type=Path, default=Path("study_report"), metavar="DIR", help="default: %(default)s"
    )
    add_reading(verb, "every")
    verb.add_argument(
        "--baseline", metavar="auto|START-END|FILE",
        help="values relative to each face at rest: its calmest fifth, a stretch; a file for one participant alone",
    )  # fmt: skip
    verb.add_argument("--mesh", action="store_true", help="action units and blinks too")
    verb.add_argument(
        "--test", action="store_true", help="also Wilcoxon's test of differences, adjusted by Holm"
    )
    verb.add_argument(
        "--parquet", action="store_true", help="write the table of frames as frames.parquet, not .csv"
    )
    add_reading(verb, "model", "detect-every", "threads")
    verb.add_argument("--seed", type=int, default=0, help="of the intervals (default: 0)")
    verb.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from mien.cli.display import ProgressBar
    from mien.evaluate.canvas import require_matplotlib
    from mien.pipeline.analyzer import Analyzer
    from mien.pipeline.course import baseline_wish
    from mien.pipeline.study import StudyOptions, frame_columns, run_study
    from mien.pipeline.study_files import plan_study
    from mien.pipeline.study_report import write_study
    from mien.pipeline.table import open_writer

    check_every(options.every)
    if options.seed < 0:
        raise OptionError(f"expected --seed of at least 0, got {options.seed}")
    require_matplotlib()
    baseline = None if options.baseline is None else baseline_wish(options.baseline)
    plan = plan_study(options.folder, options.table, options.out)
    analyzer = Analyzer(
        options.model, mesh=options.mesh, threads=options.threads, detect_every=options.detect_every
    )
    wishes = StudyOptions(options.every, baseline, options.seed, options.test)
    out = made_folder(options.out, "write the report to")
    frames = out / ("frames.parquet" if options.parquet else "frames.csv")
    count = 0

    def done(row: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        what = f"{row['frames']:,} frames" if row["error"] is None else f"failed: {row['error']}"
        if row["error"] is not None or not options.quiet:
            bar.say(f"mien: {count} of {len(plan.files)}: {row['path']}: {what}")

    try:
        with (
            ProgressBar(sys.stderr, options.quiet) as bar,
            open_writer(frames, frame_columns(analyzer, wishes)) as writer,
        ):
            study = run_study(analyzer, plan, writer, wishes, bar.update, done)
    except KeyboardInterrupt:
        print(f"mien: stopped; {frames} holds all rows so far", file=sys.stderr)
        return exits.INTERRUPTED
    write_study(study, analyzer, options.out)
    for note in (*plan.notes, *left_out_lines(plan.left_out)):
        print(f"mien: {note}", file=sys.stderr)
    if not any(row["frames"] for row in study.files):
        return exits.ALL_FAILED
    if not options.quiet:
        print(f"{len(study.files)} files: {options.out / 'report.html'}")
    return exits.SOME_FAILED if study.failures or plan.left_out else exits.OK


def left_out_lines(left_out: Sequence[tuple[str, str]], most: int = 5) -> list[str]:
    """A line a reason, with some of the files; all stand in the report."""
    paths: dict[str, list[str]] = {}
    for path, why in left_out:
        paths.setdefault(why, []).append(path)
    return [
        f"{', '.join(some[:most])}{f' and {len(some) - most} more' if len(some) > most else ''}: {why}"
        for why, some in paths.items()
    ]
