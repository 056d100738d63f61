"""What the service is told when it starts: where it listens, who may ask, and every limit."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType

from mien.errors import OptionError
from mien.weights.fetch import home

TOKEN = "MIEN_TOKEN"
"""Variable of the environment that holds the token."""
LETTERS = re.compile(r"[A-Za-z0-9._~-]{16,200}")
"""A token also has to fit into a WebSocket's subprotocol, so its letters are few."""

LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "request_mb": "pictures of one request together, and one frame of a live socket",
        "clip_mb": "one clip",
        "megapixels": "one picture",
        "frame_megapixels": "one frame of a clip",
        "length_s": "a clip's length, seconds",
        "files": "pictures of one request",
        "request_s": "one request of pictures, from its first byte to the answer; the header of any request; seconds",
        "slowest_kb_s": "how slowly a clip may come on average, after ten seconds, kB a second",
        "job_s": "the work on one clip, seconds",
        "concurrency": "requests at work at once; as many live sockets, and as many streams and downloads",
        "connections": "open connections",
        "jobs": "clips that wait or are worked on",
        "disk_mb": "clips that wait and results that are kept, together",
        "memory_mb": "memory of one process that reads clips (Linux)",
    }
)
"""Limit -> what it is of. Each is a field of `Settings` and an option of `mien serve`."""


@dataclass(frozen=True)
class Settings:
    """Everything that the service is told. Sizes are in millions of bytes; see `LIMITS` for the limits.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        token: who knows it may ask; needed unless the host is this machine alone.
        home: folder of waiting clips and kept results, made for the owner alone.
        model: expression network, by name or path.
        threads: threads of one inference, 0 for one a core.
        workers: clips that are worked on at once, each in a process of its own.
        keep_s: how long a finished job and its rows are kept.
        batch: pictures of waiting requests that are analysed together at most.
        batch_wait_ms: how long a picture waits for others at most.

    Raises:
        OptionError: a number is out of range, or the service would be open to a network without a token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = field(default="", repr=False)
    home: Path = field(default_factory=lambda: home() / "serve")
    model: str = "expression"
    threads: int = 0
    workers: int = 1
    keep_s: float = 86400.0
    batch: int = 8
    batch_wait_ms: float = 2.0
    request_mb: float = 20.0
    clip_mb: float = 1000.0
    megapixels: float = 50.0
    frame_megapixels: float = 9.0
    length_s: float = 3600.0
    files: int = 16
    request_s: float = 30.0
    slowest_kb_s: float = 64.0
    job_s: float = 7200.0
    concurrency: int = 32
    connections: int = 256
    jobs: int = 100
    disk_mb: float = 20_000.0
    memory_mb: float = 4096.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in (*LIMITS, "workers", "keep_s", "batch") and not 0 < value < math.inf:
                raise OptionError(f"expected {item.name} over 0, got {value}")
        if not 0 <= self.port < 65536 or self.threads < 0 or not 0 <= self.batch_wait_ms < 1000:
            raise OptionError(
                "expected port from 0 to 65535, threads of at least 0 and batch_wait_ms from 0 to 1000, got "
                f"{self.port}, {self.threads} and {self.batch_wait_ms}"
            )
        if self.token and not LETTERS.fullmatch(self.token):
            raise OptionError(
                "expected a token of 16 to 200 letters, digits and . _ ~ -, got another one. Make one with: "
                'python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        if not self.loopback and not self.token:
            raise OptionError(
                f"expected a token where others can reach the service, got host {self.host!r} and none. Put one into "
                f"the environment as {TOKEN} or name a file with --token-file; make it with: "
                'python -c "import secrets; print(secrets.token_urlsafe(32))". Or stay with --host 127.0.0.1.'
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
