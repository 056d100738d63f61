"""What a check of a data set answers, in sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mien.labels.action_units import unit_label

if TYPE_CHECKING:
    from mien.datasets.dataset import Row

SENTENCES = 10
"""How many problems of one kind `verify` spells out."""


@dataclass(frozen=True)
class Verification:
    """What `Dataset.verify` found.

    Attributes:
        dataset, root: what was looked at.
        counts: split -> class -> pictures.
        problems: each a sentence, expected and got; empty where all is as distributed.
        duplicates: groups of pixel-identical pictures, and how many of them lie across two splits; `None` where the
            pictures could not be read.
        conflicting: of those groups, how many have two labels.
        shared_subjects: people who are in more than one split; `None` where the list could not be read.
        sha256: hash over ids, labels and pictures; empty where the list could not be read.
        notes: the first of the pictures that are in two splits, or have two labels; how often each action unit
            is there.
    """

    dataset: str
    root: str
    counts: Mapping[str, Mapping[str, int]]
    problems: tuple[str, ...]
    duplicates: int | None = None
    duplicates_across_splits: int | None = None
    conflicting: int | None = None
    shared_subjects: int | None = None
    sha256: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether files, counts and labels are as distributed; duplicates are reported, not a problem."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "ok": self.ok}

    def to_text(self) -> str:
        """For people: the problems first, then a line a split, duplicates and people."""
        lines = [f"{self.dataset} in {self.root}: {'as distributed' if self.ok else 'NOT as distributed'}"]
        lines += [f"  problem: {problem}" for problem in self.problems]
        for split, classes in self.counts.items():
            inside = ", ".join(f"{label} {pictures:,}" for label, pictures in classes.items())
            lines.append(f"  {split}: {sum(classes.values()):,} pictures ({inside})")
        if self.duplicates is not None:
            lines.append(
                f"  {self.duplicates:,} groups of identical pictures, {self.duplicates_across_splits:,} of them "
                f"across splits, {self.conflicting:,} with two labels; {self.shared_subjects:,} people in two splits"
            )
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join([*lines, f"  sha256 {self.sha256 or '-'}"])


def first_few(sentences: Iterable[str]) -> list[str]:
    """The first few, and how many more there are: a set may lack all of its pictures."""
    sentences = list(sentences)
    more = len(sentences) - SENTENCES
    return sentences[:SENTENCES] + ([f"and {more} more like the last"] if more > 0 else [])


def notes_on(what: str, groups: Sequence[Sequence[Row]]) -> tuple[str, ...]:
    """The first few groups of one picture, each as a sentence."""
    return tuple(
        first_few(
            f"one picture {what}: "
            + ", ".join(f"{row.id} ({row.split}, {row.label or 'unlabelled'})" for row in group)
            for group in groups
        )
    )


def unit_notes(units: Sequence[int], values: Sequence[Sequence[float]]) -> tuple[str, ...]:
    """A sentence that says how often each action unit is there among the pictures where it is known."""
    columns = zip(*values, strict=True) if values else ()
    counted = [
        f"{unit_label(unit)} {sum(value == 1 for value in column):,} of {sum(value >= 0 for value in column):,}"
        for unit, column in zip(units, columns, strict=False)
    ]
    return (f"action units, there of known: {', '.join(counted)}",) if counted else ()


def order_hint(
    expected: Mapping[str, Mapping[str, int]], found: Mapping[str, Mapping[str, int]]
) -> str | None:
    """A sentence if the counts are right but under other names: the set was made in another label order."""
    classes = list(dict.fromkeys(label for split in expected.values() for label in split))
    if any(set(split) != set(classes) for split in expected.values()):
        return None
    wanted: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for label in classes:
        wanted[tuple(split[label] for split in expected.values())].append(label)
    order = []
    for label in classes:
        names = wanted[tuple(found.get(split, {}).get(label, 0) for split in expected)]
        if not names:
            return None
        order.append(names.pop(0))
    return (
        f"the counts fit if the labels are in the order {', '.join(order)}; "
        f"they were read in the order {', '.join(classes)}"
    )
