"""What a person's face looks like at rest, and every value relative to it.

Some faces are read as sad or angry when they rest. With the probabilities p of a frame, those b of the person at rest and
those r of a usual neutral face,

    relative_k  ~  p_k min(1, r_k / b_k)        for neutral p_k max(1, r_k / b_k)        (normalised)

so that the face at rest is read as a neutral face is, and what it does beyond that keeps its odds: the network's log-odds
are moved by a constant of the person. Only what the person shows at rest more than others do is taken off: a face whose
rest is read as neutral is left alone, and an expression that it never shows at rest is not made likelier. Action units of the mesh have their own: `mien.faces.mesh_units.neutral_of`.
"""

from __future__ import annotations

import numpy as np

from mien.errors import DataError, ShapeError
from mien.types.track import Baseline

LEAST = 1e-3
"""No probability at rest or of a neutral face is taken for less: the correction of a class is at most a factor of 1000."""
CALM_S, CALM_SHARE = 1.0, 0.2
"""Time over which calm is judged, seconds, and the share of a face's frames taken for its rest."""
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
    """The look at rest: the median of the log-probabilities of frames at rest, see `calmest`.

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


def calmest(probabilities: np.ndarray, names: tuple[str, ...], time_s: np.ndarray) -> np.ndarray:
    """The frames of a track, bool (T,), in which the face is at rest if it ever is: the calmest fifth.

    Calm is the mean log-probability of neutral within half a second; a person whose rest is read as sad is still read as
    less neutral in all that is not rest. Right where somebody rests for a fifth of the time, whatever else is
    shown for how long. Without a class "neutral" all frames count.

    Args:
        probabilities: (T, K). names: the K expressions. time_s: (T,), ascending.
    """
    if "neutral" not in names or not len(time_s):
        return np.ones(len(time_s), bool)
    calm = np.log(np.maximum(np.asarray(probabilities, float)[:, names.index("neutral")], LEAST))
    total = np.concatenate([[0.0], np.cumsum(calm)])
    first = np.searchsorted(time_s, time_s - CALM_S / 2)
    after = np.searchsorted(time_s, time_s + CALM_S / 2, side="right")
    mean = (total[after] - total[first]) / (after - first)
    return mean >= np.quantile(mean, 1 - CALM_SHARE)


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
    factor = usual / np.maximum(baseline.probabilities, LEAST)
    neutral = np.array([name == "neutral" for name in baseline.names])
    moved = probabilities * np.where(neutral, np.maximum(1, factor), np.minimum(1, factor))
    return moved / moved.sum(-1, keepdims=True)
