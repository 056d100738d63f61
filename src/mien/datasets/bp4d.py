"""BP4D and BP4D+: people in front of a camera who are made to feel something, coded frame by frame for action units.

Sources: Zhang, Yin, Cohn, Canavan, Reale, Horowitz, Liu, Girard, "BP4D-Spontaneous: a high-resolution spontaneous 3D
dynamic facial expression database", Image and Vision Computing 2014; Zhang, Girard, Wu, Zhang, Liu, Ciftci, Canavan,
Reale, Horowitz, Yang, Cohn, Ji, Yin, "Multimodal Spontaneous Emotion Corpus for Human Behavior Analysis", CVPR 2016.
Nobody here has seen the files. The folders and the csv columns of BP4D are as the repositories of ME-GraphAU and
FMAE-IAT read them; 9 for "unknown", the tasks of BP4D+ and its frame names are from memory.

Folds are ours: people in the order of their names, fold = place mod the number of folds, which keeps women and men
in balance. The lists that papers on BP4D use are others, so numbers here cannot be set beside theirs digit by digit.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from mien.datasets.dataset import Dataset, Reader, Row, register
from mien.datasets.drawn import DRAWN_UNITS, drawn_photo, save, stable_seed
from mien.datasets.reading import AS_DISTRIBUTED, at_line, files_of, read_picture, wrong
from mien.errors import DataError
from mien.labels.action_units import UNIT_SETS

CODES = {"0": 0, "1": 1, "9": -1}
"""What stands in a cell: not there, there, unknown."""
DRAWN_PEOPLE = ("F001", "F002", "F003", "F004", "F005", "M001", "M002", "M003", "M004")
UNKNOWN_DRAWN = 7
"""In a look-alike, the last unit of every frame with this remainder is unknown."""


@register
class Bp4d(Dataset):
    """BP4D: 41 people, 8 tasks, 12 action units. Each row is a coded frame; it has no expression."""

    name = "bp4d"
    title = "BP4D-Spontaneous"
    licence = "research only, signed agreement (from memory)"
    apply_at = "http://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html (from memory)"
    layout = (
        "ROOT/AUCoding/AU_OCC/F001_T1.csv  (first column the frame; a column a unit, named by its number; 0, 1, 9)\n"
        "ROOT/img/F001/T1/2440.jpg  (the frame's number, with or without leading zeros)"
    )
    framing = "photo"
    splits = ("all",)
    units = UNIT_SETS["bp4d"]
    expected = {"all": {"coded": 146_847}}
    expected_source = "reported by the authors of FMAE-IAT in their repository"
    tasks: ClassVar[tuple[str, ...]] = tuple(f"T{number}" for number in range(1, 9))

    def rows(self, root: Path) -> list[Row]:
        """A row a coded frame: people, tasks and frames in order; `extras["action_units"]` 12 of 1, 0, -1."""
        folder = root / "AUCoding" / "AU_OCC"
        if not folder.is_dir():
            raise self.not_found(folder)
        rows = []
        for path in files_of(folder, ".csv"):
            person, _, task = path.stem.partition("_")
            if len(person) != 4 or person[0] not in "FM" or task not in self.tasks:
                raise wrong(str(path), f"a name such as F001_{self.tasks[0]}.csv", path.name)
            rows += self._coded(path, person, task)
        if not rows:
            raise self.not_found(folder / f"F001_{self.tasks[0]}.csv")
        return rows

    def _coded(self, path: Path, person: str, task: str) -> list[Row]:
        """The rows of one table."""
        rows = []
        with path.open(newline="", encoding="utf-8-sig") as stored:
            table = csv.reader(stored)
            head = [name.strip() for name in next(table, [])]
            lacking = [unit for unit in self.units if str(unit) not in head[1:]]
            if lacking:
                raise wrong(at_line(path, 1), f"columns for the units {self.units}", head)
            places = [head.index(str(unit), 1) for unit in self.units]
            for number, cells in enumerate(table, 2):
                if not cells:
                    continue
                where = at_line(path, number)
                if len(cells) != len(head) or not cells[0].strip().isdecimal():
                    raise wrong(where, f"a frame's number and {len(head) - 1} codes", cells)
                values = [CODES.get(cells[place].strip()) for place in places]
                if None in values:
                    raise wrong(where, "codes 0, 1 or 9", [cells[place] for place in places])
                extras = {"action_units": tuple(values)}
                rows.append(Row(f"{person}/{task}/{int(cells[0])}", "all", None, person, extras))
        return rows

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The whole frames, RGB; the face is to be found in them."""

        @functools.cache
        def frames(video: str) -> dict[int, Path]:
            folder = root / "img" / video
            paths = files_of(folder, ".jpg", ".png") if folder.is_dir() else []
            return {int(path.stem): path for path in paths if path.stem.isdecimal()}

        def read(index: int) -> np.ndarray:
            video, _, frame = rows[index].id.rpartition("/")
            path = frames(video).get(int(frame))
            if path is None:
                raise DataError(
                    f"expected the frame {frame} in {root / 'img' / video}, got none. {AS_DISTRIBUTED}"
                )
            return read_picture(path)

        return read

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw nine people with two videos of at least four frames, and one unknown unit now and then."""
        number = 0
        (root / "AUCoding" / "AU_OCC").mkdir(parents=True)
        for person in DRAWN_PEOPLE:
            for task in self.tasks[:2]:
                lines = [["0", *map(str, self.units)]]
                for frame in range(20, 20 + max(4, per_class)):
                    number += 1
                    expression = list(DRAWN_UNITS)[number % len(DRAWN_UNITS)]
                    codes = ["1" if unit in DRAWN_UNITS[expression] else "0" for unit in self.units]
                    codes[-1] = "9" if number % 10 == UNKNOWN_DRAWN else codes[-1]
                    lines.append([str(frame), *codes])
                    own = stable_seed(seed, f"{person} {task} {frame}")
                    photo = drawn_photo(160, 122, [(expression, (35, 10, 100), own)], own)
                    save(root / "img" / person / task / f"{frame:04d}.jpg", photo)
                with (root / "AUCoding" / "AU_OCC" / f"{person}_{task}.csv").open("w", newline="") as out:
                    csv.writer(out).writerows(lines)


@register
class Bp4dPlus(Bp4d):
    """BP4D+: 140 people, of whose ten tasks four are coded (from memory); the same 12 action units."""

    name = "bp4d_plus"
    title = "BP4D+, Multimodal Spontaneous Emotion Corpus"
    apply_at = "http://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html (from memory)"
    layout = (
        "ROOT/AUCoding/AU_OCC/F001_T1.csv  (as in BP4D; T1, T6, T7, T8)\n"
        "ROOT/img/F001/T1/2440.jpg  (frames of the video, by the number in the table, counted from 1)"
    )
    expected = {"all": {"coded": 197_875}}
    expected_source = "from memory"
    tasks = ("T1", "T6", "T7", "T8")
