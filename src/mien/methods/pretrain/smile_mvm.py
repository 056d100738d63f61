"""SMILE: masked video that learns what CLIP sees in the hidden places, with pasted things that move.

Paper: Fida Mohammad Thoker, Letian Jiang, Chen Zhao, Bernard Ghanem, "SMILE: Infusing Spatial and Motion Semantics in Masked
Video Learning", CVPR 2025, arXiv 2504.00527. Official code: https://github.com/fmthoker/SMILE, MIT.

Pre-training (`SmileAutoencoder`, `pretrain`): a fifth of a clip's 1568 tubelets goes through a ViT, a small decoder says the
others' features in a frozen CLIP ViT-B/16 (`ClipTeacher`), standardised over the clip. In a first stage things are pasted
along smooth paths (`moving_things`), and the places on a path are hidden first (`path_mask`); in a second stage
nothing is pasted and the same places are hidden in each slot of time (`tube_mask`).
Downstream: the normed mean of all tokens, and a linear layer (`ClipClassifier`), as in VideoMAE.

Differs from the paper: see `DIFFERS`.

Needs: float32 (B, 3, 16, 224, 224), RGB, ImageNet mean and deviation. Gives: logits (B, classes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import OptionError, ShapeError, TrainingError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.authors import load_strictly, renamed
from mien.methods.method import Counts, Paper, Reported, register
from mien.methods.pretrain.video_mae import (
    PATCH,
    TUBELET,
    ClipClassifier,
    Decoder,
    Encoder,
    chosen,
    expect_finite,
    rates,
    start,
)
from mien.nn.clip import CLIP_MEAN, CLIP_STD, VisionTower
from mien.types.media import IMAGENET_MEAN, IMAGENET_STD, Preprocess

FRAMES, SIZE, EPS = 16, 224, 1e-6
MASKED = 0.8


def tube_mask(grid: tuple[int, int, int], random: np.random.Generator, masked: float = MASKED) -> np.ndarray:
    """Which tubelets are seen, bool (N,): the same in each slot, all but int(masked * patches) of it."""
    patches = grid[1] * grid[2]
    seen = np.ones(patches, bool)
    seen[random.permutation(patches)[: int(masked * patches)]] = False
    return np.tile(seen, grid[0])


def path_mask(
    boxes_xyxy_px: np.ndarray,
    grid: tuple[int, int, int],
    random: np.random.Generator,
    masked: float = MASKED,
    keep: str = "share",
    share: float = 0.2,
) -> np.ndarray:
    """Which tubelets are seen, bool (N,), where things move: a `tube_mask` with the paths hidden on top.

    A box of a slot is that around the boxes of its two frames, in whole patches and one more, as in the authors' code. What
    is then too many or too few is mended at random outside the paths, and only if that is not enough on them.

    Args:
        boxes_xyxy_px: (K, T, 4), of K things; see `moving_things.Path`.
        grid: tubelets along time, down and across.
        random: draws.
        masked: share of the tubelets of a slot that is hidden on average.
        keep: what stays visible of the paths: "share", so much of their tubelets, wherever; "slot", all of one
            slot that is drawn, and nothing else.
        share: see `keep`.

    Raises:
        OptionError: another `keep`.
        ShapeError: other boxes.
    """
    if keep not in ("share", "slot"):
        raise OptionError(f"expected keep to be 'share' or 'slot', got {keep!r}")
    on_path = path_patches(boxes_xyxy_px, grid)
    tube = ~tube_mask(grid, random, masked).reshape(grid)
    shown = np.zeros(grid, bool)
    if keep == "slot":
        slot = random.integers(grid[0])
        shown[slot] = on_path[slot]
    else:
        on = np.flatnonzero(on_path)
        shown.reshape(-1)[random.permutation(on)[: int(share * len(on))]] = True
    hidden = (tube | on_path) & ~shown
    too_many = int(hidden.sum()) - grid[0] * int(masked * grid[1] * grid[2])
    first, then = (
        (tube & ~on_path, on_path & ~shown) if too_many > 0 else (~tube & ~on_path, shown)
    )  # what may be changed
    order = np.concatenate([random.permutation(np.flatnonzero(part)) for part in (first, then)])
    hidden.reshape(-1)[order[: abs(too_many)]] = too_many < 0
    return ~hidden.reshape(-1)


def path_patches(boxes_xyxy_px: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    """Tubelets on a path, bool (slots, rows, columns); a slot's boxes are those of its two frames together.

    Raises:
        ShapeError: boxes that are not (K, T, 4) for the frames of the grid.
    """
    if boxes_xyxy_px.ndim != 3 or boxes_xyxy_px.shape[1:] != (grid[0] * TUBELET, 4):
        raise ShapeError(f"expected boxes (K, {grid[0] * TUBELET}, 4), got {boxes_xyxy_px.shape}")
    pairs = boxes_xyxy_px.reshape(len(boxes_xyxy_px), grid[0], TUBELET, 4)
    least = np.floor(pairs[..., :2].min(2) / PATCH).clip(0).astype(int)
    most = np.ceil(pairs[..., 2:].max(2) / PATCH).astype(int) + 1
    on_path = np.zeros(grid, bool)
    for (x1, y1), (x2, y2), slot in zip(
        least.reshape(-1, 2), most.reshape(-1, 2), np.tile(np.arange(grid[0]), len(pairs)), strict=True
    ):
        on_path[slot, y1:y2, x1:x2] = True
    return on_path


class ClipTeacher(nn.Module):
    """The frozen vision tower on the first frame of each tubelet: (B, 3, T, S, S) -> (B, N, C), the class token left out.

    Args:
        tower: of 16 px patches; put the authors' weights into it with `mien.nn.clip.from_openai`.
    """

    factor: Tensor
    offset: Tensor

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.tower = tower.requires_grad_(False).eval()
        mean, std, own_mean, own_std = (
            torch.tensor(values).view(1, 3, 1, 1)
            for values in (IMAGENET_MEAN, IMAGENET_STD, CLIP_MEAN, CLIP_STD)
        )
        self.register_buffer("factor", std / own_std, persistent=False)
        self.register_buffer("offset", (mean - own_mean) / own_std, persistent=False)

    @torch.no_grad()
    def forward(self, clips: Tensor) -> Tensor:
        """Clips with ImageNet's mean and deviation, which are changed to CLIP's here."""
        frames = clips[:, :, ::TUBELET].transpose(1, 2).flatten(0, 1)
        tokens = self.tower.tokens(frames * self.factor + self.offset)[:, 1:]
        return tokens.reshape(len(clips), -1, tokens.shape[2])


def standardised(features: Tensor) -> Tensor:
    """Each channel of (B, N, C) with mean 0 and variance 1 over the N places of a clip."""
    mean, variance = features.mean(1, keepdim=True), features.var(1, keepdim=True)
    return (features - mean) / (variance + 1e-6).sqrt()


class SmileAutoencoder(nn.Module):
    """The student: says the teacher's features of what is masked.

    Args:
        dim, depth, heads: of the encoder.
        decoder: channels, blocks and heads of the decoder.
        out: width of the teacher's features; 1536 for pixels (`video_mae.tubelets_of` is then the teacher).
        frames, size: of a clip.
    """

    def __init__(
        self,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        decoder: tuple[int, int, int] = (384, 4, 6),
        out: int = 768,
        frames: int = FRAMES,
        size: int = SIZE,
    ) -> None:
        super().__init__()
        self.encoder, self.norm = Encoder(dim, depth, heads, frames, size, EPS), nn.LayerNorm(dim, eps=EPS)
        self.narrow = nn.Linear(dim, decoder[0], bias=False)
        start(self.narrow)
        self.decoder = Decoder(*decoder, out, len(self.encoder.places), EPS)

    def forward(self, clips: Tensor, visible: Tensor) -> Tensor:
        """Features (B, M, out) of the masked tubelets, from those that are `visible`, bool (B, N)."""
        return self.decoder(self.narrow(self.norm(self.encoder(clips, visible))), visible)


def feature_loss(network: SmileAutoencoder, clips: Tensor, visible: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error at the masked places; `wanted` (B, N, out) are the standardised features of all."""
    return (network(clips, visible).float() - chosen(wanted, ~visible)).square().mean()


