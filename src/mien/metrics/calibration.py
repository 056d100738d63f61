"""Whether probabilities mean what they say.

Each function is told what it takes: confidences (the probability of the predicted class), probabilities (N, K)
or, for the temperature, logits (N, K). One that wants probabilities refuses logits with `ShapeError`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mien.errors import ShapeError
from mien.metrics.checks import expect_classes, expect_confidence, expect_logits, expect_probabilities
from mien.metrics.ranks import shared_over_ties


class ReliabilityTable(NamedTuple):
    """Confidence beside accuracy, both in [0, 1], in M bins.

    Attributes:
        edges: (M + 1,) borders of the bins (a, b].
        samples: (M,) how many fell into each.
        confidence: (M,) their mean confidence, NaN in an empty bin.
        accuracy: (M,) share of them that is right, NaN in an empty bin.
    """

    edges: np.ndarray
    samples: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability_table(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> ReliabilityTable:
    """Mean confidence and accuracy, in [0, 1], of M equal-width bins (a, b]; 0 goes into the first.

    Args:
        confidence: (N,) probability of the predicted class, in [0, 1].
        correct: (N,) whether it was right.
        bins: M, at least 1.

    Raises:
        ShapeError: uneven or empty lists, logits instead of probabilities, or no bin.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
    """
    confidence, correct = expect_confidence(confidence, correct)
    _expect_bins(bins)
    # The tiny step keeps a confidence that lies on a border in the bin below it, despite rounding.
    index = np.clip(np.ceil(confidence * bins - 1e-9).astype(int) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    filled = np.where(count > 0, count, np.nan)
    return ReliabilityTable(
        np.linspace(0, 1, bins + 1),
        count,
        np.bincount(index, confidence, minlength=bins) / filled,
        np.bincount(index, correct, minlength=bins) / filled,
    )


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """ECE in [0, 1]: sum_m |B_m| / N * |acc(B_m) - conf(B_m)| over equal-width bins (a, b].

    Args:
        confidence: (N,) probability of the predicted class, in [0, 1].
        correct: (N,) whether it was right.
        bins: M, number of bins over [0, 1].

    Raises:
        ShapeError: see `reliability_table`.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3.
    """
    table = reliability_table(confidence, correct, bins)
    return float(np.nansum(table.samples * np.abs(table.accuracy - table.confidence)) / table.samples.sum())


def maximum_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """MCE in [0, 1]: max_m |acc(B_m) - conf(B_m)| over the equal-width bins that are not empty.

    Arguments and errors as in `expected_calibration_error`. One sample can make a bin, so with few samples
    this is large.

    Source: Guo et al., ICML 2017, eq. 5.
    """
    table = reliability_table(confidence, correct, bins)
    return float(np.nanmax(np.abs(table.accuracy - table.confidence)))


def adaptive_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Adaptive ECE in [0, 1]: as ECE, over M bins of equally many samples (they differ by at most one).

    Samples of equal confidence share their share of right answers, so that it does not matter in which
    order they came. With fewer samples than bins each sample is a bin.

    Args:
        confidence: (N,) probability of the predicted class, in [0, 1].
        correct: (N,) whether it was right.
        bins: M, at least 1.

    Raises:
        ShapeError: see `reliability_table`.

    Source: Nguyen and O'Connor, "Posterior calibration and exploratory analysis for natural language
    processing models", EMNLP 2015 (equal-mass bins).
    """
    confidence, correct = expect_confidence(confidence, correct)
    _expect_bins(bins)
    order = np.argsort(confidence, kind="stable")
    off = (shared_over_ties(confidence, correct) - confidence)[order]
    return float(sum(abs(part.sum()) for part in np.array_split(off, bins)) / len(off))


def brier_score(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Brier score in [0, 2], 0 best: (1/N) sum_n sum_c (p_nc - y_nc)^2, y one-hot.

    Args:
        probabilities: (N, K).
        truth: (N,) class indices.

    Raises:
        ShapeError: logits, uneven lengths, or a class outside.

    Source: Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 1950.
    """
    probabilities, truth = _with_truth(expect_probabilities(probabilities), truth)
    return float(((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(1).mean())


def negative_log_likelihood(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """NLL in [0, inf], 0 best: -(1/N) sum_n log p_n,y(n), natural logarithm.

    Infinite, not clipped, where a true class was given probability 0.

    Args:
        probabilities: (N, K).
        truth: (N,) class indices.

    Raises:
        ShapeError: logits, uneven lengths, or a class outside.
    """
    probabilities, truth = _with_truth(expect_probabilities(probabilities), truth)
    likelihood = probabilities[np.arange(len(truth)), truth]
    # Rows may sum to a hair more than 1; a sure and right answer costs 0, never less.
    return float(max(0.0, -np.log(likelihood).mean())) if likelihood.min() > 0 else float("inf")


def fit_temperature(logits: np.ndarray, truth: np.ndarray, bias: np.ndarray | float = 0.0) -> float:
    """The T in [0.05, 20] that makes softmax(logits / T + bias) most likely for the truth, by golden section.

    Args:
        logits: (N, K).
        truth: (N,) class indices.
        bias: (K,) added after the division.

    Raises:
        ShapeError: probabilities instead of logits, uneven lengths, or a class outside.

    Source: Guo et al., ICML 2017, section 4.2.
    """
    logits, truth = _with_truth(expect_logits(logits), truth)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature) + bias
        scaled = scaled - scaled.max(1, keepdims=True)
        likelihood = scaled[np.arange(len(truth)), truth] - np.log(np.exp(scaled).sum(1))
        return float(-likelihood.mean())

    low, high = np.log(0.05), np.log(20.0)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        first, second = high - ratio * (high - low), low + ratio * (high - low)
        if loss(first) < loss(second):
            high = second
        else:
            low = first
    return float(np.exp((low + high) / 2))


def _expect_bins(bins: int) -> None:
    if bins < 1:
        raise ShapeError(f"expected at least 1 bin, got {bins}")


def _with_truth(rows: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth = expect_classes(truth, rows.shape[1], "true classes")
    if len(truth) != len(rows):
        raise ShapeError(f"expected one true class for each of {len(rows)} rows, got {len(truth)}")
    return rows, truth
