"""ME-GraphAU: action units as nodes of a graph that is built anew for each face, with learned edges.

Paper: Cheng Luo, Siyang Song, Weicheng Xie, Linlin Shen, Hatice Gunes, "Learning Multi-dimensional Edge Feature-based
AU Relation Graph for Facial Action Unit Recognition", IJCAI 2022, arXiv 2205.01782.
Official code: https://github.com/CVI-SZU/ME-GraphAU. What stands here is from a description of its model/ANFL.py,
MEFL.py, graph.py, graph_edge_model.py and conf; none of its checkpoints was seen.

A trunk gives 49 tokens. One linear block a unit makes that unit's tokens, their mean is its node. Stage 1 (ANFL) joins
each node to the K nodes most like it and passes messages once. Stage 2 (MEFL), started from stage 1, makes a vector for
each pair of units by cross-attention and passes messages with gates from those edges. The probability of a unit is the
cosine of its node and a learned vector, both without negative numbers. The trunks are in `me_graphau_trunks.py`.

Differs from the paper: see `DIFFERS`.

Needs: float32 (B, 3, 224, 224), RGB, ImageNet mean and deviation. Gives: {"action_units": (B, N)} in [0, 1], and in
stage 2 {"edges": (B, N * N, 4)}, logits of 2 y_j + y_k for the pair j N + k.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import OptionError
from mien.labels.action_units import UNIT_SETS, unit_label
from mien.methods.authors import load_strictly, renamed
from mien.methods.method import Counts, Paper, Reported, register
from mien.methods.task import Batch, UnitsTask, known_units
from mien.methods.units.me_graphau_trunks import SWIN_NAMES, UNUSED, ResNet, Swin
from mien.nn.checks import expect_faces
from mien.types.media import IMAGENET_MEAN, IMAGENET_STD, Preprocess

SIZE = 224
UNITS = tuple(unit_label(unit) for unit in UNIT_SETS["bp4d"])
NEIGHBOURS = 4
LEAST = 1e-8
"""Probabilities under this count as this in a logarithm."""


class LinearBlock(nn.Module):
    """Linear, batch norm over channels, ReLU on tokens: (B, T, I) -> (B, T, O)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(channels_in, channels_out), nn.BatchNorm1d(channels_out)
        nn.init.normal_(self.linear.weight, std=math.sqrt(2 / channels_out))
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the three in turn."""
        return torch.relu(self.norm(self.linear(x).transpose(1, 2)).transpose(1, 2))


def nearest_nodes(nodes: Tensor, neighbours: int) -> Tensor:
    """The graph of one face: float (B, N, N), 1 where node j is among the K most like node i, else 0.

    Alike is a large dot product; ties keep more than K. No gradient goes through it.

    Args:
        nodes: (B, N, C).
        neighbours: K, at most N counts.
    """
    nodes = nodes.detach()
    alike = nodes @ nodes.transpose(1, 2)
    least = alike.topk(min(neighbours, alike.shape[-1]), -1).values[..., -1:]
    return (alike >= least).to(nodes.dtype)


class NodeGraph(nn.Module):
    """Stage 1: v_i = ReLU(v_i + norm(A V(v) + U(v))_i), A = D^-1/2 M D^-1/2, M of `nearest_nodes`."""

    def __init__(self, channels: int, units: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.own, self.others = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.norm = nn.BatchNorm1d(units)

    def forward(self, tokens: Tensor, common: Tensor) -> tuple[Tensor, None]:
        """Nodes (B, N, C) from the units' tokens (B, N, T, C)."""
        nodes = tokens.mean(2)
        joined = nearest_nodes(nodes, self.neighbours)
        scale = joined.sum(-1).rsqrt()
        weights = scale[:, :, None] * joined * scale[:, None]
        return torch.relu(nodes + self.norm(weights @ self.others(nodes) + self.own(nodes))), None


