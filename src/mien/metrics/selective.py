"""What is gained by not answering: selective prediction."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mien.errors import ShapeError
from mien.metrics.checks import expect_flags, expect_values
from mien.metrics.ranks import shared_over_ties


class Selected(NamedTuple):
    """What is left above a threshold: `coverage` in [0, 1], and `accuracy` in [0, 1], NaN with no answer."""

    coverage: float
    accuracy: float


def risk_coverage(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage in (0, 1] and risk in [0, 1] when only the most confident samples are answered.

    Samples of equal confidence share their errors, so that their order does not matter.

    Args:
        confidence: (N,) any score that is higher where the answer is surer; need not be a probability.
        correct: (N,) whether the answer was right.

    Returns:
        coverage (N,), k / N for the k most confident, and risk (N,), the share of errors among them.

    Raises:
        ShapeError: uneven or empty lists, NaN, or a `correct` that is not 0 or 1.

    Source: El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification", JMLR 2010.
    """
    confidence, correct = _checked(confidence, correct)
    order = np.argsort(-confidence, kind="stable")
    wrong = 1 - shared_over_ties(confidence, correct)[order]
    answered = np.arange(1, len(order) + 1)
    # A sum of shares may come out a hair above the number it stands for.
    return answered / len(order), np.minimum(np.cumsum(wrong) / answered, 1.0)


def area_under_risk_coverage(confidence: np.ndarray, correct: np.ndarray) -> float:
    """AURC in [0, 1], 0 best: the mean over k = 1..N of the share of errors among the k most confident.

    Arguments and errors as in `risk_coverage`.

    Source: Geifman et al., "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers", ICLR 2019.
    """
    return float(risk_coverage(confidence, correct)[1].mean())


def selected(confidence: np.ndarray, correct: np.ndarray, threshold: float) -> Selected:
    """Coverage in [0, 1] and accuracy in [0, 1] of the samples with confidence >= threshold; NaN for none.

    Arguments and errors as in `risk_coverage`.
    """
    confidence, correct = _checked(confidence, correct)
    sure = confidence >= threshold
    return Selected(float(sure.mean()), float(correct[sure].mean()) if sure.any() else float("nan"))


def _checked(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    confidence, correct = expect_values(confidence, "confidences"), expect_flags(correct, "correct")
    if confidence.shape != correct.shape:
        raise ShapeError(f"expected two equally long lists, got {confidence.shape} and {correct.shape}")
    return confidence, correct
