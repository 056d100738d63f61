"""Valence and arousal from the probabilities of expressions."""

from __future__ import annotations

import numpy as np

from mien.errors import LabelError
from mien.labels.circumplex import CIRCUMPLEX
from mien.types.affect import Affect
from mien.types.scores import Scores


def derived_affect(scores: Scores) -> Affect:
    """The mean place on the circumplex: valence = sum p v, arousal = sum p a, over the classes. Never "measured".

    Linear in calibrated probabilities, so a torn answer lies between its classes; it says nothing that the
    probabilities do not say. Coordinates and their sources: `mien.labels.circumplex`.

    Args:
        scores: probabilities of N faces over any of the eight expressions.

    Raises:
        LabelError: a class has no place on the circumplex.
    """
    unknown = set(scores.names) - set(CIRCUMPLEX)
    if unknown:
        raise LabelError(
            f"expected expressions of {', '.join(CIRCUMPLEX)}, got {', '.join(sorted(unknown))}. "
            "Valence and arousal cannot be derived from classes of your own."
        )
    places = np.array([CIRCUMPLEX[name] for name in scores.names])
    values = np.clip(scores.values.astype(float) @ places, -1, 1).astype(np.float32)
    return Affect(values[:, 0], values[:, 1], "derived", "expression probabilities on the circumplex")
