"""ExpLLM: a face's patches among a language model's words, taught to reason from action units to an expression.

ExpLLM: Lan et al., IEEE Transactions on Multimedia 2025. Official code: starhiking/ExpLLM-TMM, whose facts these are
(repository), unless said. The text that it learns from is made by `exp_cot`.
Face 224 x 224 -> DINOv2 ViT-L/14 -> 16 x 16 = 256 patch tokens of 1024 -> Linear 4096, GELU, Linear 4096 -> in the
places of 256 marks among the embeddings of Vicuna-7B v1.5. LoRA (r 8, alpha 16, dropout 0.05) on the attention of
both; the projector is trained whole. Text: a system sentence, "Image: " and the marks, "TASK: " and the question, the
answer. Two tasks: "emo_estim" asks for the label, "emo_analysis" for the steps to it. Loss: cross-entropy of the next
token, on the answer and its end alone. Answers are greedy, so that accuracy can be told.

Differs from the paper: their other tasks (box, landmarks, attributes, pose, age) are not here, nor their checkpoint of
them that they start from. Wording of system and questions is ours. LoRA is on all four attention layers of the
language model, and the drop path is the same in every block (which they use is not in our notes). Any language model of
transformers and any tower (B, ...) -> (B, T, C) fit; `mien.recipes.expllm_small` has ones that train on two cores.

Needs: faces (B, 3, 224, 224), ImageNet mean and std, for the published tower. Gives: text, and the label it
concludes with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import OptionError, ShapeError
from mien.labels.claims import label_in
from mien.methods.authors import load_strictly
from mien.methods.language.causal_lm import Words, add_lora
from mien.methods.language.exp_cot import Record
from mien.nn.checks import expect_faces
from mien.nn.depth import StochasticDepth

MARK = -1
"""Stands for one image token among token ids."""

IGNORED = -100
"""Target of a token that is not learned."""

SYSTEM = "You read the expression of the face in the image."
QUESTIONS: Mapping[str, str] = MappingProxyType(
    {
        "emo_estim": "Which expression does the face show?",
        "emo_analysis": "Analyse the face step by step, from its action units to its expression.",
    }
)
"""Task -> question."""


@dataclass(frozen=True)
class Sizes:
    """The published sizes.

    Attributes:
        size_px, patch_px: side of the face and of a patch.
        wide, depth, heads: of the tower.
        positions: side of the grid of stored positions; 37 is that of 518 px.
        drop_path: share of blocks' branches that are left out while it learns.
        llm_wide: D of the language model.
        rank, alpha, dropout: of LoRA.
        llm_layers: the language model's layers with LoRA.
    """

    size_px: int = 224
    patch_px: int = 14
    wide: int = 1024
    depth: int = 24
    heads: int = 16
    positions: int = 37
    drop_path: float = 0.4
    llm_wide: int = 4096
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    llm_layers: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")


class Attention(nn.Module):
    """Self-attention, (B, T, C) -> (B, T, C)."""

    def __init__(self, wide: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(wide, 3 * wide)
        self.proj = nn.Linear(wide, wide)

    def forward(self, x: Tensor) -> Tensor:
        """Every token looks at every token."""
        count, tokens, wide = x.shape
        query, key, value = (
            self.qkv(x).view(count, tokens, 3, self.heads, wide // self.heads).permute(2, 0, 3, 1, 4)
        )
        seen = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(seen.transpose(1, 2).reshape(count, tokens, wide))


class Scale(nn.Module):
    """Layer scale: one factor a channel, 1 at the start."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(wide))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) times (C,)."""
        return x * self.gamma


class Block(nn.Module):
    """x + scale(attention(norm x)), then the same of a perceptron four times as wide."""

    def __init__(self, wide: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(wide, eps=1e-6) for _ in range(2))
        self.attn = Attention(wide, heads)
        self.ls1, self.ls2 = Scale(wide), Scale(wide)
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", nn.Linear(wide, 4 * wide))
        self.mlp.add_module("act", nn.GELU())
        self.mlp.add_module("fc2", nn.Linear(4 * wide, wide))
        self.drop = StochasticDepth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = x + self.drop(self.ls1(self.attn(self.norm1(x))))
        return x + self.drop(self.ls2(self.mlp(self.norm2(x))))


