from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from mien.errors import ShapeError
from mien.metrics.micro import composite_scores, subject_intervals, uf1

WORKED = np.array([[8, 2, 0], [1, 3, 1], [0, 2, 3]])
"""UAR .6667, F1 .8421, .5000, .6667, their mean .6696: worked by hand from the definitions."""


def lists(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = np.indices(counts.shape).reshape(2, -1)
    return np.repeat(truth, counts.ravel()), np.repeat(predicted, counts.ravel())


def test_the_worked_table() -> None:
    truth, predicted = lists(WORKED)
    figures = composite_scores(truth, predicted, np.full(20, "smic"))
    assert uf1(WORKED) == pytest.approx(0.6696, abs=5e-5)
    for name in ("composite", "smic"):
        assert figures[name]["uf1"] == pytest.approx(0.6696, abs=5e-5)
        assert figures[name]["uar"] == pytest.approx(0.6667, abs=5e-5)
        assert figures[name]["samples"] == 20


def test_a_class_that_nobody_shows_counts_as_zero_in_uf1_and_not_in_uar() -> None:
    """Two classes, all right: F1 1, 1, 0 over the fixed three; recalls 1, 1 over those that occur."""
    figures = composite_scores(np.array([0, 1]), np.array([0, 1]), ["samm", "samm"])["samm"]
    assert figures["uf1"] == pytest.approx(2 / 3)
    assert figures["uar"] == 1


def test_pooled_is_not_the_mean_of_the_parts() -> None:
    """a: truth 0 0 1, all 0. b: truth 1 2 2, all right. By hand: F1 of a 4/5, 0, 0; of all 4/5, 2/3, 1."""
    truth, predicted = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 1, 2, 2])
    figures = composite_scores(truth, predicted, list("aaabbb"))
    assert list(figures) == ["composite", "a", "b"]
    assert figures["a"]["uf1"] == pytest.approx(4 / 15)
    assert figures["composite"]["uf1"] == pytest.approx((4 / 5 + 2 / 3 + 1) / 3)
    assert figures["composite"]["uar"] == pytest.approx((1 + 1 / 2 + 1) / 3)


def test_it_equals_scikit_learn_on_random_answers() -> None:
    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, 3, 60), random.integers(0, 3, 60)
    parts = random.choice(["casme2", "samm", "smic"], 60)
    figures = composite_scores(truth, predicted, parts)
    for name in figures:
        rows = np.full(60, True) if name == "composite" else parts == name
        wanted = {"labels": [0, 1, 2], "average": "macro"}
        assert figures[name]["uf1"] == pytest.approx(f1_score(truth[rows], predicted[rows], **wanted))
        assert figures[name]["uar"] == pytest.approx(recall_score(truth[rows], predicted[rows], **wanted))


def test_intervals_by_subject_hold_the_figure_and_narrow_with_people() -> None:
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, 400)
    predicted = np.where(random.random(400) < 0.7, truth, random.integers(0, 3, 400))
    few = subject_intervals(truth, predicted, np.arange(400) % 8, resamples=300)
    many = subject_intervals(truth, predicted, np.arange(400), resamples=300)
    pooled = composite_scores(truth, predicted, np.full(400, "x"))["composite"]
    for name, (low, high) in many.items():
        assert 0 <= low < pooled[name] < high <= 1
        assert few[name][0] < pooled[name] < few[name][1]


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="expected a data set for each of 2 samples"):
        composite_scores(np.array([0, 1]), np.array([0, 1]), ["smic"])
