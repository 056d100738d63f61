"""The pictures of a study, as PNG: points with intervals over participants. Needs matplotlib (extra `plot`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mien.evaluate.canvas import bare, drawn, in_rows, point, short
from mien.evaluate.plots import BLUE
from mien.pipeline.overlay import COLOURS
from mien.pipeline.study import Study
from mien.pipeline.study_summary import conditions_of
from mien.pipeline.table import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOTS = ("expressions.png", "conditions.png", "others.png", "units.png", "differences.png")
"""All that there may be."""
LINE = 0.24
"""Inches a row."""
DOT = "#b5b5b5"
MOST_CONDITIONS = 12
"""More are not drawn side by side; they stand in the tables."""


def draw_study(study: Study) -> dict[str, tuple[bytes, str]]:
    """Name of a file -> PNG and what it shows; what there is nothing to draw of is left out."""
    shown = conditions_of(study.participants)[:MOST_CONDITIONS]
    if not shown:
        return {}
    expressions = _of_kind(study, "expression")
    found = {
        "expressions.png": (
            _small_multiples(study, expressions, shown),
            "Each expression by condition: mean probability over participants with its 95 % interval. Grey: participants.",
        ),
        "conditions.png": (
            _by_condition(study, expressions, shown),
            "Each condition: mean probability of the expressions over participants, with 95 % intervals.",
        ),
    }
    others = [name for kind in ("affect", "rate", "quality") for name in _of_kind(study, kind)]
    others = [name for name in others if _told(study, name)]
    if others:
        found["others.png"] = (
            _small_multiples(study, others, shown),
            "Derived valence and arousal, rates, and how good the pictures were, by condition. Grey: participants.",
        )
    units = [name for name in _of_kind(study, "unit") if _told(study, name)]
    if units:
        found["units.png"] = (
            _small_multiples(study, units, shown),
            "Action units by condition: mean intensity, 0 to 5 on mien's own scale. Grey: participants.",
        )
    if any(row["mean_difference"] is not None and row["measure"] in expressions for row in study.differences):
        found["differences.png"] = (
            _differences(study, expressions),
            "Differences between conditions within participants, with 95 % intervals; each is for itself, not for all at once.",
        )
    return found


def _small_multiples(study: Study, names: Sequence[str], shown: Sequence[str]) -> bytes:
    """A panel a measure, a row a condition."""
    wide = min(4, len(names))
    high = math.ceil(len(names) / wide)

    def draw(figure: Figure) -> None:
        kinds = {study.measures[name].kind for name in names}
        panels = figure.subplots(
            high, wide, squeeze=False, sharey=True, sharex=kinds == {"expression"} or kinds == {"unit"}
        )
        _fill(panels, len(names))
        for axes, name in zip(panels.ravel(), names, strict=False):
            measure = study.measures[name]
            for row, condition in enumerate(shown):
                own = [one[name] for one in study.participants if one["condition"] == condition]
                dots = [value for value in own if value is not None]
                axes.plot(dots, [row + 0.22] * len(dots), "o", color=DOT, markersize=2.5, alpha=0.7)
                _draw(axes, row, _line(study, condition, name), _colour(measure.text))
            in_rows(axes, shown)
            bare(axes, "x")
            axes.set_title(measure.text)
            if measure.kind == "quality":
                axes.set_xlim(-0.04, 1.04)
            if measure.kind == "rate":
                axes.update_datalim([(0, 0)])
                axes.autoscale_view(scaley=False)
            if measure.kind not in ("expression", "unit"):
                axes.set_xlabel(measure.unit)
        if kinds <= {"expression", "unit"}:
            figure.supxlabel(study.measures[names[0]].unit, fontsize=8.5)

    return drawn(0.4 + high * (0.75 + LINE * len(shown)), draw)


def _by_condition(study: Study, names: Sequence[str], shown: Sequence[str]) -> bytes:
    """A panel a condition, a row an expression."""
    wide = min(4, len(shown))
    high = math.ceil(len(shown) / wide)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(high, wide, squeeze=False, sharex=True, sharey=True)
        _fill(panels, len(shown))
        for axes, condition in zip(panels.ravel(), shown, strict=False):
            for row, name in enumerate(names):
                _draw(axes, row, _line(study, condition, name), _colour(study.measures[name].text))
            in_rows(axes, [study.measures[name].text for name in names])
            bare(axes, "x")
            people = len({row["participant"] for row in study.participants if row["condition"] == condition})
            axes.set_title(f"{short(condition, 24)} ({people} participants)")
        figure.supxlabel("mean probability", fontsize=8.5)

    return drawn(0.4 + high * (0.6 + LINE * len(names)), draw)


def _differences(study: Study, names: Sequence[str]) -> bytes:
    """A panel a pair of conditions, a row an expression."""
    pairs = list(dict.fromkeys((row["condition_a"], row["condition_b"]) for row in study.differences))
    told = [pair for pair in pairs if any(_pair_line(study, pair, name) for name in names)][:MOST_CONDITIONS]
    wide = min(3, len(told))
    high = math.ceil(len(told) / wide)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(high, wide, squeeze=False, sharex=True, sharey=True)
        _fill(panels, len(told))
        for axes, pair in zip(panels.ravel(), told, strict=False):
            axes.axvline(0, color="#666666", linewidth=1)
            lines = [_pair_line(study, pair, name) for name in names]
            for row, (name, line) in enumerate(zip(names, lines, strict=True)):
                if line is not None:
                    ends = (line["low_95"], line["high_95"])
                    point(axes, row, line["mean_difference"], ends, _colour(study.measures[name].text))
            in_rows(axes, [study.measures[name].text for name in names])
            bare(axes, "x")
            people = max(line["participants"] for line in lines if line is not None)
            axes.set_title(f"{short(pair[0], 18)} minus {short(pair[1], 18)} ({people})")
        figure.supxlabel(
            "difference in mean probability, within participants (number of them in brackets)", fontsize=8.5
        )

    return drawn(0.5 + high * (0.6 + LINE * len(names)), draw)


def _fill(panels: np.ndarray, count: int) -> None:
    """Hide what is left over of a grid; the last panel of each column keeps its numbers."""
    for axes in panels.ravel()[count:]:
        axes.set_visible(False)
    for axes in panels.ravel()[count - panels.shape[1] : count]:
        axes.tick_params(labelbottom=True)


def _draw(axes: object, row: int, line: Row | None, colour: str) -> None:
    if line is not None:
        point(axes, row, line["mean"], (line["low_95"], line["high_95"]), colour)  # type: ignore[arg-type]


def _line(study: Study, condition: str, name: str) -> Row | None:
    """The row of the table of conditions."""
    return next((row for row in study.conditions if (row["condition"], row["measure"]) == (condition, name)), None)  # fmt: skip


def _pair_line(study: Study, pair: tuple[str, str], name: str) -> Row | None:
    """The row of the table of differences, where it holds a number."""
    for row in study.differences:
        if (row["condition_a"], row["condition_b"], row["measure"]) == (*pair, name):
            return row if row["mean_difference"] is not None else None
    return None


def _of_kind(study: Study, kind: str) -> list[str]:
    return [name for name, measure in study.measures.items() if measure.kind == kind]


def _told(study: Study, name: str) -> bool:
    return any(row[name] is not None for row in study.participants)


def _colour(text: str) -> str:
    return COLOURS.get(text, BLUE)
