"""Motion pictures of micro-expression clips that lie ready in one npz file: HTNet's 442, or those made of one's own clips.

`htnet_micro` is the composite of MEGC 2019 (SMIC, CASME II, SAMM) as flow pictures of 28 x 28 that come with
github.com/wangzhifengharrison/HTNet, packed as `flow28.npz`: `flow_uvos` (N, 28, 28, 3) uint8, u, v and optical strain,
each stretched to 0 to 255 in each picture; `label` 0 negative, 1 positive, 2 surprise; `dataset`, `subject`, `name`. The
repository states no licence, and the clips behind it are under signed agreements.

`megc2019_maps` has the same arrays, with pictures `maps` (N, S, S, C), as `python -m mien.recipes.motion_maps` writes
them from the clips of `megc2019`.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mien.datasets.dataset import Dataset, Reader, Row, register
from mien.datasets.reading import AS_DISTRIBUTED, wrong
from mien.errors import DataError
from mien.files import whole
from mien.labels.micro import MICRO
from mien.transforms.flow import stretched

COMPOSITE = {"negative": 250, "positive": 109, "surprise": 83}
PARTS = {"casme2": (88, 32, 25), "smic": (70, 51, 43), "samm": (92, 26, 15)}
"""Clips of each class of `MICRO`, of 24, 16 and 28 people, in the order of HTNet's list."""
DRAWN_PEOPLE = 4
"""People of each part in a look-alike."""


class MotionMaps(Dataset):
    """Base of both: one npz file, ids "part/name", people "part/subject".

    Class attributes:
        file, array: name of the file, and of the array of pictures.
        side, channels: of the pictures where they are fixed, else `None`.
        parts: the data sets that may be in it; any where it is empty.
    """

    framing = "ready"
    splits = ("all",)
    expected = {"all": COMPOSITE}
    file: ClassVar[str]
    array: ClassVar[str]
    side: ClassVar[int | None] = None
    channels: ClassVar[int | None] = None
    parts: ClassVar[tuple[str, ...]] = ()

    def rows(self, root: Path) -> list[Row]:
        """Rows in the file's order."""
        stored = self._stored(root)
        rows = []
        for index, label in enumerate(stored["label"].tolist()):
            part, subject, name = (str(stored[key][index]) for key in ("dataset", "subject", "name"))
            where = f"{root / self.file}, row {index}"
            if label not in range(len(MICRO)):
                raise wrong(where, "a label 0 (negative), 1 (positive) or 2 (surprise)", label)
            if self.parts and part not in self.parts:
                raise wrong(where, f"a data set of {', '.join(self.parts)}", part)
            rows.append(Row(f"{part}/{name}", "all", MICRO[label], f"{part}/{subject}"))
        return rows

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The motion pictures, uint8 (S, S, C)."""
        stored = self._stored(root)
        place = {
            f"{part}/{name}": index
            for index, (part, name) in enumerate(zip(stored["dataset"], stored["name"], strict=True))
        }
        wanted = [place[row.id] for row in rows]
        return lambda index: stored[self.array][wanted[index]]

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw blobs of motion: corners of the mouth up (positive), brows down (negative), brows up (surprise)."""
        random = np.random.default_rng(seed)
        clips = [
            (part, person, label, clip)
            for part in PARTS
            for person in range(DRAWN_PEOPLE)
            for label in range(len(MICRO))
            for clip in range(per_class)
        ]
        side, channels = self.side or 32, self.channels or 3
        write_maps(
            root / self.file,
            self.array,
            np.stack([_drawn(label, side, channels, random) for _, _, label, _ in clips]),
            np.array([label for _, _, label, _ in clips]),
            [part for part, *_ in clips],
            [f"s{person:02d}" for _, person, _, _ in clips],
            [f"s{person:02d}_{MICRO[label]}_{clip}" for _, person, label, clip in clips],
        )

    def _stored(self, root: Path) -> dict[str, np.ndarray]:
        path = root / self.file
        if not path.is_file():
            raise self.not_found(path)
        try:
            with np.load(path, allow_pickle=False) as opened:
                stored = {name: opened[name] for name in opened.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"expected an npz file, got {path} ({error}). {AS_DISTRIBUTED}") from error
        maps = stored.get(self.array, np.zeros(0))
        wanted = f"({', '.join(['N', *[str(self.side or 'S')] * 2, str(self.channels or 'C')])})"
        fits = maps.ndim == 4 and maps.dtype == np.uint8 and maps.shape[1] == maps.shape[2]
        fits = fits and maps.shape[1] == (self.side or maps.shape[1])
        if not fits or maps.shape[3] != (self.channels or maps.shape[3]):
            raise wrong(str(path), f"an array {self.array!r} of uint8 {wanted}", f"{maps.dtype} {maps.shape}")
        for name in ("label", "dataset", "subject", "name"):
            got = stored[name].shape if name in stored else None
            if got != (len(maps),):
                raise wrong(str(path), f"an array {name!r} of shape ({len(maps)},)", got)
        return stored


