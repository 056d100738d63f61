"""FERV39k: clips of faces in 22 scenes, seven classes, one split.

Source: Wang, Sun, Huang, Liu, Gao, Zhang, Ge, Zhang, "FERV39k: A Large-Scale Multi-Scene Dataset for Facial Expression
Recognition in Videos", CVPR 2022. Nobody here has seen the files: the form of the paths and the counts are as the
repositories of S4D and FERV39k have them; names of folders and lists are from memory.

The official split has train and test only. One in ten of each training class, by hash, is "train_held_out" and selects.
"""

from __future__ import annotations

from pathlib import Path

from mien.datasets.clips import ClipDataset
from mien.datasets.dataset import Row, named_classes, register
from mien.datasets.drawn import drawn_clip, save_clip, stable_seed
from mien.datasets.held_out import HELD_OUT, counts_after, enough_for, hold_out
from mien.datasets.reading import at_line, numbered_lines, wrong
from mien.labels.expressions import ORDERS

TRAIN = dict(zip(ORDERS["ferv39k"], (5906, 1833, 1680, 5854, 7790, 5523, 2502), strict=True))
"""The whole official training split, 31,088 clips (repository of S4D)."""

TEST = dict(zip(ORDERS["ferv39k"], (1487, 467, 431, 1473, 1958, 1393, 638), strict=True))
"""The official test split, 7,847 clips (the same)."""

_LISTS = "4_setups/All_scenes"
_CLIPS = "2_ClipsforFaceCrop"


@register
class Ferv39k(ClipDataset):
    """FERV39k: 38,935 clips as folders of face crops."""

    name = "ferv39k"
    title = "FERV39k"
    licence = "non-commercial research; the password comes to a university's e-mail address"
    apply_at = "https://github.com/wangyanckxx/FERV39k (from memory)"
    layout = (
        "ROOT/2_ClipsforFaceCrop/Action/Happy/0267/*.jpg  (scene, expression, clip)\n"
        "ROOT/4_setups/All_scenes/train_All.csv and test_All.csv  (lines 'Action/Happy/0267 Happy')"
    )
    framing = "crop"
    splits = ("train", HELD_OUT, "test")
    expected = {**counts_after(TRAIN), "test": TEST}
    expected_source = "lists in the repository of S4D"

    def rows(self, root: Path) -> list[Row]:
        """A row a clip in the lists' order; the id is "Action/Happy/0267"."""
        rows = []
        for split in ("train", "test"):
            listed = root / _LISTS / f"{split}_All.csv"
            if not listed.is_file():
                raise self.not_found(listed)
            for number, line in numbered_lines(listed):
                path, *told = line.replace(",", " ").split()
                parts = path.split("/")
                if len(parts) != 3 or len(told) != 1:
                    raise wrong(
                        at_line(listed, number), "a clip and its class, 'Action/Happy/0267 Happy'", line
                    )
                label = self._class(told[0], at_line(listed, number))
                if label != self._class(parts[1], at_line(listed, number)):
                    raise wrong(at_line(listed, number), "one class in the path and beside it", line)
                rows.append(Row(path, split, label))
        return hold_out(rows)

    def _class(self, name: str, where: str) -> str:
        """The class that a list writes as a name, or as its number from 0 in the set's own order."""
        order = ORDERS[self.name]
        if name.isdigit() and int(name) < len(order):
            return order[int(name)]
        return named_classes([name], where, order)[name]

    def path(self, root: Path, row: Row) -> Path:
        """The folder of the clip's frames."""
        return root / _CLIPS / row.id

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw `per_class` clips for each class of "train" and of "test", and some more to hold out."""
        for split, count in (("train", enough_for(per_class)), ("test", per_class)):
            lines = []
            for number in range(count):
                for label in ORDERS[self.name]:
                    id = f"{'Action' if number % 2 else 'Crisis'}/{label.title()}/{split == 'test':d}{number:03d}"
                    lines.append(f"{id} {label.title()}\n")
                    save_clip(root / _CLIPS / id, drawn_clip(label, stable_seed(seed, id)))
            listed = root / _LISTS / f"{split}_All.csv"
            listed.parent.mkdir(parents=True, exist_ok=True)
            listed.write_text("".join(lines))
