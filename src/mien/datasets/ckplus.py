"""CK+, the extended Cohn-Kanade set: posed sequences from neutral to the expression, eight classes.

Source: Lucey, Cohn, Kanade, Saragih, Ambadar, Matthews, "The Extended Cohn-Kanade Dataset (CK+): A complete dataset
for action unit and emotion-specified expression", CVPR workshops 2010. 327 of its 593 sequences have a label. As is
common, the last three frames of such a sequence carry its label and the first frame is neutral.

`ckplus` reads the tree as distributed (from memory; nobody here has seen it). `ckplus48` reads the same last frames as
faces of 48 x 48, with action units, from one npz: `images` (N, 48, 48) uint8, `label`, `subject`, `sequence`, `frame`,
`au_ids` (23), `au` (N, 23). Both give a picture the same id. The npz was counted here: 981 pictures, 118 people.
"""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mien.datasets.dataset import Dataset, Reader, Row, register
from mien.datasets.drawn import DRAWN_UNITS, drawn_face, drawn_photo, save, stable_seed
from mien.datasets.reading import AS_DISTRIBUTED, class_of, file_reader, files_of, wrong
from mien.errors import DataError, UnknownNameError
from mien.labels.action_units import UNIT_SETS
from mien.labels.expressions import CODES, canonical

SEQUENCES = {"angry": 45, "contempt": 18, "disgust": 59, "fear": 25, "happy": 69, "sad": 28, "surprise": 83}
"""Labelled sequences of each class: 327 of 118 people."""

LAST_FRAMES = 3

PEAKS = {label: LAST_FRAMES * count for label, count in SEQUENCES.items()}
"""Pictures of each class from the last three frames: 981."""

_SUBJECT, _SEQUENCE = re.compile(r"S\d{3}"), re.compile(r"\d{3}")
_FRAME = re.compile(r"S\d{3}_\d{3}_\d{8}")


@register
class CkPlus(Dataset):
    """The tree as distributed: whole pictures of 640 x 490."""

    name = "ckplus"
    title = "CK+, extended Cohn-Kanade"
    licence = "research only, signed agreement (from memory)"
    apply_at = "http://www.jeffcohn.net/Resources/"
    layout = (
        "ROOT/cohn-kanade-images/S005/001/S005_001_00000001.png\n"
        "ROOT/Emotion/S005/001/S005_001_00000011_emotion.txt  (one number; the folder is empty without a label)"
    )
    framing = "photo"
    splits = ("all",)
    expected = {"all": {**PEAKS, "neutral": sum(SEQUENCES.values())}}
    expected_source = "from memory; the last frames counted here on 48 x 48 copies"

    def rows(self, root: Path) -> list[Row]:
        """First and last three frames of each labelled sequence, in name order. See `Dataset.rows`."""
        for place in (root / "Emotion", root / "cohn-kanade-images"):
            if not place.is_dir():
                raise self.not_found(place)
        rows = []
        for subject, sequence in _sequences(root / "Emotion"):
            files = files_of(root / "Emotion" / subject / sequence, ".txt")
            if files:
                label = _label(files[0])
                rows += _frames(root / "cohn-kanade-images" / subject / sequence, subject, label)
        return rows

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The whole pictures, grey (490, 640) or RGB (490, 640, 3): the set holds both."""
        folder = root / "cohn-kanade-images"
        return file_reader([folder / row.id[:4] / row.id[5:8] / f"{row.id}.png" for row in rows])

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw people for `per_class` pictures of each class in each of ten folds.

        Each has a sequence of five frames for each class, and one without a label.
        """
        for subject, number, code, label in _drawn_sequences(per_class):
            folder = root / "cohn-kanade-images" / subject / number
            for frame in range(1, 6):
                stem = f"{subject}_{number}_{frame:08d}"
                own = stable_seed(seed, stem)
                shown = label if frame > 2 else "neutral"
                photo = drawn_photo(160, 122, [(shown, (35, 10, 100), own)], own)
                save(folder / f"{stem}.png", np.asarray(Image.fromarray(photo).convert("L")))
            place = root / "Emotion" / subject / number
            place.mkdir(parents=True, exist_ok=True)
            if code:
                (place / f"{stem}_emotion.txt").write_text(f"   {float(code):.7e}\n")


