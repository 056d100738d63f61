"""Routes of the page and of what it runs in the browser: its files, the networks, ONNX Runtime for the web."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from mien.errors import UnknownNameError, WeightsError
from mien.serve.refusals import Refusal
from mien.transforms.align import template_points
from mien.weights.fetch import fetched_members
from mien.weights.store import Weights

PAGE = Path(__file__).with_name("page")
RUNTIME = "onnxruntime_web"
KINDS = {".mjs": "text/javascript", ".wasm": "application/wasm"}


class Site:
    """Answers with files. Everything is read once, when the service starts.

    Args:
        detector, expression: the networks that the service itself runs.
    """

    def __init__(self, detector: Weights, expression: Weights) -> None:
        self._networks = {"detector.onnx": detector, "expression.onnx": expression}
        self._contracts = {name.removesuffix(".onnx"): contract(one) for name, one in self._networks.items()}
        try:
            self._runtime = fetched_members(RUNTIME)
        except (WeightsError, UnknownNameError):
            self._runtime = {}

    def add_to(self, app: FastAPI) -> None:
        """Add the routes; they are no part of the described interface."""
        for path, answer in (
            ("/", self.page),
            ("/models/contracts.json", self.contracts),
            ("/models/{name}", self.network),
            ("/ort/{name}", self.runtime),
        ):
            app.add_api_route(path, answer, methods=["GET"], include_in_schema=False, response_class=Response)
        app.mount("/assets", StaticFiles(directory=PAGE))

    async def page(self) -> FileResponse:
        """The page."""
        return FileResponse(PAGE / "index.html")

    async def contracts(self) -> JSONResponse:
        """All that a browser needs to run the networks as Python does."""
        return JSONResponse(self._contracts, headers={"Cache-Control": "no-cache"})

    async def network(self, request: Request) -> Response:
        """The bytes of a network; the sha256 is their ETag."""
        weights = self._networks.get(request.path_params["name"])
        if weights is None:
            raise Refusal("not_found", f"expected {' or '.join(self._networks)}, got another name.")
        return _stored(request, weights.content, "application/octet-stream", weights.sha256)

    async def runtime(self, request: Request) -> Response:
        """A file of ONNX Runtime for the web."""
        name = request.path_params["name"]
        if not self._runtime:
            raise Refusal(
                "not_found",
                f"expected ONNX Runtime for the web beside the service, got none. Run: mien weights fetch {RUNTIME}, and start "
                "the service again. Until then the page asks the service.",
            )
        if name not in self._runtime:
            raise Refusal("not_found", f"expected one of {', '.join(self._runtime)}, got another name.")
        return _stored(request, self._runtime[name], KINDS[Path(name).suffix], None)


def _stored(request: Request, content: bytes, media: str, sha256: str | None) -> Response:
    headers = {"Cache-Control": "no-cache"} | ({} if sha256 is None else {"ETag": f'"{sha256}"'})
    if sha256 is not None and f'"{sha256}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media, headers=headers)


def contract(weights: Weights) -> dict[str, Any]:
    """A network's contract: what goes in, what comes out, whose it is."""
    preprocess = weights.preprocess
    told: dict[str, Any] = {
        "name": weights.name, "sha256": weights.sha256, "task": weights.task, "licence": weights.licence,
        "notice": weights.notice, "labels": list(weights.labels), "calibration": dict(weights.calibration),
        "provenance": weights.provenance, "trained_on": list(weights.trained_on), "preprocess": None,
    }  # fmt: skip
    if preprocess is not None:
        told["preprocess"] = {
            "size_px": preprocess.size_px, "template": preprocess.template, "channel_order": preprocess.channel_order,
            "mean": list(preprocess.mean), "std": list(preprocess.std),
            "template_points": template_points(preprocess.template).tolist(),
        }  # fmt: skip
    return told
