"""Worked values, closed forms, and a temperature that is known because it was put in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from mien.errors import ShapeError
from mien.metrics.calibration import (
    adaptive_calibration_error,
    brier_score,
    expected_calibration_error,
    fit_temperature,
    maximum_calibration_error,
    negative_log_likelihood,
    reliability_table,
)

relaxed = settings(deadline=None, max_examples=50)
"""The machine may be busy, and the references take their time."""
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


@relaxed
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


def test_float_noise_above_one_is_no_logit() -> None:
    assert expected_calibration_error(np.array([1 + 1e-9]), np.array([1])) == pytest.approx(0, abs=1e-8)


@relaxed
@given(st.integers(1, 200), st.integers(1, 25), st.integers(0, 2**32 - 1))
def test_reliability_table_holds_what_the_errors_are_made_of(count: int, bins: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    confidence, correct = random.random(count), random.integers(0, 2, count)
    table = reliability_table(confidence, correct, bins)
    assert table.samples.sum() == count
    assert np.array_equal(np.isnan(table.accuracy), table.samples == 0)
    assert np.nansum(table.samples * table.accuracy) == pytest.approx(correct.sum())
    assert np.nansum(table.samples * table.confidence) == pytest.approx(confidence.sum())
    inside = ~np.isnan(table.confidence)
    assert (table.confidence[inside] >= table.edges[:-1][inside] - 1e-9).all()
    assert (table.confidence[inside] <= table.edges[1:][inside] + 1e-9).all()
    gaps = np.abs(table.accuracy - table.confidence)
    assert maximum_calibration_error(confidence, correct, bins) == pytest.approx(np.nanmax(gaps))
    assert expected_calibration_error(confidence, correct, bins) <= np.nanmax(gaps) + 1e-12


def test_mce_worked_values() -> None:
    # Ten bins hold one sample each: the widest gap is the wrong answer at .75. Of five, (.6, .8] has mean
    # confidence .70 and accuracy .5, (.4, .6] a wrong answer at .55, (.8, 1] two right ones at .90.
    assert maximum_calibration_error(CONFIDENCE, CORRECT, 10) == pytest.approx(0.75)
    assert maximum_calibration_error(CONFIDENCE, CORRECT, 5) == pytest.approx(0.55)


def test_adaptive_ece_worked_values() -> None:
    assert adaptive_calibration_error(CONFIDENCE, CORRECT, 1) == pytest.approx(abs(0.6 - 0.75))
    # Three bins of two, two and one: {.55 wrong, .65 right}, {.75 wrong, .85 right}, {.95 right}.
    expected = (abs(1 - 1.2) + abs(1 - 1.6) + 0.05) / 5
    assert adaptive_calibration_error(CONFIDENCE, CORRECT, 3) == pytest.approx(expected)
    assert adaptive_calibration_error(CONFIDENCE, CORRECT, 100) == pytest.approx(
        np.abs(CORRECT - CONFIDENCE).mean()
    )


def test_adaptive_ece_does_not_depend_on_the_order_of_ties() -> None:
    confidence, correct = np.repeat([0.5, 0.9], 10), np.tile([1, 1, 0, 0, 0], 4)
    expected = adaptive_calibration_error(confidence, correct, 7)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(20)
        assert adaptive_calibration_error(confidence[order], correct[order], 7) == pytest.approx(expected)


def drawn_probabilities(count: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.dirichlet(np.ones(classes), count), random.integers(0, classes, count)


def test_brier_and_nll_worked_values() -> None:
    probabilities, truth = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([0, 1])
    assert brier_score(probabilities, truth) == pytest.approx((0.09 + 0.04 + 0.01 + 0.01 + 0.49 + 0.36) / 2)
    assert negative_log_likelihood(probabilities, truth) == pytest.approx(-(np.log(0.7) + np.log(0.3)) / 2)


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_brier_and_nll_against_scikit_learn(classes: int) -> None:
    probabilities, truth = drawn_probabilities(300, classes, classes)
    labels = range(classes)
    found = reference.brier_score_loss(truth, probabilities, labels=list(labels), scale_by_half=False)
    assert brier_score(probabilities, truth) == pytest.approx(found)
    found = reference.log_loss(truth, probabilities, labels=list(labels))
    assert negative_log_likelihood(probabilities, truth) == pytest.approx(found)


def test_brier_and_nll_at_their_ends() -> None:
    sure = np.eye(3)
    assert brier_score(sure, np.array([0, 1, 2])) == 0
    assert brier_score(sure, np.array([1, 2, 0])) == 2
    assert negative_log_likelihood(sure, np.array([0, 1, 2])) == 0
    assert negative_log_likelihood(sure, np.array([0, 1, 0])) == np.inf


@pytest.mark.parametrize("metric", [brier_score, negative_log_likelihood])
@pytest.mark.parametrize(
    ("probabilities", "truth", "message"),
    [
        ([[2.0, -1.0]], [0], "softmax first"),
        ([[0.9, 0.9]], [0], "sum to 1, got one that is off by 0.8"),
        ([[np.nan, 0.5]], [0], "in \\[0, 1\\]"),
        ([0.5, 0.5], [0], "\\(N, K\\)"),
        ([[0.5, 0.5]], [2], "classes 0 to 1, got 2"),
        ([[0.5, 0.5]], [-1], "got -1"),
        ([[0.5, 0.5]], [0, 1], "each of 1 rows, got 2"),
        ([[0.5, 0.5]], [0.5], "whole numbers"),
    ],
)
def test_probabilities_are_checked(
    metric: Callable[..., float], probabilities: list, truth: list, message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        metric(np.array(probabilities), np.array(truth))


def test_fit_temperature_refuses_probabilities() -> None:
    probabilities, truth = drawn_probabilities(20, 4, 0)
    with pytest.raises(ShapeError, match="which are probabilities"):
        fit_temperature(probabilities, truth)
    assert fit_temperature(np.log(probabilities), truth) > 0
    with pytest.raises(ShapeError, match="finite logits"):
        fit_temperature(np.full((2, 2), np.nan), np.array([0, 1]))


def test_no_bin_is_refused() -> None:
    for metric in (expected_calibration_error, adaptive_calibration_error):
        with pytest.raises(ShapeError, match="at least 1 bin, got 0"):
            metric(CONFIDENCE, CORRECT, 0)


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
