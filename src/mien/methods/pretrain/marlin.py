"""MARLIN: a masked autoencoder of face video that hides the parts of the face first, against a discriminator.

Paper: Zhixi Cai, Shreya Ghosh, Kalin Stefanov, Abhinav Dhall, Jianfei Cai, Hamid Rezatofighi, Reza Haffari, Munawar Hayat,
"MARLIN: Masked Autoencoder for facial video Representation LearnINg", CVPR 2023, arXiv 2211.06627.
Official code: https://github.com/ControlNet/MARLIN, CC BY-NC 4.0; facts and tensors' names are from there.

Pre-training (`MarlinAutoencoder`, `pretrain`): 156 of a clip's 1568 tubelets go through a ViT, a small decoder says the
pixels of the others. Which are seen is decided by a parsing of the face ("fasking", `visible_tubelets`): background and skin
before eyes, nose, mouth and hair. A discriminator on single tubelets must tell said from real pixels (Wasserstein).
Downstream: the normed mean of all tokens, and a linear layer (`ClipClassifier`); trained whole, or the layer alone.

Differs from the paper: see `DIFFERS`.

Needs: float32 (B, 3, 16, 224, 224), RGB in [0, 1]. Gives: logits (B, classes).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import OptionError, ShapeError, TrainingError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.authors import load_strictly, renamed
from mien.methods.method import Counts, Paper, register
from mien.methods.pretrain.video_mae import (
    PATCH,
    PIXELS,
    ClipClassifier,
    Decoder,
    Encoder,
    chosen,
    expect_finite,
    rates,
    start,
    tubelets_of,
)
from mien.transforms.face_maps import UNTOLD
from mien.types.media import Preprocess

FRAMES, SIZE, EPS = 16, 224, 1e-5
MASKED = 0.9
STRATEGIES = ("fasking", "tube", "frame", "random")
COMPONENTS = ((2, 4), (3, 5), (6,), (7, 8, 9), (10,))
"""Classes of a LaPa parsing that are seen last, in an order drawn anew: an eye with its brow, the other, nose, mouth, hair."""


def visible_tubelets(
    parsing: np.ndarray | None,
    grid: tuple[int, int, int],
    random: np.random.Generator,
    strategy: str = "fasking",
    masked: float = MASKED,
) -> np.ndarray:
    """Which tubelets of a clip are seen, bool (N,), int((1 - masked) N) of them.

    "fasking": slot by slot, region after region, every patch that a region touches is seen, until a share of 1 - masked is.
    Then single tubelets are hidden at random until the number is right. A slot whose parsing tells nothing starts all seen.
    "tube": the same patches in all slots; "frame": whole slots; "random": any.

    Args:
        parsing: uint8 (slots, S, S), classes of LaPa in the first frame of each tubelet, as
            `mien.transforms.face_maps.parsing_map` gives them; `None` for the other strategies.
        grid: tubelets along time, down and across.
        random: draws the order of the components and what is hidden.
        strategy: of `STRATEGIES`.
        masked: share that is hidden.

    Raises:
        OptionError: another strategy, or "fasking" without a parsing.
        ShapeError: a parsing of another size, or with other classes.
    """
    if strategy not in STRATEGIES or (strategy == "fasking") != (parsing is not None):
        raise OptionError(
            f"expected a strategy of {', '.join(STRATEGIES)}, and a parsing with fasking alone, got {strategy!r} "
            f"and {'no' if parsing is None else 'a'} parsing"
        )
    slots, patches = grid[0], grid[1] * grid[2]
    share = 1 - masked
    if parsing is not None:
        seen = _by_regions(parsing, grid, random, share)
    elif strategy == "tube":
        seen = np.zeros((slots, patches), bool)
        seen[:, random.permutation(patches)[: math.ceil(patches * share - 1e-9)]] = True
    elif strategy == "frame":
        seen = np.zeros((slots, patches), bool)
        seen[random.permutation(slots)[: math.ceil(slots * share - 1e-9)]] = True
    else:
        seen = np.ones((slots, patches), bool)
    flat = seen.reshape(-1)
    some = np.flatnonzero(flat)
    flat[random.permutation(some)[int(flat.size * share + 1e-9) :]] = False
    return flat


def _by_regions(
    parsing: np.ndarray, grid: tuple[int, int, int], random: np.random.Generator, share: float
) -> np.ndarray:
    """Patches (slots, patches) that the first regions touch, at least `share` of each slot."""
    if parsing.shape != (grid[0], grid[1] * PATCH, grid[2] * PATCH):
        raise ShapeError(
            f"expected a parsing ({grid[0]}, {grid[1] * PATCH}, {grid[2] * PATCH}), got {parsing.shape}"
        )
    queue = [(0,), (1,), *(COMPONENTS[index] for index in random.permutation(len(COMPONENTS)))]
    blocks = parsing.reshape(grid[0], grid[1], PATCH, grid[2], PATCH)
    seen = np.zeros(grid, bool)
    for slot, classes in enumerate(blocks):
        if (classes == UNTOLD).all():
            seen[slot] = True
        for number in (number for region in queue for number in region):
            if seen[slot].mean() >= share:
                break
            seen[slot] |= (classes == number).any((1, 3))
        if seen[slot].mean() < share:
            raise ShapeError(
                f"expected classes 0 to 10 in slot {slot}, or {UNTOLD} all over, got {np.unique(classes).tolist()[:12]}"
            )
    return seen.reshape(grid[0], -1)


class MarlinAutoencoder(nn.Module):
    """The generator: says the pixels of what is masked.

    Args:
        dim, depth, heads: of the encoder.
        decoder: channels, blocks and heads of the decoder.
        frames, size: of a clip.
    """

    def __init__(
        self,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        decoder: tuple[int, int, int] = (384, 4, 6),
        frames: int = FRAMES,
        size: int = SIZE,
    ) -> None:
        super().__init__()
        self.encoder, self.norm = Encoder(dim, depth, heads, frames, size, EPS), nn.LayerNorm(dim, eps=EPS)
        self.narrow = nn.Linear(dim, decoder[0], bias=False)
        start(self.narrow)
        self.decoder = Decoder(*decoder, PIXELS, len(self.encoder.places), EPS)

    def forward(self, clips: Tensor, visible: Tensor) -> Tensor:
        """Pixels (B, M, 1536) of the masked tubelets, from those that are `visible`, bool (B, N)."""
        return self.decoder(self.narrow(self.norm(self.encoder(clips, visible))), visible)


class Discriminator(nn.Sequential):
    """One score a tubelet, higher for real pixels: (B, M, 1536) -> (B, M, 1)."""

    def __init__(self, hidden: int = 1536) -> None:
        super().__init__(nn.Linear(PIXELS, hidden), nn.LeakyReLU(), nn.Linear(hidden, 1))


def discriminator_loss(judge: nn.Module, said: Tensor, real: Tensor) -> Tensor:
    """Mean score of the said pixels less that of the real ones; the generator gets no gradient."""
    return judge(said.detach()).mean() - judge(real).mean()


def generator_loss(
    judge: nn.Module, said: Tensor, real: Tensor, weight: float = 0.01
) -> tuple[Tensor, Tensor]:
    """Mean squared error of the pixels, plus `weight` times the negative mean score; and the error alone."""
    error = (said - real).square().mean()
    return error - weight * judge(said).mean(), error


def pretrain(
    network: MarlinAutoencoder,
    judge: Discriminator,
    clips: Iterable[tuple[Tensor, Tensor]],
    steps: int,
    warmup: int,
    batch_size: int = 64,
    base_lr: float = 1.5e-4,
    weight: float = 0.01,
) -> list[float]:
    """Pre-train both in place, a step of the discriminator before each of the autoencoder; gives the errors of pixels.

    AdamW with betas 0.9 and 0.95 without decay, linear warm-up, cosine to a fifteenth of the peak. The authors take 2000
    epochs of YouTubeFaces with a warm-up of 40. Store `network.state_dict()` as safetensors, and start a recipe from it:
    `--set start=FILE`.

    Args:
        network, judge: changed in place.
        clips: batches of clips (B, 3, T, S, S) and of what is visible, bool (B, N); at least `steps` of them.
        steps, warmup: how many.
        batch_size: clips a step over all processes; the learning rate is base_lr * batch_size / 256.
        weight: of the discriminator's score.

    Raises:
        TrainingError: too few batches, or a loss that is no number.
    """
    both = [
        torch.optim.AdamW(part.parameters(), betas=(0.9, 0.95), weight_decay=0.0) for part in (judge, network)
    ]
    scale = batch_size / 256
    errors: list[float] = []
    network.train()
    schedule = rates(steps, warmup, base_lr * scale, 1e-5 * scale)
    for rate, (batch, visible) in zip(schedule, clips, strict=False):
        for group in (group for optim in both for group in optim.param_groups):
            group["lr"] = rate
        real, said = chosen(tubelets_of(batch), ~visible), network(batch, visible)
        both[0].zero_grad(set_to_none=True)
        discriminator_loss(judge, said, real).backward()
        both[0].step()
        loss, error = generator_loss(judge, said, real, weight)
        errors.append(expect_finite(error.item(), len(errors)))
        both[1].zero_grad(set_to_none=True)
        loss.backward()
        both[1].step()
    if len(errors) < steps:
        raise TrainingError(f"expected {steps} batches of clips, got {len(errors)}")
    return errors


NAMES = (
    (r"^encoder\.patch_embedding\.projection\.", "encoder.patch."),
    (r"^encoder\.norm\.", "norm."),
    (r"^enc_dec_proj\.", "narrow."),
    (r"^decoder\.head\.", "decoder.say."),
    (r"\.attn\.", "."),
    (r"\.mlp\.layers\.0\.linear\.", ".mlp.0."),
    (r"\.mlp\.layers\.1\.linear\.", ".mlp.2."),
)
"""Tensors' names in ControlNet/MARLIN -> ours, in turn."""


