"""TinyEmo: a metric projector into a language model's space of words; the nearest class word is the answer.

Title: TinyEmo. Official code: ggcr/TinyEmo; master's thesis and ACMCV 2024. Facts from the repository.
Features of a frozen vision tower -> Linear - BatchNorm - GELU - Dropout 0.2 - Linear -> D, the width of the
language model. A class is the frozen embedding of its word. Both are brought to length 1, and the class with the
largest cosine is the answer: classification happens outside the language model, which is left to reason.
Widths of theirs: vision 512 (CLIP-B), 768 (CLIP-L), 1152 (SigLIP), 1024 (DINOv2-L); D 1280 (OpenELM-270M, from
memory), 2048 (TinyLlama), 2560 (Phi-2), 3072 (Phi-3).

Losses, one of three: "cosine", the mean of 1 - cos (nothing pushes classes apart but the fixed words); "nt_xent", each
pair of a face and a word of its class against the words of other classes; "info_nce", each face's own word against
those, at temperature 0.1.

Differs from the paper: the tower is the trunk of the network that ships with mien (1024 features) and stays in
evaluation mode; the words' embeddings are the input embeddings of the language model, meant over a word's tokens
(theirs go through its embedding function); the image's embedding is the projector's output as it is. Words may be
others when it answers than when it learned (`set_words`).

Needs: faces (B, 3, H, W) as `mobile_expression` takes them. Gives: cosines (B, classes), in [-1, 1].
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import OptionError, ShapeError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.method import Counts, Paper, Reported, register
from mien.methods.static.mobile_expression import MobileExpression, load_shipped
from mien.methods.task import Batch, Task
from mien.types.media import Preprocess

FEATURES = 1024
"""Width of the shipped trunk's pooled features."""


class MetricProjector(nn.Sequential):
    """Features (B, wide) -> the space of words (B, out)."""

    def __init__(self, wide: int, out: int, dropout: float = 0.2) -> None:
        super().__init__(
            nn.Linear(wide, out), nn.BatchNorm1d(out), nn.GELU(), nn.Dropout(dropout), nn.Linear(out, out)
        )


def cosines(embeddings: Tensor, words: Tensor) -> Tensor:
    """(B, D) and (K, D) -> (B, K), in [-1, 1]."""
    return functional.normalize(embeddings, dim=1) @ functional.normalize(words, dim=1).T


def cosine_loss(embeddings: Tensor, words: Tensor, classes: Tensor) -> Tensor:
    """Mean of 1 - cosine with the own class's word.

    Args:
        embeddings: (B, D).
        words: (K, D).
        classes: (B,), -1 where unknown; such rows count for nothing, here and in the other two.
    """
    known = classes >= 0
    own = cosines(embeddings, words).gather(1, classes.clamp(min=0)[:, None])[:, 0]
    return _mean(1 - own, known)


def nt_xent(embeddings: Tensor, words: Tensor, classes: Tensor, temperature: float = 0.07) -> Tensor:
    """Every face with every word of its class in the batch, against the words of other classes in the batch.

    The batch's words stand as often as their classes do, so that a frequent class weighs more. The temperature is
    the default of pytorch-metric-learning, from memory.
    """
    alike = (classes[:, None] == classes[None]) & (classes >= 0)[:, None]
    return _mean(_contrasted(embeddings, words, classes, temperature), alike)


def info_nce(embeddings: Tensor, words: Tensor, classes: Tensor, temperature: float = 0.1) -> Tensor:
    """Every face with its own word, against the words of other classes in the batch."""
    contrasted = _contrasted(embeddings, words, classes, temperature)
    return _mean(contrasted.diagonal(), classes >= 0)


def _contrasted(embeddings: Tensor, words: Tensor, classes: Tensor, temperature: float) -> Tensor:
    """(B, B): -log of a face's similarity to a word, over that and those to words of other classes."""
    scores = (cosines(embeddings, words) / temperature)[:, classes.clamp(min=0)]
    other = (classes[:, None] != classes[None]) & (classes >= 0)
    # A large number and no infinity, so that a batch of one class has a loss and a gradient of 0, and no NaN.
    against = scores.masked_fill(~other, -1e4).logsumexp(1, keepdim=True)
    return functional.softplus(against - scores)


def _mean(values: Tensor, kept: Tensor) -> Tensor:
    """Mean over what is kept; 0 with zero gradient if that is nothing."""
    return torch.where(kept, values, 0).sum() / kept.sum().clamp(min=1)


