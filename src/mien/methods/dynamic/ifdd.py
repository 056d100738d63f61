"""IFDD: a clip's features are split into two halves in time, one lifted from the other, and the detail half answers.

Paper: "Lifting Scheme-Based Implicit Disentanglement of Emotion-Related Facial Dynamics in the Wild", AAAI 2025, arXiv
2412.13168 (title and authors from memory). Official code: CyberPegasus/IFDD, whose text says that it is not final. Shapes,
modules, losses and learning figures are facts of that repository at commit 1a1f557.

Trunk: Li et al., "MViTv2: Improved Multiscale Vision Transformers for Classification and Detection", CVPR 2022, cut from
16 blocks to 10. The names of its tensors are those of torchvision's `mvit_v2_s` (from memory), so that weights fit.

A trunk gives 8 time steps of 7 x 7 tokens. The split draws even and odd steps, each moved by learned offsets, into an
approximation and a detail. The updater smooths the approximation by what the detail says, the predictor takes from the
detail what the approximation foretells (a lifting step of wavelets). What is left of the detail is the dynamics.

Differs from the paper: see `DIFFERS`.

Needs: float32 (B, 3, T, 224, 224), T 16 or 32, RGB, CLIP's mean and deviation.
Gives: logits (B, classes); while it learns a dict with "expression" and "lifting" (B, 3, 3).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import OptionError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.authors import load_strictly
from mien.methods.method import Counts, Paper, register
from mien.methods.task import Batch, Task, soft_cross_entropy
from mien.nn.checks import expect_faces
from mien.nn.clip import CLIP_MEAN, CLIP_STD
from mien.nn.depth import StochasticDepth
from mien.types.media import Preprocess

STAGES = (1, 2, 5, 2)
"""Blocks of each stage; MViTv2-S has (1, 2, 11, 2)."""
TIMES, SIZE = 8, 224
LIFTING_WEIGHT = 1.6
"""The repository's 0.1, summed over its batch of 16, as a factor on the mean."""


