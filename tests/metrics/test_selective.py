"""Worked values, a closed form, and the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import ShapeError
from mien.metrics.selective import area_under_risk_coverage, risk_coverage, selected

relaxed = settings(deadline=None, max_examples=50)
"""The machine may be busy, and the references take their time."""


def test_risk_coverage_worked_values() -> None:
    coverage, risk = risk_coverage(np.array([0.55, 0.95, 0.75, 0.85, 0.65]), np.array([0, 1, 0, 1, 1]))
    assert coverage == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert risk == pytest.approx([0, 0, 1 / 3, 1 / 4, 2 / 5])


def test_risk_coverage_closed_form_for_perfect_ranking() -> None:
    count, wrong = 40, 10
    coverage, risk = risk_coverage(np.linspace(1, 0, count), np.arange(count) < count - wrong)
    expected = np.maximum(0, 1 - (1 - wrong / count) / coverage)
    assert risk == pytest.approx(expected)


def test_aurc_worked_value() -> None:
    found = area_under_risk_coverage(np.array([0.55, 0.95, 0.75, 0.85, 0.65]), np.array([0, 1, 0, 1, 1]))
    assert found == pytest.approx((0 + 0 + 1 / 3 + 1 / 4 + 2 / 5) / 5)


@relaxed
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=30))
def test_ties_share_their_errors_in_any_order(samples: list[tuple[int, int]]) -> None:
    confidence, correct = (np.array(side, float) for side in zip(*samples, strict=True))
    _, risk = risk_coverage(confidence, correct)
    _, backward = risk_coverage(confidence[::-1], correct[::-1])
    assert backward == pytest.approx(risk)
    assert ((risk >= 0) & (risk <= 1)).all()
    assert risk[-1] == pytest.approx(1 - correct.mean())


def test_a_tie_is_the_mean_over_all_orders() -> None:
    _, risk = risk_coverage(np.array([0.9, 0.5, 0.5]), np.array([1, 1, 0]))
    assert risk == pytest.approx([0, (1 / 2 + 0) / 2, 1 / 3])


def test_scores_need_not_be_probabilities() -> None:
    logits, correct = np.array([7.0, -2.0, 3.0]), np.array([1, 0, 1])
    assert area_under_risk_coverage(logits, correct) == pytest.approx(1 / 9)


def test_aurc_at_its_ends() -> None:
    assert area_under_risk_coverage(np.array([0.2, 0.9]), np.ones(2)) == 0
    assert area_under_risk_coverage(np.array([0.2, 0.9]), np.zeros(2)) == 1


def test_selected_takes_the_threshold_in() -> None:
    confidence, correct = np.array([0.9, 0.75, 0.5]), np.array([1, 0, 1])
    assert selected(confidence, correct, 0.75) == (pytest.approx(2 / 3), 0.5)
    assert selected(confidence, correct, 0.95).coverage == 0
    assert math.isnan(selected(confidence, correct, 0.95).accuracy)


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([0.5], [1, 0], "equally long"),
        ([], [], "at least 1"),
        ([np.nan], [1], "finite confidences, got 1"),
        ([0.5], [0.5], "only 0 and 1 as correct"),
    ],
)
def test_what_does_not_fit_is_refused(confidence: list, correct: list, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        risk_coverage(np.array(confidence), np.array(correct))
