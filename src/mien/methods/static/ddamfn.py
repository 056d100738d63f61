"""DDAMFN: a MobileFaceNet with mixed kernels, and attention heads that look along two directions.

Paper: Saining Zhang, Yuhang Zhang, Ye Zhang, Yufei Wang, Zhigang Song, "A Dual-Direction Attention Mixed
Feature Network for Facial Expression Recognition", Electronics 2023, 12(17), 3595. Official code:
github.com/SainingZhang/DDAMFN, no licence file found.

The trunk splits the channels of each depthwise convolution over kernels of 3 to 9 pixels and weighs the result
by coordinate attention. Two heads then make a map each, as the product of a column and a row that come from
depthwise convolutions over whole rows and columns; the larger of the two weighs the trunk's map. A loss keeps
the heads apart.

Differs from the paper: parameters that the authors' code declares and never uses (a norm and PReLU after the
mixed kernels, a convolution in each head, a norm of the logits) are left out, 81 thousand of them; without them
the network has the published 4.11 M. Weights are fresh, not from MS-Celeb. Classes stand in alphabetical order,
as in HSEmotion; the authors' are in AffectNet's, and `from_authors` moves them.

Needs: float32 (B, 3, S, S), RGB, ImageNet mean and std, S = 112 or another multiple of 16. Gives:
{"expression": (B, K), "attention": (B, M, 512, S/16, S/16)} for M heads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import LabelError, OptionError, WeightsError
from mien.labels.expressions import EXPRESSIONS, canonical
from mien.labels.expressions import order as expression_order
from mien.methods.authors import load_strictly, renamed
from mien.methods.method import Counts, Paper, Reported, register
from mien.methods.task import Batch, Task, soft_cross_entropy
from mien.nn.checks import expect_faces
from mien.types.media import IMAGENET_MEAN, IMAGENET_STD, Preprocess

LABELS = tuple(sorted(EXPRESSIONS))
AFFECTNET_ORDER = expression_order("affectnet_8")
"""Output order of the authors' AffectNet checkpoints, as their test script names it; 7 lack contempt."""

STRIDE, CHANNELS, EPSILON = 16, 512, 2.220446049250313e-16


class ConvUnit(nn.Module):
    """Convolution without bias, batch norm, PReLU or nothing: (B, I, H, W) -> (B, O, h, w)."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: tuple[int, int] = (1, 1),
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)
        self.act = nn.Identity() if linear else nn.PReLU(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the three in turn."""
        return self.act(self.norm(self.conv(x)))


