"""Figures of action units: F1 and AUROC of each, what nobody labelled left out; with intervals over people.

F1 is at a threshold: 0.5, or one a unit that was chosen elsewhere, never on what is measured here. A unit that is
neither there nor found has no F1, one that is there nowhere or everywhere no AUROC; such units are left out of the means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mien.errors import ShapeError
from mien.evaluate import markdown
from mien.metrics.bootstrap import bootstrap_interval
from mien.metrics.multilabel import known_aurocs, known_f1_scores

RESAMPLES = 1000
"""Draws of people behind each interval."""


def measure_units(
    truth: np.ndarray,
    scores: np.ndarray,
    labels: Sequence[str],
    predicted: np.ndarray | None = None,
    subjects: Sequence[str] | np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of one set of samples, ready for JSON: rounded to four digits, `None` where undefined.

    Args:
        truth: (N, K) of 1 and 0, NaN where not known.
        scores: (N, K), higher where a unit is surer to be there.
        labels: K names, such as "AU12".
        predicted: (N, K) of 0 and 1; scores >= 0.5 where left out, which must then be probabilities.
        subjects: (N,) people; the intervals are over them, over samples without.
        seed: of the resampling.

    Returns:
        `samples`, `mean_f1`, `mean_f1_95`, `mean_auroc`, `mean_auroc_95`, `intervals`, and `per_unit`: known,
        there, found, f1, auroc.

    Raises:
        ShapeError: shapes that do not fit, or scores that are no probabilities and no `predicted`.
    """
    truth, scores = np.asarray(truth, float), np.asarray(scores, float)
    if truth.shape != scores.shape or truth.ndim != 2 or truth.shape[1] != len(labels):
        raise ShapeError(
            f"expected truth and scores (N, {len(labels)}), got {truth.shape} and {scores.shape}"
        )
    if predicted is None:
        if scores.min() < 0 or scores.max() > 1:
            raise ShapeError(
                "expected probabilities, or scores and what they predict, got scores beyond [0, 1]"
            )
        predicted = scores >= 0.5
    predicted = np.asarray(predicted, float)

    def mean_f1(rows: np.ndarray) -> float:
        return mean_of_defined(known_f1_scores(truth[rows], predicted[rows]))

    def mean_auroc(rows: np.ndarray) -> float:
        return mean_of_defined(known_aurocs(truth[rows], scores[rows]))

    everyone = np.arange(len(truth))
    f1, auroc = known_f1_scores(truth, predicted), known_aurocs(truth, scores)
    per_unit = {
        label: {
            "known": int(np.isfinite(truth[:, column]).sum()),
            "there": int((truth[:, column] == 1).sum()),
            "found": int(predicted[np.isfinite(truth[:, column]), column].sum()),
            "f1": _figure(f1[column]),
            "auroc": _figure(auroc[column]),
        }
        for column, label in enumerate(labels)
    }
    intervals = {
        name: [_figure(end) for end in bootstrap_interval(figure, len(truth), RESAMPLES, seed, subjects)]
        for name, figure in (("mean_f1_95", mean_f1), ("mean_auroc_95", mean_auroc))
    }
    return {
        "samples": len(truth),
        "mean_f1": _figure(mean_f1(everyone)),
        "mean_auroc": _figure(mean_auroc(everyone)),
        **intervals,
        "intervals": {
            "over": "samples" if subjects is None else "subjects",
            "units": len(truth) if subjects is None else len(set(subjects)),
            "resamples": RESAMPLES,
        },
        "per_unit": per_unit,
    }


def mean_of_defined(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN where nothing is."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")


def units_to_markdown(systems: Mapping[str, Mapping[str, Any]], title: str, facts: Mapping[str, Any]) -> str:
    """Several systems on one set of samples, side by side, as a page.

    Args:
        systems: name -> what `measure_units` gives.
        title: heading.
        facts: what the numbers belong to, by name.

    Returns:
        Markdown that ends with a new line; a dash stands for what is undefined.
    """
    names = list(systems)
    first = systems[names[0]]
    heads = ["unit", "there", *(f"{name} {what}" for name in names for what in ("F1", "AUROC"))]
    rows = [
        [
            label,
            row["there"],
            *(systems[name]["per_unit"][label][what] for name in names for what in ("f1", "auroc")),
        ]
        for label, row in first["per_unit"].items()
    ]
    means = [systems[name][what] for name in names for what in ("mean_f1", "mean_auroc")]
    ends = [
        "-" if systems[name][what][0] is None else "{:.3f} to {:.3f}".format(*systems[name][what])
        for name in names
        for what in ("mean_f1_95", "mean_auroc_95")
    ]
    drawn = "{resamples:,} resamples of {units:,} {over}".format(**first["intervals"])
    parts = [
        f"# {title}",
        markdown.table(["fact", "value"], [list(item) for item in facts.items()]) if facts else "",
        markdown.table(heads, [*rows, ["**mean**", "", *means], ["95 %", "", *ends]], digits=3),
        f"{first['samples']:,} samples. 95 % intervals: {drawn}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figure(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
