"""What is audited: pictures with their classes, and columns of any kind by which they are grouped.

A table has the columns `path` and `label`, and any others; paths are relative to its folder. Of a registered data set the
columns are what it tells beside the class (age, gender, race ...), and those of a table whose first column names its pictures.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.datasets.dataset import DATASETS
from mien.datasets.pictures import decode
from mien.datasets.protocol import load_protocol
from mien.errors import DataError, DataNotFoundError, LabelError, OptionError, UnknownNameError
from mien.evaluate.model import refuse_other_fold
from mien.labels.expressions import canonical
from mien.weights.store import Weights

SUBJECTS = ("subject", "participant", "identity")
"""Columns of a table that are taken for the person, the first that is there."""
COUNTED = "pictures_of_subject"
"""A column that is made where persons are known: how many pictures there are of a picture's person."""
COUNTS = ((1, "1"), (5, "2 to 5"), (20, "6 to 20"), (np.inf, "over 20"))
NUMBERS_FROM = 10
"""A column of numbers with more different ones than that is cut into quarters."""
MOST_GROUPS = 50


@dataclass(frozen=True, eq=False)
class AuditData:
    """Pictures to audit.

    Attributes:
        facts: what they are, for the report.
        ids: a name of each picture.
        labels: the K classes that are answered, the network's or the protocol's.
        truth: int (N,), classes.
        read: gives picture i as uint8, grey or RGB; raises `DataError`.
        framing: "crop" or "photo", see `mien.faces.crops.face_of`.
        columns: name -> one text a picture, "" where it is not told.
        subjects: the person of each picture, `None` where none is told; who has no name is alone.
    """

    facts: Mapping[str, Any]
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    truth: np.ndarray
    read: Callable[[int], np.ndarray]
    framing: str
    columns: Mapping[str, Sequence[str]]
    subjects: tuple[str, ...] | None


def of_table(
    table: str | Path, labels: Sequence[str], subject: str | None = None, photos: bool = False
) -> AuditData:
    """The pictures of a table with `path` and `label`.

    Args:
        table: a .csv file, or a folder with `labels.csv`.
        labels: the network's classes; a label is one of them, or a synonym of one ("happiness").
        subject: column that names the person; one of `SUBJECTS` where it is left out and one is there.
        photos: the pictures are photographs, of which the largest face is read; else each is a cut-out of one face.

    Raises:
        DataNotFoundError: no such file.
        DataError: a column is missing, there is no row, or a picture is named twice.
        LabelError: labels that the network does not have.
        OptionError: no column of that name for the person.
    """
    path = Path(table)
    path = path / "labels.csv" if path.is_dir() else path
    head, rows = read_rows(path)
    if not {"path", "label"} <= set(head):
        raise DataError(
            f"expected the columns path, label in {path}, got {', '.join(head) or 'none'}. Group columns go beside them."
        )
    twice = [name for name, times in Counter(row["path"] for row in rows).items() if times > 1]
    if twice:
        raise DataError(
            f"expected each picture once in {path}, got {twice[0]!r} more than once ({len(twice)} such)"
        )
    if subject is not None and subject not in head:
        raise OptionError(f"expected --subject among {', '.join(head)}, got {subject!r}")
    truth = _truth([row["label"] for row in rows], tuple(labels), path)
    files = [path.parent / row["path"] for row in rows]
    columns = {name: [row[name] for row in rows] for name in head if name not in ("path", "label")}
    people = columns.pop(subject or next((name for name in SUBJECTS if name in columns), ""), None)
    digest = hashlib.sha256("\n".join(f"{row['path']}\t{row['label']}" for row in rows).encode())
    return AuditData(
        {"data": path.name, "data_sha256": digest.hexdigest()},
        tuple(row["path"] for row in rows),
        tuple(labels),
        truth,
        lambda index: decode(files[index], files[index]),
        "photo" if photos else "crop",
        _with_counts(columns, people),
        _named(people),
    )


def of_protocol(
    name: str,
    root: str | Path,
    split: str | None = None,
    fold: int = 0,
    more: str | Path | None = None,
    check: bool = True,
    weights: Weights | None = None,
) -> AuditData:
    """One split of a registered data set under its protocol; without a single class, a picture is left out.

    Args:
        name: of the protocol.
        root: folder of the data set.
        split: the test split where it is left out.
        fold: which fold is tested, where there are folds.
        more: a table of more columns; its first column holds the data set's names of pictures.
        check: hold the data to the protocol's frozen counts.
        weights: of the network that is to be audited.

    Raises:
        OptionError: a protocol of action units or of motion pictures, or the network was trained for another fold.
        DataError: the table does not name the pictures.
        DataNotFoundError, UnknownNameError: no such data, protocol or split.
    """
    protocol = load_protocol(name)
    split = split or protocol.test
    if weights is not None:
        refuse_other_fold(weights, protocol, fold)
    samples = DATASETS[protocol.dataset].samples(root, protocol, split, fold, check)
    if samples.task != "expression" or samples.framing == "ready":
        raise OptionError(
            f"expected a protocol of faces with one class each, got {name!r}. `mien evaluate` measures it."
        )
    rows = np.flatnonzero(samples.target >= 0)
    ids = tuple(samples.ids[row] for row in rows)
    columns: dict[str, Sequence[str]] = {
        key: [_text(values[row]) for row in rows] for key, values in samples.extras.items() if values.ndim == 1
    }  # fmt: skip
    if more is not None:
        columns |= _more(Path(more), ids)
    people = None if samples.subjects is None else [samples.subjects[row] for row in rows]
    return AuditData(
        {"data": f"{name}, {split}" + (f", fold {fold}" if protocol.folds > 1 else ""), "data_sha256": samples.sha256},
        ids,
        protocol.labels,
        samples.target[rows],
        lambda index: samples.read(int(rows[index])),
        samples.framing,
        _with_counts(columns, people),
        _named(people),
    )  # fmt: skip


