"""AffectNet: faces from the web with eight classes, valence and arousal.

Source: Mollahosseini, Hasani, Mahoor, "AffectNet: A Database for Facial Expression, Valence, and Arousal Computing
in the Wild", IEEE TAC 2017. Nobody here has seen the files: both layouts and all counts are from memory.

v1: one csv a split and whole pictures; the face is cut out at its box. `validation.csv` is read with or without a
header. v2 ("mini"): faces of 224 x 224 and three npy files each. Codes 8 none, 9 uncertain and 10 non-face become
rows without a label; the file's own code stays in `extras["file_label"]`.

The test pictures are not published, so "val" is what is reported, and one in ten of each training class, chosen by
the hash of its name, is "train_held_out" and selects; the official training count is the sum of both. v1 and v2
name their pictures differently, so their held-out parts hold other faces.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mien.datasets.dataset import Dataset, Reader, Row, register
from mien.datasets.drawn import drawn_face, drawn_photo, save, stable_seed
from mien.datasets.held_out import HELD_OUT, counts_after, enough_for, hold_out
from mien.datasets.reading import AS_DISTRIBUTED, at_line, class_of, crop_box, files_of, read_picture, wrong
from mien.errors import DataError, OptionError
from mien.labels.expressions import CODES, EXPRESSIONS

TRAIN = {
    "neutral": 74874,
    "happy": 134415,
    "sad": 25459,
    "surprise": 14090,
    "fear": 6378,
    "disgust": 3803,
    "angry": 24882,
    "contempt": 3750,
}
"""The whole official training split, 287,651 faces with one of the eight classes (from memory)."""

VAL = dict.fromkeys(EXPRESSIONS, 500)
"""The official validation split, 4,000 faces (from memory; v2 is said to lack one face with contempt)."""

WITHOUT_CLASS = {"8": "none", "9": "uncertain", "10": "non-face"}

COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
"""Columns of v1's lists."""

MARGIN = 0.0
"""v1's boxes are cut as they are."""

_NOT_AVAILABLE = -2
_TABLES = {"train": "training.csv", "val": "validation.csv"}
_FOLDERS = {"train": "train_set", "val": "val_set"}


@register
class AffectNet(Dataset):
    """AffectNet, manually labelled part; v1 and v2 are told apart by what lies in the folder."""

    name = "affectnet"
    title = "AffectNet"
    licence = "research only, request signed by the principal investigator (from memory)"
    apply_at = "http://mohammadmahoor.com/affectnet/ (from memory)"
    layout = (
        "v2: ROOT/train_set/images/0.jpg, ROOT/train_set/annotations/0_exp.npy, 0_val.npy, 0_aro.npy,\n"
        "    and the same below ROOT/val_set\n"
        "or v1: ROOT/training.csv, ROOT/validation.csv (or both in ROOT/Manually_Annotated_file_lists),\n"
        "    pictures below ROOT/Manually_Annotated_Images"
    )
    framing = "crop"
    splits = ("train", HELD_OUT, "val")
    expected = {**counts_after(TRAIN), "val": VAL}
    expected_source = "from memory"

    def rows(self, root: Path) -> list[Row]:
        """Rows of both splits; `extras` hold "valence_arousal", NaN where not available, and "file_label".

        v1's rows have "face_box_xyxy_px" too. See `Dataset.rows`.
        """
        tables = _tables(root)
        if tables:
            return hold_out([row for split, path in tables.items() for row in _rows_v1(path, split)])
        rows = []
        for split, folder in _FOLDERS.items():
            if not (root / folder / "annotations").is_dir():
                raise self.not_found(root / folder / "annotations")
            rows += list(_rows_v2(root / folder, split))
        return hold_out(rows)

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The faces, RGB: v1 cut at the box, any size; v2 (224, 224, 3)."""

        def read(index: int) -> np.ndarray:
            row = rows[index]
            box = row.extras.get("face_box_xyxy_px")
            if box is None:
                folder, number = row.id.split("/")
                return read_picture(root / folder / "images" / f"{number}.jpg")
            path = root / "Manually_Annotated_Images" / row.id
            return crop_box(read_picture(path), box, MARGIN, str(path))

        return read

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0, version: str = "v2") -> None:
        """Draw `per_class` faces for each class of "train" and of "val", some to hold out, and one uncertain."""
        if version not in ("v1", "v2"):
            raise OptionError(f"expected version 'v1' or 'v2', got {version!r}")
        draw = _draw_v1 if version == "v1" else _draw_v2
        for split, count in (("train", enough_for(per_class)), ("val", per_class)):
            draw(root, split, [*CODES["affectnet"]] * count + ["9"], seed)


def _tables(root: Path) -> dict[str, Path]:
    """v1's lists, empty where they are not there."""
    for folder in (root, root / "Manually_Annotated_file_lists"):
        tables = {split: folder / name for split, name in _TABLES.items()}
        if all(path.is_file() for path in tables.values()):
            return tables
    return {}


