"""Agreement of real-valued labels: valence, arousal, intensities. One list of all samples, never per window.

Compute each over all labelled frames of all clips together, as the ABAW challenges do. Sentinels such as -5
are to be taken out first.
"""

from __future__ import annotations

import numpy as np

from mien.metrics.checks import expect_pairs
from mien.metrics.ranks import average_ranks


def pcc(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Pearson's correlation cov(x, y) / (s_x s_y), in [-1, 1]; NaN where a list is constant.

    Args:
        truth: (N,).
        predicted: (N,).

    Raises:
        ShapeError: uneven or empty lists, or NaN.
    """
    x, y = (_centred(side) for side in expect_pairs(truth, predicted))
    spread = np.sqrt(x @ x) * np.sqrt(y @ y)
    return float(np.clip(x @ y / spread, -1, 1)) if spread > 0 else float("nan")


def spearman(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Spearman's rank correlation in [-1, 1], `pcc` of the ranks, ties sharing; NaN where a list is constant.

    Arguments and errors as in `pcc`.
    """
    truth, predicted = expect_pairs(truth, predicted)
    return pcc(average_ranks(truth), average_ranks(predicted))


def ccc(truth: np.ndarray, predicted: np.ndarray, sample: bool = False, epsilon: float = 0.0) -> float:
    """Concordance correlation 2 cov(x, y) / (s_x^2 + s_y^2 + (m_x - m_y)^2), in [-1, 1].

    At most |PCC|. 0 for a constant prediction of a truth that varies; NaN where nothing varies and the means
    are equal, unless `epsilon` makes that 0 too.

    Args:
        truth: (N,).
        predicted: (N,).
        sample: divide the moments by N - 1 instead of N. The challenges divide by N.
        epsilon: added to the denominator. VEATIC's training code takes sample moments and 1e-5.

    Raises:
        ShapeError: uneven or empty lists, or NaN.

    Source: Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 1989.
    """
    truth, predicted = expect_pairs(truth, predicted)
    x, y = _centred(truth), _centred(predicted)
    count = len(x) - 1 if sample else len(x)
    if not count:
        return float("nan")
    below = (x @ x + y @ y) / count + (truth.mean() - predicted.mean()) ** 2 + epsilon
    return float(2 * (x @ y) / count / below) if below > 0 else float("nan")


def rmse(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Root of the mean squared error, in [0, inf), in the unit of the labels; arguments as in `pcc`."""
    truth, predicted = expect_pairs(truth, predicted)
    return float(np.sqrt(((truth - predicted) ** 2).mean()))


def mae(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean absolute error, in [0, inf), in the unit of the labels; arguments as in `pcc`."""
    truth, predicted = expect_pairs(truth, predicted)
    return float(np.abs(truth - predicted).mean())


def sagr(truth: np.ndarray, predicted: np.ndarray, product: bool = False) -> float:
    """Sign agreement in [0, 1]: the share of samples with sign(x) = sign(y), two zeros agreeing.

    Args:
        truth: (N,).
        predicted: (N,).
        product: count x * y > 0 instead, as VEATIC's code does; a zero then never agrees.

    Raises:
        ShapeError: uneven or empty lists, or NaN.

    Source: Mollahosseini et al., "AffectNet", IEEE TAC 2019 (sign form).
    """
    truth, predicted = expect_pairs(truth, predicted)
    # Signs first: the product of two tiny numbers is 0 although they agree.
    first, second = np.sign(truth), np.sign(predicted)
    return float(((first * second > 0) if product else (first == second)).mean())


def _centred(values: np.ndarray) -> np.ndarray:
    # The mean of equal numbers may differ from them by rounding, which would pass for a spread.
    return np.zeros_like(values) if values.min() == values.max() else values - values.mean()
