"""FineCLIPER: a frozen CLIP with adapters over frames, face parts and landmarks, against what a face shows and what opposes it.

Paper: Haodong Chen, Haojian Huang, Junhao Dong, Mingzhe Zheng, Dian Shao, "FineCLIPER: Multi-modal Fine-grained CLIP for
Dynamic Facial Expression Recognition with AdaptERs", ACM MM 2024, arXiv 2407.02157. No code was to be had: what is not in
the abstract is from memory. Adapters: Yang et al., "AIM: Adapting Image Models for Efficient Video Action Recognition",
ICLR 2023, arXiv 2302.03024.

Low level: frames. Middle level: a picture of the face's parts and one of its 68 points for each frame. All three go through
one frozen vision tower (ViT-B/16), each with its own adapters, and are weighed together. High level: a sentence about the
clip, where training has one. A class is two sentences behind learned words, what it shows and what opposes it; its score is
cos(clip, shows) - lambda cos(clip, opposes).

Differs from the paper: see `DIFFERS`.

Needs: float32 (B, 9, 16, 224, 224): RGB of frames, of parts and of points (`mien.transforms.face_maps`), CLIP's mean and
deviation; `finecliper_frames` the first three channels alone. Gives: {"expression": logits (B, K)}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import OptionError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.dynamic.clip_prompts import Prompts, Sentence, sentences_for
from mien.methods.method import Counts, Paper, Reported, register
from mien.methods.task import Batch, Task, soft_cross_entropy
from mien.nn.checks import expect_faces
from mien.nn.clip import BEGIN, CLIP_MEAN, CLIP_STD, ClipBlock, ClipSizes, TextTower, VisionTower
from mien.types.media import Preprocess

FRAMES, SIZE, SCALE = 16, 224, 100.0
"""SCALE is the factor from cosines to logits, at which CLIP's own was held."""
SEVEN = EXPRESSIONS[:7]
"""The classes of DFEW, FERV39k and AFEW, in mien's order."""


