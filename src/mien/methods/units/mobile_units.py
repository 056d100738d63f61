"""mien's own light network for action units: the trunk of `mobile_expression` and one logit a unit.

No paper: the trunk, its weights and its licence are those of `mien.methods.static.mobile_expression`; only the last
layer and the loss (binary cross-entropy, unknown units left out) are others. `start="shipped"` of a recipe starts it
from the network that comes with mien. No weights of it are shipped.

Needs: float32 (B, 3, H, W), RGB, (x - 127.5) / 128. Gives: logits (B, K).
"""

from __future__ import annotations

from torch import nn

from mien.labels.action_units import UNIT_SETS, unit_label
from mien.methods.method import Counts, Paper, register
from mien.methods.static.mobile_expression import MobileExpression
from mien.methods.task import UnitsTask
from mien.types.media import Preprocess

UNITS = tuple(unit_label(unit) for unit in UNIT_SETS["bp4d"])


@register(
    paper=Paper(
        "mien's light network for action units", "the mien authors", 2026, "docs/methods/mobile_units.md"
    ),
    preprocess=Preprocess(64, "mien_face_v1", "RGB", (127.5, 127.5, 127.5), (128.0, 128.0, 128.0)),
    labels=UNITS,
    counts=Counts(parameters=3_225_000, macs=187_000_000, tolerance=0.02, source="counted here"),
    task=UnitsTask,
)
def mobile_units(classes: int = len(UNITS), dropout: float = 0.2) -> nn.Module:
    """The trunk of the network that ships, with a head for action units."""
    return MobileExpression(classes, dropout)
