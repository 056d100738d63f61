"""Scores that challenges make up of standard figures. Each takes figures that were computed over the whole set."""

from __future__ import annotations

import numpy as np

from mien.errors import ShapeError
from mien.metrics.dimensional import mae, pcc


def abaw1_expression_score(macro_f1: float, accuracy: float) -> float:
    """ABAW 1 (2020), expressions: 0.67 macro F1 + 0.33 accuracy, in [0, 1].

    Source: Kollias et al., "Analysing Affective Behavior in the First ABAW 2020 Competition", FG 2020.
    """
    _expect_within(0, 1, macro_f1=macro_f1, accuracy=accuracy)
    return 0.67 * macro_f1 + 0.33 * accuracy


def abaw_affect_score(ccc_valence: float, ccc_arousal: float) -> float:
    """ABAW, valence and arousal: (CCC_V + CCC_A) / 2, in [-1, 1]; see `mien.metrics.dimensional.ccc`."""
    _expect_within(-1, 1, ccc_valence=ccc_valence, ccc_arousal=ccc_arousal)
    return (ccc_valence + ccc_arousal) / 2


def abaw_multitask_score(
    ccc_valence: float, ccc_arousal: float, f1_expression: float, f1_units: float
) -> float:
    """ABAW, multi-task: mean CCC + macro F1 of expressions + mean F1 of action units, in [-1, 3]."""
    _expect_within(0, 1, f1_expression=f1_expression, f1_units=f1_units)
    return abaw_affect_score(ccc_valence, ccc_arousal) + f1_expression + f1_units


def emi_score(truth: np.ndarray, predicted: np.ndarray) -> float:
    """ABAW, emotional mimicry intensity: the mean over columns of PCC, in [-1, 1]; NaN where one is constant.

    Args:
        truth: (N, 6) intensities.
        predicted: (N, 6).

    Raises:
        ShapeError: shapes that differ, or NaN.
    """
    truth, predicted = np.asarray(truth, float), np.asarray(predicted, float)
    if truth.shape != predicted.shape or truth.ndim != 2 or not truth.size:
        raise ShapeError(f"expected two tables (N, K) of one shape, got {truth.shape} and {predicted.shape}")
    return float(np.mean([pcc(truth[:, k], predicted[:, k]) for k in range(truth.shape[1])]))


def mer2023_multi_score(weighted_f1: float, mse_valence: float) -> float:
    """MER 2023, MULTI: weighted F1 of emotions - 0.25 mean squared error of valence, in (-inf, 1].

    Source: Lian et al., "MER 2023: Multi-label Learning, Modality Robustness, and Semi-Supervised Learning".
    """
    _expect_within(0, 1, weighted_f1=weighted_f1)
    _expect_within(0, float("inf"), mse_valence=mse_valence)
    return weighted_f1 - 0.25 * mse_valence


def personality_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Apparent personality: 1 - mean |t - p|, in [0, 1], of one trait (N,) (definition from memory).

    Raises:
        ShapeError: uneven or empty lists, NaN, or values outside [0, 1].
    """
    for name, side in (("truth", truth), ("predictions", predicted)):
        side = np.asarray(side, float)
        if side.size and not (side.min() >= 0 and side.max() <= 1):
            raise ShapeError(f"expected {name} in [0, 1], got {side.min()} to {side.max()}")
    return 1 - mae(truth, predicted)


def _expect_within(low: float, high: float, **figures: float) -> None:
    for name, value in figures.items():
        if not low <= value <= high:
            raise ShapeError(f"expected {name} in [{low}, {high}], got {value}")
