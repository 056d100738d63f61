"""Motion between pictures of a face: optical flow, optical strain, and the pictures of them that networks take.

The flow is OpenCV's DIS (Kroeger, Timofte, Dai, Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016), with
its variational refinement; extra `flow`. Published micro-expression work mostly uses TV-L1: their flow pictures are alike in
kind, not equal in numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mien.errors import MissingExtraError, ShapeError

STEPS = 10
"""Time steps of `motion_steps`."""
SEAM_PX = 1.5
"""Deviation of the Gaussian that takes the seams between DIS's patches out of the flow, and so out of the strain."""
LEAST_PX = 16
"""Shortest side that flow is computed on."""


def optical_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where each pixel of the first picture went: float32 (H, W, 2), u to the right and v down, in pixels.

    Args:
        first, second: grey uint8 (H, W), at least `LEAST_PX` a side.

    Raises:
        ShapeError: not two grey pictures of one size.
        MissingExtraError: OpenCV is not installed.
    """
    both = (np.asarray(first), np.asarray(second))
    if both[0].ndim != 2 or both[0].shape != both[1].shape or min(both[0].shape) < LEAST_PX:
        raise ShapeError(
            f"expected two grey pictures of one size, at least {LEAST_PX} pixels a side, got {both[0].shape} and "
            f"{both[1].shape}. Align them first."
        )
    if any(one.dtype != np.uint8 for one in both):
        raise ShapeError(f"expected pictures of uint8, got {both[0].dtype} and {both[1].dtype}")
    try:
        import cv2
    except ImportError:
        raise MissingExtraError("optical flow needs OpenCV: pip install 'mien[flow]'") from None
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)  # motion here is of a pixel or less
    before, after = (np.ascontiguousarray(one) for one in both)
    flow = search.calc(before, after, None)  # type: ignore[call-overload]
    return cv2.GaussianBlur(flow, (0, 0), SEAM_PX)


def optical_strain(flow: np.ndarray) -> np.ndarray:
    """How much the skin is stretched or sheared: (H, W, 2) -> (H, W), of at least 0; a shift of the whole gives 0.

    sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2), the norm of the symmetric part of the flow's gradient.
    Source: Shreve, Godavarthy, Goldgof, Sarkar, "Macro- and micro-expression spotting in long videos using spatio-temporal
    strain", FG 2011; as a third channel of flow in Liong and others, "STSTNet", FG 2019 (from memory).
    """
    u_y, u_x = np.gradient(flow[..., 0])
    v_y, v_x = np.gradient(flow[..., 1])
    return np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)


def motion_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """u, v in pixels and strain, float32 (H, W, 3), between two grey pictures; errors as `optical_flow`."""
    flow = optical_flow(first, second)
    return np.concatenate([flow, optical_strain(flow)[..., None]], -1).astype(np.float32)


def stretched(values: np.ndarray) -> np.ndarray:
    """Numbers brought to 0 to 255 by their least and largest, uint8, as HTNet's pictures are; all 0 where they are equal."""
    low, high = float(values.min()), float(values.max())
    return np.rint(255 * (values - low) / (high - low or 1.0)).astype(np.uint8)


def flow_picture(motion: np.ndarray, size_px: int = 28) -> np.ndarray:
    """The flow picture that HTNet takes: uint8 (S, S, 3), u, v and strain each stretched to 0 to 255.

    Where no motion lies in 0 to 255 is lost by that, as in the authors' pictures.

    Args:
        motion: of `motion_of`, (H, W, 3).
        size_px: S.
    """
    return np.stack([stretched(one) for one in np.moveaxis(_resized(motion, size_px), -1, 0)], -1)


def motion_steps(frames: Sequence[np.ndarray], size_px: int) -> np.ndarray:
    """The motion of a clip in ten steps: uint8 (S, S, 50), in turn u, v, strain, change since onset, change since before.

    The steps are ten frames at equal distances after the onset, one taken twice where there are fewer. No motion is 128;
    each of the five is divided by its largest size in the clip.

    Args:
        frames: grey uint8 (H, W), aligned, the onset first; two or more.
        size_px: S.

    Raises:
        ShapeError: fewer than two frames, or of different sizes.
    """
    if len(frames) < 2:
        raise ShapeError(f"expected an onset and at least one frame after it, got {len(frames)} frames")
    places = np.rint(np.linspace(0, len(frames) - 1, STEPS + 1)).astype(int)
    chosen = [frames[place] for place in places]
    steps = []
    for before, now in itertools.pairwise(chosen):
        changes = [now.astype(np.float32) - one for one in (chosen[0], before)]
        motion = np.concatenate([motion_of(chosen[0], now), np.stack(changes, -1)], -1)
        steps.append(_resized(motion, size_px))
    stack = np.stack(steps)  # (10, S, S, 5)
    largest = np.abs(stack).max((0, 1, 2))
    scaled = 127.5 + 127.5 * stack / np.where(largest > 0, largest, 1)
    return np.rint(scaled).astype(np.uint8).transpose(1, 2, 0, 3).reshape(size_px, size_px, -1)


def _resized(motion: np.ndarray, size_px: int) -> np.ndarray:
    """Channels (H, W, C) at a side of `size_px`, float32, averaging where it shrinks."""
    planes = [
        Image.fromarray(np.ascontiguousarray(motion[..., channel], np.float32)).resize(
            (size_px, size_px), Image.Resampling.BILINEAR
        )
        for channel in range(motion.shape[2])
    ]
    return np.stack([np.asarray(plane, np.float32) for plane in planes], -1)
