"""The service as an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mien import __version__
from mien.errors import MienError
from mien.faces.mesh import FaceMesh
from mien.pipeline.analyzer import Analyzer
from mien.serve.answers import Health, Models, Shapes, refusals_of
from mien.serve.batching import Batcher
from mien.serve.clips import Clips
from mien.serve.disk import Disk
from mien.serve.guard import Guard
from mien.serve.jobs import Jobs
from mien.serve.metrics import Metrics
from mien.serve.pictures import Pictures
from mien.serve.refusals import Refusal
from mien.serve.results import Results
from mien.serve.settings import Settings
from mien.serve.site import Site
from mien.weights.store import Weights, load_weights

DESCRIPTION = """Reads facial expressions from pictures and clips. An expression is the look of a face, not what the person feels.

Every refusal is `{"error": {"kind", "message"}}`. Rows have the columns of mien's table; `null` is not told, never zero.
"""


class Service:
    """What the routes share.

    Attributes:
        stopping: set when the service is about to end; new requests are refused from then on.
        jobs, batcher: what works.

    Raises:
        MienError: the model or the folder cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.metrics, self.stopping = settings, Metrics(), False
        analyzer = Analyzer(settings.model, threads=settings.threads)
        self.weights = load_weights("yunet"), analyzer.runner.weights
        self.mesh = _can_read_mesh()
        self.jobs = Jobs(
            settings,
            Disk(settings.home, settings.disk_mb),
            lambda state: self.metrics.jobs_ended.labels(state).inc(),
        )
        self.batcher = Batcher(
            analyzer, settings.batch, settings.batch_wait_ms / 1000, int(settings.megapixels * 1e6),
            self.metrics.batch,
        )  # fmt: skip
        self.metrics.watch(self.jobs.store.counts, self.jobs.disk.used)

    def add_to(self, app: FastAPI) -> None:
        """Add all routes."""
        shapes = Shapes(self.weights[1].labels)
        Pictures(self.settings, self.batcher, shapes, self.metrics).add_to(app, shapes)
        self.clips = Clips(self.settings, self.jobs, self.metrics, self.mesh)
        self.clips.add_to(app)
        self.results = Results(self.clips, self.metrics, lambda: self.stopping)
        self.results.add_to(app, shapes)
        app.add_api_route(
            "/v1/models", self.models, methods=["GET"], response_model=Models, summary="The networks",
            responses=refusals_of({401: "the token"}),
        )  # fmt: skip
        app.add_api_route(
            "/healthz", self.health, methods=["GET"], response_model=Health, summary="It is there"
        )
        app.add_api_route(
            "/readyz", self.ready, methods=["GET"], response_model=Health, summary="It takes work",
            responses=refusals_of({503: "it does not"}),
        )  # fmt: skip
        app.add_api_route(
            "/metrics",
            self.measured,
            methods=["GET"],
            response_class=Response,
            summary="Counters for Prometheus",
        )
        Site(*self.weights).add_to(app)

    async def models(self) -> JSONResponse:
        """The networks that answer, with their licences."""
        return JSONResponse({"models": [_model(weights) for weights in self.weights], "mesh": self.mesh})

    async def health(self) -> JSONResponse:
        """The process answers."""
        return JSONResponse({"status": "alive"})

    async def ready(self) -> JSONResponse:
        """Pictures and clips are worked on."""
        if self.stopping or not self.batcher.running or not self.jobs.running:
            raise Refusal(
                "stopping", "expected to be ready, but the service is starting, stopping or broken."
            )
        return JSONResponse({"status": "ready"})

    async def measured(self) -> Response:
        """All counters."""
        return Response(await asyncio.to_thread(self.metrics.text), media_type=self.metrics.content_type)

    @contextlib.asynccontextmanager
    async def life(self, app: FastAPI) -> AsyncIterator[None]:
        """From start to stop."""
        self.batcher.start()
        await asyncio.to_thread(self.jobs.start)
        try:
            yield
        finally:
            self.stopping = True
            await self.batcher.stop()
            await asyncio.to_thread(self.jobs.stop)


def create_app(settings: Settings) -> FastAPI:
    """The service, ready to be run by an ASGI server; `app.state.service` is its `Service`.

    Raises:
        MienError: the model or the folder cannot be used.
    """
    service = Service(settings)
    app = FastAPI(
        title="mien", version=__version__, description=DESCRIPTION, lifespan=service.life, docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.service = service
    service.add_to(app)
    app.add_exception_handler(HTTPException, _routing)
    app.add_middleware(Guard, settings=settings, metrics=service.metrics, stopping=lambda: service.stopping)
    return app


async def _routing(request: Request, error: Any) -> JSONResponse:
    """What the router itself refuses, in our own shape."""
    if error.status_code == 405:
        refusal = Refusal("no_such_method", "expected a method that this path has, got another.")
    else:
        refusal = Refusal("not_found", "expected a path of the service, got another. See /openapi.json.")
    return JSONResponse(refusal.body, refusal.status)


def _model(weights: Weights) -> dict[str, Any]:
    return {
        "name": weights.name, "task": weights.task, "sha256": weights.sha256, "licence": weights.licence,
        "notice": weights.notice, "labels": list(weights.labels), "threshold": weights.calibration.get("threshold"),
    }  # fmt: skip


def _can_read_mesh() -> bool:
    try:
        FaceMesh(1)
    except MienError:
        return False
    return True
