"""SAMM: 159 micro-expression clips at 200 frames a second, 2040 x 1088, grey, eight classes.

Source: Davison, Lansley, Costen, Tan, Yap, "SAMM: A Spontaneous Micro-Facial Movement Dataset", IEEE Transactions on
Affective Computing 2018. Nobody here has seen the files: layout and counts are from memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mien.datasets.dataset import Row, register
from mien.datasets.micro_clips import Clip, SheetClips


@register
class Samm(SheetClips):
    """Whole frames; the face is looked for."""

    name = "samm"
    title = "SAMM, Spontaneous Micro-Facial Movement"
    licence = "research only, signed agreement (from memory)"
    apply_at = "http://www2.docm.mmu.ac.uk/STAFF/M.Yap/dataset.php (from memory)"
    layout = (
        "ROOT/SAMM_Micro_FACS_Codes_v2.xlsx  (about 13 lines of notes, then Subject, Filename, ..., Onset Frame,\n"
        "    Apex Frame, Offset Frame, ..., Estimated Emotion; a .csv of it does as well)\n"
        "ROOT/006/006_1_2/006_05562.jpg"
    )
    framing = "photo"
    expected = {
        "all": {
            "angry": 57, "contempt": 12, "disgust": 9, "fear": 8, "happy": 26, "sad": 6, "surprise": 15, "others": 26
        }
    }  # fmt: skip
    expected_source = "from memory"
    tables = ("SAMM*.xlsx", "SAMM*.csv")

    def person(self, cell: str) -> str:
        """A cell 6 is 006."""
        return cell.zfill(3)

    def folder(self, root: Path, row: Row) -> Path:
        """See `MicroClips`."""
        return root / str(row.subject) / self.clip_of(row)

    def drawn_clip(self, person: int, label: str, number: int) -> Clip:
        """006: 006_1_2."""
        subject = f"{person + 6:03d}"
        return Clip(subject, f"{subject}_1_{number + 1}", label)

    def draw(self, root: Path, clips: Sequence[Clip], seed: int) -> None:
        """See `MicroClips`."""
        for clip in clips:
            place = root / clip.subject / clip.name
            self.draw_frames(place, f"{clip.subject}_0000", ".jpg", clip, seed)
        self.write_table(root / "SAMM_Micro_FACS_Codes_v2.xlsx", clips, above=13)
