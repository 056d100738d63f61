"""The mesh of the faces of one image: 478 points, 52 named blendshapes, head pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.errors import LabelError, ShapeError

MESH_POINTS = 478
"""468 points of the face's surface, then five of each iris: 468..472 the right eye's, 473..477 the left eye's."""

BLENDSHAPES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft",
    "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft",
    "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft",
    "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
"""Names in the order of the network's outputs (MediaPipe v0.10, face_blendshapes_graph.cc). Left is the subject's."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """What the mesh says of the N faces of one image. A face that could not be read is a row of NaN with a reason.

    Attributes:
        points_xyz_px: float32 (N, 478, 3), pixels of the upright image; x right, y down, z away from the
            camera, 0 near the head's middle, in pixels too.
        presence: float32 (N,) in [0, 1], the network's own score that a face is in the crop; NaN where it
            did not run.
        blendshapes: float32 (N, 52) in [0, 1], in the order of `BLENDSHAPES`.
        pose_ypr_rad: float32 (N, 3), yaw, pitch, roll; signs as everywhere in mien (docs/conventions.md).
        position_xyz_cm: float32 (N, 3), where the head's middle is, in the axes of the picture from the camera,
            for an adult head of mean size and an assumed lens; see `mien.faces.mesh_geometry.position`.
        reasons: why a face could not be read, `""` where it could.

    Raises:
        ShapeError: an array does not fit the number of faces.
    """

    points_xyz_px: np.ndarray
    presence: np.ndarray
    blendshapes: np.ndarray
    pose_ypr_rad: np.ndarray
    position_xyz_cm: np.ndarray
    reasons: tuple[str, ...]

    def __post_init__(self) -> None:
        count = len(self.reasons)
        expected = {
            "points_xyz_px": (count, MESH_POINTS, 3),
            "presence": (count,),
            "blendshapes": (count, len(BLENDSHAPES)),
            "pose_ypr_rad": (count, 3),
            "position_xyz_cm": (count, 3),
        }
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ShapeError(f"expected {name} of shape {shape} for {count} faces, got {found}")

    def __len__(self) -> int:
        return len(self.reasons)

    def __getitem__(self, blendshape: str) -> np.ndarray:
        """The column of one blendshape, (N,)."""
        if blendshape not in BLENDSHAPES:
            raise LabelError(f"no blendshape {blendshape!r} among {', '.join(BLENDSHAPES)}")
        return self.blendshapes[:, BLENDSHAPES.index(blendshape)]

    @property
    def told(self) -> np.ndarray:
        """Boolean (N,): the face could be read."""
        return np.array([not reason for reason in self.reasons], bool)


def joined(parts: Sequence[Mesh]) -> Mesh:
    """The faces of several meshes, at least one, one after another."""
    arrays = ("points_xyz_px", "presence", "blendshapes", "pose_ypr_rad", "position_xyz_cm")
    stacked = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
    return Mesh(**stacked, reasons=tuple(reason for part in parts for reason in part.reasons))
