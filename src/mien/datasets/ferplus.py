"""FER2013 pictures with FER+ votes: 48 x 48 grey, ten annotators, official splits.

Sources: Goodfellow et al., "Challenges in Representation Learning", 2013 (pictures; no licence stated);
Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label
Distribution", ICMI 2016 (votes, MIT, microsoft/FERPlus).

Two layouts: the official `fer2013.csv` with `fer2013new.csv`, row by row the same pictures; and `train.npz`,
`public_test.npz`, `private_test.npz`, each with `images` (N, 48, 48) uint8 and `ferplus_votes` (N, 10) in the
order of `FERPLUS_VOTES` (a row of -1 where FER+ has no row), and maybe `dup_of_train_<split>.npy`, the indices of
pictures that are pixel-identical to a training picture. `load` reads the second, the class both.

A picture's id is its row in both csv files (see `mien.datasets.fer2013`), so the frozen ids are the same in
both layouts. FER+'s picture names count otherwise. Rows that FER+ left without a name have ten votes for
"no face", as far as we looked, so the votes alone decide what is kept.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from mien.datasets import fer2013
from mien.datasets.dataset import Dataset, Reader, Row, register
from mien.datasets.protocol import Protocol
from mien.errors import DataError, DataNotFoundError, UnknownNameError
from mien.labels.expressions import EXPRESSIONS, FERPLUS_VOTES

SPLITS = ("train", "public_test", "private_test")


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

    Which pictures train has as well is read from `dup_of_train_<split>.npy`, and found by comparing where it is
    not there.

    Raises:
        UnknownNameError: no such split.
        DataNotFoundError: the file, or for the comparison that of train, is not under `root`.
    """
    if split not in SPLITS:
        raise UnknownNameError("FER+ split", split, SPLITS)
    path = _file(root, split)
    with np.load(path) as stored:
        images, votes = stored["images"], stored["ferplus_votes"]
    duplicate = np.zeros(len(images), bool)
    marks = path.with_name(f"dup_of_train_{split}.npy")
    if marks.is_file():
        duplicate[np.load(marks)] = True
    elif split != "train":
        with np.load(_file(root, "train")) as stored:
            duplicate = fer2013.repeats(images, stored["images"])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return FerPlusSplit(images, soft_labels(votes), majority_labels(votes), duplicate, digest)


def _file(root: str | Path, split: str) -> Path:
    path = Path(root) / f"{split}.npz"
    if not path.is_file():
        raise DataNotFoundError(
            f"FER+ {split} not found: looked for {path}. Expected train.npz, public_test.npz and "
            "private_test.npz (images, ferplus_votes). Pictures: Kaggle, 'challenges in representation "
            "learning'; votes: microsoft/FERPlus."
        )
    return path


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


