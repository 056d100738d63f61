"""The report of one measurement: figures for JSON, a page in Markdown, and a picture (`draw`).

Of any single-label classifier with calibrated probabilities; which data, which network and which protocol is
said by the caller (`facts`), because a number does not travel without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mien.errors import LabelError, ShapeError
from mien.evaluate import markdown
from mien.evaluate.plots import draw
from mien.metrics import calibration, classification
from mien.metrics.bootstrap import bootstrap_confusions, percentile_interval
from mien.metrics.checks import expect_probabilities
from mien.metrics.selective import area_under_risk_coverage, risk_coverage, selected

__all__ = ["draw", "measure", "to_markdown"]

RESAMPLES = 1000
"""Draws behind each interval."""
SUMMARY = {
    "war": "WAR",
    "uar": "UAR",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "ece_15": "ECE (15 bins)",
    "mce_15": "MCE (15 bins)",
    "adaptive_ece_15": "adaptive ECE (15 bins)",
    "brier": "Brier",
    "nll": "NLL",
    "aurc": "AURC",
}
"""Single figures in the order of the page, and how they are called there."""


def measure(
    probabilities: np.ndarray,
    truth: np.ndarray,
    labels: Sequence[str],
    threshold: float | None = None,
    subjects: Sequence[str | None] | np.ndarray | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """All figures of one set of samples, ready for JSON: rounded to four digits, `None` where undefined.

    An infinite NLL (a true class was given probability 0) is `None` too.

    Args:
        probabilities: (N, K), rows sum to 1, N at least 1.
        truth: (N,) class indices; unlabelled samples are taken out first.
        labels: K names, in the order of the columns.
        threshold: confidence from which an answer counts as certain; `None` for no such rule.
        subjects: (N,) the person of each sample. The intervals are then over people; a sample without one
            (`None` or an empty text) counts as a person of its own.
        seed: of the resampling.
        classes: those of the protocol, over which the F1 means run; all labels where left out. One that is
            absent counts as 0 in macro F1.

    Returns:
        `samples`, `accuracy`, `accuracy_95` (lowest and highest of the 95 % interval), `war` (the same as
        accuracy), `uar`, `uar_95`, `macro_f1`, `macro_f1_95`, `weighted_f1`, `intervals` (over what, of
        how many, and how often drawn), `ece_15`, `mce_15`, `adaptive_ece_15`, `brier`, `nll`, `aurc`, `per_class` (samples, recall,
        precision, F1 by label), `confusion` (rows true), `certain` (threshold, coverage, accuracy; `None`
        without a threshold) and `risk_at_coverage` (share of errors among the surest tenth, two tenths ...).

    Raises:
        ShapeError: logits, or lengths that do not fit.
        LabelError: labels that are not K different names, or classes that are not among them.
    """
    probabilities = expect_probabilities(probabilities)
    scored = _scored(probabilities.shape[1], labels, classes)
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    counts = classification.confusion(truth, predicted, len(labels))
    correct = predicted == truth
    people = None if subjects is None else _people(subjects, len(predicted))
    drawn = bootstrap_confusions(truth, predicted, len(labels), RESAMPLES, seed, people)
    units = len(predicted) if people is None else len(np.unique(people))
    return {
        "samples": len(predicted),
        **_classified(counts, drawn if units > 1 else drawn[:0], scored),
        "intervals": {
            "over": "samples" if people is None else "subjects",
            "units": units,
            "resamples": RESAMPLES,
        },
        "ece_15": _figure(calibration.expected_calibration_error(confidence, correct)),
        "mce_15": _figure(calibration.maximum_calibration_error(confidence, correct)),
        "adaptive_ece_15": _figure(calibration.adaptive_calibration_error(confidence, correct)),
        "brier": _figure(calibration.brier_score(probabilities, truth)),
        "nll": _figure(calibration.negative_log_likelihood(probabilities, truth)),
        "aurc": _figure(area_under_risk_coverage(confidence, correct)),
        "per_class": _per_class(counts, labels),
        "confusion": counts.tolist(),
        "certain": _certain(confidence, correct, threshold),
        "risk_at_coverage": _risk_at_coverage(confidence, correct),
    }


def to_markdown(figures: Mapping[str, Any], title: str, facts: Mapping[str, Any]) -> str:
    """The figures as a page.

    Args:
        figures: what `measure` gives.
        title: heading.
        facts: what the numbers belong to, by name: protocol, network and its hash, data and their hash,
            commit, machine, date.

    Returns:
        Markdown that ends with a new line; a dash stands for what is undefined.
    """
    names = list(figures["per_class"])
    summary = [
        ("samples", figures["samples"]),
        ("accuracy", _with_interval(figures, "accuracy")),
        *((name, _with_interval(figures, key)) for key, name in SUMMARY.items()),
    ]
    per_class = [
        (name, row["samples"], row["recall"], row["precision"], row["f1"])
        for name, row in figures["per_class"].items()
    ]
    risks = figures["risk_at_coverage"]
    parts = [
        f"# {title}",
        markdown.table(("fact", "value"), list(facts.items())) if facts else "",
        markdown.table(("figure", "value"), summary),
        _interval_sentence(figures),
        _certain_sentence(figures["certain"]),
        "## Classes",
        markdown.table(("class", "samples", "recall", "precision", "F1"), per_class),
        "## Confusion (true class down, answer across)",
        markdown.table(
            ("", *names), [(name, *row) for name, row in zip(names, figures["confusion"], strict=True)]
        ),
        "## Errors among the surest",
        markdown.table(("share answered", *risks), [("share of errors", *risks.values())]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _scored(columns: int, labels: Sequence[str], classes: Sequence[str] | None) -> list[int]:
    """Columns of the protocol's classes."""
    if len(labels) != columns or len(set(labels)) != columns:
        raise LabelError(f"expected {columns} different labels, one a column, got {list(labels)}")
    unknown = sorted(set(classes or ()) - set(labels))
    if unknown:
        raise LabelError(f"expected classes among {', '.join(labels)}, got {', '.join(unknown)}")
    return [list(labels).index(name) for name in (labels if classes is None else classes)]


