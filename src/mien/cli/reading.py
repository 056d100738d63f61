"""Options that several verbs have in common: how faces are found and read. Each is written here once."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mien.errors import OptionError

OPTIONS: dict[str, dict[str, Any]] = {
    "every": {
        "type": float, "metavar": "SECONDS", "help": "of clips, take one frame in so many seconds",
    },
    "model": {
        "default": "expression", "metavar": "NAME|FILE", "help": "expression network (default: %(default)s)",
    },
    "mesh": {
        "action": "store_true", "help": "read the mesh too: action units, and whether they agree",
    },
    "min-face-px": {
        "type": float, "default": 24.0, "metavar": "PX",
        "help": "smallest face looked for, pixels (default: %(default)g)",
    },
    "detection-threshold": {
        "type": float, "default": 0.7, "metavar": "SCORE",
        "help": "least detector score, 0 to 1 (default: %(default)g)",
    },
    "detect-every": {
        "type": int, "default": 1, "metavar": "FRAMES",
        "help": "of clips, search a whole frame only after so many, and around the last faces in between "
        "(default: %(default)s)",
    },
    "threads": {
        "type": int, "default": 0, "metavar": "N", "help": "0 for one a core (default: %(default)s)",
    },
}  # fmt: skip


def add_reading(verb: argparse.ArgumentParser, *names: str) -> None:
    """Add these of `OPTIONS` to a verb."""
    for name in names:
        verb.add_argument(f"--{name}", **OPTIONS[name])


def check_every(every: float | None) -> None:
    """Refuse `--every` before networks are loaded and files begun.

    Raises:
        OptionError: it is no positive number.
    """
    if every is not None and not every > 0:
        raise OptionError(f"expected --every over 0 seconds, got {every:g}")


def results_apart(paths: Iterable[str], *folders: Path | None) -> list[Path]:
    """The folders of results that were asked for; a search of the paths leaves them out.

    Raises:
        OptionError: one of them is itself read, so that another run would read its results.
    """
    asked = [folder for folder in folders if folder is not None]
    for folder in asked:
        if any(os.path.isdir(path) and Path(path).resolve() == folder.resolve() for path in paths):  # noqa: PTH112
            raise OptionError(
                f"expected another folder for the results than {folder}, whose pictures are read. Name one in it or beside it."
            )
    return asked
