"""POSTER++: window cross-attention from landmark features to image features at three scales, then a ViT.

Paper: Jiawei Mao, Rui Xu, Xuesong Yin, Yuanqi Chang, Binling Nie, Aibin Huang, "POSTER++: A simpler and
stronger facial expression recognition network", 2023, arXiv 2301.12149 (first called POSTER V2).
Official code: https://github.com/Talented-Q/POSTER_V2, MIT. Its models/PosterV2_7cls.py, PosterV2_8cls.py,
vit_model.py, vit_model_8.py, ir50.py and mobilefacenet.py were read; none of its checkpoints was.

Image branch: IR-50 of Deng et al., "ArcFace", CVPR 2019, arXiv 1801.07698, first three stages. Landmark
branch: Chen et al., "MobileFaceNets", 2018, arXiv 1804.07573, frozen. Both see the face at 112 px.

Differs from the paper: see `DIFFERS`. It trains with sharpness-aware minimisation, which is the engine's.

Needs: float32 (B, 3, 224, 224), RGB, ImageNet mean and deviation. Gives: logits (B, classes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mien.labels.expressions import order
from mien.methods.authors import load_strictly, renamed
from mien.methods.method import Counts, Paper, Reported, register
from mien.nn.checks import expect_faces
from mien.nn.depth import StochasticDepth
from mien.types.media import IMAGENET_MEAN, IMAGENET_STD, Preprocess

RAFDB = order("rafdb")
"""Classes of RAF-DB in the order of its files, 1 to 7 (from memory), which is that of the authors' outputs."""
EXPECTED = "expected the tensors of {} by the authors' names, got"
SIZE = 224
SCALES = ((64, 2, 28), (128, 4, 14), (256, 8, 7))
"""(channels, heads, side of the map and of its one window) of the three scales."""
IR50_UNITS = (3, 4, 14)
TOKENS = 3 * 49
VIT_HEADS = 8


class IrUnit(nn.Module):
    """Pre-normed residual unit of IR-50: (B, I, H, W) -> (B, O, H / stride, W / stride)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.Conv2d(channels_in, channels_out, 3, 1, 1, bias=False),
            nn.PReLU(channels_out),
            nn.Conv2d(channels_out, channels_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut: nn.Module = nn.MaxPool2d(1, stride)  # takes every stride-th pixel
        if channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Sum of residual and shortcut, nothing after it."""
        return self.residual(x) + self.shortcut(x)


