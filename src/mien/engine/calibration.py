"""What turns a network's logits into probabilities, fitted on the split that selects."""

from __future__ import annotations

from typing import Any

import numpy as np

from mien.metrics.calibration import fit_temperature

CERTAIN_ACCURACY = 0.95
"""`uncertain` is set so that the other answers are right this often on the selection split."""


def calibrate(logits: np.ndarray, truth: np.ndarray, split: str) -> dict[str, Any]:
    """Temperature and the threshold of `uncertain`, fitted on the selection split.

    Args:
        logits: (N, K).
        truth: (N,) classes.
        split: its name, which is kept with the figures.
    """
    temperature = round(fit_temperature(logits, truth), 4)
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    confidence = (powers / powers.sum(1, keepdims=True)).max(1)
    correct = logits.argmax(1) == truth
    return {
        "method": "temperature: softmax(logits / temperature)",
        "temperature": temperature,
        "threshold": certain_threshold(confidence, correct),
        "fitted_on": f"{split}, {len(truth)} pictures",
    }


def certain_threshold(confidence: np.ndarray, correct: np.ndarray) -> float:
    """The lowest confidence in steps of 0.05 from which answers are right often enough; 0.95 if none is.

    Args:
        confidence: (N,) probability of the answer.
        correct: bool (N,), whether it was right.
    """
    cuts = np.arange(0.30, 0.96, 0.05)
    sure = (
        cut
        for cut in cuts
        if (confidence >= cut).any() and correct[confidence >= cut].mean() >= CERTAIN_ACCURACY
    )
    return round(float(next(sure, 0.95)), 2)
