"""What one file shows: means over time of its main face.

Each frame is weighted by how long it stands, by the clip's own presentation times, so that neither the frame rate nor
frames that come in bursts change a mean. What is not told (no reliable time, frames too far apart) is `None`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mien.explain.affect import derived_affect
from mien.labels.circumplex import CIRCUMPLEX
from mien.pipeline.events import EVENTS_STEP_S
from mien.pipeline.strips import LEAST_BLINKING_S, meshed
from mien.pipeline.table import Row, unit_column
from mien.types.media import FrameResult
from mien.types.scores import Scores
from mien.types.track import Course, Track

BLINKS_STEP_S = 0.1
"""Frames further apart than this show no blinks: those are over between two of them."""


@dataclass
class Clock:
    """The frames of a file as they come: their numbers, their times, and how many faces each track has.

    Attributes:
        frame, time_s: of each frame; a picture has no time.
        faces: rows a track; of a picture, faces by their number.
    """

    frame: list[int] = field(default_factory=list)
    time_s: list[float | None] = field(default_factory=list)
    faces: dict[int, int] = field(default_factory=dict)

    def add(self, result: FrameResult) -> None:
        """Take the next frame in."""
        self.frame.append(result.frame)
        self.time_s.append(result.time_s)
        ids = result.faces.track_id
        for number in range(len(result.faces)) if ids is None else ids.tolist():
            self.faces[number] = self.faces.get(number, 0) + 1

    @property
    def holds_s(self) -> np.ndarray:
        """How long each frame stands, seconds (T,): until the next; the last as long as is usual. 1 for a picture."""
        if len(self.time_s) < 2 or None in self.time_s:
            return np.ones(len(self.time_s))
        # A file's own times may go back; the order of the frames does not.
        steps = np.diff(np.maximum.accumulate(np.array(self.time_s, float)))
        holds = np.append(steps, np.median(steps))
        return holds if holds.sum() > 0 else np.ones(len(holds))

    @property
    def step_s(self) -> float | None:
        """The usual time between two frames, `None` of a picture or a single frame."""
        return float(np.median(self.holds_s)) if len(self.time_s) > 1 and None not in self.time_s else None

    def holds_of(self, track: Track) -> np.ndarray:
        """How long each frame of a track stands, seconds."""
        return self.holds_s[np.searchsorted(np.array(self.frame), track.frame)]


def main_track(course: Course, clock: Clock) -> Track | None:
    """The track that is longest in sight, the first of several; `None` without a face."""
    return max(course.tracks, key=lambda track: clock.holds_of(track).sum(), default=None)


def measures_of_track(track: Track | None, clock: Clock, relative: bool = False) -> Row:
    """The measures of `mien.pipeline.study_summary.measures_of`, and the times behind them.

    Args:
        track: the main face, `None` where there is none.
        clock: of its file.
        relative: probabilities and units relative to the face at rest; not told where it has none.
    """
    timed = clock.step_s is not None
    whole_s = float(clock.holds_s.sum())
    if track is None:
        return {"duration_s": _of(whole_s, timed), "in_sight_s": _of(0.0, timed), "in_sight_share": 0.0}
    holds = clock.holds_of(track)
    trusted = holds * track.reliable
    seen_s, reliable_s = float(holds.sum()), float(trusted.sum())
    found: Row = {
        "duration_s": _of(whole_s, timed),
        "in_sight_s": _of(seen_s, timed),
        "reliable_s": _of(reliable_s, timed),
        "in_sight_share": round(seen_s / whole_s, 6),
        "unreliable_share": round(1 - reliable_s / seen_s, 6) if seen_s else None,
        "certain_share": _mean(~track.uncertain, trusted),
        "baseline": track.baseline_note or None,
    }
    values = track.relative if relative else track.raw
    if values is not None:
        found |= _expressions(values, track.names, trusted)
    # Units of a track whose rest had none are not relative.
    resting = track.baseline is None or track.baseline.units is not None
    if track.units is not None and values is not None and resting:
        found |= {
            f"{unit_column(unit)}_intensity_mean": _mean(track.units.values[:, column], trusted)
            for column, unit in enumerate(track.units.units)
        }
    minutes = seen_s / 60
    if timed and minutes and clock.step_s is not None:
        if clock.step_s <= EVENTS_STEP_S:
            found["events_per_min"] = round(len(track.events) / minutes, 6)
        if clock.step_s <= BLINKS_STEP_S and track.blink is not None:
            meshed_s = float(holds[meshed(track)].sum())
            if meshed_s >= LEAST_BLINKING_S:
                found["blinks_per_min"] = round(60 * _runs(track.blink) / meshed_s, 6)
    return found


def _expressions(values: np.ndarray, names: tuple[str, ...], weights: np.ndarray) -> Row:
    """Mean probabilities, and what they say of valence and arousal."""
    found: Row = {f"p_{name}_mean": _mean(values[:, column], weights) for column, name in enumerate(names)}
    if set(names) <= set(CIRCUMPLEX):
        affect = derived_affect(Scores(names, values.astype(np.float32)))
        found["valence_derived_mean"] = _mean(affect.valence, weights)
        found["arousal_derived_mean"] = _mean(affect.arousal, weights)
    return found


def _mean(values: np.ndarray, weights: np.ndarray) -> float | None:
    """Mean over time of what is told; `None` where nothing is."""
    values = np.asarray(values, float)
    told = ~np.isnan(values) & (weights > 0)
    return round(float(values[told] @ weights[told] / weights[told].sum()), 6) if told.any() else None


def _runs(there: np.ndarray) -> int:
    """How many runs of True."""
    return int((np.diff(np.concatenate([[False], there]).astype(np.int8)) == 1).sum())


def _of(seconds: float, timed: bool) -> float | None:
    return round(seconds, 6) if timed else None
