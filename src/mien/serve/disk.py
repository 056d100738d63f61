"""The service's folder: private, of a limited size, and empty of what nobody needs."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mien.errors import OptionError
from mien.serve.refusals import Refusal

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

SPARE_BYTES = 100_000_000
"""This much of the disk is always left to others."""
FULL = (errno.ENOSPC, errno.EDQUOT)


def full(limit_mb: float) -> Refusal:
    """What is said where there is no room."""
    return Refusal(
        "disk",
        f"expected room for this on the service's disk (disk_mb {limit_mb:g}), got none. Delete results that are not needed "
        "any more, or come back later.",
    )


class Disk:
    """Files of the service under one folder that only its owner can enter.

    Attributes:
        database: where the jobs are kept.

    Raises:
        OptionError: the folder cannot be made or written to, or another service uses it.
    """

    def __init__(self, home: Path, limit_mb: float) -> None:
        self.home, self.limit_mb = home, limit_mb
        self.database, self.uploads, self.scratch = home / "jobs.sqlite3", home / "uploads", home / "scratch"
        self._lock, self._promised = threading.Lock(), 0
        try:
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            home.chmod(0o700)
            for folder in (self.uploads, self.scratch):
                folder.mkdir(exist_ok=True, mode=0o700)
            with private_file(self.scratch / secrets.token_hex(16)):
                pass
        except OSError as error:
            raise OptionError(
                f"expected to be able to write to the service's folder {home}, got: {error.strerror}. Name another with "
                "--home."
            ) from None
        self._mark = _locked(home / "lock")
        shutil.rmtree(self.scratch)
        self.scratch.mkdir(mode=0o700)

    def close(self) -> None:
        """Let another service have the folder."""
        self._mark.close()

    def used(self) -> int:
        """Bytes that files take, and those that were promised to uploads on their way."""
        found = self._promised
        for file in (*self.home.iterdir(), *self.uploads.iterdir(), *self.scratch.iterdir()):
            with contextlib.suppress(OSError):  # another thread may have deleted it
                found += file.stat().st_size if file.is_file() else 0
        return found

    def has_room(self, more: int = 0) -> bool:
        """Whether so many more bytes fit, under the limit and on the disk itself."""
        free = shutil.disk_usage(self.home).free
        return self.used() + more <= self.limit_mb * 1e6 and free - self._promised - more >= SPARE_BYTES

    @contextlib.contextmanager
    def promise(self, bytes_: int) -> Iterator[None]:
        """Keep room for an upload while it comes.

        Raises:
            Refusal: there is none.
        """
        with self._lock:
            if not self.has_room(bytes_):
                raise full(self.limit_mb)
            self._promised += bytes_
        try:
            yield
        finally:
            with self._lock:
                self._promised -= bytes_

    def new_upload(self) -> Path:
        """A name for a clip that says nothing about it."""
        return self.uploads / secrets.token_hex(16)


def _locked(path: Path) -> IO[bytes]:
    """An open file that one process can have; the system lets go of it when the process ends, however it ends."""
    mark = path.open("wb")
    if fcntl is not None:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            mark.close()
            raise OptionError(
                f"expected the folder {path.parent} for this service alone, got one that another service uses. Name another "
                "with --home, or stop that one."
            ) from None
    return mark


@contextlib.contextmanager
def private_file(path: Path) -> Iterator[int]:
    """The descriptor of a new file that only its owner can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class FileSink:
    """Bytes into a new private file; its first ones are kept, to tell what it is.

    Raises:
        Refusal: the disk is full.
    """

    def __init__(self, path: Path, limit_mb: float) -> None:
        self.path, self.head, self.size, self._limit_mb = path, b"", 0, limit_mb
        with private_file(path):
            pass
        self._stream = path.open("r+b")

    def write(self, content: bytes) -> None:
        """Take the next bytes."""
        if len(self.head) < 512:
            self.head += content[:512]
        self.size += len(content)
        try:
            self._stream.write(content)
        except OSError as error:
            if error.errno in FULL:
                raise full(self._limit_mb) from None
            raise

    def close(self) -> None:
        """All bytes to the file."""
        self._stream.close()

    def discard(self) -> None:
        """Close and delete."""
        with contextlib.suppress(OSError):
            self._stream.close()
        self.path.unlink(missing_ok=True)
