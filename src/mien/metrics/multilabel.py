"""Several labels at once: each class of a sample is there (1) or not (0)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mien.errors import ShapeError
from mien.metrics.checks import expect_flags, expect_unit, expect_values
from mien.metrics.curves import average_precision, trapezoid_area
from mien.metrics.open_set import auroc


def average_precisions(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """AP of each class (K,) in [0, 1], see `mien.metrics.curves.average_precision`; NaN without a positive.

    Args:
        truth: (N, K) of 0 and 1.
        scores: (N, K) finite; logits and probabilities give the same.

    Raises:
        ShapeError: shapes that differ, no sample, NaN, or a truth that is not 0 or 1.
    """
    truth = expect_flags(truth, "truth")
    scores = np.asarray(scores, float)
    if truth.shape != scores.shape or truth.ndim != 2 or not truth.size:
        raise ShapeError(f"expected two tables (N, K) of one shape, got {truth.shape} and {scores.shape}")
    return np.array([average_precision(truth[:, k], scores[:, k]) for k in range(truth.shape[1])])


def mean_average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Mean average precision, mAP, in [0, 1]: over the classes that have a positive; NaN where none has.

    Arguments and errors as in `average_precisions`.
    """
    each = average_precisions(truth, scores)
    each = each[~np.isnan(each)]
    return float(each.mean()) if each.size else float("nan")


def label_f1_scores(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """F1 of each label (K,) in [0, 1], 2TP / (2TP + FP + FN), such as of action units over all frames.

    0 where a label with positives is never predicted; NaN with neither a positive nor a prediction.

    Args:
        truth: (N, K) of 0 and 1.
        predicted: (N, K) of 0 and 1, thresholded already.

    Raises:
        ShapeError: shapes that differ, no sample, or a value that is not 0 or 1, such as a probability.
    """
    truth, predicted = expect_flags(truth, "truth"), expect_flags(predicted, "predictions")
    if truth.shape != predicted.shape or truth.ndim != 2 or not truth.size:
        raise ShapeError(f"expected two tables (N, K) of one shape, got {truth.shape} and {predicted.shape}")
    both = (truth + predicted).sum(0)
    return np.where(both > 0, 2 * (truth * predicted).sum(0) / np.where(both > 0, both, 1), np.nan)


def known_f1_scores(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """F1 of each label (K,) in [0, 1] as `label_f1_scores`, over the samples where that label is known.

    NaN where a label is known nowhere, or has neither a positive nor a prediction.

    Args:
        truth: (N, K) of 0 and 1, NaN where not known.
        predicted: (N, K) of 0 and 1.

    Raises:
        ShapeError: shapes that differ, or a value that is not 0 or 1.
    """
    return _of_known(truth, predicted, lambda true, found: label_f1_scores(true[:, None], found[:, None])[0])


def known_aurocs(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """AUROC of each label (K,) in [0, 1], over the samples where it is known; see `mien.metrics.open_set.auroc`.

    NaN where a label has no positive or no negative.

    Args:
        truth: (N, K) of 0 and 1, NaN where not known.
        scores: (N, K), finite; logits and probabilities give the same.

    Raises:
        ShapeError: shapes that differ, NaN scores of known labels, or a truth that is not 0 or 1.
    """

    def one(true: np.ndarray, score: np.ndarray) -> float:
        there = expect_flags(true, "truth") == 1
        return auroc(score[there], score[~there])

    return _of_known(truth, scores, one)


def _of_known(
    truth: np.ndarray, values: np.ndarray, figure: Callable[[np.ndarray, np.ndarray], float]
) -> np.ndarray:
    """A figure of each label over the samples where its truth is not NaN."""
    truth, values = np.asarray(truth, float), np.asarray(values, float)
    if truth.shape != values.shape or truth.ndim != 2 or not truth.size:
        raise ShapeError(f"expected two tables (N, K) of one shape, got {truth.shape} and {values.shape}")
    known = ~np.isnan(truth)
    return np.array(
        [
            figure(truth[rows, column], values[rows, column]) if rows.any() else np.nan
            for column, rows in enumerate(known.T)
        ],
        float,
    )


def bah_average_precision(truth: np.ndarray, probabilities: np.ndarray, include_one: bool = False) -> float:
    """AP as BAH reports it, in [0, 1]: a trapezoid over (recall, precision) at fixed thresholds; NaN if no positive.

    Predicted is what has p >= t; precision is 0 where nothing is predicted.

    Args:
        truth: (N,) of 0 and 1.
        probabilities: (N,) of class 1, in [0, 1].
        include_one: thresholds 0, .001, ..., 1 instead of ..., .999, where the authors' code stops.

    Raises:
        ShapeError: uneven or empty lists, logits, or a truth that is not 0 or 1.

    Source: the authors' metric code, sbelharbi/bah-dataset, bah_metrics.py (definition only).
    """
    truth, probabilities = expect_flags(truth, "truth"), expect_values(probabilities, "probabilities")
    if truth.shape != probabilities.shape:
        raise ShapeError(f"expected two equally long lists, got {truth.shape} and {probabilities.shape}")
    probabilities = expect_unit(probabilities, "probabilities", "softmax or sigmoid")
    if not truth.any():
        return float("nan")
    thresholds = np.arange(1001 if include_one else 1000) * 0.001
    everyone, positives = np.sort(probabilities), np.sort(probabilities[truth == 1])
    above = len(everyone) - np.searchsorted(everyone, thresholds, "left")
    hits = len(positives) - np.searchsorted(positives, thresholds, "left")
    precision = np.where(above > 0, hits / np.maximum(above, 1), 0.0)
    return -trapezoid_area(hits / len(positives), precision)
