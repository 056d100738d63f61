"""Routes for pictures: `POST /v1/analyze`, and the live socket `/v1/live`."""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypeVar

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from mien.pipeline.table import Row, rows_of
from mien.serve.answers import Shapes, refusals_of
from mien.serve.batching import Batcher, Read
from mien.serve.gate import Gate
from mien.serve.guard import SUBPROTOCOL
from mien.serve.metrics import Metrics
from mien.serve.refusals import Refusal
from mien.serve.settings import Settings
from mien.serve.uploads import Form, expect_length, read_form, timely
from mien.types.media import FrameResult
from mien.weights.store import Weights

T = TypeVar("T")

FORM = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        }
    },
}
SAID = {
    400: "the form is broken",
    401: "the token",
    408: "the body comes too slowly",
    413: "too large, too many pixels, too many files",
    415: "no form, or no picture",
    429: "too many requests at once",
    503: "too busy to answer in time, or about to stop",
}
IDLE_S = 60.0
"""A live socket that sends nothing for so long is closed."""


class Pictures:
    """Answers about pictures. They stay in memory and are gone with the answer."""

    def __init__(self, settings: Settings, batcher: Batcher, shapes: Shapes, metrics: Metrics) -> None:
        self.settings, self.batcher, self.columns = settings, batcher, shapes.columns
        self.model = used_model(batcher.analyzer.runner.weights)
        self._requests = Gate(settings.concurrency, "requests", metrics)
        self._live = Gate(settings.concurrency, "live sockets", metrics)

    def add_to(self, app: FastAPI, shapes: Shapes) -> None:
        """Add the routes."""
        app.add_api_route(
            "/v1/analyze", self.analyze, methods=["POST"], response_model=shapes.analysis,
            responses=refusals_of(SAID), openapi_extra={"requestBody": FORM}, summary="The faces in pictures",
        )  # fmt: skip
        app.add_api_websocket_route("/v1/live", self.live)

    async def analyze(self, request: Request) -> JSONResponse:
        """Find the faces in one or more pictures and read their expressions.

        Send the pictures as parts `file` of a form. A picture that cannot be read has an `error`, and the others are answered;
        where none can be read the status is that of the first one's error.
        """
        most = int(self.settings.request_mb * 1e6)
        with self._requests.enter():
            expect_length(request.headers, most, "request_mb")
            start = time.monotonic()
            body = timely(
                request.stream(), most, "request_mb, request_s", lambda count: self.settings.request_s
            )
            form = await read_form(request.headers.get("content-type", ""), body, self.settings.files, _Bytes)
            _check(form)
            left_s = start + self.settings.request_s - time.monotonic()
            work = asyncio.gather(*(self._result(name, sink) for name, sink in form.files))
            try:
                async with asyncio.timeout(max(left_s, 0.0)):
                    results = await _while_there(request, work)
            except TimeoutError:
                raise Refusal(
                    "busy",
                    f"expected to answer within {self.settings.request_s:g} s (request_s), but there is too much to do. "
                    "Try again later, or with fewer or smaller pictures.",
                ) from None
        refused = [error for _, error in results]
        if all(refused):
            first = refused[0]
            assert first is not None
            raise first
        return JSONResponse({"model": self.model, "results": [result for result, _ in results]})

    async def _result(self, name: str, content: _Bytes) -> tuple[dict[str, Any], Refusal | None]:
        """The answer about one picture, and its refusal if there is one."""
        try:
            read = await self.batcher.read(bytes(content))
        except Refusal as refusal:
            blank: dict[str, Any] = {
                "name": name,
                "width": None,
                "height": None,
                "faces": [],
                "error": refusal.error,
            }
            return blank, refusal
        width, height = read.size_wh_px
        faces = self._rows(read, name, 0)
        return {"name": name, "width": width, "height": height, "faces": faces, "error": None}, None

    def _rows(self, read: Read, name: str, frame: int) -> list[Row]:
        if not len(read.faces):
            return []
        return rows_of(FrameResult(name, frame, None, read.faces, read.size_wh_px), self.columns)

    async def live(self, socket: WebSocket) -> None:
        """One picture after the other, each answered before the next is read."""
        with self._live.enter():
            offered = SUBPROTOCOL in socket.scope.get("subprotocols", ())
            await socket.accept(SUBPROTOCOL if offered else None)
            frame = 0
            try:
                while True:
                    async with asyncio.timeout(IDLE_S):
                        message = await socket.receive()
                    if message["type"] == "websocket.disconnect":
                        return
                    await socket.send_json(await self._frame(message.get("bytes"), frame))
                    frame += 1
            except TimeoutError:
                await socket.close(1001, "expected a picture a minute")
            except WebSocketDisconnect:
                return

    async def _frame(self, content: bytes | None, frame: int) -> dict[str, Any]:
        """The answer to one message of a live socket."""
        start = time.perf_counter()
        try:
            if not content:
                raise Refusal("bad_request", "expected one picture as a binary message, got none.")
            if len(content) > self.settings.request_mb * 1e6:
                raise Refusal(
                    "too_large", f"expected at most {self.settings.request_mb:g} MB (request_mb), got more."
                )
            async with asyncio.timeout(self.settings.request_s):
                read = await self.batcher.read(content)
        except Refusal as refusal:
            return refusal.body
        except TimeoutError:
            return Refusal(
                "busy", "expected to answer in time (request_s), but there is too much to do."
            ).body
        width, height = read.size_wh_px
        ms = round(1000 * (time.perf_counter() - start), 2)
        return {"width": width, "height": height, "faces": self._rows(read, "live", frame), "ms": ms}


class _Bytes(bytearray):
    """A file in memory."""

    def write(self, content: bytes) -> None:
        """Take the next bytes."""
        self += content


async def _while_there(request: Request, work: asyncio.Future[T]) -> T:
    """What some work gives, unless its client goes before: nobody waits for it then, and it is given up."""

    async def until_gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    gone = asyncio.ensure_future(until_gone())
    both: set[asyncio.Future[Any]] = {work, gone}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        gone.cancel()
        work.cancel()


def _check(form: Form) -> None:
    if form.fields:
        raise Refusal("bad_option", "expected no fields beside the pictures, got some. Leave them out.")
    if not form.files:
        raise Refusal("bad_request", "expected at least one part 'file' with a file name, got none.")


def used_model(weights: Weights) -> dict[str, Any]:
    """Which network gave an answer."""
    return {
        "name": weights.name,
        "sha256": weights.sha256,
        "labels": list(weights.labels),
        "threshold": weights.calibration["threshold"],
    }
