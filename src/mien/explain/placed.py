"""A heat map of an aligned crop back in the picture that the face is from: as numbers, and drawn."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.errors import ShapeError
from mien.transforms.align import inverted

COLOURS = np.array(
    [
        [68, 1, 84], [72, 36, 117], [64, 67, 135], [52, 95, 141], [41, 121, 142], [32, 146, 140],
        [34, 168, 132], [68, 190, 112], [122, 209, 81], [189, 223, 38], [253, 231, 37],
    ]
)  # fmt: skip
"""Viridis (van der Walt and Smith, 2015, CC0) at 0, 0.1, ..., 1: even steps of lightness, told apart by colour-blind readers."""

SHOWN = 0.6
"""Share of the colour where the map lies; the rest is the picture in grey."""


def on_picture(heat: np.ndarray, template_to_picture: np.ndarray, size_hw_px: tuple[int, int]) -> np.ndarray:
    """A map of an aligned crop in the pixels of its picture.

    Args:
        heat: (S, S).
        template_to_picture: (2, 3), coordinates of the crop in units of its side -> pixels of the picture, as
            `mien.transforms.align.template_to_image` gives it.
        size_hw_px: height and width of the picture.

    Returns:
        float32 (H, W), sampled between the map's pixels; NaN outside the crop.

    Raises:
        ShapeError: another map or matrix.
    """
    heat, matrix = np.asarray(heat, np.float32), np.asarray(template_to_picture, float)
    if heat.ndim != 2 or heat.shape[0] != heat.shape[1] or matrix.shape != (2, 3):
        raise ShapeError(f"expected a map (S, S) and a matrix (2, 3), got {heat.shape} and {matrix.shape}")
    back = inverted(matrix)
    places = np.stack(np.meshgrid(np.arange(size_hw_px[1]) + 0.5, np.arange(size_hw_px[0]) + 0.5), -1)
    unit = places @ back[:, :2].T + back[:, 2]
    found = sampled(heat, unit * len(heat))
    return np.where(((unit >= 0) & (unit <= 1)).all(-1), found, np.float32(np.nan))


def sampled(heat: np.ndarray, points_xy_px: np.ndarray) -> np.ndarray:
    """Values of a map (H, W) at points (..., 2), between its pixels' centres; the border is repeated: float32 (...)."""
    limit = np.array([heat.shape[1] - 1, heat.shape[0] - 1])
    points = np.clip(points_xy_px - 0.5, 0, limit)
    low = np.floor(points).astype(int)
    high = np.minimum(low + 1, limit)
    across, down = np.moveaxis(points - low, -1, 0)
    top = heat[low[..., 1], low[..., 0]] * (1 - across) + heat[low[..., 1], high[..., 0]] * across
    bottom = heat[high[..., 1], low[..., 0]] * (1 - across) + heat[high[..., 1], high[..., 0]] * across
    return (top * (1 - down) + bottom * down).astype(np.float32)


def coloured(heat: np.ndarray) -> np.ndarray:
    """Colours of values in [0, 1]: (...) -> uint8 (..., 3); NaN is black."""
    place = np.linspace(0, 1, len(COLOURS))
    values = np.nan_to_num(np.asarray(heat, float))
    colours = np.stack([np.interp(values, place, channel) for channel in COLOURS.T], -1)
    return np.where(np.isnan(heat)[..., None], 0, np.rint(colours)).astype(np.uint8)


def draw_map(picture: np.ndarray, heat: np.ndarray, title: str = "") -> Image.Image:
    """A map over its picture, with a legend under it.

    Args:
        picture: RGB uint8 (H, W, 3).
        heat: (H, W) in [0, 1], as `on_picture` gives it; NaN where there is no map: the picture stays as it is there.
        title: a line in the legend, such as the map's name and the class.

    Raises:
        ShapeError: other shapes, or values outside [0, 1].
    """
    if picture.dtype != np.uint8 or picture.shape != (*heat.shape, 3):
        raise ShapeError(
            f"expected a picture uint8 (H, W, 3) and its map (H, W), got {picture.dtype} {picture.shape} and {heat.shape}"
        )
    known = ~np.isnan(heat)
    if known.any() and not (heat[known].min() >= 0 and heat[known].max() <= 1 + 1e-6):
        raise ShapeError(f"expected a map in [0, 1], got {heat[known].min():g} to {heat[known].max():g}")
    grey = np.asarray(Image.fromarray(picture).convert("L"), float)[..., None]
    mixed = SHOWN * coloured(heat) + (1 - SHOWN) * grey
    drawn = Image.fromarray(np.where(known[..., None], np.rint(mixed), picture).astype(np.uint8))
    return _with_legend(drawn, title)


def _with_legend(drawn: Image.Image, title: str) -> Image.Image:
    """The picture, enlarged where it is small, and under it the scale of colours with its two ends named."""
    enlarge = max(1, -(-240 // drawn.width))
    drawn = drawn.resize((drawn.width * enlarge, drawn.height * enlarge), Image.Resampling.BICUBIC)
    text_px = max(11, drawn.width // 40)
    font = ImageFont.load_default(text_px)
    lines = 2 if title else 1
    whole = Image.new("RGB", (drawn.width, drawn.height + round(text_px * (1.5 * lines + 2.2))), "white")
    whole.paste(drawn, (0, 0))
    pen, top = ImageDraw.Draw(whole), drawn.height + text_px // 2
    if title:
        pen.text((text_px // 2, top), title, fill="black", font=font)
        top += round(1.5 * text_px)
    width = drawn.width - text_px
    shades = SHOWN * coloured(np.linspace(0, 1, width)) + (1 - SHOWN) * 128
    bar = np.repeat(np.rint(shades).astype(np.uint8)[None], text_px, 0)
    whole.paste(Image.fromarray(bar), (text_px // 2, top))
    top += round(1.1 * text_px)
    pen.text((text_px // 2, top), "0 least", fill="black", font=font)
    pen.text((drawn.width - text_px // 2, top), "most 1", fill="black", font=font, anchor="ra")
    return whole
