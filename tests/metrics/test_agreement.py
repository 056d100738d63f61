"""Worked values, scikit-learn's kappa, and an analysis of variance written out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from mien.errors import OptionError, ShapeError
from mien.metrics.agreement import cohen_kappa, icc_1_1, icc_2_1, icc_3_1, krippendorff_alpha
from mien.metrics.classification import confusion

relaxed = settings(deadline=None, max_examples=50)
"""The machine may be busy, and the references take their time."""
PAIR = np.array([[1.0, 2, 3, 4], [1, 3, 2, 5]]).T
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)
"""Table 2 of Shrout and Fleiss 1979: six targets, four judges; their table 4 gives the three figures."""
_ = np.nan
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
).T
"""The example of Krippendorff 2011, section D: twelve units, four observers."""
seeds = st.integers(0, 2**32 - 1)


def test_icc_worked_values() -> None:
    assert icc_3_1(PAIR) == pytest.approx(0.8, abs=5e-5)
    assert icc_1_1(PAIR) == pytest.approx(0.8333, abs=5e-5)
    assert icc_2_1(PAIR) == pytest.approx(0.8302, abs=5e-5)


def test_icc_of_shrout_and_fleiss() -> None:
    assert icc_1_1(SHROUT_FLEISS) == pytest.approx(0.17, abs=5e-3)
    assert icc_2_1(SHROUT_FLEISS) == pytest.approx(0.29, abs=5e-3)
    assert icc_3_1(SHROUT_FLEISS) == pytest.approx(0.71, abs=5e-3)


@relaxed
@given(seeds, st.integers(2, 12), st.integers(2, 5))
def test_icc_against_the_analysis_of_variance(seed: int, count: int, raters: int) -> None:
    table = np.random.default_rng(seed).normal(size=(count, raters)) + 100
    mean = table.mean()
    between = raters * ((table.mean(1) - mean) ** 2).sum()
    columns = count * ((table.mean(0) - mean) ** 2).sum()
    whole = ((table - mean) ** 2).sum()
    within = ((table - table.mean(1, keepdims=True)) ** 2).sum() / (count * (raters - 1))
    msr, msc = between / (count - 1), columns / (raters - 1)
    mse = (whole - between - columns) / ((count - 1) * (raters - 1))
    assert icc_1_1(table) == pytest.approx((msr - within) / (msr + (raters - 1) * within), abs=1e-6)
    assert icc_3_1(table) == pytest.approx((msr - mse) / (msr + (raters - 1) * mse), abs=1e-6)
    below = msr + (raters - 1) * mse + raters * (msc - mse) / count
    if below > 1e-6:
        assert icc_2_1(table) == pytest.approx((msr - mse) / below, rel=1e-5, abs=1e-6)
    for metric in (icc_1_1, icc_3_1):
        assert -1 / (raters - 1) - 1e-9 <= metric(table) <= 1


def test_icc_3_1_ignores_an_offset_and_the_others_do_not() -> None:
    x = np.array([0.1, 0.2, 0.4, 0.7])
    moved = np.stack([x, x + 5], 1)
    assert icc_3_1(moved) == pytest.approx(1)
    assert icc_1_1(moved) < 0.1
    assert icc_2_1(moved) < 0.1


@pytest.mark.parametrize("metric", [icc_1_1, icc_2_1, icc_3_1])
def test_icc_is_undefined_where_nothing_varies(metric: Callable[[np.ndarray], float]) -> None:
    assert math.isnan(metric(np.full((7, 2), 0.1)))
    # Two constant raters: only for ICC(3,1) is nothing left to divide.
    apart = np.tile([0.1, 0.3], (7, 1))
    assert math.isnan(metric(apart)) if metric is icc_3_1 else metric(apart) <= 0


@pytest.mark.parametrize("metric", [icc_1_1, icc_2_1, icc_3_1])
@pytest.mark.parametrize("ratings", [np.ones(4), np.ones((1, 2)), np.ones((4, 1)), np.full((4, 2), np.nan)])
def test_icc_refuses_what_does_not_fit(metric: Callable[[np.ndarray], float], ratings: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="at least 2 targets by at least 2 raters"):
        metric(ratings)


@relaxed
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=50))
@pytest.mark.filterwarnings("ignore")
def test_kappa_against_scikit_learn(both: list[tuple[int, int]]) -> None:
    first, second = (np.array(side) for side in zip(*both, strict=True))
    counts = confusion(first, second, 4)
    for weights, name in (("none", None), ("linear", "linear"), ("quadratic", "quadratic")):
        expected = reference.cohen_kappa_score(first, second, labels=range(4), weights=name)
        assert cohen_kappa(counts, weights) == pytest.approx(expected, nan_ok=True)


def test_kappa_worked_value() -> None:
    # p_o = 0.7 and p_e = (25 * 30 + 25 * 20) / 50^2 = 0.5.
    assert cohen_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert cohen_kappa(np.diag([3, 4, 5]), "quadratic") == 1


def test_kappa_is_undefined_with_one_class_and_refuses_other_weights() -> None:
    assert math.isnan(cohen_kappa(np.array([[5, 0], [0, 0]])))
    assert math.isnan(cohen_kappa(np.zeros((2, 2))))
    with pytest.raises(OptionError, match="none, linear, quadratic, got 'cubic'"):
        cohen_kappa(np.eye(2), "cubic")


@pytest.mark.parametrize(("level", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_krippendorffs_example(level: str, value: float) -> None:
    assert krippendorff_alpha(KRIPPENDORFF, level) == pytest.approx(value, abs=5e-4)


def test_alpha_at_its_ends() -> None:
    same = np.tile(np.arange(4.0)[:, None], 3)
    for level in ("nominal", "ordinal", "interval"):
        assert krippendorff_alpha(same, level) == 1
        assert math.isnan(krippendorff_alpha(np.ones((4, 2)), level))
    assert math.isnan(krippendorff_alpha(np.array([[1.0, np.nan], [np.nan, 2.0]])))
    random = np.random.default_rng(0).integers(0, 3, (4000, 2)).astype(float)
    assert krippendorff_alpha(random) == pytest.approx(0, abs=0.05)
    with pytest.raises(OptionError, match="got 'ratio'"):
        krippendorff_alpha(same, "ratio")
    with pytest.raises(ShapeError, match="Write a missing rating as NaN"):
        krippendorff_alpha(np.ones(3))
