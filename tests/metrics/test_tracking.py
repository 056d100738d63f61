"""Identity scores and switches against clips counted by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from mien.errors import ShapeError
from mien.metrics.tracking import Moment, id_switches, identity_scores


def clip(*frames: Sequence[tuple[int | None, int | None]]) -> list[Moment]:
    """Frames of pairs (person, track) that overlap fully; `None` for one that has no partner."""
    moments = []
    for frame in frames:
        people = [person for person, _ in frame if person is not None]
        tracks = [track for _, track in frame if track is not None]
        overlap = np.zeros((len(people), len(tracks)))
        for person, track in frame:
            if person is not None and track is not None:
                overlap[people.index(person), tracks.index(track)] = 1.0
        moments.append(Moment(np.array(people, int), np.array(tracks, int), overlap))
    return moments


def test_a_worked_example() -> None:
    """Two people over five frames; track 7 goes from person 1 to person 2 after three, and person 1 gets 8.

    Common boxes: (1, 7) 3, (2, 7) 2, (1, 8) 2; person 2 is missed in three frames, and 9 is nobody in one.
    Best giving: 1 -> 7 (3 boxes), 2 -> nothing: 3; or 1 -> 8, 2 -> 7: 4. So IDTP = 4.
    Boxes there 10, found 8: IDR = 4 / 10, IDP = 4 / 8, IDF1 = 8 / 18. Person 1 changes from 7 to 8: one switch.
    """
    first = [(1, 7), (2, None)]
    frames = clip(first, first, [*first, (None, 9)], [(1, 8), (2, 7)], [(1, 8), (2, 7)])
    scores = identity_scores(frames)
    assert (scores.true_positives, scores.true_boxes, scores.found_boxes) == (4, 10, 8)
    assert scores.idr == pytest.approx(0.4)
    assert scores.idp == pytest.approx(0.5)
    assert scores.idf1 == pytest.approx(8 / 18)
    assert id_switches(frames) == 1


def test_a_swap_is_two_switches_and_half_of_the_boxes() -> None:
    frames = clip(*[[(1, 1), (2, 2)]] * 4, *[[(1, 2), (2, 1)]] * 4)
    assert id_switches(frames) == 2
    assert identity_scores(frames).idf1 == pytest.approx(0.5)


def test_a_gap_under_the_same_id_is_no_switch_and_under_another_is_one() -> None:
    assert id_switches(clip([(1, 5)], [(1, None)], [(1, 5)])) == 0
    assert id_switches(clip([(1, 5)], [(1, None)], [(1, 6)])) == 1


def test_a_pair_that_still_overlaps_stands_against_a_closer_one() -> None:
    ids = np.array([1]), np.array([5])
    both = np.array([1]), np.array([5, 6])
    frames = [Moment(*ids, np.array([[0.9]])), Moment(*both, np.array([[0.6, 0.95]]))]
    assert id_switches(frames) == 0
    assert id_switches(frames, least_overlap=0.7) == 1


def test_boxes_that_overlap_too_little_are_not_common() -> None:
    frames = [Moment(np.array([1]), np.array([5]), np.array([[0.49]]))]
    assert identity_scores(frames).idf1 == 0
    assert identity_scores(frames, least_overlap=0.4).idf1 == 1


def test_perfect_and_empty() -> None:
    assert identity_scores(clip([(1, 4)], [(1, 4)]))[:3] == (1, 1, 1)
    nothing = identity_scores(clip([], []))
    assert all(math.isnan(score) for score in nothing[:3])
    assert id_switches([]) == 0


def test_uneven_tables_and_double_ids_are_refused() -> None:
    with pytest.raises(ShapeError, match="overlaps of 1 true with 2 found"):
        identity_scores([Moment(np.array([1]), np.array([1, 2]), np.zeros((2, 1)))])
    with pytest.raises(ShapeError, match="each found id once"):
        id_switches([Moment(np.array([1]), np.array([2, 2]), np.zeros((1, 2)))])
