"""What is to be analysed: a list of paths in a file, a folder or a pattern."""

from __future__ import annotations

import glob
import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

from mien.batch.place import file_system, is_address
from mien.errors import DataError, InputNotFoundError, MissingExtraError
from mien.pipeline.inputs import SEARCHED_SUFFIXES, expand
from mien.types.media import Failure

COLUMN = "path"
LISTS = (".txt", ".csv", ".parquet")
"""Endings of files that list paths; everything else is a folder or a pattern."""


class Manifest:
    """A list of paths, each once, in the order in which they are named.

    Args:
        source: `.txt` (one path a line), `.csv` or `.parquet` (their column `path`), a folder (searched with all below
            it) or a pattern; local, or an address for fsspec.

    Attributes:
        root: what paths that are neither absolute nor an address lie below: the folder itself, the folder of the list;
            of a pattern the working folder.

    Raises:
        InputNotFoundError: there is nothing of that name.
        MissingExtraError: `mien[batch]`, or what fsspec needs for the address, is not installed.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.system, self.path = file_system(source)
        self.is_pattern = glob.has_magic(self.path) and not self.system.exists(self.path)
        self.is_list = source.lower().endswith(LISTS) and not self.is_pattern
        if not (self.is_pattern or self.is_list or self.system.isdir(self.path)) or (
            self.is_list and not self.system.isfile(self.path)
        ):
            raise InputNotFoundError(
                f"expected a list ({', '.join(LISTS)}), a folder or a pattern, got {source!r}, which is none "
                "of these. Check the spelling."
            )
        if self.is_list:
            above = self.path.rpartition("/")[0]
            self.root = str(self.system.unstrip_protocol(above)) if is_address(source) else above or "/"
        elif self.is_pattern:
            self.root = "" if is_address(source) else str(Path.cwd())
        else:
            self.root = source.rstrip("/") if is_address(source) else str(Path(source).absolute())

    @cached_property
    def sha256(self) -> str:
        """Of a list its bytes' hash; of a folder or pattern that of its paths, a line each."""
        if not self.is_list:
            return hashlib.sha256("".join(f"{path}\n" for path in self._found).encode()).hexdigest()
        with self.system.open(self.path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def paths(self) -> Any:
        """The paths as a `pyarrow.LargeStringArray`, and how many were named again and left out.

        Raises:
            DataError: the list cannot be read, has no column `path`, or an empty path.
            InputNotFoundError: it names nothing.
        """
        import pyarrow.compute

        named = self._listed() if self.is_list else pyarrow.array(self._found, pyarrow.large_string())
        if not len(named):
            raise InputNotFoundError(f"expected at least one path in {self.source}, got none")
        if named.null_count or not pyarrow.compute.min(pyarrow.compute.binary_length(named)).as_py():
            raise DataError(f"expected a path in each row of {self.source}, got an empty one. Take it out.")
        once = pyarrow.compute.unique(named)
        return once, len(named) - len(once)

    @cached_property
    def _found(self) -> list[str]:
        """The files of a folder, named from it, or of a pattern."""
        if not is_address(self.source):
            found = list(expand([self.source]))
            missing = next((one for one in found if isinstance(one, Failure)), None)
            if missing is not None:
                raise InputNotFoundError(f"{missing.error} ({missing.path})")
            return [
                str(one) if self.is_pattern else str(Path(str(one)).relative_to(self.source)) for one in found
            ]
        many = self.system.glob if self.is_pattern else self.system.find
        kept = sorted(path for path in many(self.path) if Path(path).suffix.lower() in SEARCHED_SUFFIXES)
        if not self.root:
            return [str(self.system.unstrip_protocol(path)) for path in kept]
        return [path[len(self.path) :].lstrip("/") for path in kept]

    def _listed(self) -> Any:
        """The column of a list."""
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet

        kind = pyarrow.large_string()
        text = pyarrow.csv.ConvertOptions(include_columns=[COLUMN], column_types={COLUMN: kind})
        try:
            with self.system.open(self.path, "rb") as stream:
                if self.source.lower().endswith(".parquet"):
                    table = pyarrow.parquet.read_table(stream, columns=[COLUMN])
                elif self.source.lower().endswith(".csv"):
                    table = pyarrow.csv.read_csv(stream, convert_options=text)
                else:
                    # One column whatever the path holds: no quotes, and a delimiter that no path has.
                    plain = pyarrow.csv.ParseOptions(delimiter="\x01", quote_char=False)
                    names = pyarrow.csv.ReadOptions(column_names=[COLUMN])
                    table = pyarrow.csv.read_csv(stream, names, plain, text)
            return table[COLUMN].cast(kind)
        except (
            pyarrow.ArrowInvalid,
            pyarrow.ArrowKeyError,
            pyarrow.ArrowNotImplementedError,
            KeyError,
        ) as error:
            raise DataError(
                f"expected a list of paths in {self.source} (a path a line, or a column {COLUMN!r}), got: {error}"
            ) from None


def needs_arrow() -> None:
    """Say at once if pyarrow is not there.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingExtraError("mien batch needs pyarrow: pip install 'mien[batch]'") from None
