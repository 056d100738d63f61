"""One class a data set: it knows the layout as distributed, reads it, checks it, and draws a look-alike."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mien.datasets.protocol import Protocol, ids_hash, load_protocol, people_of_split
from mien.datasets.samples import Clip, Samples
from mien.datasets.verification import Verification, first_few, notes_on, order_hint, unit_notes
from mien.errors import DataError, DataNotFoundError, ProtocolError, UnknownNameError
from mien.labels.action_units import unit_label, unit_numbers
from mien.labels.expressions import EXPRESSIONS, canonical
from mien.registry import Registry

Reader = Callable[[int], np.ndarray]

ANY = "any class"
"""Stands in `Dataset.expected` for a split of which we know the size alone."""


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


Kept = tuple[Row, tuple[int, np.ndarray | None]]
"""A row with its target and soft label under a protocol."""


class Dataset(ABC):
    """Base of all data sets; a subclass says what is its own and registers one instance.

    Class attributes:
        name: registry name; title, licence, apply_at: for people; layout: the tree that is expected.
        framing: "crop", "photo" or "ready", as in `Samples`.
        splits: official splits, ("all",) where there are none.
        units: FACS numbers of `extras["action_units"]`, in its order; empty where the set has none. A value is
            1 there, 0 not there, -1 or NaN not known.
        expected: split -> class -> pictures as distributed, for what we know; see `expected_source`. Pictures
            with action units and without a class count as "coded", all of a split as `ANY`.
        expected_source: "counted here", "reported by the authors", or "from memory".
    """

    name: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[str]
    apply_at: ClassVar[str]
    layout: ClassVar[str]
    framing: str
    splits: ClassVar[tuple[str, ...]]
    units: ClassVar[tuple[int, ...]] = ()
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
        """A function that gives the picture of `rows[i]` as uint8, grey (H, W) or RGB (H, W, 3); see `Samples.framing`.

        The function raises `DataError`, naming the file, where a picture cannot be read.
        """

    def clips(self, root: Path, rows: Sequence[Row]) -> Callable[[int], Clip] | None:
        """A function that gives the clip of `rows[i]`; `None` where the set has single pictures."""
        return None

    @abstractmethod
    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Write a small drawn copy of the layout, so that everything can be tested without the data."""

    def labelled(self, row: Row, protocol: Protocol) -> tuple[int, np.ndarray | None] | None:
        """Target and soft label (K,) of a row under a protocol; `None` where the protocol drops it.

        Action units are no class: the target is -1, and a row stays where any of the units is known.
        """
        if protocol.task == "action_units":
            known = np.isfinite(self._units_of([row], protocol)).any()
            return (-1, None) if known else None
        if row.label not in protocol.labels:
            return None
        return protocol.labels.index(row.label), None

    def split_of(self, row: Row, protocol: Protocol) -> str:
        """Split of the protocol that a row belongs to: its official one, unless a subclass divides that."""
        return row.split

    def expected_of(self, rows: Sequence[Row]) -> Mapping[str, Mapping[str, int]]:
        """Counts as distributed for the form that these rows come from: `expected`, unless there are several."""
        return self.expected

    def samples(
        self, root: str | Path, protocol: Protocol | str, split: str, fold: int = 0, check: bool = True
    ) -> Samples:
        """The pictures of one split of a protocol.

        Args:
            root: folder of the data set.
            protocol: or its name.
            split: one of the protocol's `train`, `select` and `test`; with folds also "all".
            fold: which fold is tested, where the protocol has folds.
            check: compare with the frozen counts and ids; false for look-alikes and parts.

        Raises:
            DataNotFoundError: the data are not there.
            DataError: counts or ids differ from the frozen ones, the split is empty, or there is no such fold.
            UnknownNameError: no such split.
        """
        protocol = load_protocol(protocol) if isinstance(protocol, str) else protocol
        if protocol.dataset != self.name:
            raise DataError(
                f"expected a protocol for {self.name!r}, got {protocol.name!r} for {protocol.dataset!r}"
            )
        known = (protocol.train, protocol.select, protocol.test, *(("all",) if protocol.folds > 1 else ()))
        if split not in known:
            raise UnknownNameError(f"split of {protocol.name!r}", split, known)
        if protocol.folds == 1 and fold != 0:
            raise DataError(
                f"expected no fold, or 0, for {protocol.name!r}, whose splits are fixed, got {fold}. Leave it out."
            )
        root = Path(root)
        listed = self.rows(root)
        kept = [(row, labels) for row in listed if (labels := self.labelled(row, protocol)) is not None]
        if check:
            self._check(protocol, "all", kept)
        chosen = self._of_split(kept, protocol, split, fold)
        if not chosen:
            raise DataError(
                f"expected pictures in {split!r} of {protocol.name!r}, got none. Splits found: "
                f"{', '.join(sorted({row.split for row in listed})) or 'none'}."
            )
        if check:
            self._check(protocol, split, chosen)
        return self._samples(root, protocol, chosen)

    def _samples(self, root: Path, protocol: Protocol, chosen: Sequence[Kept]) -> Samples:
        rows = [row for row, _ in chosen]
        ids = tuple(row.id for row in rows)
        target = np.array([target for _, (target, _) in chosen], np.int64)
        softs = [soft for _, (_, soft) in chosen if soft is not None]
        soft = np.stack(softs).astype(np.float32) if softs else None
        people = tuple(row.subject or "" for row in rows) if any(row.subject for row in rows) else None
        extras = {name: np.array([row.extras[name] for row in rows]) for name in rows[0].extras}
        if protocol.task == "action_units":
            extras["action_units"] = self._units_of(rows, protocol)
        digest = hashlib.sha256(ids_hash(ids).encode() + target.tobytes())
        digest.update(b"" if soft is None else soft.tobytes())
        if protocol.task == "action_units":
            digest.update(extras["action_units"].tobytes())
        return Samples(
            ids,
            protocol.labels,
            target,
            self.reader(root, rows),
            self.framing,
            digest.hexdigest(),
            soft,
            people,
            extras,
            protocol.task,
            self.clips(root, rows),
        )

    def _units_of(self, rows: Sequence[Row], protocol: Protocol) -> np.ndarray:
        """Action units (N, K) in the protocol's order, float32: 1 there, 0 not there, NaN not known."""
        wanted = unit_numbers(protocol.labels)
        lacking = [unit for unit in wanted if unit not in self.units]
        if lacking:
            raise ProtocolError(
                f"expected units that {self.name!r} codes ({', '.join(map(unit_label, self.units)) or 'none'}) in "
                f"{protocol.name!r}, got {', '.join(map(unit_label, lacking))}"
            )
        stored = np.array([row.extras["action_units"] for row in rows], np.float32)
        values = stored.reshape(len(rows), len(self.units))[:, [self.units.index(unit) for unit in wanted]]
        return np.where(values < 0, np.float32(np.nan), values)

    def _of_split(self, kept: Sequence[Kept], protocol: Protocol, split: str, fold: int) -> list[Kept]:
        """Rows of a split, or of the folds by person; see `people_of_split`."""
        if split == "all":
            return list(kept)
        if protocol.folds == 1:
            return [one for one in kept if self.split_of(one[0], protocol) == split]
        people = {row.subject for row, _ in kept if row.subject}
        wanted = people_of_split(protocol, people, split, fold)
        return [one for one in kept if one[0].subject in wanted]

    def _check(self, protocol: Protocol, split: str, chosen: Sequence[Kept]) -> None:
        facts = protocol.splits.get(split)
        if facts is None:
            return
        todo = f"Run `mien datasets verify {self.name} ROOT`."
        if len(chosen) != facts.pictures:
            raise DataError(
                f"expected {facts.pictures} pictures in {split!r} of {protocol.name!r} ({facts.source}), "
                f"got {len(chosen)}. {todo}"
            )
        if protocol.task == "action_units":
            there = (self._units_of([row for row, _ in chosen], protocol) == 1).sum(0)
            found = Counter(dict(zip(protocol.labels, there.tolist(), strict=True)))
        else:
            found = Counter(protocol.labels[target] for _, (target, _) in chosen if target >= 0)
        for label, wanted in (facts.per_class or {}).items():
            if found[label] != wanted:
                raise DataError(
                    f"expected {wanted} pictures of {label!r} in {split!r} of {protocol.name!r} "
                    f"({facts.source}), got {found[label]}. {todo}"
                )
        known = (facts.ids_sha256, *facts.ids_sha256_also)
        if facts.ids_sha256 and ids_hash([row.id for row, _ in chosen]) not in known:
            raise DataError(
                f"expected the frozen ids of {split!r} in {protocol.name!r}, got others, or another order. {todo}"
            )

    def verify(self, root: str | Path, counts: bool = True) -> Verification:
        """Read everything and compare with what was distributed: counts, labels, files, duplicates, people.

        A picture that cannot be read, or a list with unknown classes, is a problem in the answer, not an
        exception.

        Args:
            root: folder of the data set.
            counts: compare the counts; false for look-alikes and parts.

        Raises:
            DataNotFoundError: the tree, or one of its lists, is not there at all.
        """
        root = Path(root)
        try:
            rows = self.rows(root)
        except (DataError, UnknownNameError) as error:
            return Verification(self.name, root.name, {}, (str(error),))
        problems = self._count_problems(rows) if counts else []
        repeated = [name for name, times in Counter(row.id for row in rows).items() if times > 1]
        problems += first_few(f"expected each picture once, got {name!r} more than once" for name in repeated)
        same, unread, sha256 = self._pictures(root, rows)
        groups = [group for group in (same or {}).values() if len(group) > 1]
        across = [group for group in groups if len({row.split for row in group}) > 1]
        torn = [group for group in groups if len({row.label for row in group if row.label}) > 1]
        places: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            if row.subject:
                places[row.subject].add(row.split)
        return Verification(
            dataset=self.name,
            root=root.name,
            counts=self._counts(rows),
            problems=tuple(problems + first_few(unread)),
            duplicates=None if same is None else len(groups),
            duplicates_across_splits=None if same is None else len(across),
            conflicting=None if same is None else len(torn),
            shared_subjects=sum(len(splits) > 1 for splits in places.values()),
            sha256=sha256,
            notes=notes_on("in two splits", across)
            + notes_on("with two labels", torn)
            + unit_notes(self.units, [row.extras["action_units"] for row in rows] if self.units else ()),
        )

    def _pictures(
        self, root: Path, rows: Sequence[Row]
    ) -> tuple[dict[str, list[Row]] | None, list[str], str]:
        """Rows by the hash of their picture, what could not be read, and a hash over all; `None` where nothing could."""
        try:
            read = self.reader(root, rows)
        except DataError as error:
            return None, [str(error)], ""
        same: dict[str, list[Row]] = defaultdict(list)
        unread = []
        whole = hashlib.sha256()
        for index, row in enumerate(rows):
            try:
                picture = read(index)
            except DataError as error:
                unread.append(str(error))
                continue
            digest = hashlib.sha256(np.ascontiguousarray(picture).tobytes() + str(picture.shape).encode())
            same[digest.hexdigest()].append(row)
            whole.update(f"{row.id}\t{row.label}\t{digest.hexdigest()}\n".encode())
        return same, unread, whole.hexdigest()

    def _counts(self, rows: Sequence[Row]) -> dict[str, dict[str, int]]:
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for row in rows:
            coded = any(value >= 0 for value in row.extras.get("action_units", ()))
            counts[row.split][row.label or ("coded" if coded else "unlabelled")] += 1
        return {split: dict(sorted(classes.items())) for split, classes in counts.items()}

    def _count_problems(self, rows: Sequence[Row]) -> list[str]:
        expected, found = self.expected_of(rows), self._counts(rows)
        problems = []
        for split, classes in expected.items():
            for label, wanted in classes.items():
                inside = found.get(split, {})
                got = sum(inside.values()) if label == ANY else inside.get(label, 0)
                if got != wanted:
                    problems.append(
                        f"expected {wanted} pictures of {label!r} in {split!r} ({self.expected_source}), got {got}"
                    )
        hint = order_hint(expected, found) if problems else None
        return [hint, *problems] if hint else problems

    def not_found(self, looked_for: Path) -> DataNotFoundError:
        """The error that says where we looked, what is expected there, and where to apply."""
        return DataNotFoundError(
            f"{self.title} not found: looked for {looked_for}. Expected:\n{self.layout}\n"
            f"Where to get it: {self.apply_at}. Licence: {self.licence}."
        )


