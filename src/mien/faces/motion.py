"""Frames of one face cut out alike, so that what moves between them is the face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.errors import InputError, ShapeError
from mien.faces.crops import as_rgb, crop_detector, points_of
from mien.faces.yunet import YuNet
from mien.transforms.align import inverted, template_to_image, warp
from mien.transforms.flow import flow_picture, motion_of
from mien.types.media import LUMA

TEMPLATE = "mien_face_v1"
ALIGNED_PX = 128
"""Side at which flow is computed."""


@dataclass(frozen=True, eq=False)
class Motion:
    """What moved between two pictures of a face.

    Attributes:
        onset, apex: RGB uint8 (S, S, 3), cut out alike.
        motion: float32 (S, S, 3): u to the right and v down, in pixels of these, and strain.
        found: a face was found in the onset; false for crops that were taken as they are.
    """

    onset: np.ndarray
    apex: np.ndarray
    motion: np.ndarray
    found: bool

    def picture(self, size_px: int = 28) -> np.ndarray:
        """The flow picture (size_px, size_px, 3); see `flow_picture`."""
        return flow_picture(self.motion, size_px)


def cut_alike(
    frames: Sequence[np.ndarray],
    aligned: bool = False,
    size_px: int = ALIGNED_PX,
    detector: YuNet | None = None,
) -> list[np.ndarray]:
    """The face of the first frame, cut out of all frames at the same place: RGB uint8 (S, S, 3) each.

    One place for all: points found anew in each frame shake by more than a micro-expression moves. What the head moves
    stays in the motion.

    Args:
        frames: uint8 (H, W) or (H, W, 3) of one size.
        aligned: they are cut-outs already, and are only scaled.
        size_px: S.
        detector: finds the face; mien's own by default.

    Raises:
        ShapeError: frames of different sizes.
        InputError: no face in the first frame.
    """
    shapes = {frame.shape[:2] for frame in frames}
    if len(shapes) != 1:
        raise ShapeError(f"expected frames of one size, got {sorted(shapes)}. Take them from one clip.")
    images = [as_rgb(frame) for frame in frames]
    height, width = images[0].shape[:2]
    if aligned:
        to_crop = np.array([[size_px / width, 0, 0], [0, size_px / height, 0]])
    else:
        finder = detector or crop_detector()
        points, found = points_of(images[0], "photo", finder)
        if not found:
            points, found = points_of(images[0], "crop", finder)
        if not found:
            raise InputError(
                "expected a face in the onset, got none. Give pictures of a face, or, where they are cut-outs already, "
                "say so (--aligned)."
            )
        unit_to_crop = np.array([[size_px, 0, 0], [0, size_px, 0]], float)
        image_to_unit = inverted(template_to_image(TEMPLATE, points))
        to_crop = unit_to_crop[:, :2] @ image_to_unit
    return [warp(image, to_crop, size_px)[0] for image in images]


def motion_between(
    onset: np.ndarray, apex: np.ndarray, aligned: bool = False, detector: YuNet | None = None
) -> Motion:
    """What moved from one picture of a face to another; arguments and errors as `cut_alike`.

    Raises:
        MissingExtraError: OpenCV (extra `flow`) is not installed.
    """
    first, second = cut_alike([onset, apex], aligned, detector=detector)
    return Motion(first, second, motion_of(grey(first), grey(second)), not aligned)


def grey(image: np.ndarray) -> np.ndarray:
    """Luma of RGB, uint8 (H, W)."""
    return np.rint(image.astype(np.float32) @ np.array(LUMA, np.float32)).astype(np.uint8)
