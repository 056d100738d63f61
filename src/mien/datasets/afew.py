"""AFEW: clips from films, seven classes, in folders by class.

Source: Dhall, Goecke, Lucey, Gedeon, "Collecting Large, Richly Annotated Facial-Expression Databases from Movies", IEEE
MultiMedia 2012; version 8 of the EmotiW challenge. Nobody here has seen the files: layout and sizes are from memory.

Papers report the validation part, because the labels of the test part are not given out. One in ten of each training
class, by hash, is "train_held_out" and selects.
"""

from __future__ import annotations

from pathlib import Path

from mien.datasets.clips import ClipDataset
from mien.datasets.dataset import ANY, Row, named_classes, register
from mien.datasets.drawn import drawn_clip, save_clip, stable_seed
from mien.datasets.held_out import HELD_OUT, CountedWhole, enough_for, hold_out
from mien.datasets.reading import files_of
from mien.labels.expressions import ORDERS

FOLDERS = {"train": "Train_AFEW", "val": "Val_AFEW"}


@register
class Afew(ClipDataset, CountedWhole):
    """AFEW 8: 773 clips to learn from, 383 to validate, as avi."""

    name = "afew"
    title = "AFEW 8, Acted Facial Expressions in the Wild"
    licence = "research only, signed agreement (from memory)"
    apply_at = "https://cs.anu.edu.au/few/ (from memory)"
    layout = "ROOT/Train_AFEW/Angry/000046280.avi  (and Disgust, Fear, Happy, Neutral, Sad, Surprise; Val_AFEW alike)"
    framing = "photo"
    splits = ("train", HELD_OUT, "val")
    expected = {"all": {ANY: 773 + 383}}
    expected_source = "from memory"

    def rows(self, root: Path) -> list[Row]:
        """A row a clip, classes and names in order; the id is "Train_AFEW/Angry/000046280"."""
        rows = []
        for split, folder in FOLDERS.items():
            if not (root / folder).is_dir():
                raise self.not_found(root / folder)
            classes = sorted(path for path in (root / folder).iterdir() if path.is_dir())
            names = named_classes([path.name for path in classes], root / folder, ORDERS[self.name])
            for path in classes:
                rows += [
                    Row(f"{folder}/{path.name}/{clip.stem}", split, names[path.name])
                    for clip in files_of(path, ".avi")
                ]
        if not rows:
            raise self.not_found(root / "Train_AFEW" / "Angry")
        return hold_out(rows)

    def path(self, root: Path, row: Row) -> Path:
        """The video file."""
        return root / f"{row.id}.avi"

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw `per_class` clips of each class of "train" and of "val", and some more to hold out."""
        for split, count in (("train", enough_for(per_class)), ("val", per_class)):
            for label in ORDERS[self.name]:
                for number in range(count):
                    id = f"{FOLDERS[split]}/{label.title()}/{number:09d}"
                    save_clip(root / f"{id}.avi", drawn_clip(label, stable_seed(seed, id), whole=True))
