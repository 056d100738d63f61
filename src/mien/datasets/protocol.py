"""Frozen protocols: which pictures teach, which choose the epoch, which are measured, and how.

Each stands in `protocols/<name>.json`. A protocol that would choose on the split it reports is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from mien.errors import ProtocolError, UnknownNameError


@dataclass(frozen=True)
class SplitFacts:
    """What a split must hold.

    Attributes:
        pictures: how many.
        per_class: how many of each class, `None` where we do not know.
        ids_sha256: `ids_hash` of the ids in order, `None` where nobody here has seen the files.
        source: where the counts come from: "counted here", "reported by the authors", "from memory".
    """

    pictures: int
    per_class: Mapping[str, int] | None
    ids_sha256: str | None
    source: str


@dataclass(frozen=True)
class Protocol:
    """How a data set is used for a number that can be compared.

    Attributes:
        name: registry name, "ferplus_majority_8".
        dataset: registry name of the data set.
        labels: the classes in the order of the outputs.
        train, select, test: names of the splits; `select` chooses the epoch, temperature and thresholds.
        metric: the figure that is reported, "accuracy", "uar", "macro_f1".
        folds: number of cross-validation folds, 1 for fixed splits. With folds, the splits are made from
            subjects, and the fold after the tested one selects.
        aggregation: "single", "mean of folds" or "pooled".
        subjects_disjoint: no person is in two splits.
        splits: what each must hold.
        source: where the protocol is described.
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

    def __post_init__(self) -> None:
        if self.select == self.test:
            raise ProtocolError(
                f"expected protocol {self.name!r} to choose the epoch on another split than it reports, got "
                f"{self.select!r} for both. Choose on a part of the training pictures."
            )
        if self.train in (self.select, self.test):
            raise ProtocolError(
                f"expected protocol {self.name!r} to learn from a split of its own, got {self.train!r} twice"
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


def ids_hash(ids: Sequence[str]) -> str:
    """sha256 of the ids in order, one a line."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()
