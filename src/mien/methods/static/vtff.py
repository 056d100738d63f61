"""VTFF: a face and its local binary patterns, fused by attention, read as words by a transformer.

Paper: Fuyan Ma, Bin Sun, Shutao Li, "Facial Expression Recognition with Visual Transformers and Attentional
Selective Fusion", IEEE Transactions on Affective Computing 2021, arXiv 2103.16854. Official code: none found.

Two ResNet-18 trunks see the RGB face and its map of local binary patterns. Attentional selective fusion (ASF)
weighs the two feature maps against each other, per channel and per place; the fused places become words of
768 numbers; a transformer encoder reads them and its class token answers.

Differs from the paper: the map of patterns is made inside the network, from the 8-bit grey of the
de-normalised input, so that the exported file needs nothing but the face; the fusion gate is by default one
sigmoid of the summed global and local context, so that the two weights sum to 1 (`gate="paper"` is the sum of two
sigmoids, as one third-party port writes it; another has it otherwise, the paper's equation was not seen); trunks start from fresh weights unless `start_trunks` is called (the authors
start from a face recogniser, quoted from memory). The inner sizes are confirmed by the published parameter
counts; activations and the learning recipe are from memory and from third-party ports.

Needs: float32 (B, 3, S, S), RGB, ImageNet mean and std, S = 224 or another multiple of 16. Gives: logits
(B, classes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import OptionError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.authors import load_strictly
from mien.methods.method import Counts, Paper, Reported, register
from mien.nn.checks import expect_faces
from mien.types.media import IMAGENET_MEAN, IMAGENET_STD, Preprocess

NEIGHBOURS = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
"""(row, column) of a 3x3 window's border, clockwise from the top left; the first gives the highest bit."""

GATES = ("sum_sigmoid", "paper")
STRIDE, WORD, HEADS, HIDDEN, REDUCTION = 32, 768, 8, 3072, 8


def grey_levels(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """8-bit grey of normalised faces: (B, 3, H, W) -> (B, 1, H, W), whole numbers 0..255.

    Weights of ITU-R BT.601. Pixels are rounded to whole levels first, so that all sums are exact in float32
    and every runtime finds the same equal neighbours.
    """
    levels = torch.round(images * std + mean).clamp(0, 255)
    red, green, blue = levels.split(1, 1)
    return torch.floor((299 * red + 587 * green + 114 * blue + 500) / 1000)


def local_binary_patterns(grey: Tensor) -> Tensor:
    """Code of each pixel's 3x3 window: (B, 1, H, W) -> (B, 1, H, W), whole numbers 0..255.

    Eight neighbours at a distance of one pixel, each a bit: 1 where it is at least as bright as the centre.
    The border is repeated, so that beyond it a pixel meets itself or its neighbours. Source: Ojala et al., "A
    comparative study of texture measures", Pattern Recognition 1996.
    """
    height, width = grey.shape[2:]
    padded = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    code = torch.zeros_like(grey)
    for bit, (row, column) in enumerate(NEIGHBOURS):
        neighbour = padded[:, :, row : row + height, column : column + width]
        code = code + (neighbour >= grey).to(grey.dtype) * 2 ** (7 - bit)
    return code


class ResidualBlock(nn.Module):
    """Basic block of ResNet-18: (B, I, H, W) -> (B, O, H/stride, W/stride). Names as in torchvision's files."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Two convolutions around a shortcut."""
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.downsample(x) + self.bn2(self.conv2(inner)))


