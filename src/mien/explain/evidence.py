"""What the action units say about the expression, apart from the network, and how far the two disagree.

For expression e and unit u, with weights w (for) and v (against) of `mien.labels.evidence`:

    score_e = clip(base_e + sum_u (w_eu / W_e - v_eu) s_u, 0, 1),   W_e = sum of w_eu over the units that were measured

s_u is how plainly the unit is seen: 0 up to a trace (FACS A), 0.5 at B, 1 from C on; of a probability p, max(0, 2p - 1).
So the score is the share of the expression's look that is on the face, less what contradicts it. Neutral starts at 1 and
every unit takes from it. The score never falls as a unit that only speaks for e grows, and never rises as one that only
speaks against it does.
"""

from __future__ import annotations

import numpy as np

from mien.errors import ShapeError
from mien.faces.mesh_units import pressed_once
from mien.labels.evidence import EvidenceTable, evidence_table
from mien.types.evidence import Evidence
from mien.types.scores import Scores
from mien.types.units import ActionUnits

LEAST_COVERAGE = 0.4
"""An expression of whose weights less could be measured has no score (NaN)."""
DISAGREES = 0.3
"""From this disagreement on, units and network are said to disagree: nearly a third of a full look."""


def strength(values: np.ndarray, scale: str) -> np.ndarray:
    """How plainly a unit is seen, in [0, 1]; NaN stays. See the head of this file."""
    values = np.asarray(values, float)
    return np.clip((values - 1) / 2 if scale == "intensity" else 2 * values - 1, 0, 1)


def evidence_for(units: ActionUnits, table: EvidenceTable | None = None) -> Evidence:
    """The evidence of N faces; the formula stands at the head of this file.

    A unit that a weight counts on one side only (AU12 and AU14 for contempt) enters with the difference of the two sides, and
    counts as not measured where these cannot be told. Pressed lips that a mesh saw count as AU24 alone, see `pressed_once`.

    Args:
        units: what was measured.
        table: weights; those that come with mien where left out.
    """
    table, units = table or evidence_table(), pressed_once(units)
    both = _columns(strength(units.values, units.scale), units, table)
    if units.left is None or units.right is None:
        difference = np.full_like(both, np.nan)
    else:
        sides = strength(units.left, units.scale) - strength(units.right, units.scale)
        difference = _columns(np.abs(sides), units, table)
    # (N, E, U): the strength that each weight counts, and whether there is one.
    counted = np.where(table.one_sided, difference[:, None, :], both[:, None, :])
    there = ~np.isnan(counted)
    weights = table.speaks_for * there
    total = weights.sum(2)
    shares = np.divide(weights, total[..., None], out=np.zeros_like(weights), where=total[..., None] > 0)
    against = table.speaks_against * np.nan_to_num(both)[:, None, :]
    contributions = shares * np.nan_to_num(counted) - against
    coverage = _coverage(total, table)
    scores = np.clip(table.base + contributions.sum(2), 0, 1)
    scores = np.where(coverage < LEAST_COVERAGE, np.nan, scores)
    return Evidence(table.expressions, table.units, scores, contributions, coverage)


def disagreement(evidence: Evidence, scores: Scores) -> np.ndarray:
    """How much more the units speak for another expression than for the network's answer, (N,) in [0, 1].

    The largest evidence score less the evidence score of the network's most probable class. 0: the units speak for
    nothing more than for that. 1: they speak fully for another expression, and not at all for the answer. NaN where the
    evidence has no score for the answer, or it is none of the eight expressions.

    Raises:
        ShapeError: evidence and scores are of different numbers of faces.
    """
    if len(evidence) != len(scores):
        raise ShapeError(f"expected scores of {len(evidence)} faces, got {len(scores)}")
    apart = np.full(len(scores), np.nan)
    for row, label in enumerate(scores.top):
        if label in evidence.names:
            told = evidence.scores[row]
            apart[row] = np.nanmax(told, initial=0.0) - told[evidence.names.index(label)]
    return apart


def _columns(values: np.ndarray, units: ActionUnits, table: EvidenceTable) -> np.ndarray:
    """Values (N, K) in the columns of the table, (N, U); NaN for what was not measured."""
    moved = np.full((len(values), len(table.units)), np.nan)
    for column, unit in enumerate(table.units):
        if unit in units.units:
            moved[:, column] = values[:, units.units.index(unit)]
    return moved


def _coverage(measured: np.ndarray, table: EvidenceTable) -> np.ndarray:
    """Share of each expression's weights that was measured; of one without weights, the mean of the others."""
    wanted = table.speaks_for.sum(1)
    has = wanted > 0
    shares = measured / np.where(has, wanted, 1)
    shares[:, ~has] = shares[:, has].mean(1, keepdims=True)
    return shares


def intensity_of(
    label: str, units: ActionUnits, row: int, table: EvidenceTable | None = None
) -> float | None:
    """How strongly a face shows an expression: the mean intensity, 0 to 5, of the units that speak for it, by weight.

    `None` where too few of them could be measured, or none is known.

    Args:
        label: the expression.
        units: intensities of some faces.
        row: the face.
        table: weights; those that come with mien where left out.
    """
    table, units = table or evidence_table(), pressed_once(units)
    if label not in table.expressions:
        return None
    weights = table.speaks_for[table.expressions.index(label)]
    values = _columns(units.values[row : row + 1], units, table)[0]
    told = weights * ~np.isnan(values)
    if not weights.sum() or told.sum() < LEAST_COVERAGE * weights.sum():
        return None
    return float((told * np.nan_to_num(values)).sum() / told.sum())
