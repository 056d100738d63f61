from __future__ import annotations

import numpy as np
import pytest

from mien.errors import OptionError, ShapeError
from mien.pipeline.events import blinks, events_of, talking

NAMES = ("neutral", "happy", "sad")
TIMES = np.arange(0, 10, 0.1)


def track(**bumps: tuple[float, float, float]) -> np.ndarray:
    """Triangles: expression -> (middle, half width, height)."""
    values = np.zeros((len(TIMES), 3))
    for name, (middle, half, height) in bumps.items():
        values[:, NAMES.index(name)] = np.maximum(0, height * (1 - np.abs(TIMES - middle) / half))
    values[:, 0] = 1 - values.sum(1)
    return values


def test_onset_apex_and_offset_of_a_triangle() -> None:
    (event,) = events_of(track(happy=(4, 2, 0.9)), TIMES, NAMES)
    assert (event.label, event.strength, event.apex_row) == ("happy", pytest.approx(0.9), 40)
    # 0.9 (1 - |t - 4| / 2) = 0.3 at 4 -+ 4/3
    assert event.onset_s == pytest.approx(4 - 4 / 3, abs=1e-6)
    assert (event.apex_s, event.offset_s) == (pytest.approx(4), pytest.approx(4 + 4 / 3, abs=1e-6))
    assert not event.cut_before and not event.cut_after


def test_weak_and_short_ones_are_none_and_neutral_is_none() -> None:
    assert events_of(track(happy=(4, 2, 0.49)), TIMES, NAMES) == []
    assert events_of(track(happy=(4, 0.1, 0.7)), TIMES, NAMES, least_s=0.3) == []
    assert events_of(track(), TIMES, NAMES) == []


def test_what_trembles_about_a_threshold_is_one_event() -> None:
    values = track(happy=(4, 2, 0.9))
    values[35:46, 1] = np.where(np.arange(11) % 2, 0.55, 0.45)
    assert len(events_of(values, TIMES, NAMES)) == 1


def test_two_in_turn_and_cut_ones() -> None:
    first, second = events_of(track(sad=(0, 2, 0.9), happy=(9.9, 2, 0.9)), TIMES, NAMES)
    assert (first.label, first.cut_before, first.cut_after, first.onset_s) == ("sad", True, False, 0.0)
    assert (second.label, second.cut_before, second.cut_after) == ("happy", False, True)
    assert second.offset_s == TIMES[-1]


def test_blinks_are_short_and_of_both_eyes() -> None:
    times = np.arange(0, 4, 0.05)
    closed = np.zeros((len(times), 2))
    closed[10:13] = 0.9  # a blink
    closed[30:33, 0] = 0.9  # a wink
    closed[50:75] = 0.9  # closed eyes
    closed[5] = np.nan
    assert np.flatnonzero(blinks(closed, times)).tolist() == [9, 10, 11, 12, 13]


def test_speech_moves_the_jaw_and_a_dropped_jaw_does_not() -> None:
    times = np.arange(0, 6, 0.04)
    jaw = np.where((times > 2) & (times < 4), 0.1 + 0.08 * np.sin(2 * np.pi * 4 * times), 0.02)
    found = times[talking(jaw, times)]
    assert 1.9 < found.min() < 2.3 and 3.7 < found.max() < 4.1
    dropped = np.where(times > 2, 0.6, 0.02) + np.random.default_rng(0).normal(0, 0.01, len(times))
    assert not talking(dropped, times).any()
    assert not talking(np.full(5, np.nan), times[:5]).any()


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ShapeError, match="expected probabilities"):
        events_of(np.ones((3, 2)), np.arange(3.0), NAMES)
    with pytest.raises(OptionError, match="off <= on"):
        events_of(track(), TIMES, NAMES, on=0.2)
