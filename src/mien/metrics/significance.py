"""Whether two systems, measured on the same samples or people, differ by more than chance."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mien.errors import ShapeError
from mien.metrics.checks import expect_flags, expect_pairs, expect_values
from mien.metrics.ranks import average_ranks

EXACT_WILCOXON = 200
"""Pairs up to which the signed-rank distribution is counted out."""


class McNemar(NamedTuple):
    """Result of `mcnemar_exact`: samples that only one system got right, and the p-value in (0, 1]."""

    only_first: int
    only_second: int
    p_value: float


class Wilcoxon(NamedTuple):
    """Result of `wilcoxon_signed_rank`: both rank sums, pairs that differ, and the p-value in (0, 1]."""

    positive: float
    negative: float
    pairs: int
    p_value: float


def mcnemar_exact(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Exact McNemar test of two accuracies on the same samples: a two-sided p-value in (0, 1].

    With b and c samples that only the first or only the second got right: p = min(1, 2 P(X <= min(b, c))),
    X ~ Binomial(b + c, 1/2). 1 where they never differ. Samples must be independent: with several frames of
    a person, compare people (`wilcoxon_signed_rank`).

    Args:
        first: (N,) whether the first system was right.
        second: (N,) whether the second was.

    Raises:
        ShapeError: uneven or empty lists, or values that are not 0 or 1.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions", 1947.
    """
    first, second = (expect_flags(side, "right or wrong") for side in expect_pairs(first, second))
    only_first = int((first > second).sum())
    only_second = int((second > first).sum())
    differing = only_first + only_second
    term = total = 1
    for successes in range(min(only_first, only_second)):
        term = term * (differing - successes) // (successes + 1)
        total += term
    # Whole numbers all the way: their quotient is rounded once, however many samples there are.
    return McNemar(only_first, only_second, max(min(1.0, 2 * total / 2**differing), math.ulp(0.0)))


def wilcoxon_signed_rank(first: np.ndarray, second: np.ndarray) -> Wilcoxon:
    """Wilcoxon's signed-rank test of paired scores, such as one a person: a two-sided p-value in (0, 1].

    Equal pairs are left out, ties share ranks. Counted out up to 200 pairs, ties included; beyond, the normal
    approximation with correction for ties and without one for continuity. 1 where no pair differs.

    Args:
        first: (N,) scores of the first system.
        second: (N,) scores of the second, in the same order of people.

    Raises:
        ShapeError: uneven or empty lists, or NaN.

    Source: Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1945.
    """
    first, second = expect_pairs(first, second)
    apart = (first - second)[first != second]
    if not apart.size:
        return Wilcoxon(0.0, 0.0, 0, 1.0)
    ranks = average_ranks(np.abs(apart))
    positive, negative = float(ranks[apart > 0].sum()), float(ranks[apart < 0].sum())
    least = min(positive, negative)
    probability = _exact(ranks, least) if len(apart) <= EXACT_WILCOXON else _normal(ranks, least)
    return Wilcoxon(positive, negative, len(apart), max(min(1.0, probability), math.ulp(0.0)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values (M,) in [0, 1], adjusted for M comparisons: under a level, they keep the chance of any false finding under it.

    The k-th smallest is multiplied by M - k + 1, and is at least as large as the one before it.

    Args:
        p_values: (M,) each in [0, 1].

    Raises:
        ShapeError: an empty list, or values that are no probabilities.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.
    """
    p_values = expect_values(p_values, "p-values")
    if not (p_values.min() >= 0 and p_values.max() <= 1):
        raise ShapeError(f"expected p-values in [0, 1], got {p_values.min():g} to {p_values.max():g}")
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _exact(ranks: np.ndarray, least: float) -> float:
    """2 P(rank sum <= least) when each sign is a fair coin; doubled ranks are whole numbers despite ties."""
    doubled = np.rint(2 * ranks).astype(int)
    share = np.zeros(int(doubled.sum()) + 1)
    share[0] = 1.0
    for rank in doubled:
        share[rank:] = (share[rank:] + share[: len(share) - rank]) / 2
        share[:rank] /= 2
    return float(2 * share[: round(2 * least) + 1].sum())


def _normal(ranks: np.ndarray, least: float) -> float:
    distance = ranks.sum() / 2 - least
    return math.erfc(distance / math.sqrt(float((ranks**2).sum()) / 4) / math.sqrt(2))