class CrossAttention(nn.Module):
    """One head: tokens ask with C / 2 channels, others answer with C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(channels, channels // 2), nn.Linear(channels, channels // 2)
        self.value, self.scale = nn.Linear(channels, channels), (channels // 2) ** -0.5

    def from_common(self, tokens: Tensor, common: Tensor) -> Tensor:
        """Each unit's tokens (B, N, T, C) ask the face's (B, T, C): (B, N, T, C)."""
        scores = self.query(tokens) @ self.key(common)[:, None].transpose(-2, -1) * self.scale
        return scores.softmax(-1) @ self.value(common)[:, None]

    def between(self, tokens: Tensor) -> Tensor:
        """For the pair (j, k) the tokens of k ask those of j, (B, N, T, C): (B, N * N, T, C), pair j N + k."""
        query, key, value = (
            self.query(tokens)[:, None],
            self.key(tokens)[:, :, None],
            self.value(tokens)[:, :, None],
        )
        mixed = (query @ key.transpose(-2, -1) * self.scale).softmax(-1) @ value  # (B, N, N, T, C)
        return mixed.flatten(1, 2)


class GatedLayer(nn.Module):
    """One round of messages between nodes (B, N, C) and edges (B, N * N, C)."""

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.start, self.end, self.edge, self.own, self.others = (
            nn.Linear(channels, channels, bias=False) for _ in range(5)
        )
        self.edge_norm, self.node_norm = nn.BatchNorm1d(units * units), nn.BatchNorm1d(units)

    def forward(self, nodes: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Edges from both ends first; then nodes from their neighbours, gated by the edges."""
        square = (*nodes.shape[:2], *nodes.shape[1:])  # (B, N, N, C)
        ends = (self.start(nodes)[:, :, None] + self.end(nodes)[:, None]).flatten(1, 2)
        edges = edges + torch.relu(self.edge_norm(ends + self.edge(edges)))
        gates = torch.sigmoid(edges).reshape(square).softmax(2)
        told = (gates * self.others(nodes)[:, None]).mean(2)
        return torch.relu(nodes + self.node_norm(self.own(nodes) + told)), edges


