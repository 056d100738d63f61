"""MPFNet: two encoders of motion, one general and one of magnified motion, whose answers are fused by nearest prototypes.

Paper: Chuang Ma and others, "MPFNet: A Multi-Prior Fusion Network with a Progressive Training Strategy for
Micro-Expression Recognition", 2025, arXiv 2506.09735 (title and authors from memory).
Code: https://github.com/Mac0504/MPFNet, a sketch whose sizes do not fit together. What stands here is from a
description of both; sizes that the sketch leaves open are set here, see `DIFFERS`. No checkpoint was seen.

Needs: float32 (B, 50, S, S), S a multiple of 16, planned as 128: ten time steps in turn of five channels, u, v, strain,
the change since onset and the change since the step before (`mien.transforms.flow.motion_steps`), each 0 to 255 brought
to -1 to 1. Gives: logits (B, K), the fused cosines.

Trained in three stages: "gfe", the general encoder by triplets; "afe", the other by cross-entropy, on magnified clips;
"both", the two together on episodes. Each starts from the run before (`--set start=RUN`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import OptionError, ShapeError
from mien.labels.micro import MICRO
from mien.methods.method import Counts, Paper, Reported, register
from mien.methods.task import Batch, Task, soft_cross_entropy
from mien.nn.checks import expect_faces
from mien.types.media import Preprocess

STEPS, CHANNELS = 10, 5
SIZE = 128
SHOTS, QUERIES = 5, 1
"""Of each class in an episode: those that make the prototype, and those that ask."""
ADVANCED_WEIGHT = 0.1
MARGIN = 1.0
GRID = 4
SHRUNK = 4 * GRID
STAGES = ("gfe", "afe", "both")
MOMENTUM = 0.9
"""How much of a stored prototype stays at each step of training."""


class Gates(nn.Module):
    """What a map is weighed by: a gate a channel and a gate a place, each 1 x 1 x 1 convolutions and a sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(4, channels // 16)
        self.channel, self.place = (
            nn.Sequential(nn.Conv3d(channels, hidden, 1), nn.ReLU(), nn.Conv3d(hidden, outputs, 1))
            for outputs in (channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W), shape kept."""
        gate = torch.sigmoid(self.channel(x.mean((2, 3, 4), keepdim=True)))
        return x * gate * torch.sigmoid(self.place(x))


class Mixed(nn.Module):
    """A narrow, a wide and no convolution side by side, then gates: (B, I, T, H, W) -> (B, 2 O + I, T, H, W)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.narrow, self.wide = (
            nn.Sequential(
                nn.Conv3d(channels, width, side, padding=side // 2, bias=False),
                nn.BatchNorm3d(width),
                nn.ReLU(),
            )
            for side in (1, 3)
        )
        self.gates = Gates(2 * width + channels)

    def forward(self, x: Tensor) -> Tensor:
        """The third branch is a pooling with stride 1."""
        pooled = functional.max_pool3d(x, 3, 1, 1)
        return self.gates(torch.cat([self.narrow(x), self.wide(x), pooled], 1))


class Encoder(nn.Module):
    """CA-I3D: three gated blocks with poolings between them: (B, C, T, S, S) -> (B, 4 w, T / 4, S / 4, S / 4)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(channels, width, 3, padding=1, bias=False), nn.BatchNorm3d(width), nn.ReLU()
        )
        self.blocks = nn.ModuleList()
        channels = width
        for factor in (1, 2, 4):
            self.blocks.append(Mixed(channels, factor * width))
            channels += 2 * factor * width
        self.project = nn.Conv3d(channels, 4 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Widths as in the sketch: 3 w, 7 w and 15 w channels after the blocks, then 4 w."""
        x = self.stem(x)
        for index, block in enumerate(self.blocks):
            x = block(functional.max_pool3d(x, 2) if index else x)
        return self.project(x)


def as_vector(maps: Tensor) -> Tensor:
    """Means over 4 x 4 parts of each step, flat: (B, C, T, H, W) -> (B, 16 C T)."""
    return maps.unflatten(3, (GRID, -1)).unflatten(5, (GRID, -1)).mean((4, 6)).flatten(1)


class MpfNet(nn.Module):
    """The network; see the module's text.

    Args:
        classes: K.
        cascade: the second encoder sees the first one's map beside the input, and alone decides; else both decide.
        stage: "gfe", "afe" or "both"; encoders that a stage does not train are frozen.
        width: channels of the stem.
        advanced_weight: of the second encoder's cosines beside the first one's; 0 leaves the first alone.

    Raises:
        OptionError: another stage.
    """

    general_prototypes: Tensor
    advanced_prototypes: Tensor

    def __init__(
        self,
        classes: int = len(MICRO),
        cascade: bool = False,
        stage: str = "both",
        width: int = 64,
        advanced_weight: float = ADVANCED_WEIGHT,
    ) -> None:
        super().__init__()
        if stage not in STAGES:
            raise OptionError(f"expected a stage of {', '.join(STAGES)}, got {stage!r}")
        self.cascade, self.stage, self.advanced_weight = cascade, stage, advanced_weight
        self.gfe = Encoder(CHANNELS, width)
        self.afe = Encoder((2 if cascade else 1) * CHANNELS, width)
        self.narrow = nn.Conv3d(4 * width, CHANNELS, 1) if cascade else None
        size = 4 * width * (STEPS // 4) * GRID**2
        for name in ("general_prototypes", "advanced_prototypes"):
            self.register_buffer(name, torch.randn(classes, size))
        if stage == "afe":
            self.head = nn.Linear(size, classes)
        if stage != "both":
            left = [self.afe, self.narrow] if stage == "gfe" else [self.gfe]
            for module in filter(None, left):
                module.requires_grad_(False)
        self.explain_layer = (
            "gfe.project" if stage == "gfe" or (stage == "both" and not cascade) else "afe.project"
        )

    def steps(self, x: Tensor) -> Tensor:
        """(B, 50, S, S) -> (B, 5, 10, S, S)."""
        expect_faces(x, STEPS * CHANNELS, least=SHRUNK)
        if x.shape[2] % SHRUNK or x.shape[3] % SHRUNK:
            raise ShapeError(
                f"expected faces with sides that are multiples of {SHRUNK}, got {tuple(x.shape)}"
            )
        return x.unflatten(1, (STEPS, CHANNELS)).transpose(1, 2)

    def vectors(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """General and advanced features (B, D) of (B, 50, S, S); stage "gfe" has no second."""
        clip = self.steps(x)
        general = self.gfe(clip)
        if self.stage == "gfe":
            return as_vector(general), None
        if self.narrow is not None:
            told = functional.interpolate(self.narrow(general), clip.shape[2:])
            clip = torch.cat([clip, told], 1)
        return as_vector(general), as_vector(self.afe(clip))

    def explain_maps(self, output: Tensor) -> Tensor:
        """The mean over time: (B, C, T, h, w) -> (B, C, h, w)."""
        return output.mean(2)

    def fused(self, general: Tensor, advanced: Tensor | None) -> Tensor:
        """One score (..., K) from the cosines of both encoders; cascade and single stages have one of them."""
        if advanced is None:
            return general
        return advanced if self.cascade else general + self.advanced_weight * advanced

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K): fused cosines to the stored prototypes; in stage "afe" those of its linear layer."""
        general, advanced = self.vectors(x)
        if self.stage == "afe":
            return self.head(advanced)
        near = cosines(general, self.general_prototypes)
        return self.fused(near, None if advanced is None else cosines(advanced, self.advanced_prototypes))

    @torch.no_grad()
    def remember(self, vectors: Sequence[Tensor | None], targets: Tensor, keep: float = 0.0) -> None:
        """Move the stored prototypes to the class means of some features.

        Args:
            vectors: what `vectors` gave, (B, D) each.
            targets: (B, K), 1 at the class; rows of zeros teach nothing.
            keep: share of the old prototype that stays; a class that is not there stays whole.
        """
        there = targets.sum(0) > 0
        for stored, features in zip(
            (self.general_prototypes, self.advanced_prototypes), vectors, strict=True
        ):
            if features is not None:
                mean = prototypes(features, targets).to(stored)
                stored[there] = keep * stored[there] + (1 - keep) * mean[there]


def prototypes(features: Tensor, targets: Tensor) -> Tensor:
    """The mean feature of each class: (B, D) and (B, K) of 1 and 0 -> (K, D); 0 for a class that is not there."""
    return targets.T @ features / targets.sum(0).clamp(min=1)[:, None]


def cosines(features: Tensor, wanted: Tensor) -> Tensor:
    """(B, D) and prototypes (K, D), or (B, K, D) where each has its own -> (B, K) in [-1, 1]."""
    return functional.cosine_similarity(features[:, None], wanted, dim=-1)


def others_prototypes(features: Tensor, targets: Tensor) -> Tensor:
    """Each item's own prototypes (B, K, D): class means over all other items, since none may ask itself."""
    sums, counts = targets.T @ features, targets.sum(0)
    left = sums - targets[:, :, None] * features[:, None]
    return left / (counts - targets).clamp(min=1)[:, :, None]


def triplet_loss(features: Tensor, labels: Tensor, margin: float = MARGIN) -> Tensor:
    """Mean over all triplets of max(0, d(a, p) - d(a, n) + margin), d Euclidean; 0 without a triplet.

    Args:
        features: (B, D).
        labels: (B,), -1 where not known.
    """
    apart = torch.cdist(features, features)
    known = (labels >= 0)[:, None] & (labels >= 0)
    same = (labels[:, None] == labels) & known
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    triplets = positive[:, :, None] & (known & ~same)[:, None]
    over = torch.relu(apart[:, :, None] - apart[:, None] + margin)
    return torch.where(triplets, over, 0.0).sum() / triplets.sum().clamp(min=1)


class MpfNetTask(Task):
    """Triplets in stage "gfe", cross-entropy in "afe", episodes in "both".

    An episode is a batch: each item asks the prototypes of all others, so that with six of a class it meets five, as
    in 5-shot episodes with one query. Items whose class has no other in the batch are left out.
    """

    def loss(self, batch: Batch) -> Tensor:
        """Scalar training loss of a batch; while it trains, the stored prototypes follow."""
        network: Any = self.network
        if network.stage == "afe":
            return soft_cross_entropy(self.logits(batch.images), batch.targets, batch.class_weights)
        vectors = network.vectors(batch.images)
        known = batch.targets.sum(1) > 0
        labels = torch.where(known, batch.targets.argmax(1), -1)
        hard = functional.one_hot(labels.clamp(min=0), batch.targets.shape[1]).float() * known[:, None]
        if network.training:
            network.remember(vectors, hard, MOMENTUM)
        if network.stage == "gfe":
            return triplet_loss(vectors[0], labels)
        near = [cosines(one, others_prototypes(one, hard)) for one in vectors]
        scores = network.fused(*near)
        met = (hard.sum(0) - hard) > 0
        taught = hard * met  # an item alone in its class meets no prototype of its own
        return soft_cross_entropy(scores.masked_fill(~met, -1e4), taught, batch.class_weights)


PAPER = Paper(
    "MPFNet: A Multi-Prior Fusion Network with a Progressive Training Strategy for Micro-Expression Recognition",
    "Chuang Ma and others (from memory)",
    2025,
    "arXiv 2506.09735",
    "https://github.com/Mac0504/MPFNet",
)
DIFFERS = (
    "The authors' code is a sketch with sizes that do not fit: batch norms, the gates' hidden width, the projection to 256 "
    "channels and the means over 4 x 4 parts before the vector are set here.",
    "Which five channels are meant is not known: u, v, strain, the change since onset and since the step before.",
    "The gates are the sketch's (channel and place); coordinate attention proper pools along each axis.",
    "Episodes are batches in which each item asks all others; to answer, the network keeps class prototypes that follow "
    "the training batches (momentum 0.9). Prototypes are means of each class; the sketch averages over all.",
    "In the cascade, the first encoder's map is brought to five channels and to the input's size.",
    "Learned motion magnification and frame interpolation are left to the user: give magnified clips to stage afe.",
)
PREPROCESS = Preprocess(
    SIZE, "none", "MOTION10", (127.5,) * STEPS * CHANNELS, (127.5,) * STEPS * CHANNELS
)  # fmt: skip
SHARED: dict[str, Any] = {
    "paper": PAPER, "preprocess": PREPROCESS, "labels": MICRO, "differs": DIFFERS, "task": MpfNetTask,
    "quick_options": {"width": 4},
}  # fmt: skip
PAGE = "paper's page (from a description of it)"


@register(
    **SHARED,
    counts=Counts(8_979_806, 84_268_133_376, 0.0, "counted here"),
    reported=(
        Reported("smic", "accuracy", 81.1, PAGE),
        Reported("casme2", "accuracy", 92.4, PAGE),
        Reported("samm", "accuracy", 85.7, PAGE),
    ),
)
def mpfnet_p(classes: int = len(MICRO), stage: str = "both", width: int = 64) -> nn.Module:
    """Parallel: both encoders' cosines are added, the second with a weight of 0.1."""
    return MpfNet(classes, False, stage, width)


@register(**SHARED, counts=Counts(8_989_731, 85_686_332_416, 0.0, "counted here"))
def mpfnet_c(classes: int = len(MICRO), stage: str = "both", width: int = 64) -> nn.Module:
    """Cascade: the second encoder sees what the first one found, and decides."""
    return MpfNet(classes, True, stage, width)
