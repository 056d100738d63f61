"""Things that move over a clip along smooth paths, for `smile_mvm`: where they are, and how they are pasted.

Facts of SMILE (Thoker et al., CVPR 2025, arXiv 2504.00527) from its repository: sizes, shapes, speeds. Its code for the paths
themselves was not seen; see `DIFFERS` there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

FRAMES, SIZE = 16, 224
SCALES, RATIOS = (32, 48, 56, 64, 96, 128), (0.5, 0.67, 0.75, 1.0, 1.33, 1.5, 2.0)
KEY_FRAMES = {2: 0.5, 3: 0.3, 4: 0.2}
"""How many key frames a path has, and how often."""


@dataclass(frozen=True, eq=False)
class Path:
    """Where a pasted thing is, frame by frame.

    Attributes:
        centre_xy_px: float64 (T, 2).
        size_wh_px: float64 (T, 2).
        angle_rad: float64 (T,), clockwise.
    """

    centre_xy_px: np.ndarray
    size_wh_px: np.ndarray
    angle_rad: np.ndarray

    def boxes_xyxy_px(self, size: int) -> np.ndarray:
        """Upright boxes around it (T, 4), cut at the borders of a frame of that side."""
        cos, sin = np.abs(np.cos(self.angle_rad)), np.abs(np.sin(self.angle_rad))
        wide, high = self.size_wh_px.T
        half = np.stack([wide * cos + high * sin, wide * sin + high * cos], 1) / 2
        return np.concatenate([self.centre_xy_px - half, self.centre_xy_px + half], 1).clip(0, size)


def moving(
    random: np.random.Generator,
    frames: int = FRAMES,
    size: int = SIZE,
    speed_px: float = 12.0,
    turn_rad: float = np.pi / 30,
    growth: float = 0.025,
    smooth: float = 1.0,
) -> Path:
    """A drawn path: linear between key frames, then smoothed by a Gaussian over the frames.

    Args:
        random: draws it.
        frames, size: of the clip.
        speed_px, turn_rad, growth: largest change from a frame to the next, of place (each axis), angle and size.
        smooth: deviation of the Gaussian, frames; 0 for none.
    """
    count = int(random.choice(list(KEY_FRAMES), p=list(KEY_FRAMES.values())))
    inner = random.choice(np.arange(1, frames - 1), min(count - 2, frames - 2), replace=False)
    keys = np.array([0, *sorted(inner), frames - 1])
    side = random.choice(SCALES) * size / SIZE
    ratio = np.sqrt(random.choice(RATIOS))
    fastest = np.array([speed_px, speed_px, turn_rad, growth])
    steps = random.uniform(-1, 1, (len(keys), 4)) * fastest * np.diff(keys, prepend=0)[:, None]
    steps[0] = [*random.uniform(0, size, 2), random.uniform(-np.pi, np.pi), 1]
    at = np.cumsum(steps, 0)
    at[:, :2] = at[:, :2].clip(0, size - 1)
    all_frames = np.arange(frames)
    track = np.stack([np.interp(all_frames, keys, column) for column in at.T], 1)
    if smooth > 0:
        weights = np.exp(-0.5 * ((all_frames[:, None] - all_frames) / smooth) ** 2)
        track = weights / weights.sum(1, keepdims=True) @ track
    sizes = np.stack([side * ratio * track[:, 3], side / ratio * track[:, 3]], 1)
    return Path(track[:, :2], sizes, track[:, 2])


def paste(clip: Tensor, thing: Tensor, shape: Tensor, path: Path) -> Tensor:
    """A clip with a thing on it that moves along a path.

    Args:
        clip: (3, T, S, S).
        thing: picture (3, h, w), in the clip's own values, such as a piece of another clip.
        shape: (h, w) in [0, 1], how much of it covers what is behind.
        path: of T frames.

    Returns:
        (3, T, S, S), a copy.
    """
    frames, size = clip.shape[1], clip.shape[3]
    inverse = np.zeros((frames, 2, 3))
    cos, sin = np.cos(path.angle_rad), np.sin(path.angle_rad)
    # From the frame's pixels, centred on the thing, turned back and divided by half its size, to its own -1..1.
    turned = (
        np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], 1) * (2 / path.size_wh_px)[:, :, None]
    )
    inverse[:, :, :2] = turned * (size / 2)
    inverse[:, :, 2] = np.einsum("tij,tj->ti", turned, size / 2 - path.centre_xy_px)
    theta = torch.from_numpy(inverse).to(clip)
    grid = functional.affine_grid(theta, [frames, 4, size, size], align_corners=False)
    source = torch.cat([thing.to(clip), shape.to(clip)[None]])[None].expand(frames, -1, -1, -1)
    moved = functional.grid_sample(source, grid, padding_mode="border", align_corners=False)
    cover = moved[:, 3:] * (grid.abs().amax(3) <= 1)[:, None]
    return (clip.transpose(0, 1) * (1 - cover) + moved[:, :3] * cover).transpose(0, 1)


def ellipse(height: int, width: int) -> Tensor:
    """A shape for `paste`: 1 inside the largest ellipse, 0 outside, (h, w)."""
    down, across = (
        torch.linspace(1 / side - 1, 1 - 1 / side, side) for side in (height, width)
    )  # pixels' centres
    y, x = torch.meshgrid(down, across, indexing="ij")
    return (x.square() + y.square() <= 1).float()