class ResNet18(nn.Module):
    """Convolutional part of ResNet-18 (He et al. 2016): (B, 3, S, S) -> (B, 8 width, s, s), s = ceil(S / 32).

    Args:
        width: channels of the first stage, 64 as published.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(ResidualBlock(width, width, 1), ResidualBlock(width, width, 1))
        self.layer2 = nn.Sequential(
            ResidualBlock(width, 2 * width, 2), ResidualBlock(2 * width, 2 * width, 1)
        )
        self.layer3 = nn.Sequential(
            ResidualBlock(2 * width, 4 * width, 2), ResidualBlock(4 * width, 4 * width, 1)
        )
        self.layer4 = nn.Sequential(
            ResidualBlock(4 * width, 8 * width, 2), ResidualBlock(8 * width, 8 * width, 1)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Feature map of the last stage."""
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class SelectiveFusion(nn.Module):
    """ASF: two maps (B, C, h, w) -> one, weighed per channel (global context) and per place (local context).

    Args:
        channels: C.
        gate: "sum_sigmoid", g = sigmoid(G' + L') of the contexts before their sigmoids; or "paper",
            g = sigmoid(G') + sigmoid(L') as one port has it, in (0, 2), so that 1 - g can be negative.
    """

    def __init__(self, channels: int, gate: str = "sum_sigmoid") -> None:
        super().__init__()
        if gate not in GATES:
            raise OptionError(f"expected gate {' or '.join(map(repr, GATES))}, got {gate!r}")
        self.gate = gate
        inner = channels // REDUCTION
        self.from_patterns = nn.Conv2d(channels, channels, 1)
        self.from_rgb = nn.Conv2d(channels, channels, 1)
        self.whole = self._context(channels, inner, channels)
        self.places = self._context(channels, inner, 1)

    @staticmethod
    def _context(channels: int, inner: int, out: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, inner, 1),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, out, 1),
            nn.BatchNorm2d(out),
        )

    def weights(self, patterns: Tensor, rgb: Tensor) -> Tensor:
        """Weight of the RGB branch, (B, C, h, w); the other branch has 1 minus it."""
        mixed = self.from_patterns(patterns) + self.from_rgb(rgb)
        whole = self.whole(mixed.mean((2, 3), keepdim=True))  # (B, C, 1, 1)
        places = self.places(mixed)  # (B, 1, h, w)
        if self.gate == "paper":
            return torch.sigmoid(whole) + torch.sigmoid(places)
        return torch.sigmoid(whole + places)

    def forward(self, patterns: Tensor, rgb: Tensor) -> Tensor:
        """Fused map (B, C, h, w)."""
        weights = self.weights(patterns, rgb)
        return rgb * weights + patterns * (1 - weights)


