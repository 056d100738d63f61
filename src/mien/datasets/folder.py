"""Your own pictures: a folder of class folders, or a table with columns path, label[, subject][, split].

    root/happy/*.jpg, root/sad/*.jpg                    divided here into train, select and test
    root/train/happy/*.jpg, root/test/happy/*.jpg       taken as it is; what is missing is divided off train
    root/labels.csv, or the path of any .csv            paths are relative to the table's folder

The division needs no seed and no list. A person (or, where there is no `subject`, a picture by its file name)
goes where `name_share` says: under 0.15 to test, under 0.3 to select, else to train. Then, class by class,
people whose classes are still there without them are moved, the smallest share first, until each class is
in each part, as far as there are enough people or pictures. The same folder always gives the same parts.

There is no frozen protocol, since nobody else has the folder: `protocol_of` makes one.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from mien.datasets.dataset import Dataset, Reader, Row, named_classes, register
from mien.datasets.drawn import grey_faces
from mien.datasets.pictures import decode
from mien.datasets.protocol import Protocol, freeze, name_share
from mien.errors import DataError
from mien.labels.expressions import EXPRESSIONS
from mien.transforms.pixels import CAMERA_SUFFIXES, PICTURE_SUFFIXES

SUFFIXES = PICTURE_SUFFIXES | CAMERA_SUFFIXES | {".gif"}
"""Of files in class folders; what a camera wrote and cannot be read is told with what else was left out."""
PARTS = ("train", "select", "test")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "select": "select",
    "val": "select",
    "valid": "select",
    "validation": "select",
    "test": "test",
    "testing": "test",
}
"""Names of split folders, and of values of the column `split`."""
SHARE = 0.15
"""Share of people (or pictures) for select, and for test."""


@register
class Folder(Dataset):
    """Pictures of your own.

    Args:
        own_classes: take folder names (or labels) as classes of their own, instead of mien's eight.
    """

    name = "folder"
    title = "A folder of your own"
    licence = "yours"
    apply_at = "it is your own data"
    layout = (
        "  <class>/*.jpg                    class folders: neutral, happy, ...\n"
        "or\n"
        "  train/<class>/*.jpg, test/<class>/*.jpg, with or without val/<class>/*.jpg\n"
        "or\n"
        "  labels.csv                       path,label[,subject][,split]"
    )
    splits = PARTS

    def __init__(self, own_classes: bool = False, photos: bool = False) -> None:
        self.own_classes = own_classes
        self.framing = "photo" if photos else "crop"

    def rows(self, root: Path) -> list[Row]:
        """Every picture, by name or in the table's order, each in its part; the id is the relative path."""
        table = table_of(root)
        rows = self._of_table(table) if table else self._of_folders(root)
        if not rows:
            raise self.not_found(root)
        return divide(rows)

    def _named(self, names: Sequence[str], where: Path) -> Mapping[str, str]:
        if self.own_classes:
            return {name: name for name in names}
        try:
            return named_classes(names, where)
        except DataError as error:
            raise DataError(
                f"{error}. To keep names of your own, use --own-classes, or Folder(own_classes=True)."
            ) from None

    def _of_folders(self, root: Path) -> list[Row]:
        if not root.is_dir():
            raise self.not_found(root)
        top = _folders(root)
        if top and all(folder.name.lower() in SPLIT_NAMES for folder in top):
            classes = [(SPLIT_NAMES[part.name.lower()], folder) for part in top for folder in _folders(part)]
        else:
            classes = [("", folder) for folder in top]
        named = self._named([folder.name for _, folder in classes], root)
        return [
            Row(path.relative_to(root).as_posix(), split, named[folder.name])
            for split, folder in classes
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        ]

    def _of_table(self, table: Path) -> list[Row]:
        lines = _lines(table)
        unknown = {line["split"] for line in lines} - {"", *SPLIT_NAMES}
        if unknown:
            raise DataError(
                f"expected the splits {', '.join(SPLIT_NAMES)} in {table}, got {', '.join(sorted(unknown))}"
            )
        named = self._named([line["label"] for line in lines], table)
        return [
            Row(
                line["path"],
                SPLIT_NAMES.get(line["split"], ""),
                named[line["label"]],
                line["subject"] or None,
            )
            for line in lines
        ]

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """Pictures one by one, grey or RGB, of any size."""
        table = table_of(root)
        folder = table.parent if table else root
        return lambda index: decode(folder / rows[index].id, folder / rows[index].id)

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw class folders, 64 x 64."""
        face = grey_faces(64, seed)
        for label in EXPRESSIONS:
            (root / label).mkdir(parents=True, exist_ok=True)
            for number in range(per_class):
                picture = Image.fromarray(face(label))
                picture.save(root / label / f"{label}_{number:03d}.png")


def _lines(table: Path) -> list[dict[str, str]]:
    """The lines of a table, each with path, label, subject and split, without blanks around them.

    Raises:
        DataError: it is no CSV in UTF-8, lacks a column, a line lacks its path or label, or two say different things
            of one picture.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as stored:
            reader = csv.DictReader(stored, restval="", skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            told = [
                (
                    reader.line_num,
                    {name: (line.get(name) or "").strip() for name in ("path", "label", "subject", "split")},
                )
                for line in reader
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"expected a CSV table in UTF-8, got {table}: {error}. Save it as 'CSV UTF-8'."
        ) from error
    if not {"path", "label"} <= set(columns):
        raise DataError(
            f"expected the columns path, label[, subject][, split] in {table}, got {', '.join(columns) or 'none'}"
        )
    bare = [number for number, line in told if not (line["path"] and line["label"])]
    if bare:
        raise DataError(
            f"expected a path and a label in each line of {table}, got {len(bare)} without, the first is line {bare[0]}. Fill "
            "them in, or take these lines out."
        )
    first: dict[str, dict[str, str]] = {}
    for number, line in told:
        if first.setdefault(line["path"], line) != line:
            raise DataError(
                f"expected one label, person and split of each picture in {table}, got others of {line['path']!r} in line {number}. "
                "Take the wrong line out."
            )
    return [line for _, line in told]


def table_of(root: Path) -> Path | None:
    """The table of a folder of the user's own, or `None` where its folders' names are the classes."""
    if root.suffix.lower() == ".csv" and root.is_file():
        return root
    return root / "labels.csv" if (root / "labels.csv").is_file() else None


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def divide(rows: Sequence[Row]) -> list[Row]:
    """Put rows whose split is "" into parts; see the module's text.

    Given splits stay, but what they lack ("select", "test") is divided off their train. A picture without a split goes
    where others of its person were put.

    Returns:
        the rows in their order, each in "train", "select" or "test".
    """
    rows = _with_their_person(rows)
    given = {row.split for row in rows} - {""}
    free = [row for row in rows if row.split in ("", "train")]
    missing = [part for part in PARTS if part not in given]
    parts = _divided(free, [part for part in ("test", "select") if part in missing])
    # A picture is known by its path, which a table may name twice; `verify` says so.
    return [row if row.split not in ("", "train") else replace(row, split=parts[_unit(row)]) for row in rows]


def _with_their_person(rows: Sequence[Row]) -> list[Row]:
    """The rows, those without a split in the first of `PARTS` that their person was given, if any."""
    first = {person: min(parts, key=PARTS.index) for person, parts in _parts_of_people(rows).items()}
    return [row if row.split else replace(row, split=first.get(row.subject or "", "")) for row in rows]


def torn(rows: Sequence[Row]) -> list[str]:
    """People whose given splits put them into more than one part, sorted."""
    return sorted(person for person, parts in _parts_of_people(rows).items() if len(parts) > 1)


def _parts_of_people(rows: Sequence[Row]) -> dict[str, set[str]]:
    """Person -> the parts that their pictures were put into."""
    places: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.subject and row.split:
            places[row.subject].add(row.split)
    return places


def _unit(row: Row) -> str:
    """What is moved as a whole: a person, or a picture."""
    return f"subject {row.subject}" if row.subject else f"picture {row.id}"


def _divided(rows: Sequence[Row], missing: Sequence[str]) -> dict[str, str]:
    """Unit -> part, the missing parts being held out of train."""
    classes: dict[str, set[str]] = defaultdict(set)
    share: dict[str, float] = {}
    for row in rows:
        classes[_unit(row)].add(row.label or "")
        share[_unit(row)] = name_share(row.subject or Path(row.id).name)
    bounds = {part: SHARE * (index + 1) for index, part in enumerate(missing)}
    parts = {
        unit: next((part for part, bound in bounds.items() if share[unit] < bound), "train") for unit in share
    }
    present = Counter((parts[unit], label) for unit, labels in classes.items() for label in labels)
    units = sorted(share, key=lambda unit: (share[unit], unit))
    lacking = True
    while lacking:
        lacking = False
        for part in ("train", *missing):
            for label in sorted({label for labels in classes.values() for label in labels}):
                unit = None if present[part, label] else _spare(part, label, units, parts, classes, present)
                if unit:
                    for moved in classes[unit]:
                        present[parts[unit], moved] -= 1
                        present[part, moved] += 1
                    parts[unit], lacking = part, True
    return parts


def _spare(
    part: str,
    label: str,
    units: Sequence[str],
    parts: Mapping[str, str],
    classes: Mapping[str, set[str]],
    present: Mapping[tuple[str, str], int],
) -> str | None:
    """The first unit with a class that can go to a part: nothing goes missing where it was.

    Train may take the last one of the class elsewhere, since what is not taught cannot be measured.
    """
    for unit in units:
        if label in classes[unit] and parts[unit] != part:
            left = min(present[parts[unit], other] for other in classes[unit]) - 1
            if left > 0 or part == "train":
                return unit
    return None


def protocol_of(
    root: str | Path, dataset: Folder | None = None, metric: str = "accuracy", name: str | None = None
) -> Protocol:
    """A protocol for a folder of your own: learn on train, choose on select, report on test.

    Args:
        root: the folder or table.
        dataset: `Folder(own_classes=True)` for classes of your own, `Folder(photos=True)` for photographs.
        metric: "accuracy", "uar" or "macro_f1".
        name: the protocol's name; that of the folder where it is left out.

    Raises:
        DataError: a part is empty: the folder has too few pictures.
        ProtocolError: a class has no picture to learn from.
    """
    dataset, root = dataset or Folder(), Path(root)
    rows = dataset.rows(root)
    found = {row.label for row in rows if row.label}
    labels = sorted(found) if dataset.own_classes else [label for label in EXPRESSIONS if label in found]
    there = {row.split for row in rows}
    missing = [part for part in ("train", "select", "test") if part not in there]
    if missing:
        raise DataError(
            f"expected pictures to train, select and test by in {root}, got {len(rows)} and none to {' or '.join(missing)}. A "
            "folder is divided by the names of persons or files: add pictures, or say each one's part in the column 'split' "
            "of a labels.csv."
        )
    places: dict[str | None, set[str]] = defaultdict(set)
    for row in rows:
        places[row.subject].add(row.split)
    draft = Protocol(
        name=name or f"folder_{root.stem}",
        dataset=dataset.name,
        labels=tuple(labels),
        train="train",
        select="select",
        test="test",
        metric=metric,
        folds=1,
        aggregation="single",
        subjects_disjoint=None not in places and all(len(parts) == 1 for parts in places.values()),
        splits={},
        source="divided by name, see mien.datasets.folder",
    )
    return freeze(draft, dataset, root)