def _people(subjects: Sequence[str | None] | np.ndarray, count: int) -> np.ndarray:
    """Number of each sample's person (N,); whoever has no name is alone."""
    if len(subjects) != count:
        raise ShapeError(f"expected one subject for each of {count} samples, got {len(subjects)}")
    numbers: dict[Any, int] = {}
    return np.array(
        [
            numbers.setdefault(("alone", place) if person is None or person == "" else person, len(numbers))
            for place, person in enumerate(np.asarray(subjects, object).tolist())
        ]
    )


def _classified(counts: np.ndarray, drawn: np.ndarray, scored: list[int]) -> dict[str, Any]:
    """Figures of a confusion table, with intervals from resampled tables (R, K, K)."""

    def interval(statistic: Any) -> list[float | None]:
        low, high = percentile_interval(np.array([statistic(table) for table in drawn]))
        return [_figure(low), _figure(high)]

    def macro(table: np.ndarray) -> float:
        return classification.macro_f1(table, scored)

    return {
        "accuracy": _figure(classification.accuracy(counts)),
        "accuracy_95": interval(classification.accuracy),
        "war": _figure(classification.accuracy(counts)),
        "uar": _figure(classification.uar(counts)),
        "uar_95": interval(classification.uar),
        "macro_f1": _figure(macro(counts)),
        "macro_f1_95": interval(macro),
        "weighted_f1": _figure(classification.weighted_f1(counts, scored)),
    }


def _per_class(counts: np.ndarray, labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    recall, precision = classification.recalls(counts), classification.precisions(counts)
    f1, support = classification.f1_scores(counts), counts.sum(1)
    return {
        name: {
            "samples": int(support[index]),
            "recall": _figure(recall[index]),
            "precision": _figure(precision[index]),
            "f1": _figure(f1[index]),
        }
        for index, name in enumerate(labels)
    }


def _certain(confidence: np.ndarray, correct: np.ndarray, threshold: float | None) -> dict[str, Any] | None:
    if threshold is None:
        return None
    left = selected(confidence, correct, threshold)
    return {"threshold": threshold, "coverage": _figure(left.coverage), "accuracy": _figure(left.accuracy)}


def _risk_at_coverage(confidence: np.ndarray, correct: np.ndarray) -> dict[str, Any]:
    _, risk = risk_coverage(confidence, correct)
    return {f"{tenth / 10:.1f}": _figure(risk[max(1, tenth * len(risk) // 10) - 1]) for tenth in range(1, 11)}


def _figure(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _with_interval(figures: Mapping[str, Any], key: str) -> str:
    low, high = figures.get(f"{key}_95", (None, None))
    return markdown.cell(figures[key]) + (
        "" if low is None else f" ({markdown.cell(low)} to {markdown.cell(high)})"
    )


def _interval_sentence(figures: Mapping[str, Any]) -> str:
    intervals = figures["intervals"]
    drawn = f"{intervals['resamples']:,} resamples of {intervals['units']:,} {intervals['over']}"
    if figures["accuracy_95"][0] is None:
        return f"No interval can be had from {drawn}."
    return f"In brackets: 95 % intervals, {drawn}."


def _certain_sentence(certain: Mapping[str, Any] | None) -> str:
    if certain is None:
        return ""
    return (
        f"From a confidence of {certain['threshold']} on an answer is certain: {markdown.cell(certain['coverage'])} "
        f"of the samples, with an accuracy of {markdown.cell(certain['accuracy'])}."
    )