class PatchTower(nn.Module):
    """DINOv2's vision transformer: faces (B, 3, S, S) -> patch tokens (B, (S / patch)^2, wide)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        wide = sizes.wide
        self.patch_embed = nn.Sequential()
        self.patch_embed.add_module("proj", nn.Conv2d(3, wide, sizes.patch_px, sizes.patch_px))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, wide))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + sizes.positions**2, wide) * 0.02)
        self.blocks = nn.Sequential(*(Block(wide, sizes.heads, sizes.drop_path) for _ in range(sizes.depth)))
        self.norm = nn.LayerNorm(wide, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Patch tokens after the last norm, without the class token."""
        expect_faces(x, 3, self.sizes.size_px)
        x = self.patch_embed(x)
        first, grid = self.pos_embed[:, :1], self._grid(x.shape[-1])
        x = x.flatten(2).transpose(1, 2) + grid
        x = torch.cat([(self.cls_token + first).expand(len(x), -1, -1), x], 1)
        return self.norm(self.blocks(x))[:, 1:]

    def _grid(self, side: int) -> Tensor:
        """Positions of a side x side grid, (1, side^2, C), from the stored ones by bicubic interpolation."""
        stored = self.pos_embed[:, 1:]
        if side == self.sizes.positions:
            return stored
        grid = stored.view(1, self.sizes.positions, self.sizes.positions, -1).permute(0, 3, 1, 2)
        grid = functional.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
        return grid.flatten(2).transpose(1, 2)


def load_dinov2(tower: PatchTower, state_dict: Mapping[str, Tensor]) -> None:
    """Start a tower, before LoRA, from DINOv2's file (its names from memory; no such file was opened here).

    Raises:
        WeightsError: a tensor is missing, left over or of another shape.
    """
    kept = {name: value for name, value in state_dict.items() if name != "mask_token"}
    load_strictly(tower, kept, "expected DINOv2's vision transformer of this size")


def projector(wide: int, llm_wide: int) -> nn.Sequential:
    """Linear, GELU, Linear: (..., wide) -> (..., llm_wide)."""
    return nn.Sequential(nn.Linear(wide, llm_wide), nn.GELU(), nn.Linear(llm_wide, llm_wide))


@dataclass(frozen=True, eq=False)
class Texts:
    """B texts as tokens, filled up on the right.

    Attributes:
        ids: int64 (B, L), `MARK` where an image token goes, 0 after the end.
        targets: int64 (B, L), the ids of answer and end, `IGNORED` elsewhere.
        told: bool (B, L), false after the end.
    """

    ids: Tensor
    targets: Tensor
    told: Tensor


def prompt(words: Words, task: str, marks: int) -> list[int]:
    """Token ids before the answer: system sentence, the image's marks, and a task's question."""
    if task not in QUESTIONS:
        raise OptionError(f"expected a task of {', '.join(QUESTIONS)}, got {task!r}")
    before, after = words.encode(f"{SYSTEM} Image:"), words.encode(f" TASK: {QUESTIONS[task]} ANSWER:")
    return [*words.begin, *before, *[MARK] * marks, *after]


def answer(record: Record, task: str) -> str:
    """What is learned of a record as the answer to a task.

    Raises:
        OptionError: the steps are asked for, and the record has none.
    """
    if task == "emo_estim":
        return record.emo
    if record.description is None:
        raise OptionError(f"expected a description of {record.id!r}, got none: no action unit was measured")
    return record.description.text


def tasks_of(record: Record) -> tuple[str, ...]:
    """The tasks that a record can teach."""
    return ("emo_estim",) if record.description is None else ("emo_estim", "emo_analysis")


def texts(words: Words, asked: Sequence[tuple[Record, str]], marks: int) -> Texts:
    """Prompt, answer and end of records with their tasks; only answer and end are targets."""
    pairs = []
    for record, task in asked:
        before = prompt(words, task, marks)
        learned = [*words.encode(f" {answer(record, task)}"), words.end]
        pairs.append((before + learned, [IGNORED] * len(before) + learned))
    longest = max(len(ids) for ids, _ in pairs)
    return Texts(
        torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in pairs]),
        torch.tensor([targets + [IGNORED] * (longest - len(targets)) for _, targets in pairs]),
        torch.tensor([[True] * len(ids) + [False] * (longest - len(ids)) for ids, _ in pairs]),
    )


