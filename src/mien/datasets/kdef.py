"""KDEF: 4,900 posed portraits of 70 people, seven classes, five views, two sessions.

Source: Lundqvist, Flykt, Oehman, "The Karolinska Directed Emotional Faces", Karolinska Institutet, 1998. Nobody here has
seen the files: layout and all counts are from memory. A name is session, sex, number, expression, view:
`AF01ANFL.JPG`. Two files carry damaged names; `DAMAGED_NAMES` says what public readers of the set take them for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mien.datasets.dataset import Dataset, Reader, Row, register
from mien.datasets.drawn import drawn_photo, save, stable_seed
from mien.datasets.protocol import Protocol
from mien.datasets.reading import class_of, file_reader, files_of, wrong
from mien.labels.expressions import CODES

VIEWS_DEG = {"FL": -90, "HL": -45, "S": 0, "HR": 45, "FR": 90}
"""Full left, half left, straight, half right, full right, as the names have it; left counts as negative."""

DAMAGED_NAMES = {"AF31V": "AF31SAHL", "AM31H": "AM31SUHR"}
"""Files as distributed -> the name they stand for."""

WHOLE = dict.fromkeys(CODES["kdef"].values(), 700)
"""All 4,900 portraits: 70 people x 7 x 5 views x 2 sessions (from memory)."""

_NAME = re.compile(r"([AB])([FM])(\d\d)([A-Z]{2})(FL|HL|S|HR|FR)")


@register
class Kdef(Dataset):
    """The Karolinska Directed Emotional Faces."""

    name = "kdef"
    title = "KDEF, Karolinska Directed Emotional Faces"
    licence = "non-commercial research, by request (from memory)"
    apply_at = "https://www.kdef.se (from memory)"
    layout = "ROOT/AF01/AF01ANFL.JPG  (or ROOT/KDEF/AF01/...), 140 folders of 35 files"
    framing = "photo"
    splits = ("all",)
    expected = {"all": WHOLE}
    expected_source = "from memory"

    def rows(self, root: Path) -> list[Row]:
        """Rows in name order; a subject is sex and number, over both sessions.

        `extras` hold "view_deg" (`VIEWS_DEG`) and "session" (1 for A, 2 for B). See `Dataset.rows`.
        """
        home = root / "KDEF" if (root / "KDEF").is_dir() else root
        folders = sorted(path for path in home.iterdir() if path.is_dir()) if home.is_dir() else []
        rows = [_row(path) for folder in folders for path in files_of(folder, ".jpg")]
        if not rows:
            raise self.not_found(home / "AF01" / "AF01ANFL.JPG")
        return rows

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The portraits, RGB (762, 562, 3)."""
        home = root / "KDEF" if (root / "KDEF").is_dir() else root
        return file_reader([home / row.id for row in rows])

    def labelled(self, row: Row, protocol: Protocol) -> tuple[int, np.ndarray | None] | None:
        """As `Dataset.labelled`; the frontal protocol takes straight views only."""
        if protocol.name == "kdef_frontal" and row.extras["view_deg"] != 0:
            return None
        return super().labelled(row, protocol)

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw people for `per_class` straight views of each class in each of ten folds, and one more view."""
        for index in range(10 * math.ceil(per_class / 2)):
            person = f"{'FM'[index % 2]}{index // 2 + 1:02d}"
            for session, view in (("A", "S"), ("B", "S"), ("A", "HL")):
                for code, label in CODES["kdef"].items():
                    stem = f"{session}{person}{code}{view}"
                    own = stable_seed(seed, stem)
                    photo = drawn_photo(140, 190, [(label, (16, 36, 108), own)], own)
                    save(root / "KDEF" / stem[:4] / f"{stem}.JPG", photo)


def _row(path: Path) -> Row:
    name = _NAME.fullmatch(DAMAGED_NAMES.get(path.stem, path.stem))
    if name is None:
        expected = "a name such as 'AF01ANFL.JPG' (session A or B, sex, number, expression, view)"
        raise wrong(str(path), expected, path.name)
    session, sex, number, code, view = name.groups()
    extras = {"view_deg": VIEWS_DEG[view], "session": " AB".index(session)}
    id = f"{path.parent.name}/{path.name}"
    return Row(id, "all", class_of("kdef", code, str(path)), sex + number, extras)
