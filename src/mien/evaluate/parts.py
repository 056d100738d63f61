"""Figures of parts of a measurement (a group of people, a kind of corruption), with intervals, and gaps between groups.

Every figure is a quotient of sums over samples. The sums of all resamples are one product of matrices, so the figure and its
interval come from the same code, and the parts of one measurement share their draws: a gap between two parts has an
interval of its own, also where a person is in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mien.errors import ShapeError
from mien.metrics.bootstrap import UNDEFINED_AT_MOST, Clusters, percentile_interval, resample_weights
from mien.metrics.checks import expect_classes, expect_probabilities

RESAMPLES = 1000
"""Draws behind each interval."""
BINS = 15
"""Of the calibration error."""
LEVEL = 0.95
FIGURES = ("accuracy", "uar", "ece_15", "uncertain", "unreliable", "not_found", "certain", "certain_accuracy", "flagged_of_wrong")  # fmt: skip
"""What is measured of each part, see `part_figures`."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network said of N pictures.

    Attributes:
        probabilities: (N, K), rows sum to 1.
        truth: int (N,), classes.
        found: bool (N,), a face was found.
        reliable: bool (N,), it was, and nothing speaks against its quality.
        threshold: confidence under which an answer is uncertain.

    Raises:
        ShapeError: logits, or lengths that do not fit.
    """

    probabilities: np.ndarray
    truth: np.ndarray
    found: np.ndarray
    reliable: np.ndarray
    threshold: float

    def __post_init__(self) -> None:
        count, classes = expect_probabilities(self.probabilities).shape
        expect_classes(self.truth, classes)
        for name in ("truth", "found", "reliable"):
            if getattr(self, name).shape != (count,):
                raise ShapeError(f"expected {name} of {count} pictures, got {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def correct(self) -> np.ndarray:
        """Whether the most probable class is right, bool (N,)."""
        return self.probabilities.argmax(1) == self.truth

    @property
    def certain(self) -> np.ndarray:
        """Whether the answer is given without reserve, bool (N,): not uncertain, of a reliable face."""
        return self.reliable & (self.probabilities.max(1) >= self.threshold)

    def of(self, rows: np.ndarray) -> Answers:
        """Those of some pictures."""
        return replace(
            self,
            probabilities=self.probabilities[rows],
            truth=self.truth[rows],
            found=self.found[rows],
            reliable=self.reliable[rows],
        )


class Drawn(NamedTuple):
    """Figures of one part: (1 + R,) each, the figure itself and those of R resamples, NaN where undefined."""

    figures: Mapping[str, np.ndarray]
    samples: int
    classes: int


def draw_parts(
    answers: Answers, parts: Sequence[np.ndarray], clusters: Clusters | None = None, seed: int = 0
) -> list[Drawn]:
    """Figures of each part, and of the same resamples of the whole.

    Args:
        answers: of N pictures.
        parts: rows of each part; they may overlap.
        clusters: (N,) the person of each picture: people are drawn instead of pictures.
        seed: of the draws.
    """
    features = [_features(answers.of(rows)) for rows in parts]
    sums: list[list[np.ndarray]] = [[one.sum(0)[None]] for one in features]
    for block in resample_weights(len(answers), RESAMPLES, seed, clusters):
        weights = block.astype(np.float64)
        for part, rows, one in zip(sums, parts, features, strict=True):
            part.append(weights[:, rows] @ one)
    classes = answers.probabilities.shape[1]
    return [
        Drawn(
            _figures(np.concatenate(part), classes), len(rows), len(np.unique(answers.truth[rows])),
        )
        for part, rows in zip(sums, parts, strict=True)
    ]  # fmt: skip


def part_figures(drawn: Drawn) -> dict[str, Any]:
    """One part for JSON, four digits, `None` where undefined; each figure with its 95 % interval, `NAME_95`.

    `accuracy`, `uar` (over the classes that occur), `ece_15`; shares of pictures: `uncertain` (confidence under the threshold),
    `not_found` (no face), `unreliable` (no face, or one too poor), `certain` (none of these); `certain_accuracy`; and
    `flagged_of_wrong`: of the wrong answers, the share that was not certain.
    """
    figures: dict[str, Any] = {"samples": drawn.samples, "classes": drawn.classes}
    for name in FIGURES:
        value, *resampled = drawn.figures[name].tolist()
        figures[name] = rounded(value)
        figures[f"{name}_95"] = [rounded(end) for end in percentile_interval(np.array(resampled), LEVEL)]
    return figures


class Gap(NamedTuple):
    """How much more accurate the better of two groups is, with an interval that holds for all pairs at once."""

    better: int
    worse: int
    gap: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies above 0; false where there is none."""
        return bool(self.low > 0)


