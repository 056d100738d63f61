from __future__ import annotations

import numpy as np
import pytest

from mien.evaluate.spoken import label_figures, meaning_figures, unit_figures
from mien.types.units import ActionUnits


def test_a_text_without_a_label_is_wrong() -> None:
    said = ["The expression is happy.", "So sad.", "AU12 is marked.", "It is angry."]
    figures = label_figures(said, np.array([1, 3, 1, 5]))
    assert figures["accuracy"] == 0.5 and figures["no_label"] == 0.25
    assert label_figures(["x", "y"], np.array([2, 2]), read=lambda text: "surprise")["accuracy"] == 1


def test_stated_units_are_held_against_measured_ones() -> None:
    nan = np.nan
    values = np.array([[2, 3, 0.5, nan], [0, 0, 0, 4], [nan] * 4, [1, 0, 0, 0]], np.float32)
    units = ActionUnits((1, 4, 6, 12), values, "intensity", "drawn")
    said = [
        "AU1 and AU4 are there, AU6 and AU12 too.",  # two right, one not visible, one not told
        "AU1 is there.",  # not visible; AU12 is missed
        "AU12 is there, AU25 too.",  # nothing is told
        "Nothing moves.",  # AU1 is missed
    ]
    figures = unit_figures(said, units)
    assert figures["stated_units"] == 4 and figures["not_told"] == 3
    assert figures["hallucinated"] == pytest.approx(2 / 4)
    assert figures["recall"] == pytest.approx(2 / 4)
    assert figures["f1"] == pytest.approx(2 * 2 / (4 + 4))


def test_nothing_stated_or_measured_gives_no_figure() -> None:
    units = ActionUnits((1,), np.full((1, 1), np.nan, np.float32), "intensity", "drawn")
    figures = unit_figures(["AU1"], units)
    assert figures["hallucinated"] is figures["recall"] is figures["f1"] is None
    assert (
        unit_figures(["all quiet"], ActionUnits((1,), np.ones((1, 1)), "intensity", "x"))["hallucinated"]
        is None
    )


def test_only_the_strongest_units_are_wanted() -> None:
    units = ActionUnits((1, 2, 4, 5, 6, 7), np.array([[1.0, 2, 3, 4, 4.5, 5]]), "intensity", "drawn")
    figures = unit_figures(["AU2, AU4, AU5, AU6, AU7"], units)
    assert figures["recall"] == figures["f1"] == 1 and figures["hallucinated"] == 0


def test_a_unit_said_to_speak_for_what_it_does_not_is_counted() -> None:
    said = [
        "The face shows AU9. AU12 and AU6 are typical of the expression happy. So the expression is happy.",
        "AU12 speaks for angry. AU4 speaks for angry. The expression is angry.",
        "AU25 is typical of the expression neutral.",
        "Alone these units do not settle it.",
    ]
    assert meaning_figures(said) == {"meanings": 5, "wrong_meanings": 0.4}
    assert meaning_figures(said[3:]) == {"meanings": 0, "wrong_meanings": None}