@register
class FerPlus(Dataset):
    """FER2013's pictures with FER+ labels.

    A row's label is the majority's, `None` where there is no majority. Training takes those as well, with
    target -1 and a soft label, unless most of their votes are unknown or NF.

    Extras: "votes" (N, 10) in the order of `FERPLUS_VOTES`; "duplicate_of_train" in both tests.
    """

    name = "ferplus"
    title = "FER+"
    licence = "votes: MIT (Microsoft); pictures: none stated"
    apply_at = f"votes: https://github.com/microsoft/FERPlus; pictures: {fer2013.Fer2013.apply_at}"
    layout = (
        "  fer2013.csv                                       emotion,pixels,Usage\n"
        "  fer2013new.csv                                    Usage,Image name,neutral,...,NF\n"
        "or\n"
        "  train.npz, public_test.npz, private_test.npz      images, fer_label, ferplus_votes, fer_row"
    )
    framing = "crop"
    splits = SPLITS
    expected: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "train": dict(zip(EXPRESSIONS, (8739, 7287, 3149, 3014, 2100, 119, 532, 119), strict=True)),
        "public_test": dict(zip(EXPRESSIONS, (1182, 865, 415, 351, 287, 24, 62, 13), strict=True)),
        "private_test": dict(zip(EXPRESSIONS, (1090, 893, 396, 384, 273, 18, 83, 16), strict=True)),
    }
    expected_source = "counted here"

    def rows(self, root: Path) -> list[Row]:
        """Every picture of FER2013, in the order of the csv, with FER+'s majority as its label."""
        layout = fer2013.layout_of(self, root)
        if layout == "csv":
            rows = fer2013.csv_rows(root / "fer2013.csv")
            votes = self._csv_votes(root, rows)
        elif layout == "npz":
            rows = fer2013.npz_rows(self, root)
            votes = self._npz_votes(root)
        else:
            raise self.not_found(root / "fer2013new.csv")
        names = (*EXPRESSIONS, None)  # -1, no majority, is the last
        majorities = majority_labels(np.array([votes[row.id] for row in rows]).reshape(-1, 10))
        return [
            Row(row.id, row.split, names[majority], extras={**row.extras, "votes": votes[row.id]})
            for row, majority in zip(rows, majorities.tolist(), strict=True)
        ]

    def _npz_votes(self, root: Path) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for split in SPLITS:
            arrays = fer2013.npz_arrays(self, root, split, ("ferplus_votes", "fer_row"))
            if arrays["ferplus_votes"].shape[1:] != (len(FERPLUS_VOTES),):
                raise DataError(
                    f"expected ferplus_votes (N, 10) in {split}.npz, got {arrays['ferplus_votes'].shape}"
                )
            ids = fer2013.npz_ids(split, arrays["fer_row"])
            found.update(zip(ids, map(tuple, arrays["ferplus_votes"].tolist()), strict=True))
        return found

    def _csv_votes(self, root: Path, rows: Sequence[Row]) -> dict[str, tuple[int, ...]]:
        path = root / "fer2013new.csv"
        if not path.is_file():
            raise self.not_found(path)
        with path.open(newline="", encoding="utf-8-sig") as stored:
            table = csv.DictReader(stored)
            absent = [name for name in ("Usage", *FERPLUS_VOTES) if name not in (table.fieldnames or ())]
            if absent:
                raise DataError(
                    f"expected the columns Usage, {', '.join(FERPLUS_VOTES)} in {path}, not {absent}"
                )
            votes = list(table)
        usages = [fer2013.USAGES.get(line["Usage"]) for line in votes]
        if usages != [row.split for row in rows]:
            raise DataError(
                f"expected {path} to go with fer2013.csv row by row, got {len(votes)} rows for {len(rows)}, or "
                "another Usage. Take both files as they were published, in their own order."
            )
        try:
            counted = [tuple(int(line[name]) for name in FERPLUS_VOTES) for line in votes]
        except (TypeError, ValueError) as error:
            raise DataError(f"expected whole numbers of votes in {path}, got {error}") from error
        return {row.id: line for row, line in zip(rows, counted, strict=True)}

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """Grey (48, 48) pictures, held in memory; see `mien.datasets.fer2013`."""
        return fer2013.read_pictures(self, root, rows)

    def labelled(self, row: Row, protocol: Protocol) -> tuple[int, np.ndarray | None] | None:
        """Majority and vote shares over the protocol's classes; without a majority only for training."""
        soft = _shares(row.extras["votes"], protocol.labels)
        if soft is None:
            return None
        if row.label is None:
            return (-1, soft) if row.split == protocol.train else None
        return (protocol.labels.index(row.label), soft) if row.label in protocol.labels else None

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0, layout: str = "npz") -> None:
        """Draw the layout "npz" or "csv", with some pictures in train that have no majority."""
        kinds = [("train", "tie"), *((split, label) for split in SPLITS for label in EXPRESSIONS)]
        labels = fer2013.draw(Path(root), kinds, per_class, seed, layout)
        if layout != "csv":
            return
        usages = [line.rpartition(",")[2] for line in (root / "fer2013.csv").read_text().splitlines()[1:]]
        lines = [f"Usage,Image name,{','.join(FERPLUS_VOTES)}"]
        for number, (usage, label) in enumerate(zip(usages, labels, strict=True)):
            votes = ",".join(map(str, fer2013.drawn_votes(label).tolist()))
            lines.append(f"{usage},fer{number:07d}.png,{votes}")
        (root / "fer2013new.csv").write_text("\n".join(lines) + "\n")


@lru_cache(maxsize=65536)
def _shares(votes: tuple[int, ...], labels: tuple[str, ...]) -> np.ndarray | None:
    """Soft label over some classes, `None` where they have no votes; most pictures share it with another."""
    soft = soft_labels(np.array([votes]))[0][[EXPRESSIONS.index(label) for label in labels]]
    return soft / soft.sum() if soft.sum() else None
