"""Align a face by a similarity transform (scale, rotation, shift) onto a named five-point template.

Source of the closed form: Umeyama, "Least-squares estimation of transformation parameters between two
point patterns", IEEE TPAMI 13(4), 1991, eqs. 40-42.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image

from mien.errors import ShapeError, UnknownNameError

TEMPLATES: Mapping[str, np.ndarray] = MappingProxyType(
    {
        # The mean places of YuNet's points in FER2013's training crops, made symmetric, drawn 4 % inward.
        "mien_face_v1": np.array([[0.32, 0.37], [0.68, 0.37], [0.5, 0.567], [0.356, 0.738], [0.644, 0.738]]),
    }
)
"""Template name -> (5, 2) points in units of the crop's side, in the order of `LANDMARKS_5`."""


def template_points(name: str) -> np.ndarray:
    """The (5, 2) points of a template in units of the crop's side; `UnknownNameError` if there is none."""
    if name not in TEMPLATES:
        raise UnknownNameError("alignment template", name, TEMPLATES)
    return TEMPLATES[name]


def fit_similarity(source_xy: np.ndarray, target_xy: np.ndarray) -> np.ndarray:
    """The similarity transform that takes `source_xy` closest to `target_xy`, in least squares.

    Args:
        source_xy: (K, 2) points, K at least 2 and not all the same.
        target_xy: (K, 2) points.

    Returns:
        float64 (2, 3) matrix M with target = M[:, :2] @ source + M[:, 2]. Never a reflection.

    Raises:
        ShapeError: the arrays are not (K, 2), or the source points coincide.
    """
    source, target = np.asarray(source_xy, float), np.asarray(target_xy, float)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2:
        raise ShapeError(f"expected two arrays of shape (K, 2), got {source.shape} and {target.shape}")
    mean_source, mean_target = source.mean(0), target.mean(0)
    centred = (source - mean_source) @ np.array([1, 1j])
    wanted = (target - mean_target) @ np.array([1, 1j])
    power = np.sum(np.abs(centred) ** 2)
    if not np.isfinite(power) or power < 1e-12:
        raise ShapeError("expected landmarks that are finite and not all at one place")
    # In the complex plane a rotation with scale is one multiplication: the least-squares factor.
    factor = np.sum(np.conj(centred) * wanted) / power
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([linear, mean_target - linear @ mean_source])


def template_to_image(template: str, landmarks_xy_px: np.ndarray) -> np.ndarray:
    """The transform (2, 3) from unit crop coordinates to image pixels for one face's (5, 2) points.

    Fitted in this direction, template to image: a fit the other way shrinks or grows the crop where the
    points do not match the template exactly, so that training and use must agree on one.
    """
    return fit_similarity(template_points(template), landmarks_xy_px)


def inverted(matrix: np.ndarray) -> np.ndarray:
    """The inverse of a (2, 3) affine matrix."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    """Sample a square crop of an image under a similarity transform, averaging when it shrinks.

    Args:
        image: uint8 (H, W, 3).
        matrix: (2, 3), takes image pixels to crop pixels.
        size: side of the crop in pixels.

    Returns:
        the crop, uint8 (size, size, 3), with border pixels repeated beyond the image; and the share of
        the crop that lies inside the image, 0 to 1.
    """
    height, width = image.shape[:2]
    inverse = np.linalg.inv(matrix[:, :2])
    corners = (np.array([[0, 0], [size, 0], [0, size], [size, size]]) - matrix[:, 2]) @ inverse.T
    low = np.clip(np.floor(corners.min(0)).astype(int) - 2, 0, [width - 1, height - 1])
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 2, low + 1, [width, height])
    region = image[low[1] : high[1], low[0] : high[0]]
    # Shrink by a whole factor first, so that bilinear sampling below does not skip source pixels.
    factor = max(1, int(np.sqrt(abs(np.linalg.det(inverse)))))
    if factor > 1:
        region = np.asarray(Image.fromarray(region).reduce(factor))
    grid = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), -1)
    points = (grid - matrix[:, 2]) @ inverse.T
    inside = np.mean(np.all((points >= 0) & (points <= [width, height]), axis=2))
    return _bilinear(region, (points - low) / factor - 0.5), float(inside)


def _bilinear(image: np.ndarray, points_xy: np.ndarray) -> np.ndarray:
    """Sample an image at (..., 2) points counted from pixel centres, repeating the border."""
    limit = np.array([image.shape[1] - 1, image.shape[0] - 1])
    points = np.clip(points_xy, 0, limit)
    low = np.floor(points).astype(int)
    high = np.minimum(low + 1, limit)
    weight = (points - low)[..., None].astype(np.float32)
    top = (
        image[low[..., 1], low[..., 0]] * (1 - weight[..., 0, :])
        + image[low[..., 1], high[..., 0]] * (weight[..., 0, :])
    )
    bottom = (
        image[high[..., 1], low[..., 0]] * (1 - weight[..., 0, :])
        + image[high[..., 1], high[..., 0]] * (weight[..., 0, :])
    )
    return np.rint(top * (1 - weight[..., 1, :]) + bottom * weight[..., 1, :]).astype(np.uint8)
