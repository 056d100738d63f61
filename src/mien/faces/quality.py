"""Whether a face is good enough to say anything: size, sharpness, exposure, pose, and the picture's border.

Limits are documented in `docs/conventions.md`; a face beyond one is reported with the reason, never
dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.types.faces import Quality
from mien.types.media import LUMA


@dataclass(frozen=True)
class QualityLimits:
    """Beyond these a face is not reliable.

    Attributes:
        min_size_px: shorter side of the box.
        min_sharpness: see `sharpness`.
        min_brightness, max_brightness: mean luma, 0 to 1.
        min_contrast: standard deviation of luma, 0 to 0.5.
        max_yaw_rad, max_pitch_rad: absolute coarse pose.
        min_inside: share of the aligned crop inside the picture.
        min_detection_score: the detector's own score.
    """

    min_size_px: float = 24.0
    min_sharpness: float = 0.012
    min_brightness: float = 0.12
    max_brightness: float = 0.92
    min_contrast: float = 0.04
    max_yaw_rad: float = 0.9
    max_pitch_rad: float = 0.8
    min_inside: float = 0.7
    min_detection_score: float = 0.75


LUMA_SHARE = np.array(LUMA, np.float32) / 255
"""ITU-R BT.601 weights of R, G, B on the 0..255 scale."""


def sharpness(luma: np.ndarray) -> np.ndarray:
    """Fine detail of aligned crops, against their own contrast.

    The standard deviation of the 4-neighbour Laplacian over the middle of the crop, divided by the crop's
    standard deviation of luma plus 0.05, scaled to a side of 64: unitless, 0 for a flat crop, and little
    moved by dim light or by the size of the crop.

    Args:
        luma: (N, S, S) in 0..1.

    Returns:
        float32 (N,).
    """
    laplacian = (luma[:, :-2, 1:-1] + luma[:, 2:, 1:-1] + luma[:, 1:-1, :-2] + luma[:, 1:-1, 2:]) / 4 - luma[
        :, 1:-1, 1:-1
    ]
    margin = laplacian.shape[1] // 8
    middle = laplacian[:, margin : laplacian.shape[1] - margin, margin : laplacian.shape[2] - margin]
    # The same blur on the face bends a crop of more pixels less: count as at a side of 64.
    same_scale = (luma.shape[1] / 64) ** 2
    return (same_scale * middle.std((1, 2)) / (luma.std((1, 2)) + 0.05)).astype(np.float32)


def assess(
    crops: np.ndarray,
    inside: np.ndarray,
    box_xyxy_px: np.ndarray,
    detection_score: np.ndarray,
    pose_ypr_rad: np.ndarray,
    limits: QualityLimits,
) -> Quality:
    """Measure each face and name what speaks against it.

    Args:
        crops: aligned RGB uint8 (N, S, S, 3).
        inside: (N,) share of each crop inside the picture.
        box_xyxy_px: (N, 4).
        detection_score: (N,).
        pose_ypr_rad: (N, 3).
        limits: beyond these a reason is given.
    """
    luma = crops.astype(np.float32) @ LUMA_SHARE
    size = (box_xyxy_px[:, 2:] - box_xyxy_px[:, :2]).min(1) if len(crops) else np.zeros(0, np.float32)
    sharp, bright = sharpness(luma), luma.mean((1, 2))
    contrast = luma.std((1, 2))
    checks = (
        (size < limits.min_size_px, size, "too small", "px", limits.min_size_px),
        (sharp < limits.min_sharpness, sharp, "blurred", "", limits.min_sharpness),
        (bright < limits.min_brightness, bright, "too dark", "", limits.min_brightness),
        (bright > limits.max_brightness, bright, "too bright", "", limits.max_brightness),
        (contrast < limits.min_contrast, contrast, "too little contrast", "", limits.min_contrast),
        (
            np.abs(pose_ypr_rad[:, 0]) > limits.max_yaw_rad,
            np.abs(pose_ypr_rad[:, 0]),
            "turned away",
            " rad",
            limits.max_yaw_rad,
        ),
        (
            np.abs(pose_ypr_rad[:, 1]) > limits.max_pitch_rad,
            np.abs(pose_ypr_rad[:, 1]),
            "tilted up or down",
            " rad",
            limits.max_pitch_rad,
        ),
        (inside < limits.min_inside, inside, "cut off by the border", "", limits.min_inside),
        (
            detection_score < limits.min_detection_score,
            detection_score,
            "weak detection",
            "",
            limits.min_detection_score,
        ),
    )
    reasons = tuple(
        "; ".join(
            f"{text} ({value[row]:.3g}{unit}, limit {limit:g}{unit})"
            for fails, value, text, unit, limit in checks
            if fails[row]
        )
        for row in range(len(crops))
    )
    return Quality(size, sharp, bright, contrast, np.asarray(inside, np.float32), reasons)
