"""CAS(ME)^3, part A: micro-expressions at 30 frames a second, with depth (not read).

Source: Li, Dong, Lu, Wang, Yan, Zhao, Fu, "CAS(ME)3: A Third Generation Facial Spontaneous Micro-Expression Database With
Depth Information and High Ecological Validity", IEEE TPAMI 2023. Nobody here has seen the frames. The table is read as
HTNet's repository lists it: 687 clips of 87 people, without "others" (counted here). A file holds several clips, so that
the onset is part of a clip's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mien.datasets.dataset import Row, register
from mien.datasets.micro_clips import Clip, SheetClips


@register
class Casme3(SheetClips):
    """Whole frames of part A; the face is looked for."""

    name = "casme3"
    title = "CAS(ME)^3, part A"
    licence = "research only, signed agreement (from memory)"
    apply_at = "http://casme.psych.ac.cn/casme/e4 (from memory)"
    layout = (
        "ROOT/casme3_partA_labels.csv  (Subject, Filename, Onset, Apex, Offset, AU, Objective class, emotion; the\n"
        "    authors' .xlsx does as well)\n"
        "ROOT/spNO.1/b/color/175.jpg  (or ROOT/part_A/...)"
    )
    framing = "photo"
    expected = {"all": {"disgust": 247, "surprise": 184, "fear": 83, "angry": 64, "sad": 55, "happy": 54}}
    expected_source = "counted here on HTNet's list"
    tables = ("cas*3*.csv", "cas*3*.xlsx")

    def clip_id(self, subject: str, name: str, onset: str) -> str:
        """spNO.1_b_166."""
        return f"{subject}_{name}_{onset}"

    def clip_of(self, row: Row) -> str:
        """See `MicroClips`."""
        return super().clip_of(row).rpartition("_")[0]

    def folder(self, root: Path, row: Row) -> Path:
        """See `MicroClips`."""
        top = root / "part_A" if (root / "part_A").is_dir() else root
        return top / str(row.subject) / self.clip_of(row) / "color"

    def drawn_clip(self, person: int, label: str, number: int) -> Clip:
        """spNO.1: a clip a file, named by its number."""
        return Clip(f"spNO.{person + 1}", f"b{number}", label)

    def draw(self, root: Path, clips: Sequence[Clip], seed: int) -> None:
        """See `MicroClips`."""
        for clip in clips:
            self.draw_frames(root / clip.subject / clip.name / "color", "", ".jpg", clip, seed)
        self.write_table(root / "cas(me)3_part_A_ME_label.xlsx", clips)