@register
class CkPlus48(Dataset):
    """The last three frames as faces of 48 x 48 with 23 action units; no neutral pictures."""

    name = "ckplus48"
    title = "CK+ at 48 x 48 with action units"
    licence = "pictures: research only, signed agreement (from memory); action units: Apache-2.0"
    apply_at = (
        "http://www.jeffcohn.net/Resources/ (pictures), github.com/NetFACS/NetFACS (action units); copies of the "
        "faces lie in github.com/WuJie1010/Facial-Expression-Recognition.Pytorch"
    )
    layout = "ROOT/ckplus48_au.npz: images, label, subject, sequence, frame, au_ids, au"
    framing = "crop"
    splits = ("all",)
    units = UNIT_SETS["ckplus"]
    expected = {"all": PEAKS}
    expected_source = "counted here"

    def rows(self, root: Path) -> list[Row]:
        """Rows in the file's order; `extras["action_units"]` are 23 of 0 and 1, in the order of `au_ids`."""
        stored = self._stored(root)
        path = root / "ckplus48_au.npz"
        rows = []
        for index, (label, subject, sequence, frame) in enumerate(
            zip(stored["label"], stored["subject"], stored["sequence"], stored["frame"], strict=True)
        ):
            try:
                name = canonical(str(label))
            except UnknownNameError as error:
                known = ", ".join(CODES["ckplus"].values())
                raise wrong(f"{path}, row {index}", f"one of the labels {known}", str(label)) from error
            units = tuple(int(value) for value in stored["au"][index])
            id = f"{sequence}_{int(frame):08d}"
            rows.append(Row(id, "all", name, str(subject), {"action_units": units}))
        return rows

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The faces, grey (48, 48)."""
        stored = self._stored(root)
        place = {
            f"{sequence}_{int(frame):08d}": index
            for index, (sequence, frame) in enumerate(zip(stored["sequence"], stored["frame"], strict=True))
        }
        wanted = [place[row.id] for row in rows]
        return lambda index: stored["images"][wanted[index]]

    def action_unit_ids(self, root: Path) -> tuple[int, ...]:
        """Numbers of the action units in the file, which are `units`."""
        return tuple(int(unit) for unit in self._stored(root)["au_ids"])

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw the last frames that `ckplus` draws, with `DRAWN_UNITS`."""
        kept = [entry for entry in _drawn_sequences(per_class) if entry[2]]
        names = [
            (subject, f"{subject}_{number}", frame, label)
            for subject, number, _, label in kept
            for frame in (3, 4, 5)
        ]
        faces = [
            drawn_face(label, 48, stable_seed(seed, f"{name} {frame}")) for _, name, frame, label in names
        ]
        labels = [label for *_, label in names]
        np.savez_compressed(
            root / "ckplus48_au.npz",
            images=np.stack([np.asarray(Image.fromarray(face).convert("L")) for face in faces]),
            label=np.array([_WRITTEN.get(label, label) for label in labels]),
            subject=np.array([subject for subject, *_ in names]),
            sequence=np.array([name for _, name, *_ in names]),
            frame=np.array([frame for _, _, frame, _ in names]),
            au_ids=np.array(self.units),
            au=np.array([[unit in DRAWN_UNITS[label] for unit in self.units] for label in labels], np.uint8),
        )

    def _stored(self, root: Path) -> dict[str, np.ndarray]:
        path = root / "ckplus48_au.npz"
        if not path.is_file():
            raise self.not_found(path)
        try:
            with np.load(path, allow_pickle=False) as opened:
                stored = {name: opened[name] for name in opened.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"expected an npz file, got {path} ({error}). {AS_DISTRIBUTED}") from error
        count = len(stored.get("images", ()))
        shapes = {
            **dict.fromkeys(("label", "subject", "sequence", "frame"), (count,)),
            "images": (count, 48, 48),
            "au_ids": (23,),
            "au": (count, 23),
        }
        for name, shape in shapes.items():
            got = stored[name].shape if name in stored else None
            if got != shape:
                raise wrong(str(path), f"an array {name!r} of shape {shape}", got)
        if tuple(stored["au_ids"].tolist()) != self.units:
            raise wrong(str(path), f"the action units {self.units} as au_ids", stored["au_ids"].tolist())
        return stored


_WRITTEN = {"angry": "anger", "sad": "sadness"}


def _sequences(emotions: Path) -> Iterator[tuple[str, str]]:
    """(subject, sequence) of every folder of labels, in name order."""
    for person in sorted(path for path in emotions.iterdir() if path.is_dir()):
        if not _SUBJECT.fullmatch(person.name):
            raise wrong(str(person), "a folder such as 'S005'", person.name)
        for sequence in sorted(path for path in person.iterdir() if path.is_dir()):
            if not _SEQUENCE.fullmatch(sequence.name):
                raise wrong(str(sequence), "a folder such as '001'", sequence.name)
            yield person.name, sequence.name


def _label(path: Path) -> str:
    """The class in a file of one number, which is written as a float."""
    text = path.read_text(errors="replace").strip()
    try:
        code = f"{float(text):g}"
    except ValueError as error:
        raise wrong(f"{path}, line 1", "one number from 0 to 7", text) from error
    return class_of("ckplus", code, f"{path}, line 1")


def _frames(folder: Path, subject: str, label: str) -> list[Row]:
    """The neutral first frame and the last three."""
    frames = files_of(folder, ".png") if folder.is_dir() else []
    if len(frames) <= LAST_FRAMES:
        raise wrong(str(folder), f"more than {LAST_FRAMES} frames of a labelled sequence", len(frames))
    for path in frames:
        if not _FRAME.fullmatch(path.stem):
            raise wrong(str(path), "a name such as 'S005_001_00000001.png'", path.name)
    chosen = [(frames[0], "neutral"), *((path, label) for path in frames[-LAST_FRAMES:])]
    return [Row(path.stem, "all", name, subject) for path, name in chosen]


def _drawn_sequences(per_class: int) -> Iterator[tuple[str, str, str, str]]:
    """(subject, sequence, code, class) of a look-alike; the code is empty where there is no label."""
    classes = [(code, label) for code, label in CODES["ckplus"].items() if label != "neutral"]
    for person in range(10 * math.ceil(per_class / LAST_FRAMES)):
        for number, (code, label) in enumerate([*classes, ("", "happy")], 1):
            yield f"S{5 * person + 5:03d}", f"{number:03d}", code, label
