"""Mean of folds and pooled, and the figures that challenges make."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mien.errors import ShapeError
from mien.metrics.aggregation import fold_values, mean_of_folds, pooled
from mien.metrics.challenges import (
    abaw1_expression_score,
    abaw_affect_score,
    abaw_multitask_score,
    emi_score,
    mer2023_multi_score,
    personality_accuracy,
)
from mien.metrics.classification import accuracy, confusion, macro_f1, uar
from mien.metrics.dimensional import pcc


def war(truth: np.ndarray, predicted: np.ndarray) -> float:
    return accuracy(confusion(truth, predicted, 3))


def uf1(truth: np.ndarray, predicted: np.ndarray) -> float:
    return macro_f1(confusion(truth, predicted, 3))


def test_folds_of_unequal_size_differ_from_the_pool() -> None:
    folds = [(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 2])), (np.array([0, 1]), np.array([1, 0]))]
    assert fold_values(war, folds).tolist() == [1.0, 0.0]
    assert mean_of_folds(war, folds) == 0.5
    assert pooled(war, folds) == pytest.approx(4 / 6)


def test_uf1_is_pooled_over_people_who_lack_classes() -> None:
    """Two people who show one class each, all read rightly: the mean of their macro F1 is far from UF1."""
    folds = [(np.array([0, 0]), np.array([0, 0])), (np.array([1, 2]), np.array([1, 2]))]
    assert pooled(uf1, folds) == 1
    assert mean_of_folds(uf1, folds) == pytest.approx((1 / 3 + 2 / 3) / 2)


def test_an_undefined_fold_leaves_the_mean_undefined() -> None:
    empty = (np.zeros(0, int), np.zeros(0, int))
    folds = [(np.array([0]), np.array([0])), empty]
    assert math.isnan(mean_of_folds(lambda t, p: uar(confusion(t, p, 3)), folds))
    assert pooled(war, folds) == 1


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ([], "at least one fold"),
        ([()], "at least one fold"),
        ([(np.ones(2), np.ones(2)), (np.ones(2),)], r"got \[2, 1\]"),
        ([(np.ones(2), np.ones(3))], "equally long arrays in fold 0"),
    ],
)
def test_folds_that_do_not_fit_are_refused(folds: list, message: str) -> None:
    for function in (mean_of_folds, pooled, fold_values):
        with pytest.raises(ShapeError, match=message):
            function(war, folds)


def test_challenge_scores() -> None:
    assert abaw1_expression_score(0.4, 0.7) == pytest.approx(0.67 * 0.4 + 0.33 * 0.7)
    assert abaw_affect_score(0.5, -0.1) == pytest.approx(0.2)
    assert abaw_multitask_score(0.5, 0.3, 0.6, 0.5) == pytest.approx(0.4 + 1.1)
    assert mer2023_multi_score(0.8, 0.6) == pytest.approx(0.65)
    assert personality_accuracy(np.array([0.2, 0.5]), np.array([0.3, 0.1])) == pytest.approx(0.75)


def test_emi_is_the_mean_correlation_and_undefined_for_a_constant() -> None:
    truth, predicted = np.random.default_rng(0).random((2, 30, 6))
    expected = np.mean([pcc(truth[:, k], predicted[:, k]) for k in range(6)])
    assert emi_score(truth, predicted) == pytest.approx(expected)
    predicted[:, 3] = 0.5
    assert math.isnan(emi_score(truth, predicted))
    with pytest.raises(ShapeError, match="one shape"):
        emi_score(truth, predicted[:, :5])


def test_challenge_scores_refuse_figures_out_of_range() -> None:
    with pytest.raises(ShapeError, match=r"accuracy in \[0, 1\], got 70"):
        abaw1_expression_score(0.4, 70)
    with pytest.raises(ShapeError, match="ccc_arousal"):
        abaw_affect_score(0.5, math.nan)
    with pytest.raises(ShapeError, match="f1_units"):
        abaw_multitask_score(0.5, 0.5, 0.5, 1.5)
    with pytest.raises(ShapeError, match="mse_valence"):
        mer2023_multi_score(0.5, -1)
    with pytest.raises(ShapeError, match=r"predictions in \[0, 1\]"):
        personality_accuracy(np.array([0.2]), np.array([-1.0]))