class ImageBranch(nn.Module):
    """Three stages of IR-50: (B, 3, 112, 112) -> (B, 64, 56, 56), (B, 128, 28, 28), (B, 256, 14, 14)."""

    def __init__(self, units: tuple[int, int, int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        self.stages, channels = nn.ModuleList(), 64
        for (wider, _, _), count in zip(SCALES, units, strict=True):
            rest = [IrUnit(wider, wider, 1) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(IrUnit(channels, wider, 2), *rest))
            channels = wider

    def forward(self, x: Tensor) -> list[Tensor]:
        """The map of each stage, the largest first."""
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class ConvUnit(nn.Module):
    """Convolution without bias, batch norm, PReLU or nothing: (B, I, H, W) -> (B, O, H / s, W / s)."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        act: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(channels_out)
        self.act = nn.PReLU(channels_out) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the three in turn."""
        return self.act(self.norm(self.conv(x)))


class Bottleneck(nn.Module):
    """MobileFaceNet's inverted bottleneck: 1x1 to M channels, 3x3 on each, 1x1 to O without activation."""

    def __init__(self, channels_in: int, middle: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.expand = ConvUnit(channels_in, middle, 1)
        self.depth = ConvUnit(middle, middle, 3, stride, middle)
        self.project = ConvUnit(middle, channels_out, 1, act=False)
        self.adds = stride == 1 and channels_in == channels_out
        if self.adds:
            nn.init.constant_(self.project.norm.weight, 0.3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H / stride, W / stride), added to the input where the shapes agree."""
        y = self.project(self.depth(self.expand(x)))
        return x + y if self.adds else y


class LandmarkBranch(nn.Module):
    """Frozen MobileFaceNet: (B, 3, 112, 112) -> (B, 64, 28, 28), (B, 128, 14, 14), (B, 512, 7, 7).

    It never trains: no parameter wants a gradient, and `train()` leaves it in evaluation mode, so that the
    statistics of its batch norms do not drift.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvUnit(3, 64, 3, 2), ConvUnit(64, 64, 3, 1, 64))
        self.down = nn.ModuleList(
            [Bottleneck(64, 128, 64, 2), Bottleneck(64, 256, 128, 2), Bottleneck(128, 512, 128, 2)]
        )
        shapes = ((64, 128, 4), (128, 256, 6), (128, 256, 2))
        self.stages = nn.ModuleList(
            nn.Sequential(*[Bottleneck(width, middle, width, 1) for _ in range(count)])
            for width, middle, count in shapes
        )
        self.widen = ConvUnit(128, 512, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # By what comes in, and small sums: fresh batch norms at rest do not keep signals in size.
                nn.init.kaiming_normal_(module.weight, a=0.25)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> LandmarkBranch:
        """Stay in evaluation mode, whatever is asked."""
        return super().train(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The maps of 28, 14 and 7 pixels."""
        x, maps = self.stem(x), []
        for down, stage in zip(self.down, self.stages, strict=True):
            x = stage(down(x))
            maps.append(x)
        maps[-1] = self.widen(maps[-1])
        return maps


class CrossAttention(nn.Module):
    """Attention from landmarks to image within one window, with a bias a relative position.

    Args:
        dim: channels C.
        heads: C / heads is 32.
        side: the window's side W; N = W * W tokens, (2 W - 1)^2 rows of bias.
    """

    index: Tensor

    def __init__(self, dim: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.key_value, self.proj = nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.bias_table = nn.Parameter(torch.empty((2 * side - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        place = torch.cartesian_prod(torch.arange(side), torch.arange(side))
        offset = place[:, None] - place[None] + side - 1
        index = offset[..., 0] * (2 * side - 1) + offset[..., 1]
        self.register_buffer("index", index, persistent=False)

    def forward(self, image: Tensor, landmarks: Tensor) -> Tensor:
        """Image tokens (B, N, C), mixed as the landmark tokens (B, N, C) ask: (B, N, C)."""
        batch, tokens, channels = image.shape
        split = (self.heads, channels // self.heads)
        query = landmarks.reshape(batch, tokens, *split).transpose(1, 2) * self.scale
        key, value = self.key_value(image).reshape(batch, tokens, 2, *split).permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(-2, -1) + self.bias_table[self.index].permute(2, 0, 1)
        mixed = scores.softmax(-1) @ value  # (B, heads, N, C / heads)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, channels))


class Feed(nn.Module):
    """Add the attention and a perceptron to the image tokens, each scaled per channel: (B, N, C)."""

    def __init__(self, dim: int, drop_path: float) -> None:
        super().__init__()
        self.gamma1, self.gamma2 = (nn.Parameter(1e-5 * torch.ones(dim)) for _ in range(2))
        self.norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.drop = StochasticDepth(drop_path)

    def forward(self, attended: Tensor, shortcut: Tensor) -> Tensor:
        """With both scales at 0 this is the shortcut."""
        x = shortcut + self.drop(self.gamma1 * attended)
        return x + self.drop(self.gamma2 * self.mlp(self.norm(x)))


class Fusion(nn.Module):
    """One scale: image map (B, C, 2W, 2W) and landmark map (B, C, W, W) -> fused map (B, C, W, W)."""

    def __init__(self, dim: int, heads: int, side: int, drop_path: float) -> None:
        super().__init__()
        self.align, self.norm = nn.Conv2d(dim, dim, 3, 2, 1), nn.LayerNorm(dim)
        self.attention, self.feed = CrossAttention(dim, heads, side), Feed(dim, drop_path)

    def forward(self, image: Tensor, landmarks: Tensor) -> Tensor:
        """The normed image tokens are what attention looks at and what it is added to."""
        image = self.align(image)
        tokens = self.norm(image.flatten(2).transpose(1, 2))  # (B, W * W, C)
        fused = self.feed(self.attention(tokens, landmarks.flatten(2).transpose(1, 2)), tokens)
        return fused.transpose(1, 2).reshape(image.shape)


class VitBlock(nn.Module):
    """Pre-normed self-attention and perceptron: (B, N, C) -> (B, N, C)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def attend(self, x: Tensor) -> Tensor:
        """Eight heads, all tokens: (B, N, C) -> (B, N, C)."""
        batch, tokens, channels = x.shape
        width = channels // VIT_HEADS
        qkv = self.qkv(x).reshape(batch, tokens, 3, VIT_HEADS, width).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        mixed = (query @ key.transpose(-2, -1) * width**-0.5).softmax(-1) @ value
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the perceptron."""
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """Class token and learned places over 147 tokens: (B, 147, C) -> gated class token (B, C)."""

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.empty(1, 1, dim))
        self.places = nn.Parameter(torch.empty(1, TOKENS + 1, dim))
        self.blocks = nn.Sequential(*[VitBlock(dim) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.gate = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.Sigmoid())
        for token in (self.class_token, self.places):
            nn.init.trunc_normal_(token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The class token after all blocks, times its own gate (squeeze and excitation, not squeezed)."""
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], 1) + self.places  # (B, 148, C)
        x = self.norm(self.blocks(x))[:, 0]
        return x * self.gate(x)


class PosterPP(nn.Module):
    """The network. `forward` gives logits (B, classes); `features` the gated class token (B, width).

    Args:
        classes: outputs.
        units: units of each stage of the image branch.
        width: channels of the ViT's tokens, a multiple of 8.
        depth: blocks of the ViT.
    """

    def __init__(
        self,
        classes: int = len(RAFDB),
        units: tuple[int, int, int] = IR50_UNITS,
        width: int = 768,
        depth: int = 2,
    ) -> None:
        super().__init__()
        self.image, self.landmarks = ImageBranch(units), LandmarkBranch()
        self.last_landmarks = nn.Conv2d(512, 256, 3, 1, 1)
        rates = (0.0, 0.125, 0.25)
        self.fusions = nn.ModuleList(Fusion(*scale, rate) for scale, rate in zip(SCALES, rates, strict=True))
        halve = nn.Conv2d(64, width, 3, 2, 1), nn.Conv2d(width, width, 3, 2, 1)
        self.embeds = nn.ModuleList(
            [nn.Sequential(*halve), nn.Conv2d(128, width, 3, 2, 1), nn.Conv2d(256, width, 1)]
        )
        self.vit, self.head = Vit(width, depth), nn.Linear(width, classes)
        self.explain_layer = f"vit.blocks.{depth - 1}.norm1"  # behind it, only the class token counts
        nn.init.trunc_normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def tokens(self, x: Tensor) -> Tensor:
        """What goes into the ViT, 49 tokens a scale, the finest first: (B, 3, 224, 224) -> (B, 147, C)."""
        expect_faces(x, 3, SIZE)
        x = x[:, :, ::2, ::2]  # the nearest pixel, as the authors shrink to 112
        marks = self.landmarks(x)
        marks[-1] = self.last_landmarks(marks[-1])
        parts = []
        for image, mark, fuse, embed in zip(self.image(x), marks, self.fusions, self.embeds, strict=True):
            parts.append(embed(fuse(image, mark)).flatten(2).transpose(1, 2))
        return torch.cat(parts, 1)

    def explain_maps(self, output: Tensor) -> Tensor:
        """The ViT's tokens at their places, the scales side by side: (B, 148, C) -> (B, 3 C, 7, 7)."""
        if output.ndim != 3:
            return output
        scales = output[:, 1:].transpose(1, 2).unflatten(2, (len(SCALES), 7, 7))
        return scales.movedim(2, 1).flatten(1, 2)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, 224, 224) -> (B, C)."""
        return self.vit(self.tokens(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits: (B, 3, 224, 224) -> (B, classes)."""
        return self.head(self.features(x))


def from_authors(state_dict: Mapping[str, Tensor]) -> PosterPP:
    """A network with the authors' weights, in evaluation mode; the number of classes is that of the file.

    The names were seen in the authors' code (models/PosterV2_7cls.py and what it imports; the network of
    eight classes has the same), no checkpoint was. What `UNUSED` names is dropped; all else must be there.

    Args:
        state_dict: the entry `state_dict` of the authors' checkpoint, with or without `module.` before
            each name.

    Raises:
        WeightsError: a tensor is missing, not known or of another shape.
    """
    state = by_our_names(state_dict)
    head = state.get("head.weight")
    network = PosterPP(len(RAFDB) if head is None else len(head))
    load_strictly(network, state, EXPECTED.format("POSTER V2"))
    return network.eval()


def load_image_branch(network: PosterPP, state_dict: Mapping[str, Tensor]) -> None:
    """Start the image branch from an IR-50 face recogniser, in place; the rest keeps its values.

    Args:
        network: changed in place.
        state_dict: by the names of the authors' models/ir50.py. The identity layer is dropped, and a fourth stage
            `body4`, which their network leaves out; the authors load that file leniently, mien does not.

    Raises:
        WeightsError: a tensor is missing, not known or of another shape.
    """
    load_strictly(network.image, by_our_names(state_dict, "ir_back."), EXPECTED.format("IR-50"))


def load_landmark_branch(network: PosterPP, state_dict: Mapping[str, Tensor]) -> None:
    """Give the frozen branch the weights of a MobileFaceNet that finds landmarks, in place.

    Args:
        network: changed in place.
        state_dict: by the names of the authors' models/mobilefacenet.py (their checkpoint's entry
            `state_dict`). The layer that gives the points is dropped.

    Raises:
        WeightsError: a tensor is missing, not known or of another shape.
    """
    state = by_our_names(state_dict, "face_landback.")
    load_strictly(network.landmarks, state, EXPECTED.format("MobileFaceNet"))


def by_our_names(state_dict: Mapping[str, Tensor], part: str = "") -> dict[str, Tensor]:
    """The authors' tensors by our names, without those in `UNUSED`; unknown names stay as they are.

    Args:
        state_dict: by the authors' names.
        part: what the authors put before the names of this part of the network; our names are then
            within the part too.
    """
    state = {}
    for name, value in state_dict.items():
        name = part + name.removeprefix("module.")
        if re.match(UNUSED, name):
            continue
        name = renamed(name, NAMES)
        state[name.partition(".")[2] if part else name] = value
    return state


NAMES = (
    (r"^face_landback\.conv1\.", "landmarks.stem.0."),
    (r"^face_landback\.conv2_dw\.", "landmarks.stem.1."),
    *[(rf"^face_landback\.conv_{name}\.", f"landmarks.down.{i}.") for i, name in enumerate((23, 34, 45))],
    *[(rf"^face_landback\.conv_{i + 3}\.model\.", f"landmarks.stages.{i}.") for i in range(3)],
    (r"^face_landback\.conv_6_sep\.", "landmarks.widen."),
    (r"^(landmarks.*)\.conv\.(?=conv|bn|prelu)", r"\1.expand."),
    (r"^(landmarks.*)\.conv_dw\.", r"\1.depth."),
    (r"^(landmarks.*)\.bn\.", r"\1.norm."),
    (r"^(landmarks.*)\.prelu\.", r"\1.act."),
    (r"^ir_back\.input_layer\.", "image.stem."),
    *[(rf"^ir_back\.body{i + 1}\.", f"image.stages.{i}.") for i in range(3)],
    (r"\.res_layer\.", ".residual."),
    (r"\.shortcut_layer\.", ".shortcut."),
    *[(rf"^conv{i + 1}\.", f"fusions.{i}.align.") for i in range(3)],
    *[(rf"^window{i + 1}\.", f"fusions.{i}.") for i in range(3)],
    *[(rf"^attn{i + 1}\.", f"fusions.{i}.attention.") for i in range(3)],
    *[(rf"^ffn{i + 1}\.", f"fusions.{i}.feed.") for i in range(3)],
    (r"\.attention\.qkv\.", ".attention.key_value."),
    (r"\.relative_position_bias_table$", ".bias_table"),
    (r"^last_face_conv\.", "last_landmarks."),
    (r"^embed_q\.", "embeds.0."),
    (r"^embed_k\.0\.", "embeds.1."),
    (r"^embed_v\.proj\.", "embeds.2."),
    (r"^VIT\.head\.linear\.", "head."),
    (r"^VIT\.cls_token$", "vit.class_token"),
    (r"^VIT\.pos_embed$", "vit.places"),
    (r"^VIT\.se_block\.linear1\.", "vit.gate.0."),
    (r"^VIT\.se_block\.linear2\.", "vit.gate.2."),
    (r"^VIT\.", "vit."),
    (r"\.attn\.(qkv|proj)\.", r".\1."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
)
"""Pattern in the authors' names -> ours, one after the other."""

UNUSED = (
    r"(face_landback|ir_back)\.output_layer\.|ir_back\.body4\."
    r"|VIT\.(patch_embed|eca_block|CON1|IRLinear1|IRLinear2)\."
    r"|VIT\.blocks\.\d+\.conv\."
    r"|attn[123]\.relative_position_index$"
)
"""Tensors of the authors' network that never reach its output, or that follow from its shape."""

DIFFERS = (
    "The landmark branch stays in evaluation mode while the rest trains; in the authors' code its batch "
    "norms' statistics drift.",
    "Parameters that never reach the authors' output are not built: 14,466,637 that are not run at all and "
    "the landmark layer of 96,016, whose answer is thrown away.",
    "Both branches start fresh unless their files are given (`load_image_branch`, `load_landmark_branch`); "
    "the authors start from an MS-Celeb-1M IR-50 and a landmark finder. A frozen branch with fresh weights "
    "is a random projection.",
    "The epoch is never chosen on the test split, as the authors' script does.",
    "Batch norms' statistics are held in the second pass of SAM; in the authors' script they move twice a step.",
    "The crop is mien's own alignment, not that of the data set.",
)


@register(
    paper=Paper(
        "POSTER++: A simpler and stronger facial expression recognition network",
        "Jiawei Mao, Rui Xu, Xuesong Yin, Yuanqi Chang, Binling Nie, Aibin Huang",
        2023,
        "arXiv 2301.12149",
        "https://github.com/Talented-Q/POSTER_V2",
        "MIT",
    ),
    preprocess=Preprocess(SIZE, "mien_face_v1", "RGB", IMAGENET_MEAN, IMAGENET_STD),
    labels=RAFDB,
    counts=Counts(
        parameters=43_753_941,
        macs=8_592_404_224,
        tolerance=0.0,
        source="parameters: the authors' counter (thop, 43,724,311; 43.7 M published), plus 125,646 that are "
        "no layer's (places, class token, position biases, scales), less the landmark layer of 96,016. "
        "Multiply-accumulates: counted here by torch.utils.flop_counter / 2, of which 157 M are attention's "
        "products; convolutions and linear layers alone are 8.435 G (8.4 G published; thop: 8.482 G, without "
        "those products, with norms)",
    ),
    reported=(
        Reported("rafdb", "accuracy", 92.21, "abstract"),
        Reported("affectnet_7", "accuracy", 67.49, "abstract"),
        Reported("affectnet_8", "accuracy", 63.77, "abstract"),
        Reported("caer_s", "accuracy", 93.00, "repository's README"),
    ),
    differs=DIFFERS,
    quick_options={"units": (1, 1, 1), "width": 256, "depth": 1},
)
def poster_pp(
    classes: int = len(RAFDB),
    units: tuple[int, int, int] = IR50_UNITS,
    width: int = 768,
    depth: int = 2,
) -> nn.Module:
    """The paper's network; `PosterPP` says what the options are."""
    return PosterPP(classes, units, width, depth)
