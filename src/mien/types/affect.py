"""Valence and arousal of the faces of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.errors import LabelError, ShapeError

KINDS = ("derived", "measured")
"""Computed from other results, such as class probabilities, or told by a network that was trained on it."""


@dataclass(frozen=True, eq=False)
class Affect:
    """Valence and arousal of N faces. What could not be told is NaN, never zero.

    Attributes:
        valence: float32 (N,) from -1, unpleasant, to 1, pleasant.
        arousal: float32 (N,) from -1, calm, to 1, excited.
        kind: "derived" or "measured".
        source: what they come from, such as a projection or a model's name.

    Raises:
        LabelError: another kind.
        ShapeError: not two lists of N, or a value outside -1 to 1.
    """

    valence: np.ndarray
    arousal: np.ndarray
    kind: str
    source: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise LabelError(f"expected a kind of {', '.join(KINDS)}, got {self.kind!r}")
        if self.valence.ndim != 1 or self.valence.shape != self.arousal.shape:
            raise ShapeError(
                f"expected valence and arousal of shape (N,), got {self.valence.shape} and {self.arousal.shape}"
            )
        for name in ("valence", "arousal"):
            values = getattr(self, name)
            if np.any(np.abs(values) > 1):
                raise ShapeError(
                    f"expected {name} from -1 to 1, got {np.nanmin(values):g} to {np.nanmax(values):g}"
                )

    def __len__(self) -> int:
        return len(self.valence)