def gaps_between(drawn: Sequence[Drawn]) -> list[Gap]:
    """The gap in accuracy of each pair of groups, the larger first.

    With many groups, the best and the worst differ by chance. So the intervals are as wide as it takes for all pairs to
    hold at once in 95 % of the resamples: each pair's own standard error times the 95 % quantile of the largest
    deviation, in standard errors, over all pairs. NaN where a group is empty in more than one resample in twenty.

    Source: single-step max-t, as in Westfall and Young, "Resampling-Based Multiple Testing", 1993 (from memory).
    """
    pairs = [(i, j) for i in range(len(drawn)) for j in range(i)]
    if not pairs:
        return []
    accuracy = np.array([one.figures["accuracy"] for one in drawn])
    apart = np.array([accuracy[i] - accuracy[j] for i, j in pairs]).reshape(len(pairs), -1)
    value, resampled = apart[:, 0], apart[:, 1:]
    usable = np.isnan(resampled).mean(1) <= UNDEFINED_AT_MOST
    error = np.full(len(pairs), np.nan)
    error[usable] = np.nanstd(resampled[usable], axis=1)
    steady = usable & (error > 0)
    reach = np.nan
    if steady.any():
        away = np.abs(resampled[steady] - value[steady, None]) / error[steady, None]
        whole = ~np.isnan(away).any(0)
        reach = float(np.quantile(away[:, whole].max(0), LEVEL))
    found = []
    for (i, j), gap, spread in zip(pairs, value, error, strict=True):
        better, worse = (i, j) if gap >= 0 else (j, i)
        half = reach * spread if spread > 0 else 0.0 * spread
        found.append(Gap(better, worse, abs(float(gap)), float(abs(gap) - half), float(abs(gap) + half)))
    return sorted(found, key=lambda one: -one.gap)


def rounded(value: float) -> float | None:
    """Four digits; `None` for NaN."""
    return round(float(value), 4) if np.isfinite(value) else None


def _features(answers: Answers) -> np.ndarray:
    """What is summed, (N, 8 + 2 K + bins): see `_figures`."""
    confidence, correct, certain = answers.probabilities.max(1), answers.correct, answers.certain
    classes = np.eye(answers.probabilities.shape[1])[answers.truth]
    bins = np.eye(BINS)[np.clip(np.ceil(confidence * BINS - 1e-9).astype(int) - 1, 0, BINS - 1)]
    single = (
        np.ones(len(answers)), correct, confidence < answers.threshold, ~answers.reliable, ~answers.found,
        certain, certain & correct, ~correct & ~certain,
    )  # fmt: skip
    columns = np.stack(single, 1).astype(float)
    return np.hstack([columns, classes, classes * correct[:, None], bins * (correct - confidence)[:, None]])


def _figures(sums: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Figures of sums (1 + R, 8 + 2 K + bins)."""
    count, right, unsure, poor, lost, certain, right_certain, flagged = sums[:, :8].T
    there, recalled = sums[:, 8 : 8 + classes], sums[:, 8 + classes : 8 + 2 * classes]
    recall, occurring = _ratio(recalled, there), (there > 0).sum(1)
    return {
        "accuracy": _ratio(right, count),
        "uar": _ratio(np.nansum(recall, 1), occurring),
        "ece_15": _ratio(np.abs(sums[:, 8 + 2 * classes :]).sum(1), count),
        "uncertain": _ratio(unsure, count),
        "unreliable": _ratio(poor, count),
        "not_found": _ratio(lost, count),
        "certain": _ratio(certain, count),
        "certain_accuracy": _ratio(right_certain, certain),
        "flagged_of_wrong": _ratio(flagged, count - right),
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
