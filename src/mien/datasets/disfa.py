"""DISFA: people who watch a film, every frame coded for the intensity of twelve action units.

Source: Mavadati, Mahoor, Bartlett, Trinh, Cohn, "DISFA: A Spontaneous Facial Action Intensity Database", IEEE
Transactions on Affective Computing 2013. Nobody here has seen the files: labels and pictures lie as the repository of
ME-GraphAU has them; 4,845 frames a person are from memory. As is usual, a unit counts as there from an intensity of
2 on, and eight of the twelve are detected; all twelve intensities stay in `extras["action_unit_intensity"]`.

Folds are ours: people in the order of their names, fold = place mod 3. The lists that papers use are others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mien.datasets.dataset import Dataset, Reader, Row, register
from mien.datasets.drawn import DRAWN_UNITS, drawn_photo, save, stable_seed
from mien.datasets.reading import at_line, file_reader, numbered_lines, wrong
from mien.labels.action_units import UNIT_SETS

ACTIVE_FROM = 2
"""Lowest intensity that counts as there."""
INTENSITIES = UNIT_SETS["disfa_intensity"]
"""Units of `extras["action_unit_intensity"]`, in its order."""
_PERSON, _LINE = re.compile(r"SN\d{3}"), re.compile(r"(\d+)\s*,\s*([0-5])")
DRAWN_PEOPLE = 9


@register
class Disfa(Dataset):
    """DISFA: 27 people, 4,845 frames each. Each row is a frame; it has no expression."""

    name = "disfa"
    title = "DISFA, Denver Intensity of Spontaneous Facial Action"
    licence = "research only, signed agreement (from memory)"
    apply_at = "http://mohammadmahoor.com/disfa/ (from memory)"
    layout = (
        "ROOT/ActionUnit_Labels/SN001/SN001_au1.txt  (and au2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26: 'frame,intensity',\n"
        "    frames from 1)\n"
        "ROOT/img/SN001/0.png  (frames of one video a person, from 0)"
    )
    framing = "photo"
    splits = ("all",)
    units = UNIT_SETS["disfa"]
    expected = {"all": {"coded": 27 * 4845}}
    expected_source = "from memory"

    def rows(self, root: Path) -> list[Row]:
        """A row a frame, people and frames in order.

        `extras["action_units"]` are 8 of 1 and 0, `extras["action_unit_intensity"]` 12 from 0 to 5.
        """
        folder = root / "ActionUnit_Labels"
        if not folder.is_dir():
            raise self.not_found(folder)
        rows = []
        for person in sorted(path for path in folder.iterdir() if path.is_dir()):
            if not _PERSON.fullmatch(person.name):
                raise wrong(str(person), "a folder such as 'SN001'", person.name)
            coded = {unit: self._intensities(person / f"{person.name}_au{unit}.txt") for unit in INTENSITIES}
            frames = list(coded[INTENSITIES[0]])
            uneven = [unit for unit, values in coded.items() if list(values) != frames]
            if uneven:
                raise wrong(str(person), "the same frames for every unit", f"others for AU{uneven[0]}")
            for frame in frames:
                extras = {
                    "action_units": tuple(int(coded[unit][frame] >= ACTIVE_FROM) for unit in self.units),
                    "action_unit_intensity": tuple(coded[unit][frame] for unit in INTENSITIES),
                }
                rows.append(Row(f"{person.name}/{frame - 1}", "all", None, person.name, extras))
        if not rows:
            raise self.not_found(folder / "SN001" / "SN001_au1.txt")
        return rows

    def _intensities(self, path: Path) -> dict[int, int]:
        """Frame -> intensity of one file."""
        if not path.is_file():
            raise self.not_found(path)
        values = {}
        for number, line in numbered_lines(path):
            found = _LINE.fullmatch(line)
            if found is None:
                raise wrong(at_line(path, number), "'frame,intensity' with an intensity from 0 to 5", line)
            values[int(found[1])] = int(found[2])
        return values

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The whole frames, RGB; the face is to be found in them."""
        return file_reader([root / "img" / f"{row.id}.png" for row in rows])

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw nine people with eight frames or more each, one an expression."""
        expressions = list(DRAWN_UNITS)
        for number in range(1, DRAWN_PEOPLE + 1):
            person = f"SN{number:03d}"
            folder = root / "ActionUnit_Labels" / person
            folder.mkdir(parents=True)
            shown = [expressions[frame % 8] for frame in range(max(8, 2 * per_class))]
            for frame, expression in enumerate(shown):
                own = stable_seed(seed, f"{person} {frame}")
                photo = drawn_photo(160, 122, [(expression, (35, 10, 100), own)], own)
                save(root / "img" / person / f"{frame}.png", photo)
            for unit in INTENSITIES:
                strength = [
                    (2 + number % 4 if unit in DRAWN_UNITS[expression] else number % 2)
                    for expression in shown
                ]
                lines = [f"{frame},{value}\n" for frame, value in enumerate(strength, 1)]
                (folder / f"{person}_au{unit}.txt").write_text("".join(lines))
