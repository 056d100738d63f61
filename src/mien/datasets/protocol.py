"""Frozen protocols: which pictures teach, which choose the epoch, which are measured, and how.

Each stands in `protocols/<name>.json`. A protocol that would choose on the split it reports is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import DataError, ProtocolError, UnknownNameError

if TYPE_CHECKING:
    from mien.datasets.dataset import Dataset
    from mien.datasets.samples import Samples


METRICS = {"expression": ("accuracy", "uar", "macro_f1"), "action_units": ("mean_f1",)}
TASKS = tuple(METRICS)
"""What a protocol asks: one class a picture, or several labels at once; and the figures that it may report."""


@dataclass(frozen=True)
class SplitFacts:
    """What a split must hold.

    Attributes:
        pictures: how many.
        per_class: how many of each class, `None` where we do not know. Their sum is less than `pictures`
            where some have a soft label only. Of action units, pictures where each is there.
        ids_sha256: `ids_hash` of the ids in order, `None` where nobody here has seen the files.
        source: where the counts come from: "counted here", "reported by the authors", "from memory".
        ids_sha256_also: further hashes that are right, where a set is distributed in several forms.
    """

    pictures: int
    per_class: Mapping[str, int] | None
    ids_sha256: str | None
    source: str
    ids_sha256_also: Sequence[str] = ()


@dataclass(frozen=True)
class Protocol:
    """How a data set is used for a number that can be compared.

    Attributes:
        name: registry name, "ferplus_majority_8".
        dataset: registry name of the data set.
        labels: the classes in the order of the outputs; of action units "AU1", "AU2", ...
        train, select, test: names of the splits; `select` chooses the epoch, temperature and thresholds.
        metric: the figure that is reported, "accuracy", "uar", "macro_f1"; of action units "mean_f1".
        folds: number of cross-validation folds, 1 for fixed splits, else at least 3. With folds, the splits
            are made from subjects, and the fold after the tested one selects (but see `select_share`).
        aggregation: "single", "mean of folds" or "pooled".
        subjects_disjoint: no person is in two splits.
        splits: what each must hold; with folds, what "all" of them hold together.
        source: where the protocol is described.
        task: "expression", or "action_units": several labels at once, in `extras["action_units"]`.
        select_share: with folds, share of the training people who select instead of a whole fold, chosen by a
            stable hash; `None` where the fold after the tested one does.
        fold_salt: with folds, people are dealt out in the order of the hash of this text and their name;
            sorted by name where it is empty.
    """

    name: str
    dataset: str
    labels: tuple[str, ...]
    train: str
    select: str
    test: str
    metric: str
    folds: int
    aggregation: str
    subjects_disjoint: bool
    splits: Mapping[str, SplitFacts]
    source: str
    task: str = "expression"
    select_share: float | None = None
    fold_salt: str = ""

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ProtocolError(
                f"expected protocol {self.name!r} to have a task of {', '.join(TASKS)}, got {self.task!r}"
            )
        metrics = METRICS[self.task]
        if self.metric not in metrics:
            raise ProtocolError(
                f"expected protocol {self.name!r} to have a metric of {', '.join(metrics)}, got {self.metric!r}"
            )
        if self.select == self.test:
            raise ProtocolError(
                f"expected protocol {self.name!r} to choose the epoch on another split than it reports, got "
                f"{self.select!r} for both. Choose on a part of the training pictures."
            )
        if self.train in (self.select, self.test):
            raise ProtocolError(
                f"expected protocol {self.name!r} to learn from a split of its own, got {self.train!r} twice"
            )
        if self.folds < 1 or self.folds == 2:
            raise ProtocolError(
                f"expected protocol {self.name!r} to have 1 fold or at least 3 (one tests, one chooses, the "
                f"rest teach), got {self.folds}"
            )


def protocol_names() -> list[str]:
    """Names of all protocols."""
    folder = resources.files("mien.datasets") / "protocols"
    return sorted(file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json"))


def load_protocol(name: str) -> Protocol:
    """A protocol by name.

    Raises:
        UnknownNameError: there is none of that name.
        ProtocolError: it would choose on its test split, or its file is not whole.
    """
    if name not in protocol_names():
        raise UnknownNameError("protocol", name, protocol_names())
    text = (resources.files("mien.datasets") / "protocols" / f"{name}.json").read_text()
    return protocol_from(json.loads(text))


def protocol_from(stored: Mapping[str, Any]) -> Protocol:
    """A protocol from the content of its file; see `load_protocol`."""
    try:
        splits = {split: SplitFacts(**facts) for split, facts in stored["splits"].items()}
        return Protocol(**{**stored, "labels": tuple(stored["labels"]), "splits": splits})
    except (KeyError, TypeError) as error:
        raise ProtocolError(f"expected a whole protocol, got one without or with a bad {error}") from error


def people_of_split(protocol: Protocol, people: Collection[str], split: str, fold: int) -> set[str]:
    """Who is in a split of a protocol with folds, when one fold is tested.

    Args:
        protocol: with more than one fold.
        people: everybody in the data set.
        split: its `train`, `select` or `test`.
        fold: the tested one.

    Raises:
        DataError: there is no such fold.
    """
    if not 0 <= fold < protocol.folds:
        raise DataError(f"expected a fold from 0 to {protocol.folds - 1}, got {fold}")
    salt = protocol.fold_salt
    dealt = sorted(people, key=lambda name: (name_share(f"{salt}:{name}"), name)) if salt else sorted(people)
    number = {person: index % protocol.folds for index, person in enumerate(dealt)}
    tested = {person for person in dealt if number[person] == fold}
    if protocol.select_share is None:
        select = {person for person in dealt if number[person] == (fold + 1) % protocol.folds}
    else:
        others = sorted(set(dealt) - tested, key=lambda name: name_share(f"select:{salt}:{name}"))
        select = set(others[: max(1, round(protocol.select_share * len(others)))])
    return {protocol.test: tested, protocol.select: select}.get(split, set(dealt) - tested - select)


def ids_hash(ids: Sequence[str]) -> str:
    """sha256 of the ids in order, one a line."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def name_share(name: str) -> float:
    """A number in [0, 1) that depends on a name alone: the first 8 bytes of its sha256, over 2**64."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def held_out(name: str, share: float) -> bool:
    """Whether a person (or picture) is in the part of that share which is held out, for ever the same.

    Needs no seed and no list, and adding people moves nobody. Put the data set before the name
    ("muxspace:ann"), so that two sets do not hold out the same numbers.
    """
    return name_share(name) < share


def freeze(draft: Protocol, dataset: Dataset, root: str | Path, source: str = "counted here") -> Protocol:
    """Count a protocol's splits on the real data, to be stored by `protocol_text`.

    Args:
        draft: the protocol; its `splits` are replaced.
        dataset: reads it.
        root: the real data, in the form in which it is distributed.
        source: where the counts come from.

    Raises:
        ProtocolError: a picture is in two splits, a person is although `subjects_disjoint`, or a class has no
            picture to learn from.
    """
    if draft.folds > 1:
        whole = dataset.samples(root, draft, "all", check=False)
        _refuse_untaught(draft, whole)
        return replace(draft, splits={"all": _facts(whole, source)})
    names = (draft.train, draft.select, draft.test)
    parts = {name: dataset.samples(root, draft, name, check=False) for name in names}
    _refuse_untaught(draft, parts[draft.train])
    _refuse_shared(draft, "picture", {name: set(part.ids) for name, part in parts.items()})
    if draft.subjects_disjoint:
        people = {name: set(part.subjects or ()) - {""} for name, part in parts.items()}
        _refuse_shared(draft, "person", people)
    return replace(draft, splits={name: _facts(part, source) for name, part in parts.items()})


def _facts(part: Samples, source: str) -> SplitFacts:
    return SplitFacts(len(part), part.counts, ids_hash(part.ids), source)


def _refuse_untaught(draft: Protocol, train: Samples) -> None:
    absent = [label for label, count in train.counts.items() if not count]
    if absent:
        raise ProtocolError(
            f"expected pictures of every class in {draft.train!r} of {draft.name!r}, got none of "
            f"{', '.join(absent)}. Leave the class out of `labels`."
        )


def _refuse_shared(draft: Protocol, kind: str, members: Mapping[str, set[str]]) -> None:
    names = list(members)
    for first, second in ((a, b) for index, a in enumerate(names) for b in names[index + 1 :]):
        shared = sorted(members[first] & members[second])
        if shared:
            raise ProtocolError(
                f"expected no {kind} in two splits of {draft.name!r}, got {len(shared)} in both {first!r} and "
                f"{second!r}, such as {shared[0]!r}"
            )


def protocol_text(protocol: Protocol) -> str:
    """A protocol as the content of its file, `protocols/<name>.json`."""
    stored = asdict(protocol)
    for facts in stored["splits"].values():
        if not facts["ids_sha256_also"]:
            del facts["ids_sha256_also"]
    for name in ("task", "select_share", "fold_salt"):
        if stored[name] == Protocol.__dataclass_fields__[name].default:
            del stored[name]
    return json.dumps(stored, indent=2, ensure_ascii=False) + "\n"
