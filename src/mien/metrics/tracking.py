"""How well ids stay with faces: IDF1, IDP, IDR and id switches.

Sources: Ristani, Solera, Zou, Cucchiara, Tomasi, "Performance Measures and a Data Set for Multi-Target, Multi-Camera
Tracking", ECCV 2016 workshops, section 3 (identity scores); Bernardin, Stiefelhagen, "Evaluating Multiple Object
Tracking Performance: The CLEAR MOT Metrics", EURASIP JIVP 2008, section 2.1 (correspondence from frame to frame). Both
counted as py-motmetrics counts them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mien.errors import ShapeError
from mien.metrics.assignment import assignment


class Moment(NamedTuple):
    """One frame.

    Attributes:
        true_ids: (N,) whole numbers, the people who are there.
        found_ids: (M,) whole numbers, the tracks that were found.
        overlap: (N, M) in [0, 1], intersection over union of their boxes.
    """

    true_ids: np.ndarray
    found_ids: np.ndarray
    overlap: np.ndarray


class IdentityScores(NamedTuple):
    """Shares in [0, 1], 1 best; NaN where there is nothing to divide by.

    Attributes:
        idf1: 2 IDTP / (boxes there + boxes found).
        idp: IDTP / boxes found.
        idr: IDTP / boxes there.
        true_positives: IDTP, boxes that carry the one id that their person was given.
        true_boxes, found_boxes: how many there are in all.
    """

    idf1: float
    idp: float
    idr: float
    true_positives: int
    true_boxes: int
    found_boxes: int


def identity_scores(moments: Iterable[Moment], least_overlap: float = 0.5) -> IdentityScores:
    """IDF1, IDP and IDR, each in [0, 1], 1 best: each person is given at most one track over the whole clip, and back.

    Of all ways of giving, the one with the most common boxes counts; a box is common where both are there and
    overlap enough.

    Args:
        moments: every frame, also those without a face.
        least_overlap: intersection over union from which two boxes are one.

    Raises:
        ShapeError: ids that are twice in a frame, or a table of overlaps of another shape.
    """
    common: dict[tuple[int, int], int] = {}
    true_boxes = found_boxes = 0
    for moment in map(_checked, moments):
        true_boxes += len(moment.true_ids)
        found_boxes += len(moment.found_ids)
        for row, column in np.argwhere(moment.overlap >= least_overlap):
            pair = int(moment.true_ids[row]), int(moment.found_ids[column])
            common[pair] = common.get(pair, 0) + 1
    people, tracks = (sorted({pair[side] for pair in common}) for side in (0, 1))
    table = np.zeros((len(people), len(tracks)))
    for (person, track), count in common.items():
        table[people.index(person), tracks.index(track)] = -count
    hits = int(-sum(table[pair] for pair in assignment(table, 0.0)))
    return IdentityScores(
        _ratio(2 * hits, true_boxes + found_boxes),
        _ratio(hits, found_boxes),
        _ratio(hits, true_boxes),
        hits,
        true_boxes,
        found_boxes,
    )


def id_switches(moments: Iterable[Moment], least_overlap: float = 0.5) -> int:
    """How often a person is found under another id than the last time, at least 0, 0 best.

    In each frame a pair of the frame before stands as long as it overlaps enough; the rest is assigned to the
    largest overlap in all. A person who was not found for a while is compared with the last id they had.

    Args:
        moments: every frame in order.
        least_overlap: intersection over union from which two boxes are one.

    Raises:
        ShapeError: ids that are twice in a frame, or a table of overlaps of another shape.
    """
    last: dict[int, int] = {}
    switches = 0
    for moment in map(_checked, moments):
        true_ids, found_ids, overlap = moment
        cost = np.where(overlap >= least_overlap, 1 - overlap, np.inf)
        for row, person in enumerate(true_ids.tolist()):
            for column in np.flatnonzero(found_ids == last.get(person, np.nan)):
                if np.isfinite(cost[row, column]):
                    cost[row], cost[:, column], cost[row, column] = np.inf, np.inf, 0.0
        for pair in assignment(cost, 2.0):
            person, track = int(true_ids[pair[0]]), int(found_ids[pair[1]])
            switches += last.get(person, track) != track
            last[person] = track
    return switches


def _checked(moment: Moment) -> Moment:
    true_ids, found_ids = (np.asarray(ids) for ids in moment[:2])
    overlap = np.asarray(moment.overlap, float)
    if overlap.shape != (len(true_ids), len(found_ids)):
        raise ShapeError(
            f"expected overlaps of {len(true_ids)} true with {len(found_ids)} found boxes, got shape {overlap.shape}"
        )
    for ids, name in ((true_ids, "true"), (found_ids, "found")):
        if len(set(ids.tolist())) != len(ids):
            raise ShapeError(f"expected each {name} id once a frame, got {ids.tolist()}")
    return Moment(true_ids, found_ids, overlap)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
