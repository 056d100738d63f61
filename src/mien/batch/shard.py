"""The work: one shard's paths in, its part and a receipt out. The same bytes each time, wherever it is done."""

from __future__ import annotations

import errno
import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mien.batch.place import Place, file_system, is_address
from mien.batch.plan import PATHS, Options, Plan, networks, versions
from mien.errors import BatchError, InputNotFoundError, MienError, OptionError
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.clips import Span
from mien.pipeline.table import columns_of, open_writer, rows_of
from mien.types.media import Failure, FrameResult

LASTING = ("InputError", "InputNotFoundError", "TooManyPixelsError", "PermissionError")
"""Kinds of failures that lie in the file itself: they become rows. Others may pass, and lose the shard."""


@dataclass(frozen=True)
class Done:
    """A finished part, as its receipt says it.

    Attributes:
        name: of the part. size: its bytes. sha256: their hash.
        rows, faces: in it. failed: files with a row in `error`.
    """

    name: str
    sha256: str
    size: int
    rows: int
    faces: int
    failed: int

    def to_json(self) -> bytes:
        """As it is stored."""
        return (json.dumps(asdict(self), sort_keys=True) + "\n").encode()


@dataclass(frozen=True)
class Lost:
    """A shard without a part. `hopeless`: no other shard can be done either, by this worker or at all."""

    shard: int
    error: str
    hopeless: bool = False


@dataclass(frozen=True)
class Job:
    """All that a worker has to know."""

    plan: Plan
    out: str
    options: Options


def analyzer_for(options: Options) -> Analyzer:
    """What reads each file; on one thread, so that no float depends on who was first.

    Raises:
        OptionError, WeightsError, UnknownNameError, MissingExtraError: something cannot be used.
    """
    Span(every_s=options.every_s)
    return Analyzer(
        options.model,
        mesh=options.mesh,
        min_face_px=options.min_face_px,
        detection_threshold=options.detection_threshold,
        threads=1,
    )


class ShardWorker:
    """Does one shard after the other, with networks that are loaded once; everything on one thread."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def attempt(self, shard: int) -> Done | Lost:
        """The part of a shard, or why there is none."""
        try:
            return self.do(shard)
        except MienError as error:
            return Lost(shard, str(error), hopeless=True)
        except Exception as error:  # whatever it is, the other shards go on
            return Lost(shard, f"{type(error).__name__}: {error}")

    def do(self, shard: int) -> Done:
        """Read a shard's files, write its part, and then its receipt.

        Raises:
            BatchError: the networks or versions here are not those of the plan.
            OSError: something cannot be read now that may be readable later.
        """
        plan = self.job.plan
        columns = columns_of(self._analyzer.runner.weights.labels, self.job.options.mesh)
        if not is_address(plan.root) and not Path(plan.root).is_dir():
            raise OSError(f"expected the folder {plan.root} of the files, got none. Is its disk there?")
        failed, rows, faces = set(), 0, 0
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / plan.part(shard)
            with open_writer(file, columns) as writer:
                for path in self._paths(shard):
                    for result in self._results(path, Path(scratch)):
                        found = rows_of(result, columns)
                        writer.write(found)
                        rows += len(found)
                        if isinstance(result, Failure):
                            failed.add(path)
                        else:
                            faces += len(result.faces)
            content = file.read_bytes()
        done = Done(
            plan.part(shard), hashlib.sha256(content).hexdigest(), len(content), rows, faces, len(failed)
        )
        self._place.write(done.name, content)
        self._place.write(plan.receipt(shard), done.to_json())
        return done

    @cached_property
    def _place(self) -> Place:
        return Place(self.job.out)

    @cached_property
    def _analyzer(self) -> Analyzer:
        plan, options = self.job.plan, self.job.options
        here = {"networks": networks(options), "versions": versions(options.mesh)}
        for name, value in here.items():
            if value != getattr(plan, name):
                raise BatchError(
                    f"expected workers with the plan's {name}, {getattr(plan, name)}, got one with {value}. Install the "
                    "same everywhere."
                )
        return analyzer_for(options)

    @cached_property
    def _list(self) -> Any:
        from pyarrow.parquet import ParquetFile

        return ParquetFile(self._place.open(PATHS))

    def _paths(self, shard: int) -> list[str]:
        paths: list[str] = self._list.read_row_group(shard)["path"].to_pylist()
        if len(paths) != self.job.plan.count(shard):
            raise BatchError(
                f"expected {self.job.plan.count(shard)} paths for shard {shard} in {PATHS}, got {len(paths)}. The folder "
                "is damaged; take another."
            )
        return paths

    def _results(self, path: str, scratch: Path) -> Iterator[FrameResult | Failure]:
        """What one file gives, under the name that the manifest has for it."""
        root = self.job.plan.root
        where = path if is_address(path) or Path(path).is_absolute() else f"{root}/{path}"
        fetched = _fetch(where, scratch) if is_address(where) else Path(where)
        if isinstance(fetched, Failure) or not _is_file(fetched):
            yield _missing(path) if not isinstance(fetched, Failure) else replace(fetched, path=path)
            return
        for result in self._analyzer.stream(fetched, every_s=self.job.options.every_s):
            if isinstance(result, Failure) and result.kind not in LASTING:
                raise OSError(f"{path}: {result.error}")
            yield replace(result, path=path)
        if is_address(where):
            fetched.unlink()


def _is_file(path: Path) -> bool:
    """Whether it is there; a name that is too long is not."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def _missing(path: str) -> Failure:
    text = "expected a file, got a path that is not there, or a folder. Check the spelling."
    return Failure(path, text, InputNotFoundError.__name__)


def _fetch(address: str, scratch: Path) -> Path | Failure:
    """A local copy of a file elsewhere. Only that it is not there is a failure; the rest may pass, and is raised."""
    try:
        system, there = file_system(address)
    except OptionError as error:
        return Failure(address, str(error), type(error).__name__)
    local = scratch / f"fetched{Path(there).suffix}"
    try:
        system.get_file(there, str(local))
    except FileNotFoundError:
        return _missing(address)
    return local
