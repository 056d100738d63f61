"""A stable part of the training pictures that chooses the epoch, where a set has no split for it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mien.datasets.dataset import Dataset, Row

HELD_OUT = "train_held_out"
ONE_IN = 10


def stable_number(text: str) -> int:
    """A number that depends on a text alone, the same on every machine: its sha256."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


def held_out_of(pictures: int) -> int:
    """How many of so many pictures of a class are held out: one in ten, rounded, at least one of two."""
    return max(1, (pictures + ONE_IN // 2) // ONE_IN) if pictures > 1 else 0


def hold_out(rows: Sequence[Row], source: str = "train", name: str = HELD_OUT) -> list[Row]:
    """Rows in their order, with one in ten of each class of a split moved to a split of its own.

    In each class, those ids whose sha256 is smallest are held out, so that every reader of the whole set
    gets the same part. Rows without a label stay. No person is kept apart: use it where people are unknown.

    Args:
        rows: of all splits.
        source: the split that gives.
        name: of the part that is held out.
    """
    classes: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.split == source and row.label is not None:
            classes[row.label].append(row.id)
    moved = {id for ids in classes.values() for id in sorted(ids, key=stable_number)[: held_out_of(len(ids))]}
    return [replace(row, split=name) if row.split == source and row.id in moved else row for row in rows]


def counts_after(train: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Counts of both parts, from the counts of the whole training split as distributed."""
    held = {label: held_out_of(pictures) for label, pictures in train.items()}
    return {"train": {label: train[label] - held[label] for label in train}, HELD_OUT: held}


def enough_for(pictures: int) -> int:
    """How many pictures of a class leave at least so many after the held-out part is taken."""
    whole = pictures
    while whole - held_out_of(whole) < pictures:
        whole += 1
    return whole


class CountedWhole(Dataset):
    """Base of sets of which we know the classes of the whole, not of each split.

    They stand in `expected["all"]`, and in the facts "all" of their protocols.
    """

    def _count_problems(self, rows: Sequence[Row]) -> list[str]:
        return super()._count_problems([replace(row, split="all") for row in rows])
