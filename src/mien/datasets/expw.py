"""ExpW, Expression in the Wild: 91,793 faces in pictures from the web, seven classes.

Source: Zhang, Luo, Loy, Tang, "From Facial Expression Recognition to Interpersonal Relation Prediction", IJCV 2018.
Nobody here has seen the files: the folders and all counts are from memory, the list's lines as public readers of
the set write them.

A face is cut at its box with a margin of `MARGIN` on each side, which is our choice. There is no official split:
ours goes by the hash of the picture's name, so that all faces of a picture are in one split. Numbers on it cannot be
set beside those of papers, which split by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mien.datasets.dataset import Reader, Row, register
from mien.datasets.drawn import drawn_photo, save, stable_seed
from mien.datasets.held_out import CountedWhole, stable_number
from mien.datasets.reading import at_line, class_of, crop_box, numbered_lines, read_picture, wrong
from mien.labels.expressions import CODES

WHOLE = {
    "angry": 3671,
    "disgust": 3995,
    "fear": 1088,
    "happy": 30537,
    "sad": 10559,
    "surprise": 7060,
    "neutral": 34883,
}
"""All 91,793 faces (from memory)."""

MARGIN = 0.15
"""Added to the box on each side, as a share of it."""

COLUMNS = ("image_name", "face_id", "top", "left", "right", "bottom", "confidence", "label")
"""Columns of `label.lst`."""


def split_of(image_name: str) -> str:
    """Our split of a picture: of a hundred, 17 are "test", 8 "val", the others "train"."""
    place = stable_number(image_name) % 100
    return "test" if place < 17 else "val" if place < 25 else "train"


@register
class ExpW(CountedWhole):
    """Expression in the Wild."""

    name = "expw"
    title = "ExpW, Expression in the Wild"
    licence = "research only (from memory)"
    apply_at = "http://mmlab.ie.cuhk.edu.hk/projects/socialrelation/ (from memory)"
    layout = (
        "ROOT/label.lst  (or ROOT/label/label.lst)\n"
        "     image_name face_id top left right bottom confidence label\n"
        "ROOT/image/origin/*.jpg  (or ROOT/origin/*.jpg)"
    )
    framing = "crop"
    splits = ("train", "val", "test")
    expected = {"all": WHOLE}
    expected_source = "from memory"

    def rows(self, root: Path) -> list[Row]:
        """Rows in the list's order; `extras` hold "face_box_xyxy_px" and "face_confidence"."""
        listed = root / "label.lst"
        if not listed.is_file():
            listed = root / "label" / "label.lst"
        if not listed.is_file():
            raise self.not_found(root / "label.lst")
        return [_row(line, at_line(listed, number)) for number, line in numbered_lines(listed)]

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The faces, RGB, any size."""
        folder = root / "image" / "origin"
        if not folder.is_dir():
            folder = root / "origin"

        def read(index: int) -> np.ndarray:
            path = folder / rows[index].id.rpartition("#")[0]
            return crop_box(read_picture(path), rows[index].extras["face_box_xyxy_px"], MARGIN, str(path))

        return read

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw at least `per_class` faces for each class and each split, two faces in a picture."""
        missing = {split: [*CODES["expw"]] * per_class for split in self.splits}
        lines, number = [], 0
        while any(missing.values()):
            number += 1
            name = f"drawn_{number}.jpg"
            codes = [missing[split_of(name)].pop() for _ in range(2) if missing[split_of(name)]]
            if not codes:
                continue
            own = stable_seed(seed, name)
            boxes = [(10 + 100 * face, 14, 80) for face in range(len(codes))]
            faces = [
                (CODES["expw"][code], box, own + face)
                for face, (code, box) in enumerate(zip(codes, boxes, strict=True))
            ]
            save(root / "image" / "origin" / name, drawn_photo(200, 110, faces, own))
            for face, (code, (left, top, side)) in enumerate(zip(codes, boxes, strict=True)):
                lines.append(f"{name} {face} {top} {left} {left + side} {top + side} 60.5 {code}\n")
        (root / "label.lst").write_text("".join(lines))


def _row(line: str, where: str) -> Row:
    fields = line.split()
    if len(fields) != len(COLUMNS):
        raise wrong(where, f"{len(COLUMNS)} columns ({' '.join(COLUMNS)})", line)
    name, face, *numbers, code = fields
    try:
        top, left, right, bottom, confidence = (float(value) for value in numbers)
    except ValueError as error:
        raise wrong(where, "numbers for the box and its confidence", line) from error
    extras = {"face_box_xyxy_px": (left, top, right, bottom), "face_confidence": confidence}
    return Row(f"{name}#{face}", split_of(name), class_of("expw", code, where), None, extras)
