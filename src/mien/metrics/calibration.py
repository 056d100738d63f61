"""Whether probabilities mean what they say, and what is gained by not answering."""

from __future__ import annotations

import numpy as np

from mien.errors import ShapeError


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """ECE: the mean gap between confidence and accuracy over equal-width bins (a, b], weighted by size.

    Args:
        confidence: (N,) probability of the predicted class, in [0, 1].
        correct: (N,) whether it was right.
        bins: number of bins over [0, 1].

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3.
    """
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, float)
    if confidence.shape != correct.shape or confidence.ndim != 1 or not confidence.size:
        raise ShapeError(f"expected two equally long lists, got {confidence.shape} and {correct.shape}")
    if not (confidence.min() >= 0 and confidence.max() <= 1):
        raise ShapeError("expected confidences in [0, 1]; logits go through a softmax first")
    # The tiny step keeps a confidence that lies on a border in the bin below it, despite rounding.
    index = np.clip(np.ceil(confidence * bins - 1e-9).astype(int) - 1, 0, bins - 1)
    weight = np.bincount(index, minlength=bins)
    gap = np.abs(np.bincount(index, correct - confidence, minlength=bins))
    return float(gap.sum() / weight.sum())


def risk_coverage(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and risk when only the most confident samples are answered.

    Returns:
        coverage (N,), k / N for the k most confident, and risk (N,), the share of errors among them.
    """
    order = np.argsort(-np.asarray(confidence), kind="stable")
    wrong = 1 - np.asarray(correct, float)[order]
    answered = np.arange(1, len(order) + 1)
    return answered / len(order), np.cumsum(wrong) / answered


def fit_temperature(logits: np.ndarray, truth: np.ndarray, bias: np.ndarray | float = 0.0) -> float:
    """The temperature T that makes softmax(logits / T + bias) most likely for the truth, by golden section.

    Args:
        logits: (N, K).
        truth: (N,) class indices.
        bias: (K,) added after the division.
    """
    logits, truth = np.asarray(logits, float), np.asarray(truth)

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
