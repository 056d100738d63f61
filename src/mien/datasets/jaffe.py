"""JAFFE: 213 grey portraits of ten Japanese women, seven classes.

Source: Lyons, Akamatsu, Kamachi, Gyoba, "Coding Facial Expressions with Gabor Wavelets", FG 1998; Zenodo record
3451524 (213 pictures, ten women, 256 x 256, 8-bit grey tiff). Nobody here has seen the files: the counts of each class
are from memory. A name is subject.expression and take.number: `KA.AN1.39.tiff`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mien.datasets.dataset import Dataset, Reader, Row, register
from mien.datasets.drawn import drawn_photo, save, stable_seed
from mien.datasets.reading import class_of, file_reader, files_of, wrong
from mien.labels.expressions import CODES

WOMEN = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
"""The ten subjects, as the files write them."""

WHOLE = {"angry": 30, "disgust": 29, "fear": 32, "happy": 31, "neutral": 30, "sad": 31, "surprise": 30}
"""All 213 portraits (from memory)."""

_NAME = re.compile(r"([A-Z]{2})\.([A-Z]{2})(\d)\.(\d+)")


@register
class Jaffe(Dataset):
    """The Japanese Female Facial Expression set."""

    name = "jaffe"
    title = "JAFFE, Japanese Female Facial Expression"
    licence = "non-commercial scientific research, no redistribution"
    apply_at = "https://zenodo.org/record/3451524, restricted access"
    layout = "ROOT/KA.AN1.39.tiff  (or ROOT/jaffe/KA.AN1.39.tiff), 213 files of ten women"
    framing = "photo"
    splits = ("all",)
    expected = {"all": WHOLE}
    expected_source = "from memory"

    def rows(self, root: Path) -> list[Row]:
        """Rows in name order; the subject is the woman. See `Dataset.rows`."""
        folder = root / "jaffe" if (root / "jaffe").is_dir() else root
        paths = files_of(folder, ".tiff", ".tif") if folder.is_dir() else []
        if not paths:
            raise self.not_found(folder / "KA.AN1.39.tiff")
        return [self._row(path) for path in paths]

    def _row(self, path: Path) -> Row:
        name = _NAME.fullmatch(path.stem)
        if name is None:
            raise wrong(str(path), "a name such as 'KA.AN1.39.tiff'", path.name)
        if name[1] not in WOMEN:
            raise wrong(str(path), f"one of the women {', '.join(WOMEN)}", name[1])
        return Row(path.name, "all", class_of("jaffe", name[2], str(path)), name[1])

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The portraits, grey (256, 256)."""
        folder = root / "jaffe" if (root / "jaffe").is_dir() else root
        return file_reader([folder / row.id for row in rows])

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw `per_class` takes of each expression for each of ten women."""
        number = 0
        for woman in WOMEN:
            for code, label in CODES["jaffe"].items():
                for take in range(1, per_class + 1):
                    number += 1
                    own = stable_seed(seed, f"{woman} {code} {take}")
                    photo = drawn_photo(256, 256, [(label, (48, 48, 160), own)], own)
                    grey = np.asarray(Image.fromarray(photo).convert("L"))
                    save(root / f"{woman}.{code}{take}.{number}.tiff", grey)