def _label(code: str, where: str) -> str | None:
    return None if code in WITHOUT_CLASS else class_of("affectnet", code, where)


def _affect(valence: float, arousal: float) -> tuple[float, float]:
    """Valence and arousal from -1 to 1, each NaN where it is not available."""
    first, second = (math.nan if value == _NOT_AVAILABLE else value for value in (valence, arousal))
    return first, second


def _rows_v1(path: Path, split: str) -> Iterator[Row]:
    with path.open(newline="", encoding="utf-8-sig") as stored:
        for number, fields in enumerate(csv.reader(stored), 1):
            if not fields or (number == 1 and fields[0] == COLUMNS[0]):
                continue
            where = at_line(path, number)
            if len(fields) != len(COLUMNS):
                raise wrong(where, f"{len(COLUMNS)} columns ({', '.join(COLUMNS)})", fields)
            values = dict(zip(COLUMNS, fields, strict=True))
            try:
                x, y, width, height, valence, arousal = (
                    float(values[name]) for name in (*COLUMNS[1:5], "valence", "arousal")
                )
            except ValueError as error:
                raise wrong(where, "numbers for the face box, valence and arousal", fields) from error
            extras = {
                "valence_arousal": _affect(valence, arousal),
                "file_label": _file_label(values["expression"], where),
                "face_box_xyxy_px": (x, y, x + width, y + height),
            }
            yield Row(values[COLUMNS[0]], split, _label(values["expression"].strip(), where), None, extras)


def _rows_v2(folder: Path, split: str) -> Iterator[Row]:
    classes = [path for path in files_of(folder / "annotations", ".npy") if path.stem.endswith("_exp")]
    for path in classes:
        if not path.stem.removesuffix("_exp").isdecimal():
            raise wrong(str(path), "a name such as '123_exp.npy'", path.name)
    for path in sorted(classes, key=lambda path: int(path.stem.removesuffix("_exp"))):
        number = path.stem.removesuffix("_exp")
        valence, arousal = (_number(path.with_name(f"{number}_{kind}.npy")) for kind in ("val", "aro"))
        code = f"{_number(path):g}"
        extras = {"valence_arousal": _affect(valence, arousal), "file_label": _file_label(code, str(path))}
        yield Row(f"{folder.name}/{number}", split, _label(code, str(path)), None, extras)


def _file_label(code: str, where: str) -> int:
    _label(code.strip(), where)
    return int(code)


def _number(path: Path) -> float:
    """The number in a small npy file, which may be written as text."""
    try:
        return float(np.load(path, allow_pickle=False).reshape(-1)[0])
    except (OSError, ValueError, IndexError, EOFError) as error:
        raise DataError(f"expected a number in {path}, got {error}. {AS_DISTRIBUTED}") from error


def _drawn_affect(index: int) -> tuple[float, float]:
    """Numbers for a look-alike; every fifth is not available."""
    return (-2.0, -2.0) if index % 5 == 4 else (((index % 9) - 4) / 4, ((index % 7) - 3) / 3)


def _drawn_class(code: str) -> str:
    return CODES["affectnet"].get(code, "neutral")


def _draw_v1(root: Path, split: str, codes: Sequence[str], seed: int) -> None:
    with (root / _TABLES[split]).open("w", newline="") as stored:
        table = csv.writer(stored)
        if split == "train":
            table.writerow(COLUMNS)
        for index, code in enumerate(codes):
            name = f"{index % 3 + 1}/{split}{index}.jpg"
            own = stable_seed(seed, name)
            photo = drawn_photo(160, 120, [(_drawn_class(code), (30, 10, 96), own)], own)
            save(root / "Manually_Annotated_Images" / name, photo)
            points = ";".join(["78.0", "58.0"] * 68)
            table.writerow([name, 30, 10, 96, 96, points, code, *_drawn_affect(index)])


def _draw_v2(root: Path, split: str, codes: Sequence[str], seed: int) -> None:
    folder = root / _FOLDERS[split]
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for index, code in enumerate(codes):
        own = stable_seed(seed, f"{split} {index}")
        save(folder / "images" / f"{index}.jpg", drawn_face(_drawn_class(code), 224, own))
        valence, arousal = _drawn_affect(index)
        for kind, value in (("exp", code), ("val", str(valence)), ("aro", str(arousal))):
            np.save(folder / "annotations" / f"{index}_{kind}.npy", np.array(value))
        np.save(folder / "annotations" / f"{index}_lnd.npy", np.full(136, 112.0))
