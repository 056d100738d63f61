"""Coarse head pose from five points, by fitting a rigid mean face under weak perspective.

Source of the method: DeMenthon and Davis, "Model-based object pose in 25 lines of code", IJCV 1995 (the
scaled orthographic step). Five points of one mean face cannot give more than a coarse angle: noses and
mouths differ between people. The mesh, where it is read, takes its place.

Sign convention, in radians, the subject seen from the camera (x to the image's right, y down):
    yaw   > 0: the nose points towards the image's right, that is towards the subject's left;
    pitch > 0: the nose points up;
    roll  > 0: the head leans clockwise in the image, so that the image's right eye is the lower one.
Mirroring a picture changes the sign of yaw and roll and leaves pitch.
"""

from __future__ import annotations

import numpy as np

MEAN_FACE_XYZ = np.array(
    [
        [-0.50, -0.44, 0.00],  # right eye
        [0.50, -0.44, 0.00],  # left eye
        [0.00, 0.10, -0.55],  # nose tip, towards the camera
        [-0.40, 0.56, -0.10],  # right mouth corner
        [0.40, 0.56, -0.10],  # left mouth corner
    ]
)
"""A mean face, unit: the distance between the eyes; x to the image's right, y down, z away."""


def pose_from_points(landmarks_xy_px: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll of each face.

    Args:
        landmarks_xy_px: (N, 5, 2) in the order of `LANDMARKS_5`.

    Returns:
        float32 (N, 3) in radians, coarse. Yaw and pitch lie in (-pi/2, pi/2).
    """
    points = np.asarray(landmarks_xy_px, float)
    if not len(points):
        return np.zeros((0, 3), np.float32)
    centred = points - points.mean(1, keepdims=True)
    model = MEAN_FACE_XYZ - MEAN_FACE_XYZ.mean(0)
    # Affine camera: points = model @ A, with A (3, 2); its columns are scaled rows of the rotation.
    affine = np.einsum("km,nmj->nkj", np.linalg.pinv(model), centred)
    right, down = affine[..., 0], affine[..., 1]
    scale = (np.linalg.norm(right, axis=1) + np.linalg.norm(down, axis=1))[:, None] / 2
    rows = np.stack([right, down], 1) / np.maximum(scale, 1e-9)[..., None]
    left, _, turn = np.linalg.svd(rows, full_matrices=False)
    rows = left @ turn  # the nearest pair of orthonormal rows
    forward = np.cross(rows[:, 0], rows[:, 1])
    rotation = np.stack([rows[:, 0], rows[:, 1], forward], 1)
    # Yaw and pitch are where the nose, the model's axis -z, points in the camera's axes.
    nose = -rotation[:, :, 2]
    pitch = -np.arcsin(np.clip(nose[:, 1], -1, 1))
    yaw = np.arctan2(nose[:, 0], np.maximum(-nose[:, 2], 1e-9))
    # Roll is the direction of the face's own x axis in the image: steadier than the line of the eyes.
    roll = np.arctan2(rows[:, 1, 0], rows[:, 0, 0])
    return np.stack([yaw, pitch, roll], 1).astype(np.float32)
