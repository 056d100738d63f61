"""What the masked video methods share: tubelets, the transformer over them, the decoder, and the classifier of a clip.

The layout is that of VideoMAE (Tong et al., "VideoMAE", NeurIPS 2022, arXiv 2203.12602), from its repository: a clip is cut
into tubelets of 2 frames and 16 x 16 pixels, counted frame by frame, row by row; 16 frames of 224 px are 8 x 14 x 14 = 1568.
Their places are fixed sines and cosines. Queries and values have a bias, keys have none. The encoder runs on the visible
tubelets alone; the decoder gets them with a learned token for each that is masked.

Needs: clips, float32 (B, 3, T, S, S). Registers no method: `marlin` and `smile_mvm` do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import OptionError, ShapeError, TrainingError
from mien.nn.checks import expect_faces
from mien.nn.depth import StochasticDepth

PATCH, TUBELET = 16, 2
PIXELS = 3 * TUBELET * PATCH**2
"""Values of a tubelet: 1536."""


def tubelets_of(clips: Tensor) -> Tensor:
    """Pixels of the tubelets: (B, 3, T, S, S) -> (B, N, 1536), each as colour, frame, row, column."""
    batch, channels, frames, height, width = clips.shape
    cut = clips.reshape(
        batch, channels, frames // TUBELET, TUBELET, height // PATCH, PATCH, width // PATCH, PATCH
    )
    return cut.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(batch, -1, channels * TUBELET * PATCH**2)


def grid_of(frames: int, size: int) -> tuple[int, int, int]:
    """Tubelets along time, down and across.

    Raises:
        OptionError: the clip is not a whole number of them.
    """
    if frames < TUBELET or frames % TUBELET or size < PATCH or size % PATCH:
        raise OptionError(
            f"expected frames a multiple of {TUBELET} and a size a multiple of {PATCH}, got {frames} and {size}"
        )
    return frames // TUBELET, size // PATCH, size // PATCH


def places(count: int, dim: int) -> Tensor:
    """Fixed places, float32 (count, dim): sin and cos of k / 10000^(2i / dim), in turn along the channels."""
    rates = 10000 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :dim].float()


class Block(nn.Module):
    """Pre-normed self-attention and perceptron: (B, N, C) -> (B, N, C)."""

    def __init__(self, dim: int, heads: int, eps: float, drop_path: float = 0.0) -> None:
        super().__init__()
        self.heads, self.drop = heads, StochasticDepth(drop_path)
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=eps), nn.LayerNorm(dim, eps=eps)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def attend(self, x: Tensor) -> Tensor:
        """All tokens see all."""
        batch, tokens, dim = x.shape
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = functional.linear(x, self.qkv.weight, bias)
        query, key, value = qkv.reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the perceptron."""
        x = x + self.drop(self.attend(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))