class MixedDepthwise(nn.Module):
    """Depthwise convolution with kernels of several sizes: (B, C, H, W) -> (B, C, H/stride, W/stride).

    Args:
        kernels: kernel size -> how many channels have it, in order; they sum to C.
    """

    def __init__(self, kernels: Mapping[int, int], stride: int) -> None:
        super().__init__()
        self.splits = list(kernels.values())
        self.convs = nn.ModuleList(
            nn.Conv2d(share, share, kernel, stride, kernel // 2, groups=share, bias=False)
            for kernel, share in kernels.items()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Each share by its own kernel."""
        return torch.cat(
            [conv(part) for conv, part in zip(self.convs, x.split(self.splits, 1), strict=True)], 1
        )


class CoordinateGates(nn.Module):
    """From a column and a row to a map in (0, 1) (Hou et al., "Coordinate Attention", CVPR 2021).

    The two are read by the same 1x1 convolution, then each has its own, and the map is their product.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(8, channels // 32)
        self.mix, self.norm = nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner)
        self.to_column, self.to_row = nn.Conv2d(inner, channels, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, column: Tensor, row: Tensor) -> Tensor:
        """Column (B, C, h, 1) and row (B, C, 1, w) to a map (B, C, h, w)."""
        height, width = column.shape[2], row.shape[3]
        both = torch.cat([column, row.transpose(2, 3)], 2)  # (B, C, h + w, 1)
        column, row = functional.hardswish(self.norm(self.mix(both))).split([height, width], 2)
        return torch.sigmoid(self.to_column(column)) * torch.sigmoid(self.to_row(row.transpose(2, 3)))


class MixedBlock(nn.Module):
    """Widen, mixed depthwise, coordinate attention, narrow: (B, I, H, W) -> (B, O, H/stride, W/stride)."""

    def __init__(self, channels_in: int, channels_out: int, kernels: Mapping[int, int], stride: int) -> None:
        super().__init__()
        hidden = sum(kernels.values())
        self.shortcut = stride == 1
        self.expand = ConvUnit(channels_in, hidden)
        self.depthwise = MixedDepthwise(kernels, stride)
        self.gates = CoordinateGates(hidden)
        self.project = ConvUnit(hidden, channels_out, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block, with a shortcut where the stride is 1."""
        y = self.depthwise(self.expand(x))
        y = self.project(y * self.gates(y.mean(3, keepdim=True), y.mean(2, keepdim=True)))
        return x + y if self.shortcut else y


class MixedFeatureNet(nn.Sequential):
    """The trunk: (B, 3, S, S) -> (B, 512, S/16, S/16)."""

    # (channels, kernels of the block with stride 2, residual blocks, their kernels)
    stages = (
        (64, {3: 64, 5: 32, 7: 32}, 9, {3: 96, 5: 32}),
        (128, {3: 128, 5: 64, 7: 64}, 16, {3: 192, 5: 64}),
        (256, {3: 256, 5: 256, 7: 256, 9: 256}, 6, {3: 172, 5: 170, 7: 170}),
    )

    def __init__(self) -> None:
        channels = 64
        parts: list[nn.Module] = [ConvUnit(3, channels, (3, 3), 2, 1)]
        parts.append(ConvUnit(channels, channels, (3, 3), 1, 1, channels))
        for wider, reducing, count, kernels in self.stages:
            parts.append(MixedBlock(channels, wider, reducing, 2))
            parts.append(nn.Sequential(*[MixedBlock(wider, wider, kernels, 1) for _ in range(count)]))
            channels = wider
        parts.append(ConvUnit(channels, CHANNELS))
        super().__init__(*parts)


class DirectionHead(nn.Module):
    """Dual-direction attention: (B, C, s, s) -> a map in (0, 1) of the same shape."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.column = ConvUnit(channels, channels, (1, side), groups=channels, linear=True)
        self.row = ConvUnit(channels, channels, (side, 1), groups=channels, linear=True)
        self.gates = CoordinateGates(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Whole rows make the column (B, C, s, 1), whole columns the row (B, C, 1, s)."""
        return self.gates(self.column(x), self.row(x))


class DDAMFN(nn.Module):
    """The network. `forward` gives a dict of logits and maps; `features` what the last layer sees (B, 512).

    Args:
        classes: K.
        heads: M, at least 1.
        size: S, a multiple of 16, from 32 on; the authors' weights are for 112.
    """

    explain_layer = "trunk"

    def __init__(self, classes: int = len(LABELS), heads: int = 2, size: int = 112) -> None:
        super().__init__()
        if size < 2 * STRIDE or size % STRIDE:
            raise OptionError(f"expected a size that is a multiple of {STRIDE}, from 32 on, got {size}")
        if heads < 1:
            raise OptionError(f"expected at least 1 attention head, got {heads}")
        self.size, side = size, size // STRIDE
        self.trunk = MixedFeatureNet()
        self.heads = nn.ModuleList(DirectionHead(CHANNELS, side) for _ in range(heads))
        self.pool = ConvUnit(CHANNELS, CHANNELS, (side, side), groups=CHANNELS, linear=True)
        self.head = nn.Linear(CHANNELS, classes)

    def attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, 512) and the heads' maps (B, M, 512, S/16, S/16) of faces (B, 3, S, S)."""
        expect_faces(x, 3, self.size)
        trunk = self.trunk(x)
        maps = torch.stack([head(trunk) for head in self.heads], 1)
        return self.pool(trunk * maps.amax(1)).flatten(1), maps

    def features(self, x: Tensor) -> Tensor:
        """What the last layer sees: (B, 3, S, S) -> (B, 512)."""
        return self.attend(x)[0]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits (B, K) as "expression" and the heads' maps as "attention"."""
        features, maps = self.attend(x)
        return {"expression": self.head(features), "attention": maps}


def attention_loss(maps: Tensor) -> Tensor:
    """Number of pairs of heads over the sum of their mean squared differences: small where heads differ.

    Args:
        maps: (B, M, C, h, w).

    Returns:
        a scalar; 0 for a single head, finite (about 5e15) for equal ones. Source: the authors' code.
    """
    pairs = list(combinations(maps.unbind(1), 2))
    if not pairs:
        return maps.new_zeros(())
    apart = torch.stack([functional.mse_loss(one, other) for one, other in pairs]).sum()
    return len(pairs) / (apart + EPSILON)


class DDAMFNTask(Task):
    """Cross-entropy and a tenth of `attention_loss`."""

    weight = 0.1

    def loss(self, batch: Batch) -> Tensor:
        """Scalar training loss of a batch."""
        output = self.network(batch.images)
        classes = soft_cross_entropy(output["expression"], batch.targets, batch.class_weights)
        return classes + self.weight * attention_loss(output["attention"].float())


@register(
    paper=Paper(
        "A Dual-Direction Attention Mixed Feature Network for Facial Expression Recognition",
        "Saining Zhang, Yuhang Zhang, Ye Zhang, Yufei Wang, Zhigang Song",
        2023,
        "Electronics 12(17), 3595",
        "https://github.com/SainingZhang/DDAMFN",
    ),
    preprocess=Preprocess(112, "mien_face_v1", "RGB", IMAGENET_MEAN, IMAGENET_STD),
    labels=LABELS,
    counts=Counts(
        4_110_000,
        539_600_000,
        0.01,
        "parameters: published, quoted from memory; operations: convolutions counted here (551 M published, "
        "quoted from memory)",
    ),
    reported=(
        Reported("rafdb", "accuracy", 91.35, "from memory"),
        Reported("rafdb", "accuracy", 92.04, "DDAMFN++, name of the repository's checkpoint"),
        Reported("affectnet_7", "accuracy", 67.03, "from memory"),
        Reported("affectnet_8", "accuracy", 64.25, "from memory"),
        Reported("affectnet_8", "accuracy", 64.69, "DDAMFN++, name of the repository's checkpoint"),
        Reported("affwild2", "ccc_valence", 0.468, "HSEmotion's ABAW-6 notebook, head on frozen features"),
        Reported("affwild2", "ccc_arousal", 0.537, "HSEmotion's ABAW-6 notebook, head on frozen features"),
    ),
    differs=(
        "Parameters that the authors' code declares and never uses are left out.",
        "Weights are fresh unless `from_authors` gives them; theirs begin with MS-Celeb.",
        "Classes stand in alphabetical order; the authors' in AffectNet's.",
        "Aligned by mien's own five points.",
    ),
    task=DDAMFNTask,
)
def ddamfn(classes: int = len(LABELS), size: int = 112, heads: int = 2) -> nn.Module:
    """DDAMFN with two heads; size is a multiple of 16."""
    return DDAMFN(classes, heads, size)


_UNUSED = (r"\.conv_dw\.(bn|prelu)\.", r"^cat_head\d+\.CoordAtt\.Linear\.", r"^bn\.")
_KEYS = (
    (r"^features\.", "trunk."),
    (r"^(trunk\.\d+)\.model\.", r"\1."),
    (r"\.conv_dw\.mixed_depthwise_conv\.", ".depthwise.convs."),
    (r"\.CA\.", ".gates."),
    (r"^(trunk\.\d+(\.\d+)?)\.conv\.(conv|bn|prelu)\.", r"\1.expand.\3."),
    (r"^cat_head(\d+)\.CoordAtt\.Linear_h\.", r"heads.\1.column."),
    (r"^cat_head(\d+)\.CoordAtt\.Linear_w\.", r"heads.\1.row."),
    (r"^cat_head(\d+)\.CoordAtt\.", r"heads.\1.gates."),
    (r"\.gates\.conv1\.", ".gates.mix."),
    (r"\.gates\.conv2\.", ".gates.to_column."),
    (r"\.gates\.conv3\.", ".gates.to_row."),
    (r"\.gates\.bn1\.", ".gates.norm."),
    (r"^Linear\.", "pool."),
    (r"^fc\.", "head."),
    (r"\.bn\.", ".norm."),
    (r"\.prelu\.", ".act."),
)
"""Pattern and replacement, applied in turn, from the authors' names to ours."""


def from_authors(state_dict: Mapping[str, Tensor], order: Sequence[str] | None = None) -> DDAMFN:
    """A network with the authors' weights, in evaluation mode, its classes in alphabetical order.

    Args:
        state_dict: "model_state_dict" of one of their files, such as "affecnet8_epoch25_acc0.6469.pth". They
            are pickled: open such a file where you trust it.
        order: what the outputs mean; AffectNet's order, cut to the outputs, if left out. Their scripts for RAF-DB name
            AffectNet's order too, while the order of RAF-DB's own files is another: check it on labelled faces.

    No checkpoint was seen here; names and shapes are those of the authors' network files (read), the class
    order is that of their test scripts (read).

    Raises:
        WeightsError: another network, or a tensor that is missing, left over or of another shape.
        LabelError: `order` does not name each output once.
        UnknownNameError: a name in it is none of the eight expressions.
    """
    used = {name: value for name, value in state_dict.items() if not any(re.search(x, name) for x in _UNUSED)}
    state = {renamed(name, _KEYS): value for name, value in used.items()}
    if "head.bias" not in state:
        raise WeightsError("expected the authors' DDAMFN with a last layer 'fc', got a network without it")
    outputs = len(state["head.bias"])
    order = AFFECTNET_ORDER[:outputs] if order is None else tuple(map(canonical, order))
    if len(order) != outputs or len(set(order)) != outputs:
        raise LabelError(f"expected {outputs} different classes, got {', '.join(order)}. Give `order`.")
    rows = [order.index(name) for name in sorted(order)]
    for part in ("weight", "bias"):
        state[f"head.{part}"] = state[f"head.{part}"][rows]
    heads = len({name.split(".")[1] for name in state if name.startswith("heads.")})
    network = DDAMFN(outputs, max(heads, 1))
    load_strictly(network, state, "expected the authors' DDAMFN, got another network")
    return network.eval()
