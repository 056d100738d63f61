"""One class a data set: it knows the layout as distributed, reads it, checks it, and draws a look-alike."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mien.datasets.protocol import Protocol, ids_hash, load_protocol
from mien.datasets.samples import Samples
from mien.errors import DataError, DataNotFoundError, UnknownNameError
from mien.registry import Registry

Reader = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Row:
    """One labelled picture as the data set lists it.

    Attributes:
        id: stable name, unique in the data set.
        split: official split, or "all" where there is none.
        label: class in mien's spelling (`mien.labels`), `None` where the picture has none.
        subject: the person, `None` where the set does not say.
        extras: further labels by name; a value is a number or a tuple of numbers.
    """

    id: str
    split: str
    label: str | None
    subject: str | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification:
    """What `Dataset.verify` found.

    Attributes:
        dataset, root: what was looked at.
        counts: split -> class -> pictures.
        problems: each a sentence, expected and got; empty where all is as distributed.
        duplicates: groups of pixel-identical pictures, and how many of them lie across two splits.
        conflicting: of those groups, how many have two labels.
        shared_subjects: people who are in more than one split.
        sha256: hash over ids, labels and pictures.
    """

    dataset: str
    root: str
    counts: Mapping[str, Mapping[str, int]]
    problems: tuple[str, ...]
    duplicates: int
    duplicates_across_splits: int
    conflicting: int
    shared_subjects: int
    sha256: str

    @property
    def ok(self) -> bool:
        """Whether files, counts and labels are as distributed; duplicates are reported, not a problem."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "ok": self.ok}


