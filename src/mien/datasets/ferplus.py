"""FER2013 pictures with FER+ votes: 48 x 48 grey, ten annotators, official splits.

Sources: Goodfellow et al., "Challenges in Representation Learning", 2013 (pictures; no licence stated);
Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label
Distribution", ICMI 2016 (votes, MIT, microsoft/FERPlus).

Layout read here: `train.npz`, `public_test.npz`, `private_test.npz`, each with `images` (N, 48, 48) uint8
and `ferplus_votes` (N, 10) in the order of `FERPLUS_VOTES` (a row of -1 where FER+ has no row), and
`dup_of_train_<split>.npy`, the indices of pictures that are pixel-identical to a training picture.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.errors import DataNotFoundError, UnknownNameError
from mien.labels.expressions import EXPRESSIONS

SPLITS = ("train", "public_test", "private_test")
MAJORITY_COUNTS = {"train": 25059, "public_test": 3199, "private_test": 3153}
"""Pictures that the majority rule keeps in each split, eight classes."""


@dataclass(frozen=True, eq=False)
class FerPlusSplit:
    """One split of FER+.

    Attributes:
        images: uint8 (N, 48, 48) grey.
        soft: float32 (N, 8) vote shares in mien's order, single votes and unknown/NF removed; a row of
            zeros where most of what is left is unknown or NF.
        majority: int (N,) class by the majority rule, -1 where the picture is not kept.
        duplicate_of_train: bool (N,), pixel-identical to a training picture.
        sha256: hash of the split's file.
    """

    images: np.ndarray
    soft: np.ndarray
    majority: np.ndarray
    duplicate_of_train: np.ndarray
    sha256: str


def load(root: str | Path, split: str) -> FerPlusSplit:
    """Read one split.

    Raises:
        UnknownNameError: no such split.
        DataNotFoundError: the file is not under `root`.
    """
    if split not in SPLITS:
        raise UnknownNameError("FER+ split", split, SPLITS)
    path = Path(root) / f"{split}.npz"
    if not path.is_file():
        raise DataNotFoundError(
            f"FER+ {split} not found: looked for {path}. Expected train.npz, public_test.npz and "
            "private_test.npz (images, ferplus_votes). Pictures: Kaggle, 'challenges in representation "
            "learning'; votes: microsoft/FERPlus."
        )
    with np.load(path) as stored:
        images, votes = stored["images"], stored["ferplus_votes"]
    duplicate = np.zeros(len(images), bool)
    duplicates_path = path.with_name(f"dup_of_train_{split}.npy")
    if duplicates_path.is_file():
        duplicate[np.load(duplicates_path)] = True
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return FerPlusSplit(images, soft_labels(votes), majority_labels(votes), duplicate, digest)


def _without_single_votes(votes: np.ndarray) -> np.ndarray:
    """Votes with counts of one set to zero, as FER+'s outlier rule says; rows of -1 become zeros."""
    votes = np.asarray(votes)
    return np.where(votes > 1, votes, 0)


def soft_labels(votes: np.ndarray) -> np.ndarray:
    """Vote shares over mien's eight classes, float32 (N, 8).

    A row is zero where the eight classes hold no more than half of the votes that remain (the rest
    being unknown and NF), so that unreadable pictures teach nothing.
    """
    remaining = _without_single_votes(votes).astype(np.float32)
    counts = remaining[:, : len(EXPRESSIONS)]
    total = counts.sum(1, keepdims=True)
    readable = total > 0.5 * remaining.sum(1, keepdims=True)
    return np.divide(counts, total, out=np.zeros_like(counts), where=readable)


def majority_labels(votes: np.ndarray) -> np.ndarray:
    """The majority rule of FER+: class indices (N,), -1 where a picture is dropped.

    Single votes are removed; a picture is kept where its largest count is more than half of what
    remains, and that class is neither unknown nor NF.
    """
    counts = _without_single_votes(votes)
    best = counts.argmax(1)
    kept = (counts.max(1) > 0.5 * counts.sum(1)) & (best < len(EXPRESSIONS))
    return np.where(kept, best, -1)
