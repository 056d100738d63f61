"""Worked values, and scikit-learn as the reference."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from mien.errors import ShapeError
from mien.metrics.classification import (
    accuracy,
    confusion,
    f1_scores,
    macro_f1,
    precisions,
    recalls,
    uar,
    weighted_f1,
)

relaxed = settings(deadline=None, max_examples=50)
"""The machine may be busy, and the references take their time."""
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


@relaxed
@given(pairs)
def test_against_scikit_learn(both: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(side) for side in zip(*both, strict=True))
    counts = confusion(truth, predicted, 5)
    assert np.array_equal(counts, reference.confusion_matrix(truth, predicted, labels=range(5)))
    assert accuracy(counts) == pytest.approx(reference.accuracy_score(truth, predicted))
    present = sorted(set(truth.tolist()))
    recall = reference.recall_score(truth, predicted, labels=present, average="macro", zero_division=0)
    assert uar(counts) == pytest.approx(recall)
    f1 = reference.f1_score(truth, predicted, labels=range(5), average=None, zero_division=np.nan)
    assert f1_scores(counts) == pytest.approx(f1, nan_ok=True)


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
    assert math.isnan(macro_f1(counts))
    assert math.isnan(weighted_f1(counts))
    assert np.isnan(recalls(counts)).all() and np.isnan(f1_scores(counts)).all()


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


def test_worked_summaries() -> None:
    assert macro_f1(WORKED) == pytest.approx(0.6696, abs=5e-5)
    assert weighted_f1(WORKED) == pytest.approx(0.7127, abs=5e-5)
    assert precisions(WORKED) == pytest.approx([8 / 9, 3 / 7, 3 / 4])


@relaxed
@given(pairs, st.sets(st.integers(0, 4), min_size=1))
def test_summaries_over_a_fixed_list_against_scikit_learn(
    both: list[tuple[int, int]], chosen: set[int]
) -> None:
    truth, predicted = (np.array(side) for side in zip(*both, strict=True))
    counts, labels = confusion(truth, predicted, 5), sorted(chosen)
    macro = reference.f1_score(truth, predicted, labels=labels, average="macro", zero_division=0)
    assert macro_f1(counts, labels) == pytest.approx(macro)
    precision = reference.precision_score(
        truth, predicted, labels=range(5), average=None, zero_division=np.nan
    )
    assert precisions(counts) == pytest.approx(precision, nan_ok=True)
    recall = reference.recall_score(truth, predicted, labels=range(5), average=None, zero_division=np.nan)
    assert recalls(counts) == pytest.approx(recall, nan_ok=True)
    if np.isin(truth, labels).any():
        weighted = reference.f1_score(truth, predicted, labels=labels, average="weighted", zero_division=0)
        assert weighted_f1(counts, labels) == pytest.approx(weighted)
    else:
        assert math.isnan(weighted_f1(counts, labels))


def test_an_absent_class_counts_as_zero_in_macro_f1_only_if_it_is_listed() -> None:
    counts = confusion(np.array([0, 1]), np.array([0, 1]), 4)
    assert macro_f1(counts) == pytest.approx(0.5)
    assert macro_f1(counts, [0, 1]) == 1
    assert macro_f1(counts, [0, 1, 2]) == pytest.approx(2 / 3)
    assert weighted_f1(counts) == 1
    assert np.isnan(f1_scores(counts)[2:]).all()


def test_a_class_that_is_never_predicted_has_f1_zero_and_no_precision() -> None:
    counts = confusion(np.array([0, 1]), np.array([0, 0]), 2)
    assert f1_scores(counts)[1] == 0
    assert math.isnan(precisions(counts)[1])


@pytest.mark.parametrize("labels", [[], [0, 0], [3], [-1]])
def test_a_list_of_classes_that_does_not_fit_is_refused(labels: list[int]) -> None:
    with pytest.raises(ShapeError, match="expected"):
        macro_f1(WORKED, labels)


@pytest.mark.parametrize("metric", [accuracy, recalls, precisions, f1_scores, uar, macro_f1, weighted_f1])
@pytest.mark.parametrize(
    ("counts", "message"),
    [(np.ones((2, 3)), "square table"), (np.array([[1, -1], [0, 1]]), "at least 0, got -1")],
)
def test_what_is_no_table_of_counts_is_refused(
    metric: Callable[[np.ndarray], object], counts: np.ndarray, message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        metric(counts)


def test_confusion_takes_whole_numbers_only() -> None:
    assert confusion(np.array([0.0, 1.0]), np.array([1, 1]), 2).tolist() == [[0, 1], [0, 1]]
    with pytest.raises(ShapeError, match="whole numbers"):
        confusion(np.array([0.2, 1.0]), np.array([1, 1]), 2)
