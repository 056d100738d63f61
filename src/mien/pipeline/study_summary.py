"""From files to participants, conditions, and differences between conditions. The unit is the participant.

Several files of one participant in one condition are averaged first, each with the same weight; then each participant
counts once. Intervals are over participants: files and frames of one person are alike, and would make them too narrow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from mien.faces.mesh_units import RULES
from mien.labels.circumplex import CIRCUMPLEX
from mien.metrics.bootstrap import bootstrap_mean
from mien.metrics.significance import holm, wilcoxon_signed_rank
from mien.pipeline.table import Row, unit_column

RESAMPLES = 2000
"""Draws of participants behind each interval."""


@dataclass(frozen=True)
class Measure:
    """What is measured of a file.

    Attributes:
        text: in words.
        unit: of the number.
        kind: "expression", "affect", "rate", "unit", or "quality", which is no outcome and is not compared.
    """

    text: str
    unit: str
    kind: str


def measures_of(labels: Sequence[str], mesh: bool = False) -> dict[str, Measure]:
    """Column -> measure, for a network's classes; more with the mesh."""
    found = {
        f"p_{name}_mean": Measure(name, "mean probability, 0 to 1", "expression") for name in labels
    }  # fmt: skip
    if set(labels) <= set(CIRCUMPLEX):
        found |= {
            f"{name}_derived_mean": Measure(f"{name} (derived)", "-1 to 1", "affect") for name in ("valence", "arousal")
        }  # fmt: skip
    found["events_per_min"] = Measure("events", "a minute in sight", "rate")
    if mesh:
        found["blinks_per_min"] = Measure("blinks", "a minute with a mesh", "rate")
        found |= {
            f"{unit_column(rule.unit)}_intensity_mean": Measure(f"AU{rule.unit}", "mean intensity, 0 to 5", "unit")
            for rule in RULES
        }  # fmt: skip
    return found | {
        "certain_share": Measure("certain answers", "share of the reliable time", "quality"),
        "unreliable_share": Measure("face not reliable", "share of the time in sight", "quality"),
        "in_sight_share": Measure("face in sight", "share of the time", "quality"),
    }


def by_participant(files: Sequence[Row], measures: Collection[str]) -> list[Row]:
    """One row a participant and condition: how many files and frames, and the mean over its files of each measure.

    Args:
        files: rows with `participant`, `condition`, `frames` and the measures, `None` where one is not told. Rows without a
            participant or a condition are in none.
        measures: names of columns.
    """
    rows = []
    told = [row for row in files if row["participant"] is not None and row["condition"] is not None]
    for participant, condition in sorted({(row["participant"], row["condition"]) for row in told}):
        own = [row for row in told if (row["participant"], row["condition"]) == (participant, condition)]
        rows.append(
            {
                "participant": participant,
                "condition": condition,
                "files": len(own),
                "frames": sum(row["frames"] for row in own),
                **{name: _mean([row[name] for row in own]) for name in measures},
            }
        )
    return rows


def by_condition(participants: Sequence[Row], measures: Collection[str], seed: int = 0) -> list[Row]:
    """One row a condition and measure: mean over participants and its 95 % interval by resampled participants.

    `participants` are those of whom the measure is told, `files` and `frames` theirs in the condition. No interval under
    two participants.
    """
    rows = []
    for condition in conditions_of(participants):
        for name in measures:
            own = [row for row in participants if row["condition"] == condition and row[name] is not None]
            values = np.array([row[name] for row in own])
            rows.append(
                {
                    "condition": condition,
                    "measure": name,
                    "mean": _mean(values.tolist()),
                    **_interval(values, seed),
                    "participants": len(own),
                    "files": sum(row["files"] for row in own),
                    "frames": sum(row["frames"] for row in own),
                }
            )
    return rows


def differences(
    participants: Sequence[Row], measures: Mapping[str, Measure], seed: int = 0, test: bool = False
) -> list[Row]:
    """One row a pair of conditions and outcome: the mean difference within participants, with its 95 % interval.

    Of participants who are in both conditions alone: their differences are resampled. `condition_a` minus `condition_b`.

    Args:
        participants: of `by_participant`.
        measures: those of quality are no outcomes, and are left out.
        seed: of the resamples.
        test: also Wilcoxon's signed-rank test, `p_wilcoxon`, and `p_holm`, adjusted for all rows that have one.
    """
    at = {(row["participant"], row["condition"]): row for row in participants}
    rows: list[Row] = []
    for first, second in combinations(conditions_of(participants), 2):
        both = [who for who, condition in at if condition == first and (who, second) in at]
        for name in (name for name, measure in measures.items() if measure.kind != "quality"):
            pairs = [(at[who, first][name], at[who, second][name]) for who in both]
            values = np.array([pair for pair in pairs if None not in pair], float).reshape(-1, 2)
            apart = values[:, 0] - values[:, 1]
            row: Row = {
                "condition_a": first,
                "condition_b": second,
                "measure": name,
                "mean_difference": _mean(apart.tolist()),
                **_interval(apart, seed),
                "participants": len(apart),
            }
            if test:
                row["p_wilcoxon"] = (
                    wilcoxon_signed_rank(values[:, 0], values[:, 1]).p_value if len(apart) > 1 else None
                )
            rows.append(row)
    if test:
        _adjust(rows)
    return rows


def _adjust(rows: list[Row]) -> None:
    """Set `p_holm` of each row."""
    tested = [row for row in rows if row["p_wilcoxon"] is not None]
    adjusted = holm(np.array([row["p_wilcoxon"] for row in tested])).tolist() if tested else []
    found = {id(row): round(value, 6) for row, value in zip(tested, adjusted, strict=True)}
    for row in rows:
        row["p_holm"] = found.get(id(row))


def conditions_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The conditions, by name."""
    return sorted({row["condition"] for row in rows if row["condition"] is not None})


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of what is told; `None` where nothing is."""
    told = [value for value in values if value is not None]
    return round(float(np.mean(told)), 6) if told else None


def _interval(values: np.ndarray, seed: int) -> dict[str, float | None]:
    if len(values) < 2:
        return {"low_95": None, "high_95": None}
    low, high = bootstrap_mean(values, RESAMPLES, seed)
    return {"low_95": round(low, 6), "high_95": round(high, 6)}
