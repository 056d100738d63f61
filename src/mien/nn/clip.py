"""CLIP's two towers by their sizes: pictures and sentences in one space.

Paper: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, arXiv 2103.00020.
Layout and tensors' names: https://github.com/openai/CLIP (MIT). Only its vision transformers are here. The weights are not
distributed with mien: `from_openai` reads the authors'.

Blocks are pre-normed; the perceptron's activation is x * sigmoid(1.702 x). A picture's feature is its class token, a
sentence's is its end mark, which has the highest number; each token of a sentence sees those before it alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import WeightsError
from mien.nn.checks import expect_faces

CLIP_MEAN, CLIP_STD = (122.7709383, 116.7460125, 104.09373615), (68.5005327, 66.6321579, 70.32316305)
"""Of red, green and blue on the 0..255 scale, as CLIP was trained with."""
WORDS, CONTEXT, BEGIN, END = 49408, 77, 49406, 49407
"""Tokens of the vocabulary, the longest sentence, and the marks of its begin and end."""


@dataclass(frozen=True)
class ClipSizes:
    """Sizes of both towers; those of ViT-B/32 by default. A head is 64 wide, or the whole width if that is less.

    Attributes:
        image, patch: sides, pixels.
        width, depth: channels and blocks of the vision tower.
        text_width, text_depth: of the text tower.
        out: width of the common space.
        words, context: size of the vocabulary, longest sentence.
    """

    image: int = 224
    patch: int = 32
    width: int = 768
    depth: int = 12
    text_width: int = 512
    text_depth: int = 12
    out: int = 512
    words: int = WORDS
    context: int = CONTEXT

    @property
    def patches(self) -> int:
        """Of a picture."""
        return (self.image // self.patch) ** 2


class ClipBlock(nn.Module):
    """Pre-normed self-attention and perceptron: (B, N, C) -> (B, N, C).

    Args:
        width: C.
        causal: a token sees itself and those before it.
    """

    def __init__(self, width: int, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = max(1, width // 64), causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attend(self, x: Tensor) -> Tensor:
        """Attention over the tokens, which are normed already."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))

    def perceive(self, x: Tensor) -> Tensor:
        """The perceptron on the tokens, which are normed already."""
        x = self.wide(x)
        return self.narrow(x * torch.sigmoid(1.702 * x))

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the perceptron."""
        x = x + self.attend(self.norm1(x))
        return x + self.perceive(self.norm2(x))


class VisionTower(nn.Module):
    """Pictures (B, 3, S, S) -> features (B, out)."""

    def __init__(self, sizes: ClipSizes) -> None:
        super().__init__()
        self.size, width = sizes.image, sizes.width
        self.patch = nn.Conv2d(3, width, sizes.patch, sizes.patch, bias=False)
        self.class_token = nn.Parameter(torch.randn(width) * width**-0.5)
        self.places = nn.Parameter(torch.randn(sizes.patches + 1, width) * width**-0.5)
        self.first_norm, self.last_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(ClipBlock(width) for _ in range(sizes.depth))
        self.project = nn.Parameter(torch.randn(width, sizes.out) * width**-0.5)
        start_blocks(self.blocks, width)

    def embed(self, pictures: Tensor) -> Tensor:
        """Tokens before the first block, the class token first: (B, 3, S, S) -> (B, 1 + N, C)."""
        expect_faces(pictures, 3, self.size)
        x = self.patch(pictures).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], 1, -1), x], 1)
        return self.first_norm(x + self.places)

    def tokens(self, pictures: Tensor) -> Tensor:
        """Tokens after the last block: (B, 3, S, S) -> (B, 1 + N, C)."""
        x = self.embed(pictures)
        for block in self.blocks:
            x = block(x)
        return x

    def pool(self, tokens: Tensor) -> Tensor:
        """Features of the class tokens: (B, 1 + N, C) -> (B, out)."""
        return self.last_norm(tokens[:, 0]) @ self.project

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, out), not of length 1."""
        return self.pool(self.tokens(pictures))


