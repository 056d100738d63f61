"""Ranks in which ties share, so that no figure depends on the order in which equal samples came."""

from __future__ import annotations

import numpy as np

from mien.errors import ShapeError
from mien.metrics.checks import expect_values


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks (N,) from 1, smallest first, in [1, N]; equal values share the mean of their ranks."""
    values = expect_values(values, "values")
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(size)
    return (last - (size - 1) / 2)[group.reshape(-1)]


def shared_over_ties(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (N,) with the mean of its group in place of each value whose key is tied; range that of `values`.

    This is what a random order of the tied samples gives on average.
    """
    keys, values = expect_values(keys, "keys"), expect_values(values, "values")
    if keys.shape != values.shape:
        raise ShapeError(f"expected two equally long lists, got {keys.shape} and {values.shape}")
    _, group, size = np.unique(keys, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    return (np.bincount(group, values) / size)[group]