class Pool(nn.Module):
    """Depthwise convolution of 3 x 3 x 3 over a head's tokens, then a norm: (B, h, 1 + N, D) -> (B, h, 1 + N', D)."""

    def __init__(self, dim: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.Conv3d(dim, dim, 3, (1, stride, stride), 1, groups=dim, bias=False)
        self.norm_act = nn.Sequential(nn.LayerNorm(dim, 1e-6))

    def forward(self, x: Tensor, side: int) -> Tensor:
        """The class token, the first one, is not pooled."""
        heads, first, rest = x.shape[1], x[:, :, :1], x[:, :, 1:]
        maps = rest.flatten(0, 1).transpose(1, 2).unflatten(-1, (TIMES, side, side))
        pooled = self.pool(maps).flatten(2).transpose(1, 2).unflatten(0, (-1, heads))
        return self.norm_act(torch.cat([first, pooled], 2))


def distances(queries: int, keys: int) -> Tensor:
    """Row of a table of offsets for each query and key along one axis, int64 (queries, keys)."""
    up_q, up_k = max(keys // queries, 1), max(queries // keys, 1)
    return torch.arange(queries)[:, None] * up_q - (torch.arange(keys)[None] + 1 - keys) * up_k


class PooledAttention(nn.Module):
    """Attention with pooled queries, keys and values and relative places: (B, 1 + N, C) -> (B, 1 + N', C')."""

    def __init__(self, dim: int, wider: int, heads: int, side: int, stride_q: int, stride_kv: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.q_side, self.k_side = side // stride_q, side // stride_kv
        own = wider // heads
        self.qkv, self.project = nn.Linear(dim, 3 * wider), nn.Sequential(nn.Linear(wider, wider))
        self.pool_q, self.pool_k, self.pool_v = (
            Pool(own, stride_q),
            Pool(own, stride_kv),
            Pool(own, stride_kv),
        )
        offsets = 2 * max(self.q_side, self.k_side) - 1
        self.rel_pos_h, self.rel_pos_w = (nn.Parameter(torch.zeros(offsets, own)) for _ in range(2))
        self.rel_pos_t = nn.Parameter(torch.zeros(2 * TIMES - 1, own))
        self.along: Tensor
        self.in_time: Tensor
        self.register_buffer("along", distances(self.q_side, self.k_side), persistent=False)
        self.register_buffer("in_time", distances(TIMES, TIMES), persistent=False)

    def relative(self, q: Tensor) -> Tensor:
        """What queries (B, h, N', D) say to the offset of each key: (B, h, N', M)."""
        grid = q.unflatten(2, (TIMES, self.q_side, self.q_side))
        down = torch.einsum("bntyxd,ykd->bntyxk", grid, self.rel_pos_h[self.along])
        across = torch.einsum("bntyxd,xkd->bntyxk", grid, self.rel_pos_w[self.along])
        later = torch.einsum("bntyxd,tkd->bntyxk", grid, self.rel_pos_t[self.in_time])
        told = later[..., :, None, None] + down[..., None, :, None] + across[..., None, None, :]
        return told.flatten(5).flatten(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        """The pooled queries are added to what is attended to."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = (
            self.pool_q(qkv[0], self.side),
            self.pool_k(qkv[1], self.side),
            self.pool_v(qkv[2], self.side),
        )
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        scores = scores + functional.pad(self.relative(q[:, :, 1:]), (1, 0, 1, 0))
        mixed = scores.softmax(-1) @ v
        mixed = mixed + functional.pad(q[:, :, 1:], (0, 0, 1, 0))
        return self.project(mixed.transpose(1, 2).flatten(2))


class MultiscaleBlock(nn.Module):
    """A block of MViTv2: (B, 1 + T N, C) -> (B, 1 + T N', C'), N a square of `side`."""

    def __init__(
        self, dim: int, wider: int, heads: int, side: int, stride_q: int, stride_kv: int, drop: float
    ) -> None:
        super().__init__()
        self.side, self.stride = side, stride_q
        self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(wider, 1e-6)
        self.attn = PooledAttention(dim, wider, heads, side, stride_q, stride_kv)
        self.mlp = nn.Sequential(
            nn.Linear(wider, 4 * wider), nn.GELU(), nn.Identity(), nn.Linear(4 * wider, wider)
        )
        self.project = nn.Linear(dim, wider) if dim != wider else None
        self.drop = StochasticDepth(drop)

    def skip(self, x: Tensor) -> Tensor:
        """The way beside the attention, as long as its queries: the largest of 3 x 3 where they are pooled."""
        if self.stride == 1:
            return x
        maps = x[:, 1:].transpose(1, 2).unflatten(-1, (TIMES, self.side, self.side))
        pooled = functional.max_pool3d(maps, (1, 3, 3), (1, self.stride, self.stride), (0, 1, 1))
        return torch.cat([x[:, :1], pooled.flatten(2).transpose(1, 2)], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then MLP; a block that widens does so in its attention."""
        normed = self.norm1(x)
        beside = x if self.project is None else self.project(normed)
        x = self.skip(beside) + self.drop(self.attn(normed))
        return x + self.drop(self.mlp(self.norm2(x)))


def multiscale_blocks(stages: tuple[int, ...], dim: int, drop: float) -> nn.ModuleList:
    """Blocks of MViTv2: each stage has twice the heads and width, half the side and half the stride of the keys."""
    blocks: list[nn.Module] = []
    side, width, total = SIZE // 4, dim, sum(stages)
    for stage, count in enumerate(stages):
        for place in range(count):
            first = stage > 0 and place == 0
            wider = dim * 2**stage
            rate = drop * len(blocks) / (total - 1)
            blocks.append(MultiscaleBlock(width, wider, 2**stage, side, 2 if first else 1, 8 >> stage, rate))
            side, width = side // 2 if first else side, wider
    return nn.ModuleList(blocks)


class Split(nn.Module):
    """Inter-frame split by content: (B, C, 8, 7, 7) -> approximation and detail, each (B, C, 4, 7, 7)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.code = nn.Conv3d(dim, 7, 1)
        self.approximate = nn.Linear(TIMES * TIMES, TIMES // 2, bias=False)
        self.detail = nn.Linear(TIMES * TIMES, TIMES // 2, bias=False)

    def places(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where the two halves are read, in steps of time, each (B, 4): even and odd ones, moved by under 2."""
        codes = functional.gelu(self.code(x)).transpose(1, 2).flatten(2)
        alike = codes @ codes.transpose(1, 2) / x.shape[1]
        near, far = alike.softmax(-1).flatten(1), (-alike).softmax(-1).flatten(1)
        even = torch.arange(0, TIMES, 2, device=x.device)
        return even + 2 * torch.tanh(self.approximate(near)), even + 1 + 2 * torch.tanh(self.detail(far))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Read both halves."""
        even, odd = self.places(x)
        return sampled(x, even), sampled(x, odd)


def sampled(x: Tensor, places: Tensor) -> Tensor:
    """A clip's features at fractional steps of time: (B, C, T, H, W), (B, K) -> (B, C, K, H, W).

    As the authors' grid sampling has it (grid 2 i / (T - 1) - 1, corners not aligned, border repeated), step i is read
    at T i / (T - 1) - 1/2: neighbours are blended even where the offset is 0.
    """
    times = x.shape[2]
    at = (places * times / (times - 1) - 0.5).clamp(0, times - 1)
    near = 1 - (at[:, :, None] - torch.arange(times, device=x.device)).abs()
    return torch.einsum("bkt,bcthw->bckhw", near.clamp(min=0), x)


class Mixing(nn.Module):
    """Self-attention with the values added to what it gives: (B, N, C) -> (B, N, C)."""

    def __init__(self, dim: int, heads: int = 8, value_residual: bool = True) -> None:
        super().__init__()
        self.heads, self.value_residual = heads, value_residual
        self.norm, self.qkv, self.proj = nn.LayerNorm(dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Norm, attend, mix."""
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        mixed = mixed + v if self.value_residual else mixed
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Ifdd(nn.Module):
    """The network of the module's text.

    Args:
        classes: outputs. frames: T, 16 or 32. dim: width of the first stage. drop: of whole branches.

    Raises:
        OptionError: another number of frames.
    """

    def __init__(self, classes: int, frames: int, dim: int, drop: float) -> None:
        super().__init__()
        if frames not in (16, 32):
            raise OptionError(f"expected 16 or 32 frames, got {frames}")
        self.frames, wide = frames, 8 * dim
        self.conv_proj = nn.Conv3d(3, dim, (3, 7, 7), (2, 4, 4), (1, 3, 3))
        self.pos_encoding = nn.ParameterDict({"class_token": nn.Parameter(torch.zeros(dim))})
        self.blocks = multiscale_blocks(STAGES, dim, drop)
        self.finer = nn.Conv3d(4 * dim, 4 * dim, (1, 3, 3), (1, 2, 2), (0, 2, 2), (1, 2, 2), bias=False)
        self.joined = nn.Conv3d(12 * dim, wide, 1, bias=False)
        self.split = Split(wide)
        self.updater, self.predictor = Mixing(wide), Mixing(wide)
        self.refine, self.refine_norm = Mixing(wide, value_residual=False), nn.LayerNorm(wide)
        self.refine_mlp = nn.Sequential(nn.Linear(wide, 4 * wide), nn.GELU(), nn.Linear(4 * wide, wide))
        self.drop = StochasticDepth(drop)
        self.compress = nn.Linear(TIMES // 2 * 49, 1, bias=False)
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(wide, classes)
        self.apply(_start)
        nn.init.trunc_normal_(self.pos_encoding["class_token"], std=0.02)
        nn.init.normal_(self.head.weight, std=0.01)

    def stem(self, x: Tensor) -> Tensor:
        """(B, 3, T, 224, 224) -> (B, C, 8, 56, 56), for 16 frames and for 32."""
        expect_faces(x, 3, SIZE, frames=self.frames)
        x = self.conv_proj(x)
        return x if self.frames == 2 * TIMES else functional.avg_pool3d(x, (2, 1, 1))

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The last maps of the third and of the fourth stage: (B, 4C, 8, 14, 14) and (B, 8C, 8, 7, 7)."""
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.pos_encoding["class_token"].expand(x.shape[0], 1, -1), tokens], 1)
        kept: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index in (sum(STAGES[:3]) - 1, sum(STAGES) - 1):
                side = 14 if not kept else 7
                kept.append(tokens[:, 1:].transpose(1, 2).unflatten(-1, (TIMES, side, side)))
        return kept[0], kept[1]

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The clip's dynamics (B, 8C), and what lifting should keep at 0, (B, 3, 3)."""
        third, fourth = self.maps(x)
        whole = self.joined(torch.cat([self.finer(third), fourth], 1))
        smooth, detail = (half.flatten(2).transpose(1, 2) for half in self.split(whole))
        smooth = smooth + self.updater(detail)
        detail = detail - self.predictor(smooth)
        detail = detail + self.drop(self.refine(detail))
        detail = self.drop(self.refine_mlp(self.refine_norm(detail)))
        pooled = self.compress(detail.transpose(1, 2))[..., 0]
        return pooled, _kept_mean(whole, smooth) if self.training else pooled.new_zeros(())

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """Logits (B, classes)."""
        features, lifting = self.features(x)
        logits = self.head(self.dropout(features))
        return {"expression": logits, "lifting": lifting} if self.training else logits


def _kept_mean(whole: Tensor, smooth: Tensor) -> Tensor:
    """Difference of the pooled clip (B, C, 8, 7, 7) and its pooled approximation (B, 196, C), mean of time and channels."""
    half = smooth.transpose(1, 2).unflatten(-1, (TIMES // 2, 7, 7))
    grid = (TIMES // 2, 3, 3)
    gap = functional.adaptive_avg_pool3d(whole, grid) - functional.adaptive_avg_pool3d(half, grid)
    return gap.mean((1, 2))


def _start(module: nn.Module) -> None:
    """Truncated normal weights of deviation 0.02, biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def load_kinetics(network: Ifdd, tensors: Mapping[str, Tensor]) -> None:
    """Start stem, class token and blocks 0 to 7 from torchvision's `mvit_v2_s` (Kinetics-400), in place.

    Args:
        network: its other parts keep their values.
        tensors: by torchvision's names; all that belong to these parts must be there (`strict=True`).
    """
    parts = ("conv_proj.", "pos_encoding.", *(f"blocks.{index}." for index in range(sum(STAGES[:3]))))
    wanted = {name: value for name, value in tensors.items() if name.startswith(parts)}
    kept = {name: value for name, value in network.state_dict().items() if not name.startswith(parts)}
    load_strictly(network, {**kept, **wanted}, "expected the tensors of torchvision's mvit_v2_s")


class IfddTask(Task):
    """Cross-entropy with soft targets, and the approximation keeps the clip's mean."""

    def loss(self, batch: Batch) -> Tensor:
        """Scalar loss of a batch of clips."""
        output = self.network(batch.images)
        if not isinstance(output, dict):
            return soft_cross_entropy(output, batch.targets, batch.class_weights)
        loss = soft_cross_entropy(output["expression"], batch.targets, batch.class_weights)
        gap = output["lifting"]
        return loss + LIFTING_WEIGHT * functional.smooth_l1_loss(gap, torch.zeros_like(gap))


DIFFERS = (
    "Weights are fresh without `load_kinetics`; the authors start stem and blocks 0 to 7 from MViTv2-S on Kinetics-400.",
    "The weight of the lifting loss does not grow with the batch: 0.1 times the authors' batch of 16, on the mean.",
    "What the repository calls x_skip in that loss is taken to be the clip before it is split.",
    "Frames are drawn by segments over the whole clip, also for MAFW, where the authors take 32 frames with a stride of 2.",
    "mien's views in place of perspective and colour jitter; the crop is mien's own alignment.",
)


@register(
    paper=Paper(
        "Lifting Scheme-Based Implicit Disentanglement of Emotion-Related Facial Dynamics in the Wild",
        "Xingjian Wang, Li Chai",
        2025,
        "arXiv 2412.13168; title and authors from memory",
        "https://github.com/CyberPegasus/IFDD",
    ),
    preprocess=Preprocess(SIZE, "mien_face_v1", "RGB", CLIP_MEAN, CLIP_STD, 16),
    counts=Counts(
        parameters=37_530_962,
        macs=47_859_402_624,
        tolerance=0.0,
        source="counted here; no figure of the authors is known. The trunk's blocks as MViTv2-S count as torchvision's",
    ),
    labels=EXPRESSIONS[:7],
    differs=DIFFERS,
    task=IfddTask,
    quick_options={"dim": 16},
)
def ifdd(classes: int = 7, frames: int = 16, dim: int = 96, drop: float = 0.2) -> nn.Module:
    """The paper's network, "XS"; `Ifdd` says what the options are."""
    return Ifdd(classes, frames, dim, drop)
