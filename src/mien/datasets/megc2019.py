"""The composite of MEGC 2019: SMIC-HS, CASME II and SAMM together, three classes, 442 clips of 68 people.

Source: See, Yap, Li, Hong, Wang, "MEGC 2019 - The Second Facial Micro-Expressions Grand Challenge", FG 2019. Each set lies
in a folder of its own. Of CASME II only the 145 clips of `megc2019_casme2.txt` count, which are those of HTNet's list; of
SAMM all that have one of the three classes. Ids are those of `htnet_micro`, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

from mien.datasets.casme2 import Casme2
from mien.datasets.dataset import Row, register
from mien.datasets.micro_clips import Clip, MicroClips
from mien.datasets.motion_maps import COMPOSITE
from mien.datasets.samm import Samm
from mien.datasets.smic import Smic
from mien.labels.micro import MICRO_OF

SETS: dict[str, MicroClips] = {"casme2": Casme2(), "smic": Smic(), "samm": Samm()}


def casme2_clips() -> list[tuple[str, str]]:
    """Person and name of the clips of CASME II that are in the composite, such as ("sub01", "EP02_01f")."""
    text = (resources.files("mien.datasets") / "megc2019_casme2.txt").read_text()
    return [(subject, name) for subject, _, name in (line.partition("/") for line in text.split())]


@register
class Megc2019(MicroClips):
    """Clips of the three sets."""

    name = "megc2019"
    title = "MEGC 2019 composite"
    licence = "research only, signed agreements of the three sets (from memory)"
    apply_at = "the makers of SMIC, CASME II and SAMM; see these"
    layout = "ROOT/smic, ROOT/casme2, ROOT/samm, each as the set of that name"
    framing = "photo"
    expected = {"all": COMPOSITE}
    expected_source = "counted here on HTNet's list"

    def rows(self, root: Path) -> list[Row]:
        """Clips that have one of the three classes; ids and people are "casme2/sub01_EP02_01f" and "casme2/sub01"."""
        if not root.is_dir():
            raise self.not_found(root)
        absent = [name for name in SETS if not (root / name).is_dir()]
        if absent:
            raise self.not_found(root / absent[0])
        wanted = {f"{subject}_{name}" for subject, name in casme2_clips()}
        rows = []
        for part, data in SETS.items():
            for row in data.rows(root / part):
                label = MICRO_OF.get(row.label or "")
                if label is not None and (part != "casme2" or row.id in wanted):
                    id, subject = f"{part}/{row.id}", f"{part}/{row.subject}"
                    rows.append(replace(row, id=id, label=label, subject=subject))
        return rows

    def folder(self, root: Path, row: Row) -> Path:
        """See `MicroClips`."""
        part, _, id = row.id.partition("/")
        subject = str(row.subject).partition("/")[2]
        return SETS[part].folder(root / part, replace(row, id=id, subject=subject))

    def drawn_clip(self, person: int, label: str, number: int) -> Clip:
        """A clip of CASME II's list, of the person at that place."""
        people = dict.fromkeys(subject for subject, _ in casme2_clips())
        subject = list(people)[person]
        names = [name for one, name in casme2_clips() if one == subject]
        return Clip(subject, names[number % len(names)], label)

    def draw(self, root: Path, clips: Sequence[Clip], seed: int) -> None:
        """Clips of CASME II."""
        SETS["casme2"].draw(root / "casme2", clips, seed)

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """The look-alikes of SMIC and SAMM, and three clips of CASME II by the names of its list."""
        for part in ("smic", "samm"):
            SETS[part].look_alike(root / part, per_class, seed)
        own = ("disgust", "happy", "surprise")
        self.draw(root, [self.drawn_clip(place, label, place) for place, label in enumerate(own)], seed)
