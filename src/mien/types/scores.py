"""Scores that carry their label order, so that the order cannot be lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.errors import LabelError, ShapeError


@dataclass(frozen=True, eq=False)
class Scores:
    """Calibrated probabilities of N faces over K named classes.

    Attributes:
        names: the K class names, in the order of the columns.
        values: float32 array (N, K), each row in [0, 1] and summing to 1.

    Raises:
        LabelError: names are repeated or there are none.
        ShapeError: `values` is not (N, K), or rows are not probabilities.
    """

    names: tuple[str, ...]
    values: np.ndarray

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise LabelError(f"expected distinct class names, got {self.names!r}")
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names):
            raise ShapeError(
                f"expected values of shape (N, {len(self.names)}) for {len(self.names)} names, "
                f"got {self.values.shape}"
            )
        if self.values.size and not (
            np.all(self.values >= 0) and np.allclose(self.values.sum(1), 1, atol=1e-3)
        ):
            raise ShapeError(
                "expected probabilities: rows in [0, 1] that sum to 1; logits go through a softmax first"
            )

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, name: str) -> np.ndarray:
        """The column of one class, (N,)."""
        if name not in self.names:
            raise LabelError(f"no class {name!r} among {', '.join(self.names)}")
        return self.values[:, self.names.index(name)]

    @property
    def top(self) -> tuple[str, ...]:
        """The most probable class of each face."""
        return tuple(self.names[index] for index in self.values.argmax(1))

    @property
    def confidence(self) -> np.ndarray:
        """The probability of the most probable class, (N,)."""
        return self.values.max(1) if len(self) else np.zeros(0, np.float32)