def pretrain(
    network: SmileAutoencoder,
    teacher: Callable[[Tensor], Tensor],
    clips: Iterable[tuple[Tensor, Tensor]],
    steps: int,
    warmup: int,
    batch_size: int = 256,
    base_lr: float = 1.5e-4,
    weight_decay: float = 0.05,
    twice: bool = True,
) -> list[float]:
    """Pre-train in place: AdamW with betas 0.9 and 0.95, linear warm-up, cosine to a fifteenth; gives the losses.

    A stage is a call: the first with pasted things and `path_mask`, the second with `tube_mask`. The authors take 150 and
    150 epochs of Kinetics-400, each clip twice an epoch, with a schedule of 801 and a warm-up of 40.

    Args:
        network: changed in place.
        teacher: clips -> (B, N, out), such as `ClipTeacher`.
        clips: batches of clips (B, 3, T, S, S) and of what is visible, bool (B, N); at least `steps` of them.
        steps, warmup: how many.
        batch_size: clips a step over all processes; the learning rate is base_lr * batch_size / 256.
        weight_decay: on weights of more than one axis.
        twice: each clip also with the mask of its neighbour in the batch; the mean loss counts.

    Raises:
        TrainingError: too few batches, or a loss that is no number.
    """
    parts = [[p for p in network.parameters() if (p.ndim > 1) == wide] for wide in (True, False)]
    groups = [{"params": part, "weight_decay": d} for part, d in zip(parts, (weight_decay, 0.0), strict=True)]
    optim = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95))
    scale = batch_size / 256
    losses: list[float] = []
    network.train()
    schedule = rates(steps, warmup, base_lr * scale, 1e-5 * scale)
    for rate, (batch, visible) in zip(schedule, clips, strict=False):
        for group in optim.param_groups:
            group["lr"] = rate
        wanted = standardised(teacher(batch).float())
        loss = feature_loss(network, batch, visible, wanted)
        if twice:
            loss = (loss + feature_loss(network, batch, visible.roll(1, 0), wanted)) / 2
        losses.append(expect_finite(loss.item(), len(losses)))
        optim.zero_grad(set_to_none=True)
        loss.backward()
        optim.step()
    if len(losses) < steps:
        raise TrainingError(f"expected {steps} batches of clips, got {len(losses)}")
    return losses