def named_classes(names: Iterable[str], where: object, known: Sequence[str] = EXPRESSIONS) -> dict[str, str]:
    """Class names of a data set -> mien's.

    Args:
        names: as they stand in the files; any spelling that `mien.labels.expressions.canonical` knows.
        where: the list or folder they come from, for the message.
        known: the classes that the set has.

    Raises:
        DataError: names that are none of them; all are listed, with what is known.
    """
    found, unknown = {}, []
    for name in sorted(set(names)):
        try:
            found[name] = canonical(name)
        except UnknownNameError:
            unknown.append(name)
            continue
        if found[name] not in known:
            unknown.append(name)
    if unknown:
        raise DataError(
            f"expected the classes {', '.join(known)} (or a synonym, such as 'happiness') in {where}, "
            f"got {', '.join(repr(name) for name in unknown)}"
        )
    return found


DATASETS: Registry[Dataset] = Registry("data set", "mien.datasets")


def register(dataset: type[Dataset]) -> type[Dataset]:
    """Register an instance of a data set's class under its `name`."""
    DATASETS.add(dataset.name, dataset())
    return dataset


def load_dataset(name: str, root: str | Path, protocol: str, split: str, fold: int = 0) -> Samples:
    """A split of a registered data set under a frozen protocol; see `Dataset.samples`."""
    return DATASETS[name].samples(root, protocol, split, fold)
