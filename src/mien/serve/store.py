"""Jobs and their rows, in one SQLite file, so that a restart loses nothing that was finished."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.pipeline.table import Columns, Row

STATES = ("queued", "running", "done", "failed", "cancelled")
FINISHED = ("done", "failed", "cancelled")
TRIES = 3
"""A clip under which the service went down so often is not tried again."""
KINDS: Mapping[str, type] = {kind.__name__: kind for kind in (str, int, float, bool)}

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, state TEXT NOT NULL, name TEXT NOT NULL, options TEXT NOT NULL, upload TEXT,
  made_at REAL NOT NULL, finished_at REAL, tries INTEGER NOT NULL DEFAULT 0,
  done_s REAL NOT NULL DEFAULT 0, length_s REAL, frames INTEGER NOT NULL DEFAULT 0, faces INTEGER NOT NULL DEFAULT 0,
  columns TEXT, error_kind TEXT, error_message TEXT
);
CREATE INDEX IF NOT EXISTS by_state ON jobs (state, made_at);
CREATE TABLE IF NOT EXISTS pieces (
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, number INTEGER NOT NULL, kind TEXT NOT NULL,
  content BLOB NOT NULL, PRIMARY KEY (job, number)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Job:
    """One clip and what became of it.

    Attributes:
        id: 128 random bits in hexadecimal; who knows it may see and end the job.
        state: one of `STATES`.
        name: the client's own name for the clip.
        options: as the client gave them, checked.
        upload: name of the clip's file in the folder of uploads; `None` when it was deleted.
        made_at, finished_at: seconds since 1970.
        tries: how often the work on it was begun.
        done_s, length_s: seconds of the clip that are done, and that its header tells (`None` before it was read).
        frames, faces: counted so far.
        columns: of its table; `None` before the clip was opened.
        error: kind and message; of a failed job, and of one whose clip breaks off.
    """

    id: str
    state: str
    name: str
    options: Mapping[str, Any]
    upload: str | None
    made_at: float
    finished_at: float | None
    tries: int
    done_s: float
    length_s: float | None
    frames: int
    faces: int
    columns: Columns | None
    error: tuple[str, str] | None


def _job(row: sqlite3.Row) -> Job:
    names = None if row["columns"] is None else json.loads(row["columns"])
    kept = {
        name: row[name]
        for name in (
            "id", "state", "name", "upload", "made_at", "finished_at", "tries", "done_s", "length_s", "frames", "faces",
        )
    }  # fmt: skip
    return Job(
        **kept,
        options=json.loads(row["options"]),
        columns=None if names is None else {name: KINDS[kind] for name, kind in names.items()},
        error=None if row["error_kind"] is None else (row["error_kind"], row["error_message"]),
    )


class Store:
    """The jobs. Each call is one transaction that is on the disk when it returns; calls may come from any thread."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._lock = threading.Lock()
        self._base = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._base.row_factory = sqlite3.Row
        for pragma in (
            "auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON",
        ):  # fmt: skip
            self._base.execute(f"PRAGMA {pragma}")
        self._base.executescript(SCHEMA)

    def close(self) -> None:
        """End."""
        with self._lock:
            self._base.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    def _ask(self, question: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._base.execute(question, values).fetchall()

    def add(self, name: str, options: Mapping[str, Any], upload: str) -> Job:
        """A new job in the queue."""
        job = secrets.token_hex(16)
        with self._transaction() as base:
            base.execute(
                "INSERT INTO jobs (id, state, name, options, upload, made_at) VALUES (?, 'queued', ?, ?, ?, ?)",
                (job, name, json.dumps(options), upload, time.time()),
            )
        found = self.get(job)
        assert found is not None
        return found

    def get(self, job: str) -> Job | None:
        """The job of an id, `None` if there is none."""
        rows = self._ask("SELECT * FROM jobs WHERE id = ?", job)
        return _job(rows[0]) if rows else None

    def counts(self) -> dict[str, int]:
        """State -> how many jobs."""
        found = {row[0]: row[1] for row in self._ask("SELECT state, count(*) FROM jobs GROUP BY state")}
        return {state: found.get(state, 0) for state in STATES}

    def uploads(self) -> set[str]:
        """Names of the files that jobs still need."""
        return {row[0] for row in self._ask("SELECT upload FROM jobs WHERE upload IS NOT NULL")}

    def take(self) -> Job | None:
        """The oldest job of the queue, running from now on; `None` if none waits."""
        with self._transaction() as base:
            row = base.execute(
                "UPDATE jobs SET state = 'running', tries = tries + 1 WHERE id = (SELECT id FROM jobs "
                "WHERE state = 'queued' ORDER BY made_at LIMIT 1) RETURNING *"
            ).fetchone()
        return None if row is None else _job(row)

    def opened(self, job: str, columns: Mapping[str, str], length_s: float | None) -> None:
        """Note what the clip's header tells, and the columns that its rows will have."""
        with self._transaction() as base:
            base.execute(
                "UPDATE jobs SET columns = ?, length_s = ? WHERE id = ? AND state = 'running'",
                (json.dumps(columns), length_s, job),
            )

    def progress(
        self, job: str, done_s: float, frames: int, faces: int, kind: str = "", rows: list[Row] | None = None
    ) -> None:
        """Note how far a running job is; with the next rows of a kind ("rows" or "events")."""
        with self._transaction() as base:
            changed = base.execute(
                "UPDATE jobs SET done_s = ?, frames = ?, faces = ? WHERE id = ? AND state = 'running'",
                (done_s, frames, faces, job),
            ).rowcount
            if rows is not None and changed:
                content = zlib.compress(json.dumps(rows, ensure_ascii=False).encode(), 1)
                base.execute(
                    "INSERT INTO pieces SELECT ?, coalesce(max(number), 0) + 1, ?, ? FROM pieces WHERE job = ?",
                    (job, kind, content, job),
                )

    def finish(self, job: str, state: str, error: tuple[str, str] | None = None) -> bool:
        """End a job that is not ended yet; `False` if it was. Rows stay only of one that is done."""
        with self._transaction() as base:
            changed = base.execute(
                "UPDATE jobs SET state = ?, finished_at = ?, upload = NULL, error_kind = ?, error_message = ? "
                "WHERE id = ? AND state IN ('queued', 'running')",
                (state, time.time(), *(error or (None, None)), job),
            ).rowcount
            if changed and state != "done":
                base.execute("DELETE FROM pieces WHERE job = ?", (job,))
        self._shrink()
        return bool(changed)

    def put_back(self, job: str) -> None:
        """A running job into the queue again, as if it had not begun; a stop by us is not counted as a try."""
        with self._transaction() as base:
            self._put_back(base, job)
            base.execute("UPDATE jobs SET tries = tries - 1 WHERE id = ?", (job,))

    @staticmethod
    def _put_back(base: sqlite3.Connection, job: str) -> None:
        base.execute(
            "UPDATE jobs SET state = 'queued', done_s = 0, frames = 0, faces = 0, columns = NULL, length_s = NULL "
            "WHERE id = ? AND state = 'running'",
            (job,),
        )
        base.execute("DELETE FROM pieces WHERE job = ?", (job,))

    def recover(self, there: set[str]) -> dict[str, int]:
        """After a start: jobs that were running go back into the queue, if their clip is there and was not tried too often.

        Args:
            there: names of the uploads that are there.

        Returns:
            how many were `redone` and `lost`.
        """
        counts = {"redone": 0, "lost": 0}
        for row in self._ask("SELECT * FROM jobs WHERE state IN ('queued', 'running')"):
            job = _job(row)
            if job.upload in there and not (job.state == "running" and job.tries >= TRIES):
                if job.state == "running":
                    with self._transaction() as base:
                        self._put_back(base, job.id)
                    counts["redone"] += 1
                continue
            counts["lost"] += 1
            gone = "the service went down under it too often" if job.upload in there else "its clip is gone"
            self.finish(
                job.id,
                "failed",
                ("lost", f"expected to go on after a restart, but {gone}. Send the clip again."),
            )
        return counts

    def remove(self, job: str) -> None:
        """Forget a finished job with its rows."""
        with self._transaction() as base:
            base.execute("DELETE FROM jobs WHERE id = ?", (job,))
        self._shrink()

    def remove_before(self, time_s: float) -> int:
        """Forget jobs that finished before a time; how many."""
        with self._transaction() as base:
            count = base.execute("DELETE FROM jobs WHERE finished_at < ?", (time_s,)).rowcount
        if count:
            self._shrink()
        return count

    def _shrink(self) -> None:
        """Give room that is free within the files back to the disk."""
        with self._lock:
            self._base.execute("PRAGMA incremental_vacuum").fetchall()
            self._base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def pieces(self, job: str, kind: str, after: int = 0) -> Iterator[tuple[int, list[Row]]]:
        """The rows of a job in their order, piece by piece, each with its number, which grows."""
        while True:
            found = self._ask(
                "SELECT number, content FROM pieces WHERE job = ? AND kind = ? AND number > ? ORDER BY number LIMIT 1",
                *(job, kind, after),
            )
            if not found:
                return
            after = found[0]["number"]
            yield after, json.loads(zlib.decompress(found[0]["content"]))
