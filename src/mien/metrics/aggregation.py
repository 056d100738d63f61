"""One figure from several folds: the mean of folds, or all folds pooled. They differ; a report says which."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mien.errors import ShapeError

Fold = Sequence[np.ndarray]
"""What one fold gives the statistic: arrays with the samples along their first axis, (truth, predicted)."""


def fold_values(statistic: Callable[..., float], folds: Sequence[Fold]) -> np.ndarray:
    """The statistic of each fold (F,), in its own range, NaN where it is undefined.

    Args:
        statistic: takes the arrays of a fold.
        folds: at least one; each with the same number of arrays.

    Raises:
        ShapeError: no fold, or folds that do not fit.
    """
    return np.array([statistic(*fold) for fold in _checked(folds)], float)


def mean_of_folds(statistic: Callable[..., float], folds: Sequence[Fold]) -> float:
    """Unweighted mean of the folds' figures, in the range of the statistic; NaN where one is undefined.

    The usual figure of five-fold video sets (DFEW, MAFW). Arguments and errors as in `fold_values`.
    """
    return float(fold_values(statistic, folds).mean())


def pooled(statistic: Callable[..., float], folds: Sequence[Fold]) -> float:
    """The figure, in the range of the statistic, of the samples of all folds together.

    What leave-one-subject-out asks for (UF1, UAR), because most people lack some class. Arguments and errors
    as in `fold_values`.
    """
    return float(statistic(*(np.concatenate(column) for column in zip(*_checked(folds), strict=True))))


def _checked(folds: Sequence[Fold]) -> list[list[np.ndarray]]:
    arrays = [[np.asarray(column) for column in fold] for fold in folds]
    if not arrays or not arrays[0] or len({len(fold) for fold in arrays}) != 1:
        raise ShapeError(
            "expected at least one fold, each with the same number of arrays (truth, predicted), got "
            f"{[len(fold) for fold in arrays]}"
        )
    for number, fold in enumerate(arrays):
        if len({column.shape[:1] for column in fold}) != 1 or not fold[0].ndim:
            raise ShapeError(
                f"expected equally long arrays in fold {number}, got {[column.shape for column in fold]}"
            )
    return arrays
