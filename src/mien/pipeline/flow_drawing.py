"""A picture of motion to look at: onset, apex, where each place went, and how much the skin was stretched."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.faces.motion import Motion

SCALE = 3
TITLES = ("onset", "apex", "motion", "strain")
HEAD_PX = 28
ARROWS = 12
"""Arrows in a row."""


def coloured(flow: np.ndarray, largest: float) -> np.ndarray:
    """Direction as hue and size as brightness: (H, W, 2) -> RGB uint8 (H, W, 3). Right is red, down is yellow-green."""
    angle, size = np.arctan2(flow[..., 1], flow[..., 0]), np.hypot(flow[..., 0], flow[..., 1])
    planes = [angle / (2 * np.pi) % 1, np.ones_like(size), np.clip(size / (largest or 1), 0, 1)]
    hsv = np.rint(255 * np.stack(planes, -1)).astype(np.uint8)
    return np.asarray(Image.merge("HSV", [Image.fromarray(hsv[..., one]) for one in range(3)]).convert("RGB"))


def draw_motion(motion: Motion) -> np.ndarray:
    """Four panels side by side, RGB uint8, each under its title: onset, apex, colours with arrows, strain.

    The brightest colour and the longest arrow stand for the 99th percentile of the motion, so that arrows are not to scale.
    """
    flow, strain = motion.motion[..., :2], motion.motion[..., 2]
    sizes = np.hypot(flow[..., 0], flow[..., 1])
    largest = float(np.percentile(sizes, 99))
    heat = np.clip(255 * strain / (float(np.percentile(strain, 99)) or 1.0), 0, 255).astype(np.uint8)
    panels = [motion.onset, motion.apex, coloured(flow, largest), np.repeat(heat[..., None], 3, -1)]
    side = motion.onset.shape[0]
    canvas = Image.new("RGB", (4 * side * SCALE, side * SCALE))
    page = Image.new("RGB", (canvas.width, canvas.height + HEAD_PX), "#ffffff")
    pen = ImageDraw.Draw(page)
    for place, panel in enumerate(panels):
        big = Image.fromarray(panel).resize((side * SCALE, side * SCALE), Image.Resampling.BICUBIC)
        canvas.paste(big, (place * side * SCALE, 0))
        pen.text(
            (place * side * SCALE + 6, 4), TITLES[place], fill="#000000", font=ImageFont.load_default(16)
        )
    _arrows(ImageDraw.Draw(canvas), flow, largest, side)
    page.paste(canvas, (0, HEAD_PX))
    return np.asarray(page)


def _arrows(pen: ImageDraw.ImageDraw, flow: np.ndarray, largest: float, side: int) -> None:
    """White strokes over the third panel, each from a dot to where that place went, made longer."""
    cell = side / ARROWS
    for row in range(ARROWS):
        for column in range(ARROWS):
            y, x = int((row + 0.5) * cell), int((column + 0.5) * cell)
            u, v = flow[y, x] / (largest or 1) * cell * SCALE
            start = ((2 * side + x) * SCALE, y * SCALE)
            pen.line([start, (start[0] + float(u), start[1] + float(v))], fill=(255, 255, 255), width=1)
            pen.ellipse([start[0] - 1, start[1] - 1, start[0] + 1, start[1] + 1], fill=(255, 255, 255))
