"""How a network learns and answers: the default is cross-entropy on logits (B, K).

A method that trains in its own way subclasses `Task` in its own file and registers it. The engine knows
nothing else about a method: it calls `loss` while it trains and `logits` when it measures or exports.
A loss without the labels that it wants is 0 with gradients of 0, never of `None`: a data set may lack them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Batch:
    """What the engine hands to a task.

    Attributes:
        images: float32 (B, C, H, W), normalised as the method's contract says.
        targets: float32 (B, K), shares of the classes; a row of zeros where the expression is unknown.
        extras: further labels by name, such as "valence_arousal" (B, 2) or "gender" (B,); a missing value
            is NaN in floats and -1 in classes.
        class_weights: float32 (K,) for the classes' terms, or `None` for equal weights.
    """

    images: Tensor
    targets: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    class_weights: Tensor | None = None


class Task:
    """Cross-entropy with soft targets.

    Args:
        network: the method's network.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def loss(self, batch: Batch) -> Tensor:
        """Scalar training loss of a batch."""
        return soft_cross_entropy(self.logits(batch.images), batch.targets, batch.class_weights)

    def logits(self, images: Tensor) -> Tensor:
        """Expression logits (B, K) of normalised faces (B, C, H, W)."""
        output = self.network(images)
        return output["expression"] if isinstance(output, Mapping) else output


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
