"""SE-SwinT: a Swin-T with one squeeze-and-excitation gate over its last map.

Paper: Arpita Vats, Aman Chadha, "Facial Expression Recognition using Squeeze and Excitation-powered Swin
Transformers", 2023, arXiv 2301.10906. Official code: none was found. Only the paper's abstract was seen
here; the place of the gate, the classes and the input are from memory.

Trunk: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021,
arXiv 2103.14030; code microsoft/Swin-Transformer, MIT. Gate: Hu et al., "Squeeze-and-Excitation Networks",
CVPR 2018, arXiv 1709.01507, eqs. 2-4.

Differs from the paper: see `DIFFERS`. It trains with sharpness-aware minimisation, which is the engine's.

Needs: float32 (B, 3, S, S), RGB, ImageNet mean and deviation; S is 224, or the option `size`.
Gives: logits (B, classes).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import OptionError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.authors import load_strictly
from mien.methods.method import Counts, Paper, Reported, register
from mien.nn.checks import expect_faces
from mien.nn.depth import StochasticDepth
from mien.types.media import IMAGENET_MEAN, IMAGENET_STD, Preprocess

PATCH = 4
WINDOW = 7
HEAD_WIDTH = 32
SE_POSITIONS = ("after_stages", "final_map", "pooled_vector")
FORBIDDEN = -1e4
"""Added to a forbidden score: its share after softmax is exactly 0, also in half precision."""


class SqueezeExcitation(nn.Module):
    """Weigh channels by what the whole map says: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // ratio)
        self.excite = nn.Linear(channels // ratio, channels)

    def gate(self, x: Tensor) -> Tensor:
        """sigmoid(W2 relu(W1 mean(x))), in (0, 1): (B, C, H, W) -> (B, C, 1, 1)."""
        pooled = x.mean((2, 3))
        return torch.sigmoid(self.excite(torch.relu(self.squeeze(pooled))))[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """The map times its gate."""
        return x * self.gate(x)


def relative_index(window: int, table: int = WINDOW) -> Tensor:
    """Row of the bias table for each pair of tokens of a window: int64 (N, N), N = window * window.

    The table holds (2 * table - 1)^2 offsets; a smaller window uses its middle, so that the same weights
    serve every input size.
    """
    place = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    offset = place[:, None] - place[None] + table - 1
    return offset[..., 0] * (2 * table - 1) + offset[..., 1]


def window_mask(side: int, window: int, shift: int) -> Tensor | None:
    """What may not be seen inside each window, as a term to be added to scores.

    A map is padded on the right and below to a multiple of the window, then rolled by `shift`. Rolled-in
    tokens of the other border may not be mixed with the rest, and nobody may look at padding.

    Returns:
        float32 (K, 1, N, N) for K windows of N tokens, 0 or `FORBIDDEN` (rows are queries), or `None`
        where nothing is forbidden.
    """
    padded = -(-side // window) * window
    if padded == side and shift == 0:
        return None
    axis = torch.arange(padded)
    wrapped, real = axis >= padded - shift, torch.roll(axis, -shift) < side
    region = 2 * wrapped[:, None].long() + wrapped[None].long()
    regions = split_windows(region[None, :, :, None], window)[0, :, :, 0]
    seen = split_windows((real[:, None] & real[None])[None, :, :, None], window)[0, :, :, 0]
    allowed = (regions[:, :, None] == regions[:, None, :]) & seen[:, None, :]
    return torch.where(allowed, 0.0, FORBIDDEN)[:, None]


def split_windows(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) -> (B, K, N, C): K windows of N = window^2 tokens, row by row."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // window, window, width // window, window, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, window * window, channels)


def join_windows(x: Tensor, side: int, window: int) -> Tensor:
    """Undo `split_windows` for a square map: (B, K, N, C) -> (B, side, side, C)."""
    batch, _, _, channels = x.shape
    x = x.reshape(batch, side // window, side // window, window, window, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, side, side, channels)


class WindowAttention(nn.Module):
    """Self-attention inside each window, with a learned bias a relative position: (B, K, N, C)."""

    index: Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.bias_table = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.register_buffer("index", relative_index(window), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Mix the N tokens of each window; `mask` as `window_mask` gives it."""
        batch, windows, tokens, channels = x.shape
        qkv = self.qkv(x).reshape(batch, windows, tokens, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)  # each (B, K, heads, N, C / heads)
        scores = (query * self.scale) @ key.transpose(-2, -1) + self.bias_table[self.index].permute(2, 0, 1)
        if mask is not None:
            scores = scores + mask
        mixed = scores.softmax(-1) @ value
        return self.proj(mixed.transpose(2, 3).reshape(batch, windows, tokens, channels))


class SwinBlock(nn.Module):
    """Window attention and a two-layer perceptron, each normed first and added: (B, H, W, C), H = W = side.

    A map no larger than a window is one window of its own size, and is not shifted.
    """

    mask: Tensor | None

    def __init__(self, dim: int, side: int, shifted: bool, drop_path: float) -> None:
        super().__init__()
        self.side, self.window = side, min(WINDOW, side)
        self.shift = WINDOW // 2 if shifted and side > WINDOW else 0
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, dim // HEAD_WIDTH, self.window)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.drop = StochasticDepth(drop_path)
        self.register_buffer("mask", window_mask(side, self.window, self.shift), persistent=False)

    def attend(self, x: Tensor) -> Tensor:
        """Pad, roll, attend inside windows, roll back, crop: (B, H, W, C) -> (B, H, W, C)."""
        short = -self.side % self.window
        if short:
            x = functional.pad(x, (0, 0, 0, short, 0, short))
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = self.attn(split_windows(x, self.window), self.mask)
        x = join_windows(x, self.side + short, self.window)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, : self.side, : self.side] if short else x

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the perceptron."""
        x = x + self.drop(self.attend(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))


class PatchMerging(nn.Module):
    """Halve the map, double the channels: (B, H, W, C) -> (B, ceil(H / 2), ceil(W / 2), 2 C).

    An odd map gets a row and a column of zeros on the right and below.
    """

    def __init__(self, dim: int, side: int) -> None:
        super().__init__()
        self.short = side % 2
        self.norm, self.reduction = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Four neighbours' channels side by side (down before right), normed, projected."""
        if self.short:
            x = functional.pad(x, (0, 0, 0, 1, 0, 1))
        corners = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class SeSwinT(nn.Module):
    """The network. `forward` gives logits (B, classes); `features` the pooled last map (B, 8 dim).

    Args:
        classes: outputs.
        size: side of the input in pixels, a multiple of 4 from 32 on.
        se: whether there is a gate; without it this is a plain Swin-T.
        se_position: "final_map" gates the last stage's map before its norm (768 channels), "pooled_vector"
            the normed and pooled vector, "after_stages" the map of each of the four stages.
        se_ratio: channels over hidden channels of the gate.
        dim: channels of the first stage, a multiple of 32.
        depths: blocks of each of the four stages.
        drop_path: stochastic depth of the last block; it grows evenly from 0 at the first.

    Raises:
        OptionError: an option is not of those.
    """

    def __init__(
        self,
        classes: int = len(EXPRESSIONS),
        size: int = 224,
        se: bool = True,
        se_position: str = "final_map",
        se_ratio: int = 16,
        dim: int = 96,
        depths: tuple[int, int, int, int] = (2, 2, 6, 2),
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        check_options(size, se_position, se_ratio, dim)
        self.size, self.se_position = size, se_position
        self.patch, self.patch_norm = nn.Conv2d(3, dim, PATCH, PATCH), nn.LayerNorm(dim)
        self.stages, self.merges = nn.ModuleList(), nn.ModuleList()
        rates = torch.linspace(0, drop_path, sum(depths)).tolist()
        side, channels, widths = size // PATCH, dim, []
        for stage, depth in enumerate(depths):
            if stage:
                self.merges.append(PatchMerging(channels, side))
                side, channels = -(-side // 2), 2 * channels
            blocks = [SwinBlock(channels, side, i % 2 == 1, rates.pop(0)) for i in range(depth)]
            self.stages.append(nn.Sequential(*blocks))
            widths.append(channels)
        gated = (widths if se_position == "after_stages" else widths[-1:]) if se else []
        self.excitations = nn.ModuleList(SqueezeExcitation(width, se_ratio) for width in gated)
        self.norm, self.head = nn.LayerNorm(channels), nn.Linear(channels, classes)
        self.explain_layer = self.cam_layer = "norm"
        self.apply(start_linear)

    def explain_maps(self, output: Tensor) -> Tensor:
        """What a layer gives, channels first: (B, h, h, C) -> (B, C, h, h); other shapes as they are."""
        return (
            output.permute(0, 3, 1, 2) if output.ndim == 4 and output.shape[1] == output.shape[2] else output
        )

    def features(self, x: Tensor) -> Tensor:
        """Pooled last map, gated where the options say so: (B, 3, size, size) -> (B, 8 dim)."""
        expect_faces(x, 3, self.size)
        x = self.patch_norm(self.patch(x).permute(0, 2, 3, 1))
        for stage, blocks in enumerate(self.stages):
            x = blocks(self.merges[stage - 1](x) if stage else x)  # (B, 56, 56, 96) ... (B, 7, 7, 768)
            if self.se_position == "after_stages" and self.excitations:
                x = gate_channels_last(self.excitations[stage], x)
        if self.se_position == "final_map" and self.excitations:
            x = gate_channels_last(self.excitations[0], x)
        x = self.norm(x).mean((1, 2))
        if self.se_position == "pooled_vector" and self.excitations:
            x = self.excitations[0](x[:, :, None, None]).flatten(1)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Logits: (B, 3, size, size) -> (B, classes)."""
        return self.head(self.features(x))


def gate_channels_last(excitation: nn.Module, x: Tensor) -> Tensor:
    """Apply a `SqueezeExcitation` to (B, H, W, C)."""
    return excitation(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def start_linear(module: nn.Module) -> None:
    """Swin's start: linear weights from a normal of deviation 0.02 cut at 2, biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check_options(size: int, se_position: str, se_ratio: int, dim: int) -> None:
    """Refuse what `SeSwinT` cannot be built with, by `OptionError`."""
    if size < 32 or size % PATCH:
        raise OptionError(f"expected size to be a multiple of {PATCH} from 32 on, got {size}")
    if se_position not in SE_POSITIONS:
        raise OptionError(f"expected se_position to be one of {', '.join(SE_POSITIONS)}, got {se_position!r}")
    if dim < HEAD_WIDTH or dim % HEAD_WIDTH:
        raise OptionError(f"expected dim to be a multiple of {HEAD_WIDTH}, got {dim}")
    if not 1 <= se_ratio <= dim:
        raise OptionError(f"expected se_ratio from 1 to {dim}, got {se_ratio}")


def load_swin(network: SeSwinT, state_dict: Mapping[str, Tensor]) -> None:
    """Start the trunk from a Swin-T of microsoft/Swin-Transformer (the checkpoint's entry `model`).

    The parameter names were seen in that repository's models/swin_transformer.py; no file of weights was.
    Its classifier, attention masks and position indices are dropped; all else must be there in its shape.

    Args:
        network: changed in place; its gate and head keep their values. Any `size` will do.
        state_dict: tensors by the authors' names.

    Raises:
        WeightsError: a tensor is missing, not known or of another shape.
    """
    state = {name: value for name, value in network.state_dict().items() if name[:4] in ("head", "exci")}
    for name, value in state_dict.items():
        if name.startswith("head.") or name.endswith(("relative_position_index", "attn_mask")):
            continue
        for theirs, ours in SWIN_NAMES:
            name = name.replace(theirs, ours)
        stage, _, rest = name.partition(".downsample.")
        state[f"{stage.replace('stages', 'merges')}.{rest}" if rest else name] = value
    expected = "expected the tensors of a Swin-T by the names of microsoft/Swin-Transformer, got others"
    load_strictly(network, state, expected)


SWIN_NAMES = (
    ("patch_embed.proj", "patch"),
    ("patch_embed.norm", "patch_norm"),
    ("layers.", "stages."),
    (".blocks.", "."),
    ("relative_position_bias_table", "bias_table"),
    ("mlp.fc1", "mlp.0"),
    ("mlp.fc2", "mlp.2"),
)
"""Piece of a name in microsoft/Swin-Transformer -> ours, in turn."""

PAPER = Paper(
    "Facial Expression Recognition using Squeeze and Excitation-powered Swin Transformers",
    "Arpita Vats, Aman Chadha",
    2023,
    "arXiv 2301.10906",
)
DIFFERS = (
    "Only the abstract was seen: the gate over the last map, its ratio of 16, the eight classes and the "
    "input of 224 px are from memory or chosen here.",
    "The gate has biases; the paper's was not seen.",
    "The start from ImageNet weights is left to the user (`load_swin`); the default starts fresh.",
    "The crop is mien's own alignment.",
)
QUICK = {"dim": 32, "depths": (1, 2, 1, 1), "drop_path": 0.0}


@register(
    paper=PAPER,
    preprocess=Preprocess(224, "mien_face_v1", "RGB", IMAGENET_MEAN, IMAGENET_STD),
    counts=Counts(
        parameters=27_600_050,
        macs=4_489_878_528,
        tolerance=0.0,
        source="counted here: parameters one by one, multiply-accumulates of matrix products and convolutions "
        "(torch.utils.flop_counter / 2). Swin-T with 1000 classes is 28,288,354 parameters in torchvision and "
        "about 4.5 G in its paper (from memory); ours is the same without the gate",
    ),
    reported=(Reported("affectnet_8", "macro_f1", 0.5420, "abstract; the eight classes are from memory"),),
    differs=DIFFERS,
    quick_options=QUICK,
)
def se_swint(
    classes: int = len(EXPRESSIONS),
    size: int = 224,
    se: bool = True,
    se_position: str = "final_map",
    se_ratio: int = 16,
    dim: int = 96,
    depths: tuple[int, int, int, int] = (2, 2, 6, 2),
    drop_path: float = 0.2,
) -> nn.Module:
    """The paper's network; `SeSwinT` says what the options are."""
    return SeSwinT(classes, size, se, se_position, se_ratio, dim, depths, drop_path)


@register(
    paper=PAPER,
    preprocess=Preprocess(112, "mien_face_v1", "RGB", IMAGENET_MEAN, IMAGENET_STD),
    counts=Counts(
        parameters=27_600_050, macs=1_178_979_840, tolerance=0.0, source="counted here, as for se_swint"
    ),
    differs=(
        *DIFFERS,
        "Input of 112 px for small budgets; the paper has no such variant. Maps of 28, 14, 7 and 4, "
        "the 7 padded to 8 before it is halved.",
    ),
    quick_options=QUICK,
)
def se_swint_112(classes: int = len(EXPRESSIONS), size: int = 112, **options: Any) -> nn.Module:
    """A quarter of the cost, for small budgets: faces of 112 px, the same weights as `se_swint`."""
    return SeSwinT(classes, size, **options)
