"""SciPy (which scikit-learn brings), and every sign counted out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mien.errors import ShapeError
from mien.metrics.significance import holm, mcnemar_exact, wilcoxon_signed_rank

relaxed = settings(deadline=None, max_examples=50)
"""The machine may be busy, and the references take their time."""


def answers(only_first: int, only_second: int, both: int = 10) -> tuple[np.ndarray, np.ndarray]:
    first = np.repeat([1, 0, 1, 0], [only_first, only_second, both, 5])
    return first, np.repeat([0, 1, 1, 0], [only_first, only_second, both, 5])


def test_mcnemar_worked_value() -> None:
    # Eight differ, one of them for the second: 2 (1 + 8) / 2^8.
    assert mcnemar_exact(*answers(7, 1)) == (7, 1, pytest.approx(18 / 256))


@relaxed
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_against_the_binomial_test(only_first: int, only_second: int) -> None:
    found = mcnemar_exact(*answers(only_first, only_second))
    assert (found.only_first, found.only_second) == (only_first, only_second)
    if only_first + only_second:
        expected = stats.binomtest(only_first, only_first + only_second).pvalue
        assert found.p_value == pytest.approx(expected)


def test_mcnemar_at_its_ends() -> None:
    assert mcnemar_exact(*answers(0, 0)).p_value == 1
    assert mcnemar_exact(*answers(5, 5)).p_value == 1
    assert 0 < mcnemar_exact(*answers(3000, 0)).p_value < 1e-300
    assert mcnemar_exact(*answers(7, 1)).p_value == mcnemar_exact(*answers(1, 7)).p_value


@relaxed
@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_wilcoxon_against_scipy(count: int, seed: int) -> None:
    first, second = np.random.default_rng(seed).normal(size=(2, count))
    expected = stats.wilcoxon(first, second, method="exact")
    found = wilcoxon_signed_rank(first, second)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert min(found.positive, found.negative) == pytest.approx(expected.statistic)
    assert found.positive + found.negative == pytest.approx(count * (count + 1) / 2)


@relaxed
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_wilcoxon_with_ties_against_every_sign(apart: list[int]) -> None:
    found = wilcoxon_signed_rank(np.array(apart), np.zeros(len(apart)))
    differing = np.array([value for value in apart if value])
    assert found.pairs == len(differing)
    if not len(differing):
        assert found.p_value == 1
        return
    ranks = stats.rankdata(np.abs(differing))
    sums = [ranks @ np.array(signs) for signs in itertools.product([0, 1], repeat=len(ranks))]
    least = min(found.positive, found.negative)
    assert found.p_value == pytest.approx(min(1, 2 * np.mean(np.array(sums) <= least + 1e-9)))


def test_wilcoxon_of_many_pairs_is_the_normal_approximation() -> None:
    random = np.random.default_rng(0)
    first, second = random.integers(0, 10, 600), random.integers(1, 11, 600)
    expected = stats.wilcoxon(first, second, method="approx", correction=False)
    assert wilcoxon_signed_rank(first, second).p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_the_two_ways_of_wilcoxon_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    first = random.normal(size=150)
    second = first + random.normal(0.1, 1, 150)
    exact = wilcoxon_signed_rank(first, second).p_value
    monkeypatch.setattr("mien.metrics.significance.EXACT_WILCOXON", 0)
    assert wilcoxon_signed_rank(first, second).p_value == pytest.approx(exact, abs=0.005)


@pytest.mark.parametrize("test", [mcnemar_exact, wilcoxon_signed_rank])
def test_what_does_not_fit_is_refused(test: object) -> None:
    for first, second in (([1], [1, 0]), ([], []), ([np.nan], [1])):
        with pytest.raises(ShapeError, match="expected"):
            test(np.array(first), np.array(second))  # type: ignore[operator]


def test_mcnemar_wants_right_or_wrong() -> None:
    with pytest.raises(ShapeError, match="only 0 and 1 as right or wrong"):
        mcnemar_exact(np.array([0.7]), np.array([1]))


def test_holm_by_hand() -> None:
    """0.01, 0.02, 0.03, 0.005 of four: 0.01 x 3, 0.02 x 2, 0.04 (0.03 x 1 is under the one before), 0.005 x 4."""
    assert holm(np.array([0.01, 0.02, 0.03, 0.005])) == pytest.approx([0.03, 0.04, 0.04, 0.02])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([0.04])) == pytest.approx([0.04])
    with pytest.raises(ShapeError, match=r"expected p-values in \[0, 1\]"):
        holm(np.array([2.0]))
