"""FER2013: 35,887 grey web pictures of 48 x 48 px, seven classes, official splits.

Source: Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning
contests", 2013 (arXiv 1307.0414). Labels are rough: people agree with them in about two of three.

Three layouts, told apart by what lies in the root:

- csv: the official `fer2013.csv` (emotion, pixels, Usage), one row a picture;
- npz: `train.npz`, `public_test.npz`, `private_test.npz`, each with `images` (N, 48, 48) uint8, `fer_label`
  (N,), `ferplus_votes` (N, 10) and `fer_row` (N,), the row in the csv or -1 where that is not known;
- folders: `train/<class>/*` and `test/<class>/*`, as it is often passed on. Its test holds the public and
  the private test together, so the frozen protocols refuse it.

A picture's id is its row in the csv, `row_00000`, in both first layouts; `train_28558` is a picture of the
npz files whose row is not known (71 in all). FER+'s picture names count otherwise.
"""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from mien.datasets.dataset import Dataset, Reader, Row, named_classes, register
from mien.datasets.drawn import grey_faces
from mien.datasets.pictures import decode
from mien.datasets.protocol import Protocol
from mien.datasets.samples import Samples
from mien.errors import DataError, OptionError
from mien.labels.expressions import EXPRESSIONS, FERPLUS_VOTES, order
from mien.transforms.pixels import PICTURE_SUFFIXES

CLASSES = order("fer2013")
USAGES = {"Training": "train", "PublicTest": "public_test", "PrivateTest": "private_test"}
SPLITS = tuple(USAGES.values())
SIDE_PX = 48
ARRAYS = ("images", "fer_label", "ferplus_votes", "fer_row")
HEADER = b"emotion,pixels,Usage"

FOLDERS_REFUSED = (
    "expected fer2013.csv (or the npz files), got the folders train/ and test/: their test is the public and "
    "the private test together, so a number on it cannot be compared with one on the private test. Get the "
    "csv, or make a protocol of your own with mien.datasets.folder.protocol_of(root)."
)


@register
class Fer2013(Dataset):
    """FER2013 with its own labels; FER+ has the same pictures with better ones."""

    name = "fer2013"
    title = "FER2013"
    licence = "none stated; web-search pictures handed out for a research competition"
    apply_at = "https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge"
    layout = (
        "  fer2013.csv                                       emotion,pixels,Usage\n"
        "or\n"
        "  train.npz, public_test.npz, private_test.npz      images, fer_label, ferplus_votes, fer_row\n"
        "or\n"
        "  train/<class>/*.jpg, test/<class>/*.jpg           (not for the frozen protocols)"
    )
    framing = "crop"
    splits = SPLITS
    expected: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "train": dict(zip(CLASSES, (3995, 436, 4097, 7215, 4830, 3171, 4965), strict=True)),
        "public_test": dict(zip(CLASSES, (467, 56, 496, 895, 653, 415, 607), strict=True)),
        "private_test": dict(zip(CLASSES, (491, 55, 528, 879, 594, 416, 626), strict=True)),
    }
    expected_source = "counted here"

    def rows(self, root: Path) -> list[Row]:
        """Every picture, in the order of the csv; of folders, by name. See the base."""
        layout = layout_of(self, root)
        if layout == "csv":
            return csv_rows(root / "fer2013.csv")
        if layout == "npz":
            return npz_rows(self, root)
        return _folder_rows(root)

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """Grey (48, 48) pictures, held in memory (2,304 bytes each); folders are read one by one."""
        return read_pictures(self, root, rows)

    def expected_of(self, rows: Sequence[Row]) -> Mapping[str, Mapping[str, int]]:
        """Of folders, public and private test added up."""
        if not any(row.split == "test" for row in rows):
            return self.expected
        public, private = self.expected["public_test"], self.expected["private_test"]
        both = {label: public[label] + private[label] for label in CLASSES}
        return {"train": self.expected["train"], "test": both}

    def samples(
        self, root: str | Path, protocol: Protocol | str, split: str, fold: int = 0, check: bool = True
    ) -> Samples:
        """See the base; the folder layout is refused (`DataError`)."""
        if layout_of(self, Path(root)) == "folders":
            raise DataError(FOLDERS_REFUSED)
        return super().samples(root, protocol, split, fold, check)

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0, layout: str = "csv") -> None:
        """Draw one of the layouts "csv", "npz" or "folders"."""
        draw(Path(root), [(split, label) for split in SPLITS for label in CLASSES], per_class, seed, layout)


