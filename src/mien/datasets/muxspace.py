"""muxspace/facial_expressions: press photographs and film frames with eight labels, split by person.

Source: github.com/muxspace/facial_expressions (Apache-2.0 repository, third-party pictures). Labels are
rough: happy, neutral, angry and sad are mostly right, surprise about two in three, disgust about one in
five; fear and contempt have a handful of pictures.

Layout read here: `labels.csv` (file, label, split, identity, ...) and `images_112.zip` (112 x 112 JPEG), a
cleaned copy: duplicates and conflicting labels dropped, identity taken from the file name, train and val of
five stratified folds by identity.

Under the protocol `muxspace_5`, val is the test, and the people of train whose `held_out("muxspace:" +
identity, 0.15)` is true choose the epoch.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from mien.datasets.dataset import Dataset, Reader, Row, named_classes, register
from mien.datasets.drawn import grey_faces
from mien.datasets.pictures import decode
from mien.datasets.protocol import Protocol, held_out
from mien.errors import DataError, DataNotFoundError, UnknownNameError
from mien.labels.expressions import EXPRESSIONS, canonical

SPLITS = ("train", "val")
SELECT_SHARE = 0.15
"""Share of train's people who choose the epoch."""


@dataclass(frozen=True)
class MuxspaceRow:
    """One labelled picture: its member name in the archive, its class and the person shown."""

    member: str
    expression: str
    identity: str


def rows(root: str | Path, split: str) -> list[MuxspaceRow]:
    """The labelled pictures of a split, in file order.

    Raises:
        UnknownNameError: no such split.
        DataNotFoundError: the table or the archive is not under `root`.
        DataError: the archive lacks a file of the table.
    """
    if split not in SPLITS:
        raise UnknownNameError("muxspace split", split, SPLITS)
    table, archive = Path(root) / "labels.csv", Path(root) / "images_112.zip"
    for path in (table, archive):
        if not path.is_file():
            raise DataNotFoundError(
                f"muxspace not found: looked for {path}. Expected labels.csv and images_112.zip; "
                "pictures and legend: github.com/muxspace/facial_expressions."
            )
    with zipfile.ZipFile(archive) as pictures:
        members = {name.rsplit("/", 1)[-1]: name for name in pictures.namelist()}
    with table.open(newline="") as stored:
        listed = [row for row in csv.DictReader(stored) if row["split"] == split]
    absent = [row["file"] for row in listed if row["file"] not in members]
    if absent:
        raise DataError(
            f"expected {absent[0]!r} in {archive}, got no file of that name ({len(absent)} in all)"
        )
    return [MuxspaceRow(members[row["file"]], canonical(row["label"]), row["identity"]) for row in listed]


def images(root: str | Path, wanted: list[MuxspaceRow]) -> Iterator[np.ndarray]:
    """The RGB uint8 (112, 112, 3) pictures of some rows, one after the other."""
    with zipfile.ZipFile(Path(root) / "images_112.zip") as pictures:
        for row in wanted:
            yield np.asarray(Image.open(io.BytesIO(pictures.read(row.member))).convert("RGB"))


def sha256(root: str | Path) -> str:
    """Hash of the archive with the pictures."""
    return hashlib.sha256((Path(root) / "images_112.zip").read_bytes()).hexdigest()


@register
class Muxspace(Dataset):
    """muxspace/facial_expressions; the person is taken from the file name."""

    name = "muxspace"
    title = "muxspace/facial_expressions"
    licence = "Apache-2.0 (repository; the pictures are third parties')"
    apply_at = "https://github.com/muxspace/facial_expressions"
    layout = (
        "  labels.csv          file,label,split,identity (further columns are ignored)\n"
        "  images_112.zip      the files, 112 x 112"
    )
    framing = "crop"
    splits = SPLITS
    expected: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "train": dict(zip(EXPRESSIONS, (4117, 3416, 221, 160, 151, 141, 13, 5), strict=True)),
        "val": dict(zip(EXPRESSIONS, (1373, 1139, 73, 54, 51, 17, 4, 2), strict=True)),
    }
    expected_source = "counted here"

    def rows(self, root: Path) -> list[Row]:
        """Every picture of the table, in its order; the id is the file's name."""
        table = root / "labels.csv"
        for path in (table, root / "images_112.zip"):
            if not path.is_file():
                raise self.not_found(path)
        with table.open(newline="", encoding="utf-8-sig") as stored:
            reader = csv.DictReader(stored)
            absent = {"file", "label", "split", "identity"} - set(reader.fieldnames or ())
            if absent:
                raise DataError(f"expected the columns file, label, split, identity in {table}, not {absent}")
            lines = list(reader)
        named = named_classes((line["label"] for line in lines), table)
        others = {line["split"] for line in lines} - set(SPLITS)
        if others:
            raise DataError(
                f"expected the splits {', '.join(SPLITS)} in {table}, got {', '.join(sorted(others))}"
            )
        return [
            Row(line["file"], line["split"], named[line["label"]], line["identity"] or None) for line in lines
        ]

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """RGB (112, 112, 3), or grey; the compressed files are held in memory (37 MB in all)."""
        wanted = {row.id for row in rows}
        with _opened(root / "images_112.zip") as archive:
            members = {name.rsplit("/", 1)[-1]: name for name in archive.namelist()}
            # A damaged member shows when it is decoded, so that it is one problem of one picture.
            packed = {name: _bytes(archive, members[name]) for name in wanted & members.keys()}

        def read(index: int) -> np.ndarray:
            name = rows[index].id
            if name not in packed:
                raise DataError(f"expected {name!r} in images_112.zip, got no file of that name")
            return decode(packed[name], f"{name!r} in images_112.zip")

        return read

    def split_of(self, row: Row, protocol: Protocol) -> str:
        """Divides train by person; see the module's text."""
        if row.split == "train" and row.subject and held_out(f"muxspace:{row.subject}", SELECT_SHARE):
            return protocol.select
        return row.split

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw the table and the archive; each person has one picture, a third of train's choose."""
        drawn = grey_faces(112, seed)
        root.mkdir(parents=True, exist_ok=True)
        people = [f"person_{number}" for number in range(100 * per_class)]
        choose = [name for name in people if held_out(f"muxspace:{name}", SELECT_SHARE)]
        teach = [name for name in people if name not in choose]
        with (
            zipfile.ZipFile(root / "images_112.zip", "w") as archive,
            (root / "labels.csv").open("w") as table,
        ):
            table.write("file,label,split,identity\n")
            for split, pool in (("train", teach), ("train", choose), ("val", teach)):
                for label in EXPRESSIONS:
                    for _ in range(per_class):
                        person = pool.pop()
                        stored = io.BytesIO()
                        Image.fromarray(drawn(label)).convert("RGB").save(stored, "JPEG")
                        archive.writestr(f"{person}.jpg", stored.getvalue())
                        table.write(f"{person}.jpg,{label},{split},{person}\n")


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"expected a zip archive, got {path} ({error}). Copy it again.") from error


def _bytes(archive: zipfile.ZipFile, member: str) -> bytes:
    """A member's bytes, none where the archive is damaged there."""
    try:
        return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError):
        return b""
