"""MMEW: 300 micro-expression clips of 36 people at 90 frames a second, seven classes.

Source: Ben, Ren, Zhang, Wang, Kpalma, Meng, Liu, "Video-based Facial Micro-Expression Analysis: A Survey of Datasets,
Features and Algorithms", IEEE TPAMI 2022. Nobody here has seen the files: layout and counts are from memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mien.datasets.dataset import Row, register
from mien.datasets.micro_clips import Clip, SheetClips

FOLDERS = {"happy": "happiness", "angry": "anger", "sad": "sadness"}


@register
class Mmew(SheetClips):
    """The part of micro-expressions."""

    name = "mmew"
    title = "MMEW, Micro-and-Macro Expression Warehouse"
    licence = "research only, signed agreement (from memory)"
    apply_at = "http://www.dpailab.com/database.html (from memory)"
    layout = (
        "ROOT/MMEW_Micro_Exp.xlsx  (Subject, Filename, OnsetFrame, ApexFrame, OffsetFrame, Action Units,\n"
        "    Estimated Emotion; a .csv of it does as well)\n"
        "ROOT/Micro_Expression/happiness/S01-01-001/1.jpg"
    )
    framing = "photo"
    expected = {
        "all": {
            "happy": 36, "surprise": 89, "angry": 8, "disgust": 72, "fear": 16, "sad": 13, "others": 66
        }
    }  # fmt: skip
    expected_source = "from memory"
    tables = ("MMEW*Micro*.xlsx", "MMEW*Micro*.csv")

    def person(self, cell: str) -> str:
        """A cell 1 is S01."""
        return f"S{cell.upper().removeprefix('S').zfill(2)}"

    def clip_id(self, subject: str, name: str, onset: str) -> str:
        """The name alone: it holds the person."""
        return name

    def folder(self, root: Path, row: Row) -> Path:
        """See `MicroClips`."""
        label = str(row.label)
        return root / "Micro_Expression" / FOLDERS.get(label, label) / self.clip_of(row)

    def drawn_clip(self, person: int, label: str, number: int) -> Clip:
        """S01: S01-01-001."""
        return Clip(f"S{person + 1:02d}", f"S{person + 1:02d}-01-{number + 1:03d}", label)

    def draw(self, root: Path, clips: Sequence[Clip], seed: int) -> None:
        """See `MicroClips`."""
        for clip in clips:
            place = root / "Micro_Expression" / FOLDERS.get(clip.label, clip.label) / clip.name
            self.draw_frames(place, "", ".jpg", clip, seed)
        self.write_table(root / "MMEW_Micro_Exp.xlsx", clips)
