"""A track as it lies in time: when its face was in sight, in columns of equal time, and what share each answer had.

A frame holds until the next one, as it does on the screen; where frames without the face lie between, for one usual step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.types.track import Course, Track

LOST = 1.5
"""So many usual steps to the track's next frame, and frames between them: the face was out of sight there."""
STILL_S = 0.04
"""How long a frame holds that is the only one of its clip: as long as most videos' frames."""
WINDOW_S = 1.0
"""Time over which the network's own doubt is judged."""
LEAST_BLINKING_S, LONGEST_STEP_S = 15.0, 0.1
"""Less time with a mesh tells no rate of blinks; frames further apart miss blinks, which last 0.1 to 0.4 s."""


def step_s(course: Course) -> float:
    """The usual time from a frame to the next, seconds."""
    length_s = course.end_s - course.start_s
    return float(length_s / (course.frames - 1)) if course.frames > 1 and length_s > 0 else STILL_S


def span_s(course: Course) -> tuple[float, float]:
    """From the clip's first frame to the end of its last one; (0, one step) of a clip without a frame."""
    if np.isnan(course.start_s):
        return 0.0, STILL_S
    return course.start_s, max(course.start_s, course.end_s) + step_s(course)


def holds_s(course: Course, track: Track) -> tuple[np.ndarray, np.ndarray]:
    """From when to when each of the track's T frames holds, two float64 (T,). They ascend and do not overlap."""
    return held(track.frame, track.time_s, step_s(course))


