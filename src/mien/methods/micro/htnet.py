"""HTNet: attention within blocks of a flow picture that is cut around eyes and mouth, from small blocks to the whole.

Paper: Zhifeng Wang, Kaihao Zhang, Wenhan Luo, Ramesh Sankaranarayana, "HTNet for micro-expression recognition",
Neurocomputing 2024, arXiv 2307.14637.
Official code: https://github.com/wangzhifengharrison/HTNet, without a licence. What stands here is from a description of
it; its blocks follow NesT (Zhang et al., AAAI 2022). No checkpoint was seen.

Needs: float32 (B, 3, 28, 28), u, v and optical strain between onset and apex, each 0 to 255. Gives: logits (B, 3):
negative, positive, surprise.

Four windows of 14 x 14 around eyes and mouth corners are tiled to a picture of the same size (`four_regions`), cut into
4 x 4 patches of 7 x 7. Three levels: attention inside each of 4 x 4, 2 x 2 and 1 block; between levels a convolution and
a pooling halve the map and double the channels. As published, each block holds one token, so that attention weighs one
thing by 1: only the convolutions mix places. `tests/methods/micro/test_htnet.py` shows it.

Differs from the paper: see `DIFFERS`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import OptionError
from mien.labels.micro import MICRO
from mien.methods.method import Counts, Paper, Reported, register
from mien.nn.checks import expect_faces
from mien.types.media import Preprocess

SIZE, WINDOW = 28, 14
PATCH, GRID = 7, 4
CENTRES = ((9.5, 11.1), (21.4, 10.9), (10.3, 22.1), (20.6, 22.3))
"""Where the authors take eyes and mouth corners (row, column) to be when no face is found in the 28 px apex frame.

