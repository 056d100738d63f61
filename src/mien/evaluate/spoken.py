"""What a text says of faces, held against what is known of them: its label, and the action units that it states."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from mien.labels.claims import label_in, stated_units
from mien.labels.expressions import EXPRESSIONS
from mien.methods.language.exp_cot import VISIBLE, observed, typical_units
from mien.metrics.bootstrap import bootstrap_mean
from mien.types.units import ActionUnits


def label_figures(
    said: Sequence[str], truth: np.ndarray, read: Callable[[str], str | None] = label_in
) -> dict[str, Any]:
    """Accuracy of the labels that texts conclude with; a text without one is wrong, and counted in `no_label`.

    Args:
        said: N texts.
        truth: (N,) classes, in mien's order.
        read: text -> mien's name of the expression, or `None`.
    """
    found = [read(text) for text in said]
    right = np.array([label == EXPRESSIONS[true] for label, true in zip(found, truth, strict=True)], float)
    return {
        "accuracy": round(float(right.mean()), 4),
        "accuracy_95": [round(edge, 4) for edge in bootstrap_mean(right)],
        "no_label": round(sum(label is None for label in found) / len(found), 4),
    }


def unit_figures(
    said: Sequence[str], units: ActionUnits, read: Callable[[str], Collection[int]] = stated_units
) -> dict[str, Any]:
    """How the units that texts state agree with those that were measured, over all pictures together.

    `hallucinated` is the share of stated units that were measured as not visible; a unit that was not told of a
    picture is neither right nor wrong, and counted in `not_told`. `recall` and `f1` are against the strongest
    units of each picture, which are all that the texts were taught to name. `None` where nothing can be counted.

    Args:
        said: N texts.
        units: measured intensities (N, K), NaN where not told.
        read: text -> FACS numbers that it states.
    """
    judged = wrong = not_told = right = wanted = 0
    for text, row in zip(said, units.values, strict=True):
        told = {
            unit: float(value) for unit, value in zip(units.units, row, strict=True) if not np.isnan(value)
        }
        stated, strongest = set(read(text)), set(observed(told))
        judged += len(stated & told.keys())
        not_told += len(stated - told.keys())
        wrong += sum(told[unit] < VISIBLE for unit in stated & told.keys())
        right += len(stated & strongest)
        wanted += len(strongest)
    return {
        "hallucinated": round(wrong / judged, 4) if judged else None,
        "recall": round(right / wanted, 4) if wanted else None,
        "f1": round(2 * right / (judged + wanted), 4) if judged + wanted else None,
        "stated_units": judged,
        "not_told": not_told,
    }


def meaning_figures(said: Sequence[str]) -> dict[str, Any]:
    """How often a text says that a unit speaks for an expression that it does not speak for.

    A sentence such as "AU12 and AU6 are typical of happiness" gives one meaning a unit; it is wrong where the unit is
    not among the expression's `typical_units`, as every unit is for neutral. `None` where no text gives a meaning.

    Args:
        said: N texts.
    """
    given = wrong = 0
    for text in said:
        for sentence in re.split(r"(?<=[.!?])\s+", text):
            label = label_in(sentence) if re.search(r"\bspeaks? for\b|\btypical of\b", sentence) else None
            if label is not None:
                units = stated_units(sentence)
                given += len(units)
                wrong += len(units - typical_units(label))
    return {"meanings": given, "wrong_meanings": round(wrong / given, 4) if given else None}
