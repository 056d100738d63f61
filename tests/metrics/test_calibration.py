"""Worked values, closed forms, and a temperature that is known because it was put in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import ShapeError
from mien.metrics.calibration import expected_calibration_error, fit_temperature, risk_coverage

CONFIDENCE = np.array([0.95, 0.85, 0.75, 0.65, 0.55])
CORRECT = np.array([1, 1, 0, 1, 0])


def ece_by_hand(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    total = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize(("bins", "value"), [(10, 0.370), (5, 0.230)])
def test_ece_worked_values(bins: int, value: float) -> None:
    assert expected_calibration_error(CONFIDENCE, CORRECT, bins) == pytest.approx(value)


@given(st.integers(1, 200), st.integers(1, 25), st.integers(0, 2**32 - 1))
def test_ece_against_the_definition(count: int, bins: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    confidence, correct = random.uniform(0.001, 1, count), random.integers(0, 2, count)
    found = expected_calibration_error(confidence, correct, bins)
    assert found == pytest.approx(ece_by_hand(confidence, correct, bins))


def test_ece_puts_a_border_into_the_bin_below() -> None:
    # 0.6 and 0.3 * 2 are the border of ten bins; with 0.58 in the same bin the gaps add up before the sign goes.
    confidence, correct = np.array([0.58, 0.3 * 2, 0.62]), np.array([1, 0, 1])
    assert expected_calibration_error(confidence, correct, 10) == pytest.approx((abs(0.42 - 0.6) + 0.38) / 3)


def test_ece_of_sure_and_right_is_zero_and_of_sure_and_wrong_is_one() -> None:
    assert expected_calibration_error(np.ones(5), np.ones(5)) == 0
    assert expected_calibration_error(np.ones(5), np.zeros(5)) == 1
    assert expected_calibration_error(np.zeros(5), np.zeros(5)) == 0


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([0.5], [1, 0], "equally long"),
        ([], [], "equally long"),
        ([1.2], [1], "softmax first"),
        ([-3.0], [1], "softmax first"),
        ([np.nan, 0.5], [1, 0], "in \\[0, 1\\]"),
    ],
)
def test_ece_refuses_logits_and_uneven_lists(confidence: list, correct: list, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        expected_calibration_error(np.array(confidence), np.array(correct))


def test_risk_coverage_worked_values() -> None:
    coverage, risk = risk_coverage(np.array([0.55, 0.95, 0.75, 0.85, 0.65]), np.array([0, 1, 0, 1, 1]))
    assert coverage == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert risk == pytest.approx([0, 0, 1 / 3, 1 / 4, 2 / 5])


def test_risk_coverage_closed_form_for_perfect_ranking() -> None:
    count, wrong = 40, 10
    coverage, risk = risk_coverage(np.linspace(1, 0, count), np.arange(count) < count - wrong)
    expected = np.maximum(0, 1 - (1 - wrong / count) / coverage)
    assert risk == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7, 3.0])
def test_fit_temperature_finds_the_one_that_was_put_in(temperature: float) -> None:
    random = np.random.default_rng(7)
    logits = random.normal(0, 2, (20_000, 8))
    powers = np.exp(logits)
    shares = np.cumsum(powers / powers.sum(1, keepdims=True), 1)
    truth = np.minimum((random.random((len(logits), 1)) > shares).sum(1), 7)
    assert fit_temperature(logits * temperature, truth) == pytest.approx(temperature, rel=0.04)


def test_fit_temperature_does_not_depend_on_a_shift_of_the_logits() -> None:
    random = np.random.default_rng(8)
    logits, truth = random.normal(0, 3, (500, 4)), random.integers(0, 4, 500)
    shifted = logits + random.normal(0, 100, (500, 1))
    assert fit_temperature(shifted, truth) == pytest.approx(fit_temperature(logits, truth), rel=1e-6)
