"""The command `mien`: its verbs, each in a file of its own, and what becomes of their errors."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from mien import __version__
from mien.cli import analyze, audit, batch, exits, explain, flow, serve, study, training, weights
from mien.errors import MienError

VERBS = {
    "analyze": analyze,
    "demo": analyze,
    "weights": weights,
    "explain": explain,
    "flow": flow,
    "study": study,
    "audit": audit,
    "serve": serve,
    "batch": batch,
}


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    root = argparse.ArgumentParser(
        prog="mien", description="Read facial expressions from pictures and clips."
    )
    root.add_argument("--version", action="version", version=f"mien {__version__}")
    verbs = root.add_subparsers(dest="verb", required=True, metavar="VERB")
    analyze.add_verbs(verbs)
    training.add_verbs(verbs)
    weights.add_verb(verbs)
    explain.add_verb(verbs)
    flow.add_verb(verbs)
    study.add_verb(verbs)
    audit.add_verb(verbs)
    serve.add_verb(verbs)
    batch.add_verb(verbs)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser().parse_args(arguments)
    try:
        return VERBS.get(options.verb, training).run(options)
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr)
        return exits.USAGE
    except BrokenPipeError:
        sys.stderr.close()
        return exits.OK
    except OSError as error:
        print(f"mien: expected to be able to write the results, got: {error}", file=sys.stderr)
        return exits.USAGE


def run() -> None:
    """Entry point of the installed command; what a container or a cluster sends to stop it counts as Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
