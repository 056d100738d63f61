"""Run the service with uvicorn: connections are counted, headers have to come in time, and a stop is graceful."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mien.errors import OptionError
from mien.serve.app import create_app
from mien.serve.logs import say
from mien.serve.refusals import Refusal
from mien.serve.settings import Settings

KEEP_ALIVE_S = 5


def protocol_for(settings: Settings) -> type[H11Protocol]:
    """HTTP/1.1 as uvicorn speaks it, with a limit on connections and on the time that a header takes."""

    class Patient(H11Protocol):
        _due: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > settings.connections:
                self._say(
                    Refusal(
                        "busy", "expected fewer connections (connections), got one more. Try again later."
                    )
                )
                return
            self._due = self.loop.call_later(settings.request_s, self._late)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            super().data_received(data)
            if self._reads_header():
                self._due = self._due or self.loop.call_later(settings.request_s, self._late)
            else:
                self._forget()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            self._say(Refusal("bad_request", "expected an HTTP request, got something else."))

        def _reads_header(self) -> bool:
            """Whether a request has not come as far as its body."""
            return self.conn.their_state.__name__ == "IDLE"

        def _late(self) -> None:
            self._due = None
            if self._reads_header() and not self.transport.is_closing():
                self._say(
                    Refusal("too_slow", "expected the header of a request in time (request_s), got none.")
                )

        def _forget(self) -> None:
            if self._due is not None:
                self._due.cancel()
                self._due = None

        def _say(self, refusal: Refusal) -> None:
            """Refuse what is no request yet, and close."""
            body = json.dumps(refusal.body).encode()
            lines = [
                f"HTTP/1.1 {refusal.status} Refused", "content-type: application/json", f"content-length: {len(body)}",
                *(f"{name}: {value}" for name, value in refusal.headers.items()), "connection: close", "", "",
            ]  # fmt: skip
            self.transport.write("\r\n".join(lines).encode() + body)
            self.transport.close()

    return Patient


class Server(uvicorn.Server):
    """Tells the service at once when it has to stop, so that streams end and new requests are refused."""

    def __init__(self, config: uvicorn.Config, service: Any) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A signal to stop."""
        self._service.stopping = True
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where."""
        await super().startup(sockets)
        for server in self.servers:
            for one in server.sockets:
                host, port = one.getsockname()[:2]
                say(logging.INFO, "listening", host=host, port=port)


def serve(settings: Settings) -> None:
    """Run until a signal says stop.

    Running requests are finished, streams end, and clips that are worked on wait for the next start.

    Raises:
        MienError: the model, the folder or the address cannot be used.
        KeyboardInterrupt: it was stopped by a signal, and everything is put away.
    """
    # uvicorn raises the signal once more when it has stopped; then, as before it begins, it ends the command quietly.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app = create_app(settings)
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, http=protocol_for(settings), log_config=None, access_log=False,
        server_header=False, proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.request_s) + 1, ws_max_size=int(settings.request_mb * 1e6),
        ws_ping_interval=20.0, ws_ping_timeout=20.0, h11_max_incomplete_event_size=65536, lifespan="on",
    )  # fmt: skip
    try:
        Server(config, app.state.service).run()
    except SystemExit:
        raise OptionError(
            f"expected to listen on {settings.host}:{settings.port}, could not; the log says why. Something else may listen "
            "there: choose another --port."
        ) from None
