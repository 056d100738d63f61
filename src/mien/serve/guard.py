"""The door: who may ask, what is said in every answer, what is logged of it, and how errors look."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from mien.serve.logs import say, say_error
from mien.serve.metrics import Metrics
from mien.serve.refusals import Refusal
from mien.serve.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL_HOSTS = frozenset(["localhost", "127.0.0.1", "::1"])
OPEN = ("/", "/healthz", "/readyz")
OPEN_FOLDERS = ("/assets/", "/ort/")
"""Without a token: what a browser loads before it can ask for one. None of it is anybody's."""
SUBPROTOCOL, BEARER = "mien", "bearer."
DRAIN_S = 2.0
SEND_S = 30.0

SECURITY = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """Stands before the whole service.

    Args:
        app: the service.
        settings: token, host.
        metrics: where answers are counted.
        stopping: says whether the service is about to end.
    """

    def __init__(self, app: App, settings: Settings, metrics: Metrics, stopping: Callable[[], bool]) -> None:
        self.app, self.settings, self.metrics, self.stopping = app, settings, metrics, stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or live socket."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        try:
            self._check(scope, Headers(scope=scope))
            await self.app(scope, exchange.receive, exchange.send)
        except Refusal as refusal:
            await exchange.refuse(refusal)
            self.metrics.refused.labels(refusal.kind).inc()
        except (ClientDisconnect, ConnectionError):
            exchange.status = 499
        except TimeoutError:  # the client does not take its answer
            exchange.status = 499
            say(logging.INFO, "answer not taken", id=exchange.id)
        except Exception as error:
            say_error("request failed", error, id=exchange.id)
            await exchange.refuse(
                Refusal(
                    "internal",
                    f"expected to answer, got an error of the service's own, id {exchange.id} in its log.",
                )
            )
        finally:
            self._note(scope, exchange)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Who asks, by which name, from which page, and with which token.

        Raises:
            Refusal: one of these is not as it should be.
        """
        told = headers.get("host", "")
        if self.settings.loopback and (_split(f"//{told}").hostname or "").lower() not in LOCAL_HOSTS:
            raise Refusal(
                "bad_host",
                "expected localhost or 127.0.0.1 as the service's name, got another one. A page of somebody else's may be "
                "pointing its name here.",
            )
        origin = headers.get("origin")
        if origin is not None and _split(origin).netloc != told:
            raise Refusal("bad_origin", "expected a request of the service's own page, got one of another.")
        path = scope["path"]
        is_open = path in OPEN or path.startswith(OPEN_FOLDERS)
        if self.settings.token and not is_open and not self._knows_token(scope, headers):
            raise Refusal(
                "bad_token",
                "expected the service's token, got none or another one. Send it as: Authorization: Bearer TOKEN.",
            )
        if self.stopping() and path not in OPEN:
            raise Refusal(
                "stopping", "expected to answer, but the service is about to stop. Ask again later."
            )

    def _knows_token(self, scope: Scope, headers: Headers) -> bool:
        scheme, _, told = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            told = ""
        if scope["type"] == "websocket" and not told:
            words = scope.get("subprotocols", ())
            told = next((word.removeprefix(BEARER) for word in words if word.startswith(BEARER)), "")
        return hmac.compare_digest(told.strip().encode(), self.settings.token.encode())

    def _note(self, scope: Scope, exchange: _Exchange) -> None:
        """Count and log an answer; a route is named by its pattern."""
        route = getattr(scope.get("route"), "path", None) or ("/" if scope["path"] == "/" else "other")
        method = scope.get("method", "WS")
        method = method if method in ("GET", "HEAD", "POST", "DELETE", "WS") else "other"
        seconds = time.perf_counter() - exchange.start
        self.metrics.requests.labels(route, method, str(exchange.status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        say(
            logging.INFO, "request", id=exchange.id, method=method, route=route, status=exchange.status,
            ms=round(1000 * seconds, 2), bytes_in=exchange.bytes_in, bytes_out=exchange.bytes_out,
        )  # fmt: skip


class _Exchange:
    """One request and its answer: bytes are counted, headers added, and a client that takes nothing is left."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.id, self.start = secrets.token_hex(6), time.perf_counter()
        self.status, self.bytes_in, self.bytes_out = 0, 0, 0
        self._scope, self._receive, self._send = scope, receive, send
        self._began = self._whole = False

    async def receive(self) -> Message:
        """The next of the client."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.bytes_in += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
        elif message["type"] == "websocket.receive":
            self.bytes_in += len(message.get("bytes") or message.get("text") or b"")
        return message

    async def send(self, message: Message) -> None:
        """The next for the client."""
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            self._began, self.status = True, message["status"]
            own = {name for name, _ in message.get("headers", ())}
            extra = {**SECURITY, "cache-control": "no-store", "x-request-id": self.id}
            added = [
                (name.encode(), value.encode()) for name, value in extra.items() if name.encode() not in own
            ]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        elif kind == "websocket.accept":
            self._began, self.status = True, 101
        elif kind == "websocket.close":
            self._began, self.status = True, self.status or 403
        self.bytes_out += len(message.get("body", b"") or message.get("bytes") or message.get("text") or b"")
        async with asyncio.timeout(SEND_S):
            await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal, unless an answer has begun; then the connection ends in the middle of it."""
        if self._scope["type"] == "websocket":
            await self._refuse_socket(refusal)
            return
        if self._began:
            raise ConnectionError("broken off")
        headers = {"content-type": "application/json", **refusal.headers}
        try:
            if not await self._drained():
                headers["connection"] = "close"
            await self._answer("http.response", refusal, headers)
        except (ConnectionError, TimeoutError):  # nobody is there to hear it
            self.status = 499

    async def _refuse_socket(self, refusal: Refusal) -> None:
        if self._began:
            await self.send({"type": "websocket.close", "code": 1011, "reason": refusal.kind})
        elif "websocket.http.response" in self._scope.get("extensions", {}):
            await self._answer(
                "websocket.http.response", refusal, {"content-type": "application/json", **refusal.headers}
            )
        else:
            await self.send({"type": "websocket.close", "code": 1008, "reason": refusal.kind})

    async def _answer(self, kind: str, refusal: Refusal, headers: dict[str, str]) -> None:
        body = json.dumps(refusal.body).encode()
        headers["content-length"] = str(len(body))
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": f"{kind}.start", "status": refusal.status, "headers": pairs})
        await self.send({"type": f"{kind}.body", "body": body})

    async def _drained(self) -> bool:
        """Whether the rest of the body came in a short while; a client that is still sending does not read an answer."""
        try:
            async with asyncio.timeout(DRAIN_S):
                while not self._whole:
                    if (await self.receive())["type"] == "http.disconnect":
                        raise ConnectionError("gone")
        except TimeoutError:
            return False
        return True


def _split(address: str) -> SplitResult:
    """The parts of an address; none of one that is no address."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")
