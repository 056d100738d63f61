"""A small model of our own for flow pictures: kernel ridge on smoothed motion, blind to which side of the face moves.

Not published. Deterministic: no seed. It takes seconds to learn from some hundred clips, on one core.

1. `levelled`: in each picture, u and v are taken from their median, which stands for no motion (the pictures are stretched
   to 0..255 each by itself, so that 0 is lost), and every channel is divided by its deviation.
2. Features (`FEATURES`): the levelled picture smoothed by a Gaussian; or the slopes of u and v, which tell stretching and
   turning apart and do not see a shift of the head.
3. Kernel of two clips: exp(-|a - b|^2 / (width m)), m the median of the training pairs' squares, averaged over b and its
   mirror (sides turned, u negated).
4. Ridge regression onto the classes in that kernel, clips weighted by the class's number to the power -balance.

Which kernel, ridge and balance is chosen on the training people alone, each left out in turn (closed form), by UF1 + UAR.
The list to choose from was made by looking at all people of `htnet_micro`: see docs/micro.md.

Needs: uint8 (N, S, S, 3), u, v, strain. Gives: scores (N, K); the largest names the class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from mien.errors import DataError, ShapeError
from mien.metrics.classification import confusion, uar
from mien.metrics.micro import uf1

CONSTANT = 1.0
"""Added to every kernel, so that the scores have a free level."""
RIDGES = (0.1, 0.3, 1.0, 3.0)
BALANCES = (0.7, 1.0)
KERNELS: Mapping[str, tuple[tuple[str, float], ...]] = {
    "smooth": (("smooth", 3.0),),
    "slopes": (("slopes", 1.0), ("slopes", 3.0)),
    "both": (("smooth", 3.0), ("slopes", 3.0)),
}
"""Name of a kernel -> features and widths whose kernels are averaged."""


@dataclass(frozen=True, order=True)
class Choice:
    """What is chosen on the training people: a kernel of `KERNELS`, ridge over 0, balance from 0 to 1."""

    kernel: str
    ridge: float
    balance: float


CHOICES = tuple(Choice(*one) for one in product(KERNELS, RIDGES, BALANCES))


def mirrored(maps: np.ndarray) -> np.ndarray:
    """Flow pictures with sides turned: (N, S, S, 3), u becomes 255 - u."""
    turned = np.array(maps[:, :, ::-1])
    turned[..., 0] = 255 - turned[..., 0]
    return turned


def levelled(maps: np.ndarray) -> np.ndarray:
    """Motion from its median, each channel of deviation 1 in each picture; float32, shape kept. Strain keeps its 0."""
    if maps.ndim != 4 or maps.shape[3] != 3:
        raise ShapeError(f"expected flow pictures (N, S, S, 3), got {maps.shape}")
    motion = maps.astype(np.float32)
    motion[..., :2] -= np.median(motion[..., :2], (1, 2), keepdims=True)
    return motion / (motion.std((1, 2), keepdims=True) + 1e-6)


def smoothed(motion: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian of that many pixels at a side of 28, over (N, S, S, C); weights end at the border. Float64: where nothing
    moves, `slopes` would blow the rounding of float32 up to a fifth of a deviation, another one on each processor.
    """
    side = motion.shape[1]
    apart = np.arange(side)[:, None] - np.arange(side)
    weights = np.exp(-0.5 * (apart / (sigma * side / 28)) ** 2)
    weights /= weights.sum(1, keepdims=True)
    return np.einsum("ih,nhwc,jw->nijc", weights, motion, weights, optimize=True)


def slopes(motion: np.ndarray, sigma: float) -> np.ndarray:
    """u_x, u_y, v_x and v_y of smoothed motion, each of deviation 1 in each picture: (N, S, S, 4)."""
    u, v = np.moveaxis(smoothed(motion, sigma)[..., :2], -1, 0)
    steep = np.stack([np.gradient(one, axis=axis) for one in (u, v) for axis in (2, 1)], -1)
    return steep / (steep.std((1, 2), keepdims=True) + 1e-6)


FEATURES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "smooth": lambda motion: smoothed(motion, 2.0),
    "slopes": lambda motion: slopes(motion, 2.5),
}
"""Name -> features (N, ...) of levelled motion."""


