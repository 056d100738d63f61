"""A network's attention towards a heat map: one minus their cosine.

Source: Belharbi et al., "Guided Interpretable Facial Expression Recognition via Spatial Action Unit Cues", FG 2024, and the
authors' losses/align_to_heatmap.py, with all channels averaged.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mien.errors import ShapeError


def attention_of(maps: Tensor) -> Tensor:
    """Mean over channels, of either sign, not normalised: (B, K, h, w) -> (B, h, w)."""
    return maps.mean(1)


def resized_cues(cues: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Cues (B, H, W) at another size, antialiased, cut to the range that each had: (B, *size)."""
    small = functional.interpolate(
        cues[:, None], tuple(size), mode="bilinear", align_corners=True, antialias=True
    )[:, 0]
    low, high = cues.amin((1, 2))[:, None, None], cues.amax((1, 2))[:, None, None]
    return torch.minimum(torch.maximum(small, low), high)


def cosines(attention: Tensor, cues: Tensor) -> Tensor:
    """Cosine of each attention map with its cue, in [-1, 1]; 0 where one of them is zero: (B,).

    Args:
        attention: (B, h, w).
        cues: (B, H, W), resized to the attention's size.
    """
    small = resized_cues(cues.float(), attention.shape[1:])
    return functional.cosine_similarity(attention.float().flatten(1), small.flatten(1), dim=1)


def cue_alignment(maps: Tensor, cues: Tensor) -> Tensor:
    """Mean over the pictures that have a cue of 1 - cos(attention, cue): from 0, aligned, to 2.

    The cue is constant: gradients flow to the maps alone.

    Args:
        maps: (B, K, h, w) of a layer.
        cues: (B, H, W) from 0 on; a picture without a cue has NaN. All zero is an error, not "no cue".

    Returns:
        a scalar; 0 with zero gradient where no picture has a cue.

    Raises:
        ShapeError: other shapes, a picture with some NaN, a negative or an empty cue.
    """
    if maps.ndim != 4 or cues.ndim != 3 or len(maps) != len(cues):
        raise ShapeError(
            f"expected maps (B, K, h, w) and as many cues (B, H, W), got {tuple(maps.shape)} and {tuple(cues.shape)}"
        )
    missing = cues.isnan().flatten(1)
    there = ~missing.all(1)
    given = cues[there].detach()
    if given.numel() and (
        given.isnan().any() or bool((given < 0).any()) or bool((given.amax((1, 2)) <= 0).any())
    ):
        raise ShapeError(
            "expected cues from 0 on with something in them, or NaN everywhere for a picture without one, got a cue "
            "that is negative, empty or NaN in part"
        )
    if not bool(there.any()):
        return maps[:0].sum()  # of nothing: 0, and a gradient of 0
    return (1 - cosines(attention_of(maps[there]), given)).mean()
