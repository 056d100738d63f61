"""The two trunks of ME-GraphAU, which give a face's 7 x 7 map as 49 tokens. For faces of 224 px only.

ResNet-50: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, with torchvision's names, so that its
ImageNet weights fit. Swin-T: Liu et al., "Swin Transformer", ICCV 2021, arXiv 2103.14030; at 224 px every map is a
multiple of the window of 7, so that nothing is padded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.nn.depth import StochasticDepth

WINDOW = 7
HEAD_WIDTH = 32
FORBIDDEN = -1e4
"""Added to a forbidden score: its share after softmax is exactly 0, also in half precision."""


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width, added to the input: (B, I, H, W) -> (B, 4 W, H/s, W/s)."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels_in, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or channels_in != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Residual and shortcut, then ReLU."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet(nn.Module):
    """ResNet without its classifier: (B, 3, 224, 224) -> tokens (B, 49, C), C = 32 width."""

    def __init__(self, depths: tuple[int, ...] = (3, 4, 6, 3), width: int = 64) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels, self.stages = width, len(depths)
        for stage, depth in enumerate(depths):
            wide = width * 2**stage
            blocks = [
                Bottleneck(4 * wide if index else channels, wide, 2 if stage and not index else 1)
                for index in range(depth)
            ]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            channels = 4 * wide
        self.channels = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """The last map's pixels, row by row."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x.flatten(2).transpose(1, 2)


def relative_index() -> Tensor:
    """Row of the bias table for each pair of tokens of a window: int64 (49, 49)."""
    place = torch.cartesian_prod(torch.arange(WINDOW), torch.arange(WINDOW))
    offset = place[:, None] - place[None] + WINDOW - 1
    return offset[..., 0] * (2 * WINDOW - 1) + offset[..., 1]


def split_windows(x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, K, 49, C): K windows, row by row."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, WINDOW * WINDOW, channels)


def join_windows(x: Tensor, side: int) -> Tensor:
    """Undo `split_windows` for a square map: (B, K, 49, C) -> (B, side, side, C)."""
    batch, _, _, channels = x.shape
    x = x.reshape(batch, side // WINDOW, side // WINDOW, WINDOW, WINDOW, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, side, side, channels)


def shift_mask(side: int, shift: int) -> Tensor | None:
    """Scores to add so that tokens that were rolled in from the other border see nobody else: (K, 1, 49, 49)."""
    if not shift:
        return None
    wrapped = torch.arange(side) >= side - shift
    region = 2 * wrapped[:, None].long() + wrapped[None].long()
    regions = split_windows(region[None, :, :, None])[0, :, :, 0]
    return torch.where(regions[:, :, None] == regions[:, None], 0.0, FORBIDDEN)[:, None]


class SwinBlock(nn.Module):
    """Window attention and a perceptron, each normed first and added: (B, H, W, C), H = W = side."""

    index: Tensor
    mask: Tensor | None

    def __init__(self, dim: int, side: int, shifted: bool, drop_path: float) -> None:
        super().__init__()
        self.side, self.shift = side, WINDOW // 2 if shifted and side > WINDOW else 0
        self.heads, self.drop = dim // HEAD_WIDTH, StochasticDepth(drop_path)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.bias_table = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, self.heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.register_buffer("index", relative_index(), persistent=False)
        self.register_buffer("mask", shift_mask(side, self.shift), persistent=False)

    def attend(self, x: Tensor) -> Tensor:
        """Roll, attend inside windows, roll back: (B, H, W, C) -> (B, H, W, C)."""
        x = split_windows(torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x)
        batch, windows, tokens, channels = x.shape
        qkv = self.qkv(x).reshape(batch, windows, tokens, 3, self.heads, HEAD_WIDTH)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)  # each (B, K, heads, 49, 32)
        scores = query * HEAD_WIDTH**-0.5 @ key.transpose(-2, -1) + self.bias_table[self.index].permute(
            2, 0, 1
        )
        mixed = (scores if self.mask is None else scores + self.mask).softmax(-1) @ value
        x = join_windows(
            self.proj(mixed.transpose(2, 3).reshape(batch, windows, tokens, channels)), self.side
        )
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the perceptron."""
        x = x + self.drop(self.attend(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))


class PatchMerging(nn.Module):
    """Halve the map, double the channels: (B, H, W, C) -> (B, H / 2, W / 2, 2 C)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Four neighbours' channels side by side (down before right), normed, projected."""
        corners = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class Swin(nn.Module):
    """Swin without its classifier: (B, 3, 224, 224) -> normed tokens (B, 49, C), C = 8 width."""

    def __init__(
        self, depths: tuple[int, ...] = (2, 2, 6, 2), width: int = 96, drop_path: float = 0.2
    ) -> None:
        super().__init__()
        self.patch, self.patch_norm = nn.Conv2d(3, width, 4, 4), nn.LayerNorm(width)
        self.stages, self.merges = nn.ModuleList(), nn.ModuleList()
        rates = [drop_path * index / max(1, sum(depths) - 1) for index in range(sum(depths))]
        for stage, depth in enumerate(depths):
            dim, side = width * 2**stage, 56 // 2**stage
            if stage:
                self.merges.append(PatchMerging(dim // 2))
            self.stages.append(
                nn.Sequential(*[SwinBlock(dim, side, i % 2 == 1, rates.pop(0)) for i in range(depth)])
            )
        self.channels = width * 2 ** (len(depths) - 1)
        self.norm = nn.LayerNorm(self.channels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The last map's pixels, row by row."""
        x = self.patch_norm(self.patch(x).permute(0, 2, 3, 1))
        for stage, blocks in enumerate(self.stages):
            x = blocks(self.merges[stage - 1](x) if stage else x)  # (B, 56, 56, 96) ... (B, 7, 7, 768)
        return self.norm(x).flatten(1, 2)


SWIN_NAMES = (
    (r"^patch_embed\.proj\.", "patch."),
    (r"^patch_embed\.norm\.", "patch_norm."),
    (r"^layers\.(\d+)\.downsample\.", r"merges.\1."),
    (r"^layers\.(\d+)\.blocks\.", r"stages.\1."),
    (r"\.attn\.relative_position_bias_table$", ".bias_table"),
    (r"\.attn\.", "."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
)
"""Pattern and replacement, in turn: names of microsoft/Swin-Transformer -> ours."""
UNUSED = r"^(fc|head)\.|relative_position_index$|attn_mask$"
"""Tensors of ImageNet files that a trunk has no use for: the classifier and what is computed anew."""