class Adapter(nn.Module):
    """A bottleneck that gives 0 at the start: (..., C) -> (..., C)."""

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        hidden = max(1, round(width * ratio))
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Down, GELU, up."""
        return self.up(functional.gelu(self.down(x)))


class VisionAdapters(nn.Module):
    """Three adapters a block: over time, over places, beside the perceptron."""

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        self.time, self.space, self.joint = (Adapter(width, ratio) for _ in range(3))

    def forward(self, block: ClipBlock, x: Tensor, frames: int) -> Tensor:
        """A frozen block with its adapters: (B * T, N, C) -> (B * T, N, C).

        Time: each place attends over the frames with the block's own weights, and what the adapter makes of that is added.
        """
        over_time = block.norm1(x).unflatten(0, (-1, frames)).transpose(1, 2)  # (B, N, T, C)
        mixed = self.time(block.attend(over_time.flatten(0, 1))).unflatten(0, over_time.shape[:2])
        x = x + mixed.transpose(1, 2).flatten(0, 1)
        mixed = block.attend(block.norm1(x))
        x = x + mixed + self.space(mixed)
        normed = block.norm2(x)
        return x + block.perceive(normed) + 0.5 * self.joint(normed)


class FineCliper(nn.Module):
    """The network.

    Args:
        shows, opposes: token numbers of the classes' sentences, without marks.
        maps: whether parts and points are seen too.
        against: lambda; 0 asks only for what a class shows.
        learned: words in front of each sentence.
        ratio: of the adapters' bottlenecks.
        frames: T.
        sizes: of CLIP; ViT-B/16 where left out.

    Raises:
        OptionError: a negative lambda, or a ratio outside (0, 1].
    """

    def __init__(
        self,
        shows: Sequence[Sequence[int]],
        opposes: Sequence[Sequence[int]],
        maps: bool = True,
        against: float = 0.5,
        learned: int = 8,
        ratio: float = 0.25,
        frames: int = FRAMES,
        sizes: ClipSizes | None = None,
    ) -> None:
        super().__init__()
        if against < 0 or not 0 < ratio <= 1:
            raise OptionError(
                f"expected against of at least 0 and a ratio over 0 to 1, got {against} and {ratio}"
            )
        sizes = sizes or ClipSizes(patch=16)
        self.streams, self.against, self.frames, self.size = (3 if maps else 1), against, frames, sizes.image
        self.vision = VisionTower(sizes).requires_grad_(False)
        self.text = TextTower(sizes).requires_grad_(False)
        self.adapters = nn.ModuleList(
            nn.ModuleList(VisionAdapters(sizes.width, ratio) for _ in range(sizes.depth))
            for _ in range(self.streams)
        )
        self.text_adapters = nn.ModuleList(Adapter(sizes.text_width, ratio) for _ in range(sizes.text_depth))
        self.mixture = nn.Parameter(torch.zeros(self.streams)) if maps else None
        self.shows = Prompts(shows, learned, sizes.text_width)
        self.opposes = Prompts(opposes, learned, sizes.text_width) if against > 0 else None

    def stream(self, frames: Tensor, number: int) -> Tensor:
        """Features of length 1 of one stream, (B, 3, T, S, S) -> (B, C): the mean over its frames."""
        x = self.vision.embed(frames.transpose(1, 2).flatten(0, 1))
        for block, adapters in zip(self.vision.blocks, self.adapters[number], strict=True):  # type: ignore[call-overload]
            x = adapters(block, x, self.frames)
        return functional.normalize(self.vision.pool(x).unflatten(0, (-1, self.frames)).mean(1), dim=1)

    def sentence(self, embedded: Tensor, ends: Tensor) -> Tensor:
        """Features of length 1 of embedded sentences, (K, L, C) -> (K, out), with the text's adapters."""
        x = embedded + self.text.places[: embedded.shape[1]]
        for block, adapter in zip(self.text.blocks, self.text_adapters, strict=True):
            x = x + block.attend(block.norm1(x))  # type: ignore[operator]
            normed = block.norm2(x)  # type: ignore[operator]
            x = x + block.perceive(normed) + 0.5 * adapter(normed)  # type: ignore[operator]
        return functional.normalize(self.text.pool(x, ends), dim=1)

    def caption(self, tokens: Tensor) -> Tensor:
        """Features of length 1 of sentences about clips, int64 (B, L) with marks -> (B, out)."""
        return self.sentence(self.text.words(tokens), tokens.argmax(1))

    def classes(self) -> tuple[Tensor, Tensor | None]:
        """What each class shows, and what opposes it: (K, out) each, of length 1."""
        words = self.text.words
        shown = self.sentence(self.shows(words), self.shows.ends)
        return shown, None if self.opposes is None else self.sentence(self.opposes(words), self.opposes.ends)

    def score(self, features: Tensor, classes: tuple[Tensor, Tensor | None]) -> Tensor:
        """Logits (B, K) of features (B, out) of length 1."""
        shown, opposed = classes
        cosines = features @ shown.T
        return SCALE * (cosines if opposed is None else cosines - self.against * (features @ opposed.T))

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """(B, 3 streams, T, S, S) -> "expression" (B, K); while training also what the loss wants of the middle level.

        These are "streams", logits (streams, B, K) of each stream alone; "clip", the weighed features (B, out);
        "shows" and, with a lambda, "opposes", those of the classes (K, out).
        """
        expect_faces(clips, 3 * self.streams, self.size, frames=self.frames)
        seen = [self.stream(part, number) for number, part in enumerate(clips.split(3, 1))]
        clip = seen[0]
        if self.mixture is not None:
            clip = functional.normalize(
                torch.einsum("s,sbc->bc", self.mixture.softmax(0), torch.stack(seen)), dim=1
            )
        classes = self.classes()
        found = {"expression": self.score(clip, classes)}
        if self.training:
            found |= {"streams": torch.stack([self.score(part, classes) for part in seen]), "clip": clip}
            found |= {"shows": classes[0]} | ({} if classes[1] is None else {"opposes": classes[1]})
        return found


def ranking_loss(clip: Tensor, shows: Tensor, opposes: Tensor, targets: Tensor) -> Tensor:
    """Mean of log(1 + exp(SCALE (cos opposes - cos shows))) of the own class: which of its two sentences fits better.

    Args:
        clip: (B, C), of length 1.
        shows, opposes: (K, C), of length 1.
        targets: (B, K), shares of the classes; a row of zeros counts for nothing.
    """
    each = functional.softplus(SCALE * (clip @ (opposes - shows).T))
    return (each * targets).sum() / targets.sum().clamp(min=1e-12)


def contrast(clip: Tensor, captions: Tensor) -> Tensor:
    """CLIP's loss between clips and their sentences (M, C), of length 1: each finds the other among the M, both ways."""
    logits, own = SCALE * clip @ captions.T, torch.arange(len(clip), device=clip.device)
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


class FineCliperTask(Task):
    """Cross-entropy of the clip, of each stream of the middle level and of the sentence about it, and the ranking.

    All terms have weight 1. `extras["caption"]` is int64 (B, L), a sentence about each clip as tokens with marks; a row
    that does not begin with the mark has none.
    """

    def loss(self, batch: Batch) -> Tensor:
        """Scalar training loss of a batch."""
        network: FineCliper = self.network  # type: ignore[assignment]
        found = network(batch.images)
        if "clip" not in found:  # it is in evaluation mode
            return soft_cross_entropy(found["expression"], batch.targets, batch.class_weights)
        loss = soft_cross_entropy(found["expression"], batch.targets, batch.class_weights)
        for logits in found["streams"][1:]:
            loss = loss + soft_cross_entropy(logits, batch.targets, batch.class_weights)
        if "opposes" in found:
            loss = loss + ranking_loss(found["clip"], found["shows"], found["opposes"], batch.targets)
        captions = batch.extras.get("caption")
        told = None if captions is None else captions[:, 0] == BEGIN
        if captions is not None and told is not None and told.any():
            said = network.caption(captions[told])
            logits = network.score(said, (found["shows"], found.get("opposes")))
            loss = loss + soft_cross_entropy(logits, batch.targets[told], batch.class_weights)
            loss = loss + contrast(found["clip"][told], said)
        return loss


