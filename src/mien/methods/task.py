"""How a network learns and answers: the default is cross-entropy on logits (B, K).

A method that trains in its own way subclasses `Task` in its own file and registers it. The engine knows
nothing else about a method: it calls `loss` while it trains and `answer` when it measures or exports. A method that
finds action units subclasses `UnitsTask`: several labels at once, each there or not.
A loss without the labels that it wants is 0 with gradients of 0, never of `None`: a data set may lack them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Batch:
    """What the engine hands to a task.

    Attributes:
        images: float32 (B, C, H, W), normalised as the method's contract says.
        targets: float32 (B, K), shares of the classes; a row of zeros where the expression is unknown.
        extras: further labels by name, such as "valence_arousal" (B, 2), "gender" (B,), "action_units" (B, K)
            or "identity" (B,), the number of the person in the split; a missing value is NaN in floats and
            -1 in classes.
        class_weights: float32 (K,) for the classes' or units' terms, or `None` for equal weights.
    """

    images: Tensor
    targets: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    class_weights: Tensor | None = None


class Task:
    """Cross-entropy with soft targets.

    Args:
        network: the method's network.

    Class attributes:
        answers: what `answer` gives: "expression" (logits) or "action_units" (probabilities).
    """

    answers: ClassVar[str] = "expression"

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def loss(self, batch: Batch) -> Tensor:
        """Scalar training loss of a batch."""
        return soft_cross_entropy(self.logits(batch.images), batch.targets, batch.class_weights)

    def logits(self, images: Tensor) -> Tensor:
        """Expression logits (B, K) of normalised faces (B, C, H, W)."""
        output = self.network(images)
        return output["expression"] if isinstance(output, Mapping) else output

    def answer(self, images: Tensor) -> Tensor:
        """What is measured and exported, (B, K): the logits."""
        return self.logits(images)


class UnitsTask(Task):
    """Action units: binary cross-entropy on logits (B, K), what is not known left out."""

    answers = "action_units"

    def loss(self, batch: Batch) -> Tensor:
        """Scalar training loss of a batch, from `extras["action_units"]`."""
        logits = self.logits(batch.images)
        return binary_cross_entropy(logits, known_units(batch, logits), batch.class_weights)

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, K) of the units in normalised faces (B, C, H, W)."""
        output = self.network(images)
        return output["action_units"] if isinstance(output, Mapping) else output

    def answer(self, images: Tensor) -> Tensor:
        """What is measured and exported: the probability (B, K) that each unit is there."""
        return torch.sigmoid(self.logits(images).float())


def known_units(batch: Batch, outputs: Tensor) -> Tensor:
    """The batch's action units (B, K) as float32: 1, 0, and NaN where not known; all NaN where it has none."""
    units = batch.extras.get("action_units")
    if units is None:
        return torch.full(outputs.shape, torch.nan, device=outputs.device)
    return torch.where(units >= 0, units.float(), torch.nan)


def binary_cross_entropy(logits: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over the known labels of -w_k [y log p + (1 - y) log(1 - p)], p = sigmoid(logit).

    Args:
        logits: (B, K).
        truth: (B, K) of 1 and 0, NaN where not known.
        weights: (K,), or `None` for 1.

    Returns:
        a scalar; 0 with zero gradient where nothing is known.
    """
    known = torch.isfinite(truth)
    target = torch.where(known, truth, 0.0)
    each = functional.binary_cross_entropy_with_logits(logits.float(), target, reduction="none") * known
    each = each if weights is None else each * weights
    return each.sum() / known.sum().clamp(min=1)


def soft_cross_entropy(logits: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean over the rows with a target of -sum_k w_k t_k log softmax(logits)_k.

    Args:
        logits: (B, K).
        targets: (B, K), rows sum to 1, or to 0 where the class is unknown; such rows count for nothing.
        class_weights: (K,); the mean is then weighted, as in `torch.nn.functional.cross_entropy`.

    Returns:
        a scalar; 0 with zero gradient where no row has a target.
    """
    weighted = targets if class_weights is None else targets * class_weights
    total = weighted.sum()
    loss = -(weighted * functional.log_softmax(logits.float(), 1)).sum()
    return loss / torch.clamp(total, min=1e-12)
