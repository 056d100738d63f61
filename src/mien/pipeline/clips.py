"""Read clips frame by frame, with exact presentation times and constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageSequence

from mien.errors import InputError, OptionError
from mien.pipeline.decoding import Reading, find_landing, open_clip, upright, video_stream
from mien.pipeline.pictures import MAX_PIXELS
from mien.transforms.pixels import to_rgb

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
        ".m2ts",
        ".m2t",
        ".mxf",
        ".asf",
        ".vob",
        ".3g2",
        ".gif",
    ]
)


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """A decoded frame: index from 0, presentation time in seconds, upright RGB uint8 (H, W, 3).

    Of a live source `dropped` is the number of frames before it that nobody had time for; `None` for a file.
    """

    frame: int
    time_s: float
    image: np.ndarray
    dropped: int | None = None


@dataclass(frozen=True)
class Span:
    """The part of a clip that is wanted, in its own presentation times: start <= time < end, and one frame a step.

    Attributes:
        start_s: `None` for the beginning.
        end_s: `None` for the end.
        every_s: the first frame, and then one for each step of so many seconds from it; `None` for every frame.

    Raises:
        OptionError: a number is not finite, a step not positive, or the end not after the start.
    """

    start_s: float | None = None
    end_s: float | None = None
    every_s: float | None = None

    def __post_init__(self) -> None:
        if self.every_s is not None and not (self.every_s > 0 and math.isfinite(self.every_s)):
            raise OptionError(f"expected every_s over 0 seconds, got {self.every_s}")
        for name in ("start_s", "end_s"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise OptionError(f"expected {name} of at least 0 seconds, got {value}")
        if self.end_s is not None and not self.end_s > (self.start_s or 0):
            raise OptionError(f"expected end_s after start_s ({self.start_s or 0:g} s), got {self.end_s:g}")

    def before(self, time_s: float) -> bool:
        """Whether a time lies before the part; times are compared with a slack for rounding."""
        return self.start_s is not None and time_s < self.start_s - 1e-9

    def after(self, time_s: float) -> bool:
        """Whether a time lies after the part."""
        return self.end_s is not None and time_s >= self.end_s - 1e-9


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
    with open_clip(path) as container:
        stream = video_stream(container)
        if stream.duration is not None and stream.time_base is not None:
            duration = float(stream.duration * stream.time_base)
        else:
            duration = (container.duration or 0) / av.time_base
        return ClipInfo(stream.frames, duration)


def read_clip(path: Path, span: Span | None = None) -> Iterator[ClipFrame]:
    """The frames of a clip in presentation order.

    The index counts every frame of the file, also those that the span leaves out. Times are the container's
    own presentation times, so they are right for a variable frame rate too. A start is sought, not decoded up to,
    where the file can be sought in; the index stays exact, see `mien.pipeline.decoding.find_landing`.

    Args:
        path: mp4, mov, webm, avi, gif and whatever FFmpeg reads.
        span: the part that is wanted; by default all.

    Raises:
        InputError: before the first frame if the file cannot be opened; after the last one that could be read if
            the clip breaks off, or if something about its frames or times is not as it should be; the part holds
            no frame.
    """
    span = span or Span()
    landing = None if span.start_s is None else find_landing(path, span.start_s)
    due, read, given, inside, last_s = Every(span.every_s), Reading(), 0, 0, None
    with open_clip(path) as container:
        stream = video_stream(container)
        stream.thread_type = "AUTO"
        if stream.width * stream.height > MAX_PIXELS:
            raise InputError(
                f"expected frames of at most {MAX_PIXELS / 1e6:.0f} million pixels, "
                f"got {stream.width} x {stream.height}. Make the clip smaller first."
            )
        if landing is not None:
            container.seek(landing.ask, stream=stream)
            read.packets = landing.packets
        for frame, time_s in read.frames(container, stream):
            last_s = time_s
            if landing is not None and span.before(time_s):
                continue  # between the key frame that was sought and the start; the index counts them already
            index = given + (0 if landing is None else landing.frames)
            given += 1
            if span.after(time_s):
                read.ended = True
                break
            if not span.before(time_s) and due(time_s):
                inside += 1
                yield ClipFrame(index, time_s, upright(frame))
        read.judge(container, stream)
    if last_s is None and landing is None:
        raise InputError(
            "expected a clip, got one without a single frame that can be decoded. Export it again."
        )
    if read.problems and given:
        raise InputError(
            "; ".join(read.problems) + ". The rows before it stand; copy or export the clip again."
        )
    if not inside:
        raise _nothing_in(span, last_s)


def _nothing_in(span: Span, last_s: float | None) -> InputError:
    """What to say of a part without a frame; the last frame that was decoded lies at `last_s`, if there was one."""
    if last_s is None or span.before(last_s):
        start_s = span.start_s or 0.0
        end = "one that ends before" if last_s is None else f"a clip whose last frame is at {last_s:.3f} s"
        return InputError(
            f"expected a start within the clip, got {start_s:g} s of {end}. Choose an earlier start."
        )
    part = " ".join(
        f"{word} {time_s:g} s"
        for word, time_s in (("from", span.start_s), ("before", span.end_s))
        if time_s is not None
    )
    return InputError(
        f"expected frames {part}, got none; the next is at {last_s:.3f} s. Choose a longer part."
    )


class Every:
    """Says of each time whether a frame is due: the first, then one for each step of a grid from it."""

    def __init__(self, step_s: float | None) -> None:
        self.step_s = step_s
        self.first_s: float | None = None
        self.next_s = 0.0

    def __call__(self, time_s: float) -> bool:
        """Whether the frame at a time is due."""
        if self.step_s is None:
            return True
        if self.first_s is None:
            self.first_s = self.next_s = time_s
        if time_s < self.first_s:  # the clip's clock went back: a new grid
            self.first_s = self.next_s = time_s
        if time_s < self.next_s - 1e-9:
            return False
        steps = math.floor((time_s - self.first_s) / self.step_s + 1e-9)
        self.next_s = self.first_s + (steps + 1) * self.step_s
        return True


def is_animated(path: Path) -> bool:
    """Whether a picture file holds several frames that play after one another (GIF, WebP, PNG)."""
    try:
        with Image.open(path) as picture:
            return getattr(picture, "is_animated", False) and picture.format in ("GIF", "WEBP", "PNG")
    except Exception:  # Pillow raises whatever it stumbles over in damaged bytes
        return False


def read_animation(path: Path, span: Span | None = None) -> Iterator[ClipFrame]:
    """The frames of an animated WebP or PNG, timed by the durations stored in it.

    Raises:
        InputError: the file breaks off; the frames before it were given; the part holds no frame.
    """
    time_ms, index, inside, last_s = 0.0, -1, 0, None
    span = span or Span()
    due = Every(span.every_s)
    try:
        with Image.open(path) as picture:
            for index, frame in enumerate(ImageSequence.Iterator(picture)):
                frame.load()
                last_s = time_ms / 1000
                if span.after(last_s):
                    break
                if not span.before(last_s) and due(last_s):
                    inside += 1
                    yield ClipFrame(index, time_ms / 1000, to_rgb(frame))
                time_ms += frame.info.get("duration", 100)
    except Exception as error:
        raise InputError(
            f"expected a whole animation, got one that breaks off after frame {index} ({error}). Export it again."
        ) from None
    if not inside:
        raise _nothing_in(span, last_s)
