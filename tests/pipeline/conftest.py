"""A mesh reader that needs no file: what it tells is known. Tracks and courses made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mien.labels.expressions import EXPRESSIONS
from mien.pipeline import analyzer as analyzer_module
from mien.pipeline.analyzer import Analyzer
from mien.types.mesh import BLENDSHAPES, MESH_POINTS, Mesh
from mien.types.track import Course, Event, Track

SMILE = {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.5}


class KnownMesh:
    """Every face smiles, more on its left; or no face is told."""

    tells = True

    def __init__(self, threads: int = 0) -> None:
        self.threads = threads

    def read(self, image: np.ndarray, landmarks_xy_px: np.ndarray) -> Mesh:
        count = len(landmarks_xy_px)
        random = np.random.default_rng(0)
        side = np.linalg.norm(landmarks_xy_px[:, 1] - landmarks_xy_px[:, 0], axis=1)[:, None, None]
        middle = np.concatenate([landmarks_xy_px.mean(1), np.zeros((count, 1))], 1)[:, None]
        points = (middle + side * random.normal(0, 0.5, (1, MESH_POINTS, 3))).astype(np.float32)
        blendshapes = np.zeros((count, len(BLENDSHAPES)), np.float32)
        for name, value in SMILE.items():
            blendshapes[:, BLENDSHAPES.index(name)] = value
        pose = np.tile(np.array([0.1, -0.2, 0.3], np.float32), (count, 1))
        position = np.tile(np.array([1.0, 2.0, 50.0], np.float32), (count, 1))
        told = np.full(count, self.tells)
        for array in (points, blendshapes, pose, position):
            array[~told] = np.nan
        reasons = tuple("" if seen else "too small" for seen in told)
        return Mesh(points, np.ones(count, np.float32), blendshapes, pose, position, reasons)


@pytest.fixture
def meshed(monkeypatch: pytest.MonkeyPatch) -> Analyzer:
    """An analyzer whose mesh is known."""
    monkeypatch.setattr(analyzer_module, "FaceMesh", KnownMesh)
    return Analyzer(mesh=True)


RATE = 25.0


def made_track(
    labels: Sequence[str] | str,
    number: int = 0,
    first: int = 0,
    probability: float = 0.93,
    events: Sequence[Event] = (),
    **others: object,
) -> Track:
    """A track of 25 frames a second with these expressions frame after frame, from a frame of its clip on."""
    names = EXPRESSIONS
    values = np.full((len(labels), len(names)), (1 - probability) / (len(names) - 1))
    values[np.arange(len(labels)), [names.index(label) for label in labels]] = probability
    frame = np.arange(first, first + len(labels))
    made: dict[str, object] = {
        "frame": frame,
        "time_s": frame / RATE,
        "box_xyxy_px": np.tile(np.array([10, 10, 60, 60], np.float32), (len(labels), 1)),
        "raw": values,
        "smoothed": values.copy(),
        "uncertain": np.zeros(len(labels), bool),
        "reliable": np.ones(len(labels), bool),
        **others,
    }
    return Track(id=number, names=names, events=tuple(events), **made)  # type: ignore[arg-type]


def made_course(*tracks: Track, frames: int = 250, path: str = "gone/clip.mp4", trouble: str = "") -> Course:
    """A clip of 25 frames a second; its file is not there."""
    end_s = (frames - 1) / RATE if frames else np.nan
    return Course(path, tracks, frames, 0.0 if frames else np.nan, end_s, (640, 480), 0.75, trouble)


@pytest.fixture
def track_of() -> Callable[..., Track]:
    return made_track


@pytest.fixture
def course_of() -> Callable[..., Course]:
    return made_course
