"""What clips need of FFmpeg: open, find the video stream, decode with a list of what was wrong, and seek exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.stream import Disposition

from mien.errors import InputError

CONTAINERS = (
    "mov,matroska,avi,mpegts,mpeg,ogg,flv,asf,gif,apng,mxf,nut,dv,ivf,"
    "h264,hevc,av1,obu,m4v,mpegvideo,mjpeg,yuv4mpegpipe,wav,mp3,flac,aac"
)
"""FFmpeg's names of what a file is read as; of sound alone too, so that it can be said. Play lists and scripts are not
among them: they name other files and addresses,
which a file of somebody else's must not make mien open."""


class Reading:
    """Decodes one video stream to its end, and notes what was wrong on the way.

    Attributes:
        packets: read so far, from the beginning of the file.
        ended: the rest was not wanted.
        problems: what is not as it should be, each "expected ..., got ...".
    """

    def __init__(self) -> None:
        self.packets = self.count = 0
        self.ended = False
        self.problems: list[str] = []
        self._end_s = self._time_s = 0.0
        self._untimed = self._back = self._damaged = 0
        self._broken = self._first_back = ""
        self._turned: float | None = None

    def frames(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[tuple[av.VideoFrame, float]]:
        """All frames that can be decoded, with their times, in presentation order."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, ValueError) as error:
                self._broken = cause(error)
                return
            if packet is None:
                return
            self.packets += packet.size > 0
            if packet.pts is not None and packet.time_base is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                self._end_s = max(self._end_s, end)
            try:
                decoded = packet.decode()
            except (av.FFmpegError, ValueError) as error:
                self._damaged += 1
                self._broken = cause(error)
                continue
            for frame in decoded:
                yield frame, self._time(frame, stream)

    def _time(self, frame: av.VideoFrame, stream: av.VideoStream) -> float:
        """A frame's own time; counted on from the one before where it has none."""
        before, self.count = self._time_s, self.count + 1
        if frame.time is not None:
            self._time_s = float(frame.time)
            if self.count > 1 and self._time_s <= before:
                self._back += 1
                self._first_back = self._first_back or f"{self._time_s:.3f} s after {before:.3f} s"
        else:
            self._untimed += 1
            self._time_s = before + (1 / float(stream.average_rate or 25) if self.count > 1 else 0.0)
        turn = rotation(frame)
        if turn % 90:  # also for NaN
            self._turned = turn
        return self._time_s

    def judge(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        """Put what was wrong into words, in `problems`."""
        missing = "" if self.ended else self._missing(container, stream.frames)
        if self._damaged:
            self.problems.append(
                f"expected frames that can be decoded, got {self._damaged} damaged pieces ({self._broken})"
            )
        elif self._broken and not missing:
            missing = f"{stream.frames or 'more'} frames, got {self.count} ({self._broken})"
        if missing:
            self.problems.append(f"expected {missing}: the clip breaks off after {self._time_s:.3f} s")
        if self._untimed:
            self.problems.append(
                f"expected a time for each frame, got none for {self._untimed} of {self.count}, whose times are counted "
                "on by the clip's frame rate"
            )
        if self._back:
            self.problems.append(
                f"expected times that rise, got {self._back} that do not, the first {self._first_back}"
            )
        if self._turned is not None:
            self.problems.append(
                f"expected a rotation by quarter turns, got {self._turned:g} degrees; the frames are taken as stored"
            )

    def _missing(self, container: av.container.InputContainer, expected: int) -> str:
        """What the header promises and the file lacks, in words; empty for a whole clip.

        Fewer packets than the header counts are not enough: an edit list hides some, and what a capture dropped counts
        in AVI. So the length must be short too, where the header tells one; sound may well run a little longer than
        pictures.
        """
        fewer, length_s = expected > self.packets, (container.duration or 0) / av.time_base
        if container.format.name == "avi":  # FFmpeg tells the length of what is left of the file
            length_s = max(length_s, expected / float(container.streams.video[0].average_rate or 25))
        slack_s = 0.15 if fewer or len(container.streams) == 1 else 1.0
        short = length_s - self._end_s > slack_s
        if fewer and (short or not length_s):
            return f"{expected} frames as the header says, got {self.packets}"
        if not expected and short:
            return f"{length_s:.3f} s as the header says, got {self._end_s:.3f} s"
        return ""


class Landing(NamedTuple):
    """Where to begin decoding for a start within a clip.

    Attributes:
        ask: what to ask FFmpeg for to get the key frame, in the stream's unit.
        packets: of the file before that key frame.
        frames: of the file that are presented before the start, so the index of the first one from it on.
    """

    ask: int
    packets: int
    frames: int


def find_landing(path: Path, start_s: float) -> Landing | None:
    """The last key frame that is presented at or before a start.

    The file is read up to the start, but nothing is decoded: a packet carries the presentation time of its one frame, so
    the packets presented before the start are the frames before it, and the index is exact in a file that decodes
    without errors.

    Args:
        path: a clip.
        start_s: presentation time, seconds.

    Returns:
        `None` if the file has to be decoded from its beginning: its packets have no times, or times that go
        back, it cannot be sought in, or FFmpeg lands elsewhere.

    Raises:
        InputError: the file cannot be opened.
    """
    with open_clip(path) as container:
        stream = video_stream(container)
        wanted = math.ceil(Fraction(start_s - 1e-9) / (stream.time_base or Fraction(1)))
        key, packets, frames, last = None, 0, 0, -math.inf
        try:
            for packet in container.demux(stream):
                if not packet.size:
                    break
                if packet.dts is not None:
                    if packet.dts < last:
                        return None
                    last = packet.dts
                    if last >= wanted and packet.pts != wanted:
                        break
                if packet.pts is None:
                    return None
                if packet.is_keyframe and packet.pts <= wanted and packet.dts is not None:
                    key = packet.pts, packet.dts, packets
                packets += 1
                frames += packet.pts < wanted and not packet.is_discard
            if key is None or not key[2]:
                return None
            for ask in key[:2]:  # some formats seek by presentation time, some by decoding time
                container.seek(ask, stream=stream)
                first = next(container.demux(stream))
                if first.pts == key[0] and first.is_keyframe:
                    return Landing(ask, key[2], frames)
        except (av.FFmpegError, ValueError):
            return None
        return None


def open_clip(path: Path) -> av.container.InputContainer:
    """Open a clip that has a video stream.

    Raises:
        InputError: the file is empty, no clip, or has no video stream.
    """
    if path.stat().st_size == 0:
        raise InputError("expected a clip, got a file of zero bytes. Copy or export it again.")
    try:
        container = av.open(str(path), options={"format_whitelist": CONTAINERS})
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            f"expected a clip (mp4, mov, webm, avi, gif, ...), got a file that cannot be opened as one ({cause(error)}). "
            "It may be cut off or of another kind; copy or export it again."
        ) from None
    if not container.streams.video:
        container.close()
        raise InputError(
            "expected a clip with pictures, got a file without a video stream. Choose another file."
        )
    return container


def video_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The first stream that moves; a cover picture only where there is no other."""
    streams = container.streams.video
    moving = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
    return (moving or list(streams))[0]


def cause(error: Exception) -> str:
    """FFmpeg's own words, without its error number and the path."""
    return str(getattr(error, "strerror", None) or error)


def rotation(frame: av.VideoFrame) -> float:
    """Degrees, counter-clockwise, that a stored frame has to be turned by; NaN for a flag that says nothing."""
    try:
        return float(getattr(frame, "rotation", 0))
    except (ValueError, OverflowError):
        return math.nan


def upright(frame: av.VideoFrame) -> np.ndarray:
    """RGB uint8 with the quarter turns undone that phones write beside the frames, alpha laid on white."""
    image: np.ndarray
    if any(component.is_alpha for component in frame.format.components):
        layered = frame.to_ndarray(format="rgba")
        alpha = layered[..., 3:]
        image = layered[..., :3]
        if alpha.min() < 255:
            image = (
                (image.astype(np.uint16) * alpha + 255 * (255 - alpha.astype(np.uint16)) + 127) // 255
            ).astype(np.uint8)
        image = np.ascontiguousarray(image)
    else:
        image = frame.to_ndarray(format="rgb24")
    turn = rotation(frame)
    turns = 0 if turn % 90 else round(turn / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
