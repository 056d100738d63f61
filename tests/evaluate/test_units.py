from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from mien.errors import ShapeError
from mien.evaluate.units import measure_units, units_to_markdown
from mien.metrics.multilabel import known_aurocs, known_f1_scores

LABELS = ("AU1", "AU2", "AU4")


def made_up(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, (50, 3)).astype(float)
    scores = np.clip(0.3 * truth + random.uniform(0, 0.7, (50, 3)), 0, 1)
    truth[random.random((50, 3)) < 0.2] = np.nan
    return truth, scores


def test_figures_against_scikit_learn() -> None:
    truth, scores = made_up()
    f1, auroc = known_f1_scores(truth, scores >= 0.5), known_aurocs(truth, scores)
    for column in range(3):
        known = np.isfinite(truth[:, column])
        true, score = truth[known, column], scores[known, column]
        assert f1[column] == pytest.approx(reference.f1_score(true, score >= 0.5))
        assert auroc[column] == pytest.approx(reference.roc_auc_score(true, score))


def test_what_is_undefined_is_none_and_not_in_the_mean() -> None:
    truth = np.array([[1.0, 0, np.nan], [0, 0, np.nan]])
    figures = measure_units(truth, np.array([[0.9, 0.1, 0.9], [0.8, 0.2, 0.1]]), LABELS)
    assert figures["per_unit"]["AU1"] == {"known": 2, "there": 1, "found": 2, "f1": 0.6667, "auroc": 1.0}
    assert figures["per_unit"]["AU2"] == {"known": 2, "there": 0, "found": 0, "f1": None, "auroc": None}
    assert figures["per_unit"]["AU4"] == {"known": 0, "there": 0, "found": 0, "f1": None, "auroc": None}
    assert (figures["mean_f1"], figures["mean_auroc"]) == (0.6667, 1.0)


def test_intervals_are_over_people_and_hold_the_figure() -> None:
    truth, scores = made_up()
    figures = measure_units(truth, scores, LABELS, subjects=[f"S{row % 10}" for row in range(50)])
    assert figures["intervals"] == {"over": "subjects", "units": 10, "resamples": 1000}
    for name in ("mean_f1", "mean_auroc"):
        low, high = figures[f"{name}_95"]
        assert low < figures[name] < high


def test_scores_that_are_no_probabilities_need_answers() -> None:
    truth, scores = made_up()
    with pytest.raises(ShapeError, match="got scores beyond"):
        measure_units(truth, 9 * scores, LABELS)
    given = measure_units(truth, 9 * scores, LABELS, scores >= 0.5)
    assert given["mean_f1"] == measure_units(truth, scores, LABELS)["mean_f1"]
    with pytest.raises(ShapeError, match=r"expected truth and scores \(N, 2\)"):
        measure_units(truth, scores, LABELS[:2])


def test_the_page_sets_systems_side_by_side() -> None:
    truth, scores = made_up()
    figures = measure_units(truth, scores, LABELS)
    page = units_to_markdown({"one": figures, "two": figures}, "Units", {"protocol": "drawn"})
    assert "| unit | there | one F1 | one AUROC | two F1 | two AUROC |" in page
    assert f"| **mean** |  | {figures['mean_f1']:.3f}" in page and "| protocol | drawn |" in page