class EncoderBlock(nn.Module):
    """Pre-norm transformer block (Dosovitskiy et al. 2021): (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """Self-attention and perceptron, each around a shortcut."""
        count, width = x.shape[1:]
        qkv = self.qkv(self.norm1(x)).reshape(-1, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, N, D / heads)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.project(mixed.transpose(1, 2).reshape(-1, count, width))
        return x + self.mlp(self.norm2(x))


class VTFF(nn.Module):
    """The network. `forward` gives logits (B, classes); `features` the class token (B, 768).

    Args:
        classes: outputs.
        depth: transformer blocks, 4 for base and 8 for large.
        size: side of the input in pixels, a multiple of 16; there are ceil(size / 32)^2 + 1 words.
        gate: how the two branches are weighed, see `SelectiveFusion`.
        dropout: before the last layer; 0.5 in a third-party port.
        width: channels of the trunks' first stage.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        classes: int = len(EXPRESSIONS),
        depth: int = 4,
        size: int = 224,
        gate: str = "sum_sigmoid",
        dropout: float = 0.5,
        width: int = 64,
    ) -> None:
        super().__init__()
        if size < STRIDE or size % 16:
            raise OptionError(f"expected a size that is a multiple of 16, from {STRIDE} on, got {size}")
        self.size = size
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.rgb_trunk, self.pattern_trunk = ResNet18(width), ResNet18(width)
        self.fusion = SelectiveFusion(8 * width, gate)
        self.to_words = nn.Linear(8 * width, WORD)
        self.class_token = nn.Parameter(torch.zeros(1, 1, WORD))
        self.positions = nn.Parameter(torch.zeros(1, math.ceil(size / STRIDE) ** 2 + 1, WORD))
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.encoder = nn.Sequential(*[EncoderBlock(WORD, HEADS, HIDDEN) for _ in range(depth)])
        self.norm = nn.LayerNorm(WORD, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(WORD, classes)
        self.explain_layer = f"encoder.{depth - 1}.norm1"  # behind it, only the class token counts

    def explain_maps(self, output: Tensor) -> Tensor:
        """Words at their places, without the class token: (B, 1 + h h, D) -> (B, D, h, h); maps as they are."""
        side = math.ceil(self.size / STRIDE)
        return output[:, 1:].transpose(1, 2).unflatten(2, (side, side)) if output.ndim == 3 else output

    def patterns(self, images: Tensor) -> Tensor:
        """What the second trunk sees: the map of patterns, thrice, normalised as the face is: (B, 3, S, S)."""
        codes = local_binary_patterns(grey_levels(images.detach(), self.mean, self.std))
        return (codes - self.mean) / self.std

    def words(self, images: Tensor) -> Tensor:
        """Class token and fused words with their positions: (B, 3, S, S) -> (B, 1 + ceil(S / 32)^2, 768)."""
        expect_faces(images, 3, self.size)
        fused = self.fusion(self.pattern_trunk(self.patterns(images)), self.rgb_trunk(images))
        words = self.to_words(fused.flatten(2).transpose(1, 2))  # (B, 512, h, w) -> (B, h w, 768)
        return torch.cat([self.class_token.expand(words.shape[0], -1, -1), words], 1) + self.positions

    def features(self, images: Tensor) -> Tensor:
        """Class token after the encoder: (B, 3, S, S) -> (B, 768)."""
        return self.norm(self.encoder(self.words(images)))[:, 0]

    def forward(self, images: Tensor) -> Tensor:
        """Logits: (B, 3, S, S) -> (B, classes)."""
        return self.head(self.dropout(self.features(images)))


PAPER = Paper(
    "Facial Expression Recognition with Visual Transformers and Attentional Selective Fusion",
    "Fuyan Ma, Bin Sun, Shutao Li",
    2021,
    "arXiv 2103.16854",
)
PREPROCESS = Preprocess(224, "mien_face_v1", "RGB", IMAGENET_MEAN, IMAGENET_STD)
DIFFERS = (
    "The map of patterns is made inside the network, from the 8-bit grey of the input.",
    "The fusion's two weights sum to 1; `gate='paper'` is the sum of two sigmoids of a third-party port. The paper's "
    "equation was not seen, and ports disagree.",
    "Trunks start fresh unless `start_trunks` is called; the authors start from a face recogniser (from memory).",
    "ReLU inside the fusion, the norm after the encoder and dropout of 0.5 are from ports and memory.",
    "Aligned by mien's own five points.",
)
SOURCE = "parameters: published, quoted from memory; operations: counted here"


@register(
    paper=PAPER,
    preprocess=PREPROCESS,
    counts=Counts(51_800_000, 5_089_000_000, 0.005, SOURCE),
    differs=DIFFERS,
    quick_options={"width": 16, "depth": 1},
)
def vtff_base(
    classes: int = len(EXPRESSIONS),
    size: int = 224,
    gate: str = "sum_sigmoid",
    dropout: float = 0.5,
    width: int = 64,
    depth: int = 4,
) -> nn.Module:
    """VTFF with four transformer blocks; the options are those of `VTFF`."""
    return VTFF(classes, depth, size, gate, dropout, width)


@register(
    paper=PAPER,
    preprocess=PREPROCESS,
    counts=Counts(80_100_000, 6_505_000_000, 0.005, SOURCE),
    reported=(
        Reported("rafdb", "accuracy", 88.14, "abstract; depth not stated"),
        Reported("ferplus", "accuracy", 88.81, "abstract; depth not stated"),
        Reported("affectnet_8", "accuracy", 61.85, "abstract; depth not stated"),
        Reported("affectnet_7", "accuracy", 64.80, "a table reprinted in ExpLLM's repository"),
    ),
    differs=DIFFERS,
    quick_options={"width": 16, "depth": 1},
)
def vtff_large(
    classes: int = len(EXPRESSIONS),
    size: int = 224,
    gate: str = "sum_sigmoid",
    dropout: float = 0.5,
    width: int = 64,
    depth: int = 8,
) -> nn.Module:
    """VTFF with eight transformer blocks; the options are those of `VTFF`."""
    return VTFF(classes, depth, size, gate, dropout, width)


def start_trunks(network: VTFF, state_dict: Mapping[str, Tensor]) -> None:
    """Start both trunks from one ResNet-18, in place.

    Args:
        network: of width 64; all else keeps its values.
        state_dict: keys as in torchvision's ResNet-18 ("conv1.weight", "layer1.0.bn1.bias", ...); its last
            layer "fc" is left out. The authors' own checkpoints are not public, so there is no
            `from_authors`; this layout was not tried on a real file here.

    Raises:
        WeightsError: a tensor is missing, left over or of another shape.
    """
    trunk = {name: value for name, value in state_dict.items() if not name.startswith("fc.")}
    for part in (network.rgb_trunk, network.pattern_trunk):
        load_strictly(part, trunk, "expected a ResNet-18 in torchvision's layout, got another")
