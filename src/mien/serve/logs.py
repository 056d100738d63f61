"""What is logged: one JSON object a line. Never the names of files, ids of jobs, tokens, pictures, or texts of errors."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LOG = logging.getLogger("mien.serve")


def say(level: int, event: str, **facts: Any) -> None:
    """Log an event with its facts."""
    LOG.log(level, event, extra={"facts": facts})


def say_error(event: str, error: BaseException, **facts: Any) -> None:
    """Log where an error that nobody expected was raised; not its text, which may hold what belongs to a client."""
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    say(logging.ERROR, event, type=type(error).__name__, frames=frames[-12:], **facts)


class JsonLines(logging.Formatter):
    """`{"time", "level", "event", ...}`, with the facts of an event beside it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        words = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps(words | getattr(record, "facts", {}), ensure_ascii=False)


def log_to_stderr() -> None:
    """The service's events, and the web server's own words, as JSON lines on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("mien.serve", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO if name == "mien.serve" else logging.WARNING)
