"""What the plots of reports share: a figure without a window, points with intervals. Needs matplotlib (extra `plot`)."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE: Any = {"text.parse_math": False, "font.family": "DejaVu Sans", "font.size": 8.5, "axes.titlesize": 9.5}
"""A dollar in a name is a dollar; the letters come with matplotlib."""
WIDTH = 9.6
GRID, INK = "#e2e2e2", "#1a1a1a"
DPI = 144


def require_matplotlib() -> None:
    """See that what draws is there, before hours of work.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtraError("plots and reports need matplotlib: pip install 'mien[plot]'") from None


def drawn(height: float, draw: Callable[[Figure], None]) -> bytes:
    """A picture as PNG.

    Args:
        height: inches; all are `WIDTH` wide.
        draw: puts everything into the figure.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stored = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        figure.savefig(stored, format="png", dpi=DPI)
    return stored.getvalue()


def point(
    axes: Axes, row: float, value: float | None, ends: Sequence[float | None], colour: str, size: float = 6
) -> None:
    """A value with its interval, lying in a row; nothing where it is not told."""
    if value is None:
        return
    low, high = ends
    if low is not None and high is not None:
        axes.plot([low, high], [row, row], color=INK, linewidth=3, solid_capstyle="butt")
        axes.plot([low, high], [row, row], color=colour, linewidth=1.8, solid_capstyle="butt")
    axes.plot([value], [row], "o", color=colour, markersize=size, markeredgecolor=INK, markeredgewidth=0.6)


def bare(axes: Axes, grid: str) -> None:
    """A grid along one axis behind everything, and no box."""
    axes.grid(axis=grid, color=GRID)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def in_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names at the left, one a row, the first on top."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)


def printable(text: str) -> str:
    """The text in one line, without what cannot be written down."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def short(name: str, most: int = 30) -> str:
    """A name in one line, its middle left out where it is long."""
    text = printable(name)
    kept = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - kept]}…{text[-kept:]}"
