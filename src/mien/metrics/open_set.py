"""Telling samples of known classes from others by a score that is higher for known ones.

Scores may be logits, probabilities or energies; only their order counts. A side without samples makes every
figure NaN.
"""

from __future__ import annotations

import numpy as np

from mien.errors import ShapeError
from mien.metrics.checks import expect_flags, expect_values
from mien.metrics.curves import average_precision, trapezoid_area
from mien.metrics.ranks import average_ranks


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """AUROC in [0, 1]: P(s_known > s_unknown) + P(equal) / 2; NaN where a side is empty.

    Args:
        known: (N,) scores of the positives.
        unknown: (M,) scores of the negatives.

    Raises:
        ShapeError: not two lists, or NaN.

    Source: Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982.
    """
    known, unknown = _sides(known, unknown)
    if not (known.size and unknown.size):
        return float("nan")
    ranks = average_ranks(np.concatenate([known, unknown]))[: len(known)]
    return float((ranks.sum() - len(known) * (len(known) + 1) / 2) / (len(known) * len(unknown)))


def aupr_in(known: np.ndarray, unknown: np.ndarray) -> float:
    """AUPR-in, in [0, 1]: average precision with the known as positives; NaN where a side is empty.

    Arguments and errors as in `auroc`. See `mien.metrics.curves.average_precision`.
    """
    known, unknown = _sides(known, unknown)
    if not (known.size and unknown.size):
        return float("nan")
    truth = np.repeat([1, 0], [len(known), len(unknown)])
    return average_precision(truth, np.concatenate([known, unknown]))


def aupr_out(known: np.ndarray, unknown: np.ndarray) -> float:
    """AUPR-out, in [0, 1]: average precision with the unknown as positives, scores negated; NaN as `aupr_in`."""
    known, unknown = _sides(known, unknown)
    return aupr_in(-unknown, -known)


def fpr_at_tpr(known: np.ndarray, unknown: np.ndarray, tpr: float = 0.95) -> float:
    """FPR95 in [0, 1], 0 best: share of unknown with score >= t at the highest t that keeps `tpr` of the known.

    NaN where a side is empty.

    Args:
        known: (N,) scores.
        unknown: (M,) scores.
        tpr: share of the known that must have score >= t, in (0, 1].

    Raises:
        ShapeError: not two lists, NaN, or a share outside.
    """
    known, unknown = _sides(known, unknown)
    if not 0 < tpr <= 1:
        raise ShapeError(f"expected a share in (0, 1] as tpr, got {tpr}")
    if not (known.size and unknown.size):
        return float("nan")
    # The tiny step keeps 0.95 * 20 at 19 despite rounding.
    threshold = np.sort(known)[::-1][int(np.ceil(tpr * len(known) - 1e-9)) - 1]
    return float((unknown >= threshold).mean())


def oscr_curve(known: np.ndarray, correct: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FPR and CCR, both in [0, 1] and rising, from (0, 0) over all thresholds from high to low.

    CCR(t): share of the known that are classified rightly and have score >= t. FPR(t): share of the unknown
    with score >= t.

    Args:
        known: (N,) scores of known samples.
        correct: (N,) whether their class was right.
        unknown: (M,) scores of unknown samples.

    Returns:
        fpr (T + 1,) and ccr (T + 1,) for T different scores.

    Raises:
        ShapeError: uneven lists, a side without samples, NaN, or a `correct` that is not 0 or 1.

    Source: Dhamija et al., "Reducing Network Agnostophobia", NeurIPS 2018.
    """
    known, unknown = _sides(known, unknown)
    correct = expect_flags(correct, "correct")
    if correct.shape != known.shape or not (known.size and unknown.size):
        raise ShapeError(
            f"expected known and correct of one length and at least one unknown, got {known.shape}, "
            f"{correct.shape} and {unknown.shape}"
        )
    thresholds = np.unique(np.concatenate([known, unknown]))[::-1]
    right, others = np.sort(known[correct == 1]), np.sort(unknown)
    ccr = (len(right) - np.searchsorted(right, thresholds, "left")) / len(known)
    fpr = (len(others) - np.searchsorted(others, thresholds, "left")) / len(others)
    return np.append(0.0, fpr), np.append(0.0, ccr)


def oscr(known: np.ndarray, correct: np.ndarray, unknown: np.ndarray) -> float:
    """OSCR in [0, 1]: area under CCR over FPR by trapezoid; at most the accuracy on the known.

    It reaches that accuracy where every unknown scores lower than every rightly classified known. NaN where
    a side is empty. Arguments, errors and source as in `oscr_curve`.
    """
    if not (np.size(known) and np.size(unknown)):
        return float("nan")
    return trapezoid_area(*oscr_curve(known, correct, unknown))


def _sides(known: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return expect_values(known, "known scores", 0), expect_values(unknown, "unknown scores", 0)
