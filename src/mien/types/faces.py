"""The faces found in one image, as parallel arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.errors import ShapeError
from mien.types.affect import Affect
from mien.types.evidence import Evidence
from mien.types.mesh import Mesh
from mien.types.scores import Scores
from mien.types.track import InTime
from mien.types.units import ActionUnits

LANDMARKS_5 = ("right_eye", "left_eye", "nose_tip", "right_mouth_corner", "left_mouth_corner")
"""Names of the five points, in order. Left and right are the subject's."""


@dataclass(frozen=True, eq=False)
class Quality:
    """What decides whether a face is good enough to say anything. Parallel arrays of N.

    Attributes:
        size_px: shorter side of the box, pixels of the original image.
        sharpness: share of fine detail in the aligned crop, 0 for a flat one; unitless.
        brightness: mean luma of the aligned crop, 0 black to 1 white.
        contrast: standard deviation of that luma, 0 to 0.5.
        inside: share of the aligned crop that lies inside the picture, 0 to 1.
        reasons: why a face is not reliable, `""` where it is; several joined by `; `.
    """

    size_px: np.ndarray
    sharpness: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    inside: np.ndarray
    reasons: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.reasons)

    @property
    def reliable(self) -> np.ndarray:
        """Boolean (N,): no reason against the face."""
        return np.array([not reason for reason in self.reasons], bool)


@dataclass(frozen=True, eq=False)
class Faces:
    """The N faces of one image. `len(faces) == 0` means that no face was found.

    Pixels count from the top left corner of the upright image, x to the right, y down; pixel (0, 0)
    covers [0, 1) x [0, 1). What was not computed is `None`, never zeros.

    Attributes:
        box_xyxy_px: float32 (N, 4), left, top, right, bottom. May reach over the image's border.
        detection_score: float32 (N,), the detector's own score in [0, 1]; not a probability.
        landmarks_xy_px: float32 (N, 5, 2), in the order of `LANDMARKS_5`.
        expression: calibrated probabilities per face.
        uncertain: bool (N,), the confidence lies under the model's documented threshold.
        affect: valence and arousal; `derived` from the expression unless a network told them.
        pose_ypr_rad: float32 (N, 3), yaw, pitch, roll in radians; of the mesh where it was read, else coarse, from
            the five points.
        mesh: 478 points, blendshapes and position; `None` unless it was asked for.
        action_units: of the mesh.
        evidence: what the action units say about the expression, apart from the network.
        disagreement: float32 (N,) in [0, 1], how far evidence and network are apart; NaN where it cannot be told.
        quality: size, sharpness, exposure and the reasons against a face.
        track_id: int64 (N,), the same face over time, from 0 in each clip; `None` for pictures.
        in_time: what the faces are in the course of their tracks; `None` unless it was asked for.
    """

    box_xyxy_px: np.ndarray
    detection_score: np.ndarray
    landmarks_xy_px: np.ndarray
    expression: Scores | None = None
    uncertain: np.ndarray | None = None
    affect: Affect | None = None
    pose_ypr_rad: np.ndarray | None = None
    quality: Quality | None = None
    track_id: np.ndarray | None = None
    mesh: Mesh | None = None
    action_units: ActionUnits | None = None
    evidence: Evidence | None = None
    disagreement: np.ndarray | None = None
    in_time: InTime | None = None

    def __post_init__(self) -> None:
        count = len(self.box_xyxy_px)
        expected = {
            "box_xyxy_px": (count, 4),
            "detection_score": (count,),
            "landmarks_xy_px": (count, 5, 2),
            "uncertain": (count,),
            "pose_ypr_rad": (count, 3),
            "track_id": (count,),
            "disagreement": (count,),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ShapeError(f"expected {name} of shape {shape}, got {value.shape}")
        for name in ("expression", "quality", "affect", "mesh", "action_units", "evidence", "in_time"):
            value = getattr(self, name)
            if value is not None and len(value) != count:
                raise ShapeError(f"expected {name} for {count} faces, got {len(value)}")

    @classmethod
    def empty(cls) -> Faces:
        """No face."""
        none = np.zeros(0, np.float32)
        return cls(none.reshape(0, 4), none, none.reshape(0, 5, 2))

    def __len__(self) -> int:
        return len(self.box_xyxy_px)
