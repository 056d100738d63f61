from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mien.engine.linear import best_thresholds, fit_classes, fit_units
from mien.errors import ShapeError


@pytest.mark.parametrize(("rows", "columns"), [(60, 5), (30, 50)])
def test_units_against_scikit_learn(rows: int, columns: int) -> None:
    random = np.random.default_rng(0)
    x = random.normal(3, 2, (rows, columns))
    y = (x[:, :2] + random.normal(0, 2, (rows, 2)) > 3).astype(float)
    head = fit_units(x, y, 0.1)
    for column in range(2):
        reference = LogisticRegression(C=1 / (0.1 * rows), tol=1e-8, max_iter=2000)
        reference.fit((x - x.mean(0)) / x.std(0), y[:, column])
        np.testing.assert_allclose(head.weight[:, column], reference.coef_[0], atol=2e-3)
        assert head.bias[column] == pytest.approx(reference.intercept_[0], abs=2e-3)


def test_classes_are_told_apart_and_missing_features_are_the_mean() -> None:
    random = np.random.default_rng(0)
    truth = np.arange(90) % 3
    x = random.normal(0, 0.3, (90, 3)) + np.eye(3)[truth] * 3
    x[5, 1] = np.nan
    head = fit_classes(x, truth, 3, 1e-3)
    assert (head.logits(x).argmax(1) == truth).mean() > 0.95
    assert head.standardised(np.full((1, 3), np.nan)).tolist() == [[0.0, 0.0, 0.0]]
    with pytest.raises(ShapeError, match=r"expected features \(N, D\)"):
        fit_classes(np.zeros(3), np.zeros(3), 2, 1.0)


def test_the_threshold_has_the_largest_f1() -> None:
    truth = np.array([[1.0, 0], [1, 0], [0, 0], [1, 0], [np.nan, 0], [0, 0]])
    scores = np.array([[0.9, 1], [0.8, 1], [0.7, 1], [0.6, 1], [0.65, 1], [0.1, 1]])
    found = best_thresholds(truth, scores)
    assert found[0] == pytest.approx((0.6 + 0.1) / 2)  # three hits and one mistake: F1 6/7
    assert found[1] == np.inf


def test_equal_scores_are_taken_together() -> None:
    truth, scores = np.array([[1.0], [0], [0], [1]]), np.array([[0.5], [0.5], [0.5], [0.9]])
    found = best_thresholds(truth, scores)[0]
    f1 = {cut: 2 * (truth[scores >= cut] == 1).sum() / ((scores >= cut).sum() + 2) for cut in (0.5, found)}
    assert f1[found] == max(f1.values()) and found in (pytest.approx(0.7), pytest.approx(0.5))
