from __future__ import annotations

import pytest

from mien.errors import LabelError
from mien.labels.action_units import ACTION_UNITS, UNIT_SETS, unit_label, unit_number, unit_numbers


@pytest.mark.parametrize("written", ["AU12", "au12", "au_12", "12", 12])
def test_units_are_read_as_people_write_them(written):
    assert unit_number(written) == 12


def test_a_label_reads_back():
    assert unit_numbers(unit_label(unit) for unit in ACTION_UNITS) == tuple(ACTION_UNITS)


@pytest.mark.parametrize("wrong", ["AU3", "happy", "", "AU", -1, 1.5])
def test_what_is_no_unit_is_refused(wrong):
    with pytest.raises(LabelError, match="expected an action unit"):
        unit_number(wrong)


def test_sets_hold_known_units_once():
    for name, units in UNIT_SETS.items():
        assert set(units) <= set(ACTION_UNITS), name
        assert len(set(units)) == len(units), name
    assert [len(UNIT_SETS[name]) for name in ("bp4d", "disfa", "disfa_intensity", "ckplus", "abaw")] == [
        12,
        8,
        12,
        23,
        12,
    ]
