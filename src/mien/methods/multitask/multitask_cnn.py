"""Expression with gender, age and race from one small network with several heads.

Saroop, Ghugare, Mathamsetty and Vasani, "Facial Emotion Recognition: A multi-task approach using deep
learning", 2021, arXiv 2110.15028. No official code was found; the abstract and one listing of results
are all that was read. One network answers four questions; two ways of asking are compared, several tasks
(`multitask_cnn`) and one multi-label output (`multitask_cnn_multilabel`).

Differs from the paper: the trunk, the input's size, the normalisation, the age groups and the weights of
the four terms are ours, chosen for RAF-DB's attributes (groups as the set's README has them). Both variants share one
network: a linear layer over concatenated groups is the same as one linear layer a group, so that only the
loss tells them apart.

The attributes are what annotators saw, not what a person is. They are there to measure and to study bias;
do not use them to sort people.

Needs: float32 (B, 3, H, W), RGB, (x - 127.5) / 128, sides of at least 32 px. Gives a dict of logits:
"expression" (B, 7), "gender" (B, 3), "age" (B, 5), "race" (B, 3). Learns from the extras "gender", "age"
and "race", int (B,), -1 where unknown.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import LabelError, ShapeError
from mien.labels.attributes import RAFDB_ATTRIBUTES
from mien.labels.expressions import order
from mien.methods.method import Counts, Paper, Reported, register
from mien.methods.task import Batch, Task, soft_cross_entropy
from mien.nn.checks import expect_faces
from mien.types.media import Preprocess

LABELS = order("rafdb")
"""RAF-DB's own order."""

ATTRIBUTES = {name: RAFDB_ATTRIBUTES[name] for name in ("gender", "age", "race")}
"""RAF-DB's attributes, in the order of this network's outputs."""

WIDTHS = (32, 64, 128, 256)


class Block(nn.Module):
    """3 x 3 convolution, batch norm, ReLU, then halved: (B, I, H, W) -> (B, O, H/2, W/2)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply all four in turn."""
        return functional.max_pool2d(functional.relu(self.norm(self.conv(x))), 2)


class MultiTaskCnn(nn.Module):
    """A shared trunk, the head for expressions, and a linear layer an attribute.

    Args:
        classes: expressions.
        attribute_weight: of each attribute's term beside the expression's 1; read by the tasks.
    """

    explain_layer, cam_layer = "trunk.3.conv", "trunk"

    def __init__(self, classes: int = len(LABELS), attribute_weight: float = 1.0) -> None:
        super().__init__()
        self.attribute_weight = attribute_weight
        self.trunk = nn.Sequential(*map(Block, (3, *WIDTHS), WIDTHS))
        self.head = nn.Linear(WIDTHS[-1], classes)
        self.attributes = nn.ModuleDict(
            {name: nn.Linear(WIDTHS[-1], len(values)) for name, values in ATTRIBUTES.items()}
        )

    def features(self, x: Tensor) -> Tensor:
        """Pooled trunk: (B, 3, H, W) -> (B, 256)."""
        expect_faces(x, 3, least=32)
        return self.trunk(x).mean((2, 3))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits by name: (B, 3, H, W) -> "expression" (B, classes), and each attribute's."""
        features = self.features(x)
        outputs = {"expression": self.head(features)}
        outputs.update({name: layer(features) for name, layer in self.attributes.items()})
        return outputs


