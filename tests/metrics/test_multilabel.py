"""Worked values and scikit-learn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from mien.errors import ShapeError
from mien.metrics.curves import average_precision, trapezoid_area
from mien.metrics.multilabel import (
    average_precisions,
    bah_average_precision,
    label_f1_scores,
    mean_average_precision,
)

relaxed = settings(deadline=None, max_examples=50)
"""The machine may be busy, and the references take their time."""
samples = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=1, max_size=30)


def test_average_precision_worked_value() -> None:
    # Positives at ranks 1 and 3: (1/1 + 2/3) / 2.
    assert average_precision(np.array([1, 0, 1]), np.array([3.0, 2, 1])) == pytest.approx(5 / 6)


@relaxed
@given(samples)
def test_average_precision_against_scikit_learn(both: list[tuple[int, int]]) -> None:
    truth, scores = (np.array(side) for side in zip(*both, strict=True))
    if truth.any():
        expected = reference.average_precision_score(truth, scores)
        assert average_precision(truth, scores) == pytest.approx(expected)
    else:
        assert math.isnan(average_precision(truth, scores))


def test_map_leaves_out_classes_without_a_positive() -> None:
    random = np.random.default_rng(0)
    truth, scores = random.integers(0, 2, (50, 4)), random.normal(size=(50, 4))
    each = [reference.average_precision_score(truth[:, k], scores[:, k]) for k in range(4)]
    assert mean_average_precision(truth, scores) == pytest.approx(np.mean(each))
    truth[:, 2] = 0
    assert math.isnan(average_precisions(truth, scores)[2])
    assert mean_average_precision(truth, scores) == pytest.approx(np.mean([each[0], each[1], each[3]]))
    assert math.isnan(mean_average_precision(np.zeros((3, 2)), np.ones((3, 2))))


@relaxed
@given(st.integers(0, 2**32 - 1))
def test_label_f1_against_scikit_learn(seed: int) -> None:
    truth, predicted = np.random.default_rng(seed).integers(0, 2, (2, 6, 5))
    expected = reference.f1_score(truth, predicted, average=None, zero_division=np.nan)
    assert label_f1_scores(truth, predicted) == pytest.approx(expected, nan_ok=True)


def test_label_f1_is_zero_for_missed_and_undefined_for_absent() -> None:
    found = label_f1_scores(np.array([[1, 0, 0], [1, 0, 0]]), np.array([[0, 0, 1], [0, 0, 0]]))
    assert found[0] == 0
    assert math.isnan(found[1])
    assert found[2] == 0


def bah_by_hand(truth: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray) -> float:
    points = []
    for threshold in thresholds:
        said = probabilities >= threshold
        hits = (said & (truth == 1)).sum()
        points.append((hits / truth.sum(), hits / said.sum() if said.any() else 0.0))
    return sum(
        (first[0] - second[0]) * (first[1] + second[1]) / 2 for first, second in itertools.pairwise(points)
    )


@pytest.mark.parametrize("include_one", [False, True])
def test_bah_average_precision_against_its_definition(include_one: bool) -> None:
    random = np.random.default_rng(3)
    truth, probabilities = random.integers(0, 2, 60), random.random(60)
    thresholds = np.arange(1001 if include_one else 1000) * 0.001
    found = bah_average_precision(truth, probabilities, include_one)
    assert found == pytest.approx(bah_by_hand(truth, probabilities, thresholds))
    assert found != pytest.approx(average_precision(truth, probabilities), abs=1e-3)


def test_bah_average_precision_at_its_borders() -> None:
    # From recall 1 at precision 1 it falls to 0 and 0: half the area, whatever the order.
    assert bah_average_precision(np.array([1, 0]), np.array([0.5, 0.1])) == pytest.approx(0.5)
    # At .999 both are still predicted; the threshold 1 of the long list lets go of one.
    truth, sure = np.array([1, 1]), np.array([1.0, 0.9995])
    assert bah_average_precision(truth, sure) == 0
    assert bah_average_precision(truth, sure, include_one=True) == pytest.approx(0.5)
    assert math.isnan(bah_average_precision(np.array([0]), np.array([0.5])))


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        ([[1, 0]], [[0.5]], "one shape"),
        ([[1, -1]], [[0.5, 0.5]], "only 0 and 1 as truth"),
        ([[1, 0]], [[np.nan, 0.5]], "finite scores"),
        ([1, 0], [0.5, 0.5], "one shape"),
    ],
)
def test_what_does_not_fit_is_refused(truth: list, scores: list, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        mean_average_precision(np.array(truth), np.array(scores))


def test_probabilities_and_flags_are_not_mixed_up() -> None:
    with pytest.raises(ShapeError, match="only 0 and 1 as predictions"):
        label_f1_scores(np.array([[1]]), np.array([[0.7]]))
    with pytest.raises(ShapeError, match="softmax or sigmoid first"):
        bah_average_precision(np.array([1]), np.array([2.5]))
    with pytest.raises(ShapeError, match="equally long"):
        average_precision(np.array([1]), np.array([0.5, 0.6]))


def test_trapezoid_against_scikit_learn() -> None:
    x, y = np.array([0.0, 0.2, 0.2, 1.0]), np.array([0.0, 0.4, 0.9, 1.0])
    assert trapezoid_area(x, y) == pytest.approx(reference.auc(x, y))
    assert trapezoid_area(x[::-1], y[::-1]) == pytest.approx(-reference.auc(x, y))
