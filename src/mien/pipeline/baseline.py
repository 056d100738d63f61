"""What a person's face looks like at rest, and every value relative to it.

Some faces are read as sad or angry when they rest. With the probabilities p of a frame, those b of the person at rest and
those r of a usual neutral face,

    relative_k  ~  p_k r_k / b_k        (normalised)

so that the face at rest is read as a neutral face is, and what it does beyond that keeps its odds: the network's log-odds
are moved by a constant of the person. Action units of the mesh have their own: `mien.faces.mesh_units.neutral_of`.
"""

from __future__ import annotations

import numpy as np

from mien.errors import DataError, ShapeError
from mien.types.track import Baseline

LEAST = 1e-3
"""No probability at rest or of a neutral face is taken for less: the correction of a class is at most a factor of 1000."""
NEUTRAL = 0.7
"""Probability of neutral on a usual neutral face; the other expressions share the rest. A judgement."""


def rest_of(
    probabilities: np.ndarray,
    names: tuple[str, ...],
    *,
    witness: np.ndarray | None = None,
    origin: str = "auto",
    units: np.ndarray | None = None,
) -> Baseline:
    """The look at rest: the median of the frames' log-probabilities.

    Of a whole track this is the look that the face has most of the time, which is the rest where a person does not show
    one expression for half of it or more. Of frames known to be at rest it is exact.

    Args:
        probabilities: (T, K), NaN rows for frames that say nothing.
        names: the K expressions.
        witness: bool (T,), frames that count.
        origin: for the record.
        units: (T, U, 2) evidence of the action units, see `mien.faces.mesh_units.evidence`.

    Raises:
        ShapeError: the arrays do not belong together.
        DataError: no frame counts.
    """
    probabilities = np.asarray(probabilities, float)
    if probabilities.ndim != 2 or probabilities.shape[1] != len(names):
        raise ShapeError(f"expected probabilities (T, {len(names)}), got {probabilities.shape}")
    counts = ~np.isnan(probabilities).any(1)
    counts = counts if witness is None else counts & witness
    if not counts.any():
        raise DataError(
            f"expected frames of a face at rest ({origin}), got none that can be relied on. "
            "Name another range or file, or leave the baseline out."
        )
    typical = np.exp(np.median(np.log(np.maximum(probabilities[counts], LEAST)), axis=0))
    resting = None if units is None else _middle(units[counts])
    return Baseline(names, typical / typical.sum(), int(counts.sum()), origin, resting)


def _middle(units: np.ndarray) -> np.ndarray | None:
    """The median evidence of the frames whose mesh was read, `None` if there is none."""
    told = ~np.isnan(units).any((1, 2))
    return np.median(units[told], 0) if told.any() else None


def relative(probabilities: np.ndarray, baseline: Baseline) -> np.ndarray:
    """Probabilities (T, K) relative to the face at rest, rows that sum to 1; NaN rows stay.

    Raises:
        ShapeError: other classes than the baseline's.
    """
    probabilities = np.asarray(probabilities, float)
    if probabilities.shape[-1] != len(baseline.names):
        raise ShapeError(f"expected {len(baseline.names)} probabilities a frame, got {probabilities.shape}")
    usual = np.array(
        [
            NEUTRAL if name == "neutral" else (1 - NEUTRAL) / (len(baseline.names) - 1)
            for name in baseline.names
        ]
    )
    moved = probabilities * usual / np.maximum(baseline.probabilities, LEAST)
    return moved / moved.sum(-1, keepdims=True)
