"""The verb `serve`: the analyzer as a service, for programs and for a browser."""

from __future__ import annotations

import argparse
import contextlib
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from mien.cli import exits
from mien.cli.reading import add_reading
from mien.errors import MissingExtraError, OptionError
from mien.serve.settings import LIMITS, TOKEN, Settings

EPILOG = f"""It listens on this machine alone. To let others in, give it a token, which they send as `Authorization: Bearer TOKEN`:
  export {TOKEN}=$(python -c "import secrets; print(secrets.token_urlsafe(32))")
  mien serve --host 0.0.0.0
Put something that speaks TLS before it then. Pictures stay in memory; clips lie in its folder until they are read.

exit codes:
  0    stopped by a signal; what was running waits for the next start
  2    an option, the model, the folder or the address cannot be used
"""


def add_verb(verbs: Any) -> None:
    """Add the verb to the command's parser."""
    verb = verbs.add_parser(
        "serve",
        help="answer over HTTP: a REST service and a page",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a token after --token would be taken for the name of its file, and shown
    )
    normal = {item.name: item.default for item in fields(Settings)}
    verb.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    verb.add_argument(
        "--port", type=int, default=normal["port"], help="0 for a free one (default: %(default)s)"
    )
    verb.add_argument(
        "--token-file", type=Path, metavar="FILE", help=f"a file with the token (default: {TOKEN})"
    )
    verb.add_argument(
        "--home",
        type=Path,
        metavar="DIR",
        help="folder of waiting clips and results (default: in mien's own)",
    )
    add_reading(verb, "model", "threads")
    verb.add_argument("--workers", type=int, default=1, help="clips worked on at once (default: 1)")
    verb.add_argument(
        "--keep", type=hours, default=normal["keep_s"], metavar="TIME", dest="keep_s",
        help="how long results of clips are kept: 24h, 30m, 90s (default: 24h)",
    )  # fmt: skip
    verb.add_argument(
        "--batch", type=int, default=normal["batch"], help="pictures read together (default: 8)"
    )
    verb.add_argument(
        "--batch-wait-ms", type=float, default=normal["batch_wait_ms"], metavar="MS",
        help="how long a picture waits for others (default: %(default)s)",
    )  # fmt: skip
    limits = verb.add_argument_group("limits")
    for name, what in LIMITS.items():
        limits.add_argument(
            f"--{name.replace('_', '-')}", type=type(normal[name]), default=normal[name], metavar="N",
            help=f"{what} (default: %(default)g)",
        )  # fmt: skip


def hours(text: str) -> float:
    """Seconds of "24h", "30m" or "90s".

    Raises:
        ArgumentTypeError: the text is none of these.
    """
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    try:
        return float(text[:-1]) * units[text[-1:]]
    except (ValueError, KeyError):
        raise argparse.ArgumentTypeError(f"expected a time as 24h, 30m or 90s, got {text!r}") from None


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    told = {
        item.name: getattr(options, item.name) for item in fields(Settings) if hasattr(options, item.name)
    }
    if told["home"] is None:
        del told["home"]
    settings = Settings(**told, token=_token(options.token_file))
    try:
        from mien.serve.logs import log_to_stderr
        from mien.serve.server import serve
    except ImportError as error:
        raise MissingExtraError(f"mien serve needs {error.name}: pip install 'mien[serve]'") from None
    log_to_stderr()
    with contextlib.suppress(KeyboardInterrupt):
        serve(settings)
    return exits.OK


def _token(file: Path | None) -> str:
    """The token of a file, or of the environment; empty if there is none. Not of the command line, which all can read."""
    if file is None:
        return os.environ.get(TOKEN, "")
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"expected a token in {file}, could not read it: {type(error).__name__}.") from None
