"""CLIP-CAER: face and context of a student, over time, against sentences with learned words. Also DFER-CLIP: the face alone.

Paper: Luming Zhao, Jingwen Xuan, Jiamin Lou, Yonghui Yu, Wenwu Yang, "Context-Aware Academic Emotion Dataset and Benchmark",
ICCV 2025, arXiv 2507.00586. Official code: https://github.com/zgsfer/CLIP-CAER (no licence seen). It builds on Zengqun Zhao,
Ioannis Patras, "Prompting Visual-Language Models for Dynamic Facial Expression Recognition", BMVC 2023, arXiv 2308.13382,
https://github.com/zengqunzhao/DFER-CLIP. Facts and tensors' names are from both repositories.

One CLIP vision tower (ViT-B/32), trained too, sees 16 frames of the face and 16 of the body and what surrounds it. A small
transformer a view turns its frames' features into one; both go through a linear layer. A class is a sentence behind eight
learned words, read by the frozen text tower. A logit is their cosine over 0.01.

Differs from the paper: see `DIFFERS`.

Needs: float32 (B, 6, 16, 224, 224): RGB of the face, then of the context, in [0, 1]; `clip_caer_face` the first three alone.
Gives: logits (B, classes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import WeightsError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.authors import load_strictly, renamed
from mien.methods.dynamic.clip_prompts import Prompts, Sentence, padded, sentences_for
from mien.methods.method import Counts, Paper, Reported, register
from mien.nn.checks import expect_faces
from mien.nn.clip import END, ClipSizes, TextTower, VisionTower, from_openai
from mien.types.media import Preprocess

FRAMES, SIZE, TEMPERATURE = 16, 224, 0.01
RAER = ("neutrality", "enjoyment", "confusion", "fatigue", "distraction")
SEVEN = EXPRESSIONS[:7]
"""The classes of DFEW, FERV39k and AFEW, in mien's order."""


