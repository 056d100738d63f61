"""Intervals by resampling: samples, or whole people, clips or other clusters, drawn with replacement.

Frames of one clip and pictures of one person are alike. Where clusters are known they are what is drawn, or
the interval is too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mien.errors import OptionError, ShapeError
from mien.metrics.checks import expect_classes, expect_values

BLOCK = 2**18
"""Weights that are held at a time: 2 MiB, which stay in the processor's cache."""
UNDEFINED_AT_MOST = 0.05
"""Share of resamples that may leave a statistic undefined before its interval is."""

Clusters = Sequence[str] | Sequence[int] | np.ndarray


def resample_weights(
    count: int, resamples: int = 1000, seed: int = 0, clusters: Clusters | None = None
) -> Iterator[np.ndarray]:
    """How often each sample is drawn, whole numbers of at least 0, in blocks of resamples (R, N).

    Args:
        count: N, at least 1.
        resamples: how many draws, at least 1.
        seed: repeats the draws.
        clusters: (N,) the person or clip of each sample; drawn are as many clusters as there are.

    Raises:
        OptionError: no sample or no resample.
        ShapeError: clusters that do not fit.
    """
    if count < 1 or resamples < 1:
        raise OptionError(f"expected at least 1 sample and 1 resample, got {count} and {resamples}")
    group = np.arange(count) if clusters is None else cluster_indices(clusters, count)
    groups = int(group.max()) + 1
    random = np.random.default_rng(seed)
    block = max(1, BLOCK // count)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = random.integers(0, groups, (rows, groups)) + groups * np.arange(rows)[:, None]
        weights = np.bincount(drawn.reshape(-1), minlength=rows * groups).reshape(rows, groups)
        yield weights if clusters is None else weights[:, group]


def cluster_indices(clusters: Clusters, count: int) -> np.ndarray:
    """Cluster of each sample (N,) as whole numbers from 0, in sorted order of their names.

    Raises:
        ShapeError: not one name for each sample, or a name that is missing (`None`, NaN, an empty text).
    """
    names = np.asarray(clusters)
    if names.shape != (count,):
        raise ShapeError(f"expected one cluster for each of {count} samples, got shape {names.shape}")
    missing = [name is None or name != name or name == "" for name in names.tolist()]
    if not any(missing) and names.dtype.kind == "O" and all(isinstance(name, str) for name in names):
        names = names.astype(str)
    if any(missing) or names.dtype.kind == "O":
        raise ShapeError(
            f"expected a name or number of every sample's cluster, got {sum(missing)} that are missing. "
            "Give a sample without one a name of its own."
        )
    return np.unique(names, return_inverse=True)[1].reshape(-1)


def percentile_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Lowest and highest of the middle `level` of resampled values, in the range of the statistic.

    Args:
        values: (R,) a statistic of R resamples; NaN where it was undefined. Such resamples are left out, and
            where they are more than one in twenty the interval is NaN.
        level: in (0, 1).

    Raises:
        OptionError: a level outside.
    """
    if not 0 < level < 1:
        raise OptionError(f"expected a level between 0 and 1, got {level}")
    values = np.asarray(values, float)
    defined = values[~np.isnan(values)]
    if not defined.size or len(defined) < (1 - UNDEFINED_AT_MOST) * len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float],
    count: int,
    resamples: int = 1000,
    seed: int = 0,
    clusters: Clusters | None = None,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of any statistic, in its own range; NaN with fewer than two samples or clusters.

    Args:
        statistic: takes sample indices (M,), some of them several times, and gives a number. M is `count`,
            except with clusters of unequal size.
        count: samples there are.
        resamples: how many draws with replacement.
        seed: repeats the draws.
        clusters: (count,) the person or clip of each sample; whole clusters are drawn.
        level: share of the resamples that lie inside.

    Raises:
        OptionError, ShapeError: see `resample_weights` and `percentile_interval`.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    if _units(count, clusters) < 2:
        return float("nan"), float("nan")
    values = [
        statistic(np.repeat(np.arange(count), weights))
        for block in resample_weights(count, resamples, seed, clusters)
        for weights in block
    ]
    return percentile_interval(np.array(values), level)


def bootstrap_mean(
    values: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
    clusters: Clusters | None = None,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a mean, in the range of the values, from the draws of `bootstrap_interval`, faster.

    With clusters, the mean over all samples drawn, so that a person counts by the number of samples.

    Args:
        values: (N,) finite; 0 and 1 for a share.
        resamples, seed, clusters, level: as in `bootstrap_interval`.
    """
    values = expect_values(values, "values")
    if _units(len(values), clusters) < 2:
        return float("nan"), float("nan")
    means = [
        weights @ values / weights.sum(1)
        for weights in resample_weights(len(values), resamples, seed, clusters)
    ]
    return percentile_interval(np.concatenate(means), level)


def bootstrap_confusions(
    truth: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    resamples: int = 1000,
    seed: int = 0,
    clusters: Clusters | None = None,
) -> np.ndarray:
    """Confusion tables (R, K, K) of counts of at least 0, one a resample, from the draws of `bootstrap_interval`.

    Every figure of `mien.metrics.classification` can be taken of each, and `percentile_interval` of those.

    Args:
        truth: (N,) class indices, N at least 1.
        predicted: (N,) class indices.
        classes: K.
        resamples, seed, clusters: as in `bootstrap_interval`.
    """
    truth, predicted = (expect_classes(side, classes) for side in (truth, predicted))
    if truth.shape != predicted.shape:
        raise ShapeError(f"expected two equally long lists, got {truth.shape} and {predicted.shape}")
    cell = truth * classes + predicted
    order = np.argsort(cell, kind="stable")
    filled, first = np.unique(cell[order], return_index=True)
    tables = np.zeros((resamples, classes**2), np.int64)
    done = 0
    for weights in resample_weights(len(truth), resamples, seed, clusters):
        tables[done : done + len(weights), filled] = np.add.reduceat(weights[:, order], first, axis=1)
        done += len(weights)
    return tables.reshape(resamples, classes, classes)


def _units(count: int, clusters: Clusters | None) -> int:
    """What there is to draw from."""
    return count if clusters is None else len(np.unique(cluster_indices(clusters, count)))
