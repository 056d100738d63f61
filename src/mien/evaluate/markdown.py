"""Tables in Markdown, for reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], digits: int = 4) -> str:
    """Head and rows, each cell as `cell` writes it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(value, digits) for value in line) + " |" for line in lines)


def cell(value: Any, digits: int = 4) -> str:
    """A value on one line: None as a dash, a float with so many digits, a bar as itself."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")
