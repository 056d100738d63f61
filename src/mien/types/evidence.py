"""What the action units of the faces of one image say about their expression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the units of N faces say about E expressions.

    Attributes:
        names: the expressions, in mien's order.
        units: FACS numbers of the table's U units, in the order of `contributions`.
        scores: (N, E) in [0, 1]; NaN where too little was measured.
        contributions: (N, E, U), what each unit adds to the score before it is cut to [0, 1]; negative where it speaks
            against, 0 where it was not measured.
        coverage: (N, E) in [0, 1], the share of the expression's weights whose units were measured; of neutral, the
            mean of the others.
    """

    names: tuple[str, ...]
    units: tuple[int, ...]
    scores: np.ndarray
    contributions: np.ndarray
    coverage: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def of(self, row: int, name: str) -> dict[int, float]:
        """Unit -> contribution to one expression of one face, without zeros, largest first."""
        values = self.contributions[row, self.names.index(name)]
        order = np.argsort(-values, kind="stable")
        return {self.units[column]: float(values[column]) for column in order if values[column]}

    def best(self, row: int) -> str | None:
        """The expression that the units of one face speak for most; `None` where none has a score over 0."""
        scores = np.nan_to_num(self.scores[row], nan=0.0)
        return self.names[int(scores.argmax())] if scores.max() > 0 else None
