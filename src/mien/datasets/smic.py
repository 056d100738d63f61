"""SMIC-HS: 164 micro-expression clips of 16 people at 100 frames a second, three classes.

Source: Li, Pfister, Huang, Zhao, Pietikainen, "A Spontaneous Micro-expression Database", FG 2013. Nobody here has seen the
files: the layout is from memory, the counts are from HTNet's list. No apex is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from mien.datasets.dataset import Row, register
from mien.datasets.micro_clips import Clip, MicroClips
from mien.labels.micro import MICRO

SHORT = {"negative": "ne", "positive": "po", "surprise": "sur"}


@register
class Smic(MicroClips):
    """The high-speed part, cropped."""

    name = "smic"
    title = "SMIC, Spontaneous Micro-expression Corpus, HS"
    licence = "research only, signed agreement (from memory)"
    apply_at = "https://www.oulu.fi/cmvs/node/41319 (from memory)"
    layout = (
        "ROOT/HS/s01/micro/negative/s1_ne_01/reg_image033180.bmp  (or ROOT/SMIC_all_cropped/HS/...; folders negative,\n"
        "    positive, surprise; a folder a clip)"
    )
    expected = {"all": {"negative": 70, "positive": 51, "surprise": 43}}
    expected_source = "counted here on HTNet's list"

    def rows(self, root: Path) -> list[Row]:
        """A row a clip, by id "s01_s1_ne_01"; onset, apex and offset are not told: NaN."""
        top = self._top(root)
        if not top.is_dir():
            raise self.not_found(top)
        untold = dict.fromkeys(("onset", "apex", "offset"), math.nan)
        rows = [
            Row(f"{person.name}_{clip.name}", "all", label, person.name, untold)
            for person in sorted(path for path in top.iterdir() if path.is_dir())
            for label in MICRO
            for clip in sorted((person / "micro" / label).glob("*"))
            if clip.is_dir()
        ]
        if not rows:
            raise self.not_found(top / "s01" / "micro" / "negative")
        return sorted(rows, key=lambda row: row.id)

    def _top(self, root: Path) -> Path:
        packed = root / "SMIC_all_cropped"
        return (packed if packed.is_dir() else root) / "HS"

    def folder(self, root: Path, row: Row) -> Path:
        """See `MicroClips`."""
        return self._top(root) / str(row.subject) / "micro" / str(row.label) / self.clip_of(row)

    def drawn_clip(self, person: int, label: str, number: int) -> Clip:
        """s01: s1_ne_01."""
        return Clip(f"s{person + 1:02d}", f"s{person + 1}_{SHORT[label]}_{number + 1:02d}", label)

    def draw(self, root: Path, clips: Sequence[Clip], seed: int) -> None:
        """See `MicroClips`."""
        for clip in clips:
            place = root / "HS" / clip.subject / "micro" / clip.label / clip.name
            self.draw_frames(place, "reg_image", ".bmp", clip, seed)
