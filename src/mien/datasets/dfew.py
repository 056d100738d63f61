"""DFEW: clips of faces from films, seven classes, five folds.

Source: Jiang, Zong, Zheng, Tang, Xia, Lu, Liu, "DFEW: A Large-Scale Database for Recognizing Dynamic Facial
Expressions in the Wild", ACM Multimedia 2020. Nobody here has seen the files: folders of frames, codes and the sizes
of the folds are as the repositories of S4D and IFDD have them; the names of the csv files are from memory.

The 11,697 clips with a single label have five folds, which come with the set; a clip is in the test list of one. Clips
with code 0 have no single label and are in no list. No person is named, so folds are not by person.
"""

from __future__ import annotations

from pathlib import Path

from mien.datasets.clips import FoldedClips
from mien.datasets.dataset import ANY, Row, register
from mien.datasets.drawn import drawn_clip, save_clip, stable_seed
from mien.datasets.reading import at_line, class_of, numbered_lines, wrong
from mien.labels.expressions import CODES

FOLDS = {"set_1": 2341, "set_2": 2341, "set_3": 2340, "set_4": 2339, "set_5": 2336}
"""Clips in each test list, 11,697 together (lists of the S4D repository)."""

FIRST = {"happy": 489, "sad": 379, "neutral": 534, "angry": 435, "surprise": 294, "disgust": 29, "fear": 181}
"""Of the first one, by class (the same lists)."""


@register
class Dfew(FoldedClips):
    """DFEW, single-labelled part: 11,697 clips as folders of aligned frames of 224 px."""

    name = "dfew"
    title = "DFEW, Dynamic Facial Expression in the Wild"
    licence = "academic research only, signed agreement (from memory)"
    apply_at = "https://dfew-dataset.github.io/ (from memory)"
    layout = (
        "ROOT/Clip/clip_224x224/00001/*.jpg  (or clip_224x224_16f, taken where there is no other)\n"
        "ROOT/EmoLabel_DataSplit/test(single-labeled)/set_1.csv  to set_5.csv  ('video_name,label', labels 1 to 7)"
    )
    framing = "crop"
    splits = tuple(FOLDS)
    expected = {"set_1": FIRST, **{name: {ANY: FOLDS[name]} for name in list(FOLDS)[1:]}}
    expected_source = "lists in the repository of S4D"

    def rows(self, root: Path) -> list[Row]:
        """A row a clip, fold by fold in the lists' order; the id is the five-digit name."""
        rows = []
        for fold in self.splits:
            listed = root / "EmoLabel_DataSplit" / "test(single-labeled)" / f"{fold}.csv"
            if not listed.is_file():
                raise self.not_found(listed)
            for number, line in numbered_lines(listed):
                name, comma, code = (part.strip() for part in line.partition(","))
                if number == 1 and name == "video_name":
                    continue
                if not (comma and name.isdigit()):
                    raise wrong(at_line(listed, number), "a name and a class, such as '00001,1'", line)
                label = class_of(self.name, code, at_line(listed, number))
                rows.append(Row(f"{int(name):05d}", fold, label))
        return rows

    def path(self, root: Path, row: Row) -> Path:
        """The folder of the clip's frames."""
        whole = root / "Clip" / "clip_224x224"
        return (whole if whole.is_dir() else whole.with_name("clip_224x224_16f")) / row.id

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw `per_class` clips of each class in each fold."""
        number = 0
        for fold in self.splits:
            lines = ["video_name,label\n"]
            for code, label in list(CODES[self.name].items()) * per_class:
                number += 1
                name = f"{number:05d}"
                lines.append(f"{name},{code}\n")
                save_clip(root / "Clip" / "clip_224x224" / name, drawn_clip(label, stable_seed(seed, name)))
            listed = root / "EmoLabel_DataSplit" / "test(single-labeled)" / f"{fold}.csv"
            listed.parent.mkdir(parents=True, exist_ok=True)
            listed.write_text("".join(lines))