def squares(first: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    """|a - b|^2 of each feature for all pairs, b as it is and mirrored: (2, A, B).

    Args:
        first, second: flow pictures uint8 (A, S, S, 3) and (B, S, S, 3).
    """
    motions = [levelled(one) for one in (first, second, mirrored(second))]
    found = {}
    for name, make in FEATURES.items():
        a, *others = (make(motion).reshape(len(motion), -1).astype(np.float64) for motion in motions)
        size = (a**2).sum(1)[:, None]
        found[name] = np.stack([np.maximum(size + (b**2).sum(1) - 2 * a @ b.T, 0) for b in others])
    return found


def median_squares(apart: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The median of each feature's squares, not mirrored, of training pairs."""
    return {name: float(np.median(values[0])) for name, values in apart.items()}


def kernel(apart: Mapping[str, np.ndarray], name: str, medians: Mapping[str, float]) -> np.ndarray:
    """One of `KERNELS`, (A, B), in (0, 1]."""
    parts = [np.exp(-apart[feature] / (width * medians[feature])).mean(0) for feature, width in KERNELS[name]]
    return np.mean(parts, 0)


def class_weights(labels: np.ndarray, classes: int, balance: float) -> np.ndarray:
    """(N,) weights n_k^-balance of each one's class, mean 1."""
    weights = np.maximum(np.bincount(labels, minlength=classes), 1.0)[labels] ** -balance
    return weights / weights.mean()


def left_out_scores(
    values: np.ndarray, labels: np.ndarray, people: np.ndarray, classes: int, ridge: float, balance: float
) -> np.ndarray:
    """Scores (N, K) of each clip by a fit without its person, from one inverse for all people.

    With G the inverse of kernel + ridge / weights and a = G t, the residual of the left-out rows g is (G_gg)^-1 a_g. The
    class weights are those of all N clips.

    Args:
        values: kernel (N, N). labels: (N,). people: (N,) names.
    """
    targets = np.eye(classes)[labels]
    inverse = _inverse(values, labels, classes, ridge, balance)
    answers, scores = inverse @ (targets - 1 / classes), np.empty(targets.shape)
    for person in np.unique(people):
        rows = np.flatnonzero(people == person)
        scores[rows] = targets[rows] - np.linalg.solve(inverse[np.ix_(rows, rows)], answers[rows])
    return scores


def _inverse(
    values: np.ndarray, labels: np.ndarray, classes: int, ridge: float, balance: float
) -> np.ndarray:
    """Of the kernel, scaled to a variance of 1, + a constant + ridge / weights: (N, N)."""
    loading = np.diag(ridge / class_weights(labels, classes, balance))
    return np.linalg.inv(values / _spread(values) + CONSTANT + loading)


def _spread(values: np.ndarray) -> float:
    """Variance of the clips in the space of a kernel (N, N): mean of its diagonal less the mean of all."""
    return float(np.diag(values).mean() - values.mean())


@dataclass(frozen=True, eq=False)
class FlowKernel:
    """A fitted model.

    Attributes:
        choice: what the training people chose.
        tried: choice -> UF1 + UAR on left-out training people.
        medians: of each feature. spread: variance in the kernel.
        answers: (N, K) weights of the training clips. classes: K.
    """

    choice: Choice
    tried: Mapping[Choice, float]
    medians: Mapping[str, float]
    spread: float
    answers: np.ndarray
    classes: int

    def scores(self, apart: Mapping[str, np.ndarray]) -> np.ndarray:
        """(A, K) for clips whose `squares` to the training clips are (2, A, N)."""
        values = kernel(apart, self.choice.kernel, self.medians) / self.spread + CONSTANT
        return values @ self.answers + 1 / self.classes


def fit(
    apart: Mapping[str, np.ndarray],
    labels: np.ndarray,
    people: Sequence[str] | np.ndarray,
    classes: int,
    choices: Sequence[Choice] = CHOICES,
) -> FlowKernel:
    """Choose on left-out training people, then learn from all of them.

    Args:
        apart: `squares(maps, maps)` of the training clips, (2, N, N) each.
        labels: (N,) class indices.
        people: (N,) names.
        classes: K.
        choices: what may be chosen; one alone is taken as it is.

    Raises:
        DataError: fewer than two people to choose on.
    """
    labels, names = np.asarray(labels), np.asarray(people)
    medians = median_squares(apart)
    tried: dict[Choice, float] = {}
    if len(choices) > 1:
        if len(np.unique(names)) < 2:
            raise DataError("expected clips of at least two people to choose a kernel on, got one person's")
        for name in dict.fromkeys(one.kernel for one in choices):
            values = kernel(apart, name, medians)
            for one in (choice for choice in choices if choice.kernel == name):
                scores = left_out_scores(values, labels, names, classes, one.ridge, one.balance)
                counts = confusion(labels, scores.argmax(1), classes)
                tried[one] = uf1(counts) + uar(counts)
    best = max(tried, key=lambda one: tried[one]) if tried else choices[0]
    values = kernel(apart, best.kernel, medians)
    answers = _inverse(values, labels, classes, best.ridge, best.balance) @ (
        np.eye(classes)[labels] - 1 / classes
    )
    return FlowKernel(best, tried, medians, _spread(values), answers, classes)
