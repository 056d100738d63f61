"""SFEW 2.0, Static Facial Expressions in the Wild: stills of films, seven classes.

Source: Dhall, Goecke, Lucey, Gedeon, "Static Facial Expression Analysis in Tough Conditions", ICCV workshops 2011, and
Dhall et al., "Video and Image Based Emotion Recognition Challenges in the Wild: EmotiW 2015", ICMI 2015. Nobody here
has seen the files: layout and all counts are from memory.

The labels of the test pictures are not published, so "val" is what is reported, and one in ten of each training
class, chosen by the hash of its name, is "train_held_out" and selects; the official training count is the sum of
both. The people are unknown: two stills of one film can lie in both parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mien.datasets.dataset import Dataset, Reader, Row, register
from mien.datasets.drawn import drawn_photo, save, stable_seed
from mien.datasets.held_out import HELD_OUT, counts_after, enough_for, hold_out
from mien.datasets.reading import file_reader, files_of, wrong
from mien.labels.expressions import canonical, order

TRAIN = {"angry": 178, "disgust": 66, "fear": 98, "happy": 198, "neutral": 150, "sad": 172, "surprise": 96}
"""The whole official training split, 958 stills (from memory)."""

VAL = {"angry": 77, "disgust": 23, "fear": 47, "happy": 73, "neutral": 86, "sad": 73, "surprise": 57}
"""The official validation split, 436 stills (from memory)."""

FOLDERS = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
"""Folder of each class."""

_ENDINGS = (".png", ".jpg")


@register
class Sfew(Dataset):
    """SFEW 2.0, whole stills."""

    name = "sfew"
    title = "SFEW 2.0, Static Facial Expressions in the Wild"
    licence = "research only, signed agreement (from memory)"
    apply_at = "https://cs.anu.edu.au/few/ (from memory)"
    layout = (
        "ROOT/Train/Angry/*.png and the same for Disgust, Fear, Happy, Neutral, Sad, Surprise\n"
        "ROOT/Val/Angry/*.png ...\n"
        "ROOT/Test/*.png  (372 stills without labels; may be absent)"
    )
    framing = "photo"
    splits = ("train", HELD_OUT, "val", "test")
    expected = {**counts_after(TRAIN), "val": VAL}
    expected_source = "from memory"

    def rows(self, root: Path) -> list[Row]:
        """Rows by split, class and name; those of "test" have no label. See `Dataset.rows`."""
        rows = []
        for folder, split in (("Train", "train"), ("Val", "val")):
            if not (root / folder).is_dir():
                raise self.not_found(root / folder)
            found = sorted(path for path in (root / folder).iterdir() if path.is_dir())
            if (unknown := [path.name for path in found if path.name not in FOLDERS]) or not found:
                raise wrong(str(root / folder), f"the folders {', '.join(FOLDERS)}", unknown)
            rows += [
                Row(f"{folder}/{place.name}/{path.name}", split, canonical(place.name))
                for place in found
                for path in files_of(place, *_ENDINGS)
            ]
        if (root / "Test").is_dir():
            rows += [Row(f"Test/{path.name}", "test", None) for path in files_of(root / "Test", *_ENDINGS)]
        return hold_out(rows)

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The whole stills, RGB."""
        return file_reader([root / row.id for row in rows])

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw `per_class` stills for each class of "train" and "val", some to hold out, and two for "test"."""
        for folder, count in (("Train", enough_for(per_class)), ("Val", per_class)):
            for place, label in zip(FOLDERS, order("sfew"), strict=True):
                for number in range(count):
                    self._draw(root / folder / place / f"Film_{folder}{number:09d}_00000005.png", label, seed)
        for number in range(2):
            self._draw(root / "Test" / f"Film_Test{number:09d}_00000005.png", "neutral", seed)

    @staticmethod
    def _draw(path: Path, label: str, seed: int) -> None:
        own = stable_seed(seed, f"{path.parent.name} {path.name}")
        save(path, drawn_photo(180, 144, [(label, (40 + own % 20, 20, 100), own)], own))