def layout_of(dataset: Dataset, root: Path) -> str:
    """The layout in a folder, "csv", "npz" or "folders"; `DataNotFoundError` where there is none."""
    if (root / "fer2013.csv").is_file():
        return "csv"
    if any((root / f"{split}.npz").is_file() for split in SPLITS):
        return "npz"
    if (root / "train").is_dir() and (root / "test").is_dir():
        return "folders"
    raise dataset.not_found(root / "fer2013.csv")


def _row_id(number: int) -> str:
    return f"row_{number:05d}"


def _csv_lines(path: Path) -> Iterator[tuple[int, str, bytes, str]]:
    """(row, emotion, pixels, usage) of each line; one line is in memory at a time."""
    with path.open("rb") as stored:
        header = stored.readline().strip()
        if header != HEADER:
            raise DataError(f"expected the columns {HEADER.decode()} in {path}, got {header[:60]!r}")
        for number, line in enumerate(line for line in stored if line.strip()):
            emotion, _, rest = line.strip().partition(b",")
            pixels, _, usage = rest.rpartition(b",")
            yield (
                number,
                emotion.decode(errors="replace"),
                pixels.strip(b'" '),
                usage.decode(errors="replace"),
            )


def csv_rows(path: Path) -> list[Row]:
    """Rows of `fer2013.csv`.

    Raises:
        DataError: another header, or emotions or usages that are not FER2013's: the first ten kinds, with
            how often and where first.
    """
    emotions = {str(index): label for index, label in enumerate(CLASSES)}
    found: list[tuple[Row, bytes]] = []
    unknown: dict[str, list[int]] = {}
    for number, emotion, pixels, usage in _csv_lines(path):
        if emotion in emotions and usage in USAGES:
            row = Row(_row_id(number), USAGES[usage], emotions[emotion])
            found.append((row, hashlib.sha256(pixels).digest()))
        else:
            unknown.setdefault(f"emotion {emotion!r} with usage {usage!r}", []).append(number)
    if unknown:
        got = [f"{what} ({len(rows)} times, first in row {rows[0]})" for what, rows in unknown.items()]
        raise DataError(
            f"expected emotions 0 to 6 and the usages {', '.join(USAGES)} in {path}, got {', '.join(got[:10])}"
        )
    taught = {digest for row, digest in found if row.split == "train"}
    return [
        row if row.split == "train" else replace(row, extras={"duplicate_of_train": digest in taught})
        for row, digest in found
    ]


