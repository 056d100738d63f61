"""Picture files of data sets as arrays, and drawn faces for look-alikes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageOps

from mien.datasets.protocol import name_share
from mien.errors import DataError

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"))
"""Endings, in small letters, of files that are taken for pictures when a folder is listed."""


def decode(source: Path | bytes, name: object) -> np.ndarray:
    """A picture file as uint8, grey (H, W) where it is stored grey, else RGB (H, W, 3), turned upright.

    Args:
        source: its path, or its bytes.
        name: what it is called in the message.

    Raises:
        DataError: it is missing, empty, damaged or no picture.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            return np.asarray(upright if upright.mode == "L" else upright.convert("RGB"))
    except FileNotFoundError:
        raise DataError(f"expected a picture, got no file {name}") from None
    # Pillow's decoders raise whatever they stumble over in damaged bytes.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, Image.DecompressionBombError) as error:
        raise DataError(f"expected a picture, got a damaged or other file {name} ({error})") from error


_SHAPES: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "neutral": (0.0, 0.06, 0.0),
        "happy": (-0.5, 0.1, 0.0),
        "surprise": (0.0, 0.3, 0.3),
        "sad": (0.45, 0.06, 0.15),
        "angry": (0.2, 0.06, -0.35),
        "disgust": (0.35, 0.14, -0.15),
        "fear": (0.15, 0.2, 0.2),
        "contempt": (-0.2, 0.06, -0.1),
    }
)
"""Of a drawn face: how far the mouth's corners hang, how far it is open, how the brows slope."""


def draw_face(label: str, side_px: int, random: np.random.Generator) -> np.ndarray:
    """A drawn grey face, uint8 (side, side), whose mouth and brows depend on the class and nothing else.

    Args:
        label: class; names other than mien's get a shape of their own.
        side_px: at least 24, or the features run together.
        random: moves and shades it, so that no two are alike.
    """
    other = (name_share(label + "1") - 0.5, 0.05 + 0.25 * name_share(label + "2"), name_share(label) - 0.5)
    hang, opening, slope = _SHAPES.get(label, other)
    y, x = np.mgrid[-1 : 1 : side_px * 1j, -1 : 1 : side_px * 1j]
    x, y = x - random.uniform(-0.04, 0.04), y - random.uniform(-0.04, 0.04)
    face = np.where((x / 0.8) ** 2 + (y / 0.95) ** 2 < 1, 190.0, 70.0) + random.uniform(-30, 30)
    eyes = ((np.abs(x) - 0.35) / 0.14) ** 2 + ((y + 0.2) / 0.1) ** 2 < 1
    brows = (np.abs(y + 0.45 + slope * (0.35 - np.abs(x))) < 0.05) & (np.abs(np.abs(x) - 0.35) < 0.2)
    mouth = (np.abs(y - 0.45 - hang * (x**2 / 0.2 - 0.4)) < opening) & (np.abs(x) < 0.42)
    face[eyes | brows | mouth] = 30
    return np.clip(face + random.normal(0, 6, face.shape), 0, 255).astype(np.uint8)
