"""The trunks of HSEmotion: EfficientNet-B0, MobileViT-S and MobileFaceNet; see `hsemotion.py`.

Sources: Tan and Le, "EfficientNet", ICML 2019, arXiv 1905.11946; Mehta and Rastegari, "MobileViT", ICLR 2022,
arXiv 2110.02178; Chen et al., "MobileFaceNets", CCBR 2018, arXiv 1804.07573. Layouts are those of the networks
that the authors of HSEmotion fine-tune: timm's `tf_efficientnet_b0` and `mobilevit_s` (Apache-2.0), and
InsightFace's `mobilefacenet` (MIT).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvUnit(nn.Module):
    """Convolution without bias, batch norm, activation: (B, I, H, W) -> (B, O, H/stride, W/stride).

    Args:
        act: `nn.Identity` for none.
        same: pad as TensorFlow does: where the stride is 2, one pixel more after than before.
        eps: of the norm.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        act: type[nn.Module] = nn.SiLU,
        same: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.uneven = same and stride > 1
        padding = 0 if self.uneven else kernel // 2
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(channels_out, eps=eps)
        self.act = nn.PReLU(channels_out) if act is nn.PReLU else act()
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Apply the three in turn."""
        if self.uneven:
            kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
            down, right = (max(kernel - (side % stride or stride), 0) for side in x.shape[2:])
            x = functional.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        return self.act(self.norm(self.conv(x)))


class SqueezeExcite(nn.Module):
    """Scale of each channel from all channels' means: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.reduce, self.restore = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the scales."""
        inner = functional.silu(self.reduce(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.restore(inner))


class InvertedBottleneck(nn.Module):
    """Widen, depthwise, [squeeze], narrow; a shortcut where the shape stays: (B, I, H, W) -> (B, O, h, w).

    Args:
        widen: hidden channels are so many times I; 1 leaves the first convolution out.
        squeeze: whether there is a squeeze, of I / 4 channels.
        same, eps: as in `ConvUnit`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        stride: int,
        widen: int,
        squeeze: bool,
        same: bool,
        eps: float,
    ) -> None:
        super().__init__()
        hidden = channels_in * widen
        self.shortcut = stride == 1 and channels_in == channels_out
        self.expand: nn.Module = nn.Identity()
        if widen > 1:
            self.expand = ConvUnit(channels_in, hidden, same=same, eps=eps)
        self.depthwise = ConvUnit(hidden, hidden, kernel, stride, hidden, same=same, eps=eps)
        self.squeeze = SqueezeExcite(hidden, channels_in // 4) if squeeze else nn.Identity()
        self.project = ConvUnit(hidden, channels_out, act=nn.Identity, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        out = self.project(self.squeeze(self.depthwise(self.expand(x))))
        return x + out if self.shortcut else out


class EfficientNetB0(nn.Module):
    """Trunk of EfficientNet-B0 (Tan and Le 2019) as trained in TensorFlow: (B, 3, H, W) -> (B, 1280)."""

    # (blocks, kernel, stride, widen, channels)
    stages = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    )
    width = 1280

    def __init__(self) -> None:
        super().__init__()
        eps, channels = 1e-3, 32
        self.stem = ConvUnit(3, channels, 3, 2, same=True, eps=eps)
        stages = []
        for count, kernel, stride, widen, wider in self.stages:
            blocks = []
            for index in range(count):
                step = stride if index == 0 else 1
                blocks.append(InvertedBottleneck(channels, wider, kernel, step, widen, True, True, eps))
                channels = wider
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.last = ConvUnit(channels, self.width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features."""
        return self.last(self.blocks(self.stem(x))).mean((2, 3))


class EncoderBlock(nn.Module):
    """Pre-norm transformer block with SiLU, four heads, a perceptron twice as wide: (B, N, D) -> (B, N, D)."""

    heads = 4

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Self-attention and perceptron, each around a shortcut."""
        count, width = x.shape[1:]
        qkv = self.qkv(self.norm1(x)).reshape(-1, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, N, D / heads)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.project(mixed.transpose(1, 2).reshape(-1, count, width))
        return x + self.narrow(functional.silu(self.widen(self.norm2(x))))


class MobileViTBlock(nn.Module):
    """Convolution, transformer over every second pixel, fusion (Mehta and Rastegari 2022): shape stays.

    Args:
        channels: C of the map (B, C, h, w).
        width: D of the transformer.
        depth: its blocks.
    """

    def __init__(self, channels: int, width: int, depth: int) -> None:
        super().__init__()
        self.local = ConvUnit(channels, channels, 3)
        self.enter = nn.Conv2d(channels, width, 1, bias=False)
        self.encoder = nn.Sequential(*[EncoderBlock(width) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.leave = ConvUnit(width, channels)
        self.fuse = ConvUnit(2 * channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block. A map of odd side is stretched by a pixel for the transformer."""
        height, width = x.shape[2:]
        rows, columns = (height + 1) // 2, (width + 1) // 2
        y = self.enter(self.local(x))
        odd = (2 * rows, 2 * columns) != (height, width)
        if odd:
            y = functional.interpolate(y, size=(2 * rows, 2 * columns), mode="bilinear", align_corners=False)
        channels = y.shape[1]
        # Pixels at the same place of their 2x2 patches look at one another: (B 4, rows columns, D).
        y = y.reshape(-1, channels, rows, 2, columns, 2).permute(0, 3, 5, 2, 4, 1)
        y = self.norm(self.encoder(y.reshape(-1, rows * columns, channels)))
        y = y.reshape(-1, 2, 2, rows, columns, channels).permute(0, 5, 3, 1, 4, 2)
        y = y.reshape(-1, channels, 2 * rows, 2 * columns)
        if odd:
            y = functional.interpolate(y, size=(height, width), mode="bilinear", align_corners=False)
        return self.fuse(torch.cat([x, self.leave(y)], 1))


class MobileViTS(nn.Module):
    """Trunk of MobileViT-S: (B, 3, H, W) -> (B, 640)."""

    # (bottlenecks, stride, channels, transformer's width or 0, its depth)
    stages = (
        (1, 1, 32, 0, 0),
        (3, 2, 64, 0, 0),
        (1, 2, 96, 144, 2),
        (1, 2, 128, 192, 4),
        (1, 2, 160, 240, 3),
    )
    width = 640

    def __init__(self) -> None:
        super().__init__()
        channels = 16
        self.stem = ConvUnit(3, channels, 3, 2)
        stages = []
        for count, stride, wider, width, depth in self.stages:
            blocks: list[nn.Module] = []
            for index in range(count):
                step = stride if index == 0 else 1
                blocks.append(InvertedBottleneck(channels, wider, 3, step, 4, False, False, 1e-5))
                channels = wider
            if depth:
                blocks.append(MobileViTBlock(channels, width, depth))
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.last = ConvUnit(channels, self.width)

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features."""
        return self.last(self.blocks(self.stem(x))).mean((2, 3))


class MobileFaceBlock(nn.Module):
    """Widen, depthwise, narrow with PReLU: (B, I, H, W) -> (B, O, H/stride, W/stride)."""

    def __init__(self, channels_in: int, channels_out: int, hidden: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.layers = nn.Sequential(
            ConvUnit(channels_in, hidden, act=nn.PReLU),
            ConvUnit(hidden, hidden, 3, stride, hidden, nn.PReLU),
            ConvUnit(hidden, channels_out, act=nn.Identity),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return x + self.layers(x) if self.shortcut else self.layers(x)


class MobileFaceNet(nn.Module):
    """MobileFaceNet (Chen et al. 2018), twice as wide, as InsightFace trains it: (B, 3, S, S) -> (B, 512).

    Args:
        size: S, a multiple of 16; the last depthwise kernel covers the whole map, S / 16.
    """

    width = 512

    def __init__(self, size: int = 112) -> None:
        super().__init__()
        blocks: list[nn.Module] = [
            ConvUnit(3, 128, 3, 2, 1, nn.PReLU),
            ConvUnit(128, 128, 3, 1, 64, nn.PReLU),
        ]
        channels = 128
        for wider, widened, count, hidden in ((128, 128, 4, 128), (256, 256, 6, 256), (256, 512, 2, 256)):
            blocks.append(MobileFaceBlock(channels, wider, widened, 2, False))
            residual = [MobileFaceBlock(wider, wider, hidden, 1, True) for _ in range(count)]
            blocks.append(nn.Sequential(*residual))
            channels = wider
        self.blocks = nn.Sequential(*blocks)
        self.last = ConvUnit(channels, 512, act=nn.PReLU)
        self.pool = nn.Conv2d(512, 512, size // 16, groups=512, bias=False)
        self.pool_norm = nn.BatchNorm2d(512)
        self.embed, self.embed_norm = nn.Linear(512, self.width, bias=False), nn.BatchNorm1d(self.width)

    def forward(self, x: Tensor) -> Tensor:
        """Embedding, not normalised to length 1."""
        x = self.pool_norm(self.pool(self.last(self.blocks(x)))).flatten(1)
        return self.embed_norm(self.embed(x))
