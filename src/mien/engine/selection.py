"""What a network is worth on the split that selects: the protocol's metric, a likelihood, and the calibration."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien.datasets.protocol import Protocol
from mien.engine.calibration import calibrate
from mien.metrics.classification import accuracy, confusion, macro_f1, uar
from mien.metrics.multilabel import known_f1_scores

UNIT_THRESHOLD = 0.5
"""Probability from which a unit counts as there."""


class Selection(NamedTuple):
    """The protocol's metric (higher is better), the mean negative log-likelihood, and what turns outputs into answers."""

    score: float
    nll: float
    calibration: dict[str, Any]


def of_expressions(logits: Tensor, truth: Tensor, protocol: Protocol) -> Selection:
    """From logits (N, K) and the classes (N,) of pictures that all have one."""
    counts = confusion(truth.numpy(), logits.argmax(1).numpy(), logits.shape[1])
    score = {"accuracy": accuracy, "uar": uar, "macro_f1": macro_f1}[protocol.metric](counts)
    nll = functional.cross_entropy(logits, truth).item()
    return Selection(score, nll, calibrate(logits.numpy(), truth.numpy(), protocol.select))


def of_units(probabilities: Tensor, truth: Tensor, protocol: Protocol) -> Selection:
    """From probabilities (N, K) and action units (N, K), NaN where not known.

    The score is the mean F1 over the units at `UNIT_THRESHOLD`, without those that are neither there nor found.
    """
    known = torch.isfinite(truth)
    f1 = known_f1_scores(truth.numpy(), probabilities.numpy() >= UNIT_THRESHOLD)
    score = float(np.nanmean(f1)) if np.isfinite(f1).any() else 0.0
    nll = functional.binary_cross_entropy(probabilities.clamp(0, 1)[known], truth[known]).item()
    calibration = {
        "method": "none: the outputs are probabilities",
        "threshold": UNIT_THRESHOLD,
        "fitted_on": f"nothing; {protocol.select} chose the epoch",
    }
    return Selection(score, nll, calibration)
