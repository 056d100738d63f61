"""What sets of micro-expression clips share: a table with onset, apex and offset, and a folder of frames a clip.

A row is a clip. Its picture is the frame at the apex; `pair` gives onset and apex, and `frames` all from onset to offset,
which `mien.recipes.motion_maps` makes motion pictures of. The person is named as in the folders.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from mien.datasets.dataset import Dataset, Reader, Row
from mien.datasets.drawn import drawn_face, save, stable_seed
from mien.datasets.protocol import Protocol
from mien.datasets.reading import files_of, read_picture, wrong
from mien.datasets.sheets import read_sheet, write_sheet
from mien.errors import DataError, UnknownNameError
from mien.labels.micro import MICRO, MICRO_OF, micro_canonical
from mien.transforms.pixels import PICTURE_SUFFIXES

DRAWN_PEOPLE, DRAWN_PX = 3, 64
DRAWN_FRAMES = (1, 5, 9)
"""Onset, apex and offset of a drawn clip; it has no frames between them."""
_DRAWN_AS = {"repression": "sad", "others": "contempt", "negative": "disgust", "positive": "happy"}
_NUMBER = re.compile(r"(\d+)$")


class Clip(NamedTuple):
    """A clip as a look-alike draws it: person and name as in the folders, and the class."""

    subject: str
    name: str
    label: str


class MicroClips(Dataset):
    """Base of all; a subclass says where the frames of a clip lie."""

    framing = "crop"
    splits = ("all",)

    @abstractmethod
    def folder(self, root: Path, row: Row) -> Path:
        """Folder with the frames of a clip."""

    @abstractmethod
    def draw(self, root: Path, clips: Sequence[Clip], seed: int) -> None:
        """Write drawn clips in the layout of the set."""

    @abstractmethod
    def drawn_clip(self, person: int, label: str, number: int) -> Clip:
        """Names of a drawn clip in the set's own form."""

    def clip_of(self, row: Row) -> str:
        """Name of a clip as its folder has it."""
        return row.id.removeprefix(f"{row.subject}_")

    def labelled(self, row: Row, protocol: Protocol) -> tuple[int, np.ndarray | None] | None:
        """As in `Dataset`; a protocol of the three classes takes each class by `MICRO_OF`."""
        label = MICRO_OF.get(row.label or "") if set(protocol.labels) <= set(MICRO) else row.label
        return (protocol.labels.index(label), None) if label in protocol.labels else None

    def frames(self, root: Path, row: Row) -> dict[int, Path]:
        """Number -> file of the frames from onset to offset, in order; all of the folder where these are not told.

        Raises:
            DataError: there is no frame in that range, or the folder is not there.
        """
        folder = self.folder(root, row)
        if not folder.is_dir():
            raise wrong(str(folder), "a folder with the frames of a clip", "none")
        numbered = {
            int(found[1]): path
            for path in files_of(folder, *PICTURE_SUFFIXES)
            if (found := _NUMBER.search(path.stem))
        }
        onset, offset = (row.extras[name] for name in ("onset", "offset"))
        kept = {
            number: path
            for number, path in sorted(numbered.items())
            if not (number < onset or number > offset)  # NaN, not told, leaves out nothing
        }
        if not kept:
            raise wrong(str(folder), f"frames {onset:g} to {offset:g}", f"{len(numbered)} others")
        return kept

    def pair(self, root: Path, row: Row) -> tuple[Path, Path]:
        """Files of onset and apex. Where the apex is not told (SMIC), the frame half way stands for it.

        Raises:
            DataError: they are not there.
        """
        frames = self.frames(root, row)
        numbers = list(frames)
        told = row.extras["apex"]
        apex = int(told) if np.isfinite(told) else numbers[len(numbers) // 2]
        if apex not in frames:
            raise wrong(
                str(self.folder(root, row)), f"the frame {apex} of the apex", f"{numbers[0]} to {numbers[-1]}"
            )
        return frames[numbers[0]], frames[apex]

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The frame at the apex, grey or RGB; see `pair`."""
        return lambda index: read_picture(self.pair(root, rows[index])[1])

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw clips of three people: a neutral onset, the expression at the apex, neutral again."""
        labels = list(self.expected["all"])
        clips = [
            self.drawn_clip((number + place) % DRAWN_PEOPLE, label, number * len(labels) + place)
            for place, label in enumerate(labels)
            for number in range(per_class)
        ]
        self.draw(root, clips, seed)

    def draw_frames(self, folder: Path, stem: str, ending: str, clip: Clip, seed: int) -> None:
        """Three drawn frames of a clip, named by `stem` and their number."""
        own = stable_seed(seed, f"{clip.subject} {clip.name}")
        shown = _DRAWN_AS.get(clip.label, clip.label)
        for number, expression in zip(DRAWN_FRAMES, ("neutral", shown, "neutral"), strict=True):
            save(folder / f"{stem}{number}{ending}", drawn_face(expression, DRAWN_PX, own))


class SheetClips(MicroClips):
    """Base of sets that come with a table.

    Class attributes:
        tables: patterns of the table's name below the root, the first that fits is read.
        columns: what stands for subject, name, onset, apex, offset and class -> names of its column, small letters and
            digits alone.
        written: mien's class -> what the table says, for look-alikes.
    """

    tables: ClassVar[tuple[str, ...]]
    columns: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "subject": ("subject",),
        "name": ("filename",),
        "onset": ("onsetframe", "onset"),
        "apex": ("apexframe", "apex"),
        "offset": ("offsetframe", "offset"),
        "label": ("estimatedemotion", "emotion"),
    }

    def person(self, cell: str) -> str:
        """The person of a cell, as folders name people."""
        return cell

    def clip_id(self, subject: str, name: str, onset: str) -> str:
        """Stable name of a clip."""
        return f"{subject}_{name}"

    def table(self, root: Path) -> Path:
        """The table of the set."""
        found = [path for pattern in self.tables for path in sorted(root.glob(pattern))]
        if not found:
            raise self.not_found(root / self.tables[0])
        return found[0]

    def rows(self, root: Path) -> list[Row]:
        """A row a clip, by id; `extras` are the numbers of the frames "onset", "apex", "offset", NaN where not told."""
        path = self.table(root)
        cells = read_sheet(path)
        first, places = self._header(path, cells)
        rows = []
        for number, line in enumerate(cells[first + 1 :], first + 2):
            told = {name: line[place] if place < len(line) else "" for name, place in places.items()}
            if not told["name"]:
                continue
            where = f"{path}, line {number}"
            try:
                label = micro_canonical(told["label"])
            except UnknownNameError as error:
                raise wrong(
                    where, f"one of the classes {', '.join(self.expected['all'])}", told["label"]
                ) from error
            subject = self.person(told["subject"])
            id = self.clip_id(subject, told["name"], told["onset"])
            extras = {name: _frame(told[name]) for name in ("onset", "apex", "offset")}
            rows.append(Row(id, "all", label, subject, extras))
        return sorted(rows, key=lambda row: row.id)

    def _header(self, path: Path, cells: list[list[str]]) -> tuple[int, dict[str, int]]:
        """Number of the line that names the columns, and the place of each."""
        for number, line in enumerate(cells):
            names = [re.sub(r"[^a-z0-9]", "", cell.lower()) for cell in line]
            places = {
                what: names.index(next(one for one in known if one in names))
                for what, known in self.columns.items()
                if set(known) & set(names)
            }
            if len(places) == len(self.columns):
                return number, places
        wanted = ", ".join(known[0] for known in self.columns.values())
        raise DataError(f"expected a line with the columns {wanted} in {path}, got none")

    def write_table(self, path: Path, clips: Sequence[Clip], above: int = 0) -> None:
        """The table of drawn clips, after some lines that say nothing."""
        onset, apex, offset = (str(number) for number in DRAWN_FRAMES)
        head = [
            "Subject",
            "Filename",
            "Onset Frame",
            "Apex Frame",
            "Offset Frame",
            "Action Units",
            "Estimated Emotion",
        ]
        lines = [[clip.subject, clip.name, onset, apex, offset, "", clip.label] for clip in clips]
        write_sheet(path, [*[["notes"]] * above, head, *lines])


def _frame(cell: str) -> float:
    """A frame's number; NaN where nothing, or a stroke, stands for it."""
    try:
        return float(cell)
    except ValueError:
        return float("nan")
