"""Read what a client sends, piece by piece, with every limit held while it comes."""

from __future__ import annotations

import asyncio
import time
import unicodedata
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from mien.serve.refusals import Refusal

HEADER_BYTES = 4096
FIELD_BYTES = 1024
FIELDS = 16
NAME_LETTERS = 200
PIECE_BYTES = 65536
GRACE_S = 10.0


class Sink(Protocol):
    """Where the bytes of one file go."""

    def write(self, content: bytes, /) -> object:
        """Take the next bytes."""
        ...


@dataclass
class Form:
    """What came: text fields by name, and files as (name, sink), in their order."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, Any]] = field(default_factory=list)


def clean_name(name: str) -> str:
    """A client's own name for a file, fit to be shown: without folders and control characters, "file" if nothing is left."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(letter for letter in last if not unicodedata.category(letter).startswith("C"))
    return shown.strip()[:NAME_LETTERS] or "file"


async def timely(
    pieces: AsyncIterator[bytes], most_bytes: int, what: str, deadline_s: Callable[[int], float]
) -> AsyncIterator[bytes]:
    """The pieces of a body as they come.

    Args:
        pieces: of the body.
        most_bytes: of all together.
        what: the limit's name, for the message.
        deadline_s: seconds from the first call by which the next piece has to be there, by the bytes so far.

    Raises:
        Refusal: too large, or too slow.
    """
    start, count = time.monotonic(), 0
    iterator = aiter(pieces)
    while True:
        left_s = start + deadline_s(count) - time.monotonic()
        try:
            async with asyncio.timeout(max(left_s, 0.0)):
                piece = await anext(iterator)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refusal(
                "too_slow",
                f"expected the whole body in time ({what}), got {count} bytes so far. Send it again, faster.",
            ) from None
        count += len(piece)
        if count > most_bytes:
            raise Refusal(
                "too_large",
                f"expected at most {most_bytes} bytes ({what}), got more. Make it smaller, or send less at once.",
            )
        yield piece


def expect_length(headers: Any, most_bytes: int, what: str) -> int | None:
    """The length that a request's header tells, `None` if it does not.

    Raises:
        Refusal: it is over the limit, so that nothing of the body has to be read.
    """
    told = headers.get("content-length")
    if told is None:
        return None
    if not (told.isascii() and told.isdigit()):
        raise Refusal("bad_request", "expected a number as Content-Length, got something else.")
    if len(told) > 18 or int(told) > most_bytes:
        raise Refusal(
            "too_large",
            f"expected at most {most_bytes} bytes ({what}), got {told[:18]}. Make it smaller, or send less at once.",
        )
    return int(told)


async def read_form(
    content_type: str,
    pieces: AsyncIterator[bytes],
    files: int,
    new_sink: Callable[[], Sink],
    to_disk: bool = False,
) -> Form:
    """Read a multipart form. Files go to sinks as they come; nothing else is kept than short text fields.

    Args:
        content_type: of the request.
        pieces: of the body.
        files: how many there may be.
        new_sink: called for each file.
        to_disk: sinks may be slow, so that other requests go on meanwhile.

    Raises:
        Refusal: no form, a broken one, or one beyond a limit.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 70:
        raise Refusal(
            "not_multipart",
            "expected multipart/form-data with a boundary, got another content type. Send the file as the part 'file', "
            "as curl -F file=@NAME does.",
        )
    reader = _Reader(files, new_sink)
    parser = MultipartParser(boundary, reader.callbacks())
    try:
        async for whole in pieces:
            for start in range(0, len(whole), PIECE_BYTES):
                piece = whole[start : start + PIECE_BYTES]
                if to_disk:
                    await asyncio.to_thread(parser.write, piece)
                else:
                    parser.write(piece)
        parser.finalize()
    except FormParserError:
        raise _broken() from None
    if not reader.ended:
        raise _broken()
    return reader.form


def _broken() -> Refusal:
    return Refusal(
        "bad_request", "expected a whole multipart form, got one that is broken or cut off. Send it again."
    )


class _Reader:
    """What the parser calls."""

    def __init__(self, files: int, new_sink: Callable[[], Sink]) -> None:
        self.form, self.ended = Form(), False
        self._most, self._new_sink = files, new_sink
        self._parts = 0

    def callbacks(self) -> Any:
        """The parser's names -> methods."""
        return {
            "on_part_begin": self.begin,
            "on_header_field": self.header_name,
            "on_header_value": self.header_value,
            "on_header_end": self.header_end,
            "on_headers_finished": self.headers_finished,
            "on_part_data": self.data,
            "on_part_end": self.part_end,
            "on_end": self.end,
        }

    def begin(self) -> None:
        self._parts += 1
        if self._parts > FIELDS + self._most:
            raise Refusal("bad_request", f"expected at most {FIELDS} fields, got more. Leave some out.")
        self._name, self._value, self._disposition = b"", b"", b""
        self._field: str | None = None
        self._text = bytearray()
        self._sink: Sink | None = None

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name = _short(self._name + data[start:end])

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value = _short(self._value + data[start:end])

    def header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def headers_finished(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            if not name or name in self.form.fields:
                raise Refusal(
                    "bad_request", "expected fields with a name, each once, got one without or twice."
                )
            self._field = name
            return
        if name != "file":
            raise Refusal("bad_request", "expected files in parts with the name 'file', got another name.")
        if len(self.form.files) == self._most:
            raise Refusal(
                "too_many_files",
                f"expected at most {self._most} files in one request (files), got more. Send several requests.",
            )
        self._sink = self._new_sink()
        shown = clean_name(options[b"filename"].decode("utf-8", "replace"))
        self.form.files.append((shown, self._sink))

    def data(self, data: bytes, start: int, end: int) -> None:
        if self._sink is not None:
            self._sink.write(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > FIELD_BYTES:
            raise Refusal(
                "bad_request",
                f"expected text fields of at most {FIELD_BYTES} bytes, got a longer one. A file needs a file name.",
            )

    def part_end(self) -> None:
        if self._field is not None:
            self.form.fields[self._field] = bytes(self._text).decode("utf-8", "replace")

    def end(self) -> None:
        self.ended = True


def _short(header: bytes) -> bytes:
    if len(header) > HEADER_BYTES:
        raise Refusal(
            "bad_request", f"expected part headers of at most {HEADER_BYTES} bytes, got a longer one."
        )
    return header
