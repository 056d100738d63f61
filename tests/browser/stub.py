"""The service's interface in few lines, with the real analyzer, for the tests of the page."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Form, Request, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

import mien
from mien.errors import MienError
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.clips import clip_info
from mien.pipeline.table import columns_of, open_writer, rows_of
from mien.transforms.align import template_points
from mien.types.media import Failure
from mien.weights.fetch import fetched_members
from mien.weights.store import Weights, load_weights

PAGE = Path(mien.__file__).parent / "serve" / "page"
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
KINDS = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".css": "text/css"}


class Job:
    """One clip, read in a thread."""

    def __init__(self, name: str, path: Path, options: dict[str, Any]) -> None:
        self.name, self.path, self.options = name, path, options
        self.state, self.error, self.rows, self.done_s, self.frames = "queued", None, [], 0.0, 0
        self.length_s = clip_info(path).duration_s
        self.stop = False

    def told(self, key: str) -> dict[str, Any]:
        faces = sum(row["face"] is not None for row in self.rows)
        return {
            "id": key, "state": self.state, "done_s": self.done_s, "length_s": self.length_s,
            "frames": self.frames, "faces": faces, "error": self.error,
        }  # fmt: skip

    def run(self, analyzer: Analyzer) -> None:
        self.state = "running"
        smooth = self.options["smooth"]
        self.columns = columns_of(analyzer.runner.weights.labels, smooth=smooth)
        for result in analyzer.stream(self.path, **self.options, progress=self.progress):
            if self.stop:
                self.state = "cancelled"
                return
            rows = rows_of(result, self.columns)
            self.rows += [{**row, "path": self.name} for row in rows]
            if isinstance(result, Failure):
                self.state, self.error = "failed", {"kind": result.kind, "message": result.error}
                return
            self.frames += 1
        self.state = "done"

    def progress(self, path: Path, done_s: float, length_s: float) -> None:
        self.done_s = done_s


def contracts() -> dict[str, Any]:
    """What the browser needs to run the two networks as Python does."""

    def contract(weights: Weights) -> dict[str, Any]:
        preprocess = None
        if weights.preprocess is not None:
            points = template_points(weights.preprocess.template).tolist()
            preprocess = {**vars(weights.preprocess), "template_points": points}
        return {
            "name": weights.name, "task": weights.task, "sha256": weights.sha256, "labels": weights.labels,
            "preprocess": preprocess, "calibration": weights.calibration, "licence": weights.licence,
        }  # fmt: skip

    return {
        "detector": contract(load_weights("yunet")),
        "expression": contract(load_weights("expression")),
    }


def make_app(analyzer: Analyzer, browser: bool = True, token: str = "") -> FastAPI:
    """The service; without `browser` it has no ONNX Runtime Web, and with a token it asks for it."""
    app = FastAPI()
    jobs: dict[str, Job] = {}
    folder = Path(tempfile.mkdtemp(prefix="mien-stub-"))
    ort = fetched_members("onnxruntime_web") if browser else {}
    lock = threading.Lock()

    def error(status: int, kind: str, message: str) -> JSONResponse:
        return JSONResponse({"error": {"kind": kind, "message": message}}, status)

    @app.middleware("http")
    async def guard(request: Request, go: Any) -> Response:
        secret = request.url.path.startswith(("/v1/", "/models/"))
        if token and secret and request.headers.get("Authorization") != f"Bearer {token}":
            return error(
                401, "TokenError", "expected a token, got none or another. Look where mien serve was started."
            )
        response = await go(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cross-Origin-Embedder-Policy"] = "require-corp"
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.get("/")
    def page() -> Response:
        return FileResponse(PAGE / "index.html", media_type="text/html")

    @app.get("/assets/{name:path}")
    def asset(name: str) -> Response:
        return FileResponse(PAGE / name, media_type=KINDS.get(Path(name).suffix))

    @app.get("/ort/{name}")
    def runtime(name: str) -> Response:
        if name not in ort:
            return error(
                404,
                "WeightsError",
                "expected onnxruntime_web, got nothing. Run mien weights fetch onnxruntime_web.",
            )
        return Response(ort[name], media_type=KINDS[Path(name).suffix])

    @app.get("/v1/models")
    def models() -> Response:
        return JSONResponse({"models": [], "mesh": False})

    @app.get("/models/{name}")
    def model(name: str) -> Response:
        if name == "contracts.json":
            return JSONResponse(contracts())
        weights = load_weights({"detector.onnx": "yunet", "expression.onnx": "expression"}[name])
        return Response(weights.content, media_type="application/octet-stream")

    @app.post("/v1/analyze")
    def analyze(file: list[UploadFile]) -> Response:
        results = [read(upload.file.read(), upload.filename or "picture") for upload in file]
        return JSONResponse({"model": {"name": "expression"}, "results": results})

    def read(content: bytes, name: str) -> dict[str, Any]:
        path = folder / "picture"
        with lock:
            path.write_bytes(content)
            (result,) = analyzer.stream(path)
        blank = {"name": name, "width": None, "height": None, "faces": [], "error": None}
        if isinstance(result, Failure):
            return {**blank, "error": {"kind": result.kind, "message": result.error}}
        rows = [{**row, "path": name} for row in rows_of(result) if row["face"] is not None]
        return {**blank, "width": result.size_wh_px[0], "height": result.size_wh_px[1], "faces": rows}

    @app.post("/v1/jobs")
    def start(
        file: UploadFile, every_s: float | None = Form(None), start_s: float | None = Form(None),
        end_s: float | None = Form(None), smooth: bool = Form(False),
    ) -> Response:  # fmt: skip
        key = f"job{len(jobs) + 1}"
        path = folder / f"{key}{Path(file.filename or 'clip').suffix}"
        path.write_bytes(file.file.read())
        options = {"every_s": every_s, "start_s": start_s, "end_s": end_s, "smooth": smooth}
        try:
            jobs[key] = job = Job(file.filename or "clip", path, options)
        except MienError as wrong:
            return error(400, type(wrong).__name__, str(wrong))
        threading.Thread(target=job.run, args=[analyzer], daemon=True).start()
        return JSONResponse({"id": key, "state": job.state, "links": {}}, 202)

    @app.get("/v1/jobs/{key}")
    def state(key: str) -> Response:
        return (
            JSONResponse(jobs[key].told(key))
            if key in jobs
            else error(404, "UnknownNameError", f"no job {key}")
        )

    @app.get("/v1/jobs/{key}/events")
    async def events(key: str) -> Response:
        async def tell() -> Any:
            sent = 0
            while True:
                job = jobs[key]
                over = job.state not in ("queued", "running")
                rows = job.rows[sent:]
                sent += len(rows)
                if rows:
                    yield f"event: rows\ndata: {json.dumps({'rows': rows})}\n\n"
                yield f"event: {'end' if over else 'progress'}\ndata: {json.dumps(job.told(key))}\n\n"
                if over:
                    return
                await asyncio.sleep(0.1)

        return StreamingResponse(tell(), media_type="text/event-stream")

    @app.get("/v1/jobs/{key}/result")
    def result(key: str, format: str) -> Response:
        job = jobs[key]
        if format == "html":
            return Response(
                f"<!doctype html><title>{job.name}</title><p>{len(job.rows)} rows", media_type="text/html"
            )
        path = folder / f"{key}.{format}"
        with open_writer(path, job.columns) as table:
            table.write(job.rows)
        return FileResponse(path)

    @app.delete("/v1/jobs/{key}")
    def cancel(key: str) -> Response:
        jobs[key].stop = True
        return Response(status_code=204)

    @app.websocket("/v1/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept("mien" if "mien" in socket.scope.get("subprotocols", ()) else None)
        with suppress(WebSocketDisconnect):
            while True:
                began = time.perf_counter()
                found = await asyncio.to_thread(read, await socket.receive_bytes(), "camera")
                ms = 1000 * (time.perf_counter() - began)
                await socket.send_json({**{k: found[k] for k in ("width", "height", "faces")}, "ms": ms})

    return app


class Served:
    """The stub on a free port of this machine for as long as the block runs."""

    def __init__(self, app: FastAPI, port: int = 0) -> None:
        config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error")
        self.server = uvicorn.Server(config)

    def __enter__(self) -> str:
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.02)
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}/"

    def __exit__(self, *error: object) -> None:
        self.server.should_exit = True
        self.thread.join(5)