class TextTower(nn.Module):
    """Sentences as token numbers (K, L) -> features (K, out)."""

    def __init__(self, sizes: ClipSizes) -> None:
        super().__init__()
        width = sizes.text_width
        self.words = nn.Embedding(sizes.words, width)
        self.places = nn.Parameter(torch.randn(sizes.context, width) * 0.01)
        self.blocks = nn.ModuleList(ClipBlock(width, causal=True) for _ in range(sizes.text_depth))
        self.last_norm = nn.LayerNorm(width)
        self.project = nn.Parameter(torch.randn(width, sizes.out) * width**-0.5)
        nn.init.normal_(self.words.weight, std=0.02)
        start_blocks(self.blocks, width)

    def pool(self, x: Tensor, ends: Tensor) -> Tensor:
        """Features of the tokens at `ends`, int64 (K,), of (K, L, C) after the last block: (K, out)."""
        last = x.gather(1, ends[:, None, None].expand(-1, 1, x.shape[2]))[:, 0]
        return self.last_norm(last) @ self.project

    def encode(self, embedded: Tensor, ends: Tensor) -> Tensor:
        """Features of words that are embedded already, without places: (K, L, C) -> (K, out).

        Tokens behind an end change nothing, so that L may be as short as the longest sentence.
        """
        x = embedded + self.places[: embedded.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.pool(x, ends)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token numbers (K, L), each with its end mark, filled up with 0 -> (K, out), not of length 1."""
        return self.encode(self.words(tokens), tokens.argmax(1))


def start_blocks(blocks: nn.ModuleList, width: int) -> None:
    """CLIP's start: normal weights, the deviations by width and depth; biases 0."""
    for block in blocks:
        for name, deviation in (
            ("qkv", width**-0.5),
            ("proj", width**-0.5 * (2 * len(blocks)) ** -0.5),
            ("wide", (2 * width) ** -0.5),
            ("narrow", width**-0.5 * (2 * len(blocks)) ** -0.5),
        ):
            layer = block.get_submodule(name)
            nn.init.normal_(layer.get_parameter("weight"), std=deviation)
            nn.init.zeros_(layer.get_parameter("bias"))


NAMES = (
    (r"^visual\.", "vision."),
    (r"^(?!vision\.)", "text."),
    (r"\.transformer\.resblocks\.", ".blocks."),
    (r"\.ln_1\.", ".norm1."),
    (r"\.ln_2\.", ".norm2."),
    (r"\.attn\.in_proj_", ".qkv."),
    (r"\.attn\.out_proj\.", ".proj."),
    (r"\.mlp\.c_fc\.", ".wide."),
    (r"\.mlp\.c_proj\.", ".narrow."),
    (r"\.conv1\.", ".patch."),
    (r"\.class_embedding$", ".class_token"),
    (r"\.positional_embedding$", ".places"),
    (r"\.ln_pre\.", ".first_norm."),
    (r"\.(ln_post|ln_final)\.", ".last_norm."),
    (r"\.token_embedding\.", ".words."),
    (r"\.(proj|text_projection)$", ".project"),
)
"""Tensors' names in openai/CLIP -> ours, in turn, under "vision." and "text."."""


def from_openai(state_dict: Mapping[str, Tensor], vision: VisionTower | None, text: TextTower | None) -> None:
    """Load the towers from the authors' tensors (`clip.load(name)[0].state_dict()`), as float32.

    Args:
        state_dict: by the names of openai/CLIP; the scale of its logits and its sizes are left out.
        vision, text: changed in place; a tower that is `None` is left out.

    Raises:
        WeightsError: a tensor is missing, not known or of another shape.
    """
    ours = {}
    for name, value in state_dict.items():
        if name not in ("logit_scale", "input_resolution", "context_length", "vocab_size"):
            for pattern, replacement in NAMES:
                name = re.sub(pattern, replacement, name)
            ours[name] = value.float()
    for part, tower in (("vision.", vision), ("text.", text)):
        if tower is None:
            continue
        try:
            tower.load_state_dict(
                {name[len(part) :]: value for name, value in ours.items() if name.startswith(part)}
            )
        except RuntimeError as error:
            raise WeightsError(
                f"expected the {part[:-1]} tower of an openai/CLIP of these sizes: {error}"
            ) from error
