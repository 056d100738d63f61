"""mien's own expression network: a MobileNet-v1 trunk with PReLU, global average, one linear layer.

Trunk: the convolutional part of SFace (Zhong et al., "SFace: Sigmoid-Constrained Hypersphere Loss for
Robust Face Recognition", IEEE TIP 2021; weights of the OpenCV model zoo, Apache-2.0), which is the
MobileNet-v1 of Howard et al. 2017 with a stride-1 stem. Its identity layer is left out: pooled
convolutional features carry expression, the identity embedding throws it away.

Differs from SFace: inputs of any side from 32 px (trained at 48 and 64), no 7x7 dense embedding layer,
dropout and a linear layer over the eight expressions.

Needs: float32 (B, 3, H, W), RGB, (x - 127.5) / 128. Gives: logits (B, 8).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import WeightsError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.authors import load_strictly
from mien.methods.method import Counts, Paper, register
from mien.nn.checks import expect_faces
from mien.types.media import Preprocess
from mien.weights.store import load_weights

STEM_CHANNELS = 32
NORM_EPS = 1e-3
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""(channels out, stride) of the thirteen depthwise-separable blocks."""


class ConvUnit(nn.Module):
    """Convolution without bias, batch norm, PReLU: (B, I, H, W) -> (B, O, H/stride, W/stride)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(channels_out, eps=NORM_EPS)
        self.act = nn.PReLU(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the three in turn."""
        return self.act(self.norm(self.conv(x)))


