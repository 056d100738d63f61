"""Worked values, the definitions by brute force, and scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from mien.errors import ShapeError
from mien.metrics.open_set import aupr_in, aupr_out, auroc, fpr_at_tpr, oscr, oscr_curve

relaxed = settings(deadline=None, max_examples=50)
"""The machine may be busy, and the references take their time."""
KNOWN, UNKNOWN = np.array([0.9, 0.8, 0.4]), np.array([0.7, 0.3])
CORRECT = np.array([1, 0, 1])
scores = st.lists(st.integers(-4, 4), min_size=1, max_size=25)


def test_auroc_worked_value() -> None:
    assert auroc(KNOWN, UNKNOWN) == pytest.approx(5 / 6)


def test_oscr_worked_values() -> None:
    fpr, ccr = oscr_curve(KNOWN, CORRECT, UNKNOWN)
    assert fpr == pytest.approx([0, 0, 0, 0.5, 0.5, 1])
    assert ccr == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert oscr(KNOWN, CORRECT, UNKNOWN) == pytest.approx(0.5)


@relaxed
@given(scores, scores)
def test_against_scikit_learn(known: list[int], unknown: list[int]) -> None:
    truth = np.repeat([1, 0], [len(known), len(unknown)])
    both = np.array(known + unknown, float)
    first, second = both[: len(known)], both[len(known) :]
    assert auroc(first, second) == pytest.approx(reference.roc_auc_score(truth, both))
    assert aupr_in(first, second) == pytest.approx(reference.average_precision_score(truth, both))
    assert aupr_out(first, second) == pytest.approx(reference.average_precision_score(1 - truth, -both))


@relaxed
@given(scores, scores)
def test_auroc_is_the_share_of_pairs(known: list[int], unknown: list[int]) -> None:
    first, second = np.array(known), np.array(unknown)
    pairs = (first[:, None] > second).mean() + (first[:, None] == second).mean() / 2
    assert auroc(first, second) == pytest.approx(pairs)


@relaxed
@given(scores, scores, st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_fpr_is_taken_at_the_highest_threshold_that_keeps_enough(
    known: list[int], unknown: list[int], tpr: float
) -> None:
    first, second = np.array(known), np.array(unknown)
    enough = [t for t in known if (first >= t).mean() >= tpr - 1e-9]
    assert fpr_at_tpr(first, second, tpr) == pytest.approx((second >= max(enough)).mean())


def test_fpr95_of_twenty_keeps_nineteen() -> None:
    known = np.arange(20.0)
    assert fpr_at_tpr(known, np.array([0.5, 1.0, 1.5])) == pytest.approx(2 / 3)


@relaxed
@given(scores, st.integers(0, 2**32 - 1), scores)
def test_oscr_is_at_most_the_accuracy(known: list[int], seed: int, unknown: list[int]) -> None:
    correct = np.random.default_rng(seed).integers(0, 2, len(known))
    area = oscr(np.array(known), correct, np.array(unknown))
    assert -1e-12 <= area <= correct.mean() + 1e-12
    separated = oscr(np.array(known) + 100, correct, np.array(unknown))
    assert separated == pytest.approx(correct.mean())


def test_oscr_of_all_correct_is_auroc() -> None:
    random = np.random.default_rng(0)
    known, unknown = random.normal(1, 1, 80).round(1), random.normal(0, 1, 60).round(1)
    assert oscr(known, np.ones(80), unknown) == pytest.approx(auroc(known, unknown))


def test_order_is_all_that_counts() -> None:
    random = np.random.default_rng(1)
    known, unknown = random.normal(1, 1, 40), random.normal(0, 1, 40)
    for metric in (auroc, aupr_in, aupr_out, fpr_at_tpr):
        assert metric(np.exp(known), np.exp(unknown)) == pytest.approx(metric(known, unknown))


@pytest.mark.parametrize("metric", [auroc, aupr_in, aupr_out, fpr_at_tpr])
def test_an_empty_side_leaves_all_undefined(metric: Callable[..., float]) -> None:
    assert math.isnan(metric(KNOWN, np.zeros(0)))
    assert math.isnan(metric(np.zeros(0), UNKNOWN))
    with pytest.raises(ShapeError, match="finite known scores, got 1"):
        metric(np.array([np.nan]), UNKNOWN)
    with pytest.raises(ShapeError, match="list of at least 0 numbers as unknown"):
        metric(KNOWN, np.ones((2, 2)))


def test_oscr_refuses_what_does_not_fit() -> None:
    assert math.isnan(oscr(KNOWN, CORRECT, np.zeros(0)))
    assert math.isnan(oscr(np.zeros(0), np.zeros(0), UNKNOWN))
    with pytest.raises(ShapeError, match="of one length"):
        oscr(KNOWN, CORRECT[:2], UNKNOWN)
    with pytest.raises(ShapeError, match="only 0 and 1 as correct"):
        oscr(KNOWN, np.array([1, 2, 0]), UNKNOWN)
    with pytest.raises(ShapeError, match=r"in \(0, 1\] as tpr, got 95"):
        fpr_at_tpr(KNOWN, UNKNOWN, 95)
