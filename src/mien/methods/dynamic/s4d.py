"""S4D: one ViT for pictures and clips, whose upper blocks hold a mixture of small adapters.

Paper: Chen, Li, Zhang, Hu, Shan, Wang, Hong, "Static for Dynamic: Towards a Deeper Understanding of Dynamic Facial
Expressions Using Static Expression Data", IEEE Transactions on Affective Computing 2025, arXiv 2409.06154 (title and
authors from memory). Official code: MSA-LMC/S4D. Sizes, routing, losses and learning figures are facts of that
repository at commit 43c2333.

Tubelets of 2 x 16 x 16 go through a plain ViT. In blocks 6 to 11 a router sends each token to two of eight adapters,
which stand beside the MLP: y + MLP(y) + sum of gate x adapter(y). A picture is shown as a clip of two equal frames, so
that both kinds share every weight but the last layer: `head` for clips, `image_head` for pictures.

Differs from the paper: see `DIFFERS`.

Needs: float32 (B, 3, T, S, S), T even, S a multiple of 16 (16 and 160), RGB, ImageNet mean and deviation; or pictures
(B, 3, S, S) for the other head. Gives: logits (B, classes); while it learns a dict with "expression" and "balance".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import OptionError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.method import Counts, Paper, Reported, register
from mien.methods.task import Batch, Task, soft_cross_entropy
from mien.nn.checks import expect_faces
from mien.types.media import IMAGENET_MEAN, IMAGENET_STD, Preprocess

PATCH, TUBELET = 16, 2
NORM_EPS = 1e-6
EXPERTS, CHOSEN = 8, 2
EXPERT_RATIO = 0.25
BALANCE_WEIGHT = 1e-3


def places(tokens: int, dim: int) -> Tensor:
    """Sines and cosines of a token's number, (tokens, dim): sin and cos of p / 10000^(2 floor(j/2) / dim) by turns."""
    rates = 10000.0 ** (-2 * (torch.arange(dim) // 2) / dim)
    angles = torch.arange(tokens)[:, None] * rates
    return torch.where(torch.arange(dim) % 2 == 0, angles.sin(), angles.cos())


def top_gates(logits: Tensor, chosen: int = CHOSEN) -> Tensor:
    """Softmax over the `chosen` largest of the last axis, exactly 0 elsewhere."""
    least = logits.topk(chosen, -1).values[..., -1:]
    return torch.where(logits >= least, logits, -torch.inf).softmax(-1)


def within_capacity(gates: Tensor, capacity: int) -> Tensor:
    """Gates (M, E) with those of tokens that come too late at a full expert set to 0; nothing is scaled again."""
    place = (gates > 0).cumsum(0)
    return gates * (place <= capacity)


def balance_loss(gates: Tensor, scores: Tensor) -> Tensor:
    """E^2 times the mean over experts of (share of the tokens sent there) x (mean score): a scalar.

    Args:
        gates: (M, E), 0 where a token is not sent.
        scores: (M, E), the router's probabilities, or its logits as in the authors' code.
    """
    return gates.shape[1] ** 2 * ((gates > 0).float().mean(0) * scores.mean(0)).mean()


class AdapterExperts(nn.Module):
    """Mixture of adapter experts (MoAE): tokens (B, N, C) -> what to add (B, N, C), and the balance loss.

    The experts stand side by side in two matrices: expert e is columns e * H to (e + 1) * H of `down` and of `up`.
    All are computed for all tokens, and gates of 0 leave out what a token does not take.

    Args:
        dim: C.
        experts: E. hidden: H, width of one expert.
        capacity: factor on M * 2 / E, the tokens that an expert takes of a batch while learning.
        balance_on_logits: the loss on raw noisy logits, which can be negative, as the authors' code has it.
    """

    def __init__(self, dim: int, experts: int, hidden: int, capacity: float, balance_on_logits: bool) -> None:
        super().__init__()
        self.experts, self.hidden, self.capacity = experts, hidden, capacity
        self.balance_on_logits = balance_on_logits
        self.route, self.noise = nn.Linear(dim, experts), nn.Linear(dim, experts)
        self.down = nn.Linear(dim, experts * hidden)
        self.up = nn.Linear(experts * hidden, dim, bias=False)
        self.up_bias = nn.Parameter(torch.zeros(experts, dim))

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Noise on the router and the limit of the experts are for learning only."""
        logits = self.route(y)
        if self.training:
            logits = logits + torch.randn_like(logits) * functional.softplus(self.noise(y))
        gates = top_gates(logits)
        scores = logits if self.balance_on_logits else logits.softmax(-1)
        balance = balance_loss(gates.flatten(0, 1), scores.flatten(0, 1))
        if self.training:
            most = int(gates.shape[0] * gates.shape[1] * CHOSEN / self.experts * self.capacity)
            gates = within_capacity(gates.flatten(0, 1), most).view_as(gates)
        inner = functional.gelu(self.down(y)).unflatten(-1, (self.experts, self.hidden))
        return self.up((inner * gates[..., None]).flatten(-2)) + gates @ self.up_bias, balance


class Attention(nn.Module):
    """Self-attention with learned biases of queries and values, none of keys: (B, N, C) -> (B, N, C)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Scaled dot products, head by head."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = functional.linear(x, self.qkv.weight, bias).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A ViT block; with adapters, they stand beside the MLP: (B, N, C) -> (B, N, C), and their balance loss."""

    def __init__(self, dim: int, heads: int, adapters: AdapterExperts | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, NORM_EPS), nn.LayerNorm(dim, NORM_EPS)
        self.attn = Attention(dim, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})
        self.adapters = adapters

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attention, then MLP and adapters of the same normed tokens."""
        x = x + self.attn(self.norm1(x))
        y = self.norm2(x)
        x = x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](y)))
        if self.adapters is None:
            return x, x.new_zeros(())
        added, balance = self.adapters(y)
        return x + added, balance


class S4d(nn.Module):
    """The network of the module's text.

    Args:
        classes, image_classes: of clips, of pictures.
        size, frames: S and T.
        dim, depth, heads: of the ViT.
        adapters_from: first block with adapters.
        capacity, balance_on_logits: see `AdapterExperts`.

    Raises:
        OptionError: a side or a number of frames that tubelets do not fill.
    """

    def __init__(
        self,
        classes: int,
        image_classes: int,
        size: int,
        frames: int,
        dim: int,
        depth: int,
        heads: int,
        adapters_from: int,
        capacity: float,
        balance_on_logits: bool,
    ) -> None:
        super().__init__()
        if size % PATCH or frames % TUBELET or size < PATCH or frames < TUBELET:
            raise OptionError(
                f"expected a size in steps of {PATCH} and frames in steps of {TUBELET}, got {size} and {frames}"
            )
        self.size, self.frames, self.layers = size, frames, depth
        self.image_tokens = (size // PATCH) ** 2
        tubelet = (TUBELET, PATCH, PATCH)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, dim, tubelet, tubelet)})
        self.pos_embed: Tensor
        tokens = self.image_tokens * frames // TUBELET
        self.register_buffer("pos_embed", places(tokens, dim), persistent=False)
        hidden = int(dim * EXPERT_RATIO)
        self.blocks = nn.ModuleList(
            Block(
                dim,
                heads,
                AdapterExperts(dim, EXPERTS, hidden, capacity, balance_on_logits)
                if index >= adapters_from
                else None,
            )
            for index in range(depth)
        )
        self.fc_norm = nn.LayerNorm(dim, NORM_EPS)
        self.head, self.image_head = nn.Linear(dim, classes), nn.Linear(dim, image_classes)
        self.apply(_start)

    def tokens(self, x: Tensor) -> Tensor:
        """Tubelets with their places, N = T/2 * (S/16)^2 of a clip and (S/16)^2 of a picture: -> (B, N, C)."""
        if x.ndim == 4:
            expect_faces(x, 3, self.size)
            x = x[:, :, None].expand(-1, -1, TUBELET, -1, -1)
        else:
            expect_faces(x, 3, self.size, frames=self.frames)
        embedded = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        return embedded + self.pos_embed[: embedded.shape[1]]

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of the last tokens, normed, (B, C), and the sum of the balance losses."""
        tokens, balance = self.tokens(x), x.new_zeros(())
        for block in self.blocks:
            tokens, added = block(tokens)
            balance = balance + added
        return self.fc_norm(tokens.mean(1)), balance

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """Logits of clips (B, 3, T, S, S), or of pictures (B, 3, S, S) from the other head."""
        features, balance = self.features(x)
        logits = self.image_head(features) if x.ndim == 4 else self.head(features)
        return {"expression": logits, "balance": balance} if self.training else logits

    def layer_of(self, name: str) -> int:
        """Layer of a parameter, for `optim.layer_decay`: 0 the tubelets, 1 to 12 the blocks, then the head."""
        if name.startswith("blocks."):
            return 1 + int(name.split(".")[1])
        return 0 if name.startswith("patch_embed.") else self.layers + 1


def _start(module: nn.Module) -> None:
    """Truncated normal weights of deviation 0.02, biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class S4dTask(Task):
    """Cross-entropy with soft targets, and the balance of the experts."""

    def loss(self, batch: Batch) -> Tensor:
        """Scalar loss of a batch of clips, or of pictures; the head that is not asked gets gradients of 0."""
        output = self.network(batch.images)
        if not isinstance(output, dict):  # in evaluation mode nothing is balanced
            return soft_cross_entropy(output, batch.targets, batch.class_weights)
        loss = soft_cross_entropy(output["expression"], batch.targets, batch.class_weights)
        idle = self.network.get_submodule("head" if batch.images.ndim == 4 else "image_head")
        nothing = 0.0 * torch.cat([parameter.flatten() for parameter in idle.parameters()]).sum()
        return loss + BALANCE_WEIGHT * output["balance"] + nothing


PAPER = Paper(
    "Static for Dynamic: Towards a Deeper Understanding of Dynamic Facial Expressions Using Static Expression Data",
    "Yin Chen, Jia Li, Yu Zhang, Zhenzhen Hu, Shiguang Shan, Meng Wang, Richang Hong",
    2025,
    "arXiv 2409.06154; title and authors from memory",
    "https://github.com/MSA-LMC/S4D",
)
DIFFERS = (
    "A recipe learns from clips alone: the authors alternate batches of clips and of AffectNet's pictures, and mien's loop "
    "reads one set. The network and its loss take batches of pictures too, for a loop of your own.",
    "Weights are fresh without `--set start=`; the authors start from a masked autoencoder of faces (VoxCeleb2 and "
    "AffectNet), which is not to be had here.",
    "The router has noise only while it learns, so that an answer repeats; the authors' has it always.",
    "Experts are full only while they learn; then the rest of a batch does not change an answer.",
    "The balance loss is on probabilities; `balance_on_logits` has the authors' form, which can be negative.",
    "Frames are drawn by segments over the whole clip, not with a stride of 4; one view answers, not 2 x 2.",
    "Mixup without cutmix; mien's views in place of RandAugment; the crop is mien's own alignment.",
)
REPORTED = tuple(
    Reported(name, "accuracy", value, "paper's page")
    for name, value in (("ferv39k", 53.65), ("mafw", 58.44), ("dfew", 76.68))
)
PREPROCESS = Preprocess(160, "mien_face_v1", "RGB", IMAGENET_MEAN, IMAGENET_STD, 16)
LABELS = EXPRESSIONS[:7]
QUICK = {"dim": 96, "depth": 2, "heads": 3, "adapters_from": 1}


@register(
    paper=PAPER,
    preprocess=PREPROCESS,
    counts=Counts(
        parameters=100_513_646,
        macs=92_071_531_776,
        tolerance=0.0,
        source="parameters: sum of the repository's sizes, 100.5 M with 7 + 7 classes; operations counted here, with "
        "all experts computed for all tokens",
    ),
    labels=LABELS,
    reported=REPORTED,
    differs=DIFFERS,
    task=S4dTask,
    quick_options=QUICK,
)
def s4d_base(
    classes: int = len(LABELS),
    image_classes: int = 7,
    size: int = 160,
    frames: int = 16,
    dim: int = 768,
    depth: int = 12,
    heads: int = 12,
    adapters_from: int = 6,
    capacity: float = 1.0,
    balance_on_logits: bool = False,
) -> nn.Module:
    """The paper's network; `S4d` says what the options are. The large one is dim 1024, depth 24, heads 16."""
    return S4d(
        classes, image_classes, size, frames, dim, depth, heads, adapters_from, capacity, balance_on_logits
    )


@register(
    paper=PAPER,
    preprocess=PREPROCESS,
    counts=Counts(parameters=25_484_270, macs=26_217_679_488, tolerance=0.0, source="counted here"),
    labels=LABELS,
    differs=DIFFERS,
    task=S4dTask,
    quick_options=QUICK,
)
def s4d_small(classes: int = len(LABELS), dim: int = 384, heads: int = 6, **options: Any) -> nn.Module:
    """The authors' small size, a quarter of the parameters; no result of theirs is known for it."""
    return s4d_base(classes, dim=dim, heads=heads, **options)
