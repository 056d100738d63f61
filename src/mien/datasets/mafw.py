"""MAFW: clips from films and the web, eleven single classes, five folds.

Source: Liu, Dai, Feng, Wang, Yin, Zeng, Shan, "MAFW: A Large-scale, Multi-modal, Compound Affective Database for Dynamic
Facial Expression Recognition in the Wild", ACM Multimedia 2022. Nobody here has seen the files: clips, `single_label.txt`
and the sizes of the folds are as the repositories of MAFW and S4D have them; the folder of the folds is from memory.

Read are the 9,172 clips with a single label. Their eleven classes are mien's eight and anxiety, helplessness and
disappointment. The compound labels, the texts and the sound are left out.
"""

from __future__ import annotations

from pathlib import Path

from mien.datasets.clips import FoldedClips
from mien.datasets.dataset import ANY, Row, register
from mien.datasets.drawn import drawn_clip, save_clip, stable_seed
from mien.datasets.reading import at_line, class_of, numbered_lines, wrong
from mien.labels.expressions import CODES

FOLDS = {"set_1": 1839, "set_2": 1837, "set_3": 1833, "set_4": 1832, "set_5": 1831}
"""Clips in each test list, 9,172 together (lists of the S4D repository)."""

_LISTS = "Train & Test Set/single/no_caption"
_DRAWN_AS = {"anxiety": "fear", "helplessness": "sad", "disappointment": "sad"}


@register
class Mafw(FoldedClips):
    """MAFW, single-labelled part: 9,172 clips as mp4."""

    name = "mafw"
    title = "MAFW, multi-modal compound affective database"
    licence = "research only, signed agreement"
    apply_at = "https://mafw-database.github.io/MAFW/ (from memory)"
    layout = (
        "ROOT/clips/00151.mp4\n"
        "ROOT/single_label.txt  (tabs: '00151.mp4', 'anger', texts)\n"
        "ROOT/Train & Test Set/single/no_caption/set_1/test.txt  to set_5  (lines that begin with '00151.mp4')"
    )
    framing = "photo"
    splits = tuple(FOLDS)
    expected = {name: {ANY: clips} for name, clips in FOLDS.items()}
    expected_source = "lists in the repository of S4D"

    def rows(self, root: Path) -> list[Row]:
        """A row a clip, fold by fold in the lists' order; the id is the name without its ending."""
        labels = self._labels(root / "single_label.txt")
        rows = []
        for fold in self.splits:
            listed = root / _LISTS / fold / "test.txt"
            if not listed.is_file():
                raise self.not_found(listed)
            for number, line in numbered_lines(listed):
                name = line.split()[0]
                if name not in labels:
                    raise wrong(at_line(listed, number), "a clip of single_label.txt", name)
                rows.append(Row(Path(name).stem, fold, labels[name]))
        return rows

    def _labels(self, path: Path) -> dict[str, str]:
        """File -> class."""
        if not path.is_file():
            raise self.not_found(path)
        labels = {}
        for number, line in numbered_lines(path):
            fields = [field.strip() for field in line.split("\t")]
            if len(fields) < 2:
                raise wrong(at_line(path, number), "a clip and its class with a tab between", line)
            labels[fields[0]] = class_of(self.name, fields[1], at_line(path, number))
        return labels

    def path(self, root: Path, row: Row) -> Path:
        """The video file."""
        return root / "clips" / f"{row.id}.mp4"

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw `per_class` clips of each class in each fold; classes of MAFW's own look like their nearest ones."""
        number, labels = 0, []
        for fold in self.splits:
            lines = []
            for code, label in list(CODES[self.name].items()) * per_class:
                number += 1
                name = f"{number:05d}.mp4"
                lines.append(f"{name}\n")
                labels.append(f"{name}\t{code}\t\t\n")
                frames = drawn_clip(_DRAWN_AS.get(label, label), stable_seed(seed, name), whole=True)
                save_clip(root / "clips" / name, frames)
            listed = root / _LISTS / fold / "test.txt"
            listed.parent.mkdir(parents=True, exist_ok=True)
            listed.write_text("".join(lines))
        (root / "single_label.txt").write_text("".join(labels))