class SplitPReLU(nn.Module):
    """PReLU as slope * x + (1 - slope) * relu(x): the same values.

    ONNX Runtime keeps its blocked memory layout through these operators and leaves it for `PRelu`, which
    makes the whole network more than twice as slow on one core.
    """

    slope: Tensor
    rest: Tensor

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.register_buffer("slope", slope.detach().view(1, -1, 1, 1))
        self.register_buffer("rest", 1 - slope.detach().view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x * self.slope + torch.relu(x) * self.rest


class MobileExpression(nn.Module):
    """The network. `forward` gives logits (B, classes); `features` the pooled trunk (B, 1024)."""

    explain_layer, cam_layer = (
        "trunk.22",
        "trunk",
    )  # the last map of an eighth, and of a sixteenth, of the side

    def __init__(self, classes: int = len(EXPRESSIONS), dropout: float = 0.2) -> None:
        super().__init__()
        units = [ConvUnit(3, STEM_CHANNELS, 3, 1, 1)]
        channels = STEM_CHANNELS
        for wider, stride in BLOCKS:
            units += [ConvUnit(channels, channels, 3, stride, channels), ConvUnit(channels, wider, 1, 1, 1)]
            channels = wider
        self.trunk = nn.Sequential(*units)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, classes)

    def features(self, x: Tensor) -> Tensor:
        """Pooled trunk: (B, 3, H, W) -> (B, 1024)."""
        expect_faces(x, 3, least=32)
        return self.trunk(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Logits: (B, 3, H, W) -> (B, classes)."""
        return self.head(self.dropout(self.features(x)))

    def for_inference(self) -> MobileExpression:
        """A copy that gives the same logits, faster: batch norms folded into the convolutions, PReLU split."""
        folded = copy.deepcopy(self).eval()
        for unit in folded.trunk.children():
            unit.conv = nn.utils.fusion.fuse_conv_bn_eval(unit.conv, unit.norm)  # type: ignore[type-var, arg-type]
            unit.norm = nn.Identity()
            unit.act = SplitPReLU(unit.act.weight)  # type: ignore[arg-type, union-attr]
        return folded


@register(
    paper=Paper("mien's expression network", "the mien authors", 2026, "docs/models/expression.md"),
    preprocess=Preprocess(64, "mien_face_v1", "RGB", (127.5, 127.5, 127.5), (128.0, 128.0, 128.0)),
    counts=Counts(parameters=3_225_000, macs=187_000_000, tolerance=0.02, source="counted here"),
)
def mobile_expression(classes: int = len(EXPRESSIONS), dropout: float = 0.2) -> nn.Module:
    """The network that ships; `load_sface_trunk` gives it its start."""
    return MobileExpression(classes, dropout)


def load_sface_trunk(network: MobileExpression, tensors: Mapping[str, np.ndarray]) -> None:
    """Start the trunk from SFace.

    Args:
        network: changed in place; its head keeps its values.
        tensors: constants of SFace's ONNX file by name, as `mien.weights.blockquant.dequantize_tensors`
            gives them.

    Raises:
        WeightsError: a tensor of the trunk is missing or of another shape.
    """
    prefixes = ["conv_1"]
    for block in range(2, 2 + len(BLOCKS)):
        prefixes += [f"conv_{block}_dw", f"conv_{block}"]
    state: dict[str, Tensor] = {}
    for index, prefix in enumerate(prefixes):
        weight = f"{prefix}_conv2d_weight"
        stored = {
            "conv.weight": tensors.get(f"{weight}_reshaped", tensors.get(weight)),
            "norm.weight": tensors.get(f"{prefix}_batchnorm_gamma"),
            "norm.bias": tensors.get(f"{prefix}_batchnorm_beta"),
            "norm.running_mean": tensors.get(f"{prefix}_batchnorm_moving_mean"),
            "norm.running_var": tensors.get(f"{prefix}_batchnorm_moving_var"),
            "norm.num_batches_tracked": np.array(0),
            "act.weight": tensors.get(f"{prefix}_relu_gamma"),
        }
        for name, value in stored.items():
            if value is not None:
                state[f"{index}.{name}"] = torch.tensor(value.reshape(-1) if name == "act.weight" else value)
    load_strictly(network.trunk, state, "expected the tensors of SFace's trunk, got others")


def load_shipped(network: MobileExpression, head: bool = True) -> None:
    """Give a network the weights of the one that ships with mien, in place: it answers as the shipped file does.

    It has that file's eight classes; without `head`, for a start, any, and its own head as it is.

    The shipped file has its batch norms folded away, so they come back as plain shifts: keep their statistics
    while training (`hold_statistics` of a recipe).

    Raises:
        WeightsError: with `head`, the network has another number of classes; it keeps its weights.
    """
    import onnx
    from onnx import numpy_helper

    if head and network.head.out_features != len(EXPRESSIONS):
        raise WeightsError(
            f"expected a network of {len(EXPRESSIONS)} classes for the shipped head, got one of "
            f"{network.head.out_features}. Pass head=False to start with the trunk alone."
        )
    graph = onnx.load_from_string(load_weights("expression").content).graph
    stored = {
        tensor.name.removesuffix("_half").removeprefix("network."): torch.tensor(
            numpy_helper.to_array(tensor).astype(np.float32)
        )
        for tensor in graph.initializer
    }
    state: dict[str, Tensor] = {}
    for index in range(len(network.trunk)):
        bias = stored[f"trunk.{index}.conv.bias"]
        state[f"{index}.conv.weight"] = stored[f"trunk.{index}.conv.weight"]
        state[f"{index}.norm.weight"] = torch.ones_like(bias)
        state[f"{index}.norm.bias"] = bias
        state[f"{index}.norm.running_mean"] = torch.zeros_like(bias)
        state[f"{index}.norm.running_var"] = torch.full_like(bias, 1 - NORM_EPS)
        state[f"{index}.norm.num_batches_tracked"] = torch.zeros((), dtype=torch.long)
        state[f"{index}.act.weight"] = stored[f"trunk.{index}.act.slope"].reshape(-1)
    network.trunk.load_state_dict(state, strict=True)
    if head:
        own = {"weight": stored["head.weight"], "bias": stored["head.bias"]}
        network.head.load_state_dict(own, strict=True)
