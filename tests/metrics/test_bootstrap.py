"""Seeds, closed forms, coverage on drawn data, and the speed that a report needs."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from mien.errors import OptionError, ShapeError
from mien.metrics.bootstrap import (
    bootstrap_confusions,
    bootstrap_interval,
    bootstrap_mean,
    percentile_interval,
    resample_weights,
)
from mien.metrics.classification import accuracy, confusion, uar


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


def people_of_different_skill(seed: int, people: int = 30, each: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Right or wrong of frames (N,), and whose they are: each person is mostly right or mostly wrong."""
    random = np.random.default_rng(seed)
    skill = random.choice([0.45, 0.95], people)
    return (random.random((people, each)) < skill[:, None]).reshape(-1), np.repeat(np.arange(people), each)


def test_by_subject_covers_the_truth_where_by_sample_does_not() -> None:
    inside = {"subjects": 0, "samples": 0}
    for trial in range(150):
        correct, people = people_of_different_skill(trial)
        for name, clusters in (("subjects", people), ("samples", None)):
            low, high = bootstrap_mean(correct, 150, trial, clusters)
            inside[name] += low <= 0.7 <= high
    assert 0.87 <= inside["subjects"] / 150 <= 1
    assert inside["samples"] / 150 < 0.75


def test_each_sample_as_its_own_cluster_is_the_plain_bootstrap() -> None:
    values = np.random.default_rng(1).normal(size=50)
    assert bootstrap_mean(values, 300, 5) == bootstrap_mean(values, 300, 5, np.arange(50))


def test_whole_clusters_are_drawn_as_many_as_there_are() -> None:
    clusters = ["b", "a", "b", "c", "b", "a"]
    (weights,) = resample_weights(6, 200, 0, clusters)
    assert weights.shape == (200, 6)
    assert (weights[:, 0] == weights[:, 2]).all() and (weights[:, 0] == weights[:, 4]).all()
    assert (weights[:, 1] == weights[:, 5]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()
    assert len(np.unique(weights.sum(1))) > 1


def test_blocks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(resample_weights(40, 100, 3)))
    monkeypatch.setattr("mien.metrics.bootstrap.BLOCK", 7 * 40)
    parts = list(resample_weights(40, 100, 3))
    assert len(parts) > 10
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("clusters", [None, np.arange(90) % 11])
def test_the_fast_forms_are_the_general_one(clusters: np.ndarray | None) -> None:
    random = np.random.default_rng(4)
    truth, predicted = random.integers(0, 4, 90), random.integers(0, 4, 90)
    correct = truth == predicted
    general = bootstrap_interval(lambda rows: float(correct[rows].mean()), 90, 200, 2, clusters)
    assert bootstrap_mean(correct, 200, 2, clusters) == pytest.approx(general)
    tables = bootstrap_confusions(truth, predicted, 4, 200, 2, clusters)
    assert percentile_interval(np.array([accuracy(table) for table in tables])) == pytest.approx(general)
    general = bootstrap_interval(
        lambda rows: uar(confusion(truth[rows], predicted[rows], 4)), 90, 200, 2, clusters
    )
    assert percentile_interval(np.array([uar(table) for table in tables])) == pytest.approx(general)


def test_one_sample_or_one_person_has_no_interval() -> None:
    assert all(math.isnan(side) for side in bootstrap_mean(np.array([1.0])))
    assert all(math.isnan(side) for side in bootstrap_mean(np.ones(9), clusters=["anna"] * 9))
    assert all(math.isnan(side) for side in bootstrap_interval(lambda rows: 0.5, 1))


def test_an_often_undefined_statistic_has_no_interval() -> None:
    values = np.linspace(0, 1, 100)
    values[:5] = np.nan
    assert percentile_interval(values) == pytest.approx(tuple(np.nanpercentile(values, [2.5, 97.5])))
    values[:6] = np.nan
    assert all(math.isnan(side) for side in percentile_interval(values))


def test_the_level_is_the_share_inside() -> None:
    values = np.arange(1001.0)
    assert percentile_interval(values, 0.9) == pytest.approx((50, 950))
    with pytest.raises(OptionError, match="between 0 and 1, got 95"):
        percentile_interval(values, 95)


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        (["a"], "each of 3 samples"),
        (["a", "", "b"], "got 1 that are missing"),
        (["a", None, "b"], "got 1 that are missing"),
        ([1.0, math.nan, math.nan], "got 2 that are missing"),
    ],
)
def test_clusters_are_checked(clusters: list, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        bootstrap_mean(np.ones(3), clusters=clusters)


def test_names_of_any_text_array_will_do() -> None:
    names = np.array(["b", "a", "b"], object)
    assert bootstrap_mean(np.arange(3.0), clusters=names) == bootstrap_mean(
        np.arange(3.0), clusters=[1, 0, 1]
    )


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(OptionError, match="got 0 and 10"):
        next(resample_weights(0, 10))
    with pytest.raises(OptionError, match="got 5 and 0"):
        bootstrap_mean(np.ones(5), 0)


def test_a_thousand_resamples_of_three_thousand_samples_take_less_than_a_second() -> None:
    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, 11, 3000), random.integers(0, 11, 3000)
    started = time.process_time()
    assert bootstrap_confusions(truth, predicted, 11).sum() == 3_000_000
    bootstrap_mean(truth == predicted, clusters=np.arange(3000) % 80)
    assert time.process_time() - started < 1
