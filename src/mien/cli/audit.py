"""The verb `audit`: for whom a network errs more, and whether it says so when a picture is bad."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mien.cli import exits
from mien.cli.reading import add_reading
from mien.errors import OptionError
from mien.files import made_folder

EPILOG = """exit codes:
  0    done
  1    some pictures could not be read; the report says which
  2    an option, the data or the model cannot be used; the message says what was expected
  130  stopped with Ctrl-C; nothing was written
"""


def add_verb(verbs: Any) -> None:
    """Add the verb to the command's parser."""
    verb = verbs.add_parser(
        "audit",
        help="error and uncertainty of a model by group of any column, and under corruptions",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("model", metavar="NAME|FILE.onnx")
    verb.add_argument(
        "data", metavar="TABLE.csv|PROTOCOL",
        help="a table with path, label and columns to group by; or the protocol of a data set, see `mien datasets`",
    )  # fmt: skip
    verb.add_argument("--by", nargs="+", metavar="COLUMN", help="default: every column that makes groups")
    verb.add_argument("--subject", metavar="COLUMN", help="of a table: who is shown, for the intervals")
    verb.add_argument(
        "--photos", action="store_true",
        help="of a table: photographs, of which the largest face counts; else cut-outs of one face each",
    )  # fmt: skip
    verb.add_argument(
        "--data", dest="root", type=Path, metavar="ROOT", help="folder of the protocol's data set"
    )
    verb.add_argument("--split", metavar="NAME", help="of a protocol (default: its test split)")
    verb.add_argument("--fold", type=int, default=0, help="of a protocol with folds")
    verb.add_argument(
        "--columns", type=Path, metavar="TABLE.csv",
        help="of a protocol: more columns; the first names the pictures as the data set does",
    )  # fmt: skip
    verb.add_argument(
        "--sample", type=int, default=500, metavar="N",
        help="try the corruptions on so many pictures, drawn by chance; 0: no corruptions (default: 500)",
    )  # fmt: skip
    verb.add_argument("--seed", type=int, default=0, help="of all that is left to chance (default: 0)")
    verb.add_argument("--out", type=Path, metavar="DIR", help="write audit.html, .md, .json and plots")
    add_reading(verb, "threads")
    verb.add_argument("--json", action="store_true", help="print the figures as JSON")
    verb.add_argument("--quiet", action="store_true", help="no progress, and with --out nothing printed")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from mien.evaluate.audit import audit
    from mien.evaluate.audit_data import of_protocol, of_table
    from mien.evaluate.audit_report import to_markdown, write_audit
    from mien.evaluate.canvas import require_matplotlib
    from mien.weights.store import load_weights

    if options.sample < 0 or options.seed < 0 or options.threads < 0:
        raise OptionError(
            f"expected --sample, --seed and --threads of at least 0, got {options.sample}, {options.seed} and {options.threads}"
        )
    weights = load_weights(options.model)
    if options.out is not None:
        require_matplotlib()
        made_folder(options.out, "write the report to")
    table = Path(options.data)
    if table.exists() or table.suffix.lower() in (".csv", ".tsv"):
        data = of_table(table, weights.labels, options.subject, options.photos)
    elif options.root is None:
        raise OptionError(
            f"expected a table, or --data ROOT, the folder of the data set of {options.data!r}, got neither"
        )
    else:
        data = of_protocol(
            options.data, options.root, options.split, options.fold, options.columns, weights=weights
        )
    try:
        found = audit(
            weights, data, by=options.by, sample=options.sample, seed=options.seed, threads=options.threads,
            quiet=options.quiet or options.json,
        )  # fmt: skip
    except KeyboardInterrupt:
        print("mien: stopped; nothing was written", file=sys.stderr)
        return exits.INTERRUPTED
    if options.out is not None:
        write_audit(found, options.out)
    if options.json:
        print(json.dumps(found.to_dict(), indent=1))
    elif not (options.quiet and options.out is not None):
        print(to_markdown(found))
    for failure in found.failures:
        print(f"mien: {failure}", file=sys.stderr)
    return exits.SOME_FAILED if found.failures else exits.OK