class Encoder(nn.Module):
    """Tubelets -> tokens, without a last norm.

    Args:
        dim, depth, heads: channels, blocks, attention heads.
        frames, size: of a clip.
        eps: of the norms.
        drop_path: stochastic depth of the last block; it grows evenly from 0 at the first.
    """

    places: Tensor

    def __init__(
        self, dim: int, depth: int, heads: int, frames: int, size: int, eps: float, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.grid, self.frames, self.size = grid_of(frames, size), frames, size
        self.patch = nn.Conv3d(3, dim, (TUBELET, PATCH, PATCH), (TUBELET, PATCH, PATCH))
        rates = [drop_path * index / max(1, depth - 1) for index in range(depth)]
        self.blocks = nn.ModuleList(Block(dim, heads, eps, rate) for rate in rates)
        self.register_buffer("places", places(math.prod(self.grid), dim), persistent=False)
        start(self)

    def forward(self, clips: Tensor, visible: Tensor | None = None) -> Tensor:
        """(B, 3, T, S, S) -> (B, N, C); of the tubelets that are `visible`, bool (B, N), alone, where it is given."""
        expect_faces(clips, 3, self.size, frames=self.frames)
        x = self.patch(clips).flatten(2).transpose(1, 2) + self.places
        if visible is not None:
            x = chosen(x, visible)
        for block in self.blocks:
            x = block(x)
        return x


class Decoder(nn.Module):
    """What is at the masked places: narrow tokens of the visible ones -> (B, M, out), in the order of the places.

    Args:
        dim, depth, heads: channels, blocks, attention heads.
        out: values to say of each tubelet.
        count: N, tubelets of a clip.
        eps: of the norms.
    """

    places: Tensor

    def __init__(self, dim: int, depth: int, heads: int, out: int, count: int, eps: float) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList(Block(dim, heads, eps) for _ in range(depth))
        self.norm, self.say = nn.LayerNorm(dim, eps=eps), nn.Linear(dim, out)
        self.register_buffer("places", places(count, dim), persistent=False)
        start(self)
        nn.init.trunc_normal_(self.mask_token, std=0.02, a=-0.02, b=0.02)

    def forward(self, tokens: Tensor, visible: Tensor) -> Tensor:
        """Tokens (B, V, C) of the places that are visible, bool (B, N) -> (B, N - V, out)."""
        where = self.places.expand(len(tokens), -1, -1)
        seen, unseen = tokens + chosen(where, visible), self.mask_token + chosen(where, ~visible)
        x = torch.cat([seen, unseen], 1)
        for block in self.blocks:
            x = block(x)
        return self.say(self.norm(x[:, seen.shape[1] :]))


def chosen(values: Tensor, mask: Tensor) -> Tensor:
    """Rows of (B, N, C) where a mask (B, N) holds: (B, M, C).

    Raises:
        ShapeError: another shape, or another number of rows from clip to clip.
    """
    counts = mask.sum(1)
    if mask.shape != values.shape[:2] or mask.dtype != torch.bool or (counts != counts[0]).any():
        raise ShapeError(
            f"expected a mask, bool {tuple(values.shape[:2])}, with as many places in each clip, got {mask.dtype} "
            f"{tuple(mask.shape)} with {counts.tolist()[:8]}"
        )
    return values[mask].reshape(len(values), -1, values.shape[2])


def start(network: nn.Module) -> None:
    """Linear weights Xavier, biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class ClipClassifier(nn.Module):
    """The encoder over the whole clip, the mean of its tokens, a norm, a linear head.

    `forward` gives logits (B, classes); `features` the normed mean (B, C); `tokens` the normed tokens (B, N, C).

    Args:
        classes: outputs.
        dim, depth, heads, frames, size, eps, drop_path: see `Encoder`.
        frozen: train the head alone (a linear probe).
    """

    def __init__(
        self,
        classes: int,
        dim: int,
        depth: int,
        heads: int,
        frames: int,
        size: int,
        eps: float,
        drop_path: float = 0.0,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.layers = depth
        self.encoder = Encoder(dim, depth, heads, frames, size, eps, drop_path)
        self.norm, self.head = nn.LayerNorm(dim, eps=eps), nn.Linear(dim, classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        if frozen:
            self.encoder.requires_grad_(False)
            self.norm.requires_grad_(False)

    def tokens(self, clips: Tensor) -> Tensor:
        """(B, 3, T, S, S) -> (B, N, C)."""
        return self.norm(self.encoder(clips))

    def features(self, clips: Tensor) -> Tensor:
        """(B, 3, T, S, S) -> (B, C)."""
        return self.norm(self.encoder(clips).mean(1))

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, S, S) -> (B, classes)."""
        return self.head(self.features(clips))

    def layer_of(self, name: str) -> int:
        """Layer of a parameter, for the decay of the learning rate: 0 the tubelets, i + 1 block i, L + 1 the head."""
        if name.startswith("encoder.blocks."):
            return int(name.split(".")[2]) + 1
        return 0 if name.startswith("encoder.") else self.layers + 1


def rates(steps: int, warmup: int, peak: float, floor: float) -> Iterator[float]:
    """The learning rate of each step: linear from 0 to the peak, then half a cosine down to the floor."""
    for step in range(steps):
        if step < warmup:
            yield peak * (step + 1) / warmup
        else:
            done = (step - warmup) / max(1, steps - warmup)
            yield floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * done))


def expect_finite(loss: float, step: int) -> float:
    """The loss of a step, counted from 0; `TrainingError` where it is no number."""
    if not math.isfinite(loss):
        raise TrainingError(f"expected a finite loss, got {loss} in step {step + 1}. Lower base_lr.")
    return loss
