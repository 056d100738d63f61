"""Facial-R1: the rewards with which a language model learns to reason about action units, and its advantages.

Facial-R1, AAAI 2026, arXiv 2511.10254. Official code: RobitsG/Facial-R1.
A model is first taught by instruction data, then by GRPO: for one face it writes a group of answers, each gets a
reward, and an answer is reinforced by how much its reward stands over its group's. An answer is reasoning between
think tags, then the emotion's word between answer tags; units are written as AU and number.

Reward: format + label + action units; see the three functions. GRPO here has no KL term (their beta is 0). Their set
FEA-20K has 17,737 + 1,688 samples. Reported by the authors (repository): F1 of action units 73.1 on DISFA, 70.2 on
RAF-AU, 67.4 on BP4D; accuracy 69.8 on FER2013.

Differs from the paper: these are the pure functions alone; their model, Qwen2.5-VL-7B, is not here. Their published
command leaves the units' reward out of its list of rewards (their repository); here it is in the sum.

Needs: texts, labels, sets of units. Gives: numbers. Needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType

import numpy as np

from mien.errors import ShapeError

FEA_20K: Mapping[str, int] = MappingProxyType({"train": 17_737, "test": 1_688})
"""Samples of the authors' set (repository)."""

FORMAT = re.compile(
    r"\s*<think>(?:(?!</?think>).)*</think>\s*<answer>(?:(?!</?answer>).)*</answer>\s*", re.DOTALL
)
UNIT = re.compile(r"AU(\d+)")
"""The authors' expression: a unit's FACS name does not count, and one that the text denies does."""
ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def format_reward(text: str) -> float:
    """1 if the text is reasoning between think tags, then an answer between answer tags, and nothing else; or 0."""
    return 1.0 if FORMAT.fullmatch(text) else 0.0


def label_reward(text: str, truth: str | None) -> float:
    """1 if what stands between the answer tags is exactly the true word, or 0; 0.5 where no truth is told."""
    if not truth:
        return 0.5
    found = ANSWER.search(text)
    return 1.0 if found and found.group(1).strip() == truth else 0.0


def unit_reward(text: str, truth: Collection[int] | None) -> float:
    """F1 of the units that the text states, mapped from [0, 1] to [-1, 1].

    Args:
        text: the whole answer; a unit counts as "AU12", also where the text says that it is not there.
        truth: FACS numbers that are there; `None` or empty where nobody coded them.

    Returns:
        0 without truth; -1 if the text states no unit.
    """
    if not truth:
        return 0.0
    stated, true = frozenset(map(int, UNIT.findall(text))), frozenset(truth)
    f1 = 2 * len(stated & true) / (len(stated) + len(true))
    return 2 * f1 - 1


def reward(text: str, label: str | None, units: Collection[int] | None) -> float:
    """The sum of the three, from -1 to 3."""
    return format_reward(text) + label_reward(text, label) + unit_reward(text, units)


def group_advantages(rewards: np.ndarray) -> np.ndarray:
    """How far each answer's reward stands over its group's mean, in its group's deviations (from memory).

    Args:
        rewards: (..., G), G answers to one question, G at least 2. The published group has 8.

    Returns:
        float64 of the same shape; (r - mean) / std with the population's deviation, and 0 where all are equal.

    Raises:
        ShapeError: a group has fewer than two answers, or a reward is no number.
    """
    rewards = np.asarray(rewards, float)
    if rewards.ndim == 0 or rewards.shape[-1] < 2 or not np.isfinite(rewards).all():
        raise ShapeError(f"expected finite rewards (..., G) of at least 2 answers, got shape {rewards.shape}")
    spread = rewards.std(-1, keepdims=True)
    centred = rewards - rewards.mean(-1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(rewards), where=spread > 1e-9)
