from __future__ import annotations

import itertools

import numpy as np
import pytest

from mien.errors import OptionError, ShapeError
from mien.pipeline.smoothing import DWELL_S, LEAST, MEMORY_S, smoothed


def rows(count: int, classes: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(classes), count)


def test_it_is_the_posterior_of_the_chain() -> None:
    """Against the sum over all paths of four frames."""
    found, times = rows(4), np.array([0.0, 0.1, 0.5, 0.55])
    steps = np.diff(times)
    fresh = np.concatenate([[1], 1 - np.exp(-steps / MEMORY_S), [1]])
    share = (fresh[:-1] + fresh[1:]) / 2
    keeps = np.exp(-steps / DWELL_S)
    expected = np.zeros((4, 3))
    for path in itertools.product(range(3), repeat=4):
        weight = np.prod([found[row, state] ** share[row] for row, state in enumerate(path)])
        for row in range(3):
            weight *= keeps[row] * (path[row] == path[row + 1]) + (1 - keeps[row]) / 3
        for row, state in enumerate(path):
            expected[row, state] += weight
    np.testing.assert_allclose(smoothed(found, times), expected / expected.sum(1, keepdims=True), atol=1e-12)


def test_a_frame_far_from_all_others_keeps_its_probabilities() -> None:
    found, times = rows(5), np.arange(5) * 1000.0
    for causal in (False, True):
        np.testing.assert_allclose(smoothed(found, times, causal=causal), np.maximum(found, LEAST), atol=1e-5)


def test_the_frame_rate_does_not_matter() -> None:
    """Ten and sixty frames a second of one face that does not move say nearly the same."""
    slow, fast = np.arange(0, 3, 1 / 10), np.arange(0, 3, 1 / 60)
    face = np.array([0.5, 0.3, 0.2])
    ends = [smoothed(np.tile(face, (len(times), 1)), times)[len(times) // 2, 0] for times in (slow, fast)]
    assert ends[0] == pytest.approx(ends[1], abs=0.03)


def step(noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Neutral until 2 s, then happy until 4 s, at 25 frames a second."""
    times = np.arange(0, 6, 0.04)
    happy = (times >= 2) & (times < 4)
    logits = np.where(happy, 1.5, -1.5) + np.random.default_rng(seed).normal(0, noise, len(times))
    probability = 1 / (1 + np.exp(-logits))
    return np.stack([1 - probability, probability], 1), times


def test_it_removes_noise_without_lag() -> None:
    wrong = np.zeros(3)
    for seed in range(20):
        found, times = step(2.0, seed)
        truth = ((times >= 2) & (times < 4)).astype(int)
        three = found, smoothed(found, times), smoothed(found, times, causal=True)
        wrong += [(values.argmax(1) != truth).mean() / 20 for values in three]
    assert 5 * wrong[1] < wrong[2] < 0.7 * wrong[0]
    clean, times = step(0.0)
    edges = times[np.flatnonzero(np.diff(smoothed(clean, times).argmax(1)))]
    assert edges == pytest.approx([2, 4], abs=0.05)
    late = times[np.flatnonzero(np.diff(smoothed(clean, times, causal=True).argmax(1)))]
    assert np.all(late - [2, 4] > 0.05) and np.all(late - [2, 4] < 0.6)


def test_causal_values_do_not_know_what_comes() -> None:
    found, times = step(1.0)
    np.testing.assert_allclose(
        smoothed(found, times, causal=True)[:60], smoothed(found[:60], times[:60], causal=True)
    )


def test_frames_that_say_nothing_are_filled_from_their_neighbours() -> None:
    found, times = step(0.0)
    found[70:73] = np.nan
    witness = np.ones(len(times), bool)
    witness[80:83] = False
    found[80:83] = [1, 0]
    filled = smoothed(found, times, witness)
    assert not np.isnan(filled).any() and (filled[70:73].argmax(1) == 1).all()
    assert (filled[80:83].argmax(1) == 1).all()
    nothing = smoothed(np.full((3, 4), np.nan), np.arange(3.0))
    np.testing.assert_allclose(nothing, 0.25)


def test_what_does_not_belong_together_is_refused() -> None:
    assert smoothed(np.empty((0, 3)), np.empty(0)).shape == (0, 3)
    with pytest.raises(ShapeError, match="times that ascend"):
        smoothed(rows(2), np.array([1.0, 0.0]))
    with pytest.raises(ShapeError, match=r"\(T, K\)"):
        smoothed(rows(2), np.arange(3.0))
    with pytest.raises(OptionError, match="dwell_s"):
        smoothed(rows(2), np.arange(2.0), dwell_s=0)