They read the detector's (x, y) as (row, column), so that the tiles are transposed: second eye for first mouth corner.
"""


def four_regions(maps: Tensor, centres: Sequence[Sequence[float]] = CENTRES) -> Tensor:
    """Windows of 14 x 14 around four centres, tiled: (B, C, 28, 28) -> (B, C, 28, 28).

    Args:
        maps: flow pictures.
        centres: (row, column) of the windows of the upper left, upper right, lower left and lower right tile; clamped
            to [7, 21] and cut to whole pixels.
    """
    half = WINDOW // 2
    places = [[int(min(max(value, half), SIZE - half)) for value in centre] for centre in centres]
    tiles = [maps[:, :, row - half : row + half, column - half : column + half] for row, column in places]
    return torch.cat([torch.cat(tiles[:2], 3), torch.cat(tiles[2:], 3)], 2)


class ChannelNorm(nn.Module):
    """Layer norm over the channels at each place, (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Mean 0 and deviation 1 at each place, then scale and shift."""
        return functional.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias).movedim(
            -1, 1
        )


class Attention(nn.Module):
    """Attention among the tokens of one block, (N, C, h, w); heads of floor(C / heads) channels."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, (channels // heads) ** -0.5
        inner = channels // heads * heads
        self.qkv = nn.Conv2d(channels, 3 * inner, 1, bias=False)
        self.out, self.dropout = nn.Conv2d(inner, channels, 1), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Every token of the block asks every other."""
        query, key, value = (
            part.flatten(2).unflatten(1, (self.heads, -1)) for part in self.qkv(x).chunk(3, 1)
        )  # (N, heads, c, h w)
        weights = (query.transpose(2, 3) @ key * self.scale).softmax(-1)
        mixed = (value @ weights.transpose(2, 3)).flatten(1, 2).unflatten(2, x.shape[2:])
        return self.dropout(self.out(mixed))


class Block(nn.Module):
    """Attention, then two 1 x 1 convolutions, each after a norm and around a shortcut."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_a, self.attention = ChannelNorm(channels), Attention(channels, heads, dropout)
        self.norm_b = ChannelNorm(channels)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, 4 * channels, 1), nn.GELU(), nn.Dropout(dropout),
            nn.Conv2d(4 * channels, channels, 1), nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) of single blocks."""
        x = x + self.attention(self.norm_a(x))
        return x + self.mlp(self.norm_b(x))


class Level(nn.Module):
    """Blocks of one level, on `divisions` x `divisions` parts of the map: (B, C, H, W), shape kept."""

    def __init__(
        self, channels: int, heads: int, repeats: int, divisions: int, seat_count: int, dropout: float
    ) -> None:
        super().__init__()
        self.divisions = divisions
        self.place = nn.Parameter(torch.randn(seat_count))  # one number a token of a part, for all channels
        self.blocks = nn.ModuleList(Block(channels, heads, dropout) for _ in range(repeats))

    def forward(self, x: Tensor) -> Tensor:
        """Cut into parts, attend inside each, put together."""
        parts, batch = self.divisions, x.shape[0]
        x = x.unflatten(2, (parts, -1)).unflatten(4, (parts, -1))  # (B, C, parts, h, parts, w)
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        x = x + self.place.view(x.shape[2:])
        for block in self.blocks:
            x = block(x)
        x = x.unflatten(0, (batch, parts, parts)).permute(0, 3, 1, 4, 2, 5)
        return x.flatten(4, 5).flatten(2, 3)


class Aggregate(nn.Module):
    """3 x 3 convolution to twice the channels, norm, and a pooling that halves: (B, C, H, W) -> (B, 2C, H/2, W/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, 2 * channels, 3, padding=1), ChannelNorm(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply all three in turn."""
        return functional.max_pool2d(self.norm(self.conv(x)), 3, 2, 1)


class HtNet(nn.Module):
    """The network; see the module's text.

    Args:
        classes: outputs.
        width: channels of the first level; each further one doubles them.
        heads, repeats: of each of the three levels.
        dropout: after attention and in the linear parts.
        tiled: the input is tiled already, such as by the places of each apex face; `four_regions` is then left out.

    Raises:
        OptionError: fewer channels than heads.
    """

    explain_layer = "levels.0"

    def __init__(
        self,
        classes: int = len(MICRO),
        width: int = 256,
        heads: tuple[int, int, int] = (3, 6, 12),
        repeats: tuple[int, int, int] = (2, 2, 10),
        dropout: float = 0.0,
        tiled: bool = False,
    ) -> None:
        super().__init__()
        if width < max(heads[0], -(-heads[1] // 2), -(-heads[2] // 4)):
            raise OptionError(f"expected a width of at least a channel a head {heads}, got {width}")
        self.tiled = tiled
        self.patches = nn.Conv2d(3 * PATCH**2, width, 1)
        widths, parts = [width, 2 * width, 4 * width], [GRID, GRID // 2, 1]
        self.levels = nn.ModuleList(
            Level(*facts, 1, dropout) for facts in zip(widths, heads, repeats, parts, strict=True)
        )
        self.aggregates = nn.ModuleList(Aggregate(channels) for channels in widths[:2])
        self.norm, self.head = ChannelNorm(widths[2]), nn.Linear(widths[2], classes)

    def maps(self, x: Tensor) -> list[Tensor]:
        """What each level gives: (B, 3, 28, 28) -> (B, C, 4, 4), (B, 2C, 2, 2), (B, 4C, 1, 1)."""
        expect_faces(x, 3, SIZE)
        x = x if self.tiled else four_regions(x)
        x = x.unflatten(2, (GRID, PATCH)).unflatten(4, (GRID, PATCH))  # (B, 3, row, y, column, x)
        x = self.patches(x.permute(0, 3, 5, 1, 2, 4).flatten(1, 3))
        found = []
        for index, level in enumerate(self.levels):
            x = level(x)
            found.append(x)
            if index < len(self.aggregates):
                x = self.aggregates[index](x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Logits: (B, 3, 28, 28) -> (B, classes)."""
        return self.head(self.norm(self.maps(x)[-1]).mean((2, 3)))


PAPER = Paper(
    "HTNet for micro-expression recognition",
    "Zhifeng Wang, Kaihao Zhang, Wenhan Luo, Ramesh Sankaranarayana",
    2024,
    "Neurocomputing 2024, arXiv 2307.14637",
    "https://github.com/wangzhifengharrison/HTNet",
    "none found",
)
PREPROCESS = Preprocess(SIZE, "none", "UVS", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
DIFFERS = (
    "The windows lie at the places that the authors use where no face is found, for every clip; they find eyes and mouth "
    "in each apex frame at 28 px. Tile by places of your own and build with `tiled=True` to have theirs.",
    "The epoch is never chosen on the person who is left out; the authors keep the best epoch of that very person.",
    "Pictures are shuffled in each epoch; the authors keep the order of the list.",
)
SELECTED = "from memory; the best epoch of each person was chosen on that person"


@register(
    paper=PAPER,
    preprocess=PREPROCESS,
    labels=MICRO,
    counts=Counts(
        139_582_982, 214_330_192, 0.0, "parameters: counted on the authors' network; operations: here"
    ),
    reported=(
        Reported("megc2019", "uf1", 0.8603, SELECTED),
        Reported("megc2019", "uar", 0.8475, SELECTED),
        Reported("casme2", "uf1", 0.9532, SELECTED),
        Reported("casme2", "uar", 0.9516, SELECTED),
        Reported("smic", "uf1", 0.8049, SELECTED),
        Reported("smic", "uar", 0.7905, SELECTED),
        Reported("samm", "uf1", 0.8131, SELECTED),
        Reported("samm", "uar", 0.8124, SELECTED),
        Reported("casme3", "uf1", 0.5767, SELECTED),
        Reported("casme3", "uar", 0.5415, SELECTED),
    ),
    differs=DIFFERS,
    quick_options={"width": 16, "repeats": (1, 1, 1)},
)
def htnet(
    classes: int = len(MICRO),
    width: int = 256,
    repeats: tuple[int, int, int] = (2, 2, 10),
    dropout: float = 0.0,
    tiled: bool = False,
) -> nn.Module:
    """The published network."""
    return HtNet(classes, width, repeats=repeats, dropout=dropout, tiled=tiled)


@register(
    paper=PAPER,
    preprocess=PREPROCESS,
    labels=MICRO,
    counts=Counts(2_158_278, 3_365_920, 0.0, "counted here"),
    differs=(*DIFFERS, "An eighth of the channels, to be trained on two cores."),
)
def htnet_narrow(classes: int = len(MICRO), width: int = 32, dropout: float = 0.0) -> nn.Module:
    """The same with an eighth of the channels: about a sixty-fourth of the work."""
    return HtNet(classes, width, dropout=dropout)
