"""How the service says no: one status and one message a kind, always in the same shape."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

KINDS: Mapping[str, int] = MappingProxyType(
    {
        "bad_request": 400,
        "bad_host": 400,
        "broken_clip": 400,
        "bad_token": 401,
        "bad_origin": 403,
        "not_found": 404,
        "no_such_method": 405,
        "too_slow": 408,
        "not_ready": 409,
        "too_large": 413,
        "too_many_pixels": 413,
        "too_long": 413,
        "too_many_files": 413,
        "not_multipart": 415,
        "not_a_picture": 415,
        "not_a_clip": 415,
        "bad_option": 422,
        "too_many_requests": 429,
        "too_many_jobs": 429,
        "internal": 500,
        "lost": 500,
        "busy": 503,
        "stopping": 503,
        "disk": 507,
        "memory": 507,
    }
)
"""Kind -> HTTP status. A job that failed carries the same kinds."""

RETRY_S = {429: 1, 503: 5}


class Refusal(Exception):  # noqa: N818 - not an error of ours
    """A request that is not answered as asked.

    Args:
        kind: one of `KINDS`.
        message: "expected ..., got ...", and what to do; never a path, a stack, or anything of somebody else's.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message, self.status = kind, message, KINDS[kind]

    @property
    def error(self) -> dict[str, str]:
        """Kind and message."""
        return {"kind": self.kind, "message": self.message}

    @property
    def body(self) -> dict[str, Any]:
        """The whole answer."""
        return {"error": self.error}

    @property
    def headers(self) -> dict[str, str]:
        """What the status wants besides."""
        headers = {}
        if self.status in RETRY_S:
            headers["Retry-After"] = str(RETRY_S[self.status])
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="mien"'
        return headers
