"""A mesh reader that needs no file: what it tells is known."""

from __future__ import annotations

import numpy as np
import pytest

from mien.pipeline import analyzer as analyzer_module
from mien.pipeline.analyzer import Analyzer
from mien.types.mesh import BLENDSHAPES, MESH_POINTS, Mesh

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