NAMES = (
    (r"^encoder\.patch_embed\.proj\.", "encoder.patch."),
    (r"^encoder\.norm\.", "norm."),
    (r"^encoder_to_decoder\.", "narrow."),
    (r"^mask_token$", "decoder.mask_token"),
    (r"^decoder\.head\.", "decoder.say."),
    (r"\.attn\.", "."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
)
"""Tensors' names in VideoMAE's pre-training, which the authors build on -> ours, in turn."""


def from_authors(network: ClipClassifier | SmileAutoencoder, state_dict: Mapping[str, Tensor]) -> None:
    """Load a pre-training checkpoint (its entry `model`) by the names of MCG-NJU/VideoMAE.

    The names are from that repository's code; no file of weights was seen. A classifier takes the encoder with its norm and
    keeps its head.

    Args:
        network: changed in place.
        state_dict: tensors by the authors' names.

    Raises:
        WeightsError: a tensor is missing, not known or of another shape.
    """
    whole = isinstance(network, SmileAutoencoder)
    state = {name: value for name, value in network.state_dict().items() if name.startswith("head.")}
    for name, value in state_dict.items():
        if whole or not name.startswith(("decoder.", "encoder_to_decoder.", "mask_token")):
            state[renamed(name, NAMES)] = value
    load_strictly(
        network, state, "expected the tensors of a SMILE by the names of MCG-NJU/VideoMAE, got others"
    )


DIFFERS = (
    "Weights are fresh unless a start is given.",
    "The teacher gets CLIP's own normalisation; the authors feed it the student's.",
    "What is pasted is to be given; the authors paste cut-out objects (PIN). The key frames, the start of a path and the "
    "Gaussian's width are ours where the paper's were not seen.",
    "Clips come from anywhere; the authors sample every fourth frame of Kinetics-400 or Something-Something V2.",
    "Each stage has a schedule of its own length; the authors stop one of 801 epochs early.",
    "The authors' script says to hide paths but for a share of 0.2; their code, as it was seen, does not pass it on and "
    "takes 0.1. Here it is 0.2.",
    "Fine-tuning here is on expressions; the authors' is on general actions.",
    "The crop is mien's own alignment, frame by frame.",
)
SHARED: dict[str, Any] = {
    "paper": Paper(
        "SMILE: Infusing Spatial and Motion Semantics in Masked Video Learning",
        "Fida Mohammad Thoker, Letian Jiang, Chen Zhao, Bernard Ghanem",
        2025,
        "arXiv 2504.00527; CVPR",
        "https://github.com/fmthoker/SMILE",
        "MIT",
    ),
    "preprocess": Preprocess(SIZE, "mien_face_v1", "RGB", IMAGENET_MEAN, IMAGENET_STD, FRAMES),
    "differs": DIFFERS,
    "quick_options": {"dim": 48, "depth": 2, "heads": 3},
}
COUNTED = "counted here, without head; VideoMAE's ViT-S and ViT-B are 22 M and 87 M (from memory), with its fixed places"


@register(
    **SHARED,
    counts=Counts(21_879_936, 56_877_911_040, 0.0, COUNTED, without=("head",)),
    reported=(
        Reported("ssv2", "accuracy", 69.1, "repository's README; 800 epochs"),
        Reported("kinetics400", "accuracy", 79.5, "repository's README; 800 epochs"),
    ),
)
def smile_mvm_s(
    classes: int = len(EXPRESSIONS),
    dim: int = 384,
    depth: int = 12,
    heads: int = 6,
    frames: int = FRAMES,
    size: int = SIZE,
    **options: Any,
) -> nn.Module:
    """ViT-S; `ClipClassifier` says what the options are."""
    return ClipClassifier(classes, dim, depth, heads, frames, size, EPS, **options)


@register(
    **SHARED,
    counts=Counts(86_227_200, 180_344_592_384, 0.0, COUNTED, without=("head",)),
    reported=(
        Reported("ssv2", "accuracy", 72.1, "repository's README; 600 epochs"),
        Reported("ssv2", "accuracy", 72.4, "repository's README; 1200 epochs"),
        Reported("kinetics400", "accuracy", 83.1, "repository's README; 600 epochs"),
        Reported("kinetics400", "accuracy", 83.4, "repository's README; 1200 epochs"),
    ),
)
def smile_mvm_b(
    classes: int = len(EXPRESSIONS),
    dim: int = 768,
    depth: int = 12,
    heads: int = 12,
    frames: int = FRAMES,
    size: int = SIZE,
    **options: Any,
) -> nn.Module:
    """ViT-B; `ClipClassifier` says what the options are."""
    return ClipClassifier(classes, dim, depth, heads, frames, size, EPS, **options)
