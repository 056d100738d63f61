"""Accuracy and its relatives for single-label classification. Pure functions of numpy arrays.

Definitions: confusion C[i, j] counts samples of true class i that were predicted as j. A class that is neither
in the truth nor predicted has no recall, precision or F1: NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.errors import ShapeError
from mien.metrics.checks import expect_classes, expect_counts


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts (classes, classes) of at least 0: row the true class, column the predicted one.

    Args:
        truth: (N,) class indices.
        predicted: (N,) class indices.
        classes: K.

    Raises:
        ShapeError: the arrays differ in length, or hold a class outside 0..classes-1.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ShapeError(
            f"expected two equally long lists of classes, got {truth.shape} and {predicted.shape}"
        )
    both = expect_classes(np.concatenate([truth, predicted]), classes)
    rows, columns = both[: len(truth)], both[len(truth) :]
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def accuracy(counts: np.ndarray) -> float:
    """Share of samples on the diagonal, sum_i C_ii / sum C, in [0, 1]; NaN without samples.

    The same as WAR, the weighted average recall: each class's recall weighted by its share of the truth.
    """
    counts = expect_counts(counts)
    return float(np.trace(counts) / counts.sum()) if counts.sum() else float("nan")


def recalls(counts: np.ndarray) -> np.ndarray:
    """Recall of each class (K,), C_ii / sum_j C_ij in [0, 1]; NaN where the class does not occur."""
    counts = expect_counts(counts)
    return _ratio(np.diag(counts), counts.sum(1))


def precisions(counts: np.ndarray) -> np.ndarray:
    """Precision of each class (K,), C_jj / sum_i C_ij in [0, 1]; NaN where it is never predicted."""
    counts = expect_counts(counts)
    return _ratio(np.diag(counts), counts.sum(0))


def f1_scores(counts: np.ndarray) -> np.ndarray:
    """F1 of each class (K,), 2TP / (2TP + FP + FN) in [0, 1]; NaN with neither truth nor prediction."""
    counts = expect_counts(counts)
    return _ratio(2 * np.diag(counts), counts.sum(0) + counts.sum(1))


def uar(counts: np.ndarray) -> float:
    """Unweighted average recall (balanced accuracy, mean class accuracy) in [0, 1]; NaN without samples.

    The mean runs over the classes that occur in the truth. A class that is predicted but never true lowers
    the recall of the others and does not count itself, unlike in scikit-learn's macro recall.
    """
    occurring = recalls(counts)
    occurring = occurring[~np.isnan(occurring)]
    return float(occurring.mean()) if occurring.size else float("nan")


def macro_f1(counts: np.ndarray, labels: Sequence[int] | None = None) -> float:
    """Mean F1 over a protocol's fixed list of classes, in [0, 1]; NaN without samples.

    A class of the list that is neither true nor predicted counts as 0, as the ABAW challenges have it, so
    that the number does not depend on which classes a test set happens to hold. On predictions pooled over
    all folds and three classes this is UF1, the figure of micro-expressions (MEGC 2019).

    Args:
        counts: (K, K).
        labels: classes of the protocol, all K where left out.
    """
    scores = f1_scores(counts)[_listed(counts, labels)]
    return float(np.nan_to_num(scores).mean()) if np.sum(counts) else float("nan")


def weighted_f1(counts: np.ndarray, labels: Sequence[int] | None = None) -> float:
    """F1 weighted by the share of each class in the truth, in [0, 1]; NaN where no class of the list occurs.

    Args:
        counts: (K, K).
        labels: classes of the protocol, all K where left out.
    """
    chosen = _listed(counts, labels)
    support = np.asarray(counts).sum(1)[chosen]
    scores = np.nan_to_num(f1_scores(counts)[chosen])
    return float(scores @ support / support.sum()) if support.sum() else float("nan")


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _listed(counts: np.ndarray, labels: Sequence[int] | None) -> np.ndarray:
    classes = len(expect_counts(counts))
    chosen = np.arange(classes) if labels is None else expect_classes(list(labels), classes, "labels")
    if not chosen.size or len(np.unique(chosen)) != len(chosen):
        raise ShapeError(f"expected at least one class and none twice as labels, got {chosen.tolist()}")
    return chosen