def held(frame: np.ndarray, time_s: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """The same of frames by their numbers and times (T,) and the usual step of their clip."""
    clock = np.maximum.accumulate(time_s)
    steps = np.diff(clock)
    lost = (np.diff(frame) > 1) & (steps > LOST * step)
    until = np.where(lost, clock[:-1] + step, clock[1:])
    return clock, np.append(until, clock[-1] + step)


def doubtful(course: Course, track: Track) -> np.ndarray:
    """Frames, bool (T,), without a certain answer.

    Either the smoothed probability is under the threshold; or the network itself doubts half of the time within half a
    second or more: what it doubts all the time, smoothing makes steady but not certain.
    """
    since, until = holds_s(course, track)
    middle = (since + until) / 2
    ends = np.stack([middle - WINDOW_S / 2, middle + WINDOW_S / 2], 1)
    seen, doubted = (
        np.diff(_integral(ends, (since, until), values), axis=1)[:, 0]
        for values in (np.ones(len(track)), track.uncertain.astype(float))
    )
    return ~(track.smoothed.max(1) >= course.threshold) | (doubted >= seen / 2)


@dataclass(frozen=True, eq=False)
class Strip:
    """A track in B columns of equal time.

    Attributes:
        edges_s: (B + 1,), of the whole clip.
        frames: how many frames of the track it shows.
        seen: bool (B,), the face was in sight in some of it.
        smoothed, raw: (B, K) means over the time in sight; NaN where there is none.
        poor: bool (B,), not reliable for half of that time or more.
        uncertain: bool (B,), not poor, and poor or without a certain answer for half of it or more.
    """

    edges_s: np.ndarray
    frames: int
    seen: np.ndarray
    smoothed: np.ndarray
    raw: np.ndarray
    poor: np.ndarray
    uncertain: np.ndarray

    @property
    def best(self) -> np.ndarray:
        """The most probable smoothed class, int64 (B,); of no meaning where the face is not seen."""
        return np.nan_to_num(self.smoothed, nan=-1.0).argmax(1)


def strip_of(course: Course, track: Track, columns: int) -> Strip:
    """A track in so many columns over the time of its clip."""
    edges_s = np.linspace(*span_s(course), columns + 1)
    holds = holds_s(course, track)
    doubt = doubtful(course, track)
    seen = _time_in(edges_s, holds, np.ones(len(track)))
    there = seen > 1e-9
    poor = _mean(edges_s, holds, ~track.reliable[:, None])[:, 0] >= 0.5
    vague = _mean(edges_s, holds, (doubt | ~track.reliable)[:, None])[:, 0] >= 0.5
    return Strip(
        edges_s=edges_s,
        frames=len(track),
        seen=there,
        smoothed=_mean(edges_s, holds, track.smoothed),
        raw=_mean(edges_s, holds, track.raw),
        poor=poor,
        uncertain=vague & ~poor,
    )


def _mean(edges_s: np.ndarray, holds: tuple[np.ndarray, np.ndarray], values: np.ndarray) -> np.ndarray:
    """Means (B, K) of values (T, K) over the time in sight; rows of NaN do not count."""
    told = ~np.isnan(values).any(1) if values.dtype.kind == "f" else np.ones(len(values), bool)
    time_s = _time_in(edges_s, holds, told.astype(float))
    sums = [_time_in(edges_s, holds, np.where(told, column, 0.0)) for column in values.T]
    return np.array(sums).T / np.where(time_s > 1e-9, time_s, np.nan)[:, None]


def _time_in(edges_s: np.ndarray, holds: tuple[np.ndarray, np.ndarray], values: np.ndarray) -> np.ndarray:
    """The integral of a value (T,) over the time that its frames hold, in each column (B,)."""
    return np.diff(_integral(edges_s, holds, values))


def _integral(until_s: np.ndarray, holds: tuple[np.ndarray, np.ndarray], values: np.ndarray) -> np.ndarray:
    """The integral of a value (T,) over the time that its frames hold, from the first on until each of some times."""
    since, until = holds
    ends = np.cumsum(values * (until - since))
    knots = np.stack([since, until], 1).ravel()
    return np.interp(until_s, knots, np.stack([ends - values * (until - since), ends], 1).ravel())


@dataclass(frozen=True)
class Shares:
    """How long a face was in sight, seconds, and what could be said in that time.

    Attributes:
        seen_s: all of it.
        poor_s: the face was not reliable.
        uncertain_s: reliable, without a certain answer.
        expression_s: the rest, by the most probable smoothed expression.
    """

    seen_s: float
    poor_s: float
    uncertain_s: float
    expression_s: dict[str, float]

    @property
    def certain_s(self) -> float:
        """Reliable time with a certain answer."""
        return sum(self.expression_s.values())


def shares_of(course: Course, track: Track) -> Shares:
    """The time of a track by what could be said in it."""
    since, until = holds_s(course, track)
    held_s, doubt = until - since, doubtful(course, track)
    best = np.where(np.isnan(track.smoothed), -1, track.smoothed).argmax(1)
    sure = track.reliable & ~doubt
    return Shares(
        seen_s=float(held_s.sum()),
        poor_s=float(held_s[~track.reliable].sum()),
        uncertain_s=float(held_s[track.reliable & doubt].sum()),
        expression_s={
            name: float(held_s[sure & (best == place)].sum()) for place, name in enumerate(track.names)
        },
    )


def stretches(there: np.ndarray) -> list[tuple[int, int]]:
    """First row, and the row after the last, of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    return [(int(first), int(after)) for first, after in zip(edges[::2], edges[1::2], strict=True)]


def meshed(track: Track) -> np.ndarray:
    """Frames, bool (T,), in which the face's mesh was read."""
    if track.units is None:
        return np.zeros(len(track.frame), bool)
    return ~np.isnan(track.units.values).all(1)


def meshed_s(course: Course, track: Track) -> float:
    """For how long the face's mesh was read, seconds."""
    if track.units is None:
        return 0.0
    since, until = holds_s(course, track)
    return float((until - since)[meshed(track)].sum())


def blinks_a_minute(course: Course, track: Track) -> float | None:
    """Blinks in a minute of sight; `None` without a mesh, in too short a time, or of frames too far apart."""
    time_s = meshed_s(course, track)
    if track.blink is None or time_s < LEAST_BLINKING_S or step_s(course) > LONGEST_STEP_S:
        return None
    return 60 * len(stretches(track.blink)) / time_s
