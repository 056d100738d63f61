"""FMAE-IAT: a masked autoencoder of faces, and action units that are learned against the identity.

Paper: Mang Ning, Albert Ali Salah, Itir Onal Ertugrul, "Representation Learning and Identity Adversarial Training for
Facial Behavior Understanding", 2024, arXiv 2407.11243. Official code: https://github.com/forever208/FMAE-IAT.
What stands here is from a description of its branches; none of its checkpoints was seen. The autoencoder is that of He
et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, arXiv 2111.06377; the reversal of the gradient
that of Ganin and Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015.

Pre-training (`MaskedAutoencoder`, `pretrain`): a quarter of a face's 196 patches goes through a ViT, a small decoder says
what the others look like. Fine-tuning (`FmaeIat`): the mean of the patches' tokens gives the action units, and, through a
reversed gradient, who it is, so that the encoder unlearns the person.

Differs from the paper: see `DIFFERS`.

Needs: float32 (B, 3, 224, 224), RGB, ImageNet mean and deviation. Gives: logits {"action_units": (B, K)}, and with an
identity branch {"identity": (B, P)}.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import OptionError, ShapeError, TrainingError
from mien.labels.action_units import UNIT_SETS, unit_label
from mien.methods.method import Counts, Paper, Reported, register
from mien.methods.task import Batch, UnitsTask, binary_cross_entropy, known_units
from mien.nn.checks import expect_faces
from mien.nn.depth import StochasticDepth
from mien.types.media import IMAGENET_MEAN, IMAGENET_STD, Preprocess

SIZE, PATCH = 224, 16
SIDE = SIZE // PATCH
PATCHES = SIDE * SIDE
MASKED = 0.75
UNITS = tuple(unit_label(unit) for unit in UNIT_SETS["bp4d"])


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """The same values; on the way back the gradient times -strength."""
    return _Reversed.apply(x, strength)  # type: ignore[no-untyped-call]


def places(dim: int, side: int = SIDE) -> Tensor:
    """Fixed places of the patches, float32 (side * side, dim): sines and cosines, a half for x, a half for y.

    Args:
        dim: a multiple of 4.
        side: patches along a side; row by row.
    """
    rates = 1.0 / 10000 ** (torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    down, across = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    parts = [axis.flatten()[:, None] * rates for axis in (across, down)]
    return torch.cat([wave(part) for part in parts for wave in (torch.sin, torch.cos)], 1).float()


class Block(nn.Module):
    """Pre-normed self-attention and perceptron with stochastic depth: (B, T, C) -> (B, T, C)."""

    def __init__(self, dim: int, heads: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.heads, self.drop = heads, StochasticDepth(drop_path)
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def attend(self, x: Tensor) -> Tensor:
        """All tokens see all: (B, T, C) -> (B, T, C)."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*qkv.unbind(0))
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the perceptron."""
        x = x + self.drop(self.attend(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))


class Encoder(nn.Module):
    """ViT of patches of 16 px with a class token, without a last norm: (B, 3, 224, 224) -> (B, 1 + T, C)."""

    places: Tensor

    def __init__(self, dim: int, depth: int, heads: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, dim, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        rates = [drop_path * index / max(1, depth - 1) for index in range(depth)]
        self.blocks = nn.ModuleList(Block(dim, heads, rate) for rate in rates)
        self.register_buffer("places", places(dim), persistent=False)
        start(self)
        nn.init.xavier_uniform_(self.patch.weight.data.view(dim, -1))

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Tokens, the class token first; of the patches numbered in `visible` (B, T) alone, where it is given."""
        expect_faces(x, 3, SIZE)
        x = self.patch(x).flatten(2).transpose(1, 2) + self.places
        if visible is not None:
            x = x.gather(1, visible[..., None].expand(-1, -1, x.shape[2]))
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        return x


