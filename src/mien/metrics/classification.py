"""Accuracy and its relatives for single-label classification. Pure functions of numpy arrays.

Definitions: confusion C[i, j] counts samples of true class i that were predicted as j.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mien.errors import ShapeError


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts (classes, classes): row the true class, column the predicted one.

    Raises:
        ShapeError: the arrays differ in length, or hold a class outside 0..classes-1.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ShapeError(
            f"expected two equally long lists of classes, got {truth.shape} and {predicted.shape}"
        )
    both = np.concatenate([truth, predicted])
    if both.size and not (both.min() >= 0 and both.max() < classes):
        raise ShapeError(f"expected classes 0 to {classes - 1}, got {both.min()} to {both.max()}")
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def accuracy(counts: np.ndarray) -> float:
    """Share of samples on the diagonal; the same as WAR. NaN without samples."""
    return float(np.trace(counts) / counts.sum()) if counts.sum() else float("nan")


def recalls(counts: np.ndarray) -> np.ndarray:
    """Recall of each class, NaN where the class does not occur."""
    support = counts.sum(1)
    return np.where(support > 0, np.diag(counts) / np.maximum(support, 1), np.nan)


def uar(counts: np.ndarray) -> float:
    """Unweighted average recall (balanced accuracy) over the classes that occur in the truth."""
    return float(np.nanmean(recalls(counts))) if counts.sum() else float("nan")


def f1_scores(counts: np.ndarray) -> np.ndarray:
    """F1 of each class, 2TP / (2TP + FP + FN); 0 where there is neither truth nor prediction."""
    true_positive = np.diag(counts)
    both = counts.sum(0) + counts.sum(1)
    return np.where(both > 0, 2 * true_positive / np.maximum(both, 1), 0.0)


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float], count: int, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Percentile 95 % interval of a statistic under resampling of samples.

    Args:
        statistic: takes sample indices (count,) and gives a number.
        count: samples there are.
        resamples: how many draws with replacement.
        seed: repeats the draws.
    """
    random = np.random.default_rng(seed)
    values = [statistic(random.integers(0, count, count)) for _ in range(resamples)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
