"""Files that have their name only when they are whole, and the folders for them."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mien.errors import OptionError

PART = "part"
"""Ending of a file that is being written: `.NAME.RANDOM.part`."""


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[IO[bytes]]:
    """A stream to a temporary file in the same folder, which gets its name when the block ends well.

    If the block fails nothing of it is left, and a file of that name that was there before stays as it was.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}.{PART}")
    try:
        with half.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        half.replace(path)
    finally:
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write bytes, or text as UTF-8, as `whole` does."""
    with whole(path) as stream:
        stream.write(content if isinstance(content, bytes) else content.encode())


def made_folder(path: Path, purpose: str) -> Path:
    """A folder, made where it is missing.

    Args:
        purpose: "draw into", for the error.

    Raises:
        OptionError: it is a file.
    """
    if path.exists() and not path.is_dir():
        raise OptionError(f"expected a folder to {purpose}, got the file {path}. Name another.")
    path.mkdir(parents=True, exist_ok=True)
    return path
