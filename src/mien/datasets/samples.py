"""What every data set gives: a split of labelled pictures, read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from mien.errors import DataError, LabelError, ShapeError


@dataclass(frozen=True, eq=False)
class Clip:
    """A sample that is a sequence of pictures; see `mien.datasets.clips`.

    Attributes:
        count: its frames, at least 1.
        read: gives the frames of some indices (0 to count - 1, rising, any of them more than once), each as
            uint8, grey (H, W) or RGB (H, W, 3). Raises `DataError` where one cannot be read.
    """

    count: int
    read: Callable[[Sequence[int]], list[np.ndarray]]


@dataclass(frozen=True, eq=False)
class Samples:
    """The pictures, or clips, and labels of one split under one protocol.

    Attributes:
        ids: a stable name of each picture, as the data set has it ("train_00001.jpg").
        labels: the K classes, in the order of `target` and of the columns of `soft`; with the task
            "action_units" the units, in the order of the columns of `extras["action_units"]`.
        target: int (N,), index into `labels`, -1 where the protocol gives a picture no single class.
        read: gives picture i as uint8, grey (H, W) or RGB (H, W, 3); of a clip, its middle frame; (H, W, C) where it is "ready".
        framing: "crop" where a picture shows one face that fills it, "photo" where the face is to be found, "ready"
            where it is what a network takes as it is: a motion picture, in which no face is to be found.
        soft: float32 (N, K) shares of votes, `None` where the set has single labels. A row of zeros is
            a picture that teaches nothing.
        subjects: the person of each picture, `None` where the set does not say.
        extras: further labels by name, each (N, ...): "valence_arousal", "gender", "age", "race"; and
            "duplicate_of_train", bool, for evaluation splits. With the task "action_units", the key of that
            name holds float32 (N, K): 1 there, 0 not there, NaN not known.
        sha256: hash over ids, targets and soft labels, so that a report can name its data; the pictures
            themselves are hashed by `Dataset.verify`.
        task: the protocol's.
        clip: gives clip i, `None` where the samples are single pictures. Raises `DataError` where it cannot be
            opened.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    target: np.ndarray
    read: Callable[[int], np.ndarray]
    framing: str
    sha256: str
    soft: np.ndarray | None = None
    subjects: tuple[str, ...] | None = None
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    task: str = "expression"
    clip: Callable[[int], Clip] | None = None

    def __post_init__(self) -> None:
        count, classes = len(self.ids), len(self.labels)
        if self.target.shape != (count,):
            raise ShapeError(f"expected one target for each of {count} pictures, got {self.target.shape}")
        if count and not (self.target.min() >= -1 and self.target.max() < classes):
            raise LabelError(
                f"expected targets from -1 to {classes - 1} ({', '.join(self.labels)}), "
                f"got {self.target.min()} to {self.target.max()}"
            )
        if self.soft is not None and self.soft.shape != (count, classes):
            raise ShapeError(f"expected soft labels ({count}, {classes}), got {self.soft.shape}")
        if self.framing not in ("crop", "photo", "ready"):
            raise ShapeError(f"expected framing 'crop', 'photo' or 'ready', got {self.framing!r}")
        for name, values in {"subjects": self.subjects, **self.extras}.items():
            if values is not None and len(values) != count:
                raise ShapeError(f"expected {count} values of {name}, got {len(values)}")
        if self.task == "action_units":
            shape = np.shape(self.extras.get("action_units", ()))
            if shape != (count, classes):
                raise ShapeError(f"expected action units ({count}, {classes}), got {shape}")

    def __len__(self) -> int:
        return len(self.ids)

    def readable(
        self, rows: Sequence[int] | None = None, quiet: bool = True
    ) -> tuple[list[np.ndarray], list[int], list[str]]:
        """The pictures of some rows (all, where left out) that can be read, their rows, and what could not.

        Raises:
            DataError: none can be read.
        """
        found = self.alike(lambda images: True, rows, quiet)
        assert found is not None  # all count as alike
        return found

    def alike(
        self,
        same: Callable[[Sequence[np.ndarray]], bool],
        rows: Sequence[int] | None = None,
        quiet: bool = True,
    ) -> tuple[list[np.ndarray], list[int], list[str]] | None:
        """As `readable`, but `None` as soon as the first picture and another are not the `same`: no more is read then.

        Raises:
            DataError: none can be read.
        """
        images: list[np.ndarray] = []
        failures: list[str] = []
        kept = []
        for row, image in self.each(failures, rows, quiet):
            if not same([*images[:1], image]):
                return None
            images.append(image)
            kept.append(row)
        if not images:
            raise none_readable(failures)
        return images, kept, failures

    def each(
        self,
        failures: list[str],
        rows: Sequence[int] | None = None,
        quiet: bool = True,
        doing: str = "reading",
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Row and picture, one after the other, so that a large set need not fit into memory.

        Args:
            failures: takes what could not be read, and why.
            rows: all, where left out.
            quiet: no progress bar.
            doing: what the bar says.
        """
        wanted = range(len(self)) if rows is None else rows
        for row in tqdm(wanted, doing, disable=quiet, unit="picture", leave=False):
            try:
                image = self.read(row)
            except DataError as error:
                failures.append(str(error))
            else:
                yield row, image

    @property
    def counts(self) -> dict[str, int]:
        """Pictures of each class, or of each action unit."""
        if self.task == "action_units":
            there = (self.extras["action_units"] == 1).sum(0)
            return dict(zip(self.labels, there.tolist(), strict=True))
        return {name: int((self.target == index).sum()) for index, name in enumerate(self.labels)}


def none_readable(failures: Sequence[str]) -> DataError:
    """The error where not one picture of a split can be read."""
    return DataError(f"expected pictures, got none that can be read: {'; '.join(failures[:3])}")
