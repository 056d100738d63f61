"""Refuse what a metric was not made for, with our own error. Used by every metric, measures nothing itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from mien.errors import ShapeError

SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may be from 1; float16 and rounding to four digits stay under it."""
RANGE_TOLERANCE = 1e-6
"""How far a probability may be outside [0, 1] by rounding, as after a mean of views; it is cut off."""


def expect_values(values: Any, name: str, least: int = 1) -> np.ndarray:
    """Real numbers (N,) as float64.

    Args:
        values: what came in.
        name: what they are, for the message.
        least: how many there must be.

    Raises:
        ShapeError: another number of axes, too few, or one that is NaN or infinite.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < least:
        raise ShapeError(f"expected a list of at least {least} numbers as {name}, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ShapeError(
            f"expected finite {name}, got {int((~np.isfinite(values)).sum())} that are NaN or infinite. "
            "Take out the samples that have no value first."
        )
    return values


def expect_pairs(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two equally long lists of real numbers (N,), N at least 1; see `expect_values`."""
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ShapeError(f"expected two equally long lists, got {first.shape} and {second.shape}")
    return expect_values(first, "values of the first list"), expect_values(
        second, "values of the second list"
    )


def expect_classes(values: Any, classes: int, name: str = "classes") -> np.ndarray:
    """Class indices (N,) from 0 to `classes` - 1 as int64.

    Raises:
        ShapeError: not one list, not whole numbers, or a class outside; -1 and other sentinels too.
    """
    values = np.asarray(values)
    if values.ndim != 1:
        raise ShapeError(f"expected one list of {name}, got shape {values.shape}")
    if not values.size:
        return np.zeros(0, np.int64)
    if values.dtype.kind not in "iub" and not (values.dtype.kind == "f" and (values == values.round()).all()):
        raise ShapeError(f"expected whole numbers as {name}, got {values.dtype} with {values[:3]}")
    if not (values.min() >= 0 and values.max() < classes):
        raise ShapeError(f"expected classes 0 to {classes - 1}, got {values.min()} to {values.max()}")
    return values.astype(np.int64)


def expect_flags(values: Any, name: str) -> np.ndarray:
    """Yes or no, of any shape, as float64 of 0 and 1.

    Raises:
        ShapeError: a value is neither 0 nor 1.
    """
    values = np.asarray(values, float)
    if not np.isin(values, (0, 1)).all():
        raise ShapeError(
            f"expected only 0 and 1 as {name}, got {values[~np.isin(values, (0, 1))][:3]}. "
            "Take out unlabelled samples first."
        )
    return values


def expect_unit(values: np.ndarray, name: str, maker: str) -> np.ndarray:
    """Numbers of any shape, at least one, in [0, 1]; what rounding put outside is cut off.

    Raises:
        ShapeError: outside, as logits are, or NaN; the message says that `maker` turns logits into them.
    """
    if not (values.min() >= -RANGE_TOLERANCE and values.max() <= 1 + RANGE_TOLERANCE):
        raise ShapeError(
            f"expected {name} in [0, 1]; logits go through a {maker} first. "
            f"Got {values.min():.4g} to {values.max():.4g}."
        )
    return np.clip(values, 0.0, 1.0)


def expect_confidence(confidence: Any, correct: Any) -> tuple[np.ndarray, np.ndarray]:
    """Confidences (N,) in [0, 1] and whether each answer was right (N,), N at least 1.

    Raises:
        ShapeError: uneven or empty lists, logits, or a `correct` that is not 0 or 1.
    """
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, float)
    if confidence.shape != correct.shape or confidence.ndim != 1 or not confidence.size:
        raise ShapeError(f"expected two equally long lists, got {confidence.shape} and {correct.shape}")
    return expect_unit(confidence, "confidences", "softmax"), expect_flags(correct, "correct")


def expect_probabilities(probabilities: Any) -> np.ndarray:
    """Probabilities (N, K) as float64: in [0, 1], each row summing to 1.

    Raises:
        ShapeError: another shape, no row, or values that are no probabilities, such as logits.
    """
    values = np.asarray(probabilities, float)
    if values.ndim != 2 or not values.size:
        raise ShapeError(f"expected probabilities (N, K) with N and K at least 1, got shape {values.shape}")
    values = expect_unit(values, "probabilities", "softmax")
    off = float(np.abs(values.sum(1) - 1).max())
    if off > SUM_TOLERANCE:
        raise ShapeError(
            f"expected rows of probabilities that sum to 1, got one that is off by {off:.3g}. "
            "Scores of independent labels belong to mien.metrics.multilabel."
        )
    return values


def expect_logits(logits: Any) -> np.ndarray:
    """Logits (N, K) as float64: finite, and not plainly probabilities.

    Raises:
        ShapeError: another shape, no row, NaN or infinite, or rows that are probabilities.
    """
    values = np.asarray(logits, float)
    if values.ndim != 2 or not values.size:
        raise ShapeError(f"expected logits (N, K) with N and K at least 1, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ShapeError("expected finite logits, got NaN or infinite ones")
    if values.shape[1] > 1 and values.min() >= 0 and np.abs(values.sum(1) - 1).max() < 1e-6:
        raise ShapeError("expected logits, got rows that sum to 1, which are probabilities; take their log")
    return values


def expect_counts(counts: Any) -> np.ndarray:
    """A confusion table (K, K) of counts, K at least 1.

    Raises:
        ShapeError: not square, or a count that is negative or NaN.
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ShapeError(f"expected a square table of counts (K, K), got shape {counts.shape}")
    if not counts.min() >= 0:
        raise ShapeError(f"expected counts of at least 0, got {counts.min()}")
    return counts
