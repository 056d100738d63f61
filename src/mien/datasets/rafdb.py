"""RAF-DB: faces from the web with seven basic classes, and its second part with eleven compound ones.

Source: Li, Deng, Du, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in
the Wild", CVPR 2017. Nobody here has seen the files: layout of the folders and all counts are from memory, the
list's lines and the aligned names as public readers of the set write them, the attributes as its README does.
`list_patition_label.txt` is spelt so.

The official split has training and test pictures only. One in ten of each training class, chosen by the hash of
its name, is "train_held_out" and selects; the official training count is the sum of both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from mien.datasets.dataset import Dataset, Reader, Row, register
from mien.datasets.drawn import drawn_face, save, stable_seed
from mien.datasets.held_out import HELD_OUT, CountedWhole, counts_after, enough_for, hold_out
from mien.datasets.reading import at_line, class_of, file_reader, numbered_lines, wrong
from mien.labels.attributes import RAFDB_ATTRIBUTES
from mien.labels.expressions import CODES

TRAIN = {
    "surprise": 1290,
    "fear": 281,
    "disgust": 717,
    "happy": 4772,
    "sad": 1982,
    "angry": 705,
    "neutral": 2524,
}
"""The whole official training split, 12,271 pictures (from memory)."""

TEST = {"surprise": 329, "fear": 74, "disgust": 160, "happy": 1185, "sad": 478, "angry": 162, "neutral": 680}
"""The official test split, 3,068 pictures (from memory)."""

COMPOUND = {
    "happily_surprised": 697,
    "happily_disgusted": 266,
    "sadly_fearful": 129,
    "sadly_angry": 163,
    "sadly_surprised": 86,
    "sadly_disgusted": 738,
    "fearfully_angry": 150,
    "fearfully_surprised": 560,
    "angrily_surprised": 176,
    "angrily_disgusted": 841,
    "disgustedly_surprised": 148,
}
"""The compound part, training and test together, 3,954 pictures (from memory)."""

_NAME = re.compile(r"(train|test)_\d+\.jpg")
_LIST = "EmoLabel/list_patition_label.txt"
_MANUAL = "Annotation/manual"
_POINTS = 5


class _RafDbPart(Dataset):
    """What both parts share: one list, aligned faces of 100 x 100 pixels."""

    part: ClassVar[str]
    licence = "academic research only, by request (from memory)"
    apply_at = "http://www.whdeng.cn/raf/model1.html, by e-mail from an academic address"
    framing = "crop"
    splits = ("train", HELD_OUT, "test")
    expected_source = "from memory"

    def rows(self, root: Path) -> list[Row]:
        """Rows in the list's order, the held-out part named; see `Dataset.rows`.

        Where the folder of manual annotations is there, `extras` hold "gender", "race" and "age", indices of
        `RAFDB_ATTRIBUTES`.
        """
        listed, manual = self._home(root) / _LIST, self._home(root) / _MANUAL
        attributed = manual.is_dir()
        if not listed.is_file():
            raise self.not_found(listed)
        rows = []
        for number, line in numbered_lines(listed):
            fields, where = line.split(), at_line(listed, number)
            name = _NAME.fullmatch(fields[0])
            if len(fields) != 2 or name is None:
                raise wrong(where, "a name and a class, such as 'train_00001.jpg 5'", line)
            id = fields[0].removesuffix(".jpg")
            extras = _attributes(manual / f"{id}_manu_attri.txt") if attributed else {}
            rows.append(Row(id, name[1], class_of(self.name, fields[1], where), extras=extras))
        return hold_out(rows)

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The aligned faces, RGB (100, 100, 3)."""
        folder = self._home(root) / "Image" / "aligned"
        return file_reader([folder / f"{row.id}_aligned.jpg" for row in rows])

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw `per_class` faces for each class of "train" and of "test", and some more to hold out."""
        lines = []
        for split, count, digits in (("train", enough_for(per_class), 5), ("test", per_class, 4)):
            number = 0
            for _ in range(count):
                for code, label in CODES[self.name].items():
                    number += 1
                    stem = f"{split}_{number:0{digits}d}"
                    lines.append(f"{stem}.jpg {code}\n")
                    path = root / self.part / "Image" / "aligned" / f"{stem}_aligned.jpg"
                    save(path, drawn_face(label, 100, stable_seed(seed, stem)))
                    noted = [str(number % len(values)) for values in RAFDB_ATTRIBUTES.values()]
                    told = root / self.part / _MANUAL / f"{stem}_manu_attri.txt"
                    told.parent.mkdir(parents=True, exist_ok=True)
                    told.write_text("\n".join(["50.0\t50.0"] * _POINTS + noted) + "\n")
        listed = root / self.part / _LIST
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("".join(lines))

    def _home(self, root: Path) -> Path:
        """`root` may be the whole set, or the folder of this part."""
        return root / self.part if (root / self.part).is_dir() else root


def _attributes(path: Path) -> dict[str, int]:
    """The last three lines of a file of five points and three numbers, by name.

    Raises:
        DataError: it is missing, or not so.
    """
    lines = list(numbered_lines(path))
    if len(lines) != _POINTS + len(RAFDB_ATTRIBUTES):
        expected = f"{_POINTS} lines of points, then {', '.join(RAFDB_ATTRIBUTES)}"
        raise wrong(str(path), expected, f"{len(lines)} lines")
    found = {}
    for (name, values), (number, text) in zip(RAFDB_ATTRIBUTES.items(), lines[_POINTS:], strict=True):
        if text not in map(str, range(len(values))):
            raise wrong(at_line(path, number), f"{name} from 0 to {len(values) - 1}", text)
        found[name] = int(text)
    return found


@register
class RafDb(_RafDbPart):
    """RAF-DB basic: 15,339 faces, seven classes."""

    name = "rafdb"
    part = "basic"
    title = "RAF-DB, basic expressions"
    layout = (
        "ROOT/basic/  (or ROOT itself)\n"
        "  EmoLabel/list_patition_label.txt    train_00001.jpg 5\n"
        "  Image/aligned/train_00001_aligned.jpg\n"
        "  Annotation/manual/train_00001_manu_attri.txt    optional: 5 points, gender, race, age"
    )
    expected = {**counts_after(TRAIN), "test": TEST}


@register
class RafDbCompound(_RafDbPart, CountedWhole):
    """RAF-DB compound: 3,954 faces, eleven classes; the classes are known of training and test together."""

    name = "rafdb_compound"
    part = "compound"
    title = "RAF-DB, compound expressions"
    layout = (
        "ROOT/compound/  (or ROOT itself)\n"
        "  EmoLabel/list_patition_label.txt    train_0001.jpg 4\n"
        "  Image/aligned/train_0001_aligned.jpg\n"
        "  Annotation/manual/train_0001_manu_attri.txt    optional: 5 points, gender, race, age"
    )
    expected = {"all": COMPOUND}
