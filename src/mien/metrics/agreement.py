"""Agreement of raters, or of truth and prediction taken as two raters."""

from __future__ import annotations

import numpy as np

from mien.errors import OptionError, ShapeError
from mien.metrics.checks import expect_counts
from mien.metrics.ranks import average_ranks


def icc_1_1(ratings: np.ndarray) -> float:
    """ICC(1,1), one-way random: (MSR - MSW) / (MSR + (k-1) MSW), in [-1/(k-1), 1]; NaN if nothing varies.

    Args:
        ratings: (N, k), N targets (frames) by k raters, such as truth and prediction side by side.

    Raises:
        ShapeError: fewer than 2 targets or raters, or NaN.

    Source: Shrout and Fleiss, "Intraclass correlations", Psychological Bulletin 1979, case 1.
    """
    between, columns, error, count, raters = _mean_squares(ratings)
    # What varies within a target: its raters' means and the residual, by their degrees of freedom.
    within = (columns + (count - 1) * error) / count
    return _quotient(between - within, between + (raters - 1) * within)


def icc_2_1(ratings: np.ndarray) -> float:
    """ICC(2,1), two-way random, agreement: at most 1, from -1/(k-1-k/N); NaN where it is 0 / 0.

    (MSR - MSE) / (MSR + (k-1) MSE + k (MSC - MSE) / N). Arguments, errors and source as in `icc_1_1`, case 2.
    """
    between, columns, error, count, raters = _mean_squares(ratings)
    below = between + (raters - 1) * error + raters * (columns - error) / count
    return _quotient(between - error, below)


def icc_3_1(ratings: np.ndarray) -> float:
    """ICC(3,1), two-way mixed, consistency: (MSR - MSE) / (MSR + (k-1) MSE), in [-1/(k-1), 1]; NaN for 0 / 0.

    A constant offset between raters does not lower it. The usual figure for action-unit intensity.
    Arguments, errors and source as in `icc_1_1`, case 3.
    """
    between, _, error, _, raters = _mean_squares(ratings)
    return _quotient(between - error, between + (raters - 1) * error)


def cohen_kappa(counts: np.ndarray, weights: str = "none") -> float:
    """Cohen's kappa in [-1, 1]: 1 - sum w O / sum w E; NaN where no disagreement could be expected.

    O is the table, E the one of two independent raters with the same margins. With weights "none" (w = 1 off
    the diagonal) this is (p_o - p_e) / (1 - p_e).

    Args:
        counts: (K, K), one rater down, the other across; see `mien.metrics.classification.confusion`.
        weights: "none"; "linear", |i - j|; or "quadratic", (i - j)^2, for classes with an order.

    Raises:
        OptionError: other weights.
        ShapeError: no square table of counts.

    Source: Cohen, "A coefficient of agreement for nominal scales", 1960; "Weighted kappa", 1968.
    """
    counts = expect_counts(counts).astype(float)
    apart = np.abs(np.subtract.outer(np.arange(len(counts)), np.arange(len(counts)))).astype(float)
    known = {"none": (apart > 0).astype(float), "linear": apart, "quadratic": apart**2}
    if weights not in known:
        raise OptionError(f"expected weights {', '.join(known)}, got {weights!r}")
    total = counts.sum()
    if not total:
        return float("nan")
    expected = np.outer(counts.sum(1), counts.sum(0)) / total
    below = (known[weights] * expected).sum()
    return float(1 - (known[weights] * counts).sum() / below) if below > 0 else float("nan")


def krippendorff_alpha(ratings: np.ndarray, level: str = "nominal") -> float:
    """Krippendorff's alpha, at most 1: 1 - D_o / D_e; 0 is chance; NaN where all ratings are equal or none pair.

    Args:
        ratings: (N, k), N units by k raters; NaN is a missing rating. Units with fewer than two do not count.
        level: "nominal"; "ordinal" (distances by ranks); "interval" (squared difference).

    Raises:
        OptionError: another level.
        ShapeError: not a table, or infinite.

    Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011.
    """
    ratings = np.asarray(ratings, float)
    if ratings.ndim != 2 or np.isinf(ratings).any():
        raise ShapeError(
            f"expected a table of units by raters, finite or NaN, got shape {ratings.shape}. "
            "Write a missing rating as NaN."
        )
    ratings = ratings[(~np.isnan(ratings)).sum(1) >= 2]
    if not ratings.size:
        return float("nan")
    there = ~np.isnan(ratings)
    values, index = np.unique(ratings[there], return_inverse=True)
    held = np.zeros((len(ratings), len(values)))
    np.add.at(held, (np.nonzero(there)[0], index.reshape(-1)), 1)
    raters = held.sum(1)
    pairs = (held / (raters - 1)[:, None]).T @ held - np.diag(held.T @ (1 / (raters - 1)))
    margin = held.sum(0)
    apart = _distances(values, ratings[there], level)
    expected = (np.outer(margin, margin) * apart).sum() / (margin.sum() - 1)
    return float(1 - (pairs * apart).sum() / expected) if expected > 0 else float("nan")


def _distances(values: np.ndarray, all_ratings: np.ndarray, level: str) -> np.ndarray:
    """Squared distances (V, V) of the values that occur."""
    if level == "nominal":
        return 1 - np.eye(len(values))
    if level == "interval":
        return np.subtract.outer(values, values) ** 2
    if level == "ordinal":
        # Two values are as far apart as their average ranks among all ratings that count.
        ranks = average_ranks(all_ratings)
        of_value = np.array([ranks[all_ratings == value][0] for value in values])
        return np.subtract.outer(of_value, of_value) ** 2
    raise OptionError(f"expected level nominal, ordinal or interval, got {level!r}")


def _mean_squares(ratings: np.ndarray) -> tuple[float, float, float, int, int]:
    """MSR between targets, MSC between raters, MSE of the residual, N and k of a two-way table."""
    ratings = np.asarray(ratings, float)
    if ratings.ndim != 2 or min(ratings.shape) < 2 or not np.isfinite(ratings).all():
        raise ShapeError(
            f"expected finite ratings of at least 2 targets by at least 2 raters, got shape {ratings.shape}. "
            "Put truth and prediction side by side, and take out frames without a label."
        )
    count, raters = ratings.shape
    # Without the common part, equal ratings are exactly 0 and rounding stays small beside what varies.
    table = ratings - ratings[0, 0]
    rows, columns = table.mean(1, keepdims=True), table.mean(0, keepdims=True)
    least = (1e-12 * np.abs(table).max()) ** 2
    squares = (
        raters * ((rows - table.mean()) ** 2).sum() / (count - 1),
        count * ((columns - table.mean()) ** 2).sum() / (raters - 1),
        ((table - rows - columns + table.mean()) ** 2).sum() / ((count - 1) * (raters - 1)),
    )
    between, between_raters, error = (float(square) if square > least else 0.0 for square in squares)
    return between, between_raters, error, count, raters


def _quotient(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")