class ExpLLM(nn.Module):
    """Tower, projector and language model.

    Args:
        tower: what comes in -> (B, T, C).
        project: (..., C) -> (..., D).
        llm: of transformers, width D.
    """

    def __init__(self, tower: nn.Module, project: nn.Module, llm: nn.Module) -> None:
        super().__init__()
        self.tower, self.projector, self.llm = tower, project, llm

    def embed(self, ids: Tensor, faces: Tensor) -> Tensor:
        """Embeddings (B, L, D) of ids (B, L), in which the i-th mark of a row is its i-th image token.

        Raises:
            ShapeError: a row has not exactly as many marks as its face has tokens.
        """
        tokens = self.projector(self.tower(faces))
        marks = ids == MARK
        counts = marks.sum(1)
        if len(ids) != len(tokens) or not bool((counts == tokens.shape[1]).all()):
            raise ShapeError(
                f"expected {tokens.shape[1]} image marks in each of {len(tokens)} texts, got {counts.tolist()}"
            )
        words = self.llm.get_input_embeddings()(ids.clamp(min=0))  # type: ignore[operator]
        return words.masked_scatter(marks[..., None], tokens.to(words.dtype))

    def loss(self, text: Texts, faces: Tensor) -> Tensor:
        """Mean cross-entropy of the next token over answers and ends."""
        llm: Any = self.llm
        hidden = llm.base_model(
            inputs_embeds=self.embed(text.ids, faces), attention_mask=text.told.long(), use_cache=False
        ).last_hidden_state
        learned = text.targets[:, 1:] != IGNORED
        # Words are only guessed where they are learned: the vocabulary is the widest layer.
        logits = llm.get_output_embeddings()(hidden[:, :-1][learned])
        return functional.cross_entropy(logits.float(), text.targets[:, 1:][learned])

    @torch.no_grad()
    def answers(self, words: Words, task: str, faces: Tensor, most: int = 160) -> list[list[int]]:
        """Greedy answers as token ids, without their end.

        Args:
            words: of the language model.
            task: of `QUESTIONS`.
            faces: what the tower takes, B of them.
            most: tokens of an answer.
        """
        self.eval()
        llm: Any = self.llm
        marks = self.tower(faces[:1]).shape[1]
        ids = torch.tensor([prompt(words, task, marks)]).expand(len(faces), -1).to(faces.device)
        found = llm.generate(
            inputs_embeds=self.embed(ids, faces), attention_mask=torch.ones_like(ids), max_new_tokens=most,
            do_sample=False, num_beams=1, eos_token_id=words.end, pad_token_id=words.end,
        )  # fmt: skip
        rows = found.tolist()
        return [row[: row.index(words.end)] if words.end in row else row for row in rows]

    def texts_and_labels(
        self,
        words: Words,
        task: str,
        faces: Tensor,
        read: Callable[[str], str | None] = label_in,
        most: int = 160,
    ) -> list[tuple[str, str | None]]:
        """Answers as texts, with the expression that each concludes with, `None` where it names none."""
        said = [words.decode(ids).strip() for ids in self.answers(words, task, faces, most)]
        return [(text, read(text)) for text in said]


def expllm(llm: nn.Module, sizes: Sizes | None = None) -> ExpLLM:
    """The published network around a language model: LoRA on both, the projector trained whole.

    Args:
        llm: of transformers, of width `sizes.llm_wide`; frozen and adapted in place.
        sizes: the published ones where left out.

    Raises:
        OptionError: the language model has another width.
    """
    sizes = sizes or Sizes()
    tower = PatchTower(sizes)
    add_lora(tower, ("qkv", "proj"), sizes.rank, sizes.alpha, sizes.dropout)
    return around(tower, llm, sizes)


def around(tower: nn.Module, llm: nn.Module, sizes: Sizes) -> ExpLLM:
    """Any tower of width `sizes.wide`, left as it is, with a fresh projector and an adapted language model."""
    table: Any = llm.get_input_embeddings()  # type: ignore[operator]
    if table.embedding_dim != sizes.llm_wide:
        raise OptionError(
            f"expected a language model of width {sizes.llm_wide}, got {table.embedding_dim}. Set llm_wide."
        )
    add_lora(llm, sizes.llm_layers, sizes.rank, sizes.alpha, sizes.dropout)
    return ExpLLM(tower, projector(sizes.wide, sizes.llm_wide), llm)
