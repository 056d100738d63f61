"""Stochastic depth: whole branches of a network are left out while it learns.

Paper: Huang, Sun, Liu, Sedra, Weinberger, "Deep Networks with Stochastic Depth", ECCV 2016; sample by sample, as in timm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StochasticDepth(nn.Module):
    """Leave a branch out for some samples while training: (B, ...) -> (B, ...), its mean kept.

    Args:
        rate: probability from 0 to under 1 that a sample loses the branch.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Zero each sample's branch with probability `rate`, scale the others by 1 / (1 - rate)."""
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= self.rate
        return x * kept.to(x.dtype) / (1 - self.rate)
