"""Which action units speak for and against each expression: the table `evidence.json` beside this file, as matrices.

The table holds what each source says of a unit; the weight for an expression is the mean over the sources that cover
it. Read it, and change it, there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import LabelError
from mien.labels.action_units import unit_number, unit_numbers
from mien.labels.expressions import EXPRESSIONS, canonical

TABLE_FILE = Path(__file__).parent / "evidence.json"


@dataclass(frozen=True, eq=False)
class EvidenceTable:
    """Weights of E expressions by U action units.

    Attributes:
        expressions: mien's names, in mien's order.
        units: FACS numbers of the columns, ascending.
        speaks_for: (E, U), at least 0: the mean mark of the sources that cover the expression.
        one_sided: bool (E, U): the weight counts what one side of the face does more than the other.
        speaks_against: (E, U), at least 0: what a fully visible unit takes off the score.
        base: (E,), the score of a face on which nothing moves.
        why: (expression, unit) -> the reason of a weight against.
        sources: key -> where the marks come from.
    """

    expressions: tuple[str, ...]
    units: tuple[int, ...]
    speaks_for: np.ndarray
    one_sided: np.ndarray
    speaks_against: np.ndarray
    base: np.ndarray
    why: dict[tuple[str, int], str]
    sources: dict[str, str]


@cache
def evidence_table() -> EvidenceTable:
    """The table that comes with mien."""
    return table_from(json.loads(TABLE_FILE.read_text("utf-8")))


def table_from(data: dict[str, Any]) -> EvidenceTable:
    """A table of your own, laid out as `evidence.json`.

    Raises:
        LabelError: an expression is missing, a unit or source is not known, or a number is out of range.
    """
    entries = {canonical(name): entry for name, entry in data["expressions"].items()}
    if set(entries) != set(EXPRESSIONS):
        raise LabelError(f"expected evidence for {', '.join(EXPRESSIONS)}, got {', '.join(entries)}")
    units = tuple(
        sorted({u for entry in entries.values() for u in unit_numbers([*entry["for"], *entry["against"]])})
    )
    shape = (len(EXPRESSIONS), len(units))
    table = EvidenceTable(
        expressions=EXPRESSIONS,
        units=units,
        speaks_for=np.zeros(shape),
        one_sided=np.zeros(shape, bool),
        speaks_against=np.zeros(shape),
        base=np.array([float(entries[name]["base"]) for name in EXPRESSIONS]),
        why={},
        sources=dict(data["sources"]),
    )
    for row, name in enumerate(EXPRESSIONS):
        _fill(table, row, name, entries[name])
    for array in (table.speaks_for, table.one_sided, table.speaks_against, table.base):
        array.setflags(write=False)
    return table


def _fill(table: EvidenceTable, row: int, name: str, entry: dict[str, Any]) -> None:
    covered = entry["covered_by"]
    if not covered or not set(covered) <= set(table.sources):
        raise LabelError(f"expected sources of {', '.join(table.sources)} for {name}, got {covered}")
    for label, given in entry["for"].items():
        column = table.units.index(unit_number(label))
        marks = {key: mark for key, mark in given.items() if key != "one_sided"}
        if not set(marks) <= set(covered) or not all(0 <= mark <= 1 for mark in marks.values()):
            raise LabelError(
                f"expected marks from 0 to 1 of {', '.join(covered)} for {name} and AU{label}, got {marks}"
            )
        table.speaks_for[row, column] = sum(marks.values()) / len(covered)
        table.one_sided[row, column] = given.get("one_sided", False)
    for label, given in entry["against"].items():
        if not 0 <= given["weight"] <= 1:
            raise LabelError(
                f"expected a weight from 0 to 1 against {name} for AU{label}, got {given['weight']}"
            )
        unit = unit_number(label)
        table.speaks_against[row, table.units.index(unit)] = given["weight"]
        table.why[name, unit] = given["why"]
