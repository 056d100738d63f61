"""Read clips frame by frame, with exact presentation times and constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageSequence

from mien.errors import InputError
from mien.pipeline.pictures import MAX_PIXELS, to_rgb

CLIP_SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".webm",
        ".mkv",
        ".avi",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".ogv",
        ".3gp",
        ".ts",
        ".mts",
        ".gif",
    ]
)


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """A decoded frame: index from 0, presentation time in seconds, upright RGB uint8 (H, W, 3)."""

    frame: int
    time_s: float
    image: np.ndarray


@dataclass(frozen=True)
class ClipInfo:
    """What a clip's header claims: frames (0 if it does not say) and length in seconds (0 if not)."""

    frames: int
    duration_s: float


def clip_info(path: Path) -> ClipInfo:
    """Read a clip's header.

    Raises:
        InputError: the file is empty, no clip, or has no video stream.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        if stream.duration is not None and stream.time_base is not None:
            duration = float(stream.duration * stream.time_base)
        else:
            duration = (container.duration or 0) / av.time_base
        return ClipInfo(stream.frames, duration)


def read_clip(path: Path, every_s: float | None = None) -> Iterator[ClipFrame]:
    """The frames of a clip in presentation order.

    The index counts every decoded frame, also those that `every_s` leaves out. Times are the container's
    own presentation times, so they are right for a variable frame rate too.

    Args:
        path: mp4, mov, webm, avi, gif and whatever FFmpeg reads.
        every_s: give the first frame and then one for each step of so many seconds from it.

    Raises:
        InputError: before the first frame if the file cannot be opened; after the last good one if the
            clip breaks off or ends before its header says.
    """
    count, last_time = 0, 0.0
    due = _Every(every_s)
    read = _Reading()
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if stream.width * stream.height > MAX_PIXELS:
            raise InputError(
                f"expected frames of at most {MAX_PIXELS / 1e6:.0f} million pixels, "
                f"got {stream.width} x {stream.height}. Make the clip smaller first."
            )
        expected, rate = stream.frames, stream.average_rate
        try:
            for frame in read.frames(container):
                if frame.time is not None:
                    last_time = float(frame.time)
                elif count:
                    last_time += 1 / float(rate or 25)
                if due(last_time):
                    yield ClipFrame(count, last_time, _upright(frame))
                count += 1
        except (av.FFmpegError, ValueError) as error:
            raise InputError(
                f"expected {expected or 'more'} frames, got {count}: the clip is damaged after "
                f"{last_time:.3f} s ({_cause(error)}). The rows before it stand; copy or export the clip again."
            ) from None
        missing = read.missing(container, expected)
    if count == 0:
        raise InputError(
            "expected a clip, got one without a single frame that can be decoded. Export it again."
        )
    if missing:
        raise InputError(
            f"expected {missing}: the clip breaks off after {last_time:.3f} s. "
            "The rows before it stand; copy or export the clip again."
        )


class _Every:
    """Says of each time whether a frame is due: the first, then one for each step of a grid from it."""

    def __init__(self, step_s: float | None) -> None:
        self.step_s = step_s
        self.first_s: float | None = None
        self.next_s = 0.0

    def __call__(self, time_s: float) -> bool:
        if self.step_s is None:
            return True
        if self.first_s is None:
            self.first_s = self.next_s = time_s
        if time_s < self.next_s - 1e-9:
            return False
        steps = math.floor((time_s - self.first_s) / self.step_s + 1e-9)
        self.next_s = self.first_s + (steps + 1) * self.step_s
        return True


class _Reading:
    """Decodes the first video stream and notes how much of it was there."""

    def __init__(self) -> None:
        self.packets = 0
        self.end_s = 0.0

    def frames(self, container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
        """All frames, in presentation order."""
        for packet in container.demux(video=0):
            self.packets += packet.size > 0
            if packet.pts is not None and packet.time_base is not None:
                self.end_s = max(self.end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            yield from packet.decode()

    def missing(self, container: av.container.InputContainer, expected: int) -> str:
        """What the header promises and the file lacks, in words; empty for a whole clip.

        Packets are counted, not frames: an edit list may hide frames of a clip that is whole. Where the
        header gives no count, its length is compared; sound may well run a little longer than pictures.
        """
        if expected > self.packets:
            return f"{expected} frames as the header says, got {self.packets}"
        length_s = (container.duration or 0) / av.time_base
        slack_s = 0.15 if len(container.streams) == 1 else 1.0
        if not expected and length_s - self.end_s > slack_s:
            return f"{length_s:.3f} s as the header says, got {self.end_s:.3f} s"
        return ""


def _opened(path: Path) -> av.container.InputContainer:
    """Open a clip that has a video stream."""
    if path.stat().st_size == 0:
        raise InputError("expected a clip, got a file of zero bytes. Copy or export it again.")
    try:
        container = av.open(str(path))
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            f"expected a clip (mp4, mov, webm, avi, gif, ...), got a file that cannot be opened as one ({_cause(error)}). "
            "It may be cut off or of another kind; copy or export it again."
        ) from None
    if not container.streams.video:
        container.close()
        raise InputError(
            "expected a clip with pictures, got a file without a video stream. Choose another file."
        )
    return container


def _cause(error: Exception) -> str:
    """FFmpeg's own words, without its error number and the path."""
    return str(getattr(error, "strerror", None) or error)


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """RGB with the rotation undone that phones write beside the frames."""
    image = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def is_animated(path: Path) -> bool:
    """Whether a picture file holds several frames that play after one another (GIF, WebP, PNG)."""
    try:
        with Image.open(path) as picture:
            return getattr(picture, "is_animated", False) and picture.format in ("GIF", "WEBP", "PNG")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def read_animation(path: Path, every_s: float | None = None) -> Iterator[ClipFrame]:
    """The frames of an animated WebP or PNG, timed by the durations stored in it.

    Raises:
        InputError: the file breaks off; the frames before it were given.
    """
    time_ms, index = 0.0, -1
    due = _Every(every_s)
    try:
        with Image.open(path) as picture:
            for index, frame in enumerate(ImageSequence.Iterator(picture)):
                frame.load()
                if due(time_ms / 1000):
                    yield ClipFrame(index, time_ms / 1000, to_rgb(frame))
                time_ms += frame.info.get("duration", 100)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise InputError(
            f"expected a whole animation, got one that breaks off after frame {index} ({error}). Export it again."
        ) from None
