"""The pictures of an audit, as PNG. Needs matplotlib (extra `plot`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mien.evaluate.canvas import bare, drawn, in_rows, point, short
from mien.evaluate.plots import BLUE, ORANGE
from mien.transforms.corruptions import CORRUPTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREY, GREEN = "#a8a8a8", "#009e73"
LINE = 0.25
"""Inches a group."""
EDGE = 0.02
"""How far an axis of shares goes beyond 0 and 1, so that points there are whole."""
PANELS = {"accuracy": "accuracy", "uncertain": "share of uncertain answers", "ece_15": "calibration error (ECE)"}  # fmt: skip
CURVES = {
    "accuracy": (BLUE, "right, of all answers"),
    "certain_accuracy": (GREEN, "right, of certain answers"),
    "certain": (ORANGE, "certain, of all answers"),
}


def draw_groups(found: Mapping[str, Mapping[str, Any]], whole: Mapping[str, Any]) -> bytes:
    """Accuracy, share of uncertain answers and calibration error of each group of each column, with intervals."""
    counts = [len(column["groups"]) for column in found.values()]

    def draw(figure: Figure) -> None:
        grid = figure.subplots(
            len(counts), 3, squeeze=False, sharex="col", height_ratios=[n + 1.6 for n in counts]
        )
        for panels, (name, column) in zip(grid, found.items(), strict=True):
            groups = column["groups"]
            for axes, key in zip(panels, PANELS, strict=True):
                for row, group in enumerate(groups):
                    point(axes, row, group[key], group[f"{key}_95"], GREY if group["too_small"] else BLUE)
                axes.axvline(whole[key], color=ORANGE, linewidth=1, linestyle="--")
                bare(axes, "x")
                in_rows(axes, [f"{short(group['name'])}  ({group['samples']:,})" for group in groups])
                if axes is not panels[0]:
                    axes.tick_params(labelleft=False)
            panels[0].set_title(short(name), loc="left", fontweight="bold")
        for axes, text in zip(grid[-1], PANELS.values(), strict=True):
            axes.set_xlabel(text)
            low, high = axes.get_xlim()
            axes.set_xlim(max(low, -EDGE), min(high, 1 + EDGE))

    return drawn(0.5 + sum(0.5 + LINE * count for count in counts), draw)


def draw_corruptions(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """Of each corruption by severity: accuracy of all and of certain answers, and how many are certain."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, 4, sharex=True, sharey=True).ravel()
        for axes, (name, kind) in zip(panels, CORRUPTIONS.items(), strict=True):
            own = [lines[0], *(line for line in lines if line["name"] == name)]
            for key, (colour, text) in CURVES.items():
                told = [line for line in own if line[key] is not None]
                places = [line["severity"] for line in told]
                axes.plot(
                    places, [line[key] for line in told], color=colour, marker="o", markersize=4, label=text
                )
                sure = [line for line in told if None not in line[f"{key}_95"]]
                low, high = ([line[f"{key}_95"][end] for line in sure] for end in (0, 1))
                axes.fill_between(
                    [line["severity"] for line in sure], low, high, color=colour, alpha=0.15, linewidth=0
                )
            axes.set_title(kind.what)
            axes.set(ylim=(0, 1.02), xticks=range(4))
            bare(axes, "y")
        handles, texts = panels[0].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside lower center", ncols=3, frameon=False)
        for axes in panels[4:]:
            axes.set_xlabel("severity (0: as it is)")

    return drawn(5.0, draw)
