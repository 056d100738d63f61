"""HSEmotion at the 6th ABAW competition: from frames to clips, with frozen face networks.

Paper: Andrey V. Savchenko, "HSEmotion Team at the 6th ABAW Competition: Facial Expressions, Valence-Arousal and
Emotion Intensity Prediction", CVPR Workshops 2024, arXiv 2403.11590. Official code:
github.com/av-savchenko/face-emotion-recognition, folder src/ABAW/ABAW6, Apache-2.0.

The networks of `hsemotion.py` and `ddamfn.py` stay as they are; what is learned are tiny heads on their
features or scores, and what helps most is a mean over neighbouring frames. This file registers no method: its
parts take features (N, D) or probabilities (T, K) in the order of `HSEMOTION_LABELS`, not faces.

Differs from the paper: gaps are filled with the weights the right way round (one cell of the notebook has them
swapped, a later cell does not). Not here: the sound branch (wav2vec 2.0) and late fusion, the head for emotion
intensity on statistics of a clip, thresholds tuned for each action unit, the L2 of the valence head.

Needs: features or probabilities of a clip's frames. Gives: scores of frames, in ABAW's orders.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from mien.errors import LabelError, ShapeError
from mien.labels.expressions import COMPOUND_PARTS

ABAW_ORDER = ("neutral", "angry", "disgust", "fear", "happy", "sad", "surprise", "other")
"""The expressions of Aff-Wild2 as the competition numbers them, in mien's names."""

TO_ABAW = (5, 0, 2, 3, 4, 6, 7, 1)
"""`probabilities[:, TO_ABAW]` are in ABAW's order; contempt goes to the place of "other"."""

COMPOUND = {
    name: COMPOUND_PARTS[name]
    for name in (
        "fearfully_surprised", "happily_surprised", "sadly_surprised", "disgustedly_surprised", "angrily_surprised",
        "sadly_fearful", "sadly_angry",
    )
}  # fmt: skip
"""Compound expressions of the competition in its order, each with its two basic ones."""


def expression_head(features: int, classes: int = 8) -> nn.Sequential:
    """Logits of each frame: (N, D) -> (N, K), one hidden layer of 128. Learned with class weights."""
    return nn.Sequential(nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, classes))


def affect_head(features: int = 10) -> nn.Sequential:
    """Valence and arousal in (-1, 1): (N, D) -> (N, 2); D = 10 for scores. Learned by `affect_loss`."""
    return nn.Sequential(nn.Linear(features, 2), nn.Tanh())


def action_unit_head(features: int, units: int = 12) -> nn.Sequential:
    """Logits of each unit: (N, D) -> (N, units), one hidden layer of 128. Learned by weighted binary losses."""
    return nn.Sequential(nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, units))


def class_weights(counts: np.ndarray) -> np.ndarray:
    """Weights 1 / n_c scaled so that the most frequent class has 1; `ShapeError` where a class has none.

    Args:
        counts: (K,) samples of each class.
    """
    counts = np.asarray(counts, float)
    if counts.ndim != 1 or not len(counts) or counts.min() <= 0:
        raise ShapeError(f"expected a positive number of samples of each class, got {counts}")
    return counts.max() / counts


def fill_frames(values: np.ndarray) -> np.ndarray:
    """Fill frames without a face on the straight line between their neighbours; ends repeat.

    Args:
        values: (T, K), rows of NaN where nothing is known; at least one row is known (`ShapeError`).
    """
    values = np.asarray(values, float)
    if values.ndim != 2 or not (known := ~np.isnan(values).any(1)).any():
        raise ShapeError(f"expected scores (T, K) with at least one known frame, got {values.shape}")
    frames = np.arange(len(values))
    return np.stack([np.interp(frames, frames[known], column[known]) for column in values.T], 1)


def smooth_frames(values: np.ndarray, delta: int) -> np.ndarray:
    """Mean over the frames from t - delta to t + delta that exist: (T, K) -> (T, K); 0 changes nothing.

    Args:
        values: (T, K) of one clip's frames, all known (`fill_frames`).
        delta: half the width of the window, in frames.
    """
    values = np.asarray(values, float)
    if values.ndim != 2 or delta < 0:
        raise ShapeError(f"expected scores (T, K) and delta of at least 0, got {values.shape} and {delta}")
    if delta == 0:
        return values
    summed = np.concatenate([np.zeros((1, values.shape[1])), values.cumsum(0)])
    frames = np.arange(len(values))
    first, last = np.maximum(frames - delta, 0), np.minimum(frames + delta + 1, len(values))
    return (summed[last] - summed[first]) / (last - first)[:, None]


def compound_scores(probabilities: np.ndarray, labels: tuple[str, ...]) -> np.ndarray:
    """Score of each compound expression: the mean of its two basic probabilities.

    Args:
        probabilities: (..., K).
        labels: the K classes in mien's names.

    Returns:
        (..., 7) in the order of `COMPOUND`. Where a frame has several faces, take the largest over them.

    Raises:
        LabelError: a basic expression of theirs is not among the classes.
    """
    lacking = sorted({name for pair in COMPOUND.values() for name in pair} - set(labels))
    if lacking:
        raise LabelError(
            f"expected classes with {', '.join(lacking)}, got {', '.join(labels)}. Give mien's names."
        )
    pairs = [[labels.index(name) for name in pair] for pair in COMPOUND.values()]
    return np.asarray(probabilities)[..., pairs].mean(-1)
