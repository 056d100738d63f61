"""A language model behind an OpenAI-compatible endpoint, such as llama.cpp, vLLM or Ollama serve on your own machine.

Only text goes out. An address outside this machine is refused unless it is allowed by name.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from mien.errors import LanguageModelError, OptionError

MOST_BYTES = 256 * 1024
"""A longer reply is not read to its end."""
MOST_TOKENS = 800
"""What the model is allowed to write."""


@dataclass(frozen=True)
class LanguageModel:
    """Where a language model answers.

    Attributes:
        url: base address, up to and with "/v1". llama.cpp serves at port 8080, Ollama at 11434, vLLM at 8000.
        model: its name, where the server has several.
        key_variable: environment variable that holds a key; a key is never an argument.
        timeout_s: for the answer; a server that falls silent in the midst of it is given up after at most twice that.
        allow_remote: let the evidence leave this machine.

    Raises:
        OptionError: not an http address, with a password in it, or outside this machine without `allow_remote`.
    """

    url: str = "http://127.0.0.1:8080/v1"
    model: str = "default"
    key_variable: str | None = None
    timeout_s: float = 60.0
    allow_remote: bool = False

    def __post_init__(self) -> None:
        wrong = OptionError(
            f"expected an address such as http://127.0.0.1:8080/v1, without password, got {self.url!r}"
        )
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError as error:  # an open bracket, or a port that is none
            raise wrong from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise wrong
        if not self.timeout_s > 0:
            raise OptionError(f"expected timeout_s over 0, got {self.timeout_s}")
        if not self.is_local and not self.allow_remote:
            raise OptionError(
                f"expected a language model on this machine, got {parts.hostname!r}. "
                "Say allow_remote=True (--allow-remote) to let the measurements of faces leave it."
            )

    @property
    def is_local(self) -> bool:
        """Whether the address is a loopback one."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def answer(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> str:
        """What the model writes, at temperature 0.

        The schema is asked for as `response_format`; a server that refuses that is asked once more without.

        Raises:
            LanguageModelError: no answer in time, an error of the server, or a reply that is no chat completion.
            OptionError: `key_variable` is not set, or holds no key that can be sent.
        """
        request = {
            "model": self.model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": MOST_TOKENS,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "explanation", "strict": True, "schema": schema},
            },
        }
        deadline = time.monotonic() + self.timeout_s
        status, body = self._post(request, deadline)
        if status in (400, 422):
            del request["response_format"]
            status, body = self._post(request, deadline)
        if status != 200:
            raise LanguageModelError(f"expected status 200 from {self.url}, got {status}: {_start(body)}")
        return _content(body, self.url)

    def _post(self, request: Mapping[str, Any], deadline: float) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key_variable:
            key = os.environ.get(self.key_variable)
            if not key:
                raise OptionError(f"expected a key in the environment variable {self.key_variable}, got none")
            if not re.fullmatch(r"[!-~]+", key):  # the key itself is never shown
                raise OptionError(
                    f"expected a key of printable ASCII without blanks in {self.key_variable}, got other characters. "
                    "Set it again, without a line end."
                )
            headers["Authorization"] = f"Bearer {key}"
        post = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions", json.dumps(request).encode(), headers, method="POST"
        )
        # A proxy of the environment is no part of this machine.
        handlers = [urllib.request.ProxyHandler({})] if self.is_local else []
        opener = urllib.request.build_opener(_NoRedirect, *handlers)
        try:
            try:
                reply = opener.open(post, timeout=max(0.01, deadline - time.monotonic()))
            except urllib.error.HTTPError as error:
                reply = error
            with reply:
                return reply.status, self._read(reply, deadline)
        except (OSError, HTTPException) as error:
            cause = getattr(error, "reason", error)
            raise LanguageModelError(
                f"expected an answer of {self.url} within {self.timeout_s:g} s, got: {cause or type(cause).__name__}. "
                "Start the server, or correct its address."
            ) from error

    def _read(self, reply: Any, deadline: float) -> bytes:
        """The body, within the deadline also where it comes drop by drop."""
        body = b""
        while chunk := reply.read1(65536):
            body += chunk
            if len(body) > MOST_BYTES:
                raise LanguageModelError(
                    f"expected an answer of at most {MOST_BYTES} bytes, {self.url} sent more"
                )
            if time.monotonic() > deadline:
                raise TimeoutError("timed out while it was answering")
        return body


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An address that sends elsewhere could send off this machine."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none; urllib then raises the status as an error."""
        return


def _content(body: bytes, url: str) -> str:
    try:
        choice = json.loads(body)["choices"][0]
        content, reason = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise LanguageModelError(
            f"expected a chat completion in JSON from {url}, got: {_start(body)}"
        ) from error
    if reason == "length":
        raise LanguageModelError(
            f"expected an answer of at most {MOST_TOKENS} tokens, {url} cut a longer one off"
        )
    if not isinstance(content, str):
        raise LanguageModelError(f"expected text from {url}, got {type(content).__name__}")
    return content


def _start(body: bytes) -> str:
    return repr(body[:120].decode("utf-8", "replace"))
