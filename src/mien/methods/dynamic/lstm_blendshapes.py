"""LSTM on blendshapes: the 52 blendshapes of the face mesh go through seven small recurrent layers.

Paper: arXiv 2501.13432, an LSTM on blendshapes of video footage, tried on FER2013 (title and authors were not seen).
Official code: Samir-atra's notebook. Units, activations, learning figures and the classes are facts of that notebook.

The published network reads ONE face: its 52 values are the sequence, one value a step, so that time is not in it
(`lstm_blendshapes`). `lstm_blendshapes_clip` is ours: the same layers over the frames of a clip, 52 values a step.

Differs from the paper: see `DIFFERS`.

Needs: float32 (B, 52), or (B, T, 52) with T of 16, in 0..1, in the order of `mien.types.mesh.BLENDSHAPES`.
Gives: logits (B, classes).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import ShapeError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.method import Counts, Paper, Reported, register
from mien.types.media import MESH, Preprocess
from mien.types.mesh import BLENDSHAPES

UNITS = (34, 26, 30, 30, 30, 30, 30)
"""Width of each layer."""
VALUES = len(BLENDSHAPES)
THREE = ("happy", "other", "sad")
"""The paper's classes in the order of its outputs; FER2013's other five are one."""


def of_three(expression: str) -> str:
    """The paper's class of one of mien's: `of_three("fear") == "other"`."""
    return expression if expression in THREE else "other"


class SeluLstm(nn.Module):
    """An LSTM layer with SELU in place of tanh and one bias: (B, T, I) -> (B, T, U).

    Gates stand in the order input, forget, candidate, output (Keras).
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(inputs, 4 * units))
        self.recurrent = nn.Parameter(torch.empty(units, 4 * units))
        self.bias = nn.Parameter(torch.zeros(4 * units))
        nn.init.xavier_uniform_(self.kernel)
        nn.init.orthogonal_(self.recurrent)
        with torch.no_grad():
            self.bias[units : 2 * units] = 1  # a cell that forgets nothing at first

    def forward(self, x: Tensor) -> Tensor:
        """Every step's state."""
        given = x @ self.kernel + self.bias
        hidden = cell = x.new_zeros(x.shape[0], self.recurrent.shape[0])
        states = []
        for step in given.unbind(1):
            enter, forget, new, leave = (step + hidden @ self.recurrent).chunk(4, 1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * functional.selu(new)
            hidden = torch.sigmoid(leave) * functional.selu(cell)
            states.append(hidden)
        return torch.stack(states, 1)


class LstmBlendshapes(nn.Module):
    """Seven layers and a linear one.

    Args:
        classes: outputs.
        frames: T of clips, whose frames are the steps; `None` for one face, whose blendshapes are the steps.
    """

    def __init__(self, classes: int, frames: int | None) -> None:
        super().__init__()
        self.shape = (VALUES,) if frames is None else (frames, VALUES)
        self.standard = nn.BatchNorm1d(VALUES, affine=False, momentum=None)
        first = 1 if frames is None else VALUES
        self.recurrent = nn.ModuleList(
            SeluLstm(inputs, units) for inputs, units in zip((first, *UNITS), UNITS, strict=False)
        )
        self.head = nn.Linear(UNITS[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, classes) of blendshapes (B, 52) or (B, T, 52).

        Raises:
            ShapeError: another shape.
        """
        if tuple(x.shape[1:]) != self.shape:
            wanted = ", ".join(map(str, ("B", *self.shape)))
            raise ShapeError(
                f"expected blendshapes ({wanted}), got {tuple(x.shape)}. Read them with the mesh."
            )
        x = self.standard(x.flatten(0, -2)).view_as(x)
        x = x[..., None] if len(self.shape) == 1 else x
        for layer in self.recurrent:
            x = layer(x)
        return self.head(x[:, -1])

    def for_inference(self) -> Staggered:
        """The same logits by a seventh of the operations, one after another: what is exported."""
        return Staggered(self)


class Staggered(nn.Module):
    """The layers all at once, each a step behind the one below it: in round r layer k is at step r - k.

    One product a round then does for all layers, with their kernels as blocks of one matrix. A graph of it is small
    enough to be exported in seconds.
    """

    weight: Tensor
    bias: Tensor
    begun: Tensor

    def __init__(self, network: LstmBlendshapes) -> None:
        super().__init__()
        layers: list[SeluLstm] = list(network.recurrent)  # type: ignore[arg-type]
        self.standard, self.head, self.shape = network.standard, network.head, network.shape
        self.layers = len(layers)
        first, units = layers[0].kernel.shape[0], [layer.recurrent.shape[0] for layer in layers]
        zeros = layers[0].bias.new_zeros
        weight, bias = zeros(first + sum(units), 4, sum(units)), zeros(4, sum(units))
        begun = zeros(len(layers) - 1, sum(units))
        with torch.no_grad():
            below, own = slice(0, first), first
            for number, (layer, count) in enumerate(zip(layers, units, strict=True)):
                out = slice(own - first, own - first + count)
                weight[below, :, out] = layer.kernel.unflatten(1, (4, count))
                below = slice(own, own + count)
                weight[below, :, out] = layer.recurrent.unflatten(1, (4, count))
                bias[:, out] = layer.bias.unflatten(0, (4, count))
                begun[number:, out] = 1
                own += count
        self.register_buffer("weight", weight.flatten(1))
        self.register_buffer("bias", bias.flatten())
        self.register_buffer("begun", begun)

    def forward(self, x: Tensor) -> Tensor:
        """See `LstmBlendshapes.forward`."""
        x = self.standard(x.flatten(0, -2)).view_as(x)
        x = x[..., None] if len(self.shape) == 1 else x
        hidden = cell = x.new_zeros(x.shape[0], self.begun.shape[1])
        # What the lowest layers see when they are done: nobody looks at it.
        late = x[:, -1:].expand(-1, self.layers - 1, -1)
        for number, step in enumerate(torch.cat([x, late], 1).unbind(1)):
            gates = torch.cat([step, hidden], 1) @ self.weight + self.bias
            enter, forget, new, leave = gates.chunk(4, 1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * functional.selu(new)
            hidden = torch.sigmoid(leave) * functional.selu(cell)
            if number < self.layers - 1:
                cell, hidden = cell * self.begun[number], hidden * self.begun[number]
        return self.head(hidden[:, -self.head.in_features :])


PAPER = Paper(
    "LSTM on blendshapes of video footage (title not seen)",
    "Samir Atra and others (not seen)",
    2025,
    "arXiv 2501.13432; the notebook was read, title and authors were not seen",
    "https://github.com/Samir-atra (Emotion_estimation_from_video_footage...)",
)
DIFFERS = (
    "Blendshapes are standardised by the mean statistics of all training batches; the notebook keeps mean and deviation "
    "of its set in a file.",
    "The recipe asks for the classes of its protocol; the paper has three, happy, sad and the rest, in a subset with "
    "capped classes.",
    "Faces are found by mien's detector; weight decay takes the place of the L2 of 2.3e-6 on kernels.",
    "A mirrored face is made by changing sides of its blendshapes, not of its picture; there is no rotation.",
)


def _preprocess(frames: int | None) -> Preprocess:
    return Preprocess(256, MESH, "BLENDSHAPES", (0.0,) * VALUES, (1.0,) * VALUES, frames)


@register(
    paper=PAPER,
    preprocess=_preprocess(None),
    counts=Counts(
        parameters=47_453,
        tolerance=0.0,
        source="sum of 4 (u (i + u) + u) over the notebook's layers, and 3 outputs",
    ),
    labels=THREE,
    reported=(
        Reported("fer2013_three_classes", "accuracy", 71.0, "paper's page; 72 in the README"),
        Reported("fer2013_three_classes", "macro_f1", 0.62, "paper's page"),
    ),
    differs=DIFFERS,
)
def lstm_blendshapes(classes: int = len(THREE)) -> nn.Module:
    """The published network: one face, whose 52 blendshapes are the steps of the sequence."""
    return LstmBlendshapes(classes, None)


@register(
    paper=PAPER,
    preprocess=_preprocess(16),
    counts=Counts(parameters=54_513, tolerance=0.0, source="counted here: 52 values enter a step, 7 outputs"),
    labels=EXPRESSIONS[:7],
    differs=("Steps are the frames of a clip; the paper's are the blendshapes of one face.", *DIFFERS),
)
def lstm_blendshapes_clip(classes: int = 7, frames: int = 16) -> nn.Module:
    """Ours: the same layers over time."""
    return LstmBlendshapes(classes, frames)