def write_maps(
    path: Path,
    array: str,
    maps: np.ndarray,
    labels: np.ndarray,
    parts: Sequence[str],
    subjects: Sequence[str],
    names: Sequence[str],
) -> None:
    """Write a file that `MotionMaps` reads, whole or not at all.

    Args:
        path: of the file. array: name of the array of pictures.
        maps: uint8 (N, S, S, C).
        labels: (N,) places in `MICRO`.
        parts, subjects, names: of each clip.
    """
    stored: dict[str, Any] = {
        array: maps,
        "label": np.asarray(labels, np.uint8),
        "dataset": np.array(parts),
        "subject": np.array(subjects),
        "name": np.array(names),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as file:
        np.savez_compressed(file, **stored)


@register
class HtnetMicro(MotionMaps):
    """HTNet's flow pictures."""

    name = "htnet_micro"
    title = "Flow pictures of HTNet, the composite of MEGC 2019"
    licence = (
        "none stated (repository); SMIC, CASME II and SAMM: research only, signed agreements (from memory)"
    )
    apply_at = "github.com/wangzhifengharrison/HTNet, datasets/STSNet_whole_norm_u_v_os, packed as one npz"
    layout = "ROOT/flow28.npz: flow_uvos, label, dataset, subject, name"
    expected_source = "counted here"
    file, array, side, channels = "flow28.npz", "flow_uvos", 28, 3
    parts = tuple(PARTS)


@register
class Megc2019Maps(MotionMaps):
    """Motion pictures made of one's own copies of the three sets."""

    name = "megc2019_maps"
    title = "Motion pictures of the composite of MEGC 2019, made by mien"
    licence = "research only, signed agreements of SMIC, CASME II and SAMM (from memory)"
    apply_at = (
        "nowhere: `python -m mien.recipes.motion_maps megc2019 --data ROOT --out DIR` makes it of the clips"
    )
    layout = "ROOT/maps.npz: maps, label, dataset, subject, name"
    expected_source = "counted here on HTNet's list"
    file, array = "maps.npz", "maps"


def _drawn(label: int, side: int, channels: int, random: np.random.Generator) -> np.ndarray:
    """Motion of one class as uint8 (side, side, channels): u, v and strain, repeated."""
    y, x = np.mgrid[0:side, 0:side] / side - 0.5 + random.normal(0, 0.02, (2, 1, 1))
    row, down = ((-0.25, 1.0), (0.25, -1.0), (-0.25, -1.0))[label]
    weight = np.exp(-(((abs(x) - 0.2) / 0.12) ** 2) - ((y - row) / 0.1) ** 2)
    u, v = 0.3 * np.sign(x) * weight, down * weight
    strain = np.hypot(*np.gradient(u)) + np.hypot(*np.gradient(v))
    maps = [stretched(one + random.normal(0, 0.02, one.shape)) for one in (u, v, strain)]
    return np.stack([maps[channel % 3] for channel in range(channels)], -1)