class Groups(list[tuple[str, np.ndarray]]):
    """The groups of one column: name and rows, (N_g,); `missing` pictures are in none."""

    missing: int = 0


def groups_of(values: Sequence[str]) -> Groups:
    """The groups of a column: one a value; of more than ten different numbers, quarters of equal size.

    Raises:
        OptionError: fewer than two groups, or more than fifty.
    """
    told = np.array([row for row, value in enumerate(values) if value != ""], int)
    numbers = _numbers([values[row] for row in told])
    groups = Groups()
    groups.missing = len(values) - len(told)
    if numbers is not None and len(np.unique(numbers)) > NUMBERS_FROM:
        edges = np.unique(np.quantile(numbers, (0.25, 0.5, 0.75)))
        place = np.searchsorted(edges, numbers)
        for number in np.unique(place):
            inside = numbers[place == number]
            name = (
                f"{inside.min():g}"
                if inside.min() == inside.max()
                else f"{inside.min():g} to {inside.max():g}"
            )
            groups.append((name, told[place == number]))
    else:
        names = np.array([values[row] for row in told], object)
        order = _in_order(sorted(set(names.tolist())))
        groups.extend((name, told[names == name]) for name in order)
    if len(groups) < 2:
        raise OptionError(
            f"one group ({groups[0][0]!r}) and nothing to compare it with" if groups else "no value at all"
        )
    if len(groups) > MOST_GROUPS:
        raise OptionError(f"{len(groups)} groups, at most {MOST_GROUPS} are compared; join some first")
    return groups


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a table, .csv or with tabs .tsv; cells without the blanks around them, "" where one is missing.

    Raises:
        DataNotFoundError: no such file.
        DataError: it is no text, names a column twice, or has no row.
    """
    if not path.is_file():
        raise DataNotFoundError(f"expected a table at {path}, got no such file. Check the path.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stored:
            reader = csv.reader(stored, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            lines = [[cell.strip() for cell in line] for line in reader if any(line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"expected a table of text with commas in {path}, got {error}") from error
    head = lines[0] if lines else []
    if len(set(head)) != len(head):
        raise DataError(f"expected each column once in {path}, got {', '.join(head)}")
    wrong = next((number for number, line in enumerate(lines, 1) if len(line) > len(head)), None)
    if wrong is not None:
        raise DataError(
            f"expected {len(head)} cells in each row of {path}, got {len(lines[wrong - 1])} in row {wrong}"
        )
    if len(lines) < 2:
        raise DataError(f"expected rows in {path}, got none")
    return head, [dict(zip(head, line + [""] * (len(head) - len(line)), strict=True)) for line in lines[1:]]


def _truth(named: Sequence[str], labels: tuple[str, ...], path: Path) -> np.ndarray:
    index, unknown = {name: place for place, name in enumerate(labels)}, set()
    for name in set(named):
        try:
            known = name if name in labels else canonical(name)
        except UnknownNameError:
            known = ""
        if known in labels:
            index[name] = labels.index(known)
        else:
            unknown.add(name)
    if unknown:
        raise LabelError(
            f"expected labels of the network ({', '.join(labels)}) in {path}, got "
            f"{', '.join(repr(name) for name in sorted(unknown))}. Leave these pictures out, or name the class it answers."
        )
    return np.array([index[name] for name in named], np.int64)


def _more(path: Path, ids: Sequence[str]) -> dict[str, Sequence[str]]:
    """The columns of a table for some pictures, without the class; a picture that it does not name is not told."""
    head, rows = read_rows(path)
    found = {row[head[0]]: row for row in rows}
    if not any(name in found for name in ids):
        raise DataError(
            f"expected the data set's names of pictures, such as {ids[0]!r}, in the first column of {path}, "
            f"got {rows[0][head[0]]!r}"
        )
    return {
        column: [found.get(name, {}).get(column, "") for name in ids]
        for column in head[1:]
        if column != "label"
    }


def _with_counts(
    columns: Mapping[str, Sequence[str]], people: Sequence[str] | None
) -> dict[str, Sequence[str]]:
    """The columns, and how many pictures there are of each picture's person."""
    if people is None or not any(people):
        return dict(columns)
    times = Counter(people)
    return {
        **columns,
        COUNTED: [next(text for most, text in COUNTS if times[name] <= most) if name else "" for name in people],
    }  # fmt: skip


def _named(people: Sequence[str] | None) -> tuple[str, ...] | None:
    """People with a name for each."""
    if people is None or not any(people):
        return None
    return tuple((name and f"p {name}") or f"alone {row}" for row, name in enumerate(people))


def _text(value: Any) -> str:
    """A label of a data set as a text; NaN and -1 are not told."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return "" if np.isnan(value) or value == -1 else f"{value:g}"


def _numbers(values: Sequence[str]) -> np.ndarray | None:
    """All values as numbers; `None` where one is none."""
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _in_order(names: list[str]) -> list[str]:
    """Numbers, and texts that begin with one ("20-29"), by the number; others by name."""

    def key(name: str) -> tuple[float, str]:
        digits = name.split(" ")[0].split("-")[0]
        return (float(digits), name) if digits.replace(".", "", 1).isdigit() else (np.inf, name)

    return sorted(names, key=key)
