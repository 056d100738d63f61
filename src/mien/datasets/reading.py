"""What data sets share when they read their files: pictures, crops, lists, and errors that name the place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mien.datasets.pictures import decode
from mien.errors import DataError, UnknownNameError
from mien.labels.expressions import CODES, from_code

AS_DISTRIBUTED = "Take the file as it was distributed, or leave it out."


def read_picture(path: Path) -> np.ndarray:
    """A picture as it is stored, not turned: the boxes and points of data sets count stored pixels."""
    return decode(path, path, upright=False)


def file_reader(paths: Sequence[Path]) -> Callable[[int], np.ndarray]:
    """A function that gives picture i of some files; see `read_picture`."""
    return lambda index: read_picture(paths[index])


def crop_box(image: np.ndarray, box_xyxy_px: Sequence[float], margin: float, name: str) -> np.ndarray:
    """Cut a box out of a picture, with a margin, as far as the picture reaches.

    Args:
        image: (H, W) or (H, W, 3).
        box_xyxy_px: left, top, right, bottom; right and bottom are outside.
        margin: added on each side, as a share of the box's width and height.
        name: of the picture, for the error.

    Raises:
        DataError: nothing of the box lies in the picture.
    """
    left, top, right, bottom = box_xyxy_px
    across, down = margin * (right - left), margin * (bottom - top)
    height, width = image.shape[:2]
    x0, x1 = max(math.floor(left - across), 0), min(math.ceil(right + across), width)
    y0, y1 = max(math.floor(top - down), 0), min(math.ceil(bottom + down), height)
    if right <= left or bottom <= top or x1 <= x0 or y1 <= y0:
        raise DataError(
            f"expected a face box inside {name} ({width} x {height} pixels), got left {left:g}, top {top:g}, "
            f"right {right:g}, bottom {bottom:g}. {AS_DISTRIBUTED}"
        )
    return image[y0:y1, x0:x1]


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a list that are not empty, with their numbers from 1.

    Raises:
        DataError: the file is no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected a text file, got {path} ({error}). {AS_DISTRIBUTED}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def wrong(where: str, expected: str, got: object) -> DataError:
    """The error for one place in a set: what was expected there, what stands there, and what to do."""
    return DataError(f"{where}: expected {expected}, got {got!r}. {AS_DISTRIBUTED}")


def at_line(path: Path, number: int) -> str:
    """How errors name a line of a list."""
    return f"{path}, line {number}"


def class_of(source: str, code: str, where: str) -> str:
    """Mien's class for a code of `mien.labels.expressions.CODES`.

    Raises:
        DataError: the source has no such code; names `where`.
    """
    try:
        return from_code(source, code)
    except UnknownNameError as error:
        codes = ", ".join(f"{known} ({name})" for known, name in CODES[source].items())
        raise wrong(where, f"one of the codes {codes}", code) from error


def files_of(folder: Path, *endings: str) -> list[Path]:
    """Files of a folder with one of the endings (".png", in any case) in name order, hidden ones left out."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in endings and not path.name.startswith(".") and path.is_file()
    )