def start(network: nn.Module) -> None:
    """The start of MAE: linear weights Xavier, biases 0, the tokens normal with deviation 0.02."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for name, parameter in network.named_parameters():
        if name.endswith("_token"):
            nn.init.normal_(parameter, std=0.02)


def patches_of(faces: Tensor) -> Tensor:
    """Pixels of the patches, row by row: (B, 3, 224, 224) -> (B, 196, 768)."""
    return functional.unfold(faces, PATCH, stride=PATCH).transpose(1, 2)


class MaskedAutoencoder(nn.Module):
    """Pre-training: say what three quarters of the patches look like, from the others.

    Args:
        dim, depth, heads: of the encoder, as in `FmaeIat`.
        decoder: channels, blocks and heads of the decoder.
    """

    decoder_places: Tensor

    def __init__(
        self, dim: int, depth: int, heads: int, decoder: tuple[int, int, int] = (512, 8, 16)
    ) -> None:
        super().__init__()
        width, blocks, decoder_heads = decoder
        self.encoder, self.norm = Encoder(dim, depth, heads), nn.LayerNorm(dim, eps=1e-6)
        self.narrow, self.mask_token = nn.Linear(dim, width), nn.Parameter(torch.zeros(1, 1, width))
        self.decoder = nn.ModuleList(Block(width, decoder_heads) for _ in range(blocks))
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.pixels = nn.Linear(width, 3 * PATCH**2)
        self.register_buffer("decoder_places", places(width), persistent=False)
        for part in (self.narrow, self.decoder, self.pixels):
            start(part)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, faces: Tensor, order: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Loss and which patches were masked.

        Args:
            faces: (B, 3, 224, 224), normalised.
            order: int64 (B, 196), a permutation a face; the first quarter is visible. Drawn where left out.

        Returns:
            mean over the masked patches of the mean squared error of their pixels, each patch normalised to
            mean 0 and variance 1; and bool (B, 196).
        """
        visible = round(PATCHES * (1 - MASKED))
        if order is None:
            order = torch.rand(len(faces), PATCHES, device=faces.device).argsort(1)
        tokens = self.narrow(self.norm(self.encoder(faces, order[:, :visible])))
        hidden = self.mask_token.expand(len(faces), PATCHES - visible, -1)
        back = order.argsort(1)[..., None].expand(-1, -1, tokens.shape[2])
        shown = torch.cat([tokens[:, 1:], hidden], 1).gather(1, back) + self.decoder_places
        x = torch.cat([tokens[:, :1], shown], 1)
        for block in self.decoder:
            x = block(x)
        wanted = patches_of(faces)
        wanted = (wanted - wanted.mean(2, keepdim=True)) / (wanted.var(2, keepdim=True) + 1e-6).sqrt()
        errors = (self.pixels(self.decoder_norm(x))[:, 1:].float() - wanted).square().mean(2)
        masked = torch.ones_like(errors, dtype=torch.bool).scatter(1, order[:, :visible], False)
        return (errors * masked).sum() / masked.sum(), masked


def pretrain(
    network: MaskedAutoencoder,
    faces: Iterable[Tensor],
    steps: int,
    warmup: int,
    batch_size: int = 512,
    base_lr: float = 1.5e-4,
    weight_decay: float = 0.05,
) -> list[float]:
    """Pre-train in place: AdamW with betas 0.9 and 0.95, linear warm-up, cosine to 0; gives the loss of each step.

    The defaults are the authors', who take 50 epochs with a warm-up of 2 on nine million faces. Store
    `network.state_dict()` as safetensors, and start a recipe from it: `--set start=FILE`.

    Args:
        network: changed in place.
        faces: batches (B, 3, 224, 224), normalised, at least `steps` of them.
        steps, warmup: how many.
        batch_size: faces a step over all processes; the learning rate is base_lr * batch_size / 256.

    Raises:
        TrainingError: too few batches, or a loss that is no number.
    """
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optim = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95))
    losses: list[float] = []
    network.train()
    for batch, step in zip(faces, range(steps), strict=False):
        done = (step - warmup) / max(1, steps - warmup)
        share = (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * done))
        for group in optim.param_groups:
            group["lr"] = base_lr * batch_size / 256 * share
        loss, _ = network(batch)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise TrainingError(
                f"expected a finite loss, got {losses[-1]} in step {step + 1}. Lower base_lr."
            )
        optim.zero_grad(set_to_none=True)
        loss.backward()
        optim.step()
    if len(losses) < steps:
        raise TrainingError(f"expected {steps} batches of faces, got {len(losses)}")
    return losses


