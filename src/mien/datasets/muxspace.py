"""muxspace/facial_expressions: press photographs and film frames with eight labels, split by person.

Source: github.com/muxspace/facial_expressions (Apache-2.0 repository, third-party pictures). Labels are
rough: happy, neutral, angry and sad are mostly right, surprise about two in three, disgust about one in
five; fear and contempt have a handful of pictures.

Layout read here: `labels.csv` (file, label, split, identity, ...) and `images_112.zip` (112 x 112 JPEG).
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mien.errors import DataNotFoundError, UnknownNameError
from mien.labels.expressions import canonical

SPLITS = ("train", "val")


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
        return [
            MuxspaceRow(members[row["file"]], canonical(row["label"]), row["identity"])
            for row in csv.DictReader(stored)
            if row["split"] == split
        ]


def images(root: str | Path, wanted: list[MuxspaceRow]) -> Iterator[np.ndarray]:
    """The RGB uint8 (112, 112, 3) pictures of some rows, one after the other."""
    with zipfile.ZipFile(Path(root) / "images_112.zip") as pictures:
        for row in wanted:
            yield np.asarray(Image.open(io.BytesIO(pictures.read(row.member))).convert("RGB"))


def sha256(root: str | Path) -> str:
    """Hash of the archive with the pictures."""
    return hashlib.sha256((Path(root) / "images_112.zip").read_bytes()).hexdigest()
