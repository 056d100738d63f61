"""Small pictures of faces at the plainest moments of a clip, cut out by reading it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mien.errors import InputError
from mien.pipeline.clips import ClipFrame, Span, is_animated, read_animation, read_clip
from mien.types.track import Course, Track

SIDE_PX = 144
MOST = 12
AROUND = 1.3
"""Side of the cut over the longer side of the face's box."""
READ_ON_S = 4.0
"""A moment so little after another is read up to; a later one is sought."""

SAME_S = 1e-3
"""Times so near are those of one frame."""

Thumbnails = Mapping[tuple[int, int], np.ndarray]
"""A track's id and one of its rows -> RGB uint8 (SIDE_PX, SIDE_PX, 3)."""


def plainest_row(track: Track) -> int:
    """Where a track is best shown by one frame: its plainest event, else its largest certain face, else its largest."""
    if track.events:
        return max(track.events, key=lambda event: event.strength).apex_row
    sides = track.box_xyxy_px[:, 2:] - track.box_xyxy_px[:, :2]
    good = track.reliable.astype(int) * 2 + ~track.uncertain
    return int(np.lexsort((sides.prod(1), good))[-1])


def moments(tracks: Sequence[Track], most: int = MOST) -> list[tuple[Track, int]]:
    """A handful of moments, each a track and its row: the plainest of each track, then the apexes of the plainest events."""
    chosen = {(track.id, row): track for track in tracks for row in (plainest_row(track),)}
    events = [(track, event) for track in tracks for event in track.events]
    for track, event in sorted(events, key=lambda pair: -pair[1].strength):
        chosen.setdefault((track.id, event.apex_row), track)
    return [(track, row) for (_, row), track in list(chosen.items())[:most]]


def cut_thumbnails(course: Course, tracks: Sequence[Track], most: int = MOST) -> Thumbnails:
    """The faces at `moments`. What cannot be read again, or is another frame by now, is left out."""
    wanted = sorted(moments(tracks, most), key=lambda moment: moment[0].time_s[moment[1]])
    cuts: dict[tuple[int, int], np.ndarray] = {}
    frames: Iterator[ClipFrame] = iter(())
    frame: ClipFrame | None = None
    for track, row in wanted:
        time_s = float(track.time_s[row])
        try:
            if frame is None or not 0 <= time_s - frame.time_s <= READ_ON_S:
                frames = _frames_from(Path(course.path), time_s)
                frame = next(frames, None)
            while frame is not None and frame.frame < track.frame[row]:
                frame = next(frames, None)
        except (InputError, OSError):
            frame = None
        if frame is not None and frame.frame == track.frame[row] and abs(frame.time_s - time_s) < SAME_S:
            cuts[track.id, row] = _cut(frame.image, track.box_xyxy_px[row])
    return cuts


def _frames_from(path: Path, time_s: float) -> Iterator[ClipFrame]:
    span = Span(start_s=max(0.0, time_s))  # some clips begin before 0
    animated = path.suffix.lower() != ".gif" and is_animated(path)
    return read_animation(path, span) if animated else read_clip(path, span)


def _cut(image: np.ndarray, box_xyxy_px: np.ndarray) -> np.ndarray:
    """A square about a box, moved inside the picture."""
    left, top, right, bottom = (float(side) for side in box_xyxy_px)
    height, width = image.shape[:2]
    side = round(np.clip(AROUND * max(right - left, bottom - top), 2, max(2, min(height, width))))
    x = round(np.clip((left + right - side) / 2, 0, max(0, width - side)))
    y = round(np.clip((top + bottom - side) / 2, 0, max(0, height - side)))
    square = Image.fromarray(image[y : y + side, x : x + side])
    return np.asarray(square.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS))