class FmaeIat(nn.Module):
    """The encoder with its heads. `forward` gives logits; `features` the normed mean of the patches (B, C).

    Args:
        units: K.
        dim, depth, heads: of the encoder.
        people: P, all people of the data set; 0 for no identity branch.
        strength: lambda of the reversed gradient; 0 for no identity branch.
        drop_path: stochastic depth of the last block; it grows evenly from 0 at the first.

    Raises:
        OptionError: a negative strength, or one without people.
    """

    def __init__(
        self,
        units: int = len(UNITS),
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        people: int = 0,
        strength: float = 0.0,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        if strength < 0 or (strength > 0) != (people > 0):
            raise OptionError(
                "expected a strength over 0 and the number of people, or neither, "
                f"got strength {strength:g} and {people} people"
            )
        self.strength, self.layers = strength, depth
        self.explain_layer = f"encoder.blocks.{depth - 1}"
        self.encoder = Encoder(dim, depth, heads, drop_path)
        self.pooled_norm, self.head = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, units)
        self.identity = nn.Linear(dim, people) if people else None
        for head in (self.head, self.identity):
            if head is not None:
                nn.init.trunc_normal_(head.weight, std=2e-5)
                nn.init.zeros_(head.bias)

    def explain_maps(self, output: Tensor) -> Tensor:
        """Patches at their places, without the class token: (B, 197, C) -> (B, C, 14, 14)."""
        side = math.isqrt(PATCHES)
        return output[:, 1:].transpose(1, 2).unflatten(2, (side, side))

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, 224, 224) -> (B, C); the class token is not in it."""
        return self.pooled_norm(self.encoder(x)[:, 1:].mean(1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """{"action_units": (B, K)}, and {"identity": (B, P)} with a branch for it."""
        features = self.features(x)
        found = {"action_units": self.head(features)}
        if self.identity is not None and self.training:
            found["identity"] = self.identity(reverse_gradient(features, self.strength))
        return found

    def layer_of(self, name: str) -> int:
        """Layer of a parameter, for the decay of the learning rate: 0 the patches, i + 1 block i, L + 1 the heads."""
        if name.startswith("encoder.blocks."):
            return int(name.split(".")[2]) + 1
        return 0 if name.startswith("encoder.") else self.layers + 1


def identity_loss(logits: Tensor, identity: Tensor) -> Tensor:
    """Mean binary cross-entropy of every person's logit, over the faces whose person is known.

    The same criterion as for action units, not the cross-entropy of one among many, as the authors have it.

    Args:
        logits: (B, P).
        identity: int64 (B,), the person's number, -1 for nobody known.

    Raises:
        ShapeError: a number of P or more.
    """
    if int(identity.max()) >= logits.shape[1]:
        raise ShapeError(
            f"expected people numbered under {logits.shape[1]}, got {int(identity.max())}. Build the network with "
            "as many `people` as the data set has."
        )
    person = functional.one_hot(identity.clamp(min=0), logits.shape[1]).float()
    return binary_cross_entropy(logits, torch.where((identity >= 0)[:, None], person, torch.nan))


class IatTask(UnitsTask):
    """Binary cross-entropy of the units, and, of equal weight, of the people (`extras["identity"]`)."""

    def loss(self, batch: Batch) -> Tensor:
        """Scalar training loss of a batch."""
        output = self.network(batch.images)
        loss = binary_cross_entropy(
            output["action_units"], known_units(batch, output["action_units"]), batch.class_weights
        )
        if "identity" not in output:
            return loss
        nobody = torch.full((len(batch.images),), -1, device=batch.images.device)
        return loss + identity_loss(output["identity"], batch.extras.get("identity", nobody))


PAPER = Paper(
    "Representation Learning and Identity Adversarial Training for Facial Behavior Understanding",
    "Mang Ning, Albert Ali Salah, Itir Onal Ertugrul",
    2024,
    "arXiv 2407.11243",
    "https://github.com/forever208/FMAE-IAT",
)
DIFFERS = (
    "Weights are fresh; the authors start from an autoencoder of nine million faces, which `pretrain` can make of "
    "other faces. Their checkpoints are not read: their tensors' names were not seen.",
    "RandAugment is not in mien: views are jittered, and one in four has a grey rectangle instead of random pixels.",
    "Places are fixed in fine-tuning too.",
    "Folds by person are ours, and a fifth of the training people choose the epoch; the authors choose it on the test fold.",
    "All coded frames are kept; their scripts for BP4D+ and DISFA keep only frames with at least one active unit.",
    "The crop is mien's own alignment.",
)
FROM_MEMORY = "from memory, without heads; theirs may count the fixed places"
WITHOUT = ("head",)
SHARED: dict[str, Any] = {
    "paper": PAPER,
    "preprocess": Preprocess(SIZE, "mien_face_v1", "RGB", IMAGENET_MEAN, IMAGENET_STD),
    "labels": UNITS,
    "differs": DIFFERS,
    "task": IatTask,
    "quick_options": {"dim": 64, "depth": 2, "heads": 2, "drop_path": 0.0},
}


@register(**SHARED, counts=Counts(21_700_000, tolerance=0.01, source=FROM_MEMORY, without=WITHOUT))
def fmae_iat_s(
    classes: int = len(UNITS), dim: int = 384, depth: int = 12, heads: int = 6, **options: Any
) -> nn.Module:
    """ViT-S; `FmaeIat` says what the options are."""
    return FmaeIat(classes, dim, depth, heads, **options)


@register(**SHARED, counts=Counts(85_800_000, tolerance=0.01, source=FROM_MEMORY, without=WITHOUT))
def fmae_iat_b(
    classes: int = len(UNITS), dim: int = 768, depth: int = 12, heads: int = 12, **options: Any
) -> nn.Module:
    """ViT-B; `FmaeIat` says what the options are."""
    return FmaeIat(classes, dim, depth, heads, **options)


@register(
    **SHARED,
    counts=Counts(303_300_000, tolerance=0.01, source=FROM_MEMORY, without=WITHOUT),
    reported=(
        Reported("bp4d", "mean_f1", 0.671, "abstract; the authors' folds"),
        Reported("bp4d_plus", "mean_f1", 0.668, "abstract; the authors' folds"),
        Reported("disfa", "mean_f1", 0.701, "abstract; the authors' folds"),
    ),
)
def fmae_iat_l(
    classes: int = len(UNITS), dim: int = 1024, depth: int = 24, heads: int = 16, **options: Any
) -> nn.Module:
    """ViT-L; `FmaeIat` says what the options are."""
    return FmaeIat(classes, dim, depth, heads, **options)
