"""Routes for what a job found: its table when it is done, and a stream while it runs."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from mien.errors import MissingExtraError
from mien.pipeline.table import EVENT_COLUMNS, open_writer
from mien.serve.answers import Shapes, refusals_of
from mien.serve.clips import JOB, SAID, Clips, shown
from mien.serve.disk import full
from mien.serve.gate import Gate
from mien.serve.metrics import Metrics
from mien.serve.refusals import Refusal
from mien.serve.store import FINISHED, Job

FORMATS = {
    "csv": ("rows", ".csv", "text/csv; charset=utf-8"),
    "jsonl": ("rows", ".jsonl", "application/x-ndjson"),
    "parquet": ("rows", ".parquet", "application/vnd.apache.parquet"),
    "events.csv": ("events", ".csv", "text/csv; charset=utf-8"),
    "html": ("report", ".html", "text/html; charset=utf-8"),
}
"""Format -> which rows, the file's ending, its type."""
LOOK_S, ALIVE_S = 0.2, 15.0
PIECE_BYTES = 262_144


class Held(StreamingResponse):
    """A stream that gives something back when it is over, also when its client was gone before it began."""

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        media: str,
        release: Callable[[], None],
        headers: Mapping[str, str] = {},
    ) -> None:
        super().__init__(pieces, media_type=media, headers=headers)
        self.release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.release()


class Results:
    """Answers with rows of jobs.

    Args:
        clips: whose jobs.
        metrics: where what is open is counted.
        stopping: says whether the service is about to end; streams end with it.
    """

    def __init__(self, clips: Clips, metrics: Metrics, stopping: Callable[[], bool]) -> None:
        self.clips, self.stopping = clips, stopping
        self.store, self.disk = clips.jobs.store, clips.jobs.disk
        self._gate = Gate(clips.settings.concurrency, "streams and downloads", metrics)

    def add_to(self, app: FastAPI, shapes: Shapes) -> None:
        """Add the routes."""
        rows: dict[str, Any] = {"application/x-ndjson": {"schema": shapes.job_row.model_json_schema()}}
        others: dict[str, Any] = {kind: {} for _, _, kind in FORMATS.values() if kind not in rows}
        app.add_api_route(
            "/v1/jobs/{job}/result", self.result, methods=["GET"], response_class=Response, summary="The table of a job",
            responses={
                **refusals_of({**SAID, 409: "not done", 422: "another format", 429: "too many at once", 507: "no room"}),
                200: {"description": "a row a face a frame, or an event", "content": {**rows, **others}},
            },
            openapi_extra={"parameters": [*JOB["parameters"], {
                "name": "format", "in": "query", "schema": {"type": "string", "enum": list(FORMATS), "default": "csv"},
            }]},
        )  # fmt: skip
        app.add_api_route(
            "/v1/jobs/{job}/events", self.events, methods=["GET"], response_class=StreamingResponse,
            openapi_extra=JOB, summary="Progress and rows as they come",
            responses={
                **refusals_of({**SAID, 429: "too many at once"}),
                200: {"description": "server-sent events progress, rows, end", "content": {"text/event-stream": {}}},
            },
        )  # fmt: skip

    async def result(self, request: Request) -> Response:
        """The table of a job that is done, as `mien analyze --out` writes it."""
        job = await self.clips.job_of(request)
        wanted = request.query_params.get("format", "csv")
        if wanted not in FORMATS:
            raise Refusal("bad_option", f"expected a format of {', '.join(FORMATS)}, got another.")
        if job.state != "done":
            raise Refusal(
                "not_ready",
                f"expected a job that is done, got one that is {job.state}. Ask for its state first.",
            )
        kind, suffix, media = FORMATS[wanted]
        if kind != "rows" and not job.options["smooth"]:
            raise Refusal(
                "bad_option", "expected a job with smooth=true, which finds events, got one without."
            )
        path = self.disk.scratch / f"{secrets.token_hex(16)}{suffix}"
        leave = self._gate.take()

        def release() -> None:
            path.unlink(missing_ok=True)
            leave()

        try:
            await asyncio.to_thread(self._write, job, kind, path)
        except BaseException:
            release()
            raise
        size = {"Content-Length": str(path.stat().st_size)}
        named = {
            "Content-Disposition": f'attachment; filename="mien{"-events" if kind == "events" else ""}{suffix}"'
        }
        return Held(_pieces(path), media, release, size | named)

    def _write(self, job: Job, kind: str, path: Path) -> None:
        """A table into a file."""
        if not self.disk.has_room():
            raise full(self.disk.limit_mb)
        if kind == "report":
            self._write_report(job, path)
            return
        columns = EVENT_COLUMNS if kind == "events" else job.columns
        assert columns is not None
        try:
            with open_writer(path, columns) as writer:
                for _, rows in self.store.pieces(job.id, kind):
                    writer.write(rows)
        except MissingExtraError:
            raise Refusal(
                "bad_option", "expected a format that this service can write, got parquet. Take csv or jsonl."
            ) from None

    def _write_report(self, job: Job, path: Path) -> None:
        """The page of a clip into a file."""
        pages = [row["html"] for _, rows in self.store.pieces(job.id, "report") for row in rows]
        if not any(pages):
            raise Refusal(
                "bad_option",
                "expected a format that this service can write, got html: there was no frame to draw, or the "
                "service lacks the extra plot.",
            )
        path.write_text("".join(pages), encoding="utf-8")

    async def events(self, request: Request) -> Response:
        """Server-sent events: `progress` (the job), `rows` (the next ones), and at last `end` (the job).

        Each `rows` has as its id how many rows have come with it; send the last one as `Last-Event-ID` to go on after it, also
        after a restart of the service, which finds the same rows again.
        """
        job = await self.clips.job_of(request)
        told = request.headers.get("last-event-id", "")
        had = int(told) if re.fullmatch(r"\d{1,12}", told) else 0
        return Held(self._events(job, had), "text/event-stream", self._gate.take())

    async def _events(self, job: Job, had: int) -> AsyncIterator[bytes]:
        """The events of a job, without as many rows as the client has had."""
        said, heard_at, number, count = "", time.monotonic(), 0, 0
        while not self.stopping():
            found = await asyncio.to_thread(self.store.get, job.id)
            if found is None:  # forgotten meanwhile
                return
            job, now = found, json.dumps(shown(found))
            if job.state not in FINISHED and now != said:
                said, heard_at = now, time.monotonic()
                yield _event("progress", now)
            pieces = self.store.pieces(job.id, "rows", number)
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                number, new = piece[0], piece[1][max(0, had - count) :]
                count, heard_at = count + len(piece[1]), time.monotonic()
                if new:
                    yield _event("rows", json.dumps({"rows": new}), str(count))
            if job.state in FINISHED:
                yield _event("end", now)
                return
            if time.monotonic() - heard_at > ALIVE_S:
                heard_at = time.monotonic()
                yield b": alive\n\n"
            await asyncio.sleep(LOOK_S)


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as stored:
        while piece := await asyncio.to_thread(stored.read, PIECE_BYTES):
            yield piece


def _event(kind: str, data: str, id_: str = "") -> bytes:
    told = f"id: {id_}\n" if id_ else ""
    return f"event: {kind}\n{told}data: {data}\n\n".encode()
