"""Live sources: a camera by its number, or a stream by its address. The newest frame wins; what is dropped is counted."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av

from mien.errors import InputError
from mien.pipeline.clips import ClipFrame, Every, Span
from mien.pipeline.decoding import cause, upright, video_stream

CAMERA = re.compile(r"camera:(\d+)")
ADDRESS = re.compile(r"(rtsp|rtsps|rtmp|http|https|tcp|udp|srt)://.+", re.IGNORECASE)
CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}:none")}
"""Platform -> FFmpeg's input for cameras, and what it calls one."""
UNTIMED = frozenset(["mpjpeg", "mjpeg", "image2pipe", "jpeg_pipe", "png_pipe"])
"""Formats that carry no times; their frames get the time of their arrival."""
PATIENCE_S = 10.0
"""How long a source may say nothing, in opening and later, before it counts as gone."""


@dataclass(frozen=True)
class LiveSource:
    """`camera:0`, `rtsp://...`, `http://...`: what goes on until it is stopped, and is read as it comes."""

    address: str

    def __str__(self) -> str:
        """The address without a name, a password and a query, which may hold them too, for tables and messages."""
        return re.sub(r"//.*@", "//", self.address.partition("?")[0])

    def open(self) -> av.container.InputContainer:
        """Connect.

        Raises:
            InputError: this platform's cameras cannot be read, or nothing answers.
        """
        camera = CAMERA.fullmatch(self.address)
        options: dict[str, Any] = {"timeout": PATIENCE_S, "options": {}}
        name = self.address
        if camera is not None:
            if sys.platform not in CAMERAS:
                raise InputError(
                    f"expected Linux or macOS to read {self} from, got {sys.platform}. Give a stream's address instead."
                )
            options["format"], name = CAMERAS[sys.platform]
            name = name.format(camera[1])
        elif self.address.lower().startswith("rtsp"):
            options["options"]["rtsp_transport"] = "tcp"
        try:
            container = av.open(name, **options)
        except (av.FFmpegError, ValueError, OSError) as error:
            raise InputError(
                f"expected {self} to answer within {PATIENCE_S:g} s, got: {cause(error)}. Check that it is there, and "
                "that nobody else uses it."
            ) from None
        if not container.streams.video:
            container.close()
            raise InputError(f"expected {self} to send pictures, got none. Choose another source.")
        return container


def live_source(text: str) -> LiveSource | None:
    """The live source that a text names; `None` if it names a file."""
    return LiveSource(text) if CAMERA.fullmatch(text) or ADDRESS.fullmatch(text) else None


def read_live(source: LiveSource, span: Span | None = None) -> Iterator[ClipFrame]:
    """The newest frame each time that one is asked for; those that came in between are dropped and counted.

    So the delay is that of one frame, however long a frame takes to analyse. Frames are counted as they come, dropped
    ones too. Times are the stream's own, from the first frame on; the time of arrival where it sends none.

    Args:
        source: a camera or an address.
        span: seconds from the first frame; with an end, the recording ends there.

    Raises:
        InputError: nothing answers; or, after the frames so far, the source ended or fell silent.
    """
    span = span or Span()
    due, dropped = Every(span.every_s), 0
    reader = _Newest(source)
    try:
        while (taken := reader.take()) is not None:
            index, time_s, frame, missed = taken
            dropped += missed
            if span.after(time_s):
                return
            if not span.before(time_s) and due(time_s):
                yield ClipFrame(index, time_s, upright(frame), dropped)
                dropped = 0
    finally:
        reader.stop()
    raise reader.reason()


class _Newest:
    """A thread that decodes a source as fast as it comes and keeps one frame."""

    def __init__(self, source: LiveSource) -> None:
        self._source = source
        self._changed = threading.Condition()
        self._frame: tuple[int, float, av.VideoFrame] | None = None
        self._missed = self._count = 0
        self._ended = self._stopped = False
        self._error: Exception | None = None
        threading.Thread(target=self._run, name=f"mien {source}", daemon=True).start()

    def take(self) -> tuple[int, float, av.VideoFrame, int] | None:
        """Wait for a frame: its index, time, itself, and how many were dropped before; `None` at the end."""
        with self._changed:
            while self._frame is None and not self._ended:
                self._changed.wait(0.5)  # a limit, so that Ctrl-C is heard
            if self._frame is None:
                return None
            taken = (*self._frame, self._missed)
            self._frame, self._missed = None, 0
            return taken

    def stop(self) -> None:
        """Let the thread end after the packet it is at."""
        self._stopped = True

    def reason(self) -> InputError:
        """Why there is nothing more."""
        if isinstance(self._error, InputError):
            return self._error
        why = cause(self._error) if self._error is not None else "its end"
        return InputError(
            f"expected {self._source} to go on, got {why} after {self._count} frames. The rows before it stand; see that "
            "it is still there. With an end in seconds a recording ends by itself."
        )

    def _run(self) -> None:
        try:
            with self._source.open() as container:
                self._read(container)
        except (InputError, av.FFmpegError, ValueError, OSError) as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _read(self, container: av.container.InputContainer) -> None:
        stream = video_stream(container)
        stream.thread_type = "SLICE"  # threads by frame would each hold a frame back
        untimed = not UNTIMED.isdisjoint(container.format.name.split(","))
        first: float | None = None
        for packet in container.demux(stream):
            if self._stopped:
                return
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue  # a piece lost on the way; the next key frame mends it
            for frame in frames:
                now = time.monotonic() if untimed or frame.time is None else float(frame.time)
                first = now if first is None else first
                with self._changed:
                    self._missed += self._frame is not None
                    self._frame = self._count, now - first, frame
                    self._count += 1
                    self._changed.notify_all()
