from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from mien.errors import ShapeError
from mien.metrics.assignment import assignment


def test_a_table_solved_by_hand() -> None:
    # Greedy takes (0, 0) at 1 and pays 9 for (1, 1); together 2 + 3 is cheapest.
    assert assignment(np.array([[1.0, 2.0], [3.0, 9.0]]), 100.0) == [(0, 1), (1, 0)]


def test_a_pair_at_the_limit_is_not_made() -> None:
    assert assignment(np.array([[0.5]]), 0.5) == []
    assert assignment(np.array([[0.4]]), 0.5) == [(0, 0)]


def test_one_good_pair_is_better_than_two_bad_ones() -> None:
    """Two pairs at 0.9 cost 1.8; one at 0.1 and two left alone (one pair unmade, 1.0) cost 1.1."""
    assert assignment(np.array([[0.1, 0.9], [0.9, np.inf]]), 1.0) == [(0, 0)]


def best_by_trying(cost: np.ndarray, limit: float) -> float:
    clipped = np.minimum(cost, limit)
    if len(clipped) > clipped.shape[1]:
        clipped = clipped.T
    rows, columns = clipped.shape
    return min(
        sum(clipped[row, column] for row, column in enumerate(order))
        for order in permutations(range(columns), rows)
    )


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (5, 5), (2, 6), (6, 2), (4, 5)])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_best_of_all_orders(shape: tuple[int, int], seed: int) -> None:
    random = np.random.default_rng(seed)
    cost = random.integers(-4, 9, shape).astype(float)
    cost[random.random(shape) < 0.2] = np.inf
    pairs = assignment(cost, 6.0)
    total = sum(cost[pair] for pair in pairs) + 6.0 * (min(shape) - len(pairs))
    assert total == pytest.approx(best_by_trying(cost, 6.0))
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)


def test_nothing_to_assign() -> None:
    assert assignment(np.zeros((0, 3)), 1.0) == assignment(np.zeros((3, 0)), 1.0) == []


@pytest.mark.parametrize("cost", [np.zeros(3), np.array([[np.nan]])])
def test_what_is_no_table_is_refused(cost: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"expected a table \(N, M\)"):
        assignment(cost, 1.0)
