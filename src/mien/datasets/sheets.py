"""The first sheet of an .xlsx file, or a .csv file, as rows of text: what the tables of micro-expression sets need."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from mien.datasets.reading import AS_DISTRIBUTED
from mien.errors import DataError

SHEET = "xl/worksheets/sheet1.xml"
_SPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read_sheet(path: Path) -> list[list[str]]:
    """Rows of cells as text, empty ones ""; a number that is whole has no point.

    Raises:
        DataError: it is no such file.
    """
    try:
        if path.suffix.lower() == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                return [[cell.strip() for cell in row] for row in csv.reader(file)]
        with zipfile.ZipFile(path) as book:
            shared: list[str] = []
            if "xl/sharedStrings.xml" in book.namelist():
                strings = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))
                shared = ["".join(one.itertext()) for one in strings.iter(f"{_SPACE}si")]
            sheet = ElementTree.fromstring(book.read(SHEET))
            return [_row(row, shared) for row in sheet.iter(f"{_SPACE}row")]
    except (
        OSError,
        UnicodeDecodeError,
        csv.Error,
        zipfile.BadZipFile,
        KeyError,
        IndexError,
        ValueError,
    ) as error:
        raise DataError(f"expected a table .xlsx or .csv, got {path} ({error}). {AS_DISTRIBUTED}") from error
    except ElementTree.ParseError as error:
        raise DataError(f"expected a whole .xlsx table, got {path} ({error}). {AS_DISTRIBUTED}") from error


def _row(row: ElementTree.Element, shared: Sequence[str]) -> list[str]:
    cells: list[str] = []
    for cell in row.iter(f"{_SPACE}c"):
        place = _column(cell.get("r", "")) or len(cells)
        cells += [""] * (place - len(cells))
        cells.append(_text(cell, shared))
    return cells


def _column(name: str) -> int:
    """Place of a cell such as "AB12", from 0; 0 where it has no name."""
    place = 0
    for letter in re.match(r"[A-Z]*", name)[0]:  # type: ignore[index]
        place = 26 * place + ord(letter) - ord("A") + 1
    return max(0, place - 1)


def _text(cell: ElementTree.Element, shared: Sequence[str]) -> str:
    if cell.get("t") == "inlineStr":
        return "".join(cell.itertext()).strip()
    value = cell.findtext(f"{_SPACE}v") or ""
    if cell.get("t") == "s":
        return shared[int(value)].strip()
    return value.removesuffix(".0").strip()


def write_sheet(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write rows of text as a plain .xlsx file that `read_sheet` reads, for look-alikes."""
    lines = [
        "<row>" + "".join(f'<c t="inlineStr"><is><t>{escape(cell)}</t></is></c>' for cell in row) + "</row>"
        for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as book:
        head = f'<worksheet xmlns="{_SPACE[1:-1]}"><sheetData>'
        book.writestr(SHEET, head + "".join(lines) + "</sheetData></worksheet>")
