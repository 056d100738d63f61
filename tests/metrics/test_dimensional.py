"""Worked values, and numpy and SciPy (which scikit-learn brings) as references."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from mien.errors import ShapeError
from mien.metrics.dimensional import ccc, mae, pcc, rmse, sagr, spearman

relaxed = settings(deadline=None, max_examples=50)
"""The machine may be busy, and the references take their time."""
X, Y = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 5])
EACH = (ccc, mae, pcc, rmse, sagr, spearman)
seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=count)
    return x, random.normal() * x + random.normal(size=count) + random.normal()


def test_worked_values() -> None:
    assert pcc(X, Y) == pytest.approx(0.8315, abs=5e-5)
    assert ccc(X, Y) == pytest.approx(0.7857, abs=5e-5)
    assert ccc(X, Y, sample=True) == pytest.approx(0.7892, abs=5e-5)
    assert spearman(X, Y) == pytest.approx(0.8)
    assert rmse(X, Y) == pytest.approx(math.sqrt(3 / 4))
    assert mae(X, Y) == pytest.approx(3 / 4)


def test_sagr_worked_values_of_both_forms() -> None:
    x, y = np.array([0.1, -0.2, 0]), np.array([0.3, 0.1, 0])
    assert sagr(x, y) == pytest.approx(2 / 3)
    assert sagr(x, y, product=True) == pytest.approx(1 / 3)
    assert sagr(np.array([1e-200]), np.array([1e-200]), product=True) == 1


@relaxed
@given(seeds)
def test_against_the_references(seed: int) -> None:
    x, y = drawn(seed)
    assert pcc(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert spearman(x.round(), y.round()) == pytest.approx(stats.spearmanr(x.round(), y.round()).statistic)
    assert rmse(x, y) == pytest.approx(reference.root_mean_squared_error(x, y))
    assert mae(x, y) == pytest.approx(reference.mean_absolute_error(x, y))
    for ddof, sample in ((0, False), (1, True)):
        covariance = np.cov(x, y, ddof=ddof)
        expected = 2 * covariance[0, 1] / (np.trace(covariance) + (x.mean() - y.mean()) ** 2)
        assert ccc(x, y, sample) == pytest.approx(expected)


@relaxed
@given(seeds)
def test_ccc_is_at_most_pcc_and_one_for_itself(seed: int) -> None:
    x, y = drawn(seed)
    assert abs(ccc(x, y)) <= abs(pcc(x, y)) + 1e-12
    assert ccc(x, x) == pytest.approx(1)
    assert ccc(x, -x + 2 * x.mean()) == pytest.approx(-1)


def test_pcc_ignores_scale_and_offset_and_ccc_does_not() -> None:
    assert pcc(X, 3 * Y + 7) == pytest.approx(pcc(X, Y))
    assert ccc(X, 3 * Y + 7) < 0.2


@pytest.mark.filterwarnings("error")
def test_a_constant_prediction_has_ccc_zero_and_no_correlation() -> None:
    constant = np.full(4, 0.1)
    assert ccc(X, constant) == 0
    assert math.isnan(pcc(X, constant))
    assert math.isnan(spearman(X, constant))
    assert ccc(constant, np.full(4, 0.3)) == 0
    assert math.isnan(ccc(constant, constant))
    assert ccc(constant, constant, epsilon=1e-5) == 0
    assert math.isnan(ccc(X[:1], Y[:1] * 2, sample=True))


def test_the_epsilon_stands_in_the_denominator() -> None:
    below = 2 * 1.8333333333 / ccc(X, Y, sample=True)
    assert ccc(X, Y, sample=True, epsilon=1e-5) == pytest.approx(2 * 1.8333333333 / (below + 1e-5), rel=1e-9)


def test_pooled_differs_from_the_mean_over_videos() -> None:
    """Why it is computed over all frames together: two videos that are each read at random."""
    truth, predicted = np.array([0.0, 0.1, 0.8, 0.9]), np.array([0.1, 0.0, 0.9, 0.8])
    assert ccc(truth[:2], predicted[:2]) == pytest.approx(-1)
    assert ccc(truth, predicted) > 0.9


@pytest.mark.parametrize("metric", EACH)
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2], [1], "equally long"),
        ([], [], "equally long"),
        ([[1]], [[1]], "equally long"),
        ([1, np.nan], [1, 2], "finite values of the first list, got 1"),
        ([1, 2], [np.inf, 2], "finite values of the second list, got 1"),
    ],
)
def test_what_does_not_fit_is_refused(metric: Callable[..., float], x: list, y: list, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        metric(np.array(x), np.array(y))
