"""SciPy's ranks, which scikit-learn brings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mien.errors import ShapeError
from mien.metrics.ranks import average_ranks, shared_over_ties

relaxed = settings(deadline=None, max_examples=50)
"""The machine may be busy, and the references take their time."""


@relaxed
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_ranks_against_scipy(values: list[int]) -> None:
    assert average_ranks(np.array(values)) == pytest.approx(stats.rankdata(values))


def test_ties_share_their_values() -> None:
    assert shared_over_ties(np.array([1, 2, 1, 3]), np.array([0, 5, 1, 7])).tolist() == [0.5, 5, 0.5, 7]
    with pytest.raises(ShapeError, match="equally long"):
        shared_over_ties(np.ones(2), np.ones(3))
    with pytest.raises(ShapeError, match="finite values"):
        average_ranks(np.array([np.nan]))
