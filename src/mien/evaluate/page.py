"""A report as one HTML file: nothing is loaded from elsewhere, no script runs, light or dark as the reader has it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mien.files import write_whole

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #5c5c5c; --line: #dddddd; --paper: #ffffff; --card: #f6f6f4;
  --mark: #a02c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --soft: #a8a8a8; --line: #3d3d3d; --paper: #16181a;
  --card: #202326; --mark: #ff9d73; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 2rem 1.25rem 4rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .4rem; }
p, ul { max-width: 48rem; margin: .5rem 0; } li { margin: .2rem 0; overflow-wrap: anywhere; }
.soft { color: var(--soft); } .mark { color: var(--mark); }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: 0 0 .35rem; }
th, td { text-align: left; vertical-align: top; padding: .28rem .8rem .28rem 0; border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; vertical-align: bottom; } tbody th { font-weight: 500; overflow-wrap: anywhere; min-width: 7.5rem; }
td.number, th.number { text-align: right; } td.number { white-space: nowrap; } tr.faint td, tr.faint th { color: var(--soft); }
.ends { display: block; color: var(--soft); font-size: .75rem; }
td.text { overflow-wrap: anywhere; min-width: 8rem; max-width: 30rem; }
figure { margin: 1rem 0; padding: .6rem; background: #ffffff; border: 1px solid var(--line); border-radius: 8px; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { color: #5c5c5c; font-size: .875rem; padding: .5rem .25rem 0; }
details { margin: .6rem 0; } summary { cursor: pointer; }
@media print { body { max-width: none; padding: 0; } figure { break-inside: avoid; } }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser is told that the page may load: what stands in it."""


def page(title: str, parts: Sequence[str]) -> str:
    """The whole file. `parts` are pieces of HTML from the functions below."""
    body = "\n".join(part for part in parts if part)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """A heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, look: str = "") -> str:
    """A paragraph; `look` is "soft" or "mark"."""
    return f'<p class="{look}">{escape(text)}</p>' if look else f"<p>{escape(text)}</p>"


def bullets(items: Sequence[str]) -> str:
    """A list; nothing for no item."""
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>" if items else ""


def table(
    head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "", faint: Sequence[bool] = ()
) -> str:
    """A table; a column that holds numbers only is set to the right. Nothing for no row.

    Args:
        head: names of the columns.
        rows: cells: texts, numbers, `None` for what is not told. The first of a row names it.
        caption: above it.
        faint: rows that are set back.
    """
    if not rows:
        return ""
    cells = [[cell(value) for value in row] for row in rows]
    right = [all(_is_number(row[column]) for row in cells) and column > 0 for column in range(len(head))]

    def line(row: Sequence[str], pale: bool) -> str:
        first = f'<th scope="row">{escape(row[0])}</th>'
        rest = "".join(
            _number(text) if right[column] else f'<td class="text">{escape(text)}</td>'
            for column, text in enumerate(row[1:], 1)
        )
        return f"<tr{' class=faint' if pale else ''}>{first}{rest}</tr>"

    heads = "".join(
        f'<th scope="col"{" class=number" if right[column] else ""}>{escape(name)}</th>'
        for column, name in enumerate(head)
    )
    pale = [*faint, *[False] * (len(cells) - len(faint))]
    body = "".join(line(row, faded) for row, faded in zip(cells, pale, strict=True))
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{title}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def figure(png: bytes, caption: str) -> str:
    """A picture that stands in the page itself, with what it shows."""
    data = base64.b64encode(png).decode()
    text = escape(caption, quote=True)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def folded(summary: str, inside: Sequence[str]) -> str:
    """Pieces that are shown on a click."""
    return f"<details><summary>{escape(summary)}</summary>{''.join(inside)}</details>"


def cell(value: Any) -> str:
    """A value of a table as a text: three digits, a dash for what is not told."""
    if value is None or value == "":
        return "–"  # noqa: RUF001
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return " ".join(str(value).split())


def with_ends(value: float | None, ends: Sequence[float | None]) -> str:
    """A figure and its interval, "0.871 (0.840 to 0.902)"; without ends where there is none."""
    if value is None or None in ends:
        return cell(value)
    return f"{cell(value)} ({cell(ends[0])} to {cell(ends[1])})"


def _number(text: str) -> str:
    """A cell at the right; an interval stands below its figure, so that a row is not too wide."""
    value, bracket, ends = text.partition(" (")
    below = f'<span class="ends">({escape(ends)}</span>' if bracket else ""
    return f'<td class="number">{escape(value)}{below}</td>'


def _is_number(text: str) -> bool:
    return text[0].isdigit() or (text[0] in "-–" and (len(text) == 1 or text[1:2].isdigit()))  # noqa: RUF001


def write_pictures(folder: Path, pictures: Mapping[str, tuple[bytes, str]], names: Sequence[str]) -> None:
    """Write PNG files (by name, with captions), and take away those of an earlier report that are none of this one's.

    Args:
        folder: of the report.
        pictures: those that there are.
        names: all that there may be.
    """
    for name in names:
        if name in pictures:
            write_whole(folder / name, pictures[name][0])
        else:
            (folder / name).unlink(missing_ok=True)
