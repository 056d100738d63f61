from __future__ import annotations

import numpy as np
import pytest

from mien.errors import DataError, ShapeError
from mien.pipeline.baseline import NEUTRAL, calmest, relative, rest_of

NAMES = ("neutral", "happy", "sad")
REST = np.array([0.3, 0.05, 0.65])


def person(count: int = 100, seed: int = 0) -> np.ndarray:
    """A face that is read as sad at rest, and smiles in a fifth of its frames."""
    logits = np.log(REST) + np.random.default_rng(seed).normal(0, 0.3, (count, 3))
    logits[: count // 5, 1] += 4
    values = np.exp(logits)
    return values / values.sum(1, keepdims=True)


def test_a_face_at_rest_is_read_as_neutral_and_a_smile_stays() -> None:
    values = person()
    baseline = rest_of(values, NAMES)
    assert baseline.probabilities == pytest.approx(REST, abs=0.08) and baseline.frames == 100
    moved = relative(values, baseline)
    assert (values[20:].argmax(1) == 2).mean() > 0.9
    assert (moved[20:].argmax(1) == 0).mean() > 0.9
    assert (moved[:20].argmax(1) == 1).mean() > 0.9


def test_at_rest_what_others_do_not_show_is_taken_off() -> None:
    baseline = rest_of(REST[None], NAMES)
    np.testing.assert_allclose(relative(REST[None], baseline)[0], np.array([NEUTRAL, 0.05, 0.15]) / 0.9)


def test_a_rest_that_is_read_as_neutral_changes_nothing() -> None:
    baseline = rest_of(np.array([[0.9, 0.04, 0.06]]), NAMES)
    values = person(5)
    np.testing.assert_allclose(relative(values, baseline), values)


def test_the_calmest_fifth_is_the_rest_of_one_who_mostly_smiles() -> None:
    values, times = person(500), np.arange(500) / 25
    smiles = np.arange(500) < 350
    values[smiles] = [0.05, 0.9, 0.05]
    values[~smiles] = person(600)[450:]
    rest = calmest(values, NAMES, times)
    assert 90 <= rest.sum() <= 110 and not rest[smiles].any()
    assert calmest(values, ("sad", "happy", "fear"), times).all()


def test_ratios_of_odds_stay() -> None:
    """Between two frames the log-odds of two classes differ as before."""
    values = person(5)
    moved = relative(values, rest_of(values, NAMES))
    before, after = np.log(values[:, 1] / values[:, 2]), np.log(moved[:, 1] / moved[:, 2])
    np.testing.assert_allclose(np.diff(before), np.diff(after))


def test_only_frames_that_count_do() -> None:
    values = person()
    values[50:] = np.nan
    witness = np.ones(100, bool)
    witness[:20] = False
    assert rest_of(values, NAMES, witness=witness).frames == 30
    assert np.isnan(relative(values, rest_of(values, NAMES))[60]).all()
    with pytest.raises(DataError, match="Name another range"):
        rest_of(values, NAMES, witness=np.zeros(100, bool))
    with pytest.raises(ShapeError):
        rest_of(values[:, :2], NAMES)
    with pytest.raises(ShapeError):
        relative(values[:, :2], rest_of(values, NAMES))