def from_authors(network: ClipClassifier | MarlinAutoencoder, state_dict: Mapping[str, Tensor]) -> None:
    """Load a checkpoint of ControlNet/MARLIN, of the encoder alone or of the whole autoencoder.

    The names are from that repository's code; no file of weights was seen. A classifier takes the encoder and keeps its
    head. The fixed places, and a training checkpoint's discriminator, are left out.

    Args:
        network: changed in place.
        state_dict: tensors by the authors' names.

    Raises:
        WeightsError: a tensor is missing, not known or of another shape.
    """
    dropped = (
        "discriminator.",
        *(() if isinstance(network, MarlinAutoencoder) else ("decoder.", "enc_dec_proj.")),
    )
    state = {name: value for name, value in network.state_dict().items() if name.startswith("head.")}
    for name, value in state_dict.items():
        if not name.startswith(dropped) and not name.endswith("pos_embedding.emb"):
            state[renamed(name, NAMES)] = value
    load_strictly(
        network, state, "expected the tensors of a MARLIN by the names of ControlNet/MARLIN, got others"
    )


PAPER = Paper(
    "MARLIN: Masked Autoencoder for facial video Representation LearnINg",
    "Zhixi Cai, Shreya Ghosh, Kalin Stefanov, Abhinav Dhall, Jianfei Cai, Hamid Rezatofighi, Reza Haffari, Munawar Hayat",
    2023,
    "arXiv 2211.06627; CVPR",
    "https://github.com/ControlNet/MARLIN",
    "CC BY-NC 4.0",
)
DIFFERS = (
    "Weights are fresh unless a start is given; the authors start their pre-training from a VideoMAE that is no longer "
    "distributed.",
    "The parsing is to be given. `mien.transforms.face_maps` makes a coarse one of 68 points, without hair; the authors "
    "use FaRL's.",
    "The discriminator's step leaves the autoencoder alone; in the authors' code its gradients are computed and cleared.",
    "One pass of the autoencoder serves both steps, theirs computes it again; the learning rate moves each step, theirs "
    "each epoch.",
    "No gradient penalty: its weight is 0 in the authors' configuration.",
    "Fine-tuning here is on expressions; the authors' sets (CelebV-HQ, CMU-MOSEI, FF++, LRS2) are not in mien.",
    "The crop is mien's own alignment, frame by frame.",
)
SHARED: dict[str, Any] = {
    "paper": PAPER,
    "preprocess": Preprocess(SIZE, "mien_face_v1", "RGB", (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), FRAMES),
    "differs": DIFFERS,
    "quick_options": {"dim": 48, "depth": 2, "heads": 3},
}


def _counts(parameters: int, published: str, macs: int, published_macs: str) -> Counts:
    return Counts(
        parameters,
        macs,
        0.0,
        f"authors' README: {published} M, which is ours and the fixed places, no parameters here; {published_macs} G, "
        "which leaves out the products for queries, keys and values and attention's own",
        without=("head",),
    )


@register(**SHARED, counts=_counts(21_879_936, "22.48", 56_877_911_040, "25.96"))
def marlin_s(
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


@register(**SHARED, counts=_counts(86_227_200, "87.43", 180_344_592_384, "101.85"))
def marlin_b(
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


@register(**SHARED, counts=_counts(303_860_736, "305.47", 596_832_690_176, "357.92"))
def marlin_l(
    classes: int = len(EXPRESSIONS),
    dim: int = 1024,
    depth: int = 24,
    heads: int = 16,
    frames: int = FRAMES,
    size: int = SIZE,
    **options: Any,
) -> nn.Module:
    """ViT-L; `ClipClassifier` says what the options are."""
    return ClipClassifier(classes, dim, depth, heads, frames, size, EPS, **options)
