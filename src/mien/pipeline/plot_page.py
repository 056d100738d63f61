"""A page with panels one below another over the time of a clip, as PNG. Needs matplotlib (extra `plot`).

All lengths are inches. The page is laid out by hand, so that what is written can be measured and nothing lies over
anything else.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.evaluate.canvas import printable
from mien.pipeline.overlay import COLOURS
from mien.pipeline.strips import span_s
from mien.types.track import Course

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, LEFT, RIGHT = 10.0, 0.8, 0.25
ROOM = WIDTH - LEFT - RIGHT
"""Width of every panel."""
DPI = 192
"""Twice the 96 of a page in a browser."""
COLUMNS = round(ROOM * DPI)
"""A column of time for each pixel of a panel."""
INK, SOFT, LINE, TROUBLE = "#1a1a1a", "#666666", "#e2e2e2", "#a02c00"
OTHERS = ("#332288", "#882255", "#44aa99", "#999933", "#aa4499", "#117733")
"""For classes that are not mien's: of Paul Tol's muted colours, which colour-blind people can tell apart."""
SIZE, SMALL, LARGE = 8.0, 7.0, 11.0
"""Of letters, points."""
STEPS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
MOST_TICKS = 12
FAMILY = "DejaVu Sans"
"""It comes with matplotlib."""
STYLE = {"font.family": FAMILY, "font.size": SIZE, "text.parse_math": False, "hatch.linewidth": 0.7}


@dataclass(frozen=True)
class Panel:
    """One panel: what stands at its left, its height, and what draws it. Its y begins at 0 and ends at its height."""

    name: str
    height: float
    draw: Callable[[Axes], None]


@dataclass(frozen=True)
class Key:
    """One entry below the panels: what it means, and a patch of so much of the usual height."""

    text: str
    colour: str
    hatch: str = ""
    edge: str = "none"
    height: float = 1.0


def colours_of(names: Sequence[str]) -> Mapping[str, str]:
    """A colour for each class: those of overlays, and others for classes that are not mien's."""
    own = [name for name in names if name not in COLOURS]
    return {name: COLOURS.get(name) or OTHERS[own.index(name) % len(OTHERS)] for name in names}


def clock(time_s: float, step_s: float = 1.0) -> str:
    """Minutes and seconds, with hours where there are some, and as many digits as steps of that size want."""
    digits = 0 if step_s >= 1 else math.ceil(-math.log10(step_s) - 1e-9)
    minutes, rest = divmod(round(time_s * 10**digits), 60 * 10**digits)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / 10**digits:0{3 + digits if digits else 2}.{digits}f}"
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"


def length(time_s: float) -> str:
    """A length of time: seconds, from a minute on minutes and seconds."""
    if time_s >= 60:
        return f"{clock(time_s)} min"
    return f"{time_s:.1f} s" if time_s >= 10 else f"{time_s:.2f} s"