def npz_arrays(dataset: Dataset, root: Path, split: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Some arrays of one split's npz file.

    Raises:
        DataNotFoundError: the file is not there.
        DataError: it cannot be read, lacks an array, or they differ in length.
    """
    path = root / f"{split}.npz"
    if not path.is_file():
        raise dataset.not_found(path)
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in names}
    except (KeyError, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"expected the arrays {', '.join(ARRAYS)} in {path}, got {error}") from error
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise DataError(f"expected arrays of one length in {path}, got {lengths}")
    return arrays


def npz_ids(split: str, fer_row: np.ndarray) -> list[str]:
    """Ids of the pictures of an npz file, by their `fer_row`."""
    return [_row_id(int(row)) if row >= 0 else f"{split}_{place:05d}" for place, row in enumerate(fer_row)]


def npz_rows(dataset: Dataset, root: Path) -> list[Row]:
    """Rows of the npz files in the order of the csv, in each split those of unknown row last.

    Which pictures train has as well is read from `dup_of_train_<split>.npy`, and found by comparing where
    one of these two files is not there.
    """
    marks = [root / f"dup_of_train_{split}.npy" for split in SPLITS[1:]]
    compare = not all(path.is_file() for path in marks)
    rows: list[Row] = []
    taught: np.ndarray = np.zeros((0, 48, 48), np.uint8)
    for split in SPLITS:
        arrays = npz_arrays(dataset, root, split, ("fer_label", "fer_row", *(("images",) if compare else ())))
        labels = arrays["fer_label"]
        if labels.size and not (labels.min() >= 0 and labels.max() < len(CLASSES)):
            raise DataError(
                f"expected fer_label from 0 to 6 in {split}.npz, got {labels.min()} to {labels.max()}"
            )
        if split == "train":
            taught = arrays.get("images", taught)
            marked = None
        elif compare:
            marked = repeats(arrays["images"], taught)
        else:
            marked = np.isin(np.arange(len(labels)), np.load(root / f"dup_of_train_{split}.npy"))
        ids = npz_ids(split, arrays["fer_row"])
        # Known rows first: "row_..." sorts before "train_..." but not before "public_test_...".
        for place in sorted(
            range(len(ids)), key=lambda place: (not ids[place].startswith("row_"), ids[place])
        ):
            extras = {} if marked is None else {"duplicate_of_train": bool(marked[place])}
            rows.append(Row(ids[place], split, CLASSES[labels[place]], extras=extras))
    return rows


def repeats(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of N pictures stand among others pixel by pixel, bool (N,)."""
    known = {picture.tobytes() for picture in others}
    return np.array([picture.tobytes() in known for picture in images], bool)


def _folder_rows(root: Path) -> list[Row]:
    found = []
    for split in ("train", "test"):
        folders = sorted(path for path in (root / split).iterdir() if path.is_dir())
        named = named_classes((folder.name for folder in folders), root / split, CLASSES)
        for folder in folders:
            files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
            found += [
                Row(str(path.relative_to(root).as_posix()), split, named[folder.name]) for path in files
            ]
    return found


def read_pictures(dataset: Dataset, root: Path, rows: Sequence[Row]) -> Reader:
    """A reader of FER2013's pictures, in any of the layouts; see `Dataset.reader`."""
    layout = layout_of(dataset, root)
    if layout == "folders":
        return lambda index: decode(root / rows[index].id, root / rows[index].id)
    place = {row.id: index for index, row in enumerate(rows)}
    pictures = np.zeros((len(rows), SIDE_PX, SIDE_PX), np.uint8)
    unread: dict[int, str] = {}
    if layout == "csv":
        unread = _read_csv(root / "fer2013.csv", place, pictures)
    else:
        _read_npz(dataset, root, {row.split for row in rows}, place, pictures)

    def read(index: int) -> np.ndarray:
        if index in unread:
            raise DataError(unread[index])
        return pictures[index]

    return read


def _read_csv(path: Path, place: Mapping[str, int], pictures: np.ndarray) -> dict[int, str]:
    """Fill in the pictures of some rows; gives what is wrong with those that cannot be read."""
    unread = {}
    for number, _, pixels, _ in _csv_lines(path):
        index = place.get(_row_id(number))
        if index is None:
            continue
        try:
            pictures[index] = _picture(pixels)
        except ValueError as error:
            unread[index] = f"expected 2304 numbers from 0 to 255 in row {number} of {path}, got {error}"
    return unread


def _read_npz(
    dataset: Dataset, root: Path, splits: set[str], place: Mapping[str, int], pictures: np.ndarray
) -> None:
    for split in sorted(splits):
        arrays = npz_arrays(dataset, root, split, ("images", "fer_row"))
        images = arrays["images"]
        if images.shape[1:] != pictures.shape[1:] or images.dtype != np.uint8:
            raise DataError(
                f"expected uint8 images (N, 48, 48) in {split}.npz, got {images.dtype} {images.shape}"
            )
        for one, name in enumerate(npz_ids(split, arrays["fer_row"])):
            if name in place:
                pictures[place[name]] = images[one]


def _picture(pixels: bytes) -> np.ndarray:
    """(48, 48) from numbers in text; `ValueError` says what is wrong."""
    try:
        with warnings.catch_warnings():
            # NumPy stops at what is no number, and only warns of it.
            warnings.simplefilter("error", DeprecationWarning)
            values = np.fromstring(pixels, np.int64, sep=" ")
    except DeprecationWarning:
        raise ValueError("something else") from None
    if len(values) != SIDE_PX * SIDE_PX or values.min() < 0 or values.max() > 255:
        raise ValueError(f"{len(values)} numbers from {values.min(initial=0)} to {values.max(initial=0)}")
    return values.astype(np.uint8).reshape(SIDE_PX, SIDE_PX)


def draw(root: Path, kinds: Sequence[tuple[str, str]], per_class: int, seed: int, layout: str) -> list[str]:
    """Draw a look-alike with so many pictures of each (split, class); gives the classes row by row.

    The last picture of the private test is that of the first training row, to have a duplicate across splits.
    """
    face = grey_faces(SIDE_PX, seed)
    # What is no class, such as a picture on which the votes are tied, is drawn neutral.
    drawn = [
        (split, label, face(label if label in EXPRESSIONS else "neutral"))
        for split, label in kinds
        for _ in range(per_class)
    ]
    drawn[-1] = (*drawn[-1][:2], drawn[0][2])
    root.mkdir(parents=True, exist_ok=True)
    if layout == "csv":
        _write_csv(root / "fer2013.csv", drawn)
    elif layout == "npz":
        _write_npz(root, drawn)
    elif layout == "folders":
        for number, (split, label, picture) in enumerate(drawn):
            folder = root / ("train" if split == "train" else "test") / label
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{number:05d}.png")
    else:
        raise OptionError(f"expected layout 'csv', 'npz' or 'folders', got {layout!r}")
    return [label for _, label, _ in drawn]


def _write_csv(path: Path, drawn: Sequence[tuple[str, str, np.ndarray]]) -> None:
    usage = {split: name for name, split in USAGES.items()}
    with path.open("w", newline="") as stored:
        stored.write(HEADER.decode() + "\n")
        for split, label, picture in drawn:
            pixels = " ".join(map(str, picture.ravel().tolist()))
            stored.write(f"{_emotion(label)},{pixels},{usage[split]}\n")


def _emotion(label: str) -> int:
    """FER2013's number of a class; what it lacks counts as neutral."""
    return CLASSES.index(label if label in CLASSES else "neutral")


def _write_npz(root: Path, drawn: Sequence[tuple[str, str, np.ndarray]]) -> None:
    for split in SPLITS:
        mine = [(row, label, picture) for row, (kind, label, picture) in enumerate(drawn) if kind == split]
        np.savez_compressed(
            root / f"{split}.npz",
            images=np.stack([picture for _, _, picture in mine]),
            fer_label=np.array([_emotion(label) for _, label, _ in mine], np.uint8),
            ferplus_votes=np.stack([drawn_votes(label) for _, label, _ in mine]),
            fer_row=np.array([row for row, _, _ in mine], np.int32),
        )


def drawn_votes(label: str) -> np.ndarray:
    """Ten votes in the order of `FERPLUS_VOTES`, eight for the class; "tie" is half neutral, half sad."""
    votes = np.zeros(len(FERPLUS_VOTES), np.int8)
    if label == "tie":
        votes[[0, 3]] = 5
    else:
        votes[EXPRESSIONS.index(label)], votes[FERPLUS_VOTES.index("unknown")] = 8, 2
    return votes
