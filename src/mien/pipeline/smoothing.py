"""Expression probabilities of one track over time, smoothed without lag and without claiming to know more.

A hidden Markov chain in continuous time. The face shows one expression at a time, keeps it for `dwell_s` on average, and
changes to any of the K alike:

    P(dt) = a I + (1 - a) / K,    a = exp(-dt / dwell_s)

Neighbouring frames are nearly the same picture, so a frame is not a fresh witness: it counts with the share

    w = 1 - exp(-dt / memory_s)

of its log-probability, where dt is the time since the frame before (to have no direction, the mean of this and of the same
towards the frame after). Ten or sixty frames a second then say the same, and a frame far from all others keeps its own
probabilities. The posterior given all frames (forward-backward, Rabiner 1989)
has no lag; given the frames so far (forward alone) it can be had live, and lags by what it takes to be convinced.

The two times are judgements of ours: expressions last from 0.5 to 4 s (Ekman), and what a network gets wrong in a frame it
gets wrong for about a fifth of a second. `benchmarks/smoothing.py` measures them.
"""

from __future__ import annotations

import numpy as np

from mien.errors import OptionError, ShapeError

DWELL_S = 2.0
MEMORY_S = 0.2
LEAST = 1e-6
"""No probability is taken for less: one frame must not rule an expression out for the seconds around it."""


def smoothed(
    probabilities: np.ndarray,
    time_s: np.ndarray,
    witness: np.ndarray | None = None,
    *,
    causal: bool = False,
    dwell_s: float = DWELL_S,
    memory_s: float = MEMORY_S,
) -> np.ndarray:
    """Posterior probabilities of each frame of a track.

    Args:
        probabilities: (T, K), rows that sum to 1; a row of NaN is a frame that says nothing.
        time_s: (T,) presentation times, ascending.
        witness: (T,) from 0 to 1, how far each frame counts, or bool; others (a blink, a face too poor) are filled from
            their neighbours.
        causal: use the frames so far alone.
        dwell_s: mean time that an expression lasts, seconds.
        memory_s: time over which a network repeats its mistakes, seconds.

    Returns:
        float64 (T, K), rows that sum to 1.

    Raises:
        ShapeError: the arrays do not belong together, or times do not ascend.
        OptionError: a time constant is not positive.
    """
    likelihood, time_s, witness = _checked(probabilities, time_s, witness)
    if not (dwell_s > 0 and memory_s > 0):
        raise OptionError(f"expected dwell_s and memory_s over 0, got {dwell_s} and {memory_s}")
    count, classes = likelihood.shape
    if count == 0:
        return likelihood
    steps = np.diff(time_s)
    keeps = np.exp(-steps / dwell_s)
    said = np.maximum(likelihood, LEAST) ** (witness * _news(steps, memory_s, causal))[:, None]
    forward = np.empty_like(said)
    forward[0] = said[0] / said[0].sum()
    for row in range(1, count):
        forward[row] = _step(forward[row - 1], said[row], keeps[row - 1])
    if causal:
        return forward
    backward = np.ones(classes)
    posterior = forward.copy()
    for row in range(count - 2, -1, -1):
        seen = backward * said[row + 1]
        backward = keeps[row] * seen + (1 - keeps[row]) * seen.mean()
        backward /= backward.sum()
        posterior[row] *= backward
    return posterior / posterior.sum(1, keepdims=True)


class Causal:
    """`smoothed(causal=True)` of one track, a frame at a time, for live sources."""

    def __init__(self) -> None:
        self._state: np.ndarray | None = None
        self._time_s = -np.inf

    def update(self, probabilities: np.ndarray, time_s: float, witness: float = 1.0) -> np.ndarray:
        """The posterior (K,) given this frame's probabilities (K,) and all before; a time that goes back stands."""
        since = max(0.0, time_s - self._time_s)
        self._time_s = max(self._time_s, time_s)
        share = witness * (1 - np.exp(-since / MEMORY_S))
        said = np.maximum(np.asarray(probabilities, float), LEAST) ** share
        before = np.full(len(said), 1 / len(said)) if self._state is None else self._state
        self._state = _step(before, said, float(np.exp(-since / DWELL_S)))
        return self._state


def _step(before: np.ndarray, said: np.ndarray, keeps: float) -> np.ndarray:
    """Forward from one frame to the next: (K,)."""
    state = (keeps * before + (1 - keeps) / len(before)) * said
    return state / state.sum()


def _news(steps: np.ndarray, memory_s: float, causal: bool) -> np.ndarray:
    """What each of T frames says that its neighbours do not, in (0, 1]."""
    fresh = 1 - np.exp(-steps / memory_s)
    since = np.concatenate([[1.0], fresh])
    return since if causal else (since + np.concatenate([fresh, [1.0]])) / 2


def _checked(
    probabilities: np.ndarray, time_s: np.ndarray, witness: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities (T, K), times (T,) and witnesses (T,), without rows of NaN among them."""
    probabilities, time_s = np.asarray(probabilities, float), np.asarray(time_s, float)
    if probabilities.ndim != 2 or time_s.shape != probabilities.shape[:1]:
        raise ShapeError(
            f"expected probabilities (T, K) and times (T,), got {probabilities.shape} and {time_s.shape}"
        )
    if (np.diff(time_s) < 0).any():
        raise ShapeError("expected times that ascend, got some that go back: sort the frames of the track")
    there = ~np.isnan(probabilities).any(1)
    counts = np.ones(len(there)) if witness is None else np.asarray(witness, float)
    if counts.shape != time_s.shape:
        raise ShapeError(f"expected witnesses {time_s.shape}, got {counts.shape}")
    if not ((counts >= 0) & (counts <= 1)).all():
        raise OptionError(
            f"expected witnesses from 0 to 1, got {np.nanmin(counts):g} to {np.nanmax(counts):g}"
        )
    whole = np.where(there[:, None], probabilities, 1.0 / max(1, probabilities.shape[1]))
    return whole, time_s, there * counts
