"""Read clips frame by frame, with exact presentation times and constant memory."""

from __future__ import annotations

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
        every_s: give a frame only when this many seconds have passed since the last one given.

    Raises:
        InputError: before the first frame if the file cannot be opened; after the last good one if the
            clip breaks off or ends before its header says.
    """
    count, last_time, next_time = 0, 0.0, None
    packets = [0]
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
            for frame in _decoded(container, packets):
                if frame.time is not None:
                    last_time = float(frame.time)
                elif count:
                    last_time += 1 / float(rate or 25)
                if next_time is None or last_time >= next_time - 1e-9:
                    if every_s is not None:
                        next_time = (last_time if next_time is None else next_time) + every_s
                        next_time = max(next_time, last_time + 1e-9)
                    yield ClipFrame(count, last_time, _upright(frame))
                count += 1
        except (av.FFmpegError, ValueError) as error:
            raise InputError(
                f"expected {expected or 'more'} frames, got {count}: the clip is damaged after "
                f"{last_time:.3f} s ({error}). The rows before it stand; copy or export the clip again."
            ) from None
    if count == 0:
        raise InputError(
            "expected a clip, got one without a single frame that can be decoded. Export it again."
        )
    # Packets are compared, not frames: an edit list may hide frames of a clip that is whole.
    if expected > packets[0]:
        raise InputError(
            f"expected {expected} frames as the header says, got {packets[0]}: the clip breaks off after "
            f"{last_time:.3f} s. The rows before it stand; copy or export the clip again."
        )


def _decoded(container: av.container.InputContainer, packets: list[int]) -> Iterator[av.VideoFrame]:
    """The frames of the first video stream; counts its packets in `packets[0]` as they are read."""
    for packet in container.demux(video=0):
        packets[0] += packet.size > 0
        yield from packet.decode()


def _opened(path: Path) -> av.container.InputContainer:
    """Open a clip that has a video stream."""
    if path.stat().st_size == 0:
        raise InputError("expected a clip, got a file of zero bytes. Copy or export it again.")
    try:
        container = av.open(str(path))
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            f"expected a clip (mp4, mov, webm, avi, gif, ...), got a file that cannot be opened as one ({error}). "
            "It may be cut off or of another kind; copy or export it again."
        ) from None
    if not container.streams.video:
        container.close()
        raise InputError(
            "expected a clip with pictures, got a file without a video stream. Choose another file."
        )
    return container


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
    time_ms, next_s = 0.0, 0.0
    index = -1
    try:
        with Image.open(path) as picture:
            for index, frame in enumerate(ImageSequence.Iterator(picture)):
                frame.load()
                if every_s is None or time_ms / 1000 >= next_s - 1e-9:
                    next_s += every_s or 0
                    yield ClipFrame(index, time_ms / 1000, to_rgb(frame))
                time_ms += frame.info.get("duration", 100)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise InputError(
            f"expected a whole animation, got one that breaks off after frame {index} ({error}). Export it again."
        ) from None
