"""Areas under curves that several metrics share."""

from __future__ import annotations

import numpy as np

from mien.errors import ShapeError
from mien.metrics.checks import expect_flags, expect_pairs, expect_values


def trapezoid_area(x: np.ndarray, y: np.ndarray) -> float:
    """Area under straight lines between points (N,) in their order, any real number; falling x counts negative."""
    x, y = expect_pairs(x, y)
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)


def average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """AP in [0, 1]: sum_k (R_k - R_{k-1}) P_k from the highest score down; NaN without a positive.

    Samples of equal score enter together. The area under the precision-recall curve (AUPR) in its step form;
    a trapezoid would be too kind (Davis and Goadrich, ICML 2006).

    Args:
        truth: (N,) 1 for positives, 0 for the others.
        scores: (N,) any finite score, higher for positives; logits and probabilities give the same.

    Raises:
        ShapeError: uneven or empty lists, NaN, or a truth that is not 0 or 1.
    """
    truth, scores = expect_flags(truth, "truth"), expect_values(scores, "scores")
    if truth.shape != scores.shape:
        raise ShapeError(f"expected two equally long lists, got {truth.shape} and {scores.shape}")
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(truth[order])[last]
    precision = hits / (np.nonzero(last)[0] + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / truth.sum())
