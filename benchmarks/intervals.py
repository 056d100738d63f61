"""How far intervals can be relied on: of a mean over few participants, and of the largest gap between groups.

python benchmarks/intervals.py       about a minute, one core; the figures stand in docs/study.md and docs/audit.md
"""

from __future__ import annotations

import numpy as np

from mien.evaluate.parts import Answers, draw_parts, gaps_between
from mien.metrics.bootstrap import bootstrap_mean


def coverage(participants: int, samples: int = 2000) -> float:
    """Share of made samples of normal values (seed 0) whose 95 % interval of the mean holds the truth."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(samples):
        low, high = bootstrap_mean(random.normal(size=participants), 1000, 0)
        held += low <= 0 <= high
    return held / samples


def false_gaps(groups: int, pictures: int = 600, sets: int = 250) -> tuple[float, float]:
    """Share of made data sets without any gap (75 % right, seeds 0 to sets - 1) where the largest one's interval excludes 0.

    Returns:
        with the interval for all pairs at once, and with the pair's own.
    """
    joint = alone = 0
    for seed in range(sets):
        right = np.random.default_rng(seed).random(pictures) < 0.75
        probabilities = np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
        there = np.ones(pictures, bool)
        answers = Answers(probabilities, np.zeros(pictures, int), there, there, 0.5)
        drawn = draw_parts(answers, np.array_split(np.arange(pictures), groups))
        gap = gaps_between(drawn)[0]
        joint += gap.excludes_zero
        apart = drawn[gap.better].figures["accuracy"] - drawn[gap.worse].figures["accuracy"]
        alone += bool(np.quantile(apart[1:], 0.025) > 0)
    return joint / sets, alone / sets


if __name__ == "__main__":
    for participants in (3, 5, 10, 20, 40):
        print(f"{participants:3} participants: {coverage(participants):.1%} of the intervals hold the mean")
    for groups in (2, 4, 10):
        joint, alone = false_gaps(groups)
        print(
            f"{groups:3} groups alike: 0 excluded in {joint:.1%} (all pairs at once), {alone:.1%} (the pair's own)"
        )
