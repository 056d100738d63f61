"""The verb `batch`: many files on many workers, into a folder of Parquet parts; kill it and run it again."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from mien.cli import exits
from mien.cli.reading import add_reading

EPILOG = """exit codes:
  0    every part is there (a file that could not be read is a row with its 'error')
  1    some parts could not be made; run it again to try them
  2    an option, the list, the model or the folder cannot be used
  3    every part is there, but no file could be read
  130  stopped with Ctrl-C; run it again to go on
"""


def add_verb(verbs: Any) -> None:
    """Add the verb to the command's parser."""
    verb = verbs.add_parser(
        "batch",
        help="analyse very many files, on one machine or many",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument(
        "manifest", metavar="MANIFEST",
        help="a list of paths (.txt, .csv or .parquet with a column 'path'), a folder or a pattern",
    )  # fmt: skip
    verb.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder of the parts, also s3://... and what else fsspec knows",
    )
    verb.add_argument("--engine", choices=("processes", "ray"), default="processes")
    verb.add_argument(
        "--workers",
        type=int,
        default=0,
        help="how many, each on one core; 0 for as many as there are (default: 0)",
    )
    verb.add_argument(
        "--ray-address", default="auto", metavar="ADDRESS", help="of a running cluster (default: %(default)s)"
    )
    verb.add_argument(
        "--shard-size", type=int, default=1000, metavar="FILES", help="files a part (default: 1000)"
    )
    verb.add_argument(
        "--retries", type=int, default=2, help="tries more of a part that could not be made (default: 2)"
    )
    verb.add_argument(
        "--merge", type=Path, metavar="FILE", help="in the end also one table: .csv, .jsonl or .parquet"
    )
    add_reading(verb, "model", "mesh", "min-face-px", "detection-threshold", "every")
    verb.add_argument("--json", action="store_true", help="print what was done as JSON")
    verb.add_argument("--quiet", action="store_true", help="no progress bar, nothing printed")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from tqdm import tqdm

    from mien.batch.engines import OnRay, Processes
    from mien.batch.plan import Options
    from mien.batch.run import batch, merge
    from mien.pipeline.table import open_writer

    how = Options(
        options.model, options.mesh, options.min_face_px, options.detection_threshold, options.every
    )
    if options.merge is not None:
        open_writer(options.merge)  # refuses a wrong ending or folder before the work, not after
    start: Any = partial(Processes, workers=options.workers)
    if options.engine == "ray":
        start = partial(OnRay, workers=options.workers, address=options.ray_address)
    bar = tqdm(unit="file", disable=options.quiet or not sys.stderr.isatty(), leave=False)

    def progress(done: int, paths: int) -> None:
        if bar.total is None:
            bar.reset(paths)
            bar.initial = bar.n = done
        bar.update(done - bar.n)

    try:
        with bar, contextlib.redirect_stdout(sys.stderr):  # Ray prints what happens to its workers
            found = batch(
                options.manifest, options.out, how, shard_size=options.shard_size, retries=options.retries,
                start=start, progress=progress,
            )  # fmt: skip
        if options.merge is not None and found.sha256 is not None:
            merge(options.out, options.merge, how)
    except KeyboardInterrupt:
        print("mien: stopped; finished parts stand. Run it again to go on", file=sys.stderr)
        return exits.INTERRUPTED
    for lost in found.lost:
        print(f"mien: shard {lost.shard} was lost: {lost.error}", file=sys.stderr)
    if options.json:
        print(json.dumps(asdict(found), indent=1))
    elif not options.quiet:
        print(
            f"{found.paths} files, {found.failed} of them failed; {found.faces} faces, {found.rows} rows in {found.parts} "
            f"parts ({found.taken_over} from before); sha256 {found.sha256 or 'when all parts are there'}"
        )
    if found.lost:
        return exits.SOME_FAILED
    return exits.OK if found.failed < found.paths else exits.ALL_FAILED