DIFFERS = (
    "Only the abstract was seen: three levels, positive and negative sentences, adapters on a frozen CLIP. Where adapters "
    "stand, their width, lambda, the losses and their equal weights are from memory or ours.",
    "CLIP's weights are not distributed with mien: it starts fresh unless they are given (`mien.nn.clip.from_openai`), and a "
    "fresh tower that is frozen is a random projection.",
    "The sentences are ours (`clip_prompts.json`). What opposes a class is said without a negation, which CLIP does not read.",
    "Sentences about clips are to be given as tokens; the authors have them from a video language model.",
    "Pictures of parts are polygons through 68 points; the authors use a parsing network.",
    "The engine makes frames alone; parts and points are to be given.",
    "The crop is mien's own alignment, frame by frame.",
)
SHARED: dict[str, Any] = {
    "paper": Paper(
        "FineCLIPER: Multi-modal Fine-grained CLIP for Dynamic Facial Expression Recognition with AdaptERs",
        "Haodong Chen, Haojian Huang, Junhao Dong, Mingzhe Zheng, Dian Shao",
        2024,
        "arXiv 2407.02157; ACM MM",
    ),
    "labels": SEVEN,
    "differs": DIFFERS,
    "task": FineCliperTask,
    "quick_options": {
        "learned": 2,
        "sizes": {"patch": 32, "width": 64, "depth": 1, "text_width": 64, "text_depth": 1, "out": 64},
    },
}


def _preprocess(streams: int) -> Preprocess:
    return Preprocess(SIZE, "mien_face_v1", "RGB", CLIP_MEAN * streams, CLIP_STD * streams, FRAMES)


def _build(classes: int, maps: bool, prompts: Sequence[Sentence] | None, opposites: Sequence[Sentence] | None,
           sizes: Mapping[str, int] | None, **options: Any) -> nn.Module:  # fmt: skip
    shows = sentences_for(classes, SEVEN, prompts)
    opposes = sentences_for(classes, SEVEN, prompts if opposites is None else opposites, "opposes")
    return FineCliper(shows, opposes, maps, sizes=ClipSizes(**{"patch": 16, **(sizes or {})}), **options)


@register(
    **SHARED,
    preprocess=_preprocess(3),
    counts=Counts(
        183_212_803,
        1_230_616_379_904,
        0.0,
        "counted here, of which 33,592,067 are trained, about 20 M in the paper (from memory); CLIP ViT-B/16 is 149,620,737 with the scale of its logits",
    ),
    reported=(
        Reported("dfew", "uar", 0.6598, "the README of another project, FaVChat"),
        Reported("dfew", "accuracy", 76.21, "the README of another project, FaVChat"),
        Reported("mafw", "uar", 0.4501, "the README of another project, FaVChat"),
        Reported("mafw", "accuracy", 56.91, "the README of another project, FaVChat"),
        Reported("ferv39k", "uar", 0.4522, "from memory"),
        Reported("ferv39k", "accuracy", 53.98, "from memory"),
    ),
)
def finecliper(
    classes: int = len(SEVEN),
    prompts: Sequence[Sentence] | None = None,
    opposites: Sequence[Sentence] | None = None,
    sizes: Mapping[str, int] | None = None,
    frames: int = FRAMES,
    **options: Any,
) -> nn.Module:
    """Frames, parts and points.

    `prompts` are sentences as in `clip_prompts.sentences_for`, `opposites` those against each class, which must be given
    where a prompt is not a name of `clip_prompts.json`; `sizes` are fields of `ClipSizes`; `FineCliper` says the rest.
    """
    return _build(classes, True, prompts, opposites, sizes, frames=frames, **options)


@register(
    **SHARED,
    preprocess=_preprocess(1),
    counts=Counts(161_910_016, 421_322_210_304, 0.0, "counted here, of which 12,289,280 are trained"),
)
def finecliper_frames(
    classes: int = len(SEVEN),
    prompts: Sequence[Sentence] | None = None,
    opposites: Sequence[Sentence] | None = None,
    sizes: Mapping[str, int] | None = None,
    frames: int = FRAMES,
    **options: Any,
) -> nn.Module:
    """Frames alone, without the middle level. Options as in `finecliper`."""
    return _build(classes, False, prompts, opposites, sizes, frames=frames, **options)