@cache
def inches(text: str, size: float = SIZE, weight: str = "normal") -> float:
    """How wide a text is."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    width, _, _ = TextToPath().get_text_width_height_descent(
        text, FontProperties(family=FAMILY, size=size, weight=weight), False
    )
    return float(width) / 72


def fitted(text: str, room: float, size: float = SIZE, weight: str = "normal") -> str:
    """The text, or its beginning and end where it is too wide."""
    if inches(text, size, weight) <= room:
        return text
    for kept in range(len(text) // 2, 0, -1):
        short = f"{text[:kept]}…{text[-kept:]}"
        if inches(short, size, weight) <= room:
            return short
    return "…"


def page(
    course: Course,
    title: str,
    notes: Sequence[str],
    panels: Sequence[Panel],
    keys: Sequence[Sequence[Key]],
    foot: Sequence[str] = (),
) -> bytes:
    """Draw a page.

    Args:
        course: whose time the panels span, and whose trouble is said.
        title: its first line.
        notes: lines under it.
        panels: from top to bottom.
        keys: rows of entries under the panels.
        foot: lines at the bottom.
    """
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    keys = [row for row in keys if row]
    gap, head, line = 0.08, 0.5, 0.18
    below = 0.5 + 0.2 * len(keys) + line * len(foot)
    troubles = [f"the clip broke off: {printable(course.trouble)}"] if course.trouble else []
    top = head + line * len([*notes, *troubles]) + 0.06
    height = top + sum(panel.height + gap for panel in panels) + below
    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a file's name may hold any letter
        figure = Figure(figsize=(WIDTH, height))
        FigureCanvasAgg(figure)
        write = _writer(figure, height)
        write(0.25, 0.32, fitted(title, WIDTH - 0.5, LARGE, "bold"), size=LARGE, weight="bold", color=INK)
        for place, text in enumerate([*notes, *troubles]):
            colour = SOFT if place < len(notes) else TROUBLE
            write(0.25, head + line * place, fitted(text, WIDTH - 0.5), color=colour)
        down = top
        for panel in panels:
            down += panel.height
            axes = figure.add_axes((LEFT / WIDTH, 1 - down / height, ROOM / WIDTH, panel.height / height))
            _prepare(axes, course, panel, labelled=panel is panels[-1])
            panel.draw(axes)
            down += gap
        _key_rows(figure, keys, height, down + 0.42)
        for place, text in enumerate(foot):
            write(
                0.25,
                height - 0.1 - line * (len(foot) - 1 - place),
                fitted(text, WIDTH - 0.5, SMALL),
                size=SMALL,
            )
        stored = io.BytesIO()
        figure.savefig(stored, format="png", dpi=DPI, facecolor="white")
    return stored.getvalue()


def _writer(figure: Figure, height: float) -> Callable[..., None]:
    """Writes text on a baseline, so many inches from the left and from the top."""

    def write(left: float, down: float, text: str, **looks: Any) -> None:
        figure.text(left / WIDTH, 1 - down / height, text, **{"color": SOFT, "va": "baseline", **looks})

    return write


def _prepare(axes: Axes, course: Course, panel: Panel, labelled: bool) -> None:
    """An empty panel with its name, its span and lines of time."""
    start_s, end_s = span_s(course)
    axes.set(xlim=(start_s, end_s), ylim=(0, panel.height), yticks=[])
    axes.set_facecolor("none")
    axes.spines[:].set_visible(False)
    step = next((step for step in STEPS_S if (end_s - start_s) / step <= MOST_TICKS), STEPS_S[-1])
    ticks = np.arange(math.ceil(start_s / step - 1e-9), math.floor(end_s / step + 1e-9) + 1) * step
    for tick in ticks:
        axes.axvline(tick, color=LINE, linewidth=0.6, zorder=0)
    axes.set_xticks(ticks if labelled else [], [clock(tick, step) for tick in ticks] if labelled else [])
    axes.tick_params(length=3 if labelled else 0, color=SOFT, labelcolor=SOFT, labelsize=SMALL)
    axes.axhline(0, color=SOFT, linewidth=0.8, zorder=3)
    axes.text(
        start_s - 0.1 * (end_s - start_s) / ROOM, panel.height / 2, panel.name,
        ha="right", va="center", color=INK, linespacing=1.3,
    )  # fmt: skip
    if labelled:
        axes.annotate(
            "min:s", (0, 0), (-0.3 * 72, -3 - SMALL * 1.25), xycoords="axes fraction",
            textcoords="offset points", ha="right", color=SOFT, size=SMALL,
        )  # fmt: skip


def _key_rows(figure: Figure, rows: Sequence[Sequence[Key]], height: float, down: float) -> None:
    """The entries, each row as far as it fits."""
    from matplotlib.patches import Rectangle

    write = _writer(figure, height)
    for row in rows:
        left = LEFT
        for key in row:
            box = ((left / WIDTH), 1 - (down + 0.01) / height), 0.2 / WIDTH, 0.12 * key.height / height
            figure.add_artist(
                Rectangle(*box, facecolor=key.colour, hatch=key.hatch, edgecolor=key.edge, linewidth=0.6)
            )
            write(left + 0.26, down, key.text, color=INK)
            left += 0.26 + inches(key.text) + 0.22
        down += 0.2
