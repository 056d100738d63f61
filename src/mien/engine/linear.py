"""Linear heads on features of a frozen network: logistic, with ridge, to the optimum. Small sets, seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien.errors import ShapeError

STEPS = 60
"""L-BFGS steps at most."""


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Standardise, then one logit a label.

    Attributes:
        mean, scale: float64 (D,) of the training rows; NaN features become the mean.
        weight: float64 (D, K). bias: float64 (K,).
    """

    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, K)."""
        return self.standardised(features) @ self.weight + self.bias

    def standardised(self, features: np.ndarray) -> np.ndarray:
        """(N, D) with the training rows' mean 0 and deviation 1; what is missing is 0."""
        return np.nan_to_num((np.asarray(features, float) - self.mean) / self.scale)


def fit_units(features: np.ndarray, truth: np.ndarray, ridge: float) -> LinearHead:
    """A logistic head for several labels at once.

    Minimises the mean over the known labels of the binary cross-entropy, times K, plus ridge / 2 |W|^2.

    Args:
        features: (N, D); NaN where missing.
        truth: (N, K) of 1 and 0, NaN where not known.
        ridge: on standardised features.
    """
    known = np.isfinite(truth)
    rows, there = torch.from_numpy(known), torch.from_numpy(np.asarray(truth, float)[known])
    labels, count = known.shape[1], max(1, int(known.sum()))

    def loss(logits: Tensor) -> Tensor:
        return (
            functional.binary_cross_entropy_with_logits(logits[rows], there, reduction="sum") * labels / count
        )

    return _fit(features, labels, ridge, loss)


def fit_classes(
    features: np.ndarray, truth: np.ndarray, classes: int, ridge: float, weights: np.ndarray | None = None
) -> LinearHead:
    """A softmax head for one class of many.

    Args:
        features: (N, D); NaN where missing.
        truth: (N,) class indices.
        classes: K.
        ridge: on standardised features.
        weights: (N,) of the rows in the mean, `None` for 1.
    """
    wanted = torch.from_numpy(np.asarray(truth, np.int64))
    share = torch.ones(len(wanted)) if weights is None else torch.from_numpy(np.asarray(weights, float))
    share = share.double() / share.sum()
    return _fit(
        features,
        classes,
        ridge,
        lambda logits: share @ functional.cross_entropy(logits, wanted, reduction="none"),
    )


def _fit(features: np.ndarray, labels: int, ridge: float, loss: Callable[[Tensor], Tensor]) -> LinearHead:
    features = np.asarray(features, float)
    if features.ndim != 2 or not len(features):
        raise ShapeError(f"expected features (N, D), got {features.shape}")
    mean = np.nan_to_num(np.nanmean(features, 0))
    scale = np.nan_to_num(np.nanstd(features, 0))
    scale = np.where(scale > 1e-9, scale, 1.0)
    rows = np.nan_to_num((features - mean) / scale)
    # The optimum lies in the span of the rows, so that more features than rows cost nothing more.
    basis = np.linalg.qr(rows.T)[0] if rows.shape[1] > len(rows) else np.eye(rows.shape[1])
    reduced = torch.from_numpy(rows @ basis)
    weight = torch.zeros(reduced.shape[1], labels, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(labels, dtype=torch.float64, requires_grad=True)
    optim = torch.optim.LBFGS(
        [weight, bias],
        max_iter=STEPS,
        tolerance_grad=1e-6,
        tolerance_change=1e-8,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optim.zero_grad()
        total = loss(reduced @ weight + bias) + 0.5 * ridge * weight.square().sum()
        total.backward()
        return total

    optim.step(closure)
    return LinearHead(mean, scale, basis @ weight.detach().numpy(), bias.detach().numpy())


def best_thresholds(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """For each label the score (K,) from which on F1 is largest, half way to the next lower one.

    Choose it on training data only. Infinite where a label is never there.

    Args:
        truth: (N, K) of 1 and 0, NaN where not known.
        scores: (N, K).
    """
    found = np.full(truth.shape[1], np.inf)
    for column in range(truth.shape[1]):
        known = np.isfinite(truth[:, column]) & np.isfinite(scores[:, column])
        order = np.argsort(-scores[known, column], kind="stable")
        sorted_scores, there = scores[known, column][order], truth[known, column][order]
        if not there.sum():
            continue
        f1 = 2 * np.cumsum(there) / (np.arange(1, len(there) + 1) + there.sum())
        ends = np.append(sorted_scores[1:] < sorted_scores[:-1], True)  # equal scores go together
        best = int(np.argmax(np.where(ends, f1, -1)))
        lower = sorted_scores[best + 1] if best + 1 < len(there) else sorted_scores[best]
        found[column] = (sorted_scores[best] + lower) / 2
    return found