class EdgeGraph(nn.Module):
    """Stage 2: an edge for each pair of units from cross-attention, two gated rounds, and what the edges say."""

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.face, self.pair = CrossAttention(channels), CrossAttention(channels)
        self.project, self.pair_norm = nn.Linear(channels, channels), nn.BatchNorm2d(units * units)
        self.layers = nn.ModuleList(GatedLayer(channels, units) for _ in range(2))
        self.edge_head = nn.Linear(channels, 4)

    def forward(self, tokens: Tensor, common: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes (B, N, C) and edge logits (B, N * N, 4), from tokens (B, N, T, C) and the face's (B, T, C)."""
        pairs = self.pair.between(self.face.from_common(tokens, common))
        nodes, edges = tokens.mean(2), self.pair_norm(self.project(pairs)).mean(2)
        for layer in self.layers:
            nodes, edges = layer(nodes, edges)
        return nodes, self.edge_head(edges)


class MeGraphAu(nn.Module):
    """The network; see the module's text for what it gives.

    Args:
        trunk: `ResNet` or `Swin`.
        units: N; batch norms over units and pairs fix it.
        stage: 1 or 2.
        narrower: channels of the trunk over those of the tokens: 4 for ResNet, 2 for Swin.
        neighbours: K of stage 1.
        edge_weight: of the edges' loss in stage 2.

    Raises:
        OptionError: another stage.
    """

    explain_layer = "trunk"

    def __init__(
        self,
        trunk: ResNet | Swin,
        units: int = len(UNITS),
        stage: int = 2,
        narrower: int = 4,
        neighbours: int = NEIGHBOURS,
        edge_weight: float = 1e-3,
    ) -> None:
        super().__init__()
        if stage not in (1, 2):
            raise OptionError(f"expected stage 1 or 2, got {stage!r}")
        self.trunk, self.edge_weight = trunk, edge_weight
        channels = trunk.channels // narrower
        self.common = LinearBlock(trunk.channels, channels)
        self.blocks = nn.ModuleList(LinearBlock(channels, channels) for _ in range(units))
        self.graph = NodeGraph(channels, units, neighbours) if stage == 1 else EdgeGraph(channels, units)
        self.anchors = nn.Parameter(torch.empty(units, channels))
        nn.init.xavier_uniform_(self.anchors)

    def tokens(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Each unit's tokens (B, N, 49, C) and the face's (B, 49, C) of faces (B, 3, 224, 224)."""
        expect_faces(x, 3, SIZE)
        common = self.common(self.trunk(x))
        return torch.stack([block(common) for block in self.blocks], 1), common

    def explain_maps(self, output: Tensor) -> Tensor:
        """The trunk's tokens at their places: (B, 49, C) -> (B, C, 7, 7)."""
        side = math.isqrt(output.shape[1])
        return output.transpose(1, 2).unflatten(2, (side, side))

    def features(self, x: Tensor) -> Tensor:
        """Nodes after the graph: (B, 3, 224, 224) -> (B, N, C)."""
        return self.graph(*self.tokens(x))[0]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """{"action_units": (B, N)} in [0, 1] and, in stage 2, {"edges": (B, N * N, 4)}."""
        nodes, edges = self.graph(*self.tokens(x))
        alike = functional.cosine_similarity(nodes, torch.relu(self.anchors), -1, LEAST)
        found = {"action_units": alike.clamp(0, 1)}
        return found if edges is None else {**found, "edges": edges}


def asymmetric_loss(probabilities: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over the known units of -w_i [y log p + (1 - y) sg(p) log(1 - p)]: easy negatives count for little.

    sg stops the gradient. Source: section 3 of the paper, as the repository has it.

    Args:
        probabilities: (B, N) in [0, 1].
        truth: (B, N) of 1 and 0, NaN where not known.
        weights: (N,) with mean 1, by the inverse of how often a unit is there; `None` for 1.
    """
    known = torch.isfinite(truth)
    there = torch.where(known, truth, 0.0)
    p = probabilities.float()
    each = there * p.clamp(min=LEAST).log() + (1 - there) * p.detach() * (1 - p).clamp(min=LEAST).log()
    each = each * known if weights is None else each * known * weights
    return -each.sum() / known.sum().clamp(min=1)


def pair_targets(truth: Tensor) -> Tensor:
    """Class 2 y_j + y_k of each pair j N + k, int64 (B, N * N); -1 where a side is not known."""
    first, second = truth[:, :, None], truth[:, None]
    return torch.where(torch.isfinite(first + second), 2 * first + second, -1.0).long().flatten(1)


class MeGraphAuTask(UnitsTask):
    """The asymmetric loss on cosines and, in stage 2, `edge_weight` times the cross-entropy of the edges."""

    def loss(self, batch: Batch) -> Tensor:
        """Scalar training loss of a batch; `class_weights` are the units'."""
        output = self.network(batch.images)
        truth = known_units(batch, output["action_units"])
        loss = asymmetric_loss(output["action_units"], truth, batch.class_weights)
        if "edges" not in output:
            return loss
        edges, pairs = output["edges"].float().flatten(0, 1), pair_targets(truth).flatten()
        wrong = functional.cross_entropy(edges, pairs, ignore_index=-1, reduction="sum")
        weight: Any = self.network.edge_weight
        return loss + weight * wrong / (pairs >= 0).sum().clamp(min=1)

    def logits(self, images: Tensor) -> Tensor:
        """Numbers (B, N) whose sigmoid is the answer, within 1e-6."""
        return torch.logit(self.answer(images), 1e-6)

    def answer(self, images: Tensor) -> Tensor:
        """Cosines (B, N) in [0, 1]; a unit counts as there from 0.5 on."""
        return self.network(images)["action_units"].float()


def load_trunk(network: MeGraphAu, state_dict: Mapping[str, Tensor]) -> None:
    """Start the trunk from ImageNet, as the authors do, in place; the rest keeps its values.

    Args:
        network: changed in place.
        state_dict: of torchvision's resnet50, or of a Swin-T of microsoft/Swin-Transformer (its entry `model`). The
            classifier is dropped; no file was seen here, the names are those of the repositories.

    Raises:
        WeightsError: a tensor is missing, not known or of another shape.
    """
    names = SWIN_NAMES if isinstance(network.trunk, Swin) else ()
    state = {renamed(name, names): value for name, value in state_dict.items() if not re.search(UNUSED, name)}
    load_strictly(network.trunk, state, "expected the tensors of the trunk by their repository's names, got")


PAPER = Paper(
    "Learning Multi-dimensional Edge Feature-based AU Relation Graph for Facial Action Unit Recognition",
    "Cheng Luo, Siyang Song, Weicheng Xie, Linlin Shen, Hatice Gunes",
    2022,
    "IJCAI 2022, arXiv 2205.01782",
    "https://github.com/CVI-SZU/ME-GraphAU",
)
DIFFERS = (
    "The start from ImageNet weights is left to the user (`load_trunk`); the default starts fresh.",
    "The authors' checkpoints are not read: their tensors' names were not seen.",
    "Queries, keys and values of pairs are computed once a unit, not once a pair; the numbers are the same.",
    "The linear blocks' biases start at 0; the start of the messages' layers is torch's.",
    "Folds by person are ours, and a fifth of the training people choose the epoch.",
    "Colour jitter of 0.4 is replaced by mien's degraded views for three faces in ten; the crop is mien's own alignment.",
    "Weight decay is not on biases and norms.",
)
PREPROCESS = Preprocess(SIZE, "mien_face_v1", "RGB", IMAGENET_MEAN, IMAGENET_STD)
SHARED: dict[str, Any] = {
    "paper": PAPER, "preprocess": PREPROCESS, "labels": UNITS, "differs": DIFFERS, "task": MeGraphAuTask
}  # fmt: skip
MEASURED = "counted on the authors' network with 12 units (the description's figure)"
HERE = "counted here"


@register(
    **SHARED,
    counts=Counts(31_670_000, tolerance=0.002, source=MEASURED),
    reported=(
        Reported("bp4d", "mean_f1", 0.647, "paper and README; the authors' folds"),
        Reported("disfa", "mean_f1", 0.631, "paper and README; the authors' folds"),
    ),
    quick_options={"depths": (1, 1, 1, 1), "width": 16},
)
def me_graphau_r50(
    classes: int = len(UNITS),
    edge_weight: float = 1e-3,
    depths: tuple[int, ...] = (3, 4, 6, 3),
    width: int = 64,
) -> nn.Module:
    """Stage 2 on ResNet-50: the whole network. Start it from a run of stage 1."""
    return MeGraphAu(ResNet(depths, width), classes, 2, 4, edge_weight=edge_weight)


@register(
    **SHARED,
    counts=Counts(28_250_000, tolerance=0.002, source=MEASURED),
    quick_options={"depths": (1, 1, 1, 1), "width": 16},
)
def me_graphau_r50_stage1(
    classes: int = len(UNITS),
    neighbours: int = NEIGHBOURS,
    depths: tuple[int, ...] = (3, 4, 6, 3),
    width: int = 64,
) -> nn.Module:
    """Stage 1 on ResNet-50."""
    return MeGraphAu(ResNet(depths, width), classes, 1, 4, neighbours)


@register(
    **SHARED,
    counts=Counts(31_819_534, tolerance=0.0, source=HERE),
    reported=(Reported("bp4d", "mean_f1", 0.656, "paper and README; the authors' folds"),),
    quick_options={"depths": (1, 1, 1, 1), "width": 32, "drop_path": 0.0},
)
def me_graphau_swint(
    classes: int = len(UNITS),
    edge_weight: float = 1e-3,
    depths: tuple[int, ...] = (2, 2, 6, 2),
    width: int = 96,
    drop_path: float = 0.2,
) -> nn.Module:
    """Stage 2 on Swin-T: the whole network. Start it from a run of stage 1."""
    return MeGraphAu(Swin(depths, width, drop_path), classes, 2, 2, edge_weight=edge_weight)


@register(
    **SHARED,
    counts=Counts(29_899_026, tolerance=0.0, source=HERE),
    quick_options={"depths": (1, 1, 1, 1), "width": 32, "drop_path": 0.0},
)
def me_graphau_swint_stage1(
    classes: int = len(UNITS),
    neighbours: int = NEIGHBOURS,
    depths: tuple[int, ...] = (2, 2, 6, 2),
    width: int = 96,
    drop_path: float = 0.2,
) -> nn.Module:
    """Stage 1 on Swin-T."""
    return MeGraphAu(Swin(depths, width, drop_path), classes, 1, 2, neighbours)
