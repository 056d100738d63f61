"""Heat maps that go with pictures through their views: where the action units of each picture's class show."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from mien.engine.cut_outs import MARGIN
from mien.engine.pictures import Cues, Pictures
from mien.errors import DataError, DataNotFoundError
from mien.transforms.align import inverted
from mien.transforms.au_cues import expression_map
from mien.transforms.shape68 import MEAN_FACE

CUE_PX = 28
"""Pixels of a cue along the side of the aligned crop, as in the authors' code; a margin is kept besides."""


def load_points(path: str | Path) -> dict[str, np.ndarray]:
    """68 points by picture: an .npz file with `ids` (N,) and `points` (N, 68, 2).

    The points are in pixels of the picture as the data set distributes it, before any cropping.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it holds something else.
    """
    if not Path(path).is_file():
        raise DataNotFoundError(f"expected 68 points of each picture in {path}, got no such file")
    try:
        with np.load(path) as stored:
            ids, points = stored["ids"], stored["points"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"expected an .npz file with `ids` and `points` in {path}, got: {error}") from error
    if points.shape != (len(ids), 68, 2):
        raise DataError(f"expected points ({len(ids)}, 68, 2) in {path}, got {points.shape}")
    return dict(zip(map(str, ids), points, strict=True))


def with_cues(
    pictures: Pictures, labels: Sequence[str], points: Mapping[str, np.ndarray] | None = None
) -> Pictures:
    """The same pictures, each with the cue of its class where there is one.

    Args:
        pictures: a split.
        labels: its classes, in mien's names.
        points: the picture's name -> its 68 points (68, 2), in pixels of the picture as it was read; a picture without
            an entry gets no cue. Left out, all faces are taken for the mean face, aligned.

    Raises:
        DataError: no picture gets a cue, or points are given and where the crops lie in the pictures is not known.
    """
    if points is not None and pictures.placed is None:
        raise DataError("expected pictures whose crops' places are known, got none. Make them with `prepare`")
    side = round(CUE_PX * (1 + 2 * MARGIN))
    place = np.array([[CUE_PX, 0, CUE_PX * MARGIN], [0, CUE_PX, CUE_PX * MARGIN]])
    maps: list[np.ndarray] = []
    rows = torch.full((len(pictures),), -1, dtype=torch.long)
    drawn: dict[str, int] = {}
    best = torch.where(pictures.truth >= 0, pictures.truth, pictures.targets.argmax(1)).tolist()
    for row, (name, taught) in enumerate(zip(pictures.ids, pictures.targets.sum(1) > 0, strict=True)):
        if not taught or (points is not None and name not in points):
            continue
        label = labels[best[row]]
        if points is None and label in drawn:
            rows[row] = drawn[label]
            continue
        face = MEAN_FACE if points is None else _moved(points[name], inverted(pictures.placed[row]))  # type: ignore[index]
        found = expression_map(label, _moved(face, place), (side, side))
        if points is None:
            drawn[label] = -1 if found is None else len(maps)
        if found is not None:
            rows[row] = len(maps)
            maps.append(np.rint(255 * found).astype(np.uint8))
    if not maps:
        raise DataError(
            f"expected pictures with a cue, got none of {len(pictures)}: no picture has points, or none of the classes "
            f"{', '.join(labels)} has action units. Look at the names in the file of points."
        )
    stack = np.stack(maps)
    digest = hashlib.sha256(stack.tobytes() + rows.numpy().tobytes()).hexdigest()
    drawn_maps = torch.from_numpy(stack)[:, None]
    cues = Cues(drawn_maps, rows, torch.tensor(place, dtype=torch.float32), digest)
    return dataclasses.replace(pictures, cues=cues)


def _moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (K, 2) through a (2, 3) matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]
