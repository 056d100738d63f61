from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mien.errors import LabelError
from mien.explain.human_likeness import EXPECTED_UNITS
from mien.labels.action_units import ACTION_UNITS
from mien.labels.circumplex import CIRCUMPLEX
from mien.labels.evidence import TABLE_FILE, evidence_table, table_from
from mien.labels.expressions import EXPRESSIONS
from mien.transforms.au_cues import CODEBOOK


@pytest.fixture
def data():
    return json.loads(TABLE_FILE.read_text("utf-8"))


def weight(name, unit, of="speaks_for"):
    table = evidence_table()
    return getattr(table, of)[EXPRESSIONS.index(name), table.units.index(unit)]


def test_a_weight_is_the_mean_of_its_sources():
    assert weight("happy", 12) == 1
    assert weight("happy", 6) == pytest.approx((1 + 1 + 0.51 + 1) / 4)
    assert weight("contempt", 14) == 1
    assert np.argwhere(evidence_table().one_sided).tolist() == [
        [EXPRESSIONS.index("contempt"), evidence_table().units.index(unit)] for unit in (12, 14)
    ]
    assert weight("sad", 12) == 0 and weight("sad", 12, "speaks_against") == 0.5
    assert weight("happy", 4, "speaks_against") > 0


def test_nothing_speaks_for_and_against_the_same():
    table = evidence_table()
    assert not ((table.speaks_for > 0) & (table.speaks_against > 0)).any()


def test_every_movement_but_closed_eyes_speaks_against_neutral():
    table = evidence_table()
    row = EXPRESSIONS.index("neutral")
    against = {unit for unit, value in zip(table.units, table.speaks_against[row], strict=True) if value > 0}
    assert against == set(ACTION_UNITS) - {43, 45}
    assert table.base.tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def marked(data, source, least=0.0):
    return {
        name: tuple(int(unit) for unit, marks in entry["for"].items() if marks.get(source, 0) > least)
        for name, entry in data["expressions"].items()
        if source in entry["covered_by"]
    }


def test_prototypes_are_those_of_the_codebook(data):
    assert marked(data, "au_cues") == CODEBOOK


def test_emfacs_is_the_same_list_wherever_it_stands(data):
    assert marked(data, "emfacs") == {**EXPECTED_UNITS, "contempt": (12, 14)}


def test_the_core_of_the_facs_table_is_the_one_that_is_written_down(data):
    core = {
        "happy": (6, 12),
        "surprise": (1, 2, 5, 26),
        "sad": (1, 4, 15),
        "angry": (4, 5, 7),
        "disgust": (9, 10),
        "fear": (1, 2, 4, 5, 20, 25),
    }
    assert marked(data, "facs_table", 0.5) == core
    page = (Path(__file__).parents[2] / "docs" / "words.md").read_text("utf-8")
    for units in core.values():
        written = " or ".join(map(str, units)) if units == (9, 10) else "+".join(map(str, units))
        assert written in data["sources"]["facs_table"] and f"{written} for " in " ".join(page.split())


def test_the_table_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        evidence_table().speaks_for[0, 0] = 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda data: data["expressions"].pop("fear"), "expected evidence for neutral, happy"),
        (
            lambda data: data["expressions"]["happy"]["for"]["12"].update(emfacs=3),
            "expected marks from 0 to 1",
        ),
        (lambda data: data["expressions"]["happy"]["for"]["12"].update(mien=1), "expected marks from 0 to 1"),
        (lambda data: data["expressions"]["happy"]["covered_by"].append("my aunt"), "expected sources of"),
        (
            lambda data: data["expressions"]["happy"]["against"]["4"].update(weight=-1),
            "expected a weight from 0",
        ),
        (lambda data: data["expressions"]["happy"]["for"].update({"3": {}}), "expected an action unit"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(data, change, text):
    change(data)
    with pytest.raises(LabelError, match=text):
        table_from(data)


def test_the_circumplex_places_every_expression_in_its_quarter():
    assert set(CIRCUMPLEX) == set(EXPRESSIONS)
    assert np.abs(list(CIRCUMPLEX.values())).max() <= 1
    assert CIRCUMPLEX["neutral"] == (0, 0)
    assert CIRCUMPLEX["happy"][0] > 0 > CIRCUMPLEX["sad"][0]
    assert CIRCUMPLEX["angry"][1] > 0 > CIRCUMPLEX["sad"][1]


def test_the_page_shows_the_table_as_it_is():
    page = Path(__file__).parents[2] / "docs" / "words.md"
    table = evidence_table()
    for row, name in enumerate(EXPRESSIONS[1:], 1):
        cells = []
        for weights in (table.speaks_for, table.speaks_against):
            order = np.argsort(-weights[row], kind="stable")
            cells.append(
                ", ".join(f"AU{table.units[c]} {weights[row, c]:.2f}" for c in order if weights[row, c])
            )
        assert f"| {name} | {cells[0]} | {cells[1]} |" in page.read_text("utf-8")
