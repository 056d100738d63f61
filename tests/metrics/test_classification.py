"""Worked values, and scikit-learn as the reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from mien.errors import ShapeError
from mien.metrics.classification import accuracy, bootstrap_interval, confusion, f1_scores, recalls, uar

WORKED = np.array([[8, 2, 0], [1, 3, 1], [0, 2, 3]])
pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


def test_worked_values() -> None:
    assert accuracy(WORKED) == pytest.approx(0.7)
    assert uar(WORKED) == pytest.approx(2 / 3, abs=5e-5)
    assert f1_scores(WORKED) == pytest.approx([0.8421, 0.5, 0.6667], abs=5e-5)
    assert f1_scores(WORKED).mean() == pytest.approx(0.6696, abs=5e-5)
    assert np.average(f1_scores(WORKED), weights=WORKED.sum(1)) == pytest.approx(0.7127, abs=5e-5)


def test_rows_are_the_truth() -> None:
    counts = confusion(np.array([0, 0, 1]), np.array([1, 1, 2]), 3)
    assert counts.tolist() == [[0, 2, 0], [0, 0, 1], [0, 0, 0]]


@given(pairs)
def test_against_scikit_learn(both: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(side) for side in zip(*both, strict=True))
    counts = confusion(truth, predicted, 5)
    assert np.array_equal(counts, reference.confusion_matrix(truth, predicted, labels=range(5)))
    assert accuracy(counts) == pytest.approx(reference.accuracy_score(truth, predicted))
    present = sorted(set(truth.tolist()))
    recall = reference.recall_score(truth, predicted, labels=present, average="macro", zero_division=0)
    assert uar(counts) == pytest.approx(recall)
    f1 = reference.f1_score(truth, predicted, labels=range(5), average=None, zero_division=0)
    assert f1_scores(counts) == pytest.approx(f1)


@pytest.mark.filterwarnings("error")
def test_uar_is_balanced_accuracy() -> None:
    truth, predicted = np.random.default_rng(0).integers(0, 6, (2, 500))
    assert uar(confusion(truth, predicted, 6)) == pytest.approx(
        reference.balanced_accuracy_score(truth, predicted)
    )


def test_a_class_that_does_not_occur_has_no_recall_and_does_not_count() -> None:
    counts = confusion(np.array([0, 0, 1]), np.array([0, 2, 1]), 3)
    assert recalls(counts)[:2].tolist() == [0.5, 1.0]
    assert math.isnan(recalls(counts)[2])
    assert uar(counts) == pytest.approx(0.75)


def test_without_samples_nothing_is_defined() -> None:
    counts = confusion(np.zeros(0, int), np.zeros(0, int), 3)
    assert counts.tolist() == [[0] * 3] * 3
    assert math.isnan(accuracy(counts))
    assert math.isnan(uar(counts))


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [([0, 1], [0], "equally long"), ([[0]], [[0]], "equally long"), ([0, 3], [0, 1], "0 to 2, got 0 to 3")],
)
def test_confusion_refuses_what_does_not_fit(truth: list, predicted: list, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        confusion(np.array(truth), np.array(predicted), 3)


def test_confusion_refuses_the_sentinel_for_unlabelled() -> None:
    with pytest.raises(ShapeError, match="got -1 to 1"):
        confusion(np.array([0, -1]), np.array([0, 1]), 3)


def test_bootstrap_is_seeded() -> None:
    values = np.random.default_rng(1).normal(size=80)
    statistic = lambda rows: float(values[rows].mean())  # noqa: E731
    assert bootstrap_interval(statistic, 80, 200, seed=3) == bootstrap_interval(statistic, 80, 200, seed=3)
    assert bootstrap_interval(statistic, 80, 200, seed=3) != bootstrap_interval(statistic, 80, 200, seed=4)


def test_bootstrap_of_a_share_is_near_the_normal_interval() -> None:
    correct = np.arange(400) < 300
    low, high = bootstrap_interval(lambda rows: float(correct[rows].mean()), 400)
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - half, abs=0.008)
    assert high == pytest.approx(0.75 + half, abs=0.008)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for trial in range(150):
        correct = np.random.default_rng(trial).random(200) < 0.7
        low, high = bootstrap_interval(lambda rows, c=correct: float(c[rows].mean()), 200, 150, trial)
        covered += low <= 0.7 <= high
    assert 0.87 <= covered / 150 <= 1
