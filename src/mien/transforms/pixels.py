"""Pillow pictures of any mode and orientation as upright RGB: one way for analysis and for data sets."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps


def to_rgb(picture: Image.Image) -> np.ndarray:
    """Any Pillow picture as RGB uint8 (H, W, 3)."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, np.float32)
        top = values.max(initial=0)
        # Integers hold 16 bits, whatever this picture's brightest pixel; floats go to 1 or to 255.
        scale = 255 / 65535 if picture.mode != "F" else 255 if top <= 1 else 1
        grey = np.clip(np.nan_to_num(values) * scale, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, 2)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        paper = Image.new("RGBA", layered.size, "white")
        return np.asarray(Image.alpha_composite(paper, layered).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF data say; as it is stored where these are damaged, for its pixels may be fine."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # Pillow raises whatever it stumbles over in them
        return picture