def attribute_targets(batch: Batch, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One-hot rows (B, K) of each attribute; zeros where the label is -1 or was not given at all.

    Raises:
        ShapeError: not one label a picture.
        LabelError: a label outside -1 .. K - 1.
    """
    targets = {}
    for name in ATTRIBUTES:
        count, classes = outputs[name].shape
        labels = batch.extras.get(name)
        if labels is None:
            targets[name] = torch.zeros_like(outputs[name])
            continue
        if labels.shape != (count,):
            raise ShapeError(f"expected one {name} for each of {count} pictures, got {tuple(labels.shape)}")
        if bool(((labels < -1) | (labels >= classes)).any()):
            raise LabelError(
                f"expected {name} from 0 to {classes - 1} ({', '.join(ATTRIBUTES[name])}), or -1 where it is "
                f"unknown, got {labels.min().item()} to {labels.max().item()}"
            )
        targets[name] = (labels[:, None] == torch.arange(classes, device=labels.device)).float()
    return targets


class MultiHeadTask(Task):
    """The sum of four cross-entropies; a missing label adds no loss and no gradient."""

    network: MultiTaskCnn

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Each task's cross-entropy by name, before weighting: means over the pictures with that label."""
        outputs = self.network(batch.images)
        terms = {"expression": soft_cross_entropy(outputs["expression"], batch.targets, batch.class_weights)}
        for name, target in attribute_targets(batch, outputs).items():
            terms[name] = soft_cross_entropy(outputs[name], target)
        return terms

    def loss(self, batch: Batch) -> Tensor:
        """The expression's term and the attributes', weighted."""
        weight = self.network.attribute_weight
        terms = self.terms(batch).items()
        return torch.stack([term if name == "expression" else weight * term for name, term in terms]).sum()


class MultiLabelTask(Task):
    """One binary cross-entropy over all concatenated groups, each output on its own."""

    network: MultiTaskCnn

    def loss(self, batch: Batch) -> Tensor:
        """Mean over the outputs whose group has a label; a missing label adds no loss and no gradient.

        Class weights multiply the expressions' columns, `attribute_weight` the attributes'.
        """
        outputs = self.network(batch.images)
        targets = {"expression": batch.targets, **attribute_targets(batch, outputs)}
        total, count = [], []
        for name, target in targets.items():
            known = (target.sum(1, keepdim=True) > 0).expand_as(target).float()
            each = functional.binary_cross_entropy_with_logits(
                outputs[name].float(), target, reduction="none"
            )
            if name != "expression":
                each = each * self.network.attribute_weight
            elif batch.class_weights is not None:
                each = each * batch.class_weights
            total.append((each * known).sum())
            count.append(known.sum())
        return torch.stack(total).sum() / torch.stack(count).sum().clamp(min=1)


def concatenate(outputs: Mapping[str, Tensor]) -> Tensor:
    """All groups side by side, expression first: (B, 18) for seven expressions."""
    return torch.cat([outputs[name] for name in ("expression", *ATTRIBUTES)], 1)


def answers(scores: Tensor, classes: int = len(LABELS)) -> dict[str, Tensor]:
    """The strongest output inside each group.

    Args:
        scores: (B, classes + 11), as `concatenate` gives them.
        classes: number of expressions.

    Returns:
        name of the group -> int (B,), index within that group.

    Raises:
        ShapeError: the columns do not fit the groups.
    """
    names = ("expression", *ATTRIBUTES)
    sizes = (classes, *(len(values) for values in ATTRIBUTES.values()))
    if scores.ndim != 2 or scores.shape[1] != sum(sizes):
        raise ShapeError(f"expected scores (B, {sum(sizes)}), got {tuple(scores.shape)}")
    return {name: part.argmax(1) for name, part in zip(names, scores.split(sizes, 1), strict=True)}


PAPER = Paper(
    "Facial Emotion Recognition: A multi-task approach using deep learning",
    "Aakash Saroop, Pathik Ghugare, Sashank Mathamsetty, Vaibhav Vasani",
    2021,
    "arXiv 2110.15028",
)
PREPROCESS = Preprocess(100, "mien_face_v1", "RGB", (127.5, 127.5, 127.5), (128.0, 128.0, 128.0))
COUNTS = Counts(
    parameters=393_522, macs=143_300_000, tolerance=0.0, source="counted here; the paper's size is not known"
)
DIFFERS = (
    "Trunk, input size, normalisation and term weights are ours; the paper's were not found.",
    "Gender, age and race groups are RAF-DB's; the paper's were not found.",
)


@register(
    paper=PAPER,
    preprocess=PREPROCESS,
    counts=COUNTS,
    labels=LABELS,
    differs=DIFFERS,
    task=MultiHeadTask,
)
def multitask_cnn(classes: int = len(LABELS), attribute_weight: float = 1.0) -> nn.Module:
    """Four heads, the sum of four cross-entropies."""
    return MultiTaskCnn(classes, attribute_weight)


@register(
    paper=PAPER,
    preprocess=PREPROCESS,
    counts=COUNTS,
    labels=LABELS,
    reported=(
        Reported(
            "rafdb", "accuracy", 79.26, "listing of results, entry 'Multi Label Output'; paper not seen"
        ),
    ),
    differs=DIFFERS,
    task=MultiLabelTask,
)
def multitask_cnn_multilabel(classes: int = len(LABELS), attribute_weight: float = 1.0) -> nn.Module:
    """The same network as one multi-label output: binary cross-entropy over all groups."""
    return MultiTaskCnn(classes, attribute_weight)