LOSSES = {"cosine": cosine_loss, "nt_xent": nt_xent, "info_nce": info_nce}


class TinyEmo(nn.Module):
    """Frozen tower, projector, and frozen words, which are the rows of `head`.

    Args:
        classes: number of words.
        out: D.
        dropout: of the projector.
        loss: of `LOSSES`.
    """

    explain_layer = "tower.trunk"

    def __init__(self, classes: int, out: int, dropout: float, loss: str) -> None:
        super().__init__()
        if loss not in LOSSES:
            raise OptionError(f"expected a loss of {', '.join(LOSSES)}, got {loss!r}")
        self.tower = MobileExpression(classes)
        load_shipped(self.tower, head=False)
        self.tower.head = nn.Identity()  # type: ignore[assignment]
        self.tower.requires_grad_(False)
        self.projector = MetricProjector(FEATURES, out, dropout)
        self.head = nn.Linear(out, classes, bias=False).requires_grad_(False)
        self.loss = LOSSES[loss]

    def train(self, mode: bool = True) -> TinyEmo:
        """The tower stays in evaluation mode: it is frozen, statistics and all."""
        super().train(mode)
        self.tower.eval()
        return self

    def embed(self, x: Tensor) -> Tensor:
        """Faces (B, 3, H, W) -> (B, D) in the space of words."""
        return self.projector(self.tower.features(x))

    def forward(self, x: Tensor) -> Tensor:
        """Faces (B, 3, H, W) -> cosines (B, classes)."""
        return cosines(self.embed(x), self.head.weight)


def set_words(network: TinyEmo, words: Tensor) -> None:
    """Give a network its classes' words, in place; there may be others, or more, than it learned with.

    Args:
        network: changed.
        words: (K, D), in the order of the classes.

    Raises:
        ShapeError: they are not of the projector's width.
    """
    wide = network.head.in_features
    if words.ndim != 2 or words.shape[1] != wide:
        raise ShapeError(f"expected words (K, {wide}), got {tuple(words.shape)}")
    network.head = nn.Linear(wide, len(words), bias=False).requires_grad_(False)
    with torch.no_grad():
        network.head.weight.copy_(words)


class NearestWord(Task):
    """Learns by the network's own loss; a soft target teaches its largest class."""

    def loss(self, batch: Batch) -> Tensor:
        """The loss between the faces' embeddings and their classes' words."""
        network: TinyEmo = self.network  # type: ignore[assignment]
        classes = torch.where(batch.targets.sum(1) > 0, batch.targets.argmax(1), -1)
        return network.loss(network.embed(batch.images), network.head.weight, classes)


@register(
    paper=Paper(
        "TinyEmo",
        "the author of ggcr/TinyEmo",
        2024,
        "master's thesis; ACMCV 2024",
        "https://github.com/ggcr/TinyEmo",
    ),
    preprocess=Preprocess(64, "mien_face_v1", "RGB", (127.5, 127.5, 127.5), (128.0, 128.0, 128.0)),
    counts=Counts(parameters=4_146_432, macs=188_000_000, tolerance=0.01, source="counted here"),
    reported=tuple(
        Reported("mean of five zero-shot sets", "accuracy", value, f"repository, {size}")
        for size, value in (("0.70B", 57.87), ("0.88B", 55.24), ("1.53B", 56.13), ("3.21B", 56.28))
    ),
    differs=(
        "The tower is mien's shipped trunk, not CLIP.",
        "A linear warm-up and a cosine stand for the one-cycle schedule.",
        "Words are the mean of their tokens' input embeddings; without a file of words they are random directions.",
    ),
    task=NearestWord,
)
def tinyemo(
    classes: int = len(EXPRESSIONS),
    out: int = 576,
    dropout: float = 0.2,
    loss: str = "info_nce",
    words: str = "",
) -> nn.Module:
    """Shipped trunk, fresh projector to SmolLM2's width.

    `words` is an npz file with `words` (classes, out), in the order of the classes, as
    `python -m mien.recipes.tinyemo_ferplus` writes it; without it the classes are random directions.
    """
    network = TinyEmo(classes, out, dropout, loss)
    if words:
        with np.load(words) as stored:
            vectors = torch.from_numpy(stored["words"])
        if len(vectors) != classes:
            raise ShapeError(f"expected {classes} words in {words}, got {len(vectors)}")
        set_words(network, vectors)
    return network
