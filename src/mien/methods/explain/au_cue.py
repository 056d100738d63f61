"""Guided interpretable expression recognition: attention is drawn to where the expression's action units show.

Soufiane Belharbi, Marco Pedersoli, Alessandro Lameiras Koerich, Simon Bacon, Eric Granger, "Guided Interpretable Facial
Expression Recognition via Spatial Action Unit Cues", FG 2024. Official code: sbelharbi/interpretable-fer-aus at 66e2bde
(licence not noted). A training rule for any network: beside the task's own loss stands a term that turns the mean over
channels of a layer's maps towards a heat map of the class's units (`mien.transforms.au_cues`). The network, its cost and
its answers' form stay as they are; the points are needed while it learns, never afterwards.

    L = L_task + weight * mean over layers of mean over pictures with a cue of (1 - cos(attention, cue))

Differs from the paper: any network instead of ResNet-50 with eleven localisation methods; the default weight is 4, where the
authors' figure for RAF-DB peaks (their command for AffectNet has 9); cues are drawn on the aligned face and follow each view
of it; see also `mien.transforms.au_cues`.

Needs, beside what the network needs: "au_cue" in the batch's extras, float32 (B, S, S), NaN where there is no cue.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from mien.errors import OptionError
from mien.losses.cue_alignment import cue_alignment
from mien.methods.layers import as_maps, layer_of, outputs
from mien.methods.method import Paper, Reported
from mien.methods.rule import register_rule
from mien.methods.task import Batch, Task

EXTRA = "au_cue"


class AuCueTask(Task):
    """A task and the alignment of its network's attention.

    Args:
        task: whose loss is kept, and whose logits these are.
        weight: of the alignment.
        layers: dotted names of modules that give maps; the network's `explain_layer` where left out.

    Raises:
        OptionError: a negative weight, or no layer.
        UnknownNameError: the network has no module of that name.
    """

    def __init__(self, task: Task, weight: float = 4.0, layers: Sequence[str] | None = None) -> None:
        super().__init__(task.network)
        if weight < 0:
            raise OptionError(f"expected a weight from 0 on, got {weight}")
        self.task, self.weight = task, weight
        self.layers: list[str | None] = [None] if layers is None else list(layers)
        if not self.layers:
            raise OptionError("expected at least one layer, got none")
        for layer in self.layers:
            layer_of(self.network, layer)

    def loss(self, batch: Batch) -> Tensor:
        """The task's loss and `weight` times the mean alignment over the layers.

        Raises:
            ShapeError: a layer gives no map for each picture, as where the network cuts pictures into crops.
        """
        with ExitStack() as stack:
            seen = [stack.enter_context(outputs(layer_of(self.network, layer))) for layer in self.layers]
            loss = self.task.loss(batch)
        maps = [as_maps(self.network, one[-1] if one else None, len(batch.images)) for one in seen]
        missing = torch.full((len(batch.images), 2, 2), torch.nan, device=batch.images.device)
        cues = batch.extras.get(EXTRA, missing)
        return loss + self.weight * torch.stack([cue_alignment(one, cues) for one in maps]).mean()

    def logits(self, images: Tensor) -> Tensor:
        """The task's own."""
        return self.task.logits(images)


IMAGE = "a figure of the authors' repository, ResNet-50, CAM"


@register_rule(
    paper=Paper(
        "Guided Interpretable Facial Expression Recognition via Spatial Action Unit Cues",
        "Soufiane Belharbi, Marco Pedersoli, Alessandro Lameiras Koerich, Simon Bacon, Eric Granger",
        2024,
        "FG 2024",
        "https://github.com/sbelharbi/interpretable-fer-aus",
    ),
    needs=EXTRA,
    reported=(
        Reported("rafdb", "accuracy", 88.20, IMAGE + ", without cues"),
        Reported("rafdb", "accuracy", 88.95, IMAGE + ", with cues"),
        Reported("rafdb", "cam_cos", 0.55, IMAGE + ", without cues"),
        Reported("rafdb", "cam_cos", 0.70, IMAGE + ", with cues"),
        Reported("affectnet_7", "accuracy", 60.88, IMAGE + ", without cues"),
        Reported("affectnet_7", "accuracy", 62.37, IMAGE + ", with cues"),
        Reported("affectnet_7", "cam_cos", 0.56, IMAGE + ", without cues"),
        Reported("affectnet_7", "cam_cos", 0.69, IMAGE + ", with cues"),
    ),
    differs=(
        "Any network of the package takes the place of ResNet-50; its last layer is not widened.",
        "au_cue_rafdb takes epochs, batch, rate and schedule of the authors' command for AffectNet, momentum from memory, "
        "and starts from no ImageNet weights.",
        "Lengths of the units' ellipses are shares of the face, not pixels, and both sides are alike.",
        "Cues are drawn on the aligned face and go through the same views as the picture.",
        "Without landmarks, the mean face's are used.",
        "The epoch is never chosen on the test split, as the authors' RAF-DB runs do.",
    ),
)
def au_cue(task: Task, weight: float = 4.0, layers: Sequence[str] | None = None) -> Task:
    """Align attention with the units' places; the options are those of `AuCueTask`."""
    return AuCueTask(task, weight, layers)
