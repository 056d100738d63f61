"""Routes for clips: begin, see and end a job. What it found: `mien.serve.results`."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mien.serve.answers import JobState, refusals_of
from mien.serve.clip_kinds import clip_suffix
from mien.serve.disk import FileSink
from mien.serve.gate import Gate
from mien.serve.jobs import Jobs
from mien.serve.metrics import Metrics
from mien.serve.options import SCHEMA, job_options
from mien.serve.refusals import Refusal
from mien.serve.settings import Settings
from mien.serve.store import Job
from mien.serve.uploads import GRACE_S, expect_length, read_form, timely

JOB_ID = re.compile(r"[0-9a-f]{32}")
FORM_BYTES = 20_000
"""For the fields and boundaries around a clip."""
JOB = {"parameters": [{"name": "job", "in": "path", "required": True, "schema": {"type": "string"}}]}
SAID = {404: "no job of that id", 401: "the token"}
FORM = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}, **SCHEMA},
            }
        }
    },
}


class Clips:
    """Answers about clips.

    Args:
        settings: limits.
        jobs: the queue.
        metrics: where what is open is counted.
        mesh: whether the mesh can be read here.
    """

    def __init__(self, settings: Settings, jobs: Jobs, metrics: Metrics, mesh: bool) -> None:
        self.settings, self.jobs, self.mesh = settings, jobs, mesh
        self._uploads = Gate(settings.concurrency, "uploads", metrics)

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        one = "/v1/jobs/{job}"
        app.add_api_route(
            "/v1/jobs", self.begin, methods=["POST"], status_code=202, response_model=JobState,
            openapi_extra={"requestBody": FORM}, summary="Begin the work on a clip",
            responses=refusals_of({
                400: "the form is broken", 401: "the token", 408: "the body comes too slowly", 413: "too large",
                415: "no form, or no clip", 422: "an option", 429: "too many clips wait, or uploads at once",
                503: "about to stop", 507: "no room on the disk",
            }),
        )  # fmt: skip
        app.add_api_route(
            one, self.show, methods=["GET"], response_model=JobState, responses=refusals_of(SAID),
            openapi_extra=JOB, summary="How far a job is",
        )  # fmt: skip
        app.add_api_route(
            one, self.end, methods=["DELETE"], response_model=JobState, summary="Cancel a job, or forget a finished one",
            openapi_extra=JOB, responses={**refusals_of(SAID), 204: {"description": "forgotten with its rows"}},
        )  # fmt: skip

    async def begin(self, request: Request) -> JSONResponse:
        """Take a clip as the part `file` of a form, with options as fields. It is deleted when the work on it ends."""
        most = int(self.settings.clip_mb * 1e6) + FORM_BYTES
        with self._uploads.enter():
            told = expect_length(request.headers, most, "clip_mb")
            await asyncio.to_thread(self.jobs.expect_room)
            sinks: list[FileSink] = []
            kept = False

            def new_sink() -> FileSink:
                sinks.append(FileSink(self.jobs.disk.new_upload(), self.settings.disk_mb))
                return sinks[-1]

            try:
                with self.jobs.disk.promise(most if told is None else told):
                    slowest = self.settings.slowest_kb_s * 1000
                    body = timely(
                        request.stream(),
                        most,
                        "clip_mb, slowest_kb_s",
                        lambda count: GRACE_S + count / slowest,
                    )
                    form = await read_form(
                        request.headers.get("content-type", ""), body, 1, new_sink, to_disk=True
                    )
                    options = job_options(form.fields, self.mesh)
                    if not form.files:
                        raise Refusal("bad_request", "expected one part 'file' with a file name, got none.")
                    name, sink = form.files[0]
                    job = await asyncio.to_thread(self._queue, name, sink, options)
                    kept = True
            finally:
                if not kept:
                    for sink in sinks:
                        sink.discard()
        return JSONResponse(shown(job), 202, {"Location": f"/v1/jobs/{job.id}"})

    def _queue(self, name: str, sink: FileSink, options: dict[str, Any]) -> Job:
        """Give the clip the ending that its content asks for, and queue it."""
        sink.close()
        suffix = clip_suffix(sink.head)
        if suffix is None:
            raise Refusal(
                "not_a_clip",
                "expected a clip (mp4, mov, webm, mkv, avi, mpg, ts, gif, ...), got a file that does not begin as one. Export "
                "it again, or send pictures to /v1/analyze.",
            )
        sink.path = sink.path.rename(sink.path.with_suffix(suffix))
        return self.jobs.add(name, options, sink.path)

    async def job_of(self, request: Request) -> Job:
        """The job of the path; `Refusal` if there is none."""
        told = request.path_params["job"]
        job = await asyncio.to_thread(self.jobs.store.get, told) if JOB_ID.fullmatch(told) else None
        if job is None:
            raise Refusal(
                "not_found", "expected the id of a job that is kept, got another. It may have been forgotten."
            )
        return job

    async def show(self, request: Request) -> JSONResponse:
        """How far a job is, and how it ended."""
        return JSONResponse(shown(await self.job_of(request)))

    async def end(self, request: Request) -> Response:
        """End a job that waits or runs, or forget one that is finished, with all of its rows."""
        job = await asyncio.to_thread(self.jobs.end, await self.job_of(request))
        return Response(status_code=204) if job is None else JSONResponse(shown(job))


def shown(job: Job) -> dict[str, Any]:
    """A job as its client sees it."""
    here = f"/v1/jobs/{job.id}"
    return {
        "id": job.id, "state": job.state, "done_s": round(job.done_s, 6), "length_s": job.length_s, "frames": job.frames,
        "faces": job.faces, "error": None if job.error is None else {"kind": job.error[0], "message": job.error[1]},
        "links": {"self": here, "events": f"{here}/events", "result": f"{here}/result"},
    }  # fmt: skip
