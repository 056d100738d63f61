"""What one face does over a clip: its values in time, raw, relative and smoothed, and the events in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mien.types.units import ActionUnits


@dataclass(frozen=True)
class Event:
    """One expression of one track.

    Attributes:
        label: the expression.
        onset_s, apex_s, offset_s: presentation times. Onset and offset lie between frames, where the smoothed probability
            crosses a threshold; the apex is a frame.
        strength: smoothed probability at the apex, in [0, 1]: how plain it is to the network, no intensity.
        apex_row: row of the apex among the track's frames.
        cut_before, cut_after: it had begun when the face came into sight; it went on when the face was lost.
        intensity: mean intensity, 0 to 5, of the action units that speak for it, at the apex; `None` without a mesh.
    """

    label: str
    onset_s: float
    apex_s: float
    offset_s: float
    strength: float
    apex_row: int
    cut_before: bool
    cut_after: bool
    intensity: float | None = None

    @property
    def duration_s(self) -> float:
        """From onset to offset, seconds."""
        return self.offset_s - self.onset_s


@dataclass(frozen=True, eq=False)
class Baseline:
    """A face at rest.

    Attributes:
        names: the K expressions.
        probabilities: (K,) at rest.
        frames: how many frames it rests on.
        origin: where they come from, in words.
        units: evidence of the action units at rest, see `mien.faces.mesh_units.neutral_of`; `None` without a mesh.
    """

    names: tuple[str, ...]
    probabilities: np.ndarray
    frames: int
    origin: str
    units: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class InTime:
    """What the N faces of one frame are in the course of their tracks. A row of NaN is not told.

    Attributes:
        names: the K expressions.
        smoothed: (N, K) probabilities over time: of the relative ones where there is a baseline. NaN for a picture.
        uncertain: bool (N,), the smoothed confidence lies under the network's threshold.
        relative: (N, K) probabilities relative to the person's face at rest; `None` without a baseline.
        units: action units relative to the face at rest; `None` without a baseline or a mesh.
        blink, talking: bool (N,), `None` where no mesh was read.
        event: the expressions that are going on, `""` for none, several joined by a space.
        baseline: what a face's rest was taken from, or why there is none.
    """

    names: tuple[str, ...]
    smoothed: np.ndarray
    uncertain: np.ndarray
    relative: np.ndarray | None = None
    units: ActionUnits | None = None
    blink: np.ndarray | None = None
    talking: np.ndarray | None = None
    event: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.smoothed)


@dataclass(frozen=True, eq=False)
class Track:
    """One face of one clip: parallel arrays of the T frames that it was found in.

    Attributes:
        id: as in `track_id`.
        frame: int64 (T,). time_s: float64 (T,), presentation times, seconds.
        box_xyxy_px: float32 (T, 4).
        names: the K expressions.
        raw: (T, K) probabilities, each frame by itself.
        uncertain: bool (T,), the network's own doubt. reliable: bool (T,), the face is good enough to say anything.
        smoothed, relative, blink, talking: as in `InTime`.
        units: action units, relative ones where there is a baseline; `None` without a mesh.
        baseline: `None` without one; `baseline_note` says what it was taken from, or why there is none.
        events: by onset.
    """

    id: int
    frame: np.ndarray
    time_s: np.ndarray
    box_xyxy_px: np.ndarray
    names: tuple[str, ...]
    raw: np.ndarray
    uncertain: np.ndarray
    reliable: np.ndarray
    smoothed: np.ndarray
    relative: np.ndarray | None = None
    units: ActionUnits | None = None
    blink: np.ndarray | None = None
    talking: np.ndarray | None = None
    baseline: Baseline | None = None
    baseline_note: str = ""
    events: tuple[Event, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, eq=False)
class Course:
    """All tracks of one clip, or of the part of it that was read.

    Attributes:
        path: the clip.
        tracks: in order of appearance.
        frames: how many frames were read, with faces or without.
        start_s, end_s: presentation times of the first and the last of them; NaN where there is none.
        size_wh_px: of the upright picture.
        threshold: confidence under which an answer counts as uncertain.
        trouble: why the clip could not be read to its end, `""` where it could.
        spacing_s: the usual (median) time from a frame to the next; NaN where there are not two.
    """

    path: str
    tracks: tuple[Track, ...]
    frames: int
    start_s: float
    end_s: float
    size_wh_px: tuple[int, int]
    threshold: float
    trouble: str = ""
    spacing_s: float = np.nan

    def shows_events(self, limit_s: float) -> bool:
        """Whether the frames lie close enough for events, which are otherwise over between two of them."""
        return bool(self.spacing_s <= limit_s + 1e-9)

    def events(self) -> Iterator[tuple[Track, Event]]:
        """All events with their tracks, track after track."""
        for track in self.tracks:
            for event in track.events:
                yield track, event
