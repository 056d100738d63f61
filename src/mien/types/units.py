"""Action units of the faces of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.errors import LabelError, ShapeError

SCALES = {"intensity": 5.0, "probability": 1.0}
"""What a value says, and the largest there is: FACS intensity from 0 to 5, or the probability that it is there."""


@dataclass(frozen=True, eq=False)
class ActionUnits:
    """Values of N faces over K action units. What could not be told is NaN, never zero.

    Attributes:
        units: FACS numbers, in the order of the columns.
        values: float32 (N, K), each in [0, the scale's largest], or NaN. Of a two-sided unit the larger side.
        scale: "intensity" (0 to 5) or "probability" (0 to 1).
        source: what measured them, such as "mesh" or a model's name.
        left: float32 (N, K) of the subject's left side, NaN where the sides cannot be told; `None` if never.
        right: the same of the right side.

    Raises:
        LabelError: units are repeated or there are none, or the scale is unknown.
        ShapeError: an array is not (N, K), or a value is out of the scale.
    """

    units: tuple[int, ...]
    values: np.ndarray
    scale: str
    source: str
    left: np.ndarray | None = None
    right: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not self.units or len(set(self.units)) != len(self.units):
            raise LabelError(f"expected distinct action units, got {self.units!r}")
        if self.scale not in SCALES:
            raise LabelError(f"expected a scale of {', '.join(SCALES)}, got {self.scale!r}")
        for name in ("values", "left", "right"):
            array = getattr(self, name)
            if array is None:
                continue
            if array.ndim != 2 or array.shape != (len(self.values), len(self.units)):
                raise ShapeError(f"expected {name} of shape (N, {len(self.units)}), got {array.shape}")
            if np.any(array < 0) or np.any(array > SCALES[self.scale] + 1e-5):
                raise ShapeError(
                    f"expected {self.scale} from 0 to {SCALES[self.scale]:g} in {name}, "
                    f"got {np.nanmin(array):g} to {np.nanmax(array):g}"
                )

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, unit: int) -> np.ndarray:
        """The column of one unit, (N,)."""
        if unit not in self.units:
            raise LabelError(f"no AU{unit} among {', '.join(f'AU{known}' for known in self.units)}")
        return self.values[:, self.units.index(unit)]
