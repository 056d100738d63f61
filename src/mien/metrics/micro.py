"""UF1 and UAR of micro-expressions, as MEGC 2019 has them: on the answers of all folds pooled, never a mean over people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.errors import ShapeError
from mien.metrics.bootstrap import Clusters, bootstrap_confusions, percentile_interval
from mien.metrics.classification import confusion, macro_f1, uar

COMPOSITE = "composite"


def uf1(counts: np.ndarray) -> float:
    """Unweighted F1 in [0, 1]: the mean over all K classes of 2TP / (2TP + FP + FN); NaN without samples.

    A class that is neither true nor predicted counts as 0. The same as `macro_f1`, under the field's name.

    Args:
        counts: (K, K) pooled over all folds, row the true class.
    """
    return macro_f1(counts)


def composite_scores(
    truth: np.ndarray, predicted: np.ndarray, parts: Sequence[str] | np.ndarray, classes: int = 3
) -> dict[str, dict[str, float]]:
    """UF1 and UAR, each in [0, 1], of all samples together and of each data set by itself.

    Args:
        truth: (N,) class indices.
        predicted: (N,) answers, each from the fold that left this person out.
        parts: (N,) data set of each sample.
        classes: K.

    Returns:
        "composite" first, then each part in sorted order -> {"uf1", "uar", "samples"}.

    Raises:
        ShapeError: lists of unequal length, or a class out of range.

    Source: See, Yap, Li, Hong, Wang, "MEGC 2019", FG 2019.
    """
    names = np.asarray(parts)
    if names.shape != np.shape(truth):
        raise ShapeError(f"expected a data set for each of {len(truth)} samples, got shape {names.shape}")
    groups = {COMPOSITE: np.ones(len(names), bool), **{str(name): names == name for name in np.unique(names)}}
    figures = {}
    for name, rows in groups.items():
        counts = confusion(np.asarray(truth)[rows], np.asarray(predicted)[rows], classes)
        figures[name] = {"uf1": uf1(counts), "uar": uar(counts), "samples": int(rows.sum())}
    return figures


def subject_intervals(
    truth: np.ndarray, predicted: np.ndarray, subjects: Clusters, classes: int = 3, resamples: int = 1000
) -> dict[str, tuple[float, float]]:
    """95 % intervals of UF1 and UAR, in [0, 1], whole people drawn with replacement.

    Args:
        truth, predicted: (N,) class indices.
        subjects: (N,) the person of each sample.
        classes: K.
        resamples: draws.
    """
    tables = bootstrap_confusions(truth, predicted, classes, resamples, clusters=subjects)
    return {
        name: percentile_interval(np.array([figure(table) for table in tables]))
        for name, figure in (("uf1", uf1), ("uar", uar))
    }
