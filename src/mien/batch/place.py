"""A folder on a disk or an object store in which a file appears under its name only when it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

from mien.errors import MissingExtraError, OptionError
from mien.files import PART, write_whole


def file_system(url: str) -> tuple[Any, str]:
    """What fsspec reads an address or local path with, and its path there.

    Raises:
        MissingExtraError: fsspec, or its package for this kind of address, is not installed.
        OptionError: no such kind of address.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtraError("mien batch needs fsspec: pip install 'mien[batch]'") from None
    try:
        return url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError(f"expected what {url} is read with to be installed, got: {error}") from None
    except ValueError as error:
        raise OptionError(f"expected a path or an address that fsspec knows, got {url!r} ({error})") from None


def is_address(path: str) -> bool:
    """Whether a path is an address for fsspec, such as `s3://bucket/a.jpg`, and not a local path."""
    return "://" in path


class Place:
    """Files below one folder, by their names there.

    On a disk a file is written beside its name, flushed and moved. An object store shows an object only when it was
    sent whole.

    Args:
        url: a local folder, which need not be there yet, or an address for fsspec.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.system, self.folder = file_system(url)
        from fsspec.implementations.local import LocalFileSystem  # there, or `file_system` said so

        self.local = isinstance(self.system, LocalFileSystem)

    def path(self, name: str) -> str:
        """Path of a file for `system`."""
        return f"{self.folder.rstrip('/')}/{name}"

    def read(self, name: str) -> bytes:
        """A whole file; `FileNotFoundError` where it is not there."""
        return self.system.cat_file(self.path(name))

    def open(self, name: str) -> IO[bytes]:
        """A file to read from."""
        return self.system.open(self.path(name), "rb")

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all; what stood under its name is replaced."""
        if not self.local:
            self.system.pipe_file(self.path(name), content)
            return
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, content)

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Name -> bytes of each file that lies in a folder of this one, not below."""
        self.system.invalidate_cache()
        try:
            found = self.system.find(self.path(folder).rstrip("/"), maxdepth=1, detail=True)
        except FileNotFoundError:
            return {}
        return {path.rsplit("/", 1)[-1]: int(facts["size"]) for path, facts in found.items()}

    def remove(self, name: str) -> None:
        """Remove a file; that it is not there is no error."""
        if self.system.exists(self.path(name)):
            self.system.rm_file(self.path(name))

    def sweep(self) -> None:
        """Remove what killed writers left behind on a disk."""
        if self.local:
            for half in Path(self.folder).rglob(f".*.{PART}"):
                half.unlink(missing_ok=True)
