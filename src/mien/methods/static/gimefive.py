"""GiMeFive: a plain network of five convolutions for six expressions, explained by Grad-CAM.

Wang and Kawka, "GiMeFive: Towards Interpretable Facial Emotion Classification", 2024, arXiv 2402.15662.
Official code: github.com/werywjw/SEP-CVDL, in which no licence was found; nothing is copied.

Differs from the paper: a colour picture is made grey inside the network (the authors do it in their
transform, and round to whole grey levels); evaluation sees each picture as it is (the authors' shared
transform mirrors test pictures at random). Residual, VGG-like and ResNet comparators are left out. The
squeeze-and-excitation variant is left out, because the authors find that it does not help.

Needs: float32 (B, 3, 64, 64), RGB, ImageNet mean and std. Gives: logits (B, 6): happy, surprise, sad,
angry, disgust, fear. There is no neutral. `mien.explain.cam` explains it at the fifth convolution.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.methods.authors import by_layer, load_strictly
from mien.methods.method import Counts, Paper, Reported, register
from mien.nn.checks import expect_faces
from mien.types.media import IMAGENET_MEAN, IMAGENET_STD, LUMA, Preprocess

LABELS = ("happy", "surprise", "sad", "angry", "disgust", "fear")
FACE_PX = 64
WIDTHS = (64, 128, 256, 512, 1024)
HIDDEN = (2048, 1024)
BASELINE_WIDTHS = (64, 128, 256, 512)
BASELINE_HIDDEN = (1024, 512)


class Block(nn.Module):
    """3 x 3 convolution, batch norm, ReLU, then halved: (B, I, H, W) -> (B, O, H/2, W/2)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply all four in turn."""
        return functional.max_pool2d(functional.relu(self.norm(self.conv(x))), 2)


class GiMeFive(nn.Module):
    """Blocks, global average, two hidden linear layers, the head.

    Args:
        classes: outputs.
        widths: channels of each block.
        hidden: width of the two hidden linear layers.
        block_dropout: after each of the first four blocks.
        dropout: between the two hidden linear layers.
    """

    mean: Tensor
    std: Tensor
    luma: Tensor

    def __init__(
        self,
        classes: int = len(LABELS),
        widths: tuple[int, ...] = WIDTHS,
        hidden: tuple[int, int] = HIDDEN,
        block_dropout: float = 0.2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(map(Block, (3, *widths), widths))
        self.block_dropout = nn.Dropout(block_dropout)
        self.hidden_a = nn.Linear(widths[-1], hidden[0])
        self.dropout = nn.Dropout(dropout)
        self.hidden_b = nn.Linear(hidden[0], hidden[1])
        self.head = nn.Linear(hidden[1], classes)
        self.explain_layer = f"blocks.{len(widths) - 1}.conv"
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD), ("luma", LUMA)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def grey(self, x: Tensor) -> Tensor:
        """Normalised colour -> the same grey level in all three channels, normalised; shapes as they are."""
        pixels = x * self.std + self.mean
        return ((pixels * self.luma).sum(1, keepdim=True) - self.mean) / self.std

    def features(self, x: Tensor) -> Tensor:
        """Last block's map: (B, 3, 64, 64) -> (B, 1024, 2, 2); the baseline's is (B, 512, 4, 4)."""
        expect_faces(x, 3, FACE_PX)
        x = self.grey(x)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index < 4:  # the authors' fifth block has no dropout after it
                x = self.block_dropout(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Logits: (B, 3, 64, 64) -> (B, classes)."""
        x = self.features(x).mean((2, 3))
        x = self.dropout(functional.relu(self.hidden_a(x)))
        return self.head(functional.relu(self.hidden_b(x)))


PAPER = Paper(
    "GiMeFive: Towards Interpretable Facial Emotion Classification",
    "Jiawen Wang, Leah Kawka",
    2024,
    "arXiv 2402.15662",
    "https://github.com/werywjw/SEP-CVDL",
    "none found",
)
PREPROCESS = Preprocess(FACE_PX, "mien_face_v1", "RGB", IMAGENET_MEAN, IMAGENET_STD)
DIFFERS = (
    "Colour is made grey inside the network, without rounding to whole grey levels.",
    "Evaluation is deterministic; the authors' transform mirrors test pictures at random.",
    "Faces are aligned by mien's template; the authors resize each data set's own crops.",
    "The residual, squeeze-and-excitation, VGG-like and ResNet comparators are not here.",
)


@register(
    paper=PAPER,
    preprocess=PREPROCESS,
    counts=Counts(
        parameters=10_478_086,
        macs=314_000_000,
        tolerance=0.0,
        source="parameters: the authors' report; operations: measured on the authors' code",
    ),
    labels=LABELS,
    reported=(
        Reported("rafdb_6", "accuracy", 86.5, "report's LaTeX; RAF-DB test without neutral"),
        Reported("fer2013_6", "accuracy", 67.5, "report's LaTeX; FER2013 test without neutral"),
        Reported("fer_gimefive", "accuracy", 75.3, "report's LaTeX; five data sets merged by the authors"),
    ),
    differs=DIFFERS,
)
def gimefive(classes: int = len(LABELS), block_dropout: float = 0.2, dropout: float = 0.5) -> nn.Module:
    """Five blocks with batch norm and dropout: the authors' best."""
    return GiMeFive(classes, WIDTHS, HIDDEN, block_dropout, dropout)


@register(
    paper=PAPER,
    preprocess=PREPROCESS,
    counts=Counts(
        parameters=2_606_086,
        macs=234_700_000,
        tolerance=0.0,
        source="parameters: the authors' report; operations: counted here",
    ),
    labels=LABELS,
    reported=(Reported("rafdb_6", "accuracy", 80.6, "report's LaTeX; RAF-DB test without neutral"),),
    differs=DIFFERS,
)
def gimefive_baseline(
    classes: int = len(LABELS), block_dropout: float = 0.2, dropout: float = 0.5
) -> nn.Module:
    """The authors' smaller comparator: four blocks, narrower linear layers."""
    return GiMeFive(classes, BASELINE_WIDTHS, BASELINE_HIDDEN, block_dropout, dropout)


def from_authors(state_dict: Mapping[str, Tensor]) -> GiMeFive:
    """A network with the authors' weights, in evaluation mode; which of the two is seen from the file.

    Args:
        state_dict: as the authors' classes write it: conv1, bn1, ..., conv5, bn5 (to 4 in the baseline),
            fc1, fc2, fc3. Seen: the classes that make these names, `models.py` of werywjw/SEP-CVDL.
            Not seen: `best_GiMeFive.pth`, which its README lists; it was not opened here.

    Raises:
        WeightsError: a tensor is missing, not of this layout, or of another shape.
    """
    known = {"fc1": "hidden_a", "fc2": "hidden_b", "fc3": "head"}
    for block in range(len(WIDTHS)):
        known[f"conv{block + 1}"] = f"blocks.{block}.conv"
        known[f"bn{block + 1}"] = f"blocks.{block}.norm"
    advice = "Give the plain state dict of GiMeFive or of its baseline."
    ours = by_layer(state_dict, known, "SEP-CVDL", advice)
    small = "conv5.weight" not in state_dict
    widths, hidden = (BASELINE_WIDTHS, BASELINE_HIDDEN) if small else (WIDTHS, HIDDEN)
    network = GiMeFive(len(ours.get("head.bias", LABELS)), widths, hidden)
    load_strictly(network, ours, "expected the whole of GiMeFive or of its baseline, got another")
    return network.eval()
