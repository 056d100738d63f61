"""CASME II: 255 micro-expression clips of 26 people at 200 frames a second, seven classes, five of them common.

Source: Yan, Li, Wang, Zhao, Liu, Chen, Fu, "CASME II: An Improved Spontaneous Micro-Expression Database and the Baseline
Evaluation", PLoS ONE 2014. Nobody here has seen the files: layout and counts are from memory. One clip has no apex.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mien.datasets.dataset import Row, register
from mien.datasets.micro_clips import Clip, SheetClips


@register
class Casme2(SheetClips):
    """The cropped frames."""

    name = "casme2"
    title = "CASME II"
    licence = "research only, signed agreement (from memory)"
    apply_at = "http://casme.psych.ac.cn/casme/e2 (from memory)"
    layout = (
        "ROOT/CASME2-coding-20140508.xlsx  (Subject, Filename, OnsetFrame, ApexFrame, OffsetFrame, Action Units,\n"
        "    Estimated Emotion; a .csv of it does as well)\n"
        "ROOT/Cropped/sub01/EP02_01f/reg_img46.jpg"
    )
    expected = {"all": {"happy": 32, "disgust": 64, "repression": 27, "surprise": 25, "others": 99}}
    expected_source = "from memory; the few clips of fear and sadness are not counted"
    tables = ("CASME2*.xlsx", "CASME2*.csv")

    def person(self, cell: str) -> str:
        """A cell 1 is sub01."""
        return f"sub{cell.removeprefix('sub').zfill(2)}"

    def folder(self, root: Path, row: Row) -> Path:
        """See `MicroClips`."""
        return root / "Cropped" / str(row.subject) / self.clip_of(row)

    def drawn_clip(self, person: int, label: str, number: int) -> Clip:
        """sub01: EP01_01f."""
        return Clip(f"sub{person + 1:02d}", f"EP{number + 1:02d}_01f", label)

    def draw(self, root: Path, clips: Sequence[Clip], seed: int) -> None:
        """See `MicroClips`."""
        for clip in clips:
            self.draw_frames(root / "Cropped" / clip.subject / clip.name, "reg_img", ".jpg", clip, seed)
        self.write_table(
            root / "CASME2-coding-20140508.xlsx",
            [clip._replace(subject=clip.subject[3:]) for clip in clips],
        )