class Dataset(ABC):
    """Base of all data sets; a subclass says what is its own and registers one instance.

    Class attributes:
        name: registry name; title, licence, apply_at: for people; layout: the tree that is expected.
        framing: "crop" or "photo", as in `Samples`.
        splits: official splits, ("all",) where there are none.
        expected: split -> class -> pictures as distributed, for what we know; see `expected_source`.
        expected_source: "counted here", "reported by the authors", or "from memory".
    """

    name: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[str]
    apply_at: ClassVar[str]
    layout: ClassVar[str]
    framing: ClassVar[str]
    splits: ClassVar[tuple[str, ...]]
    expected: ClassVar[Mapping[str, Mapping[str, int]]] = {}
    expected_source: ClassVar[str] = ""

    @abstractmethod
    def rows(self, root: Path) -> list[Row]:
        """Every picture that the set lists, in its own order.

        Raises:
            DataNotFoundError: `root` does not hold the expected tree (use `self.not_found`).
            DataError: a list cannot be read, or names an unknown class.
        """

    @abstractmethod
    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """A function that gives the picture of `rows[i]` as uint8, grey (H, W) or RGB (H, W, 3).

        The function raises `DataError`, naming the file, where a picture cannot be read.
        """

    @abstractmethod
    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Write a small drawn copy of the layout, so that everything can be tested without the data."""

    def labelled(self, row: Row, protocol: Protocol) -> tuple[int, np.ndarray | None] | None:
        """Target and soft label (K,) of a row under a protocol; `None` where the protocol drops it."""
        if row.label not in protocol.labels:
            return None
        return protocol.labels.index(row.label), None

    def samples(
        self, root: str | Path, protocol: Protocol | str, split: str, fold: int = 0, check: bool = True
    ) -> Samples:
        """The pictures of one split of a protocol.

        Args:
            root: folder of the data set.
            protocol: or its name.
            split: one of the protocol's `train`, `select` and `test`.
            fold: which fold is tested, where the protocol has folds.
            check: compare with the frozen counts and ids; false for look-alikes and parts.

        Raises:
            DataNotFoundError: the data are not there.
            DataError: counts or ids differ from the frozen ones.
            UnknownNameError: no such split.
        """
        protocol = load_protocol(protocol) if isinstance(protocol, str) else protocol
        if protocol.dataset != self.name:
            raise DataError(
                f"expected a protocol for {self.name!r}, got {protocol.name!r} for {protocol.dataset!r}"
            )
        known = (protocol.train, protocol.select, protocol.test)
        if split not in known:
            raise UnknownNameError(f"split of {protocol.name!r}", split, known)
        root = Path(root)
        rows = self._of_split(self.rows(root), protocol, split, fold)
        chosen = [(row, labels) for row in rows if (labels := self.labelled(row, protocol)) is not None]
        rows = [row for row, _ in chosen]
        target = np.array([labels[0] for _, labels in chosen], np.int64).reshape(len(chosen))
        softs = [labels[1] for _, labels in chosen]
        soft = None
        if softs and softs[0] is not None:
            soft = np.stack([value for value in softs if value is not None]).astype(np.float32)
        ids = tuple(row.id for row in rows)
        if check:
            self._check(protocol, split, ids, target)
        people = tuple(row.subject or "" for row in rows) if any(row.subject for row in rows) else None
        extras = {
            name: np.array([row.extras[name] for row in rows]) for name in (rows[0].extras if rows else ())
        }
        digest = hashlib.sha256((ids_hash(ids) + target.tobytes().hex()).encode()).hexdigest()
        return Samples(
            ids, protocol.labels, target, self.reader(root, rows), self.framing, digest, soft, people, extras
        )

    def _of_split(self, rows: list[Row], protocol: Protocol, split: str, fold: int) -> list[Row]:
        """Rows of an official split, or of the folds by person: sorted people, fold = index mod folds."""
        if protocol.folds == 1:
            return [row for row in rows if row.split == split]
        if not 0 <= fold < protocol.folds:
            raise DataError(f"expected a fold from 0 to {protocol.folds - 1}, got {fold}")
        people = sorted({row.subject for row in rows if row.subject})
        number = {person: index % protocol.folds for index, person in enumerate(people)}
        chooses = (fold + 1) % protocol.folds
        wanted = {protocol.test: {fold}, protocol.select: {chooses}}.get(
            split, set(range(protocol.folds)) - {fold, chooses}
        )
        return [row for row in rows if row.subject and number[row.subject] in wanted]

    def _check(self, protocol: Protocol, split: str, ids: tuple[str, ...], target: np.ndarray) -> None:
        facts = protocol.splits.get(split)
        if facts is None:
            return
        if len(ids) != facts.pictures:
            raise DataError(
                f"expected {facts.pictures} pictures in {split!r} of {protocol.name!r} ({facts.source}), "
                f"got {len(ids)}. Run `mien datasets verify {self.name} ROOT`."
            )
        if facts.ids_sha256 and ids_hash(ids) != facts.ids_sha256:
            raise DataError(
                f"expected the frozen ids of {split!r} in {protocol.name!r}, got others, or another order. "
                f"Run `mien datasets verify {self.name} ROOT`."
            )

    def verify(self, root: str | Path) -> Verification:
        """Read everything and compare with what was distributed: counts, labels, files, duplicates, people.

        A picture that cannot be read is a problem in the answer, not an exception.

        Raises:
            DataNotFoundError: the tree is not there at all.
        """
        root = Path(root)
        rows = self.rows(root)
        problems = list(self._count_problems(rows))
        repeated = [name for name, times in Counter(row.id for row in rows).items() if times > 1]
        problems += [f"expected each picture once, got {name!r} twice" for name in repeated[:10]]
        read = self.reader(root, rows)
        same: dict[str, list[Row]] = defaultdict(list)
        whole = hashlib.sha256()
        for index, row in enumerate(rows):
            try:
                picture = read(index)
            except DataError as error:
                problems.append(str(error))
                continue
            digest = hashlib.sha256(np.ascontiguousarray(picture).tobytes() + str(picture.shape).encode())
            same[digest.hexdigest()].append(row)
            whole.update(f"{row.id}\t{row.label}\t{digest.hexdigest()}\n".encode())
        groups = [group for group in same.values() if len(group) > 1]
        places: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            if row.subject:
                places[row.subject].add(row.split)
        return Verification(
            dataset=self.name,
            root=root.name,
            counts=self._counts(rows),
            problems=tuple(problems),
            duplicates=len(groups),
            duplicates_across_splits=sum(len({row.split for row in group}) > 1 for group in groups),
            conflicting=sum(len({row.label for row in group}) > 1 for group in groups),
            shared_subjects=sum(len(splits) > 1 for splits in places.values()),
            sha256=whole.hexdigest(),
        )

    def _counts(self, rows: Sequence[Row]) -> dict[str, dict[str, int]]:
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for row in rows:
            counts[row.split][row.label or "unlabelled"] += 1
        return {split: dict(sorted(classes.items())) for split, classes in counts.items()}

    def _count_problems(self, rows: Sequence[Row]) -> list[str]:
        found = self._counts(rows)
        problems = []
        for split, classes in self.expected.items():
            for label, wanted in classes.items():
                got = found.get(split, {}).get(label, 0)
                if got != wanted:
                    problems.append(
                        f"expected {wanted} pictures of {label!r} in {split!r} ({self.expected_source}), got {got}"
                    )
        return problems

    def not_found(self, looked_for: Path) -> DataNotFoundError:
        """The error that says where we looked, what is expected there, and where to apply."""
        return DataNotFoundError(
            f"{self.title} not found: looked for {looked_for}. Expected:\n{self.layout}\n"
            f"Where to get it: {self.apply_at}. Licence: {self.licence}."
        )


DATASETS: Registry[Dataset] = Registry("data set", "mien.datasets")


def register(dataset: type[Dataset]) -> type[Dataset]:
    """Register an instance of a data set's class under its `name`."""
    DATASETS.add(dataset.name, dataset())
    return dataset
