"""Expressions as events: when one begins, when it is plainest, when it ends; and what looks like one but is not.

Events are read from smoothed probabilities (`mien.pipeline.smoothing`) by two thresholds: an event is a stretch of at least
`OFF` that reaches `ON`, so that a value that trembles about one threshold is one event and not ten. Neutral is the
absence of events. A blink closes the eyes and speech moves the mouth; neither is an expression. Both are told from
the mesh's blendshapes, and their frames are no witnesses of an expression: pass them on to `smoothed`.
"""

from __future__ import annotations

import numpy as np

from mien.errors import OptionError, ShapeError
from mien.types.track import Event

ON, OFF = 0.5, 0.3
"""An expression is more probable than all others together; and no longer holds a third."""
LEAST_S = 0.1
"""Shorter stretches are no events: three frames of most videos."""
EVENTS_STEP_S = 0.25
"""Frames further apart than this show no events: those are over between two of them."""
BLINK, LONGEST_BLINK_S = 0.5, 0.5
"""Closure of both eyes; a longer one is no blink (blinks last 0.1 to 0.4 s)."""
TALK_WINDOW_S, TALK_TURNS, TALK_RANGE = 1.0, 3, 0.05
"""Speech opens and closes the jaw about four times a second: so many turns, each of such a range, within a window."""


def events_of(
    smoothed: np.ndarray,
    time_s: np.ndarray,
    names: tuple[str, ...],
    *,
    on: float = ON,
    off: float = OFF,
    least_s: float = LEAST_S,
) -> list[Event]:
    """The events of one track, by onset.

    Args:
        smoothed: (T, K) probabilities.
        time_s: (T,) presentation times, ascending.
        names: the K expressions.
        on, off: thresholds, see above.
        least_s: of an event from onset to offset, seconds; one that the track cuts may be shorter.

    Raises:
        ShapeError: the arrays do not belong together.
        OptionError: not 0 < off <= on <= 1.
    """
    if smoothed.shape != (len(time_s), len(names)):
        raise ShapeError(f"expected probabilities ({len(time_s)}, {len(names)}), got {smoothed.shape}")
    if not 0 < off <= on <= 1:
        raise OptionError(f"expected 0 < off <= on <= 1, got on {on} and off {off}")
    found = []
    for column, label in enumerate(names):
        if label == "neutral":
            continue
        values = smoothed[:, column]
        for first, last in _stretches(values >= off):
            if values[first : last + 1].max() < on:
                continue
            event = _event(label, values, np.asarray(time_s, float), first, last, off)
            cut = event.cut_before or event.cut_after
            if cut or event.offset_s - event.onset_s >= least_s:
                found.append(event)
    return sorted(found, key=lambda event: (event.onset_s, event.label))


def _event(label: str, values: np.ndarray, time_s: np.ndarray, first: int, last: int, off: float) -> Event:
    apex = first + int(values[first : last + 1].argmax())
    cut_before, cut_after = first == 0, last == len(values) - 1
    return Event(
        label=label,
        onset_s=float(time_s[first]) if cut_before else _crossing(values, time_s, first - 1, off),
        apex_s=float(time_s[apex]),
        offset_s=float(time_s[last]) if cut_after else _crossing(values, time_s, last, off),
        strength=float(values[apex]),
        apex_row=apex,
        cut_before=cut_before,
        cut_after=cut_after,
    )


def _crossing(values: np.ndarray, time_s: np.ndarray, row: int, level: float) -> float:
    """When a straight line from a frame to the next crosses a level."""
    rise = values[row + 1] - values[row]
    return float(time_s[row] + (time_s[row + 1] - time_s[row]) * (level - values[row]) / rise)


def _stretches(there: np.ndarray) -> list[tuple[int, int]]:
    """First and last row of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def blinks(closed: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """Frames (T,) within a blink.

    Args:
        closed: (T, 2) closure of the left and the right eye in [0, 1] (`eyeBlinkLeft`, `eyeBlinkRight`), NaN where not
            told. Eyes that stay closed longer, or a wink, are no blink.
        time_s: (T,) presentation times.
    """
    shut = np.nan_to_num(closed).min(1) >= BLINK
    found = np.zeros(len(closed), bool)
    for first, last in _stretches(shut):
        before, after = max(first - 1, 0), min(last + 1, len(closed) - 1)
        if time_s[last] - time_s[first] <= LONGEST_BLINK_S:
            # The lids are on their way in the frames beside it.
            found[before : after + 1] = True
    return found


def talking(jaw: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """Frames (T,) within speech, or what moves the jaw as speech does (chewing).

    Args:
        jaw: (T,) opening of the jaw in [0, 1] (`jawOpen`), NaN where not told.
        time_s: (T,) presentation times.
    """
    turns = _turns(jaw)
    found = np.zeros(len(jaw), bool)
    for start in range(len(turns) - TALK_TURNS + 1):
        first, last = turns[start], turns[start + TALK_TURNS - 1]
        if time_s[last] - time_s[first] <= TALK_WINDOW_S:
            found[first : last + 1] = True
    return found


def _turns(values: np.ndarray) -> list[int]:
    """Rows of the peaks and troughs that lie at least `TALK_RANGE` apart in value, in turn."""
    turns: list[int] = []
    extreme, rising = -1, 0
    for row in np.flatnonzero(~np.isnan(values)).tolist():
        if extreme < 0:
            extreme = low = high = row
            continue
        if rising == 0:
            low = row if values[row] < values[low] else low
            high = row if values[row] > values[high] else high
            if values[high] - values[low] >= TALK_RANGE:
                rising = 1 if high > low else -1
                extreme = row
        elif rising * (values[row] - values[extreme]) >= 0:
            extreme = row
        elif rising * (values[extreme] - values[row]) >= TALK_RANGE:
            turns.append(extreme)
            extreme, rising = row, -rising
    return turns