class TemporalLayer(nn.Module):
    """Pre-normed self-attention and perceptron with dropout: (B, T, C) -> (B, T, C)."""

    def __init__(self, width: int, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU("tanh"), nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the perceptron."""
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, width // self.heads)
        mixed = functional.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4).unbind(0))
        x = x + self.dropout(self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width)))
        return x + self.dropout(self.mlp(self.norm2(x)))


class TemporalNet(nn.Module):
    """Features of frames (B, T, C) -> one of the clip (B, C), the class token's.

    Args:
        frames: T.
        width: C.
        depth: layers.
    """

    def __init__(self, frames: int, width: int, depth: int = 1) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, frames + 1, width))
        self.layers = nn.Sequential(
            *(TemporalLayer(width, 2 * width, max(1, width // 64), 0.1) for _ in range(depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, C)."""
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.layers(x)[:, 0]


class ClipCaer(nn.Module):
    """The network. `forward` gives logits (B, K); `features` a clip's (B, C) and `sentences` the classes' (K, C), of length 1.

    Args:
        prompts: token numbers of the classes' sentences, without marks.
        views: 2 for face and context, 1 for the face.
        learned: words in front of each sentence.
        depth: layers of each temporal net.
        frames: T.
        sizes: of CLIP.
    """

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        views: int = 2,
        learned: int = 8,
        depth: int = 1,
        frames: int = FRAMES,
        sizes: ClipSizes | None = None,
    ) -> None:
        super().__init__()
        sizes = sizes or ClipSizes()
        self.views, self.frames, self.size = views, frames, sizes.image
        self.vision, self.text = VisionTower(sizes), TextTower(sizes).requires_grad_(False)
        self.over_time = nn.ModuleList(TemporalNet(frames, sizes.out, depth) for _ in range(views))
        self.fuse = nn.Linear(views * sizes.out, sizes.out) if views > 1 else nn.Identity()
        self.prompts = Prompts(prompts, learned, sizes.text_width)

    def features(self, clips: Tensor) -> Tensor:
        """(B, 3 views, T, S, S) -> (B, C)."""
        expect_faces(clips, 3 * self.views, self.size, frames=self.frames)
        pictures = clips.unflatten(1, (self.views, 3)).transpose(2, 3)  # (B, views, T, 3, S, S)
        frames = self.vision(pictures.flatten(0, 2)).unflatten(0, pictures.shape[:3])
        seen = [net(frames[:, view]) for view, net in enumerate(self.over_time)]
        return functional.normalize(self.fuse(torch.cat(seen, 1)), dim=1)

    def sentences(self) -> Tensor:
        """(K, C)."""
        return functional.normalize(self.text.encode(self.prompts(self.text.words), self.prompts.ends), dim=1)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3 views, T, S, S) -> (B, K), from -100 to 100."""
        return self.features(clips) @ self.sentences().T / TEMPERATURE


NAMES = (
    (r"^temporal_net\.", "over_time.0."),
    (r"^temporal_net_body\.", "over_time.1."),
    (r"^project_fc\.", "fuse."),
    (r"^prompt_learner\.ctx$", "prompts.context"),
    (r"\.cls_token$", ".class_token"),
    (r"\.pos_embedding$", ".places"),
    (r"\.temporal_transformer\.layers\.(\d+)\.0\.fn\.norm\.", r".layers.\1.norm1."),
    (r"\.temporal_transformer\.layers\.(\d+)\.0\.fn\.fn\.to_qkv\.", r".layers.\1.qkv."),
    (r"\.temporal_transformer\.layers\.(\d+)\.0\.fn\.fn\.to_out\.0\.", r".layers.\1.proj."),
    (r"\.temporal_transformer\.layers\.(\d+)\.1\.fn\.norm\.", r".layers.\1.norm2."),
    (r"\.temporal_transformer\.layers\.(\d+)\.1\.fn\.fn\.net\.", r".layers.\1.mlp."),
)
"""Tensors' names in zgsfer/CLIP-CAER and zengqunzhao/DFER-CLIP -> ours, in turn; the towers are CLIP's own."""


def from_authors(network: ClipCaer, state_dict: Mapping[str, Tensor]) -> None:
    """Load a checkpoint (its entry `state_dict`) of CLIP-CAER or DFER-CLIP, with the sentences that it was trained with.

    The names are from the code of both; no file of weights was seen. Their sentences are stored as embedded words, whose
    numbers are looked up in the table of words.

    Args:
        network: changed in place; built for as many classes and learned words.
        state_dict: tensors by the authors' names.

    Raises:
        WeightsError: a tensor is missing, not known or of another shape, or a word is not in the table.
    """
    plain = {name.removeprefix("module."): value for name, value in state_dict.items()}
    clip = {
        name.removeprefix("clip_model_."): value
        for name, value in plain.items()
        if name.startswith("clip_model_.")
    }
    clip |= {
        name.replace("image_encoder.", "visual.", 1): value
        for name, value in plain.items()
        if name.startswith("image_")
    }
    rest = {
        renamed(name, NAMES): value.float()
        for name, value in plain.items()
        if not name.startswith(("clip_model_.", "image_encoder.", "text_encoder.", "prompt_learner.token_"))
    }
    try:
        table, suffix = clip["token_embedding.weight"].float(), plain["prompt_learner.token_suffix"].float()
    except KeyError as error:
        raise WeightsError(
            f"expected the tensors of a CLIP-CAER or DFER-CLIP, got none called {error}"
        ) from None
    network.prompts.tokens = _looked_up(suffix, table, network.prompts.context.shape[1])
    rest["prompts.tokens"] = network.prompts.tokens
    towers = {
        name: value for name, value in network.state_dict().items() if name.startswith(("vision.", "text."))
    }
    load_strictly(
        network,
        {**towers, **rest},
        "expected the tensors of a CLIP-CAER or DFER-CLIP of these sizes, got others",
    )
    from_openai(clip, network.vision, network.text)


def _looked_up(suffix: Tensor, table: Tensor, learned: int) -> Tensor:
    """Tokens with marks (K, L) of the embedded words behind the learned ones, (K, 76 - learned, C)."""
    sentences = []
    for row in suffix:
        distances = torch.cdist(row, table)
        numbers = distances.argmin(1)
        if not torch.equal(table[numbers], row) or END not in numbers:
            raise WeightsError(
                "expected embedded words of the checkpoint's own table up to a mark of the end, got others"
            )
        sentences.append(numbers[: int((numbers == END).nonzero()[0])].tolist())
    return padded(sentences, learned)


PAPER = Paper(
    "Context-Aware Academic Emotion Dataset and Benchmark",
    "Luming Zhao, Jingwen Xuan, Jiamin Lou, Yonghui Yu, Wenwu Yang",
    2025,
    "arXiv 2507.00586; ICCV",
    "https://github.com/zgsfer/CLIP-CAER",
)
DIFFERS = (
    "CLIP's weights are not distributed with mien: it starts fresh unless they are given (`mien.nn.clip.from_openai`), and a "
    "fresh text tower knows no words.",
    "The sentences are ours (`clip_prompts.json`).",
    "Weight decay is on weights alone, not on biases, norms and places.",
    "The learning rate falls once where the authors' falls twice.",
    "The engine makes the face's view alone; the context's is to be given.",
    "The face is mien's own alignment, frame by frame; theirs is its box and 20 px more.",
)
QUICK: dict[str, Any] = {
    "sizes": {"width": 64, "depth": 1, "text_width": 64, "text_depth": 1, "out": 64},
}


def _preprocess(views: int) -> Preprocess:
    return Preprocess(SIZE, "mien_face_v1", "RGB", (0.0,) * 3 * views, (255.0,) * 3 * views, FRAMES)


@register(
    paper=PAPER,
    preprocess=_preprocess(2),
    labels=RAER,
    counts=Counts(
        156_043_520,
        148_223_328_768,
        0.0,
        "counted here; CLIP ViT-B/32 is 151,277,313 with the scale of its logits",
    ),
    differs=DIFFERS,
    quick_options=QUICK,
)
def clip_caer(
    classes: int = len(RAER),
    prompts: Sequence[Sentence] | None = None,
    learned: int = 8,
    frames: int = FRAMES,
    sizes: Mapping[str, int] | None = None,
) -> nn.Module:
    """Face and context. `prompts` as in `clip_prompts.sentences_for`; `sizes` are fields of `ClipSizes`."""
    return ClipCaer(sentences_for(classes, RAER, prompts), 2, learned, 1, frames, ClipSizes(**(sizes or {})))


@register(
    paper=Paper(
        "Prompting Visual-Language Models for Dynamic Facial Expression Recognition",
        "Zengqun Zhao, Ioannis Patras",
        2023,
        "arXiv 2308.13382; BMVC",
        "https://github.com/zengqunzhao/DFER-CLIP",
        "MIT",
    ),
    preprocess=_preprocess(1),
    labels=SEVEN,
    counts=Counts(153_416_448, 79_392_399_872, 0.0, "counted here"),
    reported=(
        Reported("dfew", "uar", 0.5961, "from memory"),
        Reported("dfew", "accuracy", 71.25, "from memory"),
        Reported("ferv39k", "uar", 0.4127, "from memory"),
        Reported("ferv39k", "accuracy", 51.65, "from memory"),
        Reported("mafw", "uar", 0.3989, "from memory"),
        Reported("mafw", "accuracy", 52.55, "from memory"),
    ),
    differs=DIFFERS,
    quick_options=QUICK,
)
def clip_caer_face(
    classes: int = len(SEVEN),
    prompts: Sequence[Sentence] | None = None,
    learned: int = 8,
    frames: int = FRAMES,
    sizes: Mapping[str, int] | None = None,
) -> nn.Module:
    """The face alone, which is DFER-CLIP. Options as in `clip_caer`."""
    return ClipCaer(sentences_for(classes, SEVEN, prompts), 1, learned, 1, frames, ClipSizes(**(sizes or {})))
